//! Changes within a topic: its configs, and where its log starts.

use floe_protocol::compression::Compression;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use floe_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use floe_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::record_batch::BatchBuilder;
use floe_protocol::records::Records;
use floe_protocol::str::Str;
use rand::Rng;

use super::super::wire::Closed;
use super::super::world::Agents;
use super::{Administrator, TIMEOUT_MS, is_done};

const TOPIC: i8 = 2;
const SET: i8 = 0;
/// A time that has no effect on what is kept.
const CONFIG: &str = "segment.ms";
/// Records written before some of them are dropped.
const RECORDS: i64 = 3;
const EARLIEST: i64 = -2;

impl Administrator {
    /// Sets a config at one agent and looks at it at another; `false` when the outcome is not known.
    pub(super) async fn configure(&mut self, name: &Str, agents: &Agents) -> Result<bool, Closed> {
        let value = self.random.random_range(1_000..1_000_000).to_string();
        let alter = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configs: vec![AlterableConfig {
                    name: CONFIG.into(),
                    config_operation: SET,
                    value: Some(value.clone().into()),
                }],
            }],
            validate_only: false,
        };
        let altered = self.ask(agents, 1, &alter).await?.responses;
        if !is_done(altered.first().map(|resource| resource.error_code)) {
            return Ok(false);
        }
        let describe = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configuration_keys: Some(vec![CONFIG.into()]),
            }],
            ..DescribeConfigsRequest::default()
        };
        let described = self.ask(agents, 4, &describe).await?.results;
        let shown = described.first().and_then(|resource| {
            let config = resource.configs.first()?;
            config.value.as_ref().map(ToString::to_string)
        });
        if shown.as_ref() != Some(&value) {
            let what = format!("{CONFIG} of {name} was set to {value}, then shown as {shown:?}");
            self.violation(what);
        }
        Ok(true)
    }

    /// Writes some records, drops the first of them, and looks at what is left; `false` when an outcome is not
    /// known.
    pub(super) async fn drop_records(
        &mut self,
        name: &Str,
        agents: &Agents,
    ) -> Result<bool, Closed> {
        let mut builder = BatchBuilder::new(Compression::None);
        (0..RECORDS).for_each(|_| {
            builder.append(0, Some(b"key"), Some(b"value"));
        });
        let Ok(batch) = builder.build() else {
            return Ok(false);
        };
        let produce = ProduceRequest {
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: name.clone(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(Records::from(batch)),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let produced = self.ask(agents, 9, &produce).await?.responses;
        let produced = produced.first().map(|topic| &topic.partition_responses);
        let written = produced.and_then(|partitions| partitions.first());
        if !is_done(written.map(|partition| partition.error_code)) {
            return Ok(false);
        }
        let start = self.random.random_range(1..=RECORDS);
        let delete = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: name.clone(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset: start,
                }],
            }],
            timeout_ms: TIMEOUT_MS,
        };
        let deleted = self.ask(agents, 2, &delete).await?.topics;
        let deleted = deleted.first().map(|topic| &topic.partitions);
        let deleted = deleted.and_then(|partitions| partitions.first());
        if !is_done(deleted.map(|partition| partition.error_code)) {
            return Ok(false);
        }
        self.look_at_start(name, start, agents).await?;
        Ok(true)
    }

    /// Asks any agents where the log starts, and for a record below.
    async fn look_at_start(
        &mut self,
        name: &Str,
        start: i64,
        agents: &Agents,
    ) -> Result<(), Closed> {
        let list = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: name.clone(),
                partitions: vec![ListOffsetsPartition {
                    timestamp: EARLIEST,
                    current_leader_epoch: -1,
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let listed = self.ask(agents, 7, &list).await?.topics;
        let listed = listed.first().and_then(|topic| topic.partitions.first());
        if let Some(found) = listed.filter(|found| found.error_code == 0)
            && found.offset != start
        {
            let offset = found.offset;
            self.violation(format!(
                "{name} starts at {start}, then ListOffsets said {offset}"
            ));
        }
        let fetch = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic: name.clone(),
                partitions: vec![FetchPartition {
                    fetch_offset: start - 1,
                    current_leader_epoch: -1,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let fetched = self.ask(agents, 11, &fetch).await?.responses;
        let fetched = fetched.first().and_then(|topic| topic.partitions.first());
        let out_of_range = ErrorCode::OffsetOutOfRange.code();
        if let Some(found) = fetched.filter(|found| found.error_code == 0) {
            let start_told = found.log_start_offset;
            self.violation(format!(
                "{name} starts at {start}, then a record below was served instead of error {out_of_range}: log start {start_told}"
            ));
        }
        Ok(())
    }
}
