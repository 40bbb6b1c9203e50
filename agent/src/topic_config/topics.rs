//! All topic configs of Kafka 4.2, by name.
//!
//! Every one is accepted, kept and reported, so that tools and applications find what they set. Those
//! that speak of disks, replicas or tiers change nothing here, and their documentation says so.

use super::definition::{Check, Definition, Kind, row};

const POLICIES: &[&str] = &["compact", "delete"];
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];

/// The table, sorted by name.
#[rustfmt::skip]
pub const TOPIC_CONFIGS: &[Definition] = &[
    row("cleanup.policy", Kind::List, "delete", Check::OneOf(POLICIES), &[("log.cleanup.policy", 1)],
        "How old records leave the log: 'delete' drops them by time and size, 'compact' keeps the newest value of each key, both may be combined."),
    row("compression.gzip.level", Kind::Int, "-1", Check::BetweenOrMinusOne(1, 9), &[("compression.gzip.level", 1)],
        "Level for gzip. Kept and reported; batches are stored as producers compressed them."),
    row("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17), &[("compression.lz4.level", 1)],
        "Level for lz4. Kept and reported; batches are stored as producers compressed them."),
    row("compression.type", Kind::String, "producer", Check::OneOf(CODECS), &[("compression.type", 1)],
        "Codec of the topic. Kept and reported; batches are stored as producers compressed them, whatever is set."),
    row("compression.zstd.level", Kind::Int, "3", Check::Between(-131_072, 22), &[("compression.zstd.level", 1)],
        "Level for zstd. Kept and reported; batches are stored as producers compressed them."),
    row("delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0), &[("log.cleaner.delete.retention.ms", 1)],
        "How long a compacted topic keeps tombstones, in milliseconds."),
    row("file.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0), &[("log.segment.delete.delay.ms", 1)],
        "Delay before a file is removed from a disk. No effect: there is no disk."),
    row("flush.messages", Kind::Long, "9223372036854775807", Check::AtLeast(1), &[("log.flush.interval.messages", 1)],
        "Records between two fsyncs. No effect: every acknowledged record is durable."),
    row("flush.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0), &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)],
        "Milliseconds between two fsyncs. No effect: every acknowledged record is durable."),
    row("follower.replication.throttled.replicas", Kind::List, "", Check::ThrottledReplicas, &[],
        "Replicas whose followers are throttled. No effect: the store replicates."),
    row("index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0), &[("log.index.interval.bytes", 1)],
        "Bytes between two entries of an offset index. No effect: the index knows every batch."),
    row("leader.replication.throttled.replicas", Kind::List, "", Check::ThrottledReplicas, &[],
        "Replicas whose leaders are throttled. No effect: the store replicates."),
    row("local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2), &[("log.local.retention.bytes", 1)],
        "Bytes kept on local disks under tiered storage. No effect: nothing is kept on local disks."),
    row("local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2), &[("log.local.retention.ms", 1)],
        "Milliseconds records stay on local disks under tiered storage. No effect: nothing is kept on local disks."),
    row("max.compaction.lag.ms", Kind::Long, "9223372036854775807", Check::AtLeast(1), &[("log.cleaner.max.compaction.lag.ms", 1)],
        "Longest time a record of a compacted topic may stay uncompacted, in milliseconds."),
    row("max.message.bytes", Kind::Int, "1048588", Check::AtLeast(0), &[("message.max.bytes", 1)],
        "Largest record batch that is accepted, in bytes as sent."),
    row("message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0), &[("log.message.timestamp.after.max.ms", 1)],
        "How far a record's time may lie ahead of the broker's, in milliseconds."),
    row("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", Check::AtLeast(0), &[("log.message.timestamp.before.max.ms", 1)],
        "How far a record's time may lie behind the broker's, in milliseconds."),
    row("message.timestamp.type", Kind::String, "CreateTime", Check::OneOf(TIMESTAMP_TYPES), &[("log.message.timestamp.type", 1)],
        "Whether a record carries the producer's time (CreateTime) or the time it was stored (LogAppendTime)."),
    row("min.cleanable.dirty.ratio", Kind::Double, "0.5", Check::Between(0, 1), &[("log.cleaner.min.cleanable.ratio", 1)],
        "Share of a compacted log that must be new before it is compacted again."),
    row("min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0), &[("log.cleaner.min.compaction.lag.ms", 1)],
        "Least time a record of a compacted topic stays uncompacted, in milliseconds."),
    row("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1), &[("min.insync.replicas", 1)],
        "Replicas that must have a record before it is acknowledged. No effect: every acknowledged record is in the store."),
    row("preallocate", Kind::Boolean, "false", Check::Any, &[("log.preallocate", 1)],
        "Whether log files are allocated in advance. No effect: there are none."),
    row("remote.log.copy.disable", Kind::Boolean, "false", Check::Any, &[],
        "Stops copies to remote storage. No effect: the store is the only storage."),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", Check::Any, &[],
        "Deletes remote data when tiered storage is disabled. No effect: the store is the only storage."),
    row("remote.storage.enable", Kind::Boolean, "false", Check::Any, &[],
        "Tiered storage. No effect: the store is the only storage."),
    row("retention.bytes", Kind::Long, "-1", Check::Any, &[("log.retention.bytes", 1)],
        "Bytes a partition keeps before its oldest records are dropped; -1 for no limit."),
    row("retention.ms", Kind::Long, "604800000", Check::AtLeast(-1), &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
        "Milliseconds a record is kept; -1 for ever."),
    row("segment.bytes", Kind::Int, "1073741824", Check::AtLeast(1_048_576), &[("log.segment.bytes", 1)],
        "Size of a log file. No effect: segments are shared by partitions and sized by the broker."),
    row("segment.index.bytes", Kind::Int, "10485760", Check::AtLeast(4), &[("log.index.size.max.bytes", 1)],
        "Size of an offset index. No effect: an index is as large as its segment needs."),
    row("segment.jitter.ms", Kind::Long, "0", Check::AtLeast(0), &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)],
        "Spread of the time after which a log file is closed. No effect: segments are closed by the broker."),
    row("segment.ms", Kind::Long, "604800000", Check::AtLeast(1), &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)],
        "Time after which a log file is closed. No effect: segments are closed by the broker."),
    row("unclean.leader.election.enable", Kind::Boolean, "false", Check::Any, &[("unclean.leader.election.enable", 1)],
        "Whether a replica that lags may lead. No effect: no replica can lag."),
];

/// The topic config called `name`.
#[must_use]
pub fn topic_config(name: &str) -> Option<&'static Definition> {
    let at = TOPIC_CONFIGS
        .binary_search_by(|definition| definition.name.cmp(name))
        .ok()?;
    TOPIC_CONFIGS.get(at)
}
