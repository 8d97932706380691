//! Which records a compacted topic may rightly lack, and which not.
//!
//! The log cleaner drops a record once a newer one with the same key lies behind it, tombstones some time after it
//! has seen them, and whatever has no key. So of the records that are missing, those are lost that hold the newest value
//! of their key. A newer record always comes later in the backup, so one walk forward tells; what has to be remembered are
//! the missing records whose keys have not come again. Where those are too many for the memory, the walk is repeated
//! for a part of the keys at a time.

use std::collections::HashMap;

use record::RecordRef;
use twox_hash::XxHash3_128;

use crate::compare::Tolerance;

/// Bytes that one remembered record takes, about.
pub(crate) const ENTRY_BYTES: usize = 64;

/// See the module's documentation.
pub(crate) struct Cleaned {
    /// Missing records that may be the newest of their keys, by the keys' hashes: (source offset, target offset).
    newest: HashMap<u128, (i64, i64)>,
    /// The most that are remembered.
    most: usize,
    /// Only keys whose hash is `part` modulo `parts` are looked at.
    part: u32,
    parts: u32,
    /// The end of the target's log. What belongs behind it was never there.
    log_end: i64,
    /// Whether a null value is a tombstone, and an empty one too.
    tolerance: Tolerance,
    dropped: u64,
    overflown: bool,
}

impl Cleaned {
    /// For a log that ends at `log_end`, remembering `most` records.
    pub(crate) fn new(log_end: i64, most: usize, (part, parts): (u32, u32), tolerance: Tolerance) -> Self {
        Self {
            newest: HashMap::new(),
            most: most.max(1),
            part,
            parts: parts.max(1),
            log_end,
            tolerance,
            dropped: 0,
            overflown: false,
        }
    }

    /// Takes the next record of the backup, which belongs to `target`. False where it is missing there and the log
    /// cleaner cannot have been the reason.
    pub(crate) fn see(&mut self, record: RecordRef<'_>, target: i64, is_missing: bool) -> bool {
        if target >= self.log_end {
            return !is_missing;
        }
        if !is_missing && self.newest.is_empty() {
            return true;
        }
        let Some(key) = record.key else {
            self.dropped += u64::from(is_missing && self.part == 0);
            return true;
        };
        let hash = XxHash3_128::oneshot(key);
        if hash % u128::from(self.parts) != u128::from(self.part) {
            return true;
        }
        self.dropped += u64::from(self.newest.remove(&hash).is_some());
        if !is_missing {
            return true;
        }
        if self.is_tombstone(record) {
            self.dropped += 1;
        } else if self.newest.len() == self.most {
            self.overflown = true;
        } else {
            self.newest.insert(hash, (record.offset, target));
        }
        true
    }

    fn is_tombstone(&self, record: RecordRef<'_>) -> bool {
        match record.value {
            // A backup without values does not know.
            _ if self.tolerance.any_value => false,
            None => true,
            Some(value) => value.is_empty() && self.tolerance.null_or_empty_value,
        }
    }

    /// True where more would have had to be remembered than may be: what was found is worth nothing.
    pub(crate) fn is_overflown(&self) -> bool {
        self.overflown
    }

    /// Records that the log cleaner dropped, as it should.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Missing records that no record behind them replaces, ascending: (source offset, target offset).
    pub(crate) fn into_lost(self) -> Vec<(i64, i64)> {
        let mut lost: Vec<_> = self.newest.into_values().collect();
        lost.sort_unstable();
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use record::RecordBlock;

    use super::*;

    /// (key, value is null, is missing)
    type Seen = (Option<u8>, bool, bool);

    fn walk(seen: &[Seen], log_end: i64, most: usize, part: (u32, u32)) -> (Vec<i64>, u64, u64, bool) {
        let mut cleaned = Cleaned::new(log_end, most, part, Tolerance::default());
        let mut never_there = 0;
        for (offset, (key, is_null, is_missing)) in (0..).zip(seen) {
            let mut block = RecordBlock::new();
            let mut writer = block.append(offset, 0);
            key.inspect(|key| writer.key(&[*key]));
            if !is_null {
                writer.value(b"v");
            }
            writer.finish();
            never_there += u64::from(!cleaned.see(block.get(0), offset, *is_missing));
        }
        let (dropped, overflown) = (cleaned.dropped(), cleaned.is_overflown());
        let lost = cleaned
            .into_lost()
            .into_iter()
            .map(|(source, _)| source)
            .collect();
        (lost, dropped, never_there, overflown)
    }

    #[test]
    fn only_the_newest_value_of_a_key_is_a_loss() {
        let (a, b, c) = (Some(1), Some(2), Some(3));
        let seen = [
            (a, false, true),    // replaced by 3
            (b, false, true),    // replaced by a tombstone
            (None, false, true), // no key
            (a, false, false),
            (b, true, true),  // a tombstone
            (c, false, true), // the only one: lost
        ];
        assert_eq!(walk(&seen, 9, 10, (0, 1)), (vec![5], 4, 0, false));
        // What lies behind the log's end was never there, and replaces nothing.
        assert_eq!(walk(&seen, 3, 10, (0, 1)), (vec![0, 1], 1, 2, false));
        assert!(walk(&seen, 9, 1, (0, 1)).3);
    }

    proptest! {
        #[test]
        fn parts_come_to_the_same_as_the_whole(
            seen in prop::collection::vec((prop::option::of(0u8..9), any::<bool>(), any::<bool>()), 0..60),
            parts in 1u32..5,
        ) {
            let mut newest: BTreeMap<u8, usize> = BTreeMap::new();
            for (index, (key, ..)) in seen.iter().enumerate() {
                if let Some(key) = key {
                    newest.insert(*key, index);
                }
            }
            let mut expected: Vec<i64> = newest
                .into_values()
                .filter(|index| !seen[*index].1 && seen[*index].2)
                .map(|index| index as i64)
                .collect();
            expected.sort_unstable();
            let (mut lost, mut dropped) = (Vec::new(), 0);
            for part in 0..parts {
                let found = walk(&seen, 100, 100, (part, parts));
                lost.extend(found.0);
                dropped += found.1;
            }
            lost.sort_unstable();
            prop_assert_eq!(&lost, &expected);
            let missing = seen.iter().filter(|(_, _, is_missing)| *is_missing).count();
            prop_assert_eq!(dropped as usize, missing - expected.len());
        }
    }
}
