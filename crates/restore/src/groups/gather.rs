//! Committed offsets and offset maps that have to be looked for: in the bucket, in the backup's own records, on the target.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup::inventory::{self, NO_PARTITION};
use backup::stream::PartitionStream;
use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use kafka::groups::GroupKind;
use record::TopicPartition;

use super::GroupOffsets;
use super::apply::{GroupPlan, GroupsPlan, Row};
use super::source::log::OffsetsLog;
use super::translate::{Places, RestoredTopic, Translation};
use crate::error::RestoreError;
use crate::execute::{stream_context, stream_options};
use crate::job::{Job, OffsetMode};
use crate::offsets::OffsetMap;
use crate::plan::{RestorePlan, TopicPlan, list_topics};
use crate::progress::Progress;
use crate::snapshot::{Snapshot, keep, read_group};
use crate::wish;

/// What a backup of `__consumer_offsets`, or of MirrorMaker's checkpoints, says.
#[derive(Clone, Debug)]
pub struct LoggedGroups {
    /// The groups.
    pub groups: Vec<GroupOffsets>,
    /// Records read.
    pub records: u64,
    /// Records that are not laid out as they should be.
    pub unreadable: u64,
}

/// Which topic of Kafka's own it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedAs {
    /// `__consumer_offsets`.
    Commits,
    /// MirrorMaker's `<alias>.checkpoints.internal`.
    Checkpoints,
}

/// Reads committed offsets from the backup of the one topic that `job` selects. A time limit in the job's selection of
/// records makes it what was committed until then.
pub async fn from_backup(
    job: &Job,
    logged_as: LoggedAs,
    progress: &dyn Progress,
) -> Result<LoggedGroups, RestoreError> {
    let plan = list_topics(job, progress).await?;
    let context = stream_context(job)?;
    let mut log = OffsetsLog::default();
    for (topic, partition, objects) in partitions(&plan)? {
        let name = TopicPartition::new(topic.source.as_str(), partition);
        let options = stream_options(job, &topic.content.decoding);
        let mut stream = PartitionStream::new(&context, name, objects, options);
        while let Some(block) = stream.next().await? {
            for record in block.iter() {
                match logged_as {
                    LoggedAs::Commits => log.push(record.key, record.value),
                    LoggedAs::Checkpoints => log.push_checkpoint(record.key, record.value),
                }
            }
        }
    }
    let (records, unreadable) = (log.records, log.unreadable);
    Ok(LoggedGroups {
        groups: log.groups(),
        records,
        unreadable,
    })
}

type Listed<'a> = (&'a TopicPlan, i32, Arc<backup::inventory::PartitionObjects>);

fn partitions(plan: &RestorePlan) -> Result<Vec<Listed<'_>>, RestoreError> {
    let mut listed = Vec::new();
    for topic in &plan.topics {
        if topic
            .partitions
            .iter()
            .any(|partition| partition.partition == NO_PARTITION)
        {
            return Err(RestoreError::Refused(format!(
                "the names of the objects of {} say no partition, so that no offset of the source can be found in the target",
                topic.source
            )));
        }
        for partition in &topic.partitions {
            let objects = plan.objects(&topic.source, partition.partition)?;
            listed.push((topic, partition.partition, objects));
        }
    }
    Ok(listed)
}

/// Finds out anew where the records of everything that `job` selects are in the target: by reading the backup where the
/// job says that offsets were mapped, or leaves it open. A target that holds neither all records at their original
/// offsets nor all of them one behind the other is not fully restored.
pub async fn from_offsets(
    job: &Job,
    cluster: &Cluster,
    progress: &dyn Progress,
) -> Result<Translation, RestoreError> {
    let plan = list_topics(job, progress).await?;
    let context = stream_context(job)?;
    let mut topics: BTreeMap<String, RestoredTopic> = BTreeMap::new();
    for (topic, partition, objects) in partitions(&plan)? {
        let restored = topics
            .entry(topic.source.clone())
            .or_insert_with(|| RestoredTopic {
                target: topic.target.clone(),
                complete: true,
                partitions: BTreeMap::new(),
            });
        if job.target.offsets == OffsetMode::Exact {
            restored.partitions.insert(partition, Places::Exact);
            continue;
        }
        let name = TopicPartition::new(topic.source.as_str(), partition);
        let options = stream_options(job, &topic.content.decoding);
        let mut stream = PartitionStream::new(&context, name, objects, options);
        let (mut map, mut target) = (OffsetMap::new(), 0);
        while let Some(block) = stream.next().await? {
            for record in block.iter() {
                map.push(record.offset, target, 1);
                target += 1;
            }
        }
        let at = TopicPartition::new(topic.target.as_str(), partition);
        let end = match cluster
            .list_offsets(std::slice::from_ref(&at), OffsetSpec::Latest)
            .await
            .pop()
        {
            Some((_, end)) => end?,
            None => 0,
        };
        let source_end = map.runs().last().map_or(0, |run| run.source_end());
        let exact = job.target.offsets == OffsetMode::Auto && end >= source_end && source_end != target;
        restored.complete &= end >= target;
        let places = match exact {
            true => Places::Exact,
            false => Places::Mapped {
                map,
                known_from: None,
            },
        };
        restored.partitions.insert(partition, places);
    }
    Ok(Translation {
        topics,
        otherwise_exact: false,
    })
}

/// Plans that groups go on at the first record of a time or later, in every partition of `topics` of the target.
pub async fn plan_for_time(
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
        let numbers = topic.partitions.iter().map(|partition| partition.partition);
        partitions.extend(numbers.map(|number| TopicPartition::new(topic.name.as_str(), number)));
    }
    let ends = cluster.list_offsets(&partitions, OffsetSpec::Latest).await;
    let found = cluster.offsets_for_time(&partitions, time).await;
    let mut wanted = Vec::with_capacity(partitions.len());
    for ((at, end), (_, found)) in ends.into_iter().zip(found) {
        let (end, found) = (end?, found?);
        wanted.push((at, found, end));
    }
    let mut groups = Vec::with_capacity(ids.len());
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
        groups.push(GroupPlan {
            rows: rows.collect(),
            id: id.clone(),
            kind: kind.name().to_owned(),
            exists: there.is_some(),
            members: there
                .iter()
                .flat_map(|there| &there.members)
                .map(ToString::to_string)
                .collect(),
        });
    }
    Ok(GroupsPlan {
        groups,
        findings: Vec::new(),
    })
}

/// The newest snapshot in the bucket of the job's source that was taken at or before `end` (milliseconds since 1970), or
/// before the end of the backup where that is earlier; with its place.
pub async fn newest_snapshot(
    job: &Job,
    end: Option<i64>,
) -> Result<Option<(String, Snapshot)>, RestoreError> {
    let source = &job.source;
    let inventory = inventory::take(source.store.as_ref(), &source.layout, &source.selection, |_| {}).await?;
    let end = wish::end(&inventory).min(end.unwrap_or(i64::MAX));
    keep::newest_before(&source.store, end)
        .await
        .map_err(|error| match error {
            keep::KeepError::Storage(error) => error.into(),
            other => RestoreError::Refused(other.to_string()),
        })
}
