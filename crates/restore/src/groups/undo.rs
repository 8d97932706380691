//! Puts back what stood there before an [`apply`](super::apply).

use std::collections::BTreeSet;
use std::time::Duration;

use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use kafka::groups::GroupKind;
use record::TopicPartition;
use tokio::time::Instant;

use super::GroupsFile;
use super::apply::{Applied, GroupReport, GroupsReport, apply_group, deadline, wait_for};
use super::plan::{GroupPlan, Row};
use crate::error::RestoreError;
use crate::snapshot::read_group;

/// Puts back what stood there before: commits what was committed, and takes away what was not.
pub async fn undo(
    cluster: &Cluster,
    file: &GroupsFile,
    wait: Duration,
) -> Result<GroupsReport, RestoreError> {
    let deadline = deadline(wait);
    let mut groups = Vec::with_capacity(file.groups.len());
    for group in &file.groups {
        let there = cluster.describe_group(&group.id, None).await?;
        let kind = match (&there, &group.kind) {
            (Some(there), _) => there.kind.clone(),
            (None, kind) => GroupKind::from_name(kind.as_deref().unwrap_or_default()),
        };
        let old = match &there {
            Some(_) => read_group(cluster, &group.id, Some(&kind)).await?,
            None => Vec::new(),
        };
        let rows = group.offsets.iter().map(|offset| Row {
            topic: offset.topic.clone(),
            partition: offset.partition,
            source: None,
            old: old
                .iter()
                .find(|old| old.topic == offset.topic && old.partition == offset.partition)
                .and_then(|old| old.offset),
            new: offset.offset,
            lag: None,
            note: offset.offset.is_none().then(|| "nothing stood there".to_owned()),
            metadata: offset.metadata.clone(),
        });
        let plan = GroupPlan::new(&group.id, &kind, there.as_ref(), rows);
        let applied = match apply_group(cluster, &plan, deadline).await {
            Applied::Done { .. } | Applied::Nothing if plan.exists => {
                take_away(cluster, &plan, deadline).await
            }
            applied => applied,
        };
        groups.push(GroupReport { plan, applied });
    }
    Ok(GroupsReport::new(cluster, groups, Vec::new()))
}

/// Takes away what the rows without a new offset have committed.
async fn take_away(cluster: &Cluster, plan: &GroupPlan, deadline: Instant) -> Applied {
    let surplus: Vec<TopicPartition> = plan
        .rows
        .iter()
        .filter(|row| row.new.is_none() && row.old.is_some())
        .map(|row| TopicPartition::new(row.topic.as_str(), row.partition))
        .collect();
    let partitions = plan.changes().count() + surplus.len();
    let done = match partitions {
        0 => Applied::Nothing,
        partitions => Applied::Done { partitions },
    };
    if surplus.is_empty() {
        return done;
    }
    if let Err(left_alone) = wait_for(cluster, plan, deadline).await {
        return left_alone;
    }
    let errors = match plan.is_share() {
        true => take_away_starts(cluster, plan, &surplus).await,
        false => {
            let outcomes = cluster.delete_offsets(&plan.id, &surplus).await;
            outcomes
                .into_iter()
                .filter_map(|(_, outcome)| outcome.err())
                .collect()
        }
    };
    let gone = |error: &KafkaError| error.code() == Some(ResponseError::GroupIdNotFound);
    let errors: Vec<String> = errors
        .into_iter()
        .filter(|error| !gone(error))
        .map(|error| error.to_string())
        .collect();
    match errors.is_empty() {
        true => done,
        false => Applied::Failed { errors },
    }
}

/// Takes away starts of a share group. That goes by whole topics: what has to stay of one is set again.
async fn take_away_starts(
    cluster: &Cluster,
    plan: &GroupPlan,
    surplus: &[TopicPartition],
) -> Vec<KafkaError> {
    let there = match read_group(cluster, &plan.id, Some(&GroupKind::Share)).await {
        Ok(there) => there,
        Err(error) => return vec![error],
    };
    let topics: BTreeSet<String> = surplus.iter().map(|at| at.topic.to_string()).collect();
    let staying: Vec<(TopicPartition, i64)> = there
        .into_iter()
        .filter(|offset| topics.contains(&offset.topic))
        .filter_map(|offset| {
            Some((
                TopicPartition::new(offset.topic, offset.partition),
                offset.offset?,
            ))
        })
        .filter(|(at, _)| !surplus.contains(at))
        .collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let deleted = cluster.delete_share_group_starts(&plan.id, &topics).await;
    let mut errors: Vec<KafkaError> = deleted
        .into_iter()
        .filter_map(|(_, outcome)| outcome.err())
        .collect();
    if errors.is_empty() && !staying.is_empty() {
        let set = cluster.alter_share_group_starts(&plan.id, &staying).await;
        errors.extend(set.into_iter().filter_map(|(_, outcome)| outcome.err()));
    }
    errors
}
