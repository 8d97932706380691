//! The objects of one partition, compact: a listing of ten million objects must fit in a hundred MB.
//!
//! Objects come in any order. They are packed into blocks, each of which is in order for itself. In
//! the end the blocks are merged into others, and each goes when it has been read: there are never two of everything.
//! The part of a key that the name template cannot give back (dates, record keys) is a text; neighbours with the same
//! part share it. Keys are put together again when they are asked for, and a key that would not come back exactly is
//! kept whole.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fmt;
use std::sync::Arc;

use super::block::{BLOCK, Block, Entry};
use super::texts::Texts;
use crate::layout::KeyForm;

/// Stands for "no start offset in the name" in an [`Entry`]; Kafka's offsets are never negative.
const NO_OFFSET: i64 = -1;

/// So many objects are brought into order before they are packed. A listing is in the order of names, where 10 and 1000
/// are neighbours; of several blocks at once only the first holds what is far from the others, and takes more bits.
const TOGETHER: usize = 4 * BLOCK;

/// Bits of [`Entry::place`] that hold the number of the form; the rest is the place of the object's own text.
const FORM_BITS: u32 = 8;

/// One object of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry<'a> {
    /// The whole key, exactly as the store listed it.
    pub key: Cow<'a, str>,
    /// The start offset in its name. Not always the first offset inside, and absent where the name has none.
    pub start_offset: Option<i64>,
    /// Stored bytes.
    pub size: u64,
    /// Milliseconds since 1970.
    pub last_modified: i64,
}

impl Entry {
    fn form(&self) -> usize {
        (self.place % (1 << FORM_BITS)) as usize
    }

    fn text_at(&self) -> u64 {
        self.place >> FORM_BITS
    }
}

/// The objects of one partition in numeric order of start offset; ties by time of modification, then key.
/// Objects without a start offset come first.
#[derive(Clone)]
pub struct PartitionObjects {
    topic: Arc<str>,
    partition: i32,
    forms: Arc<[KeyForm]>,
    /// All but the last one are full.
    blocks: Vec<Block>,
    texts: Texts,
    len: usize,
    bytes: u64,
    largest: u64,
}

impl PartitionObjects {
    /// The same from a plain list, in any order: for tests, and for objects named by hand.
    pub fn from_list<'a>(objects: impl IntoIterator<Item = ObjectEntry<'a>>) -> Self {
        let mut builder = PartitionBuilder::default();
        for object in objects {
            builder.push_whole(
                &object.key,
                object.start_offset,
                object.size,
                object.last_modified,
            );
        }
        builder.finish(Arc::from(""), 0, Arc::from([KeyForm::Whole]))
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is no object.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stored bytes of all objects together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stored bytes of the largest object.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// Object number `index` in the order of the list.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> ObjectEntry<'_> {
        let entry = self.blocks[index / BLOCK].get(index % BLOCK);
        ObjectEntry {
            key: key_of(&self.forms, &self.topic, self.partition, &entry, &self.texts),
            start_offset: Some(entry.start_offset).filter(|offset| *offset != NO_OFFSET),
            size: entry.size,
            last_modified: entry.last_modified,
        }
    }

    /// All objects, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ObjectEntry<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The start offset of object number `index`, without putting its key together.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn start_offset(&self, index: usize) -> Option<i64> {
        let offset = self.blocks[index / BLOCK].start_offset(index % BLOCK);
        Some(offset).filter(|offset| *offset != NO_OFFSET)
    }

    /// The stored bytes of object number `index`, without putting its key together.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn size(&self, index: usize) -> u64 {
        self.blocks[index / BLOCK].size(index % BLOCK)
    }

    /// When object number `index` was stored, in milliseconds since 1970, without putting its key together.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn last_modified(&self, index: usize) -> i64 {
        self.blocks[index / BLOCK].last_modified(index % BLOCK)
    }

    /// True where every object has a start offset: those without come first.
    pub fn have_start_offsets(&self) -> bool {
        self.is_empty() || self.start_offset(0).is_some()
    }

    /// Bytes of memory that this list holds.
    pub fn memory(&self) -> usize {
        let packed: usize = self.blocks.iter().map(Block::memory).sum();
        size_of::<Self>() + self.blocks.capacity() * size_of::<Block>() + packed + self.texts.memory()
    }
}

impl fmt::Debug for PartitionObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn key_of<'a>(
    forms: &[KeyForm],
    topic: &str,
    partition: i32,
    entry: &Entry,
    texts: &'a Texts,
) -> Cow<'a, str> {
    let text = texts.from(entry.text_at());
    match &forms[entry.form()] {
        KeyForm::Whole => Cow::Borrowed(crate::layout::take_text(text).map_or("", |(key, _)| key)),
        form => {
            let mut key = String::new();
            // Cannot fail: the builder spelled the key once and kept it whole where that did not give it back.
            let _ = form.write(topic, partition, entry.start_offset, text, &mut key);
            Cow::Owned(key)
        }
    }
}

/// Collects the objects of one partition in any order.
#[derive(Debug, Default)]
pub(super) struct PartitionBuilder {
    /// Fewer than [`TOGETHER`].
    entries: Vec<Entry>,
    /// Each in order for itself.
    blocks: Vec<Block>,
    texts: Texts,
    len: usize,
    bytes: u64,
    largest: u64,
}

impl PartitionBuilder {
    /// Adds an object whose key is kept whole.
    pub(super) fn push_whole(&mut self, key: &str, start_offset: Option<i64>, size: u64, last_modified: i64) {
        let mut text = String::with_capacity(key.len() + 5);
        crate::layout::put_text(key, &mut text);
        self.push(0, &text, start_offset, size, last_modified);
    }

    /// Adds an object whose key is form number `form` with the given text of its own.
    pub(super) fn push(
        &mut self,
        form: u8,
        text: &str,
        start_offset: Option<i64>,
        size: u64,
        last_modified: i64,
    ) {
        self.entries.push(Entry {
            start_offset: start_offset.unwrap_or(NO_OFFSET),
            last_modified,
            size,
            // The pages of a listing are in order of keys, so equal dates stand next to each other.
            place: self.texts.push(text) << FORM_BITS | u64::from(form),
        });
        self.len += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.largest = self.largest.max(size);
        if self.entries.len() == TOGETHER {
            self.pack();
        }
    }

    fn pack(&mut self) {
        self.entries.sort_unstable();
        self.blocks.extend(self.entries.chunks(BLOCK).map(Block::pack));
        self.entries.clear();
    }

    /// Brings what was collected into order.
    pub(super) fn finish(
        mut self,
        topic: Arc<str>,
        partition: i32,
        forms: Arc<[KeyForm]>,
    ) -> PartitionObjects {
        self.pack();
        self.texts.shrink();
        let key = |entry: &Entry| key_of(&forms, &topic, partition, entry, &self.texts);
        let mut blocks = Vec::with_capacity(self.len.div_ceil(BLOCK));
        let mut entries = self.entries;
        let mut merged = merge(self.blocks).peekable();
        while let Some(entry) = merged.next() {
            let equal = entries.len();
            entries.push(entry);
            while let Some(next) = merged.next_if(|next| rank(next) == rank(&entry)) {
                entries.push(next);
            }
            entries[equal..].sort_unstable_by(|one, other| key(one).cmp(&key(other)));
            let full = entries.len() - entries.len() % BLOCK;
            blocks.extend(entries[..full].chunks(BLOCK).map(Block::pack));
            entries.drain(..full);
        }
        blocks.extend(entries.chunks(BLOCK).map(Block::pack));
        PartitionObjects {
            topic,
            partition,
            forms,
            blocks,
            texts: self.texts,
            len: self.len,
            bytes: self.bytes,
            largest: self.largest,
        }
    }
}

/// What objects are ordered by before their keys.
fn rank(entry: &Entry) -> (i64, i64) {
    (entry.start_offset, entry.last_modified)
}

/// The entries of all blocks in order, where each block is in order. A block's memory goes with its last entry.
fn merge(mut blocks: Vec<Block>) -> impl Iterator<Item = Entry> {
    let head = |(number, block): (usize, &Block)| Reverse((block.get(0), number, 0));
    let mut heads: BinaryHeap<_> = blocks.iter().enumerate().map(head).collect();
    std::iter::from_fn(move || {
        let mut head = heads.peek_mut()?;
        let Reverse((entry, number, index)) = *head;
        if index + 1 < blocks[number].len() {
            *head = Reverse((blocks[number].get(index + 1), number, index + 1));
        } else {
            PeekMut::pop(head);
            blocks[number] = Block::default();
        }
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, start_offset: Option<i64>, last_modified: i64) -> ObjectEntry<'_> {
        ObjectEntry {
            key: Cow::Borrowed(key),
            start_offset,
            size: 10,
            last_modified,
        }
    }

    #[test]
    fn a_plain_list_is_ordered_by_number_then_time_then_key() {
        let objects = PartitionObjects::from_list([
            object("t-0-100", Some(100), 5),
            object("t-0-9", Some(9), 7),
            object("t-0-9.gz", Some(9), 6),
            object("b", None, 1),
            object("a", None, 1),
            object("", Some(i64::MAX), 1),
        ]);
        let keys: Vec<String> = objects.iter().map(|object| object.key.into_owned()).collect();
        assert_eq!(keys, ["a", "b", "t-0-9.gz", "t-0-9", "t-0-100", ""]);
        assert_eq!((objects.bytes(), objects.largest()), (60, 10));
        assert_eq!(objects.start_offset(0), None);
        assert_eq!(objects.get(4), object("t-0-100", Some(100), 5));
    }
}
