//! The broker configs of Kafka 4.2 that clients and tools read or operators carry over, by name.
//!
//! All of them may be given with `--set` but those in [`DERIVED`], whose values follow from how the
//! broker was started.

use super::definition::{Check, Definition, Kind};

const POLICIES: &[&str] = &["compact", "delete"];
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const MIGRATIONS: &[&str] = &["disabled", "downgrade", "upgrade", "bidirectional"];

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    documentation: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        default: Some(default),
        check,
        broker_names: &[],
        documentation,
    }
}

const fn unset(
    name: &'static str,
    kind: Kind,
    check: Check,
    documentation: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        default: None,
        check,
        broker_names: &[],
        documentation,
    }
}

/// Configs that follow from how the broker was started and cannot be set by name.
pub const DERIVED: &[&str] = &[
    "advertised.listeners",
    "broker.id",
    "broker.rack",
    "inter.broker.protocol.version",
    "listeners",
    "log.dir",
    "log.dirs",
    "node.id",
    "process.roles",
];

/// The table, sorted by name.
#[rustfmt::skip]
pub const BROKER_CONFIGS: &[Definition] = &[
    unset("advertised.listeners", Kind::List, Check::Any, "What clients are told to connect to: --advertise."),
    row("auto.create.topics.enable", Kind::Boolean, "true", Check::Any, "Whether a topic that a producer or consumer asks for is created when it does not exist."),
    row("background.threads", Kind::Int, "10", Check::AtLeast(1), "Threads for background work. No effect: tasks share the process's threads."),
    unset("broker.id", Kind::Int, Check::Any, "The id of this broker, derived from its advertised address."),
    unset("broker.rack", Kind::String, Check::Any, "The zone of this broker: --zone."),
    row("compression.gzip.level", Kind::Int, "-1", Check::BetweenOrMinusOne(1, 9), "Default of the topic config compression.gzip.level."),
    row("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17), "Default of the topic config compression.lz4.level."),
    row("compression.type", Kind::String, "producer", Check::OneOf(CODECS), "Default of the topic config compression.type."),
    row("compression.zstd.level", Kind::Int, "3", Check::Between(-131_072, 22), "Default of the topic config compression.zstd.level."),
    row("connections.max.idle.ms", Kind::Long, "600000", Check::Any, "A connection without requests is closed after this many milliseconds; negative for never."),
    row("default.replication.factor", Kind::Int, "1", Check::Between(1, 5), "Replication factor reported for topics created without one. The store replicates, whatever is set."),
    row("delete.topic.enable", Kind::Boolean, "true", Check::Any, "Whether topics may be deleted."),
    row("fetch.max.bytes", Kind::Int, "57671680", Check::AtLeast(1024), "Most record bytes in one answer to a fetch."),
    row("floe.delete.dry.run", Kind::Boolean, "false", Check::Any, "Whether objects that nobody needs any more are only told of and not deleted."),
    row("floe.delete.grace.ms", Kind::Long, "900000", Check::AtLeast(0), "How long an object that no log leads to any more is kept for those who still read it, in milliseconds. Below 300000 readers may have to look again."),
    row("floe.merge.enable", Kind::Boolean, "true", Check::Any, "Whether this process merges small segments into larger ones, if it has the compaction role."),
    row("floe.merge.interval.ms", Kind::Long, "2000", Check::AtLeast(1), "Pause between two looks for segments to merge, in milliseconds."),
    row("floe.merge.level0.bytes", Kind::Long, "268435456", Check::AtLeast(1), "As many bytes of ingested segments are merged at once."),
    row("floe.merge.level0.quiet.ms", Kind::Long, "600000", Check::AtLeast(0), "Ingested segments of this age are merged, however few they are, in milliseconds."),
    row("floe.merge.level0.segments", Kind::Int, "32", Check::AtLeast(2), "As many ingested segments are merged at once."),
    row("floe.merge.level0.wait.ms", Kind::Long, "10000", Check::AtLeast(0), "Ingested segments of this age are merged if there are eight, in milliseconds."),
    row("floe.merge.level1.bytes", Kind::Long, "1073741824", Check::AtLeast(1), "As many bytes of segments that were merged once are merged again."),
    row("floe.merge.level1.segments", Kind::Int, "32", Check::AtLeast(2), "As many segments that were merged once are merged again."),
    row("floe.merge.level1.wait.ms", Kind::Long, "3600000", Check::AtLeast(0), "Segments that were merged once and are of this age are merged again, if there are two, in milliseconds."),
    row("floe.orphans.interval.ms", Kind::Long, "3600000", Check::AtLeast(1), "Pause between two searches for objects that metadata does not know, in milliseconds. Each lists all segments."),
    row("floe.orphans.margin.ms", Kind::Long, "600000", Check::AtLeast(0), "How long uploads and merges that were begun before a search for orphans may take to be committed, in milliseconds. What takes longer is done again."),
    row("floe.sweep.interval.ms", Kind::Long, "60000", Check::AtLeast(1), "Pause between two sweeps of objects that no log leads to any more, in milliseconds."),
    row("group.consumer.assignors", Kind::List, "uniform,range", Check::Any, "Server-side assignors of consumer groups."),
    row("group.consumer.heartbeat.interval.ms", Kind::Int, "5000", Check::AtLeast(1), "Milliseconds between heartbeats of a consumer group's member."),
    row("group.consumer.max.heartbeat.interval.ms", Kind::Int, "15000", Check::AtLeast(1), "Longest heartbeat interval of consumer groups."),
    row("group.consumer.max.session.timeout.ms", Kind::Int, "60000", Check::AtLeast(1), "Longest session timeout of consumer groups."),
    row("group.consumer.max.size", Kind::Int, "2147483647", Check::AtLeast(1), "Most members of a consumer group."),
    row("group.consumer.migration.policy", Kind::String, "bidirectional", Check::OneOf(MIGRATIONS), "Which way groups may change between the classic and the consumer protocol."),
    row("group.consumer.min.heartbeat.interval.ms", Kind::Int, "5000", Check::AtLeast(1), "Shortest heartbeat interval of consumer groups."),
    row("group.consumer.min.session.timeout.ms", Kind::Int, "45000", Check::AtLeast(1), "Shortest session timeout of consumer groups."),
    row("group.consumer.session.timeout.ms", Kind::Int, "45000", Check::AtLeast(1), "Session timeout of consumer groups."),
    row("group.initial.rebalance.delay.ms", Kind::Int, "3000", Check::Any, "How long the first rebalance of an empty group waits for more members."),
    row("group.max.session.timeout.ms", Kind::Int, "1800000", Check::Any, "Longest session timeout of classic groups."),
    row("group.max.size", Kind::Int, "2147483647", Check::AtLeast(1), "Most members of a classic group."),
    row("group.min.session.timeout.ms", Kind::Int, "6000", Check::Any, "Shortest session timeout of classic groups."),
    unset("inter.broker.protocol.version", Kind::String, Check::Any, "The Kafka release whose protocol this broker speaks."),
    unset("listeners", Kind::List, Check::Any, "Where this broker listens: --listen."),
    row("log.cleaner.backoff.ms", Kind::Long, "15000", Check::AtLeast(0), "Pause of the log cleaner when nothing is to be compacted. No effect: compaction plans its own pace."),
    row("log.cleaner.delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0), "Default of the topic config delete.retention.ms."),
    row("log.cleaner.enable", Kind::Boolean, "true", Check::Any, "Whether logs are compacted. No effect: topics say so by cleanup.policy."),
    row("log.cleaner.max.compaction.lag.ms", Kind::Long, "9223372036854775807", Check::AtLeast(1), "Default of the topic config max.compaction.lag.ms."),
    row("log.cleaner.min.cleanable.ratio", Kind::Double, "0.5", Check::Between(0, 1), "Default of the topic config min.cleanable.dirty.ratio."),
    row("log.cleaner.min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0), "Default of the topic config min.compaction.lag.ms."),
    row("log.cleaner.threads", Kind::Int, "1", Check::AtLeast(0), "Threads that compact logs. No effect: tasks share the process's threads."),
    row("log.cleanup.policy", Kind::List, "delete", Check::OneOf(POLICIES), "Default of the topic config cleanup.policy."),
    unset("log.dir", Kind::String, Check::Any, "Where records are kept: --store."),
    unset("log.dirs", Kind::String, Check::Any, "Where records are kept: --store."),
    row("log.flush.interval.messages", Kind::Long, "9223372036854775807", Check::AtLeast(1), "Default of the topic config flush.messages."),
    unset("log.flush.interval.ms", Kind::Long, Check::Any, "Default of the topic config flush.ms."),
    row("log.flush.scheduler.interval.ms", Kind::Long, "9223372036854775807", Check::Any, "Default of the topic config flush.ms where log.flush.interval.ms is not set."),
    row("log.index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0), "Default of the topic config index.interval.bytes."),
    row("log.index.size.max.bytes", Kind::Int, "10485760", Check::AtLeast(4), "Default of the topic config segment.index.bytes."),
    row("log.local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2), "Default of the topic config local.retention.bytes."),
    row("log.local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2), "Default of the topic config local.retention.ms."),
    row("log.message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0), "Default of the topic config message.timestamp.after.max.ms."),
    row("log.message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0), "Default of the topic config message.timestamp.before.max.ms."),
    row("log.message.timestamp.type", Kind::String, "CreateTime", Check::OneOf(TIMESTAMP_TYPES), "Default of the topic config message.timestamp.type."),
    row("log.preallocate", Kind::Boolean, "false", Check::Any, "Default of the topic config preallocate."),
    row("log.retention.bytes", Kind::Long, "-1", Check::Any, "Default of the topic config retention.bytes."),
    row("log.retention.check.interval.ms", Kind::Long, "300000", Check::AtLeast(1), "How often it is looked for records to drop by retention.ms and retention.bytes, in milliseconds."),
    row("log.retention.hours", Kind::Int, "168", Check::Any, "Default of the topic config retention.ms, in hours, where neither log.retention.ms nor log.retention.minutes is set."),
    unset("log.retention.minutes", Kind::Int, Check::Any, "Default of the topic config retention.ms, in minutes, where log.retention.ms is not set."),
    unset("log.retention.ms", Kind::Long, Check::Any, "Default of the topic config retention.ms."),
    row("log.roll.hours", Kind::Int, "168", Check::AtLeast(1), "Default of the topic config segment.ms, in hours, where log.roll.ms is not set."),
    row("log.roll.jitter.hours", Kind::Int, "0", Check::AtLeast(0), "Default of the topic config segment.jitter.ms, in hours, where log.roll.jitter.ms is not set."),
    unset("log.roll.jitter.ms", Kind::Long, Check::Any, "Default of the topic config segment.jitter.ms."),
    unset("log.roll.ms", Kind::Long, Check::Any, "Default of the topic config segment.ms."),
    row("log.segment.bytes", Kind::Int, "1073741824", Check::AtLeast(1_048_576), "Default of the topic config segment.bytes."),
    row("log.segment.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0), "Default of the topic config file.delete.delay.ms."),
    row("max.connection.creation.rate", Kind::Int, "2147483647", Check::AtLeast(0), "Most connections accepted per second. No effect: connections are bounded by the process's descriptors."),
    row("max.connections", Kind::Int, "2147483647", Check::AtLeast(0), "Most connections open at once; fewer where the process has too few descriptors."),
    row("max.connections.per.ip", Kind::Int, "2147483647", Check::AtLeast(0), "Most connections of one address. No effect."),
    row("max.incremental.fetch.session.cache.slots", Kind::Int, "1000", Check::AtLeast(0), "Most fetch sessions kept at once."),
    row("message.max.bytes", Kind::Int, "1048588", Check::AtLeast(0), "Default of the topic config max.message.bytes."),
    row("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1), "Default of the topic config min.insync.replicas."),
    unset("node.id", Kind::Int, Check::Any, "The id of this broker, derived from its advertised address."),
    row("num.io.threads", Kind::Int, "8", Check::AtLeast(1), "Threads that serve requests. No effect: one per core."),
    row("num.network.threads", Kind::Int, "3", Check::AtLeast(1), "Threads that serve sockets. No effect: one per core."),
    row("num.partitions", Kind::Int, "1", Check::AtLeast(1), "Partitions of topics that are created without a number."),
    row("num.recovery.threads.per.data.dir", Kind::Int, "2", Check::AtLeast(1), "Threads that recover logs. No effect: there is nothing to recover."),
    row("num.replica.fetchers", Kind::Int, "1", Check::AtLeast(1), "Threads that copy from leaders. No effect: the store replicates."),
    row("offsets.commit.timeout.ms", Kind::Int, "5000", Check::AtLeast(1), "How long a commit of offsets may take."),
    row("offsets.retention.check.interval.ms", Kind::Long, "600000", Check::AtLeast(1), "How often Kafka looks for offsets to drop."),
    row("offsets.retention.minutes", Kind::Int, "10080", Check::AtLeast(1), "How long the offsets of an empty group are kept, in minutes."),
    row("offsets.topic.compression.codec", Kind::Int, "0", Check::Any, "Codec of the offsets topic. No effect: offsets are not kept in a topic."),
    row("offsets.topic.num.partitions", Kind::Int, "50", Check::AtLeast(1), "Partitions of the offsets topic. No effect: offsets are not kept in a topic."),
    row("offsets.topic.replication.factor", Kind::Short, "3", Check::AtLeast(1), "Replicas of the offsets topic. No effect: offsets are not kept in a topic."),
    row("offsets.topic.segment.bytes", Kind::Int, "104857600", Check::AtLeast(1), "File size of the offsets topic. No effect: offsets are not kept in a topic."),
    unset("process.roles", Kind::List, Check::Any, "What this process does."),
    row("producer.id.expiration.ms", Kind::Int, "86400000", Check::AtLeast(1), "How long the state of an idempotent producer is kept after its last batch, in milliseconds."),
    row("queued.max.requests", Kind::Int, "500", Check::AtLeast(1), "Most requests that wait. No effect: requests are bounded by memory and per connection."),
    row("replica.fetch.max.bytes", Kind::Int, "1048576", Check::AtLeast(0), "Bytes a follower asks for. No effect: the store replicates."),
    row("replica.lag.time.max.ms", Kind::Long, "30000", Check::Any, "When a follower counts as lagging. No effect: the store replicates."),
    row("socket.receive.buffer.bytes", Kind::Int, "102400", Check::Any, "Receive buffer of sockets. No effect: the system sizes it."),
    row("socket.request.max.bytes", Kind::Int, "104857600", Check::AtLeast(1), "Largest request, in bytes."),
    row("socket.send.buffer.bytes", Kind::Int, "102400", Check::Any, "Send buffer of sockets. No effect: the system sizes it."),
    row("transaction.max.timeout.ms", Kind::Int, "900000", Check::AtLeast(1), "Longest timeout of transactions."),
    row("transaction.state.log.min.isr", Kind::Int, "2", Check::AtLeast(1), "In-sync replicas of the transaction topic. No effect: transactions are not kept in a topic."),
    row("transaction.state.log.num.partitions", Kind::Int, "50", Check::AtLeast(1), "Partitions of the transaction topic. No effect: transactions are not kept in a topic."),
    row("transaction.state.log.replication.factor", Kind::Short, "3", Check::AtLeast(1), "Replicas of the transaction topic. No effect: transactions are not kept in a topic."),
    row("transaction.state.log.segment.bytes", Kind::Int, "104857600", Check::AtLeast(1), "File size of the transaction topic. No effect: transactions are not kept in a topic."),
    row("transactional.id.expiration.ms", Kind::Int, "604800000", Check::AtLeast(1), "How long an unused transactional id is kept."),
    row("unclean.leader.election.enable", Kind::Boolean, "false", Check::Any, "Default of the topic config unclean.leader.election.enable."),
];

/// The broker config called `name`.
#[must_use]
pub fn broker_config(name: &str) -> Option<&'static Definition> {
    let at = BROKER_CONFIGS
        .binary_search_by(|definition| definition.name.cmp(name))
        .ok()?;
    BROKER_CONFIGS.get(at)
}
