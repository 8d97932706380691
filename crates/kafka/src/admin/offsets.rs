//! Where logs begin and end, and cutting off their beginning.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest};
use record::TopicPartition;

use super::{Answers, GRACE, Outcomes, by_topic, milliseconds, topic_name};
use crate::cluster::{Cluster, Leader};
use crate::connection::Connection;
use crate::error::KafkaError;

/// Which end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first offset that can be read.
    Earliest,
    /// The high watermark: one after the last offset that consumers can read. A new leader refuses to say
    /// (78 OFFSET_NOT_AVAILABLE, tried again) until it is sure of everything that was confirmed before.
    Latest,
    /// The log's true end, one after the last record the leader has, replicated or not.
    LogEnd,
}

/// A ListOffsets timestamp with a meaning of its own: the latest offset.
const LATEST: i64 = -1;
/// Likewise: the earliest offset.
const EARLIEST: i64 = -2;
/// The replica id of a plain consumer.
const CONSUMER: i32 = -1;
/// The replica id of a debugging consumer, who is shown the log's true end. Followers answer it too, which is why the
/// leader's epoch goes with every question: a broker that has stopped leading refuses that.
const DEBUGGING_CONSUMER: i32 = -2;

impl Cluster {
    /// Asks the leaders of partitions where their logs begin or end.
    pub async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Outcomes<TopicPartition, i64> {
        let (timestamp, replica) = match spec {
            OffsetSpec::Earliest => (EARLIEST, CONSUMER),
            OffsetSpec::Latest => (LATEST, CONSUMER),
            OffsetSpec::LogEnd => (LATEST, DEBUGGING_CONSUMER),
        };
        self.at_leaders(
            partitions.to_vec(),
            |partition| partition,
            move |connection, partitions| list(connection, partitions, timestamp, replica),
        )
        .await
    }

    /// Asks the leaders of partitions for the first offset whose timestamp is at or after `timestamp` (milliseconds since
    /// 1970, not negative); `None` where there is no such record.
    pub async fn offsets_for_time(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Outcomes<TopicPartition, Option<i64>> {
        let timestamp = timestamp.max(0);
        let offsets = self
            .at_leaders(
                partitions.to_vec(),
                |partition| partition,
                move |connection, partitions| list(connection, partitions, timestamp, CONSUMER),
            )
            .await;
        let found = |offset: i64| (offset >= 0).then_some(offset);
        offsets
            .into_iter()
            .map(|(partition, offset)| (partition, offset.map(found)))
            .collect()
    }

    /// Makes offsets below the given ones unreadable, and gives the offset at which each log begins now. Doing it again
    /// changes nothing. An offset beyond the high watermark is an error (1 OFFSET_OUT_OF_RANGE), as is a topic that is
    /// compacted and not also deleted from (44 POLICY_VIOLATION).
    pub async fn delete_records(
        &self,
        before: &[(TopicPartition, i64)],
    ) -> Outcomes<(TopicPartition, i64), i64> {
        let timeout = self.config().request_timeout;
        self.at_leaders(
            before.to_vec(),
            |(partition, _)| partition,
            move |connection, items| async move {
                let items = items
                    .into_iter()
                    .map(|((partition, offset), _)| (partition, offset));
                let topics = by_topic(items)
                    .into_iter()
                    .map(|(topic, partitions)| {
                        let partitions = partitions.into_iter().map(|(partition, offset)| {
                            DeleteRecordsPartition::default()
                                .with_partition_index(partition)
                                .with_offset(offset)
                        });
                        DeleteRecordsTopic::default()
                            .with_name(topic_name(&topic))
                            .with_partitions(partitions.collect())
                    })
                    .collect();
                let request = DeleteRecordsRequest::default()
                    .with_topics(topics)
                    .with_timeout_ms(milliseconds(timeout));
                let response = connection.call_within(&request, timeout + GRACE).await?;
                let mut answers = Answers::new();
                for topic in response.topics {
                    for partition in topic.partitions {
                        let at = (topic.name.to_string(), partition.partition_index);
                        let resource = format!("{}-{}", at.0, at.1);
                        let outcome =
                            KafkaError::check(partition.error_code, "DeleteRecords", resource, None);
                        answers.insert(at, outcome.map(|()| partition.low_watermark));
                    }
                }
                Ok(answers)
            },
        )
        .await
    }
}

async fn list(
    connection: Connection,
    partitions: Vec<(TopicPartition, Leader)>,
    timestamp: i64,
    replica: i32,
) -> Result<Answers<i64>, KafkaError> {
    let topics = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, leader)| {
                ListOffsetsPartition::default()
                    .with_partition_index(partition)
                    .with_current_leader_epoch(leader.epoch)
                    .with_timestamp(timestamp)
            });
            ListOffsetsTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(partitions.collect())
        })
        .collect();
    let request = ListOffsetsRequest::default()
        .with_replica_id(replica.into())
        .with_topics(topics);
    let response = connection.call(&request).await?;
    let mut answers = Answers::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let at = (topic.name.to_string(), partition.partition_index);
            let resource = format!("{}-{}", at.0, at.1);
            let outcome = KafkaError::check(partition.error_code, "ListOffsets", resource, None);
            answers.insert(at, outcome.map(|()| partition.offset));
        }
    }
    Ok(answers)
}
