// A stock Java application that writes and later reads: Steady BOOTSTRAP TOPIC PARTITIONS STOP-FILE.
//
// Sends numbered records with the producer's defaults until STOP-FILE exists; prints "acked N" as it goes and
// "stall MS" for each time longer than 100 ms without an acknowledgement. Then reads everything back and
// prints "OK N": every record once, in order, at the offset that was acknowledged.

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Steady {
    static final long STALL_NS = 100_000_000L;
    static final int BURST = 20;
    static final int WAITING_MAX = 2_000;
    static final long READ_LIMIT_NS = 120_000_000_000L;

    static final AtomicLong acked = new AtomicLong();
    static final ConcurrentLinkedQueue<Exception> errors = new ConcurrentLinkedQueue<>();
    // Only the producer's own thread writes them.
    static volatile long lastNs;
    static final List<List<Long>> offsets = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int partitions = Integer.parseInt(args[2]);
        for (int p = 0; p < partitions; p++) {
            offsets.add(new ArrayList<>());
        }
        long sent = produce(args[0], args[1], partitions, Path.of(args[3]));
        check(errors.isEmpty(), errors.size() + " errors, the first: " + errors.peek());
        check(acked.get() == sent, acked + " of " + sent + " acknowledged");
        consume(args[0], args[1], sent);
        System.out.println("OK " + sent);
    }

    static long produce(String bootstrap, String topic, int partitions, Path stop) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "key.serializer", LongSerializer.class,
            "value.serializer", StringSerializer.class);
        long n = 0;
        long said = System.nanoTime();
        try (var producer = new KafkaProducer<Long, String>(settings)) {
            while (!Files.exists(stop)) {
                for (int i = 0; i < BURST && n - acked.get() < WAITING_MAX; i++, n++) {
                    int p = (int) (n % partitions);
                    producer.send(new ProducerRecord<>(topic, p, n, "x".repeat((int) (n % 500))), (metadata, error) -> {
                        if (error != null) {
                            errors.add(error);
                            return;
                        }
                        long now = System.nanoTime();
                        if (lastNs != 0 && now - lastNs > STALL_NS) {
                            System.out.println("stall " + (now - lastNs) / 1_000_000);
                        }
                        lastNs = now;
                        offsets.get(metadata.partition()).add(metadata.offset());
                        acked.incrementAndGet();
                    });
                }
                if (System.nanoTime() - said > STALL_NS) {
                    said = System.nanoTime();
                    System.out.println("acked " + acked);
                }
                Thread.sleep(5);
            }
        }
        return n;
    }

    static void consume(String bootstrap, String topic, long sent) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap,
            "key.deserializer", LongDeserializer.class,
            "value.deserializer", StringDeserializer.class);
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < offsets.size(); p++) {
            all.add(new TopicPartition(topic, p));
        }
        try (var consumer = new KafkaConsumer<Long, String>(settings)) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            int[] next = new int[offsets.size()];
            long end = System.nanoTime() + READ_LIMIT_NS;
            for (long read = 0; read < sent; ) {
                check(System.nanoTime() < end, read + " of " + sent + " read");
                for (ConsumerRecord<Long, String> record : consumer.poll(Duration.ofMillis(200))) {
                    int p = record.partition();
                    long n = (long) next[p] * offsets.size() + p;
                    check(record.key() == n, "record " + n + " of partition " + p + " is " + record.key());
                    check(record.offset() == offsets.get(p).get(next[p]), "offset of " + n + ": " + record.offset());
                    next[p]++;
                    read++;
                }
            }
            var ends = consumer.endOffsets(all);
            for (int p = 0; p < next.length; p++) {
                check(ends.get(all.get(p)) == next[p], "end of partition " + p + ": " + ends);
            }
        }
    }

    static void check(boolean good, String what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }
}
