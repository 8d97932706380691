//! One object of a merge: its block at hand, the place in it, and what happens when its offsets go back.
//!
//! Sinks before the end of 2022 wrote a batch again behind the first try when a flush had failed, so offsets
//! go back and repeat inside one object. Within a block that is put in order when the block is decoded. Where
//! it happens across blocks, the repeated records have been given already; the object is then read a second
//! time, side by side with the first, and each repeated record compared with its first appearance.

use record::RecordRef;

use super::block::{Facts, StreamBlock};
use super::object::{Failure, Item, Source};

/// One object that takes part in the merge.
pub(super) struct Cursor {
    pub(super) source: Source,
    pub(super) loaded: Option<Loaded>,
    /// The highest offset of all blocks before the loaded one.
    pub(super) high: Option<i64>,
    /// The first offset seen, wanted or not.
    pub(super) first: Option<i64>,
    /// The earliest and latest timestamp seen.
    pub(super) times: (i64, i64),
    /// True where it was read beside others.
    pub(super) overlaps: bool,
    /// True where its offsets went back somewhere.
    pub(super) went_back: bool,
    pub(super) reference: Option<Reference>,
    /// Memory that was counted for it.
    pub(super) need: usize,
}

/// A block at hand.
pub(super) struct Loaded {
    pub(super) block: StreamBlock,
    pub(super) facts: Facts,
    /// The next record.
    pub(super) position: usize,
    /// Records before this place repeat offsets that the object has passed.
    pub(super) late_end: usize,
}

impl Cursor {
    pub(super) fn new(source: Source, need: usize) -> Self {
        Self {
            source,
            loaded: None,
            high: None,
            first: None,
            times: (i64::MAX, i64::MIN),
            overlaps: false,
            went_back: false,
            reference: None,
            need,
        }
    }

    /// Takes a block to hand.
    pub(super) fn load(&mut self, block: StreamBlock, facts: Facts) {
        let late_end = match self.high {
            Some(high) if facts.first <= high => first_above(&block, 0, high),
            _ => 0,
        };
        self.first = Some(self.first.map_or(facts.first, |first| first.min(facts.first)));
        self.times.0 = self.times.0.min(facts.first_time);
        self.times.1 = self.times.1.max(facts.last_time);
        self.loaded = Some(Loaded {
            block,
            facts,
            position: 0,
            late_end,
        });
    }

    /// Lets go of the block at hand, which is used up.
    pub(super) fn unload(&mut self) -> Option<Loaded> {
        let loaded = self.loaded.take()?;
        let last = loaded.facts.last;
        self.high = Some(self.high.map_or(last, |high| high.max(last)));
        Some(loaded)
    }

    /// The offset of the next record, where a block is at hand.
    pub(super) fn offset(&self) -> Option<i64> {
        self.loaded.as_ref().and_then(Loaded::offset)
    }
}

impl Loaded {
    /// The offset of the next record.
    pub(super) fn offset(&self) -> Option<i64> {
        (self.position < self.block.len()).then(|| self.block.offset(self.position))
    }

    /// Moves behind all records below `offset`; gives their number.
    pub(super) fn skip_below(&mut self, offset: i64) -> usize {
        let position = match offset.checked_sub(1) {
            Some(below) => first_above(&self.block, self.position, below),
            None => self.position,
        };
        position - std::mem::replace(&mut self.position, position)
    }
}

/// The first place from `start` on whose offset is above `offset`; blocks are in order.
pub(super) fn first_above(block: &StreamBlock, start: usize, offset: i64) -> usize {
    let (mut low, mut high) = (start, block.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if block.offset(middle) <= offset {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The same object read a second time, for comparison: the first appearance of each offset, ascending.
pub(super) struct Reference {
    source: Source,
    loaded: Option<(StreamBlock, Facts)>,
    position: usize,
    high: Option<i64>,
    /// The last offset asked for; it cannot go back.
    asked: i64,
}

impl Reference {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            loaded: None,
            position: 0,
            high: None,
            asked: i64::MIN,
        }
    }

    /// True where `offset` can still be found without starting anew.
    pub(super) fn reaches(&self, offset: i64) -> bool {
        offset >= self.asked
    }

    /// Goes to the record with `offset`; false where the object had none. Cancel-safe.
    pub(super) async fn find(&mut self, offset: i64) -> Result<bool, Failure> {
        self.asked = offset;
        loop {
            if let Some((block, facts)) = &self.loaded {
                if let Some(high) = self.high {
                    self.position = first_above(block, self.position, high);
                }
                if let Some(below) = offset.checked_sub(1) {
                    self.position = first_above(block, self.position, below);
                }
                if self.position < block.len() {
                    return Ok(block.get(self.position).offset == offset);
                }
                self.high = Some(self.high.map_or(facts.last, |high| high.max(facts.last)));
                self.loaded = None;
            }
            match self.source.next().await {
                Some(Item::Block(block, facts)) => {
                    self.loaded = Some((block, facts));
                    self.position = 0;
                }
                Some(Item::Damage(..)) => {}
                Some(Item::Failed(failure)) => return Err(failure),
                Some(Item::End(_)) | None => return Ok(false),
            }
        }
    }

    /// The record that [`find`](Self::find) found.
    pub(super) fn found(&self) -> Option<RecordRef<'_>> {
        let (block, _) = self.loaded.as_ref()?;
        (self.position < block.len()).then(|| block.get(self.position))
    }
}
