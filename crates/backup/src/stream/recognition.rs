//! An object that was replaced while it was read has to begin as before, or what was sent was wrong.

use record::RecordBlock;

use super::block::Fingerprint;

/// Recognises the beginning of an object that has to be read again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recognition {
    /// The records that came out so far.
    pub(super) seen: Fingerprint,
    /// While an object is read again: what has to come first, and is not sent again.
    pub(super) skip: Option<Fingerprint>,
    /// True for an object of several ranges, which may be replaced between two of them.
    pub(super) may_change: bool,
}

impl Recognition {
    /// Adds the block's records to what was seen, and takes away those that were sent before the object was
    /// replaced. False where it does not begin with them.
    pub(super) fn pass(&mut self, block: &mut RecordBlock, over: bool) -> bool {
        let Some(before) = self.skip else {
            if self.may_change {
                block.iter().for_each(|record| self.seen.add(&record));
            }
            return true;
        };
        let mut known = 0;
        for record in block.iter() {
            self.seen.add(&record);
            if self.seen.records <= before.records {
                known += 1;
            }
            if self.seen.records == before.records {
                if self.seen != before {
                    return false;
                }
                self.skip = None;
            }
        }
        if known > 0 {
            let mut rest = RecordBlock::new();
            block.iter().skip(known).for_each(|record| rest.push(record));
            *block = rest;
        }
        // Shorter than what was read before: not the same either.
        !(over && self.skip.is_some())
    }
}
