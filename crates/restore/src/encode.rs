//! Encodes cut pieces into batches, on the CPU threads.
//!
//! How many bytes before compression make a batch of the wanted size is learned from the batches made so far.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka::batch::{
    Append, BatchEncoder, BufferPool, Compression, EncodeError, EncodedBatch, MAX_BATCH_UNCOMPRESSED,
};
use record::RecordBlock;

use crate::cut::Piece;

/// The timestamp of fillers: long ago, so that brokers roll a new segment behind them and the log cleaner's and
/// the retention's clocks count them as old.
pub(crate) const FILLER_TIMESTAMP: i64 = 0;

/// Pieces with a record that fits into no batch.
#[derive(Debug)]
pub(crate) struct Unencoded {
    /// Everything before that record.
    pub(crate) before: Vec<EncodedBatch>,
    /// What is wrong with it.
    pub(crate) error: EncodeError,
}

/// Makes batches for one topic. Shared by all its partitions.
pub(crate) struct Encoding {
    compression: Compression,
    /// Grows where a record is met that needs more.
    max_bytes: AtomicUsize,
    target_bytes: usize,
    /// Fillers are records that consumers pass over.
    hides: bool,
    buffers: BufferPool,
    /// Encoders that nobody uses, with the largest batch that each makes.
    idle: Mutex<Vec<(usize, BatchEncoder)>>,
    /// Bytes before and after compression of the batches so far, decayed.
    uncompressed: AtomicU64,
    compressed: AtomicU64,
    busy_nanoseconds: Arc<AtomicU64>,
}

impl Encoding {
    /// Batches of about `target_bytes` and never more than `max_bytes` as they are sent. With `hides`, which goes without
    /// compression only, fillers are records that consumers pass over.
    pub(crate) fn new(
        compression: Compression,
        hides: bool,
        target_bytes: usize,
        max_bytes: usize,
        buffers: &BufferPool,
        busy_nanoseconds: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            compression,
            max_bytes: AtomicUsize::new(max_bytes),
            target_bytes: target_bytes.min(max_bytes),
            hides,
            buffers: buffers.clone(),
            idle: Mutex::new(Vec::new()),
            uncompressed: AtomicU64::new(0),
            compressed: AtomicU64::new(0),
            busy_nanoseconds: Arc::clone(busy_nanoseconds),
        }
    }

    /// Bytes before compression that are expected to make one batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        // A little less than what fits, so that one cut seldom makes a full batch and a tiny one.
        let aim = self.target_bytes - self.target_bytes / 16;
        let (uncompressed, compressed) = (
            self.uncompressed.load(Ordering::Relaxed),
            self.compressed.load(Ordering::Relaxed),
        );
        if self.compression == Compression::None || compressed == 0 {
            return aim;
        }
        let estimate = aim as u128 * u128::from(uncompressed) / u128::from(compressed);
        usize::try_from(estimate)
            .unwrap_or(usize::MAX)
            .clamp(aim / 2, MAX_BATCH_UNCOMPRESSED)
    }

    /// The codec of the batches.
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes that a batch should have as it is sent.
    pub(crate) fn target_bytes(&self) -> usize {
        self.target_bytes
    }

    /// The most bytes of a batch as it is sent.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Lets batches be as large as this from now on; never less than before.
    pub(crate) fn raise_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.fetch_max(max_bytes, Ordering::Relaxed);
    }

    /// Encodes `pieces`, usually into one batch.
    pub(crate) fn encode(&self, pieces: &[Piece]) -> Result<Vec<EncodedBatch>, Unencoded> {
        let mut batches = Vec::with_capacity(1);
        match self.encode_all(pieces, &mut batches) {
            Ok(()) => Ok(batches),
            Err(error) => Err(Unencoded {
                before: batches,
                error,
            }),
        }
    }

    /// Adds to `batches` whatever can be encoded before an error.
    fn encode_all(&self, pieces: &[Piece], batches: &mut Vec<EncodedBatch>) -> Result<(), EncodeError> {
        let started = Instant::now();
        let (limit, mut encoder) = self.take_encoder()?;
        let encoded = encode_into(&mut encoder, pieces, self.hides, batches);
        // An encoder refuses a record without having taken anything of it; so what it holds is a batch.
        batches.extend(encoder.finish()?);
        encoded?;
        self.give_back(limit, encoder);
        self.learn(batches);
        self.was_busy(started.elapsed());
        Ok(())
    }

    /// Counts time spent on encoding.
    pub(crate) fn was_busy(&self, spent: Duration) {
        let nanoseconds = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Takes note of how well these were compressed.
    pub(crate) fn learn(&self, batches: &[EncodedBatch]) {
        // Half of what was known is forgotten with each cut: data that changes is followed within a few batches.
        let add = |total: &AtomicU64, bytes: usize| {
            let known = total.load(Ordering::Relaxed);
            total.store(known / 2 + bytes as u64, Ordering::Relaxed);
        };
        add(
            &self.uncompressed,
            batches.iter().map(EncodedBatch::uncompressed_bytes).sum(),
        );
        add(
            &self.compressed,
            batches.iter().map(EncodedBatch::encoded_bytes).sum(),
        );
    }

    /// An encoder, with the largest batch that it makes, to be [given back](Self::give_back).
    pub(crate) fn take_encoder(&self) -> Result<(usize, BatchEncoder), EncodeError> {
        let limit = self.max_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Those from before a raise are of no use any more.
        idle.retain(|(other, _)| *other == limit);
        match idle.pop() {
            Some(encoder) => Ok(encoder),
            None => {
                let encoder = BatchEncoder::new(self.compression, None, limit, &self.buffers)?;
                Ok((limit, encoder))
            }
        }
    }

    pub(crate) fn give_back(&self, limit: usize, encoder: BatchEncoder) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((limit, encoder));
    }
}

/// Appends the records of `block[range]`; full batches go to `batches`.
pub(crate) fn append_records(
    encoder: &mut BatchEncoder,
    block: &RecordBlock,
    range: Range<usize>,
    batches: &mut Vec<EncodedBatch>,
) -> Result<(), EncodeError> {
    for index in range {
        let record = block.get(index);
        if encoder.append(record)? == Append::Full {
            batches.extend(encoder.finish()?);
            let _ = encoder.append(record)?;
        }
    }
    Ok(())
}

/// Appends all of `pieces`; full batches go to `batches`.
fn encode_into(
    encoder: &mut BatchEncoder,
    pieces: &[Piece],
    hides: bool,
    batches: &mut Vec<EncodedBatch>,
) -> Result<(), EncodeError> {
    let filler = |encoder: &mut BatchEncoder, offset: i64| match hides {
        true => encoder.append_hidden(offset, FILLER_TIMESTAMP),
        false => encoder.append_filler(offset, FILLER_TIMESTAMP),
    };
    for piece in pieces {
        match piece {
            Piece::Records(block, range) => {
                append_records(encoder, block, range.clone(), batches)?;
            }
            Piece::Filler { first, count } => {
                for offset in *first..first + count {
                    if filler(encoder, offset)? == Append::Full {
                        batches.extend(encoder.finish()?);
                        let _ = filler(encoder, offset)?;
                    }
                }
            }
        }
    }
    Ok(())
}
