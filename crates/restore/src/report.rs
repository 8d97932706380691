//! What a restore did, partition by partition. Only what brokers confirmed counts.

use serde::{Deserialize, Serialize};

use crate::digest::Verified;
pub use crate::exact::measured::MeasuredCost;
use crate::forecast::Expiration;
use crate::latest::LatestState;
use crate::offsets::{OffsetMap, Run};
pub use crate::stages::{Shares, Stages};

/// The version of the report's schema; it grows with every change that a reader could stumble over.
pub const REPORT_VERSION: u32 = 1;

/// The outcome of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// When the run began, RFC 3339.
    pub started: String,
    /// How long it took, milliseconds.
    pub elapsed_milliseconds: u64,
    /// Where the backup lies.
    pub source: String,
    /// Each topic, by target name.
    pub topics: Vec<TopicReport>,
    /// Objects in the bucket that belong to no topic, with reasons.
    pub unmatched_objects: u64,
    /// What a person should know or do.
    pub findings: Vec<String>,
    /// What brokers will delete or compact, now that topics have their own configuration back.
    #[serde(default)]
    pub expirations: Vec<Expiration>,
    /// What this run was not allowed to do: commands for somebody who is.
    #[serde(default)]
    pub to_do: Vec<String>,
    /// Why what follows the records (log starts, the topics' own configuration) could not be done. The same command,
    /// run again, does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// What offsets without records cost, where offsets are exact and some have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<MeasuredCost>,
    /// Where the time went.
    pub stages: Stages,
}

/// The outcome for one topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicReport {
    /// The topic's name in the backup.
    pub source: String,
    /// The topic's name in the target.
    pub target: String,
    /// Where the backup holds only the latest record of each key: what became of its objects. Source offsets have no
    /// meaning then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<LatestState>,
    /// Each partition, ascending.
    pub partitions: Vec<PartitionReport>,
}

/// How a partition's restore ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// Everything selected is in the target, confirmed.
    Complete,
    /// It stopped before the end; what is counted is in the target, confirmed.
    Failed {
        /// Why, in full sentences.
        error: String,
        /// True where the same command may succeed later without anybody changing anything.
        retriable: bool,
    },
    /// The run was told to stop; the same command goes on.
    Interrupted,
}

/// The outcome for one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionReport {
    /// The partition.
    pub partition: i32,
    /// How it ended.
    pub outcome: Outcome,
    /// Where this run went on, behind what an earlier one had put there: a target offset.
    pub resumed_at: Option<i64>,
    /// Records that this run put there.
    pub records: u64,
    /// Their keys, values and headers in bytes.
    pub payload_bytes: u64,
    /// First and last source offset that this run restored, inclusive.
    pub source_range: Option<(i64, i64)>,
    /// First and last target offset of those, inclusive.
    pub target_range: Option<(i64, i64)>,
    /// The smallest timestamp that this run read, milliseconds.
    #[serde(default)]
    pub first_time: Option<i64>,
    /// The largest one.
    #[serde(default)]
    pub last_time: Option<i64>,
    /// True where each target offset equals its source offset.
    pub exact: bool,
    /// Source offsets inside the range without a record (compaction, transactions, loss).
    pub missing_offsets: u64,
    /// Ranges of such offsets.
    pub gaps: u64,
    /// Places where an object is cut short, empty or damaged and the records that it should have had are missing: more
    /// likely lost than never there. The notes name the objects.
    #[serde(default)]
    pub suspicious_gaps: u64,
    /// Exact offsets: the source offset of the first record, at which the log is to begin.
    #[serde(default)]
    pub first_offset: Option<i64>,
    /// Where the log began at the end of the run, as its leader said then.
    #[serde(default)]
    pub log_start: Option<i64>,
    /// Compacted topics: gaps below this offset were filled with null records, which the log cleaner removes.
    #[serde(default)]
    pub fillers_below: Option<i64>,
    /// The timestamp of the record at `first_offset`.
    #[serde(skip)]
    pub first_timestamp: Option<i64>,
    /// The offset map: of what earlier runs restored too, where this one had to look at it. With exact offsets it is
    /// one run from the first record to the last, gaps included.
    pub offsets: OffsetMap,
    /// Objects read.
    pub objects: u64,
    /// Equal records that stood in more than one object, restored once.
    pub duplicates: u64,
    /// Offsets with different records in different objects, settled as asked.
    pub conflicts: u64,
    /// Records that could not be decoded and were skipped as asked.
    pub rejected: u64,
    /// What else was noticed, in full sentences.
    pub notes: Vec<String>,
    /// What reading back what this run wrote gave, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
}

impl PartitionReport {
    /// The report of a run that has done nothing yet.
    pub fn new(partition: i32, exact: bool) -> Self {
        Self {
            partition,
            outcome: Outcome::Complete,
            resumed_at: None,
            records: 0,
            payload_bytes: 0,
            source_range: None,
            target_range: None,
            first_time: None,
            last_time: None,
            exact,
            missing_offsets: 0,
            gaps: 0,
            suspicious_gaps: 0,
            first_offset: None,
            log_start: None,
            fillers_below: None,
            first_timestamp: None,
            offsets: OffsetMap::new(),
            objects: 0,
            duplicates: 0,
            conflicts: 0,
            rejected: 0,
            notes: Vec::new(),
            verified: None,
        }
    }

    /// The differences between target and source offsets, with the source offset where each begins.
    pub fn differences(&self) -> Vec<(i64, i64)> {
        let mut differences: Vec<(i64, i64)> = Vec::new();
        for run in self.offsets.runs() {
            if differences
                .last()
                .is_none_or(|(_, last)| *last != run.difference())
            {
                differences.push((run.source, run.difference()));
            }
        }
        differences
    }

    /// The runs of the offset map.
    pub fn runs(&self) -> &[Run] {
        self.offsets.runs()
    }
}

impl Report {
    /// All partitions of all topics.
    pub fn partitions(&self) -> impl Iterator<Item = (&TopicReport, &PartitionReport)> {
        self.topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
    }

    /// Records that this run restored.
    pub fn records(&self) -> u64 {
        self.partitions().map(|(_, partition)| partition.records).sum()
    }

    /// True where every partition is complete.
    pub fn is_complete(&self) -> bool {
        self.partitions()
            .all(|(_, partition)| partition.outcome == Outcome::Complete)
    }

    /// True where records were skipped or rejected as asked, or an object shows that records were lost before.
    pub fn has_losses(&self) -> bool {
        let lost = |topic: &TopicReport| topic.latest.as_ref().is_some_and(|latest| latest.rejected > 0);
        self.topics.iter().any(lost)
            || self
                .partitions()
                .any(|(_, partition)| partition.rejected > 0 || partition.suspicious_gaps > 0)
    }
}
