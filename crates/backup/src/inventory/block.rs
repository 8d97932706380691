//! Entries of a list, packed: each number takes as many bits as the span of its column in the block needs.
//!
//! Where start offsets lie a thousand apart, objects are stored once a minute and vary by megabytes, an object takes
//! six to nine bytes instead of 32.

use std::array;

/// Entries of a full block.
pub(super) const BLOCK: usize = 128;

/// The numbers of an entry.
const COLUMNS: usize = 4;

/// What is kept of one object. Entries compare by start offset, then by time of modification; what follows only makes
/// their order the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) start_offset: i64,
    /// Milliseconds since 1970.
    pub(super) last_modified: i64,
    /// Stored bytes.
    pub(super) size: u64,
    /// Where the object's own text is, and the number of its form.
    pub(super) place: u64,
}

impl Entry {
    fn numbers(&self) -> [i64; COLUMNS] {
        [
            self.start_offset,
            self.last_modified,
            self.size as i64,
            self.place as i64,
        ]
    }
}

/// Up to [`BLOCK`] entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    columns: [Column; COLUMNS],
    /// The entries one after the other, and words behind them, so that any number can be read from two.
    bits: Box<[u64]>,
    len: usize,
}

/// One number of all entries: `least + step * what is packed`.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    least: i64,
    step: u32,
    /// Bits that it takes in each entry, at most 64.
    width: u8,
    /// Bits before it in each entry.
    shift: u8,
}

impl Block {
    /// Packs entries.
    pub(super) fn pack(entries: &[Entry]) -> Self {
        let mut columns: [Column; COLUMNS] =
            array::from_fn(|column| Column::of(entries.iter().map(|entry| entry.numbers()[column])));
        for column in 1..COLUMNS {
            columns[column].shift = columns[column - 1].shift + columns[column - 1].width;
        }
        let mut block = Self {
            columns,
            bits: Box::default(),
            len: entries.len(),
        };
        let mut bits = vec![0; entries.len() * block.entry_bits() / 64 + 2];
        for (index, entry) in entries.iter().enumerate() {
            for (column, number) in columns.iter().zip(entry.numbers()) {
                let at = index * block.entry_bits() + usize::from(column.shift);
                let pair = u128::from(column.pack(number)) << (at % 64);
                bits[at / 64] |= pair as u64;
                bits[at / 64 + 1] |= (pair >> 64) as u64;
            }
        }
        block.bits = bits.into();
        block
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory beside the block's own.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.bits)
    }

    /// Entry number `index`.
    ///
    /// # Panics
    /// As all of these, where `index` is not below [`len`](Self::len).
    pub(super) fn get(&self, index: usize) -> Entry {
        Entry {
            start_offset: self.start_offset(index),
            last_modified: self.last_modified(index),
            size: self.size(index),
            place: self.number(index, 3) as u64,
        }
    }

    pub(super) fn start_offset(&self, index: usize) -> i64 {
        self.number(index, 0)
    }

    pub(super) fn last_modified(&self, index: usize) -> i64 {
        self.number(index, 1)
    }

    pub(super) fn size(&self, index: usize) -> u64 {
        self.number(index, 2) as u64
    }

    fn number(&self, index: usize, column: usize) -> i64 {
        assert!(index < self.len, "entry {index} of {}", self.len);
        let column = &self.columns[column];
        let at = index * self.entry_bits() + usize::from(column.shift);
        let pair = u128::from(self.bits[at / 64]) | u128::from(self.bits[at / 64 + 1]) << 64;
        let mask = (1_u128 << column.width) - 1;
        column.unpack((pair >> (at % 64) & mask) as u64)
    }

    fn entry_bits(&self) -> usize {
        let last = &self.columns[COLUMNS - 1];
        usize::from(last.shift) + usize::from(last.width)
    }
}

impl Column {
    fn of(numbers: impl Iterator<Item = i64> + Clone) -> Self {
        let least = numbers.clone().min().unwrap_or_default();
        let distances = numbers.map(|number| distance(least, number));
        // Whole seconds and round offsets have a large divisor. Any divisor will do.
        let divisor = distances.clone().fold(0, greatest_common_divisor);
        let step = u32::try_from(divisor).unwrap_or(1).max(1);
        let greatest = distances.max().unwrap_or_default() / u64::from(step);
        Self {
            least,
            step,
            width: (u64::BITS - greatest.leading_zeros()) as u8,
            shift: 0,
        }
    }

    fn pack(&self, number: i64) -> u64 {
        distance(self.least, number) / u64::from(self.step)
    }

    fn unpack(&self, packed: u64) -> i64 {
        self.least
            .wrapping_add_unsigned(packed.wrapping_mul(u64::from(self.step)))
    }
}

/// From `least` to `number`, which is not lower.
fn distance(least: i64, number: i64) -> u64 {
    number.wrapping_sub(least) as u64
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    // Most numbers have no divisor in common, which is soon found out.
    if one == 1 {
        return 1;
    }
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(start_offset: i64, last_modified: i64, size: u64, place: u64) -> Entry {
        Entry {
            start_offset,
            last_modified,
            size,
            place,
        }
    }

    fn unpacked(block: &Block) -> Vec<Entry> {
        (0..block.len()).map(|index| block.get(index)).collect()
    }

    #[test]
    fn equal_entries_take_no_bits_and_the_farthest_all() {
        let equal = [entry(7, -7, u64::MAX, 3); BLOCK];
        let block = Block::pack(&equal);
        assert_eq!((unpacked(&block), block.memory()), (equal.to_vec(), 16));
        let far = [
            entry(i64::MIN, i64::MAX, 0, u64::MAX),
            entry(i64::MAX, i64::MIN, u64::MAX, 0),
            entry(0, 0, 1 << 63, 1 << 63),
        ];
        let block = Block::pack(&far);
        assert_eq!(unpacked(&block), far);
        assert_eq!(block.memory(), 16 + far.len() * 32);
        assert_eq!(Block::pack(&[]).len(), 0);
    }

    #[test]
    fn round_numbers_take_as_many_bits_as_small_ones() {
        let entries = |step: u64| -> Vec<Entry> {
            (0..BLOCK as u64)
                .map(|number| entry((5 + number * step) as i64, -(number as i64) * step as i64, 0, 0))
                .collect()
        };
        for step in [1, 1000, u64::from(u32::MAX)] {
            let block = Block::pack(&entries(step));
            assert_eq!(unpacked(&block), entries(step));
            assert_eq!(block.memory(), 16 + BLOCK * 14 / 8, "{step}");
        }
        assert_eq!(unpacked(&Block::pack(&entries(1 << 40))), entries(1 << 40));
    }

    #[test]
    #[should_panic(expected = "entry 1 of 1")]
    fn there_is_nothing_behind_the_last_entry() {
        Block::pack(&[entry(1, 1, 1, 1)]).start_offset(1);
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were(
            numbers in proptest::collection::vec(any::<[u64; COLUMNS]>(), 1..=BLOCK),
            widths in any::<[u8; COLUMNS]>(),
            least in any::<[i64; COLUMNS]>(),
        ) {
            let number = |row: &[u64; COLUMNS], column: usize| {
                least[column].wrapping_add_unsigned(row[column] >> (widths[column] % 64))
            };
            let entries: Vec<Entry> = numbers
                .iter()
                .map(|row| entry(number(row, 0), number(row, 1), number(row, 2) as u64, number(row, 3) as u64))
                .collect();
            prop_assert_eq!(unpacked(&Block::pack(&entries)), entries);
        }
    }
}
