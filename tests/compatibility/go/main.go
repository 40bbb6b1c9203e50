// franz-go against a broker: BOOTSTRAP TOPIC. Prints OK.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	records    = 6000
	partitions = 3
)

func value(n int) string { return fmt.Sprintf("value %d %s", n, strings.Repeat("x", n%300)) }

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	// The defaults of franz-go: idempotent, acks=all, snappy.
	roundTrip(ctx, bootstrap, topic+"-defaults", false)
	roundTrip(ctx, bootstrap, topic+"-auto", true, kgo.AllowAutoTopicCreation())
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		roundTrip(ctx, bootstrap, topic+"-"+name, false, kgo.ProducerBatchCompression(codec))
	}
	fmt.Println("OK")
}

func roundTrip(ctx context.Context, bootstrap, topic string, createsItself bool, options ...kgo.Opt) {
	client := connect(append(options, kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic))...)
	if !createsItself {
		create(ctx, client, topic)
	}
	acked := produce(ctx, client)
	client.Close()
	consume(ctx, bootstrap, topic, acked)
}

func connect(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(options...)
	check(err)
	return client
}

func create(ctx context.Context, client *kgo.Client, topic string) {
	request := kmsg.NewPtrCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, partitions, 1
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(ctx, client)
	check(err)
	check(kerr.ErrorForCode(response.Topics[0].ErrorCode))
}

// What the broker acknowledged: partition, then offset, then the record's number.
func produce(ctx context.Context, client *kgo.Client) map[int32]map[int64]int {
	acked := map[int32]map[int64]int{}
	var lock sync.Mutex
	for n := 0; n < records; n++ {
		record := kgo.KeyStringRecord(fmt.Sprint(n), value(n))
		record.Headers = []kgo.RecordHeader{{Key: "n", Value: []byte(fmt.Sprint(n))}}
		client.Produce(ctx, record, func(record *kgo.Record, err error) {
			check(err)
			lock.Lock()
			defer lock.Unlock()
			if acked[record.Partition] == nil {
				acked[record.Partition] = map[int64]int{}
			}
			acked[record.Partition][record.Offset] = n
		})
	}
	check(client.Flush(ctx))
	return acked
}

func consume(ctx context.Context, bootstrap, topic string, acked map[int32]map[int64]int) {
	from := map[int32]kgo.Offset{}
	for partition := range acked {
		from[partition] = kgo.NewOffset().AtStart()
	}
	client := connect(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	defer client.Close()
	next := map[int32]int64{}
	for read := 0; read < records; {
		fetches := client.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if record.Offset != next[record.Partition] {
				log.Fatalf("%s-%d: offset %d, expected %d", topic, record.Partition, record.Offset, next[record.Partition])
			}
			next[record.Partition]++
			n, known := acked[record.Partition][record.Offset]
			if !known || string(record.Value) != value(n) || string(record.Key) != fmt.Sprint(n) ||
				len(record.Headers) != 1 || string(record.Headers[0].Value) != fmt.Sprint(n) {
				log.Fatalf("%s-%d: record %d is not what was sent", topic, record.Partition, record.Offset)
			}
			read++
		})
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
