//! Objects that are read by seeking: Parquet, whose directory stands at its end.
//!
//! [`read`] is where such an object's reading goes on after its first bytes have shown what it is. Ranges are paid
//! for before they are asked for, and what a row group takes when it is unpacked is counted, too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use record::RecordBlock;

use super::block::{Facts, examine};
use super::budget::Charge;
use super::object::{DECODER_BYTES, Failure, Reader};
use super::recognition::Recognition;
use crate::format::{ObjectError, ParquetDecoder, ParquetStep, Rejected};
use crate::storage::ObjectMeta;

/// What moves between the task and the CPU pool.
struct Work {
    decoder: ParquetDecoder,
    block: RecordBlock,
    recognition: Recognition,
}

/// What one visit to the CPU pool gave.
struct Outcome {
    status: Result<ParquetStep, ObjectError>,
    rejected: Option<Rejected>,
    facts: Option<Facts>,
    same: bool,
    took: Duration,
}

/// Reads the object's version `meta` and hands its blocks to the consumer. `whole` are all its bytes, where they
/// are here already, and `held` what was paid for them.
pub(super) async fn read(
    reader: &mut Reader,
    meta: ObjectMeta,
    whole: Option<Bytes>,
    held: Vec<Charge>,
) -> Result<(), Failure> {
    let limit = reader.context.budget.total();
    let decoding = reader.options.decoding.clone();
    let hints = reader.spec.hints.clone();
    let mut work = Work {
        decoder: ParquetDecoder::new(&decoding, hints, meta.size, limit),
        block: RecordBlock::new(),
        recognition: Recognition {
            skip: reader.skip,
            may_change: whole.is_none(),
            ..Recognition::default()
        },
    };
    let mut pushed: Vec<(u64, Bytes)> = whole.into_iter().map(|bytes| (0, bytes)).collect();
    // What the pushed bytes were paid with, until the decoder's own memory is counted.
    let mut paid = if pushed.is_empty() { Vec::new() } else { held };
    let mut decoder_charge = reader.account.charge(DECODER_BYTES).await;
    let mut block_charge: Option<Charge> = None;
    loop {
        if block_charge.is_none() {
            let (block, charge) = reader.empty_block().await;
            work.block = block;
            block_charge = Some(charge);
        }
        let (bytes, block_bytes) = (std::mem::take(&mut pushed), reader.options.block_bytes);
        let job = move || run(work, bytes, block_bytes);
        let (back, outcome) = reader.context.cpu.run(job).await.map_err(Failure::Defect)?;
        work = back;
        reader.decoding += outcome.took;
        reader.context.clock.worked(outcome.took, Duration::ZERO);
        if !outcome.same {
            return Err(Failure::Replaced);
        }
        reader.seen = work.recognition.seen;
        reader.skip = work.recognition.skip;
        decoder_charge.resize(DECODER_BYTES + work.decoder.memory_bytes());
        paid.clear();
        match (outcome.facts, &mut block_charge) {
            (Some(facts), charge) => {
                // There is a charge whenever there is a block.
                if let Some(charge) = charge.take() {
                    reader.send_block(std::mem::take(&mut work.block), charge, facts);
                }
            }
            (None, Some(charge)) => charge.resize(work.block.memory_bytes().max(charge.bytes())),
            (None, None) => {}
        }
        match outcome.status {
            Ok(ParquetStep::BlockReady) => {}
            Ok(ParquetStep::Finished) => {
                reader.finish(work.decoder.notes());
                return Ok(());
            }
            Ok(ParquetStep::Need(ranges)) => {
                for range in ranges {
                    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    paid.push(reader.account.charge(length).await);
                    pushed.push((range.start, reader.fetch_range(range, &meta).await?));
                }
            }
            Err(error) => {
                let resumes = outcome.rejected.is_some() && reader.options.skip_bad;
                reader.abandoned |= !resumes && !error.truncated;
                // What an object read again had to say before was said.
                if reader.skip.is_none() {
                    reader.damage(error, outcome.rejected);
                }
                if !resumes {
                    reader.finish(work.decoder.notes());
                    return Ok(());
                }
            }
        }
    }
}

/// One visit to the CPU pool: decodes until the block is full, bytes are needed or the object ends.
fn run(mut work: Work, pushed: Vec<(u64, Bytes)>, block_bytes: usize) -> (Work, Outcome) {
    let started = Instant::now();
    for (start, bytes) in pushed {
        work.decoder.push(start, bytes);
    }
    let status = work.decoder.decode(&mut work.block, block_bytes);
    let rejected = match &status {
        Err(error) if error.can_skip => work.decoder.resume_after_error(),
        _ => None,
    };
    let over = matches!(status, Ok(ParquetStep::Finished) | Err(_));
    let (mut facts, mut same) = (None, true);
    if !matches!(status, Ok(ParquetStep::Need(_))) {
        same = work.recognition.pass(&mut work.block, over);
        facts = examine(&mut work.block);
    }
    let outcome = Outcome {
        status,
        rejected,
        facts,
        same,
        took: started.elapsed(),
    };
    (work, outcome)
}
