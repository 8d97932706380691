//! Reads a live cluster. Nothing is changed, and what this user may not see is said and left out.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use kafka::admin::{ConfigResource, ConfigSource, OffsetSpec};
use kafka::cluster::{Cluster, TopicMetadata};
use kafka::error::{KafkaError, ResponseError};
use kafka::groups::{GroupKind, ListedGroup};
use record::TopicPartition;

use super::{AclSnapshot, KIND, SNAPSHOT_VERSION, Snapshot, TopicSnapshot};
use crate::groups::{GroupOffset, GroupOffsets};
use crate::journal::GROUP_PREFIX;

/// Groups asked about at the same time.
const GROUPS_AT_ONCE: usize = 16;
/// Topics whose configuration is asked for at the same time.
const TOPICS_AT_ONCE: usize = 200;

/// Takes a snapshot of everything that this user may see.
pub async fn take(cluster: &Cluster) -> Result<Snapshot, KafkaError> {
    let mut missing = Vec::new();
    let topics = topics(cluster, &mut missing).await?;
    let groups = groups(cluster, &mut missing).await?;
    let acls = acls(cluster, &mut missing).await;
    Ok(Snapshot {
        version: SNAPSHOT_VERSION,
        kind: KIND.to_owned(),
        taken: jiff::Timestamp::now().to_string(),
        cluster: cluster.cluster_id(),
        topics,
        groups,
        acls,
        missing,
    })
}

async fn topics(cluster: &Cluster, missing: &mut Vec<String>) -> Result<Vec<TopicSnapshot>, KafkaError> {
    let mut found = cluster.topics(None).await?;
    found.retain(|topic| !topic.is_internal && topic.error.is_none());
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let partitions: Vec<TopicPartition> = found.iter().flat_map(TopicMetadata::topic_partitions).collect();
    let (starts, ends) = futures::join!(
        cluster.list_offsets(&partitions, OffsetSpec::Earliest),
        cluster.list_offsets(&partitions, OffsetSpec::Latest)
    );
    let mut logs: BTreeMap<TopicPartition, (i64, i64)> = BTreeMap::new();
    for ((partition, start), (_, end)) in starts.into_iter().zip(ends) {
        match (start, end) {
            (Ok(start), Ok(end)) => {
                logs.insert(partition, (start, end));
            }
            (Err(error), _) | (_, Err(error)) => {
                missing.push(format!("the log start and end of {partition}: {error}"));
            }
        }
    }
    let mut snapshots = Vec::with_capacity(found.len());
    for topics in found.chunks(TOPICS_AT_ONCE) {
        let resources: Vec<_> = topics
            .iter()
            .map(|topic| ConfigResource::Topic(topic.name.clone()))
            .collect();
        let configs = cluster.describe_configs(&resources, None).await;
        for (topic, (_, entries)) in topics.iter().zip(configs) {
            let configs = match entries {
                Ok(entries) => entries
                    .into_iter()
                    .filter(|entry| entry.source == ConfigSource::Topic)
                    .filter_map(|entry| Some((entry.name, entry.value?)))
                    .collect(),
                Err(error) => {
                    missing.push(format!("the configuration of {}: {error}", topic.name));
                    BTreeMap::new()
                }
            };
            snapshots.push(snapshot_of(topic, configs, &logs));
        }
    }
    Ok(snapshots)
}

fn snapshot_of(
    topic: &TopicMetadata,
    configs: BTreeMap<String, String>,
    logs: &BTreeMap<TopicPartition, (i64, i64)>,
) -> TopicSnapshot {
    let first = topic.partitions.first();
    TopicSnapshot {
        name: topic.name.clone(),
        id: topic
            .id
            .map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
        replication_factor: first.map_or(0, |first| i16::try_from(first.replicas.len()).unwrap_or(i16::MAX)),
        configs,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition);
                logs.get(&at).copied()
            })
            .collect(),
    }
}

async fn groups(cluster: &Cluster, missing: &mut Vec<String>) -> Result<Vec<GroupOffsets>, KafkaError> {
    let listing = cluster.list_groups().await?;
    for (broker, error) in &listing.missing {
        missing.push(format!("the groups that broker {broker} coordinates: {error}"));
    }
    let wanted = listing
        .groups
        .into_iter()
        .filter(|group| !group.id.starts_with(GROUP_PREFIX));
    let read = stream::iter(wanted)
        .map(|group| async move {
            let offsets = read_group(cluster, &group.id, group.kind.as_ref()).await;
            (group, offsets)
        })
        .buffered(GROUPS_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut groups = Vec::with_capacity(read.len());
    for (group, offsets) in read {
        match offsets {
            Ok(offsets) => groups.push(GroupOffsets {
                kind: group.kind.as_ref().map(|kind| kind.name().to_owned()),
                state: Some(group.state).filter(|state| !state.is_empty()),
                id: group.id,
                offsets,
            }),
            Err(error) => missing.push(format!("the committed offsets of group {}: {error}", group.id)),
        }
    }
    Ok(groups)
}

/// What a group has committed, or where a share group begins.
pub(crate) async fn read_group(
    cluster: &Cluster,
    id: &str,
    kind: Option<&GroupKind>,
) -> Result<Vec<GroupOffset>, KafkaError> {
    if kind == Some(&GroupKind::Share) {
        let starts = cluster.share_group_starts(id).await?;
        return Ok(starts
            .into_iter()
            .map(|(at, start)| GroupOffset {
                leader_epoch: start.leader_epoch,
                ..GroupOffset::new(&*at.topic, at.partition, start.offset)
            })
            .collect());
    }
    let committed = cluster.committed_offsets(id).await?;
    Ok(committed
        .into_iter()
        .map(|(at, committed)| GroupOffset {
            topic: at.topic.to_string(),
            partition: at.partition,
            offset: Some(committed.offset),
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata,
        })
        .collect())
}

/// The groups of a live cluster with these ids (all for none), without the tool's own.
pub async fn live_groups(cluster: &Cluster, ids: &[String]) -> Result<Vec<GroupOffsets>, KafkaError> {
    let listing = cluster.list_groups().await?;
    if let Some((_, error)) = listing.missing.into_iter().next() {
        return Err(error);
    }
    let wanted = |group: &ListedGroup| {
        !group.id.starts_with(GROUP_PREFIX) && (ids.is_empty() || ids.contains(&group.id))
    };
    let mut groups = Vec::new();
    for group in listing.groups.into_iter().filter(wanted) {
        groups.push(GroupOffsets {
            offsets: read_group(cluster, &group.id, group.kind.as_ref()).await?,
            kind: group.kind.as_ref().map(|kind| kind.name().to_owned()),
            state: Some(group.state).filter(|state| !state.is_empty()),
            id: group.id,
        });
    }
    Ok(groups)
}

async fn acls(cluster: &Cluster, missing: &mut Vec<String>) -> Option<Vec<AclSnapshot>> {
    match cluster.describe_acls().await {
        Ok(acls) => Some(
            acls.into_iter()
                .map(|acl| AclSnapshot {
                    resource_type: acl.resource_type,
                    resource_name: acl.resource_name,
                    pattern_type: acl.pattern_type,
                    principal: acl.principal,
                    host: acl.host,
                    operation: acl.operation,
                    permission: acl.permission,
                })
                .collect(),
        ),
        // A cluster without access control has no lists.
        Err(error) if error.code() == Some(ResponseError::SecurityDisabled) => None,
        Err(error) => {
            // Most users may not see them, and a snapshot is worth much without: no reason for a finding.
            if error.code() != Some(ResponseError::ClusterAuthorizationFailed) {
                missing.push(format!("the access control lists: {error}"));
            }
            None
        }
    }
}
