//! Why a partition's stream stopped.

use std::fmt;

use record::{NO_TIMESTAMP, RecordRef, TopicPartition};

use super::cpu::CpuError;
use crate::format::{ObjectError, Stage};
use crate::storage::{StorageError, StorageErrorKind};

/// A partition whose records cannot be given any further. All records before this place have been given.
#[derive(Debug)]
pub struct StreamError {
    /// The partition.
    pub partition: TopicPartition,
    /// The object's key.
    pub object: String,
    /// The line of the unwrapped content, from 1, for formats that have lines.
    pub line: Option<u64>,
    /// The place in the object in bytes, where there is one.
    pub byte_offset: Option<u64>,
    /// The last offset that was given before.
    pub last_offset: Option<i64>,
    /// What happened.
    pub kind: StreamErrorKind,
    /// True where the same call may succeed later without anybody changing anything.
    pub retryable: bool,
}

/// What stopped a stream.
#[derive(Debug)]
pub enum StreamErrorKind {
    /// The store did not give the object.
    Storage(StorageError),
    /// The object was listed and is gone.
    Vanished,
    /// The object was replaced while it was read, and what stands there now is not what was read before.
    Replaced,
    /// The container (gzip, snappy, zstd) is damaged.
    Container {
        /// What is wrong.
        reason: String,
    },
    /// The content cannot be decoded.
    Decode {
        /// What is wrong.
        reason: String,
    },
    /// The object stops early, and no other object has the records that follow.
    Partial {
        /// What is missing.
        reason: String,
        /// The first offset that no object has.
        missing_from: i64,
    },
    /// Two different records with one offset.
    Conflict(Box<Conflict>),
    /// A record whose offset lies before what was given already, and that was not among it.
    OutOfOrder {
        /// The record's offset.
        offset: i64,
    },
    /// Too many objects overlap for the memory budget.
    Memory {
        /// How many objects would have to be read side by side.
        objects: usize,
        /// The memory this takes at least, in bytes.
        needed: usize,
        /// The memory there is for it, in bytes.
        available: usize,
    },
    /// What was skipped could not be kept.
    Reject(std::io::Error),
    /// A defect in this program.
    Defect(CpuError),
    /// The stream was asked for more after an error.
    Stopped,
}

/// Two records with one offset and different content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The offset that both have.
    pub offset: i64,
    /// The one.
    pub one: ConflictingRecord,
    /// The other.
    pub other: ConflictingRecord,
}

/// One of the records in a [`Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictingRecord {
    /// The object that holds it.
    pub object: String,
    /// When that object was last modified, in milliseconds since 1970.
    pub last_modified: i64,
    /// The record's timestamp in milliseconds, if it has one.
    pub timestamp: Option<i64>,
    /// Bytes of the key, or null.
    pub key_bytes: Option<usize>,
    /// Bytes of the value, or null.
    pub value_bytes: Option<usize>,
    /// The number of headers.
    pub headers: usize,
}

impl ConflictingRecord {
    pub(super) fn new(object: &str, last_modified: i64, record: &RecordRef<'_>) -> Self {
        Self {
            object: object.to_owned(),
            last_modified,
            timestamp: (record.timestamp != NO_TIMESTAMP).then_some(record.timestamp),
            key_bytes: record.key.map(<[u8]>::len),
            value_bytes: record.value.map(<[u8]>::len),
            headers: record.headers.len(),
        }
    }
}

impl fmt::Display for ConflictingRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: Option<usize>| match bytes {
            None => "null".to_owned(),
            Some(1) => "1 byte".to_owned(),
            Some(bytes) => format!("{bytes} bytes"),
        };
        match self.timestamp {
            Some(timestamp) => write!(f, "timestamp {timestamp}, ")?,
            None => write!(f, "no timestamp, ")?,
        }
        write!(
            f,
            "key {}, value {}, headers {}, in {} modified at {}",
            length(self.key_bytes),
            length(self.value_bytes),
            self.headers,
            self.object,
            self.last_modified
        )
    }
}

impl StreamError {
    pub(super) fn new(partition: &TopicPartition, object: &str, kind: StreamErrorKind) -> Self {
        let retryable = match &kind {
            StreamErrorKind::Storage(error) => error.retryable,
            // A new run lists the bucket anew.
            StreamErrorKind::Vanished | StreamErrorKind::Replaced => true,
            _ => false,
        };
        Self {
            partition: partition.clone(),
            object: object.to_owned(),
            line: None,
            byte_offset: None,
            last_offset: None,
            kind,
            retryable,
        }
    }

    pub(super) fn storage(partition: &TopicPartition, object: &str, error: StorageError) -> Self {
        let kind = match error.kind {
            StorageErrorKind::NotFound => StreamErrorKind::Vanished,
            StorageErrorKind::Changed => StreamErrorKind::Replaced,
            _ => StreamErrorKind::Storage(error),
        };
        Self::new(partition, object, kind)
    }

    pub(super) fn damaged(partition: &TopicPartition, error: &ObjectError) -> Self {
        let reason = error.reason.clone();
        let kind = match error.stage {
            Stage::Container => StreamErrorKind::Container { reason },
            Stage::Format => StreamErrorKind::Decode { reason },
        };
        Self::new(partition, &error.object, kind).at(error)
    }

    pub(super) fn partial(partition: &TopicPartition, error: &ObjectError, missing_from: i64) -> Self {
        let kind = StreamErrorKind::Partial {
            reason: error.reason.clone(),
            missing_from,
        };
        Self::new(partition, &error.object, kind).at(error)
    }

    fn at(mut self, error: &ObjectError) -> Self {
        self.line = error.line;
        self.byte_offset = Some(error.byte_offset);
        self
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition, object, ..
        } = self;
        match &self.kind {
            StreamErrorKind::Storage(error) => write!(f, "{partition}: {error}")?,
            StreamErrorKind::Vanished => {
                write!(f, "{partition}: the object {object} was listed and is gone now")?;
            }
            StreamErrorKind::Replaced => write!(
                f,
                "{partition}: the object {object} was replaced while it was read, and its new content does not begin \
                 with what was read before"
            )?,
            StreamErrorKind::Container { reason } => {
                write!(
                    f,
                    "{partition}: the container of the object {object} is damaged: {reason}"
                )?;
            }
            StreamErrorKind::Decode { reason } => {
                write!(f, "{partition}: the object {object} cannot be decoded: {reason}")?;
            }
            StreamErrorKind::Partial { reason, missing_from } => write!(
                f,
                "{partition}: the object {object} is incomplete ({reason}), and no other object has the records from \
                 offset {missing_from} on"
            )?,
            StreamErrorKind::Conflict(conflict) => write!(
                f,
                "{partition}: two different records with offset {}: one with {}; the other with {}",
                conflict.offset, conflict.one, conflict.other
            )?,
            StreamErrorKind::OutOfOrder { offset } => write!(
                f,
                "{partition}: the object {object} has a record with offset {offset} behind higher ones, where it can no \
                 longer be put in order: the object may hold records of several topics, or its name a wrong start offset"
            )?,
            StreamErrorKind::Memory {
                objects,
                needed,
                available,
            } => write!(
                f,
                "{partition}: {objects} objects overlap and have to be read side by side, which takes {needed} bytes of \
                 memory where {available} are allowed; allow more, or read fewer partitions at once"
            )?,
            StreamErrorKind::Reject(error) => write!(
                f,
                "{partition}: a record of the object {object} that cannot be decoded could not be put aside: {error}"
            )?,
            StreamErrorKind::Defect(error) => write!(f, "{partition}: {error} (object {object})")?,
            StreamErrorKind::Stopped => write!(f, "{partition}: the stream has stopped at an error before")?,
        }
        match (self.line, self.byte_offset) {
            (Some(line), Some(byte)) => write!(f, " (line {line}, byte {byte})")?,
            (None, Some(byte)) => write!(f, " (byte {byte})")?,
            _ => {}
        }
        match self.last_offset {
            Some(offset) => write!(f, "; the last record before has offset {offset}"),
            None => write!(f, "; no record of the partition was read before"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            StreamErrorKind::Storage(error) => Some(error),
            StreamErrorKind::Reject(error) => Some(error),
            StreamErrorKind::Defect(error) => Some(error),
            _ => None,
        }
    }
}
