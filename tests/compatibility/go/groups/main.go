// Groups of franz-go against a broker: BOOTSTRAP TOPIC. Prints OK.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	records    = 6000
	partitions = 6
	members    = 3
)

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client := connect(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	create(ctx, client, topic)
	for name, balancer := range map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "round-robin": kgo.RoundRobinBalancer(),
		"sticky": kgo.StickyBalancer(), "cooperative": kgo.CooperativeStickyBalancer(),
	} {
		group := topic + "-" + name
		read := consume(ctx, client, bootstrap, topic, group, balancer)
		if len(read) != records {
			log.Fatalf("%s: %d of %d records read", name, len(read), records)
		}
	}
	client.Close()
	fmt.Println("OK")
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

// Members come one after the other while records are written, and the first leaves in the middle. Every
// record of this run is read by somebody.
func consume(ctx context.Context, producer *kgo.Client, bootstrap, topic, group string, balancer kgo.GroupBalancer) map[int]bool {
	read, lock := map[int]bool{}, sync.Mutex{}
	done, stop := context.WithCancel(ctx)
	defer stop()
	var joined sync.WaitGroup
	run := func(until context.Context) {
		defer joined.Done()
		member := connect(kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.Balancers(balancer), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.AutoCommitInterval(200*time.Millisecond))
		defer member.Close()
		for until.Err() == nil {
			fetches := member.PollFetches(until)
			fetches.EachRecord(func(record *kgo.Record) {
				name, n := cut(string(record.Value))
				if name == group {
					lock.Lock()
					read[n] = true
					lock.Unlock()
				}
			})
		}
	}
	first, leave := context.WithCancel(done)
	defer leave()
	joined.Add(members)
	go run(first)
	for member := 1; member < members; member++ {
		go run(done)
	}
	for n := 0; n < records; n++ {
		producer.Produce(ctx, kgo.StringRecord(fmt.Sprintf("%s %d", group, n)), func(_ *kgo.Record, err error) { check(err) })
		if n == records/2 {
			check(producer.Flush(ctx))
			leave()
		}
		if n%600 == 0 {
			time.Sleep(500 * time.Millisecond)
		}
	}
	check(producer.Flush(ctx))
	for ctx.Err() == nil {
		lock.Lock()
		count := len(read)
		lock.Unlock()
		if count == records {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	joined.Wait()
	return read
}

// The group a record was written for, and its number.
func cut(value string) (string, int) {
	at := strings.LastIndexByte(value, ' ')
	n, err := strconv.Atoi(value[at+1:])
	check(err)
	return value[:at], n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
