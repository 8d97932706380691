//! RecordBatch v2: records into bytes for brokers, and back.
//!
//! [`BatchEncoder`] writes records straight from a block into one buffer and compresses as it goes, so it
//! always knows that a batch stays under the broker's limit. An [`EncodedBatch`] keeps its 61-byte header
//! apart from the (compressed) records: stamping it with another producer id or sequence costs nothing and
//! copies nothing. [`batches`] walks over fetched bytes, [`RawBatch::records`] decodes in bounded memory.
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch>. Records never pass through a map of
//! headers or a string.

mod buffers;
mod compress;
mod crc;
mod decode;
mod decompress;
mod encode;
mod encoded;
mod error;
mod header;
#[cfg(test)]
mod tests;
mod varint;

/// The offset delta of records that consumers pass over: far before any place that is asked for. Not -1, with which
/// librdkafka shows them at offsets before the batch.
const HIDDEN_DELTA: i64 = i32::MIN as i64;

pub use buffers::BufferPool;
pub use compress::Compression;
pub use decode::{BatchRecords, Batches, ControlType, RawBatch, batches};
pub use encode::{Append, BatchEncoder, MAX_BATCH_RECORDS, MAX_BATCH_UNCOMPRESSED, filler_batch};
pub use encoded::{EncodedBatch, ProducerStamp};
pub use error::{DecodeError, EncodeError};
pub use header::{BATCH_HEADER_BYTES, BatchHeader};
