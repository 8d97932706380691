//! What a restore did, partition by partition. Only what brokers confirmed counts.

use serde::{Deserialize, Serialize};

use crate::offsets::{OffsetMap, Run};

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
    /// Where the time went.
    pub stages: Stages,
}

/// Seconds of work per stage, summed over threads, and of waiting for the brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Waiting for the next decoded block: fetch, unwrap and decode were the limit.
    pub waiting_for_records_seconds: f64,
    /// Encoding and compressing batches.
    pub encode_seconds: f64,
    /// Waiting for room in the producer: the brokers were the limit.
    pub waiting_for_brokers_seconds: f64,
    /// Of that, because brokers asked for a pause (quotas).
    pub throttled_seconds: f64,
}

/// The outcome for one topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicReport {
    /// The topic's name in the backup.
    pub source: String,
    /// The topic's name in the target.
    pub target: String,
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
    /// True where each target offset equals its source offset.
    pub exact: bool,
    /// Source offsets inside the range without a record (compaction, transactions, loss).
    pub missing_offsets: u64,
    /// Ranges of such offsets.
    pub gaps: u64,
    /// The offset map of what this run restored.
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
}

impl PartitionReport {
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

    /// True where records were skipped or rejected as asked.
    pub fn has_losses(&self) -> bool {
        self.partitions().any(|(_, partition)| partition.rejected > 0)
    }
}
