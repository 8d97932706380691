//! Backups that hold the latest record of each key, in objects whose names say no partition (`{{key}}` in a template
//! without `{{partition}}`).
//!
//! Such a backup is no log: older records are gone, and nobody knows which partition a record was in. All objects are
//! read before anything is planned, since the newest record of a key may be in any of them; what is left is one record per
//! key, in the partition where Kafka's producers put that key, in the order of timestamps. Between the read and the end of
//! the restore they are in memory, and must fit into half of the budget. Offsets are new.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::inventory::{NO_PARTITION, PartitionObjects, TopicInventory};
use backup::layout::{Grouping, KeyMatch, Layout};
use backup::stream::{
    ChosenRecords, PartitionStream, StreamContext, StreamOptions, StreamStatistics, read_alone,
};
use kafka::cluster::Cluster;
use kafka::partitioner::partition_of_key;
use record::{RecordBlock, RecordRef, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::error::RestoreError;
use crate::execute::{source_context, stream_options};
use crate::job::Job;
use crate::notes::notes;
use crate::plan::{Finding, PartitionPlan, RestorePlan, Severity, TopicPlan};
use crate::progress::{Event, Progress, Snapshot};

/// Bytes of the blocks that records are kept in.
const BLOCK_BYTES: usize = 256 << 10;

/// Memory of one entry of a hash map beside its key, about.
const ENTRY_BYTES: usize = 96;

/// How often it is told how far the reading is.
const TICK: Duration = Duration::from_millis(200);

/// What became of the objects of a topic that hold the latest record of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestState {
    /// Objects that were read.
    pub objects: u64,
    /// Records to restore: one for each key, and all without a key.
    pub records: u64,
    /// Records left out because another object has a newer one of the same key.
    pub older: u64,
    /// Records without a key, in partition 0.
    pub keyless: u64,
    /// Records that have their key from the object's name, because they are stored without.
    pub named_keys: u64,
    /// Pieces that could not be decoded and were skipped as asked.
    pub rejected: u64,
}

/// The records to restore into each partition of such topics, by the topic's name in the backup.
#[derive(Clone, Debug, Default)]
pub struct LatestRecords {
    partitions: BTreeMap<(String, i32), ChosenRecords>,
    /// Memory that they take.
    pub(crate) bytes: usize,
}

impl LatestRecords {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&ChosenRecords> {
        self.partitions.get(&(topic.to_owned(), partition))
    }
}

/// Where the records of a partition come from.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    /// From its own objects.
    Objects(Arc<PartitionObjects>),
    /// From memory: the latest record of each key.
    Latest(ChosenRecords),
}

impl Records {
    pub(crate) fn stream(
        &self,
        context: &StreamContext,
        partition: TopicPartition,
        options: StreamOptions,
    ) -> PartitionStream {
        match self {
            Self::Objects(objects) => PartitionStream::new(context, partition, Arc::clone(objects), options),
            Self::Latest(records) => PartitionStream::of_chosen(context, partition, records.clone(), options),
        }
    }

    /// True where source offsets mean nothing.
    pub(crate) fn is_latest(&self) -> bool {
        matches!(self, Self::Latest(_))
    }

    /// How much there is, to begin with what takes longest.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Objects(objects) => objects.bytes(),
            Self::Latest(records) => records.len() as u64,
        }
    }
}

/// True where all objects of a topic are of this kind.
pub(crate) fn is_latest(topic: &TopicInventory) -> bool {
    topic.groupings.iter().eq([&Grouping::LatestState]) && topic.partitions.keys().eq([&NO_PARTITION])
}

/// Reads the topic's objects, chooses the latest record of each key, and gives the plan its partitions: `count` of them.
pub(crate) async fn settle(
    job: &Job,
    plan: &mut RestorePlan,
    index: usize,
    count: i32,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let topic = &plan.topics[index];
    let Some(objects) = (plan.inventory.topics)
        .get(topic.source.as_str())
        .and_then(|topic| topic.partitions.get(&NO_PARTITION))
        .cloned()
    else {
        return Ok(());
    };
    let most = (job.resources.memory / 2).saturating_sub(plan.latest.bytes);
    let (keeper, statistics) = gather(job, topic, &objects, most, progress).await?;
    let bytes = keeper.held;
    let (partitions, state) = keeper.finish(objects.len() as u64, statistics.rejected, count);

    let topic = &mut plan.topics[index];
    topic.partitions.clear();
    for (partition, records) in (0..).zip(partitions) {
        topic.partitions.push(PartitionPlan {
            objects: records.len() as u64,
            stored_bytes: records.stored_bytes,
            ..PartitionPlan::empty(partition)
        });
        let at = (topic.source.clone(), partition);
        plan.latest.partitions.insert(at, records.chosen);
    }
    plan.latest.bytes += bytes;
    plan.findings.extend(findings(topic, &state, &statistics, count));
    topic.latest = Some(state);
    Ok(())
}

/// As [`settle`], for every such topic of a plan, with as many partitions as the target has.
pub(crate) async fn settle_as_target(
    job: &Job,
    cluster: &Cluster,
    plan: &mut RestorePlan,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    for index in 0..plan.topics.len() {
        if plan.topics[index].latest.is_none() {
            continue;
        }
        let target = plan.topics[index].target.clone();
        let found = cluster.topics(Some(&[target.as_str()])).await?;
        // Of a topic that is not there, every look at its partitions says so.
        let count = found.first().map_or(1, |topic| topic.partitions.len().max(1));
        settle(
            job,
            plan,
            index,
            i32::try_from(count).unwrap_or(i32::MAX),
            progress,
        )
        .await?;
    }
    Ok(())
}

/// What a person must know of this, beside the plan's numbers.
fn findings(
    topic: &TopicPlan,
    state: &LatestState,
    statistics: &StreamStatistics,
    count: i32,
) -> Vec<Finding> {
    let name = &topic.source;
    let mut messages = vec![format!(
        "{name}: its objects are named by record keys and hold the latest record of each key, not the topic's history: \
         {} records of {} objects are restored, one per key, in the order of their timestamps. Older values of a key are \
         gone. Keys are put where producers put them among {count} partitions; offsets are new, so that committed offsets \
         of consumer groups have no meaning for them",
        state.records, state.objects
    )];
    let mut message = |number: u64, text: String| {
        if number > 0 {
            messages.push(format!("{name}: {number} {text}"));
        }
    };
    message(
        state.older,
        "records are left out, because another object has a newer one of the same key (keys of bytes get a new object \
         name with every flush)"
            .to_owned(),
    );
    message(
        state.named_keys,
        "records are stored without their key and get it from the object's name: right where keys are texts, and only there"
            .to_owned(),
    );
    message(
        state.keyless,
        "records have no key, and are put into partition 0".to_owned(),
    );
    messages.extend(
        notes(&StreamStatistics {
            notes: backup::stream::NoteSums {
                // The numbers of one record each, which mean nothing.
                numbered_objects: 0,
                ..statistics.notes.clone()
            },
            ..statistics.clone()
        })
        .into_iter()
        .map(|note| format!("{name}: {note}")),
    );
    let warning = |message| Finding {
        severity: Severity::Warning,
        message,
    };
    messages.into_iter().map(warning).collect()
}

/// Reads all objects and keeps the latest record of each key.
async fn gather(
    job: &Job,
    topic: &TopicPlan,
    objects: &PartitionObjects,
    most: usize,
    progress: &dyn Progress,
) -> Result<(Keeper, StreamStatistics), RestoreError> {
    let context = source_context(&job.source, &job.resources)?;
    let partition = TopicPartition::new(topic.source.as_str(), NO_PARTITION);
    let options = stream_options(job, &topic.content.decoding);
    let mut charge = context.budget.hold(0);
    let mut keeper = Keeper::default();
    let started = Instant::now();
    let (mut told, mut last, mut snapshot) = (started, None, Snapshot::default());
    snapshot.objects_total = objects.len() as u64;
    snapshot.stored_bytes_total = objects.bytes();
    let take = |index: usize, block: &RecordBlock| {
        let object = objects.get(index);
        for (position, record) in block.iter().enumerate() {
            let named = record
                .key
                .is_none()
                .then(|| key_of_name(&job.source.layout, &object.key));
            let rank = Rank {
                timestamp: record.timestamp,
                offset: record.offset,
                last_modified: object.last_modified,
                object: index,
                position,
            };
            keeper.keep(record, named.flatten(), rank, object.size);
        }
        charge.resize(keeper.held);
        if last != Some(index) {
            last = Some(index);
            snapshot.objects_done += 1;
            snapshot.stored_bytes_done += object.size;
        }
        snapshot.records_read += block.len() as u64;
        if told.elapsed() >= TICK {
            told = Instant::now();
            snapshot.elapsed_milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            progress.report(&Event::Advance(snapshot));
        }
        match keeper.held > most {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let statistics = read_alone(&context, &partition, objects, &options, take).await?;
    if keeper.held > most {
        return Err(RestoreError::LatestStateTooLarge {
            topic: topic.source.clone(),
            read: statistics.objects_done.max(1),
            objects: objects.len() as u64,
            available: most,
            needed: needed(keeper.held, statistics.objects_done, objects.len()),
        });
    }
    Ok((keeper, statistics))
}

/// The budget that all objects would take, told from those that were read, with something to spare.
fn needed(held: usize, read: u64, objects: usize) -> usize {
    let all = held as u128 * objects as u128 / u128::from(read.max(1));
    usize::try_from(all.saturating_mul(5) / 2).unwrap_or(usize::MAX)
}

/// The record key in an object's name, where it is one: `null` is a null key or that word, and `[B@..` is no key.
fn key_of_name(layout: &Layout, object: &str) -> Option<Vec<u8>> {
    match layout.match_key(object) {
        KeyMatch::Name(name) if !name.has_array_identity() => {
            let key = name.record_key().filter(|key| *key != "null")?;
            Some(key.as_bytes().to_vec())
        }
        _ => None,
    }
}

/// Which of two records of a key is the later one: by timestamp, since offsets of different partitions cannot be
/// compared, and a name that says no partition may be of any. What decides last makes every run come to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    timestamp: i64,
    offset: i64,
    last_modified: i64,
    object: usize,
    position: usize,
}

/// A record that is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    rank: Rank,
    place: (u32, u32),
    stored_bytes: u64,
}

/// Keeps the latest record of each key.
#[derive(Default)]
struct Keeper {
    blocks: Vec<RecordBlock>,
    latest: HashMap<Box<[u8]>, Kept>,
    /// Records without a key: nothing says that one is newer than another.
    keyless: Vec<Kept>,
    older: u64,
    named_keys: u64,
    /// Bytes of memory of all that.
    held: usize,
    /// Of these, those of the last block, which grows.
    growing: usize,
}

/// The records of one partition.
struct Chosen {
    chosen: ChosenRecords,
    stored_bytes: u64,
}

impl Chosen {
    fn len(&self) -> usize {
        self.chosen.len()
    }
}

impl Keeper {
    fn keep(&mut self, record: RecordRef<'_>, named: Option<Vec<u8>>, rank: Rank, stored_bytes: u64) {
        let key = record.key.or(named.as_deref());
        self.named_keys += u64::from(record.key.is_none() && key.is_some());
        let Some(key) = key else {
            let place = self.store(record);
            self.held += size_of::<Kept>();
            self.keyless.push(Kept {
                rank,
                place,
                stored_bytes,
            });
            return;
        };
        let known = self.latest.get(key).map(|kept| kept.rank);
        self.older += u64::from(known.is_some());
        if known.is_some_and(|known| known > rank) {
            return;
        }
        let place = self.store(RecordRef {
            key: Some(key),
            ..record
        });
        let kept = Kept {
            rank,
            place,
            stored_bytes,
        };
        match self.latest.get_mut(key) {
            Some(known) => *known = kept,
            None => {
                self.held += key.len() + ENTRY_BYTES;
                self.latest.insert(key.into(), kept);
            }
        }
    }

    fn store(&mut self, record: RecordRef<'_>) -> (u32, u32) {
        if self
            .blocks
            .last()
            .is_none_or(|block| block.used_bytes() >= BLOCK_BYTES)
        {
            self.blocks.push(RecordBlock::new());
            self.growing = 0;
        }
        // There is one: it was made where there was none.
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        block.push(record);
        let bytes = block.memory_bytes();
        self.held += bytes - self.growing;
        self.growing = bytes;
        (number as u32, block.len() as u32 - 1)
    }

    /// The records of each of `count` partitions, in the order in which they are restored.
    fn finish(self, objects: u64, rejected: u64, count: i32) -> (Vec<Chosen>, LatestState) {
        let state = LatestState {
            objects,
            records: (self.latest.len() + self.keyless.len()) as u64,
            older: self.older,
            keyless: self.keyless.len() as u64,
            named_keys: self.named_keys,
            rejected,
        };
        let blocks: Arc<[RecordBlock]> = self.blocks.into();
        let record = |place: (u32, u32)| blocks[place.0 as usize].get(place.1 as usize);
        let mut partitions: Vec<Vec<Kept>> = vec![Vec::new(); usize::try_from(count).unwrap_or(0).max(1)];
        for (key, kept) in &self.latest {
            let partition = usize::try_from(partition_of_key(key, count)).unwrap_or(0);
            partitions[partition].push(*kept);
        }
        partitions[0].extend(self.keyless);
        let chosen = partitions.into_iter().map(|mut kept| {
            kept.sort_by(|one, other| in_order(one, other, &record));
            Chosen {
                stored_bytes: kept.iter().map(|kept| kept.stored_bytes).sum(),
                chosen: ChosenRecords::new(Arc::clone(&blocks), kept.iter().map(|kept| kept.place).collect()),
            }
        });
        (chosen.collect(), state)
    }
}

/// By timestamp, offset and key: the same whatever the order in which a store lists its objects.
fn in_order<'a>(one: &Kept, other: &Kept, record: &impl Fn((u32, u32)) -> RecordRef<'a>) -> Ordering {
    (one.rank.timestamp, one.rank.offset)
        .cmp(&(other.rank.timestamp, other.rank.offset))
        .then_with(|| record(one.place).key.cmp(&record(other.place).key))
        .then_with(|| one.rank.cmp(&other.rank))
}

#[cfg(test)]
mod tests;
