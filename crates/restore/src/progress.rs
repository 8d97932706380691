//! What a job tells while it runs. The library emits events; bars, lines and JSON are the caller's.

use serde::Serialize;

pub use crate::exact::measured::MeasuredCost;
pub use crate::stages::Shares;

/// Receives a job's events, from any thread. Must return quickly.
pub trait Progress: Send + Sync {
    /// Called for each event.
    fn report(&self, event: &Event);
}

/// Ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _event: &Event) {}
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A new phase began.
    Phase {
        /// Which one.
        phase: Phase,
        /// What it works on, for people: a bucket, a topic.
        subject: String,
    },
    /// A listing goes on.
    Listing {
        /// Objects seen so far.
        objects: u64,
        /// Of those, objects that belong to the selection.
        matched: u64,
    },
    /// A few times a second while data moves.
    Advance(Snapshot),
    /// One partition is complete and confirmed.
    PartitionDone {
        /// The target topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Records restored by this run.
        records: u64,
    },
    /// Something a person should know while the job goes on.
    Notice {
        /// In full sentences.
        message: String,
    },
}

/// The phases of a job, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Objects are listed.
    List,
    /// The target is looked at.
    Examine,
    /// Topics are created and prepared.
    Prepare,
    /// Records are moved.
    Restore,
    /// Records are compared.
    Verify,
    /// Topics get their own configuration back, groups their offsets.
    Finish,
}

/// Where a job is. Totals are of what the plan selected; estimates follow from stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Milliseconds since the phase began.
    pub elapsed_milliseconds: u64,
    /// Objects read to their end.
    pub objects_done: u64,
    /// Objects selected.
    pub objects_total: u64,
    /// Stored bytes read.
    pub stored_bytes_done: u64,
    /// Stored bytes selected.
    pub stored_bytes_total: u64,
    /// Records decoded.
    pub records_read: u64,
    /// Records that the brokers have confirmed (or that were compared).
    pub records_done: u64,
    /// Payload bytes that the brokers have confirmed (or that were compared).
    pub payload_bytes_done: u64,
    /// Partitions complete.
    pub partitions_done: u64,
    /// Partitions selected.
    pub partitions_total: u64,
    /// What part of the run each stage has held up so far.
    pub shares: Shares,
    /// What offsets without records cost, where offsets are exact and some have none.
    pub exact: Option<MeasuredCost>,
}
