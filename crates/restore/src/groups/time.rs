//! Groups that go on at a moment: the first record of that time or later.

use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use kafka::groups::GroupKind;

use super::plan::{GroupPlan, GroupsPlan, RETENTION, Row};
use crate::error::RestoreError;
use crate::snapshot::read_group;

/// Plans that groups go on at the first record of a time or later, in every partition of `topics` of the target.
pub async fn plan(
    cluster: &Cluster,
    ids: &[String],
    topics: &[String],
    time: i64,
) -> Result<GroupsPlan, RestoreError> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut partitions = Vec::new();
    for topic in cluster.topics(Some(&names)).await? {
        if let Some(error) = topic.error {
            return Err(error.into());
        }
        partitions.extend(topic.topic_partitions());
    }
    let ends = cluster.list_offsets(&partitions, OffsetSpec::Latest).await;
    let found = cluster.offsets_for_time(&partitions, time).await;
    let mut wanted = Vec::with_capacity(partitions.len());
    for ((at, end), (_, found)) in ends.into_iter().zip(found) {
        let (end, found) = (end?, found?);
        wanted.push((at, found, end));
    }
    let mut groups = Vec::with_capacity(ids.len());
    let mut findings = vec![RETENTION.to_owned()];
    for id in ids {
        let there = cluster.describe_group(id, None).await?;
        let kind = there
            .as_ref()
            .map_or(GroupKind::Classic, |there| there.kind.clone());
        let old = match there {
            Some(_) => read_group(cluster, id, Some(&kind)).await?,
            None => Vec::new(),
        };
        let rows = wanted.iter().map(|(at, found, end)| Row {
            topic: at.topic.to_string(),
            partition: at.partition,
            source: None,
            old: old
                .iter()
                .find(|old| *old.topic == *at.topic && old.partition == at.partition)
                .and_then(|old| old.offset),
            new: Some(found.unwrap_or(*end)),
            lag: Some(end - found.unwrap_or(*end)),
            note: found
                .is_none()
                .then(|| "at the end of the log: every record is older".to_owned()),
            metadata: String::new(),
        });
        if there.is_none() {
            findings.push(format!("the cluster has no group {id} yet: committing makes it"));
        }
        groups.push(GroupPlan::new(id, &kind, there.as_ref(), rows));
    }
    Ok(GroupsPlan { groups, findings })
}
