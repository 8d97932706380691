//! What a person chooses about the records of a partition.

use std::io;
use std::sync::Arc;

use record::TopicPartition;

use super::packing::Packing;
use crate::format::{Decoding, Rejected};

/// The default size of a block in bytes.
pub const DEFAULT_BLOCK_BYTES: usize = 1 << 20;

/// What to do where one offset has records of different content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Stop the partition and say where both stand.
    #[default]
    Fail,
    /// Take the record from the object that was modified last.
    Newest,
    /// Take the record from the object that was modified first.
    First,
}

/// What to do with content that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRecord {
    /// Stop the partition there.
    #[default]
    Fail,
    /// Hand it to the [`RejectSink`], count it, and go on.
    Skip,
}

/// Takes what was skipped.
pub trait RejectSink: Send + Sync {
    /// Keeps one rejected piece. Called on the runtime's threads: a small write is fine, waiting is not.
    ///
    /// # Errors
    /// Where it cannot be kept; the stream then stops, since nothing may be skipped in silence.
    fn reject(&self, rejected: RejectedRecord<'_>) -> io::Result<()>;
}

/// A piece of an object that was not decoded.
#[derive(Clone, Copy, Debug)]
pub struct RejectedRecord<'a> {
    /// The partition.
    pub partition: &'a TopicPartition,
    /// The object's key.
    pub object: &'a str,
    /// The bytes and where they stand. None where the object could not be read on: then all behind
    /// `byte_offset` is missing.
    pub rejected: Option<&'a Rejected>,
    /// Where, in bytes: of the unwrapped content, unless a container is what is damaged.
    pub byte_offset: u64,
    /// The line, from 1, for formats that have lines.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: &'a str,
    /// The offset of the last whole record before, in this object.
    pub after_offset: Option<i64>,
}

/// What is wanted of a partition, and how.
#[derive(Clone)]
pub struct StreamOptions {
    /// How to read the objects.
    pub decoding: Arc<Decoding>,
    /// The first offset wanted.
    pub from_offset: Option<i64>,
    /// The last offset wanted, inclusive.
    pub to_offset: Option<i64>,
    /// The earliest record timestamp wanted, in milliseconds. Records without a timestamp always pass.
    pub from_time: Option<i64>,
    /// The latest record timestamp wanted, inclusive, in milliseconds.
    pub to_time: Option<i64>,
    /// What to do with different records at one offset.
    pub on_conflict: OnConflict,
    /// What to do with what cannot be decoded.
    pub on_bad_record: OnBadRecord,
    /// Takes what is skipped.
    pub rejected: Option<Arc<dyn RejectSink>>,
    /// Bytes of a block, about; smaller where memory is short.
    pub block_bytes: usize,
    /// Packs the records when they are decoded. See [`packing`](super::packing).
    pub packing: Option<Arc<dyn Packing>>,
}

impl StreamOptions {
    /// All records, stopping at anything that is not as it should be.
    pub fn new(decoding: Arc<Decoding>) -> Self {
        Self {
            decoding,
            from_offset: None,
            to_offset: None,
            from_time: None,
            to_time: None,
            on_conflict: OnConflict::Fail,
            on_bad_record: OnBadRecord::Fail,
            rejected: None,
            block_bytes: DEFAULT_BLOCK_BYTES,
            packing: None,
        }
    }

    /// True where some records may not be wanted for their timestamps.
    pub(super) fn looks_at_times(&self) -> bool {
        self.from_time.is_some() || self.to_time.is_some()
    }

    /// True where a record of this timestamp is wanted.
    pub(super) fn wants_time(&self, timestamp: i64) -> bool {
        timestamp == record::NO_TIMESTAMP
            || (self.from_time.is_none_or(|from| timestamp >= from)
                && self.to_time.is_none_or(|to| timestamp <= to))
    }
}
