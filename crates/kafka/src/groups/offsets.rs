//! What classic and consumer groups have committed, and changing it from outside.
//!
//! A commit from outside carries the generation -1 and no member id. Brokers take it for groups without members, and
//! for groups that do not exist (they become simple classic groups); an active group refuses with 25 UNKNOWN_MEMBER_ID.
//! They take offsets below zero and beyond the end of the log too, so whoever commits checks those.

use std::collections::HashMap;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use record::TopicPartition;

use super::group_id;
use crate::admin::{Outcomes, by_topic, left_out, text, topic_name};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::KafkaError;

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset that the group reads next.
    pub offset: i64,
    /// The leader's epoch of the record before, where the consumer knew it.
    pub leader_epoch: Option<i32>,
    /// The text that came with the commit; mostly empty. Brokers keep 4096 bytes of it by default.
    pub metadata: String,
}

/// Partitions in one OffsetCommit or OffsetDelete.
const PARTITIONS_AT_ONCE: usize = 1000;

type Commit = (TopicPartition, CommittedOffset);

impl Cluster {
    /// Asks for everything that a group has committed, by topic and partition. Needs Describe on the group; topics that
    /// this user may not describe are left out by the broker. Empty for a group that does not exist.
    pub async fn committed_offsets(&self, group: &str) -> Result<Vec<Commit>, KafkaError> {
        let mut offsets = self
            .at_coordinator(group, |connection| fetch(connection, group))
            .await?;
        offsets.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(offsets)
    }

    /// Commits offsets for a group without members, or one that does not exist yet. Needs Read on the group and on each
    /// topic. Doing it again changes nothing, apart from the time from which brokers count their retention.
    pub async fn commit_offsets(&self, group: &str, commits: &[Commit]) -> Outcomes<Commit, ()> {
        let mut outcomes = Vec::with_capacity(commits.len());
        for commits in commits.chunks(PARTITIONS_AT_ONCE) {
            let done = self.settle(commits.to_vec(), |commits| async move {
                let request = commit_request(group, &commits);
                let answer = self.ask_coordinator(group, |connection| async move {
                    let response = connection.call(&request).await?;
                    let answers = response.topics.iter().flat_map(|topic| {
                        let name = topic.name.to_string();
                        let partition = move |index: i32, code: i16| ((name.clone(), index), code);
                        topic
                            .partitions
                            .iter()
                            .map(move |answer| partition(answer.partition_index, answer.error_code))
                    });
                    Ok((connection.addr().to_owned(), answers.collect::<HashMap<_, _>>()))
                });
                let answer = answer.await;
                commits
                    .iter()
                    .map(|(at, _)| outcome("OffsetCommit", group, at, &answer))
                    .collect()
            });
            outcomes.extend(done.await);
        }
        outcomes
    }

    /// Takes committed offsets of a group away. Needs Delete on the group and Read on each topic. Refused for topics that
    /// an active group is subscribed to (86 GROUP_SUBSCRIBED_TO_TOPIC); one that is not there is no error.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Outcomes<TopicPartition, ()> {
        let mut outcomes = Vec::with_capacity(partitions.len());
        for partitions in partitions.chunks(PARTITIONS_AT_ONCE) {
            let done = self.settle(partitions.to_vec(), |partitions| async move {
                let request = delete_request(group, &partitions);
                let answer = self.ask_coordinator(group, |connection| async move {
                    let response = connection.call(&request).await?;
                    KafkaError::check(response.error_code, "OffsetDelete", group, None)?;
                    let answers = response.topics.iter().flat_map(|topic| {
                        let name = topic.name.to_string();
                        let partition = move |index: i32, code: i16| ((name.clone(), index), code);
                        topic
                            .partitions
                            .iter()
                            .map(move |answer| partition(answer.partition_index, answer.error_code))
                    });
                    Ok((connection.addr().to_owned(), answers.collect::<HashMap<_, _>>()))
                });
                let answer = answer.await;
                partitions
                    .iter()
                    .map(|at| outcome("OffsetDelete", group, at, &answer))
                    .collect()
            });
            outcomes.extend(done.await);
        }
        outcomes
    }

    /// Deletes a group with everything that it has committed. Refused while it has members (68 NON_EMPTY_GROUP); one that
    /// does not exist is 69 GROUP_ID_NOT_FOUND.
    pub async fn delete_group(&self, group: &str) -> Result<(), KafkaError> {
        const WHAT: &str = "DeleteGroups";
        self.at_coordinator(group, |connection| async move {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
            let response = connection.call(&request).await?;
            let result = response
                .results
                .first()
                .ok_or_else(|| left_out(connection.addr(), WHAT, group))?;
            KafkaError::check(result.error_code, WHAT, group, None)
        })
        .await
    }

    /// One attempt at the group's coordinator.
    pub(super) async fn ask_coordinator<T, A>(
        &self,
        group: &str,
        ask: impl FnOnce(Connection) -> A,
    ) -> Result<T, KafkaError>
    where
        A: Future<Output = Result<T, KafkaError>>,
    {
        let kind = crate::cluster::CoordinatorKind::Group;
        ask(self.coordinator(kind, group).await?).await
    }
}

/// Error codes by topic and partition, with the address of the broker that gave them.
pub(super) type Codes = (String, HashMap<(String, i32), i16>);

pub(super) fn outcome(
    what: &'static str,
    group: &str,
    at: &TopicPartition,
    answer: &Result<Codes, KafkaError>,
) -> Result<(), KafkaError> {
    let (addr, codes) = answer.as_ref().map_err(Clone::clone)?;
    let resource = format!("{at} for group {group}");
    match codes.get(&(at.topic.to_string(), at.partition)) {
        Some(code) => KafkaError::check(*code, what, resource, None),
        None => Err(left_out(addr, what, &resource)),
    }
}

async fn fetch(connection: Connection, group: &str) -> Result<Vec<Commit>, KafkaError> {
    const WHAT: &str = "OffsetFetch";
    // From version 8 on the request takes several groups (KIP-709), and both sides have other lists for that.
    let newest = connection.version_range(ApiKey::OffsetFetch as i16);
    let many = newest.is_some_and(|(_, max)| max >= 8);
    let request = OffsetFetchRequest::default();
    let request = match many {
        true => request.with_groups(vec![
            OffsetFetchRequestGroup::default()
                .with_group_id(group_id(group))
                .with_topics(None),
        ]),
        false => request.with_group_id(group_id(group)).with_topics(None),
    };
    let response = connection.call(&request).await?;
    let mut offsets = Vec::new();
    let mut put =
        |topic: &str, partition: i32, code: i16, offset: i64, epoch: i32, metadata: Option<&str>| {
            let at = TopicPartition::new(topic, partition);
            KafkaError::check(code, WHAT, format!("{at} for group {group}"), None)?;
            // Below zero: nothing is committed.
            if offset >= 0 {
                let committed = CommittedOffset {
                    offset,
                    leader_epoch: (epoch >= 0).then_some(epoch),
                    metadata: metadata.unwrap_or_default().to_owned(),
                };
                offsets.push((at, committed));
            }
            Ok::<_, KafkaError>(())
        };
    if many {
        let found = response
            .groups
            .first()
            .ok_or_else(|| left_out(connection.addr(), WHAT, group))?;
        // A group that does not exist has committed nothing.
        if let Err(error) = KafkaError::check(found.error_code, WHAT, group, None) {
            return match error.code() {
                Some(crate::error::ResponseError::GroupIdNotFound) => Ok(offsets),
                _ => Err(error),
            };
        }
        for topic in &found.topics {
            for partition in &topic.partitions {
                put(
                    &topic.name,
                    partition.partition_index,
                    partition.error_code,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.metadata.as_deref(),
                )?;
            }
        }
    } else {
        KafkaError::check(response.error_code, WHAT, group, None)?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                put(
                    &topic.name,
                    partition.partition_index,
                    partition.error_code,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.metadata.as_deref(),
                )?;
            }
        }
    }
    Ok(offsets)
}

fn commit_request(group: &str, commits: &[Commit]) -> OffsetCommitRequest {
    let topics = by_topic(commits.iter().cloned())
        .into_iter()
        .map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch.unwrap_or(-1))
                    .with_committed_metadata(Some(text(&committed.metadata)))
            });
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(partitions.collect())
        });
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.collect())
}

fn delete_request(group: &str, partitions: &[TopicPartition]) -> OffsetDeleteRequest {
    let partitions = partitions.iter().map(|at| (at.clone(), ()));
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        let partitions = partitions
            .into_iter()
            .map(|(index, ())| OffsetDeleteRequestPartition::default().with_partition_index(index));
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(partitions.collect())
    });
    OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.collect())
}
