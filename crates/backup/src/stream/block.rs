//! Blocks on their way: counted in the budget, recycled when dropped, and with the facts that merging needs.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use record::{NO_TIMESTAMP, RecordBlock, RecordRef};

use super::budget::Charge;
use super::packing::{Pack, Packed};

/// Cleared blocks that are used again, so that their memory need not be asked of the system each time.
#[derive(Clone)]
pub(super) struct BlockPool {
    shared: Arc<Shared>,
}

struct Shared {
    most_bytes: usize,
    blocks: Mutex<(Vec<RecordBlock>, usize)>,
}

/// Blocks below this size are not worth keeping, and large ones would be wasted on them.
pub(super) const SMALL_BLOCK: usize = 128 << 10;

impl BlockPool {
    /// A pool that keeps at most `most_bytes` of memory.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                most_bytes,
                blocks: Mutex::default(),
            }),
        }
    }

    /// An empty block for `bytes` of records, recycled where one is there.
    pub(super) fn take(&self, bytes: usize) -> RecordBlock {
        // A little more, since a block is full with the record that passes the limit.
        let fresh = || RecordBlock::with_capacity(bytes + bytes / 8, bytes / 512);
        if bytes < SMALL_BLOCK {
            return fresh();
        }
        let mut blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (list, kept) = &mut *blocks;
        let fitting = |block: &RecordBlock| block.memory_bytes() <= 2 * bytes;
        match list.iter().rposition(fitting) {
            Some(position) => {
                let block = list.swap_remove(position);
                *kept -= block.memory_bytes();
                block
            }
            None => fresh(),
        }
    }

    /// Keeps a block's memory for the next one.
    pub(super) fn recycle(&self, mut block: RecordBlock) {
        let bytes = block.memory_bytes();
        if bytes < SMALL_BLOCK {
            return;
        }
        let mut blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (list, kept) = &mut *blocks;
        if *kept + bytes <= self.shared.most_bytes {
            block.clear();
            *kept += bytes;
            list.push(block);
        }
    }
}

/// A block of records that counts in the memory budget until it is dropped. Then its memory is used again.
///
/// Records that were [packed](super::packing) when they were decoded are unpacked when somebody looks at them for the first
/// time; what is known of them without that is told by the methods of this type.
pub struct StreamBlock {
    records: OnceLock<RecordBlock>,
    /// There until the records are, or for good.
    packed: Option<Packed>,
    charge: Option<Charge>,
    pool: BlockPool,
}

impl StreamBlock {
    pub(super) fn new(block: RecordBlock, charge: Charge, pool: BlockPool) -> Self {
        Self {
            records: block.into(),
            packed: None,
            charge: Some(charge),
            pool,
        }
    }

    pub(super) fn packed(packed: Packed, charge: Charge, pool: BlockPool) -> Self {
        Self {
            records: OnceLock::new(),
            packed: Some(packed),
            charge: Some(charge),
            pool,
        }
    }

    /// The same, counted for whoever uses it rather than for the object it came from.
    pub(super) fn deliver(mut self) -> Self {
        self.charge = self.charge.take().map(Charge::deliver);
        self
    }

    /// True where the records are packed, and nobody has looked at them.
    pub(super) fn is_packed(&self) -> bool {
        self.records.get().is_none()
    }

    /// Unpacks the records, and counts their memory instead of the pack's.
    pub(super) fn unpack(&mut self) {
        if let Some(packed) = self.packed.take() {
            let block = self.records.take().unwrap_or_else(|| packed.unpack());
            if let Some(charge) = &mut self.charge {
                charge.resize(block.memory_bytes());
            }
            self.records = block.into();
        }
    }

    /// What the records were packed into, where they were, by a packer of such packs.
    pub fn pack<P: Pack>(&self) -> Option<&P> {
        let pack: &dyn Any = &*self.packed.as_ref()?.pack;
        pack.downcast_ref()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.packed
            .as_ref()
            .map_or_else(|| (**self).len(), |packed| packed.records)
    }

    /// True where there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes: keys, values, header names and header values.
    pub fn payload_bytes(&self) -> usize {
        let of_records = || (**self).payload_bytes();
        self.packed
            .as_ref()
            .map_or_else(of_records, |packed| packed.payload_bytes)
    }

    /// The offset of the record at `index`, from 0.
    ///
    /// # Panics
    /// Where there is no such record, unless they are packed.
    pub fn offset(&self, index: usize) -> i64 {
        match &self.packed {
            Some(packed) => packed.first_offset + index as i64,
            None => self.get(index).offset,
        }
    }

    /// Offset and timestamp of the first record, if there is one.
    pub fn begins(&self) -> Option<(i64, i64)> {
        match &self.packed {
            Some(packed) => Some((packed.first_offset, packed.first_timestamp)),
            None => self.first().map(|record| (record.offset, record.timestamp)),
        }
    }
}

impl Deref for StreamBlock {
    type Target = RecordBlock;

    fn deref(&self) -> &RecordBlock {
        self.records
            .get_or_init(|| self.packed.as_ref().map_or_else(RecordBlock::new, Packed::unpack))
    }
}

impl Drop for StreamBlock {
    fn drop(&mut self) {
        if let Some(block) = self.records.take() {
            self.pool.recycle(block);
        }
    }
}

impl fmt::Debug for StreamBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What is known of a block's records after one look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The lowest offset; the first record's, since blocks are put in order.
    pub(super) first: i64,
    /// The highest offset.
    pub(super) last: i64,
    /// True where every offset is higher than the one before, as nearly always.
    pub(super) ascending: bool,
    /// True where offsets went back and the block had to be put in order.
    pub(super) went_back: bool,
    /// The earliest timestamp; `i64::MAX` where no record has one.
    pub(super) first_time: i64,
    /// The latest timestamp; `i64::MIN` where no record has one.
    pub(super) last_time: i64,
    /// True where there is a record without a timestamp.
    pub(super) timeless: bool,
}

impl Facts {
    /// True where no offset between the first and the last is missing or twice there.
    pub(super) fn contiguous(&self, records: usize) -> bool {
        self.ascending && self.last.abs_diff(self.first) == records as u64 - 1
    }
}

/// Looks at a block and puts it in order of offsets where it is not; records with equal offsets keep their
/// order. None for an empty block.
pub(super) fn examine(block: &mut RecordBlock) -> Option<Facts> {
    let mut records = block.iter();
    let start = records.next()?;
    let mut facts = Facts {
        first: start.offset,
        last: start.offset,
        ascending: true,
        went_back: false,
        first_time: i64::MAX,
        last_time: i64::MIN,
        timeless: false,
    };
    let mut time = |timestamp: i64| {
        if timestamp == NO_TIMESTAMP {
            facts.timeless = true;
        } else {
            facts.first_time = facts.first_time.min(timestamp);
            facts.last_time = facts.last_time.max(timestamp);
        }
    };
    time(start.timestamp);
    let mut previous = start.offset;
    for record in records {
        time(record.timestamp);
        facts.ascending &= record.offset > previous;
        facts.went_back |= record.offset < previous;
        previous = record.offset;
    }
    facts.last = previous;
    if facts.went_back {
        let mut order: Vec<u32> = (0..block.len() as u32).collect();
        order.sort_by_key(|index| block.get(*index as usize).offset);
        let mut ordered = RecordBlock::with_capacity(block.payload_bytes(), block.len());
        for index in order {
            ordered.push(block.get(index as usize));
        }
        *block = ordered;
        facts.first = block.first().map_or(0, |record| record.offset);
        facts.last = block.last().map_or(0, |record| record.offset);
        facts.ascending = block
            .iter()
            .zip(block.iter().skip(1))
            .all(|(one, next)| one.offset < next.offset);
    }
    Some(facts)
}

/// Recognises the beginning of an object when it has to be read again: by number of records, and of each its
/// offset, timestamp, lengths, and the first and last eight bytes of key and value.
///
/// Not every byte, which would cost a fifth of the decoding; an object written again by its sink with other
/// records differs in what is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) records: u64,
    state: u64,
}

impl Fingerprint {
    pub(super) fn add(&mut self, record: &RecordRef<'_>) {
        self.records += 1;
        // The parts do not wait for each other; only the last step waits for the record before.
        let place = mixed(record.offset as u64, 1) ^ mixed(record.timestamp as u64, 2);
        let content = field(record.key, 3) ^ field(record.value, 6) ^ mixed(record.headers.len() as u64, 9);
        self.state = mixed(self.state ^ place ^ content, 10).rotate_left(32);
    }
}

/// A key or value: its length, and its first and last eight bytes.
fn field(field: Option<&[u8]>, place: u64) -> u64 {
    let Some(bytes) = field else {
        return mixed(u64::MAX, place);
    };
    let content = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            mixed(u64::from_le_bytes(*first), place + 1) ^ mixed(u64::from_le_bytes(*last), place + 2)
        }
        _ => {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            mixed(word, place + 1)
        }
    };
    mixed(bytes.len() as u64, place) ^ content
}

/// A word at one of several places: multiplication by an odd constant and folding the halves of the product is quick, and
/// no two short histories collide by accident.
fn mixed(word: u64, place: u64) -> u64 {
    let seed = place.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let product = u128::from(word ^ seed) * 0x9E37_79B9_7F4A_7C15;
    (product >> 64) as u64 ^ product as u64 ^ word.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(offsets: &[i64]) -> RecordBlock {
        let mut block = RecordBlock::new();
        for (place, offset) in offsets.iter().enumerate() {
            let mut writer = block.append(*offset, 1000 + place as i64);
            writer.value(&[place as u8]);
            writer.finish();
        }
        block
    }

    #[test]
    fn facts_tell_order_and_a_block_is_put_in_order_once() {
        let facts = examine(&mut block(&[3, 4, 6])).unwrap();
        assert!(facts.ascending && !facts.went_back && !facts.contiguous(3));
        assert!(examine(&mut block(&[3, 4, 5])).unwrap().contiguous(3));
        assert!(!examine(&mut block(&[3, 3, 5])).unwrap().contiguous(3));
        assert!(examine(&mut RecordBlock::new()).is_none());
        let mut back = block(&[5, 2, 6, 5]);
        let facts = examine(&mut back).unwrap();
        let seen: Vec<(i64, u8)> = back
            .iter()
            .map(|record| (record.offset, record.value.unwrap()[0]))
            .collect();
        assert_eq!(seen, [(2, 1), (5, 0), (5, 3), (6, 2)]);
        assert_eq!((facts.first, facts.last), (2, 6));
        assert!(facts.went_back && !facts.ascending);
        assert_eq!((facts.first_time, facts.last_time), (1000, 1003));
    }

    #[test]
    fn a_fingerprint_sees_what_differs() {
        let print = |offset, timestamp, key: Option<&[u8]>, value: Option<&[u8]>| {
            let mut block = RecordBlock::new();
            let mut writer = block.append(offset, timestamp);
            if let Some(key) = key {
                writer.key(key);
            }
            if let Some(value) = value {
                writer.value(value);
            }
            writer.finish();
            let mut print = Fingerprint::default();
            print.add(&block.get(0));
            print
        };
        let prints = [
            print(1, 2, Some(b"k"), Some(b"v")),
            print(2, 1, Some(b"k"), Some(b"v")),
            print(1, 2, Some(b"v"), Some(b"k")),
            print(1, 2, None, Some(b"v")),
            print(1, 2, Some(b""), Some(b"v")),
            print(1, 2, Some(b"k"), Some(b"a long value that ends so")),
            print(1, 2, Some(b"k"), Some(b"a long value that ends sO")),
        ];
        for (number, one) in prints.iter().enumerate() {
            for other in &prints[number + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn blocks_are_used_again_up_to_a_bound() {
        let pool = BlockPool::new(1 << 20);
        let block = pool.take(512 << 10);
        let memory = block.memory_bytes();
        pool.recycle(block);
        assert_eq!(pool.shared.blocks.lock().unwrap().1, memory);
        assert_eq!(pool.take(400 << 10).memory_bytes(), memory);
        assert_eq!(pool.shared.blocks.lock().unwrap().1, 0);
        pool.recycle(RecordBlock::with_capacity(2 << 20, 0));
        assert_eq!(pool.shared.blocks.lock().unwrap().0.len(), 0);
    }
}
