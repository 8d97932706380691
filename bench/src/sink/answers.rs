//! What the sink answers to everything else: one broker, one topic, no rights to ask for.

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, TopicResponse};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeProducersRequest, DescribeProducersResponse, EndTxnResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceResponse,
    TopicName, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::{Batch, PRODUCE_VERSION, Sink};
use crate::dataset::TOPIC;

/// The requests that are answered, and in which versions.
const APIS: [(ApiKey, i16, i16); 16] = [
    (ApiKey::Produce, PRODUCE_VERSION, PRODUCE_VERSION),
    (ApiKey::ListOffsets, 7, 7),
    (ApiKey::Metadata, 12, 12),
    (ApiKey::OffsetCommit, 8, 9),
    (ApiKey::OffsetFetch, 8, 9),
    (ApiKey::FindCoordinator, 4, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::InitProducerId, 4, 4),
    (ApiKey::DescribeConfigs, 4, 4),
    (ApiKey::IncrementalAlterConfigs, 1, 1),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::EndTxn, 3, 3),
    (ApiKey::WriteTxnMarkers, 1, 1),
    (ApiKey::DeleteGroups, 2, 2),
    (ApiKey::ListGroups, 4, 4),
];

/// A topic's configuration where nothing else was set: what a restore looks at.
const CONFIGS: [(&str, &str); 12] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.type", "CreateTime"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "-1"),
    ("segment.bytes", "1073741824"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

const BROKER: BrokerId = BrokerId(1);
/// The kind of a configuration that is a topic's, and that of a value from there and from Kafka's defaults.
const OF_TOPIC: i8 = 2;
const SET_ON_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;

impl Sink {
    pub(super) fn produce(&self, batches: &[Batch]) -> ProduceResponse {
        let bases = self.note(batches);
        let partitions = batches.iter().zip(bases).map(|(batch, base)| {
            PartitionProduceResponse::default()
                .with_index(batch.partition)
                .with_base_offset(base)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(0)
        });
        let topic = TopicProduceResponse::default()
            .with_name(name(TOPIC))
            .with_partition_responses(partitions.collect());
        ProduceResponse::default().with_responses(vec![topic])
    }

    /// Answers any other request, behind the answer's header.
    pub(super) fn answer(&self, api: ApiKey, version: i16, body: Bytes, out: &mut BytesMut) -> Result<()> {
        match api {
            ApiKey::ApiVersions => versions().encode(out, version.min(3)),
            ApiKey::Metadata => reply(body, version, out, |request| self.metadata(request)),
            ApiKey::InitProducerId => self.producer().encode(out, version),
            ApiKey::ListOffsets => reply(body, version, out, |request| self.list_offsets(request)),
            ApiKey::DescribeConfigs => reply(body, version, out, |request| self.configs(request)),
            ApiKey::IncrementalAlterConfigs => reply(body, version, out, |request| self.alter(request)),
            ApiKey::FindCoordinator => reply(body, version, out, |request| self.coordinator(request)),
            ApiKey::OffsetCommit => reply(body, version, out, |request| self.commit(request)),
            ApiKey::OffsetFetch => reply(body, version, out, |request| self.committed(request)),
            ApiKey::OffsetDelete => reply(body, version, out, |request| self.forget(request)),
            ApiKey::DescribeProducers => reply(body, version, out, producers),
            ApiKey::WriteTxnMarkers => reply(body, version, out, markers),
            ApiKey::DeleteGroups => reply(body, version, out, |request| self.delete_groups(request)),
            ApiKey::ListGroups => ListGroupsResponse::default().encode(out, version),
            // TRANSACTIONAL_ID_AUTHORIZATION_FAILED: no transactions here.
            ApiKey::EndTxn => EndTxnResponse::default().with_error_code(53).encode(out, version),
            other => bail!("{other:?} is not answered"),
        }
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let partitions = || {
            (0..self.behaviour.partitions).map(|partition| {
                MetadataResponsePartition::default()
                    .with_partition_index(partition)
                    .with_leader_id(BROKER)
                    .with_leader_epoch(0)
                    .with_replica_nodes(vec![BROKER])
                    .with_isr_nodes(vec![BROKER])
            })
        };
        let asked: Vec<String> = match &request.topics {
            Some(topics) => topics
                .iter()
                .filter_map(|topic| topic.name.as_ref())
                .map(|name| name.to_string())
                .collect(),
            None => vec![TOPIC.to_owned()],
        };
        let topics = asked.iter().map(|asked| {
            let topic = MetadataResponseTopic::default().with_name(Some(name(asked)));
            match asked == TOPIC {
                true => topic.with_partitions(partitions().collect()),
                // UNKNOWN_TOPIC_OR_PARTITION
                false => topic.with_error_code(3),
            }
        });
        let broker = MetadataResponseBroker::default()
            .with_node_id(BROKER)
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(self.port));
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_static_str("sink")))
            .with_controller_id(BROKER)
            .with_topics(topics.collect())
    }

    fn producer(&self) -> InitProducerIdResponse {
        let mut state = self.lock();
        state.next_producer += 1;
        InitProducerIdResponse::default()
            .with_producer_id(state.next_producer.into())
            .with_producer_epoch(0)
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let state = self.lock();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                // -1 asks for the end, -2 for the start; nothing else is known here.
                let offset = match partition.timestamp {
                    -1 => state.ends.get(&partition.partition_index).copied().unwrap_or(0),
                    -2 => 0,
                    _ => -1,
                };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_timestamp(-1)
                    .with_offset(offset)
                    .with_leader_epoch(0)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn configs(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let state = self.lock();
        let results = request.resources.iter().map(|resource| {
            let wanted = |name: &str| {
                resource
                    .configuration_keys
                    .as_ref()
                    .is_none_or(|keys| keys.iter().any(|key| **key == *name))
            };
            let entry = |name: &str, value: &str, source| {
                DescribeConfigsResourceResult::default()
                    .with_name(StrBytes::from_string(name.to_owned()))
                    .with_value(Some(StrBytes::from_string(value.to_owned())))
                    .with_config_source(source)
            };
            let of_topic = resource.resource_type == OF_TOPIC;
            let own = state
                .configs
                .iter()
                .map(|(name, value)| entry(name, value, SET_ON_TOPIC));
            let default = CONFIGS
                .iter()
                .filter(|(name, _)| !state.configs.contains_key(*name))
                .map(|(name, value)| entry(name, value, DEFAULT));
            let entries = own.chain(default).filter(|entry| of_topic && wanted(&entry.name));
            DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_configs(entries.collect())
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn alter(&self, request: &IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
        let mut state = self.lock();
        let responses = request.resources.iter().map(|resource| {
            for config in &resource.configs {
                match (&config.value, config.config_operation) {
                    (Some(value), 0) => state.configs.insert(config.name.to_string(), value.to_string()),
                    _ => state.configs.remove(&*config.name),
                };
            }
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
    }

    fn coordinator(&self, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
        let coordinators = request.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(BROKER)
                .with_host(StrBytes::from_static_str("127.0.0.1"))
                .with_port(i32::from(self.port))
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }

    fn commit(&self, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let mut state = self.lock();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let key = (
                    request.group_id.to_string(),
                    topic.name.to_string(),
                    partition.partition_index,
                );
                let metadata = partition.committed_metadata.as_ref().map(|text| text.to_string());
                state
                    .committed
                    .insert(key, (partition.committed_offset, metadata));
                OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    /// All that was committed, whatever was asked for.
    fn committed(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let state = self.lock();
        let groups = request.groups.iter().map(|group| {
            let topics = state
                .committed
                .iter()
                .filter(|((name, ..), _)| **name == **group.group_id)
                .map(|((_, topic, partition), (offset, metadata))| {
                    let partition = OffsetFetchResponsePartitions::default()
                        .with_partition_index(*partition)
                        .with_committed_offset(*offset)
                        .with_committed_leader_epoch(-1)
                        .with_metadata(metadata.clone().map(StrBytes::from_string));
                    OffsetFetchResponseTopics::default()
                        .with_name(name(topic))
                        .with_partitions(vec![partition])
                });
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_topics(topics.collect())
        });
        OffsetFetchResponse::default().with_groups(groups.collect())
    }

    fn delete_groups(&self, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut state = self.lock();
        let results = request.groups_names.iter().map(|group| {
            state.committed.retain(|(name, ..), _| **name != *group.0);
            DeletableGroupResult::default().with_group_id(group.clone())
        });
        DeleteGroupsResponse::default().with_results(results.collect())
    }

    fn forget(&self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let mut state = self.lock();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let key = (
                    request.group_id.to_string(),
                    topic.name.to_string(),
                    partition.partition_index,
                );
                state.committed.remove(&key);
                OffsetDeleteResponsePartition::default().with_partition_index(partition.partition_index)
            });
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    }
}

/// Decodes a request and encodes what is answered to it.
fn reply<Request: Decodable, Response: Encodable>(
    mut body: Bytes,
    version: i16,
    out: &mut BytesMut,
    answer: impl FnOnce(&Request) -> Response,
) -> Result<()> {
    answer(&Request::decode(&mut body, version)?).encode(out, version)
}

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn versions() -> ApiVersionsResponse {
    let apis = APIS.iter().map(|(api, least, most)| {
        ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(*least)
            .with_max_version(*most)
    });
    ApiVersionsResponse::default().with_api_keys(apis.collect())
}

/// CLUSTER_AUTHORIZATION_FAILED: nobody may write markers here.
fn markers(request: &WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let markers = request.markers.iter().map(|marker| {
        let topics = marker.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_error_code(31)
            });
            WritableTxnMarkerTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        WritableTxnMarkerResult::default()
            .with_producer_id(marker.producer_id)
            .with_topics(topics.collect())
    });
    WriteTxnMarkersResponse::default().with_markers(markers.collect())
}

/// Nobody is remembered.
fn producers(request: &DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partition_indexes
            .iter()
            .map(|partition| PartitionResponse::default().with_partition_index(*partition));
        TopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}
