//! Where share groups begin to read (KIP-932).
//!
//! A share group has no committed offset but a start offset, with the state of each record behind it. Only the start
//! can be set from outside (brokers from 4.1 on, if share groups are switched on there), which forgets the states.
//! Brokers of 4.1.1 answer AlterShareGroupOffsets with an empty list and change nothing (`KafkaApis` adds each topic to a
//! second collection without copying it, which that refuses), so an empty answer is an error here.

use std::collections::HashMap;

use kafka_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use kafka_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use kafka_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use kafka_protocol::messages::{
    AlterShareGroupOffsetsRequest, ApiKey, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
};
use record::TopicPartition;

use super::group_id;
use super::offsets::outcome;
use crate::admin::{Outcomes, by_topic, left_out, topic_name};
use crate::cluster::{Cluster, CoordinatorKind};
use crate::error::{KafkaError, ResponseError};

/// Where a share group begins to read a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareStart {
    /// The first offset that is not done with.
    pub offset: i64,
    /// The leader's epoch, where the group's state has it.
    pub leader_epoch: Option<i32>,
}

impl Cluster {
    /// Whether the brokers have the requests for share groups' offsets at all.
    pub async fn has_share_groups(&self) -> Result<bool, KafkaError> {
        let connection = self.any().await?;
        Ok(connection
            .version_range(ApiKey::AlterShareGroupOffsets as i16)
            .is_some())
    }

    /// Asks for the start offsets of a share group, by topic and partition.
    pub async fn share_group_starts(
        &self,
        group: &str,
    ) -> Result<Vec<(TopicPartition, ShareStart)>, KafkaError> {
        const WHAT: &str = "DescribeShareGroupOffsets";
        self.at_coordinator(group, |connection| async move {
            let wanted = DescribeShareGroupOffsetsRequestGroup::default()
                .with_group_id(group_id(group))
                .with_topics(None);
            let request = DescribeShareGroupOffsetsRequest::default().with_groups(vec![wanted]);
            let response = connection.call(&request).await?;
            let found = response
                .groups
                .first()
                .ok_or_else(|| left_out(connection.addr(), WHAT, group))?;
            if let Err(error) =
                KafkaError::check(found.error_code, WHAT, group, found.error_message.as_deref())
            {
                return match error.code() {
                    Some(ResponseError::GroupIdNotFound) => Ok(Vec::new()),
                    _ => Err(error),
                };
            }
            let mut starts = Vec::new();
            for topic in &found.topics {
                for partition in &topic.partitions {
                    let at = TopicPartition::new(topic.topic_name.to_string(), partition.partition_index);
                    let message = partition.error_message.as_deref();
                    let resource = format!("{at} for group {group}");
                    KafkaError::check(partition.error_code, WHAT, resource, message)?;
                    if partition.start_offset >= 0 {
                        let start = ShareStart {
                            offset: partition.start_offset,
                            leader_epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
                        };
                        starts.push((at, start));
                    }
                }
            }
            starts.sort_by(|one, other| one.0.cmp(&other.0));
            Ok(starts)
        })
        .await
    }

    /// Sets start offsets of a share group without members (68 NON_EMPTY_GROUP otherwise), or of one that does not exist
    /// yet. Needs Read on the group and on each topic.
    pub async fn alter_share_group_starts(
        &self,
        group: &str,
        starts: &[(TopicPartition, i64)],
    ) -> Outcomes<(TopicPartition, i64), ()> {
        const WHAT: &str = "AlterShareGroupOffsets";
        self.settle(starts.to_vec(), |starts| async move {
            let topics = by_topic(starts.iter().cloned())
                .into_iter()
                .map(|(topic, partitions)| {
                    let partitions = partitions.into_iter().map(|(index, offset)| {
                        AlterShareGroupOffsetsRequestPartition::default()
                            .with_partition_index(index)
                            .with_start_offset(offset)
                    });
                    AlterShareGroupOffsetsRequestTopic::default()
                        .with_topic_name(topic_name(&topic))
                        .with_partitions(partitions.collect())
                });
            let request = AlterShareGroupOffsetsRequest::default()
                .with_group_id(group_id(group))
                .with_topics(topics.collect());
            let answer = async {
                let connection = self.coordinator(CoordinatorKind::Group, group).await?;
                let response = connection.call(&request).await?;
                let message = response.error_message.as_deref();
                KafkaError::check(response.error_code, WHAT, group, message)?;
                let answers = response.responses.iter().flat_map(|topic| {
                    let name = topic.topic_name.to_string();
                    topic
                        .partitions
                        .iter()
                        .map(move |answer| ((name.clone(), answer.partition_index), answer.error_code))
                });
                let codes: HashMap<(String, i32), i16> = answers.collect();
                if codes.is_empty() && !starts.is_empty() {
                    return Err(KafkaError::Broker {
                        code: ResponseError::UnsupportedVersion,
                        what: WHAT,
                        resource: group.to_owned(),
                        message: Some(
                            "the broker took the request and did nothing, as brokers of 4.1 do by a mistake of theirs"
                                .to_owned(),
                        ),
                    });
                }
                Ok((connection.addr().to_owned(), codes))
            };
            let answer = answer.await;
            starts
                .iter()
                .map(|(at, _)| outcome(WHAT, group, at, &answer))
                .collect()
        })
        .await
    }

    /// Takes away the start offsets of a share group without members, of whole topics. Needs Delete on the group and Read
    /// on each topic. A topic that it has none of is no error.
    pub async fn delete_share_group_starts(&self, group: &str, topics: &[String]) -> Outcomes<String, ()> {
        const WHAT: &str = "DeleteShareGroupOffsets";
        self.settle(topics.to_vec(), |topics| async move {
            let wanted = topics.iter().map(|topic| {
                DeleteShareGroupOffsetsRequestTopic::default().with_topic_name(topic_name(topic))
            });
            let request = DeleteShareGroupOffsetsRequest::default()
                .with_group_id(group_id(group))
                .with_topics(wanted.collect());
            let answer = async {
                let connection = self.coordinator(CoordinatorKind::Group, group).await?;
                let response = connection.call(&request).await?;
                let message = response.error_message.as_deref();
                KafkaError::check(response.error_code, WHAT, group, message)?;
                Ok((connection.addr().to_owned(), response.responses))
            };
            let answer: Result<_, KafkaError> = answer.await;
            let outcome = |topic: &String| {
                let (addr, responses) = answer.as_ref().map_err(Clone::clone)?;
                let found = responses
                    .iter()
                    .find(|found| *found.topic_name.0 == **topic)
                    .ok_or_else(|| left_out(addr, WHAT, topic))?;
                let message = found.error_message.as_deref();
                KafkaError::check(found.error_code, WHAT, topic.as_str(), message)
            };
            topics.iter().map(outcome).collect()
        })
        .await
    }
}
