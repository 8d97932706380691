//! Listing + layout -> topics, partitions and objects in numeric order.
//!
//! One pass over a listing, page by page; [`objects`] says how ten million objects are kept small. What does
//! not match the layout is counted and sampled, never dropped in silence, and every topic that a name shows is
//! counted whether it is asked for or not.

mod block;
mod error;
pub mod objects;
mod prefixes;
mod selection;
mod taking;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use error::{AmbiguousName, Existing, InventoryError, MissingTopic};
pub use objects::{ObjectEntry, PartitionObjects};
pub use prefixes::Prefixes;
pub use selection::Selection;
pub use taking::take;

use crate::layout::Grouping;
use crate::layout::discover::Proposal;

/// The partition of objects whose names have none.
pub const NO_PARTITION: i32 = -1;
/// The topic of objects whose names have none, where nothing else tells it.
pub const NO_TOPIC: &str = "";
/// How many keys are kept as samples of a kind.
const MOST_SAMPLES: usize = 20;

/// All that a listing told.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The topics that were asked for and have objects, under [`NO_TOPIC`] what has no topic.
    pub topics: BTreeMap<Arc<str>, TopicInventory>,
    /// Every topic that a name shows, asked for or not. Where only full names were asked for, the listing is
    /// narrowed to them, and so is this.
    pub seen: BTreeMap<Arc<str>, TopicTally>,
    /// All objects that were listed.
    pub listed: Tally,
    /// Objects whose names do not fit the layout.
    pub unmatched: Sampled,
    /// Templates that would explain the names of unmatched objects, best first.
    pub proposals: Vec<Proposal>,
    /// Objects that other tools keep beside the data, by their names.
    pub side_objects: Sampled,
    /// Markers that consoles and tools leave for folders.
    pub folder_markers: u64,
    /// Objects of the topics asked for that are older than was asked for.
    pub older: Tally,
    /// Names with more than one reading.
    pub ambiguous: Ambiguity,
    /// For each way of naming of the layout: what it is, and the objects that it named.
    pub generations: Vec<(String, Tally)>,
    /// Names whose numbers are padded otherwise than the template says.
    pub padded_otherwise: u64,
    /// Names whose numbers are written with digits of another script than Latin.
    pub foreign_digits: u64,
    /// Names whose record key is a Java array's identity (`[B@..`): several objects may hold one key.
    pub array_identities: u64,
}

/// One topic of an inventory.
#[derive(Clone, Debug, Default)]
pub struct TopicInventory {
    /// The objects by partition, under [`NO_PARTITION`] those whose names have none.
    pub partitions: BTreeMap<i32, Arc<PartitionObjects>>,
    /// How records are grouped in the objects.
    pub groupings: BTreeSet<Grouping>,
}

impl TopicInventory {
    /// The number of objects.
    pub fn objects(&self) -> u64 {
        self.partitions.values().map(|objects| objects.len() as u64).sum()
    }

    /// Stored bytes.
    pub fn bytes(&self) -> u64 {
        self.partitions
            .values()
            .fold(0, |sum, objects| sum.saturating_add(objects.bytes()))
    }

    /// The highest partition that has an object: one less than the least number of partitions there were.
    pub fn highest_partition(&self) -> Option<i32> {
        self.partitions
            .keys()
            .next_back()
            .copied()
            .filter(|partition| *partition != NO_PARTITION)
    }
}

/// A number of objects and their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// The number of objects.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, size: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

/// What names show of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TopicTally {
    /// Its objects.
    pub objects: Tally,
    /// The highest partition in a name.
    pub highest_partition: Option<i32>,
}

/// A number of objects and some of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sampled {
    /// How many there are.
    pub tally: Tally,
    /// The first of them by name, at most 20.
    pub samples: Vec<String>,
}

impl Sampled {
    fn add(&mut self, key: &str, size: u64) {
        self.tally.add(size);
        // A listing comes in any order; what is said of it should not change from run to run.
        let place = self.samples.partition_point(|sample| sample.as_str() < key);
        if place < MOST_SAMPLES {
            self.samples.truncate(MOST_SAMPLES - 1);
            self.samples.insert(place, key.to_owned());
        }
    }
}

/// Names with more than one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ambiguity {
    /// Objects that are in no topic because their names stayed ambiguous.
    pub tally: Tally,
    /// How many of these may be of a topic and partition that was asked for.
    pub concerned: u64,
    /// Some of these, those that are concerned first.
    pub samples: Vec<AmbiguousName>,
    /// Objects whose names have one reading only that names a topic of which there are other objects, and that
    /// were taken as that.
    pub resolved: u64,
}

impl Inventory {
    /// An error where an object that may belong to what was asked for has a name with several readings.
    pub fn check_ambiguity(&self) -> Result<(), InventoryError> {
        if self.ambiguous.concerned == 0 {
            return Ok(());
        }
        Err(InventoryError::Ambiguous {
            objects: self.ambiguous.concerned,
            samples: self.ambiguous.samples.clone(),
        })
    }

    /// The number of objects of all topics that were asked for.
    pub fn objects(&self) -> u64 {
        self.topics.values().map(TopicInventory::objects).sum()
    }

    /// Bytes of memory that the objects of these topics take.
    pub fn memory(&self) -> usize {
        let partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        partitions.map(|objects| objects.memory()).sum()
    }

    /// True where some object holds only the latest record of its key.
    pub fn has_latest_state(&self) -> bool {
        self.topics
            .values()
            .any(|topic| topic.groupings.contains(&Grouping::LatestState))
    }
}

/// How far a listing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListingProgress {
    /// Objects listed so far.
    pub listed: Tally,
    /// How many of them belong to what was asked for.
    pub taken: u64,
}

#[cfg(test)]
mod tests;
