// Groups of the consumer protocol (KIP-848) with stock Java clients: NewGroups BOOTSTRAP TOPIC. Prints OK.
//
// Both assignors, a subscription by an expression, what the admin client is told, and a classic group that
// changes to the new protocol and back while it reads: nothing is lost, and nothing committed is read again.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class NewGroups {
    static final int PARTITIONS = 6;
    static final long LIMIT_MS = 90_000;

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (String assignor : List.of("uniform", "range")) {
                shared(admin, bootstrap, topic + "-" + assignor, assignor);
            }
            pattern(admin, bootstrap, topic + "-pattern");
            changes(admin, bootstrap, topic + "-changes");
        }
        System.out.println("OK");
    }

    /** A consumer in a thread of its own, until it is closed. */
    static class Member implements AutoCloseable {
        final Set<Integer> assigned = ConcurrentHashMap.newKeySet();
        final Set<Integer> seen;
        final KafkaConsumer<String, String> consumer;
        final Thread thread;
        volatile boolean stops;
        volatile Throwable failed;

        Member(String bootstrap, String group, Object subscription, Set<Integer> seen, Map<String, String> more) {
            this.seen = seen;
            Properties config = new Properties();
            config.putAll(Map.of("bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
                    "enable.auto.commit", "false", "metadata.max.age.ms", "1000"));
            config.putAll(more);
            consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            thread = new Thread(() -> run(subscription));
            thread.start();
        }

        void run(Object subscription) {
            try (consumer) {
                if (subscription instanceof SubscriptionPattern pattern) {
                    consumer.subscribe(pattern);
                } else {
                    consumer.subscribe(List.of((String) subscription));
                }
                boolean isBehind = false;
                while (!stops || isBehind) {
                    var records = consumer.poll(Duration.ofMillis(50));
                    records.forEach(record -> seen.add(Integer.parseInt(record.value())));
                    if (isBehind || !records.isEmpty()) {
                        isBehind = !commits();
                    }
                    Set<Integer> now = new HashSet<>();
                    consumer.assignment().forEach(it -> now.add(it.partition()));
                    assigned.retainAll(now);
                    assigned.addAll(now);
                    polled();
                }
            } catch (Throwable error) {
                failed = error;
            }
            polled();
        }

        /** Up to 4.2 a commit fails for good if the member's epoch is raised meanwhile; the next one has it. */
        boolean commits() {
            try {
                consumer.commitSync();
                return true;
            } catch (CommitFailedException raised) {
                return false;
            }
        }

        @Override
        public void close() throws Exception {
            stops = true;
            thread.join();
            if (failed != null) {
                throw new AssertionError("a member failed", failed);
            }
        }
    }

    static Map<String, String> fresh(String assignor) {
        return Map.of("group.protocol", "consumer", "group.remote.assignor", assignor);
    }

    static void shared(Admin admin, String bootstrap, String topic, String assignor) throws Exception {
        await(admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all());
        produce(bootstrap, topic, 0, 600);
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        String group = topic + "-group";
        try (Member first = new Member(bootstrap, group, topic, seen, fresh(assignor));
                Member second = new Member(bootstrap, group, topic, seen, fresh(assignor))) {
            try (Member third = new Member(bootstrap, group, topic, seen, fresh(assignor))) {
                until("two partitions for each", () -> sizes(first, second, third).equals(List.of(2, 2, 2)));
                until("all records", () -> seen.size() == 600);
                until("a group that is told to be stable", () -> state(admin, group) == GroupState.STABLE);
                ConsumerGroupDescription described = described(admin, group);
                check(described.type() == GroupType.CONSUMER, "type: " + described);
                check(described.partitionAssignor().equals(assignor), "assignor: " + described);
                check(described.members().size() == 3, "members: " + described);
                described.members().forEach(member -> {
                    check(member.assignment().topicPartitions().size() == 2, "assignment: " + member);
                    check(member.assignment().equals(member.targetAssignment().get()), "target: " + member);
                });
                var listed = await(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all());
                check(listed.stream().anyMatch(it -> it.groupId().equals(group)
                        && it.type().get() == GroupType.CONSUMER), "listed: " + listed);
            }
            until("three partitions for each", () -> sizes(first, second).equals(List.of(3, 3)));
            await(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(8))).all());
            until("four partitions for each", () -> sizes(first, second).equals(List.of(4, 4)));
        }
        until("an empty group", () -> state(admin, group) == GroupState.EMPTY);
        long committed = await(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
                .values().stream().mapToLong(it -> it.offset()).sum();
        check(committed == 600, "committed: " + committed);
        await(admin.deleteConsumerGroups(List.of(group)).all());
    }

    /** Topics that match, also one that comes later. */
    static void pattern(Admin admin, String bootstrap, String topic) throws Exception {
        await(admin.createTopics(List.of(new NewTopic(topic + ".one", 1, (short) 1),
                new NewTopic("x" + topic + ".one", 1, (short) 1))).all());
        produce(bootstrap, topic + ".one", 0, 10);
        produce(bootstrap, "x" + topic + ".one", 1000, 10);
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        var pattern = new SubscriptionPattern(topic + "\\.(one|two)");
        try (Member member = new Member(bootstrap, topic + "-group", pattern, seen, fresh("uniform"))) {
            until("the topic there is", () -> seen.size() == 10);
            await(admin.createTopics(List.of(new NewTopic(topic + ".two", 1, (short) 1))).all());
            produce(bootstrap, topic + ".two", 10, 10);
            until("the topic that came", () -> seen.size() == 20);
            check(seen.stream().allMatch(it -> it < 20), "others: " + seen);
        }
    }

    /** Classic members, then some of the new protocol among them, then only these, and back. */
    static void changes(Admin admin, String bootstrap, String topic) throws Exception {
        await(admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all());
        Map<String, String> classic = Map.of("group.protocol", "classic",
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        String group = topic + "-group";
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        int sent = produce(bootstrap, topic, 0, 300);
        Member[] members = {new Member(bootstrap, group, topic, seen, classic),
            new Member(bootstrap, group, topic, seen, classic)};
        until("a classic group", () -> sizes(members).equals(List.of(3, 3)) && type(admin, group) == GroupType.CLASSIC);
        for (int place = 0; place < 2; place++) {
            // One after the other is started anew.
            members[place].close();
            members[place] = new Member(bootstrap, group, topic, seen, fresh("uniform"));
            sent = produce(bootstrap, topic, sent, 300);
            until("a group of the new protocol", () -> sizes(members).equals(List.of(3, 3))
                    && type(admin, group) == GroupType.CONSUMER);
        }
        int upTo = sent;
        until("all records", () -> seen.size() == upTo);
        for (int place = 0; place < 2; place++) {
            members[place].close();
            members[place] = new Member(bootstrap, group, topic, seen, classic);
            sent = produce(bootstrap, topic, sent, 300);
            until("a share for each", () -> sizes(members).equals(List.of(3, 3)));
        }
        until("a classic group again", () -> type(admin, group) == GroupType.CLASSIC);
        int all = sent;
        until("all records in the end", () -> seen.size() == all);
        for (Member member : members) {
            member.close();
        }
        long committed = await(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
                .values().stream().mapToLong(it -> it.offset()).sum();
        check(committed == all, "committed: " + committed + " of " + all);
    }

    static int produce(String bootstrap, String topic, int from, int count) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
            for (int number = from; number < from + count; number++) {
                int partitions = producer.partitionsFor(topic).size();
                sent.add(producer.send(new ProducerRecord<>(topic, number % partitions, null, "" + number)));
            }
            for (var record : sent) {
                record.get(60, TimeUnit.SECONDS);
            }
        }
        return from + count;
    }

    static List<Integer> sizes(Member... members) {
        List<Integer> sizes = new ArrayList<>();
        for (Member member : members) {
            check(member.failed == null, "a member failed: " + member.failed);
            sizes.add(member.assigned.size());
        }
        return sizes;
    }

    static ConsumerGroupDescription described(Admin admin, String group) {
        try {
            return await(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        } catch (Exception error) {
            throw new AssertionError(error);
        }
    }

    static GroupState state(Admin admin, String group) {
        return described(admin, group).groupState();
    }

    static GroupType type(Admin admin, String group) {
        return described(admin, group).type();
    }

    static <T> T await(KafkaFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    private static final Object POLLED = new Object();

    /** A member has polled: something may be another way now. */
    static void polled() {
        synchronized (POLLED) {
            POLLED.notifyAll();
        }
    }

    /** Looks at a condition, again each time a member has polled, or when none is left to a second later. */
    static void until(String what, BooleanSupplier done) throws Exception {
        long end = System.nanoTime() + LIMIT_MS * 1_000_000;
        while (!done.getAsBoolean()) {
            check(System.nanoTime() < end, what);
            synchronized (POLLED) {
                POLLED.wait(1000);
            }
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
