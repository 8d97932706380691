//! Kafka records as bytes in blocks: the one vocabulary that every other crate shares.
//!
//! A [`RecordBlock`] is one contiguous buffer plus the spans of each record in it. Decoders append to a
//! block, the batch encoder reads from it, and nothing is allocated per record. Null and empty are
//! different things everywhere, headers are a list of pairs in their original order (duplicates kept), and
//! no key, value or header value ever passes through a string.
//!
//! This crate does no I/O and has no dependencies.

mod block;
mod partition;

pub use block::{Headers, HeadersIter, RecordBlock, RecordRef, RecordWriter};
pub use partition::TopicPartition;

/// The timestamp of a record that has none, as Kafka writes it.
///
/// Source: `RecordBatch.NO_TIMESTAMP` in Apache Kafka's clients.
pub const NO_TIMESTAMP: i64 = -1;
