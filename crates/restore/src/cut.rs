//! Cuts a partition's blocks into the steps that build its target log: batches of records and gaps.
//!
//! Pure: blocks in, steps out, so that where every record and every gap goes is decided in one place and
//! tested without a broker. Records are not copied; a step refers to ranges of shared blocks.

use std::ops::{Deref, Range};
use std::sync::Arc;

use backup::stream::StreamBlock;
use record::RecordBlock;

/// Bytes that a record takes in a batch beside its payload, for estimates: lengths, deltas, attributes.
pub(crate) const RECORD_OVERHEAD: usize = 10;

/// A part of a batch, of blocks of type `B`.
pub enum Piece<B = StreamBlock> {
    /// Records of a block, by index.
    Records(Arc<B>, Range<usize>),
    /// Records with null key and null value at `count` offsets from `first` on, which have no record in the backup.
    Filler {
        /// The first offset to fill.
        first: i64,
        /// How many offsets.
        count: i64,
    },
}

impl<B> Clone for Piece<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Records(block, range) => Self::Records(Arc::clone(block), range.clone()),
            Self::Filler { first, count } => Self::Filler {
                first: *first,
                count: *count,
            },
        }
    }
}

impl<B> Piece<B> {
    /// The number of offsets that the piece takes in the target.
    pub fn offsets(&self) -> i64 {
        match self {
            Piece::Records(_, range) => range.len() as i64,
            Piece::Filler { count, .. } => *count,
        }
    }
}

/// One step of building a target log.
pub enum Step<B = StreamBlock> {
    /// Pieces to encode as one batch (or more, where the estimate of their compressed size was wrong).
    Batch(Vec<Piece<B>>),
    /// A whole block, which was encoded when it was decoded.
    Packed(Arc<B>),
    /// `count` offsets from `first` on that no consumer may see.
    Gap {
        /// The first offset of the gap.
        first: i64,
        /// Its length.
        count: i64,
    },
    /// One offset without a record, at which the log must begin a new segment, so that the log cleaner may work on
    /// everything before it.
    Roll {
        /// The offset.
        offset: i64,
    },
}

/// What is done about source offsets that have no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// Nothing: target offsets are contiguous, the offset map tells the difference.
    Close,
    /// A [`Step::Gap`] of its own.
    Step,
    /// Null-key records inside the batches, for topics whose log cleaner removes them later.
    Fill,
    /// Records inside the batches that consumers pass over.
    Hide,
}

/// The most offsets of one batch: brokers keep an object per record while they check it.
const MAX_BATCH_OFFSETS: i64 = 100_000;

/// See the module's documentation.
pub struct Cutter<B = StreamBlock> {
    gaps: Gaps,
    /// The source offset that would leave no gap.
    expected: i64,
    /// The offset of a record before which a new segment is to begin.
    roll_before: Option<i64>,
    pieces: Vec<Piece<B>>,
    bytes: usize,
    offsets: i64,
}

impl<B: Deref<Target = RecordBlock>> Cutter<B> {
    /// A cutter whose first record leaves no gap where its offset is `expected`.
    pub fn new(gaps: Gaps, expected: i64) -> Self {
        Self {
            gaps,
            expected,
            roll_before: None,
            pieces: Vec::new(),
            bytes: 0,
            offsets: 0,
        }
    }

    /// Where gaps are filled: the gap before the record at `offset` ends with a [`Step::Roll`].
    pub fn rolling_before(self, offset: Option<i64>) -> Self {
        Self {
            roll_before: offset,
            ..self
        }
    }

    /// The source offset behind everything that was pushed.
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// Adds a block's records from index `start` on, which lie behind all earlier ones in ascending order, and
    /// gives the steps that are complete. A batch is complete with about `batch_bytes` bytes before compression.
    pub fn push(&mut self, block: Arc<B>, start: usize, batch_bytes: usize, steps: &mut Vec<Step<B>>) {
        let mut start = start;
        while start < block.len() {
            let end = match self.gaps {
                Gaps::Close => block.len(),
                Gaps::Step | Gaps::Fill | Gaps::Hide => end_of_run(&block, start..block.len()),
            };
            let first = block.get(start).offset;
            if first > self.expected {
                self.gap(first, steps);
            }
            self.records(&block, start..end, batch_bytes, steps);
            self.expected = block.get(end - 1).offset + 1;
            start = end;
        }
    }

    /// Adds a whole block that is encoded already: `count` records at consecutive offsets from `first` on.
    pub fn pass(&mut self, block: Arc<B>, first: i64, count: usize, steps: &mut Vec<Step<B>>) {
        if first > self.expected {
            self.gap(first, steps);
        }
        self.close_batch(steps);
        steps.push(Step::Packed(block));
        self.expected = first + count as i64;
    }

    /// Takes what is left, up to `end` (the source offset behind the last one that is to exist) where it is given. What
    /// is missing at the end is a step of its own even where gaps are filled: the log cleaner never gets to fillers there.
    pub fn finish(&mut self, end: Option<i64>, steps: &mut Vec<Step<B>>) {
        if let Some(end) = end.filter(|end| *end > self.expected && self.gaps == Gaps::Hide) {
            self.gap(end, steps);
        }
        self.close_batch(steps);
        if let Some(end) = end.filter(|end| *end > self.expected && self.gaps != Gaps::Close) {
            steps.push(Step::Gap {
                first: self.expected,
                count: end - self.expected,
            });
            self.expected = end;
        }
    }

    fn records(&mut self, block: &Arc<B>, range: Range<usize>, batch_bytes: usize, steps: &mut Vec<Step<B>>) {
        let mut start = range.start;
        while start < range.end {
            let size = |end: usize| block.payload_bytes_of(start..end) + (end - start) * RECORD_OVERHEAD;
            let room = batch_bytes.saturating_sub(self.bytes);
            let most = usize::try_from(MAX_BATCH_OFFSETS - self.offsets).unwrap_or(0);
            let most = range.end.min(start + most);
            let mut end = partition_point(start + 1..most + 1, |end| size(end) <= room) - 1;
            if end == start && self.offsets == 0 {
                // A record that is larger than a batch should be has one of its own.
                end += 1;
            }
            if end > start {
                self.bytes += size(end);
                self.offsets += (end - start) as i64;
                self.pieces.push(Piece::Records(Arc::clone(block), start..end));
            }
            start = end;
            if start < range.end {
                self.close_batch(steps);
            }
        }
    }

    fn gap(&mut self, next: i64, steps: &mut Vec<Step<B>>) {
        match self.gaps {
            Gaps::Close => {}
            Gaps::Step => {
                self.close_batch(steps);
                steps.push(Step::Gap {
                    first: self.expected,
                    count: next - self.expected,
                });
            }
            Gaps::Fill | Gaps::Hide => {
                let mut first = self.expected;
                let rolls = self.gaps == Gaps::Fill && self.roll_before == Some(next);
                let end = if rolls { next - 1 } else { next };
                while first < end {
                    let count = (end - first).min(MAX_BATCH_OFFSETS - self.offsets);
                    if count > 0 {
                        self.pieces.push(Piece::Filler { first, count });
                        self.offsets += count;
                        first += count;
                    }
                    if self.offsets == MAX_BATCH_OFFSETS {
                        self.close_batch(steps);
                    }
                }
                if rolls {
                    self.close_batch(steps);
                    steps.push(Step::Roll { offset: next - 1 });
                }
            }
        }
        self.expected = next;
    }

    fn close_batch(&mut self, steps: &mut Vec<Step<B>>) {
        if !self.pieces.is_empty() {
            steps.push(Step::Batch(std::mem::take(&mut self.pieces)));
        }
        self.bytes = 0;
        self.offsets = 0;
    }
}

/// The index behind the last record of `block[range]` that follows the first one without a gap.
pub(crate) fn end_of_run(block: &RecordBlock, range: Range<usize>) -> usize {
    let first = block.get(range.start).offset;
    // Offsets ascend strictly, so "no gap up to here" holds for the first of them only.
    partition_point(range.clone(), |index| {
        block.get(index).offset - first == (index - range.start) as i64
    })
}

/// The first of `range` for which `holds` is false, where it is true for all before and false for all behind; its end
/// where it is true for all, which is seen at once.
fn partition_point(range: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    if low < high && holds(high - 1) {
        return high;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a stream gives: something that holds a block.
    struct Held(RecordBlock);

    impl Deref for Held {
        type Target = RecordBlock;

        fn deref(&self) -> &RecordBlock {
            &self.0
        }
    }

    fn block(offsets: &[i64]) -> Arc<Held> {
        let mut block = RecordBlock::new();
        for offset in offsets {
            let mut writer = block.append(*offset, 0);
            writer.value(b"0123456789");
            writer.finish();
        }
        Arc::new(Held(block))
    }

    /// Each step as the offsets it covers: (first, count, is a record).
    fn offsets(steps: &[Step<Held>]) -> Vec<(i64, bool)> {
        let mut all = Vec::new();
        for step in steps {
            match step {
                Step::Gap { first, count } => {
                    all.extend((*first..first + count).map(|offset| (offset, false)))
                }
                Step::Roll { offset } => all.push((*offset, false)),
                Step::Packed(block) => all.extend(block.iter().map(|record| (record.offset, true))),
                Step::Batch(pieces) => {
                    for piece in pieces {
                        match piece {
                            Piece::Records(block, range) => {
                                all.extend(range.clone().map(|index| (block.get(index).offset, true)));
                            }
                            Piece::Filler { first, count } => {
                                all.extend((*first..first + count).map(|offset| (offset, false)));
                            }
                        }
                    }
                }
            }
        }
        all
    }

    fn shape(steps: &[Step<Held>]) -> Vec<String> {
        let name = |step: &Step<Held>| match step {
            Step::Gap { first, count } => format!("gap {first}+{count}"),
            Step::Roll { offset } => format!("roll {offset}"),
            Step::Packed(block) => format!("packed {}", block.len()),
            Step::Batch(pieces) => {
                format!("batch of {}", pieces.iter().map(Piece::offsets).sum::<i64>())
            }
        };
        steps.iter().map(name).collect()
    }

    #[test]
    fn a_packed_block_stands_between_the_batches_around_it() {
        let mut cutter = Cutter::new(Gaps::Step, 0);
        let mut steps = Vec::new();
        cutter.push(block(&[0, 1]), 0, 1000, &mut steps);
        cutter.pass(block(&[2, 3, 4]), 2, 3, &mut steps);
        cutter.pass(block(&[7]), 7, 1, &mut steps);
        cutter.push(block(&[8, 9]), 0, 1000, &mut steps);
        cutter.finish(None, &mut steps);
        assert_eq!(
            shape(&steps),
            ["batch of 2", "packed 3", "gap 5+2", "packed 1", "batch of 2"]
        );
    }

    #[test]
    fn gaps_become_steps_between_batches() {
        let mut cutter = Cutter::new(Gaps::Step, 3);
        let mut steps = Vec::new();
        cutter.push(block(&[5, 6, 9]), 0, 1000, &mut steps);
        cutter.push(block(&[10, 11]), 0, 1000, &mut steps);
        cutter.finish(Some(14), &mut steps);
        assert_eq!(
            shape(&steps),
            ["gap 3+2", "batch of 2", "gap 7+2", "batch of 3", "gap 12+2"]
        );
    }

    #[test]
    fn a_batch_ends_where_it_would_pass_its_size() {
        let mut cutter = Cutter::new(Gaps::Close, 0);
        let mut steps = Vec::new();
        cutter.push(block(&[0, 1, 2, 7, 8]), 0, 45, &mut steps);
        cutter.finish(None, &mut steps);
        let sizes: Vec<i64> = steps
            .iter()
            .map(|step| match step {
                Step::Batch(pieces) => pieces.iter().map(Piece::offsets).sum(),
                _ => panic!("batches alone are asked for"),
            })
            .collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn a_new_segment_begins_before_the_last_run() {
        let mut cutter = Cutter::new(Gaps::Fill, 5).rolling_before(Some(20));
        let mut steps = Vec::new();
        cutter.push(block(&[5, 8]), 0, 1000, &mut steps);
        cutter.push(block(&[20, 21]), 0, 1000, &mut steps);
        cutter.finish(Some(23), &mut steps);
        assert_eq!(
            shape(&steps),
            ["batch of 14", "roll 19", "batch of 2", "gap 22+1"]
        );
    }

    proptest! {
        #[test]
        fn every_offset_is_covered_once_in_order(
            blocks in prop::collection::vec((prop::collection::vec(1i64..5, 1..9), any::<bool>()), 1..6),
            batch_bytes in 1usize..200,
            first in 0i64..4,
            mode in 0usize..4,
            roll in prop::option::of(0i64..40),
        ) {
            let gaps = [Gaps::Close, Gaps::Step, Gaps::Fill, Gaps::Hide][mode];
            let (mut next, mut records, mut steps) = (first, Vec::new(), Vec::new());
            let mut cutter = Cutter::new(gaps, 0).rolling_before(roll);
            for (mut distances, packed) in blocks {
                if packed {
                    distances[1..].fill(1);
                }
                let list: Vec<i64> = distances.iter().map(|d| { next += d; next - 1 }).collect();
                records.extend(list.iter().copied());
                match packed {
                    true => cutter.pass(block(&list), list[0], list.len(), &mut steps),
                    false => cutter.push(block(&list), 0, batch_bytes, &mut steps),
                }
            }
            cutter.finish(Some(next + 3), &mut steps);
            let covered = offsets(&steps);
            let real: Vec<i64> = covered.iter().filter(|(_, real)| *real).map(|(offset, _)| *offset).collect();
            prop_assert_eq!(real, records);
            if gaps != Gaps::Close {
                let all: Vec<i64> = covered.iter().map(|(offset, _)| *offset).collect();
                prop_assert_eq!(all, (0..next + 3).collect::<Vec<_>>());
            }
        }
    }
}
