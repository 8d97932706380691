//! Finds out anew where the records of a backup are in the target, without the reports of its restore.
//!
//! The backup is read for the offset map. Whether the target has the records at their original offsets or one behind
//! the other, it tells itself: some records, the last ones first, are looked for at both places and compared. A log end
//! alone proves nothing, since producers may have gone on behind the restore.

use std::collections::{BTreeMap, VecDeque};

use backup::stream::{PartitionStream, StreamContext};
use kafka::cluster::Cluster;
use kafka::fetch::{Isolation, PartitionFetcher};
use record::{RecordBlock, RecordRef, TopicPartition};

use super::gather::{Listed, partitions};
use super::translate::{Places, RestoredTopic, Translation};
use crate::compare::{Tolerance, content_difference};
use crate::error::RestoreError;
use crate::execute::{stream_context, stream_options};
use crate::job::{Job, OffsetMode};
use crate::logs;
use crate::offsets::OffsetMap;
use crate::plan::list_topics;
use crate::progress::Progress;

/// Records that are looked for at most.
const PROBES: usize = 8;

/// Where everything that `job` selects is in the target, and what a person should know about that: by reading the backup
/// where the job does not say that offsets are exact. A target that holds neither all records at their original offsets
/// nor all of them one behind the other is not fully restored.
pub async fn from_target(
    job: &Job,
    cluster: &Cluster,
    progress: &dyn Progress,
) -> Result<(Translation, Vec<String>), RestoreError> {
    let plan = list_topics(job, progress).await?;
    let context = stream_context(job)?;
    let mut topics: BTreeMap<String, RestoredTopic> = BTreeMap::new();
    let mut findings = Vec::new();
    for listed in partitions(&plan)? {
        let (topic, partition, _) = &listed;
        let (source, target, partition) = (topic.source.clone(), topic.target.clone(), *partition);
        let located = locate(job, cluster, &context, listed).await?;
        let restored = topics.entry(source).or_insert_with(|| RestoredTopic {
            target: target.clone(),
            complete: true,
            partitions: BTreeMap::new(),
        });
        match located {
            Ok(places) => {
                restored.partitions.insert(partition, places);
            }
            Err(reason) => {
                restored.complete = false;
                findings.push(format!(
                    "{target}-{partition}: {reason}; give the restore's report with --report, or say --offsets exact or \
                     --offsets map where you know"
                ));
            }
        }
    }
    let translation = Translation {
        topics,
        otherwise_exact: false,
    };
    Ok((translation, findings))
}

/// The places of a partition, or why they are not known.
async fn locate(
    job: &Job,
    cluster: &Cluster,
    context: &StreamContext,
    (topic, partition, objects): Listed<'_>,
) -> Result<Result<Places, String>, RestoreError> {
    if job.target.offsets == OffsetMode::Exact {
        return Ok(Ok(Places::Exact));
    }
    let name = TopicPartition::new(topic.source.as_str(), partition);
    let at = TopicPartition::new(topic.target.as_str(), partition);
    let options = stream_options(job, &topic.content.decoding);
    let stream = PartitionStream::new(context, name, objects, options);
    let (map, probes) = read(stream).await?;
    let ends = map.runs().last().map(|run| (run.source_end(), run.target_end()));
    let Some((source_end, target_end)) = ends else {
        return Ok(Ok(Places::Unlisted));
    };
    let (start, end) = logs::range(cluster, &at).await?;
    let identical = map.runs().iter().all(|run| run.difference() == 0);
    let mapped = Places::Mapped {
        map,
        known_from: None,
    };
    if end < target_end {
        return Ok(Err(format!(
            "the log ends at {end}, and the backup has {target_end} records for it"
        )));
    }
    if identical {
        return Ok(Ok(Places::Exact));
    }
    if job.target.offsets == OffsetMode::Map {
        return Ok(Ok(mapped));
    }
    let tolerance = Tolerance::of(&topic.content);
    let mut deleted = true;
    for probe in probes {
        let stands = async |offset: i64| probe.stands(cluster, &at, offset, (start, end), tolerance).await;
        let (exact, contiguous) = (stands(probe.source).await?, stands(probe.target).await?);
        deleted &= probe.source < start && probe.target < start;
        match (exact, contiguous) {
            (true, false) => return Ok(Ok(Places::Exact)),
            (false, true) => return Ok(Ok(mapped)),
            (true, true) | (false, false) => {}
        }
    }
    // Where nothing is left that could be compared, the end says what was there.
    Ok(match deleted {
        true if end >= source_end => Ok(Places::Exact),
        true => Ok(mapped),
        false => Err("it holds the last records of the backup neither at their original offsets nor one behind the other"
            .to_owned()),
    })
}

/// The offset map of a restore into an empty log, and the last records whose places tell it from exact offsets; the very
/// last one first.
async fn read(mut stream: PartitionStream) -> Result<(OffsetMap, Vec<Probe>), RestoreError> {
    let (mut map, mut target) = (OffsetMap::new(), 0);
    let mut probes = VecDeque::with_capacity(PROBES + 1);
    while let Some(block) = stream.next().await? {
        for record in block.iter() {
            map.push(record.offset, target, 1);
            target += 1;
        }
        // One of each block is enough, and keeps memory small.
        if let Some(last) = block.iter().last().filter(|last| last.offset != target - 1) {
            probes.push_front(Probe::new(last, target - 1));
            probes.truncate(PROBES);
        }
    }
    Ok((map, probes.into()))
}

/// A record of the backup, with the two places at which it may stand.
struct Probe {
    source: i64,
    target: i64,
    block: RecordBlock,
}

impl Probe {
    fn new(record: RecordRef<'_>, target: i64) -> Self {
        let mut block = RecordBlock::new();
        block.push(record);
        Self {
            source: record.offset,
            target,
            block,
        }
    }

    /// True where the record at `offset` of a log is this one.
    async fn stands(
        &self,
        cluster: &Cluster,
        at: &TopicPartition,
        offset: i64,
        (start, end): (i64, i64),
        tolerance: Tolerance,
    ) -> Result<bool, RestoreError> {
        if offset < start || offset >= end {
            return Ok(false);
        }
        let isolation = Isolation::ReadUncommitted;
        let mut fetcher = PartitionFetcher::new(cluster.clone(), at.clone(), offset, offset + 1, isolation);
        let mut block = RecordBlock::new();
        while fetcher.next(&mut block).await? {
            let same = |record: RecordRef<'_>| {
                record.offset == offset && content_difference(self.block.get(0), record, tolerance).is_none()
            };
            if block.iter().any(same) {
                return Ok(true);
            }
            block.clear();
        }
        Ok(false)
    }
}
