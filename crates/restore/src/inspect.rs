//! What lies in a bucket: the page that a person wants before anything else is done. Needs no cluster.
//!
//! A listing tells topics, partitions, start offsets and sizes. A *sample* reads a few objects of each partition
//! and estimates the rest; a *deep* look reads everything, and what it says is exact.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use backup::format::{Decoding, Format};
use backup::inventory::{
    self, AmbiguousName, Inventory, NO_PARTITION, ObjectEntry, PartitionObjects, Sampled, Tally,
};
use backup::layout::Grouping;
use backup::layout::discover::Proposal;
use backup::stream::{
    NoteSums, OnBadRecord, OnConflict, PartitionStream, RejectSink, RejectedRecord, StreamContext,
    StreamError, StreamOptions, StreamStatistics, read_alone,
};
use futures::stream::{self, StreamExt};
use record::{RecordBlock, TopicPartition};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::content::{self, TopicContent};
use crate::error::RestoreError;
use crate::execute::source_context;
use crate::job::{Resources, Source};
use crate::progress::{Event, Phase, Progress};
use crate::shared::{Counters, Ticker, Totals};

/// The version of the inspection's schema; it grows with every change that a reader could stumble over.
pub const INSPECTION_VERSION: u32 = 3;

/// Objects of a partition that a sample reads.
const SAMPLED_OBJECTS: usize = 5;

/// Gaps, suspicions and words that are listed for one partition.
const LISTED: usize = 20;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A few objects of each partition are read.
    Sample,
    /// Everything is read.
    Deep,
}

/// See the module's documentation.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// [`INSPECTION_VERSION`].
    pub version: u32,
    /// Where the backup lies.
    pub source: String,
    /// Each way of naming that was recognised, in words, and the objects named so.
    pub names: Vec<(String, Tally)>,
    /// Each topic, by name.
    pub topics: Vec<TopicInspection>,
    /// Objects that belong to no topic.
    pub unmatched: Sampled,
    /// Templates that would explain the names of these, best first.
    pub proposals: Vec<Proposal>,
    /// Objects that other tools keep beside the data.
    pub side_objects: Sampled,
    /// Markers of folders.
    pub folder_markers: u64,
    /// Objects whose names have more than one reading.
    pub ambiguous_objects: u64,
    /// Some of these, with their readings.
    pub ambiguous_names: Vec<AmbiguousName>,
    /// True where everything was read.
    pub exact: bool,
}

/// One topic.
#[derive(Clone, Debug, Serialize)]
pub struct TopicInspection {
    /// Its name.
    pub topic: String,
    /// True where objects hold only the latest record of each key.
    pub latest_state: bool,
    /// How its objects are read.
    pub content: TopicContent,
    /// Each partition that has objects, ascending.
    pub partitions: Vec<PartitionInspection>,
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionInspection {
    /// Its number.
    pub partition: i32,
    /// Objects.
    pub objects: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// Smallest and largest start offset in a name.
    pub start_offsets: Option<(i64, i64)>,
    /// When the oldest and the newest object were written, milliseconds since 1970.
    pub modified: Option<(i64, i64)>,
    /// What reading showed.
    pub content: Content,
    /// Why it could not be read to its end.
    pub error: Option<String>,
}

/// What reading a partition, or a sample of it, showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Content {
    /// Objects read.
    pub objects_read: u64,
    /// Records: counted where everything was read, else estimated from the sample.
    pub records: u64,
    /// Bytes of keys, values and headers, likewise.
    pub payload_bytes: u64,
    /// First and last offset read.
    pub offsets: Option<(i64, i64)>,
    /// Earliest and latest timestamp read, milliseconds since 1970.
    pub times: Option<(i64, i64)>,
    /// Formats, with the objects of each.
    pub formats: Vec<(Format, u64)>,
    /// Ranges of offsets without records.
    pub gaps: u64,
    /// Offsets in them.
    pub missing_offsets: u64,
    /// Gaps at a partial or empty object: more likely losses.
    pub suspicious_gaps: u64,
    /// The first gaps, suspicious ones included.
    pub gap_list: Vec<GapInspection>,
    /// Objects whose offsets overlap with others'.
    pub overlapping_objects: u64,
    /// Records that stand in more than one object, or twice in one.
    pub duplicates: u64,
    /// Offsets with different records.
    pub conflicts: u64,
    /// Pieces that cannot be decoded.
    pub damaged: u64,
    /// The first of them: object, place and what is wrong.
    pub damage_list: Vec<String>,
    /// Objects without content.
    pub empty_objects: u64,
    /// What the decoders noted, in numbers.
    pub noted: NoteSums,
    /// What looks as if the objects were not one partition's history.
    pub suspicions: Vec<String>,
}

/// A range of offsets without records.
#[derive(Clone, Debug, Serialize)]
pub struct GapInspection {
    /// The first missing offset.
    pub first: i64,
    /// The last missing offset.
    pub last: i64,
    /// The object with the record before.
    pub object_before: Option<String>,
    /// The object with the record behind.
    pub object_behind: String,
    /// True where an object at this place is partial, empty or damaged.
    pub suspicious: bool,
}

/// Lists `source` and reads as much of it as `depth` says.
pub async fn inspect(
    source: &Source,
    resources: &Resources,
    depth: Depth,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Inspection, RestoreError> {
    progress.report(&Event::Phase {
        phase: Phase::List,
        subject: source.store.location().to_owned(),
    });
    let on_page = |listing: inventory::ListingProgress| {
        progress.report(&Event::Listing {
            objects: listing.listed.objects,
            matched: listing.taken,
        });
    };
    let inventory =
        inventory::take(source.store.as_ref(), &source.layout, &source.selection, on_page).await?;

    progress.report(&Event::Phase {
        phase: Phase::Examine,
        subject: source.store.location().to_owned(),
    });
    let context = source_context(source, resources)?;
    let counters = Arc::new(Counters::default());
    let ticker = (depth == Depth::Deep).then(|| {
        let partitions = || {
            inventory
                .topics
                .values()
                .flat_map(|topic| topic.partitions.values())
        };
        let totals = Totals {
            objects: partitions().map(|objects| objects.len() as u64).sum(),
            stored_bytes: partitions().map(|objects| objects.bytes()).sum(),
            partitions: partitions().count() as u64,
        };
        Ticker::start(Arc::clone(&progress), Arc::clone(&counters), totals)
    });
    let mut topics = Vec::new();
    for (name, topic) in &inventory.topics {
        let content = content::resolve(source, &context, topic).await?;
        let looks = stream::iter(&topic.partitions).map(|(partition, objects)| {
            let tp = TopicPartition::new(Arc::clone(name), *partition);
            look(&content.decoding, &context, &counters, tp, objects, depth)
        });
        let looking = looks
            .buffered(context.budget.partitions_at_once().max(1))
            .collect();
        let partitions = tokio::select! {
            partitions = looking => partitions,
            () = cancel.cancelled() => return Err(RestoreError::Interrupted),
        };
        topics.push(TopicInspection {
            topic: name.to_string(),
            latest_state: topic.groupings.contains(&Grouping::LatestState),
            content,
            partitions,
        });
    }
    drop(ticker);
    Ok(assemble(source, inventory, topics, depth))
}

fn assemble(source: &Source, inventory: Inventory, topics: Vec<TopicInspection>, depth: Depth) -> Inspection {
    Inspection {
        version: INSPECTION_VERSION,
        source: source.store.location().to_owned(),
        names: inventory
            .generations
            .into_iter()
            .filter(|(_, tally)| tally.objects > 0)
            .collect(),
        topics,
        unmatched: inventory.unmatched,
        proposals: inventory.proposals,
        side_objects: inventory.side_objects,
        folder_markers: inventory.folder_markers,
        ambiguous_objects: inventory.ambiguous.tally.objects,
        ambiguous_names: inventory.ambiguous.samples,
        exact: depth == Depth::Deep,
    }
}

async fn look(
    decoding: &Arc<Decoding>,
    context: &StreamContext,
    counters: &Counters,
    partition: TopicPartition,
    objects: &Arc<PartitionObjects>,
    depth: Depth,
) -> PartitionInspection {
    let widen = |range: Option<(i64, i64)>, value: i64| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    };
    let mut inspection = PartitionInspection {
        partition: partition.partition,
        objects: objects.len() as u64,
        stored_bytes: objects.bytes(),
        start_offsets: (0..objects.len())
            .filter_map(|index| objects.start_offset(index))
            .fold(None, widen),
        modified: (0..objects.len())
            .map(|index| objects.last_modified(index))
            .fold(None, widen),
        content: Content::default(),
        error: None,
    };
    let sampled = match depth {
        Depth::Deep => Arc::clone(objects),
        Depth::Sample => Arc::new(sample(objects)),
    };
    let damages = Arc::new(Damages::default());
    let options = StreamOptions {
        // Nothing is restored here: whatever is wrong is counted, and the look goes on.
        on_conflict: OnConflict::First,
        on_bad_record: OnBadRecord::Skip,
        rejected: Some(Arc::clone(&damages) as Arc<dyn RejectSink>),
        ..StreamOptions::new(Arc::clone(decoding))
    };
    let (statistics, error) = match partition.partition {
        NO_PARTITION => read_each(context, counters, &partition, &sampled, &options).await,
        _ => read_merged(context, counters, partition, &sampled, options).await,
    };
    inspection.error = error.map(|error| error.to_string());
    Counters::add(&counters.partitions_done, 1);
    let whole = sampled.len() == objects.len();
    let share = objects.bytes() as f64 / sampled.bytes().max(1) as f64;
    inspection.content = summarise(&statistics, whole, share);
    inspection.content.damage_list = damages.take();
    inspection
}

/// The first pieces that cannot be decoded, in words.
#[derive(Default)]
struct Damages(Mutex<Vec<String>>);

impl Damages {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RejectSink for Damages {
    fn reject(&self, rejected: RejectedRecord<'_>) -> std::io::Result<()> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < LISTED {
            let place = match rejected.line {
                Some(line) => format!("line {line} (byte {})", rejected.byte_offset),
                None => format!("byte {}", rejected.byte_offset),
            };
            let rest = match rejected.rejected {
                Some(_) => "",
                None => "; the rest of the object cannot be read",
            };
            list.push(format!("{}, {place}: {}{rest}", rejected.object, rejected.reason));
        }
        Ok(())
    }
}

/// The objects of one partition, as a restore reads them.
async fn read_merged(
    context: &StreamContext,
    counters: &Counters,
    partition: TopicPartition,
    objects: &Arc<PartitionObjects>,
    options: StreamOptions,
) -> (StreamStatistics, Option<StreamError>) {
    let mut stream = PartitionStream::new(context, partition, Arc::clone(objects), options);
    let error = loop {
        match stream.next().await {
            Ok(Some(block)) => Counters::add(&counters.records_done, block.len() as u64),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    (stream.statistics().clone(), error)
}

/// Objects that belong to no one partition, each for itself.
async fn read_each(
    context: &StreamContext,
    counters: &Counters,
    partition: &TopicPartition,
    objects: &PartitionObjects,
    options: &StreamOptions,
) -> (StreamStatistics, Option<StreamError>) {
    let take = |_, block: &RecordBlock| {
        Counters::add(&counters.records_done, block.len() as u64);
        ControlFlow::Continue(())
    };
    match read_alone(context, partition, objects, options, take).await {
        Ok(mut statistics) => {
            // Each record has its offset from somewhere else; none was numbered for a place in a partition.
            statistics.notes.numbered_objects = 0;
            (statistics, None)
        }
        Err(error) => (StreamStatistics::default(), Some(error)),
    }
}

/// The first, the last, and a few objects between.
fn sample(objects: &PartitionObjects) -> PartitionObjects {
    if objects.len() <= SAMPLED_OBJECTS {
        return PartitionObjects::from_list(objects.iter());
    }
    let index = |number: usize| number * (objects.len() - 1) / (SAMPLED_OBJECTS - 1);
    let chosen: Vec<ObjectEntry<'_>> = (0..SAMPLED_OBJECTS)
        .map(|number| objects.get(index(number)))
        .collect();
    PartitionObjects::from_list(chosen)
}

/// `share`: how many times more stored bytes there are than were read.
fn summarise(statistics: &StreamStatistics, whole: bool, share: f64) -> Content {
    let estimated = |number: u64| {
        if whole {
            number
        } else {
            (number as f64 * share) as u64
        }
    };
    let sums = &statistics.notes;
    let gaps = statistics.gaps.list.iter().map(|gap| GapInspection {
        first: gap.first,
        last: gap.last,
        object_before: gap.object_before.clone(),
        object_behind: gap.object_behind.clone(),
        suspicious: gap.suspicious,
    });
    Content {
        objects_read: statistics.objects_done,
        records: estimated(statistics.records),
        payload_bytes: estimated(statistics.payload_bytes),
        offsets: statistics.first_offset.zip(statistics.last_offset),
        times: statistics.first_time.zip(statistics.last_time),
        formats: sums.formats.clone(),
        // Between the objects of a sample lie others: its gaps say nothing.
        gaps: if whole { statistics.gaps.count } else { 0 },
        missing_offsets: if whole { statistics.gaps.offsets } else { 0 },
        suspicious_gaps: if whole { statistics.gaps.suspicious } else { 0 },
        gap_list: if whole {
            gaps.take(LISTED).collect()
        } else {
            Vec::new()
        },
        overlapping_objects: statistics.overlapping_objects,
        duplicates: statistics.duplicates,
        conflicts: statistics.conflicts,
        damaged: statistics.rejected,
        damage_list: Vec::new(),
        empty_objects: statistics.empty_objects,
        noted: sums.clone(),
        suspicions: statistics
            .suspicions
            .list
            .iter()
            .take(LISTED)
            .map(ToString::to_string)
            .collect(),
    }
}
