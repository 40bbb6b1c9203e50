// Stock Java clients against a broker: RoundTrip BOOTSTRAP TOPIC. Prints OK.
//
// The producer has its defaults (idempotent, acks=all, five requests in flight); the consumer assigns
// partitions by hand. Runs from source with the client library on the class path: 3.9 and 4.2.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class RoundTrip {
    static final int PARTITIONS = 3;
    static final int RECORDS = 6000;
    static final long FIRST_TIME_MS = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            topics(admin, topic);
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                String name = topic + "-" + codec;
                await(admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1))).all());
                long[][] offsets = produce(bootstrap, name, codec);
                consume(bootstrap, name, offsets);
            }
        }
        System.out.println("OK");
    }

    static void topics(Admin admin, String topic) throws Exception {
        // Three replicas are what tools ask for; the store replicates, whatever is asked for.
        await(admin.createTopics(List.of(new NewTopic(topic, 2, (short) 3))).all());
        var described = await(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        check(described.partitions().size() == 2, "partitions: " + described);
        await(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
        described = await(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        check(described.partitions().size() == 4, "more partitions: " + described);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = await(admin.describeConfigs(List.of(resource)).all()).get(resource);
        check("delete".equals(config.get("cleanup.policy").value()), "config: " + config);
        check(!await(admin.describeCluster().nodes()).isEmpty(), "nodes");
        check(await(admin.listTopics().names()).contains(topic), "listed");
        await(admin.deleteTopics(List.of(topic)).all());
        check(!await(admin.listTopics().names()).contains(topic), "deleted");
    }

    static long[][] produce(String bootstrap, String topic, String codec) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "compression.type", codec,
            "key.serializer", StringSerializer.class,
            "value.serializer", StringSerializer.class);
        long[][] offsets = new long[PARTITIONS][RECORDS / PARTITIONS];
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            for (int n = 0; n < RECORDS; n++) {
                var record = new ProducerRecord<>(
                    topic, n % PARTITIONS, FIRST_TIME_MS + n, n % 7 == 0 ? null : "k" + n, value(n));
                record.headers().add("n", Integer.toString(n).getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(record));
            }
            for (int n = 0; n < RECORDS; n++) {
                RecordMetadata metadata = sent.get(n).get(60, TimeUnit.SECONDS);
                check(metadata.partition() == n % PARTITIONS, "partition of " + n);
                offsets[n % PARTITIONS][n / PARTITIONS] = metadata.offset();
            }
        }
        return offsets;
    }

    static void consume(String bootstrap, String topic, long[][] offsets) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "key.deserializer", StringDeserializer.class,
            "value.deserializer", StringDeserializer.class);
        List<TopicPartition> partitions = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) {
            partitions.add(new TopicPartition(topic, p));
        }
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            int[] next = new int[PARTITIONS];
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            for (int read = 0; read < RECORDS; ) {
                check(System.nanoTime() < end, read + " of " + RECORDS + " read");
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    int p = record.partition();
                    int n = next[p] * PARTITIONS + p;
                    check(record.offset() == offsets[p][next[p]], "offset of " + n + ": " + record);
                    check(record.timestamp() == FIRST_TIME_MS + n, "time of " + n);
                    check(value(n).equals(record.value()), "value of " + n + ": " + record);
                    check(n % 7 == 0 ? record.key() == null : ("k" + n).equals(record.key()), "key of " + n);
                    String header = new String(record.headers().lastHeader("n").value(), StandardCharsets.UTF_8);
                    check(header.equals(Integer.toString(n)), "header of " + n);
                    next[p]++;
                    read++;
                }
            }
            Map<TopicPartition, Long> times = new HashMap<>();
            partitions.forEach(partition -> times.put(partition, FIRST_TIME_MS + 300L));
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(times);
            check(found.get(partitions.get(0)).offset() == 100, "offset for a time: " + found);
            check(consumer.endOffsets(partitions).get(partitions.get(1)) == RECORDS / PARTITIONS, "end");
            check(consumer.beginningOffsets(partitions).get(partitions.get(2)) == 0, "beginning");
        }
    }

    static String value(int n) {
        return "value " + n + " " + "x".repeat(n % 300);
    }

    static <T> T await(org.apache.kafka.common.KafkaFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    static void check(boolean good, String what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }
}
