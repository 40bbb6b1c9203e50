// Classic groups with each assignor that comes with the client: Groups BOOTSTRAP TOPIC. Prints OK.
//
// Three members share the partitions, one leaves, the others go on where it was; each record is read once.

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Groups {
    static final int PARTITIONS = 6;
    static final int RECORDS = 600;
    static final long LIMIT_MS = 90_000;

    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            for (Class<?> assignor : List.of(
                    RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
                shared(admin, args[0], args[1] + "-" + assignor.getSimpleName(), assignor.getName());
            }
        }
        System.out.println("OK");
    }

    /** A consumer in a thread of its own, until it is closed; it commits what it read before it gives partitions up. */
    static class Member implements AutoCloseable {
        final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        final Thread thread;
        volatile boolean stops;
        volatile Throwable failed;

        Member(String bootstrap, String topic, String assignor, Map<Integer, AtomicInteger> seen) {
            Properties config = new Properties();
            config.putAll(Map.of("bootstrap.servers", bootstrap, "group.id", topic + "-group",
                    "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                    "partition.assignment.strategy", assignor));
            KafkaConsumer<String, String> consumer =
                    new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            thread = new Thread(() -> {
                try (consumer) {
                    consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                        @Override
                        public void onPartitionsRevoked(java.util.Collection<TopicPartition> partitions) {
                            consumer.commitSync();
                            assigned.removeAll(partitions);
                        }

                        @Override
                        public void onPartitionsAssigned(java.util.Collection<TopicPartition> partitions) {
                            assigned.addAll(partitions);
                        }
                    });
                    while (!stops) {
                        consumer.poll(Duration.ofMillis(50)).forEach(record -> seen
                                .computeIfAbsent(Integer.parseInt(record.value()), n -> new AtomicInteger())
                                .incrementAndGet());
                        polled();
                    }
                    consumer.commitSync();
                } catch (Throwable error) {
                    failed = error;
                    polled();
                }
            });
            thread.start();
        }

        int size() {
            if (failed != null) {
                throw new AssertionError("a member failed", failed);
            }
            return assigned.size();
        }

        @Override
        public void close() throws Exception {
            stops = true;
            thread.join();
            size();
        }
    }

    static void shared(Admin admin, String bootstrap, String topic, String assignor) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get(30, TimeUnit.SECONDS);
        produce(bootstrap, topic, 0);
        Map<Integer, AtomicInteger> seen = new ConcurrentHashMap<>();
        try (Member first = new Member(bootstrap, topic, assignor, seen);
                Member second = new Member(bootstrap, topic, assignor, seen)) {
            try (Member third = new Member(bootstrap, topic, assignor, seen)) {
                until("two partitions for each", () -> first.size() == 2 && second.size() == 2 && third.size() == 2);
                until("all records", () -> seen.size() == RECORDS);
            }
            until("three partitions for each", () -> first.size() == 3 && second.size() == 3);
            produce(bootstrap, topic, RECORDS);
            until("all records", () -> seen.size() == 2 * RECORDS);
        }
        seen.forEach((number, times) -> check(times.get() == 1, number + " was read " + times + " times"));
        long committed = admin.listConsumerGroupOffsets(topic + "-group").partitionsToOffsetAndMetadata()
                .get(30, TimeUnit.SECONDS).values().stream().mapToLong(it -> it.offset()).sum();
        check(committed == 2 * RECORDS, "committed: " + committed);
    }

    static void produce(String bootstrap, String topic, int first) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer())) {
            var sent = new ArrayList<java.util.concurrent.Future<?>>();
            for (int n = first; n < first + RECORDS; n++) {
                sent.add(producer.send(new ProducerRecord<>(topic, n % PARTITIONS, null, Integer.toString(n))));
            }
            for (var one : sent) {
                one.get(30, TimeUnit.SECONDS);
            }
        }
    }

    private static final Object POLLED = new Object();

    /** A member has polled: something may be another way now. */
    static void polled() {
        synchronized (POLLED) {
            POLLED.notifyAll();
        }
    }

    /** Looks at a condition, again each time a member has polled. */
    static void until(String what, BooleanSupplier done) throws Exception {
        long end = System.nanoTime() + LIMIT_MS * 1_000_000;
        while (!done.getAsBoolean()) {
            check(System.nanoTime() < end, "not in time: " + what);
            synchronized (POLLED) {
                POLLED.wait(1000);
            }
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
