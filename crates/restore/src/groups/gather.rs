//! Committed offsets that have to be looked for: in the bucket, and in the backup's own records.

use std::sync::Arc;

use backup::inventory::{self, NO_PARTITION};
use backup::stream::PartitionStream;
use futures::StreamExt;
use record::TopicPartition;

use super::source::lenses;
use super::source::log::OffsetsLog;
use super::{GroupOffset, GroupOffsets};
use crate::error::RestoreError;
use crate::execute::{stream_context, stream_options};
use crate::job::Job;
use crate::plan::{RestorePlan, TopicPlan, list_topics};
use crate::progress::Progress;
use crate::snapshot::{Snapshot, keep};
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

pub(super) type Listed<'a> = (&'a TopicPlan, i32, Arc<backup::inventory::PartitionObjects>);

/// Each partition of a plan with its topic and its objects.
pub(super) fn partitions(plan: &RestorePlan) -> Result<Vec<Listed<'_>>, RestoreError> {
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

/// Reads the offset objects that the consumer group sink of Lenses has put into the job's bucket, under keys that begin
/// with `prefix`. Objects whose names are other are left alone; one with another content is an error.
pub async fn from_lenses(job: &Job, prefix: &str) -> Result<Vec<GroupOffsets>, RestoreError> {
    let store = &job.source.store;
    let mut rows = Vec::new();
    let mut listing = store.list(prefix);
    while let Some(object) = listing.next().await {
        let object = object?;
        let Some((group, topic, partition)) = lenses::place(prefix, &object.key) else {
            continue;
        };
        let place = format!("{}/{}", store.location(), object.key);
        let refused = |error: &dyn std::fmt::Display| RestoreError::Refused(error.to_string());
        if object.size != lenses::BYTES {
            return Err(refused(&lenses::wrong(place, object.size)));
        }
        let bytes = keep::read_object(store, &object.key)
            .await
            .map_err(|error| refused(&error))?;
        let offset = lenses::offset(place, &bytes).map_err(|error| refused(&error))?;
        rows.push((group, None, GroupOffset::new(topic, partition, offset)));
    }
    if rows.is_empty() {
        return Err(RestoreError::Refused(format!(
            "{} has no objects named {prefix}GROUP/TOPIC/PARTITION",
            store.location()
        )));
    }
    Ok(super::source::collect(rows))
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
    keep::newest_before(&source.store, &source.snapshots, end)
        .await
        .map_err(|error| match error {
            keep::KeepError::Storage(error) => error.into(),
            other => RestoreError::Refused(other.to_string()),
        })
}
