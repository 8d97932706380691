//! The objects of one partition, compact: a listing of ten million objects must fit in a few hundred MB.
//!
//! Each object is a fixed 32 bytes plus the part of its key that the name template cannot give back (dates,
//! record keys); neighbours with the same part share it. Keys are put together again when they are asked for,
//! and a key that would not come back exactly is kept whole.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::layout::KeyForm;

/// Stands for "no start offset in the name" in an [`Entry`]; Kafka's offsets are never negative.
const NO_OFFSET: i64 = -1;

/// Bits of [`Entry::place`] that hold the position in the texts; the rest is the number of the form.
const PLACE_BITS: u32 = 48;

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

#[derive(Clone, Copy, Debug)]
struct Entry {
    start_offset: i64,
    size: u64,
    last_modified: i64,
    /// The number of the form (upper bits) and where the object's own text starts (lower bits).
    place: u64,
}

impl Entry {
    fn form(&self) -> usize {
        (self.place >> PLACE_BITS) as usize
    }

    fn text_at(&self) -> usize {
        (self.place & ((1 << PLACE_BITS) - 1)) as usize
    }
}

/// The objects of one partition in numeric order of start offset; ties by time of modification, then key.
/// Objects without a start offset come first.
#[derive(Clone)]
pub struct PartitionObjects {
    topic: Arc<str>,
    partition: i32,
    forms: Arc<[KeyForm]>,
    entries: Vec<Entry>,
    texts: String,
    bytes: u64,
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
        self.entries.len()
    }

    /// True where there is no object.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Stored bytes of all objects together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Object number `index` in the order of the list.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> ObjectEntry<'_> {
        let entry = self.entries[index];
        ObjectEntry {
            key: key_of(&self.forms, &self.topic, self.partition, &entry, &self.texts),
            start_offset: (entry.start_offset != NO_OFFSET).then_some(entry.start_offset),
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
        let offset = self.entries[index].start_offset;
        (offset != NO_OFFSET).then_some(offset)
    }

    /// The stored bytes of object number `index`, without putting its key together.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn size(&self, index: usize) -> u64 {
        self.entries[index].size
    }

    /// Bytes of memory that this list holds.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>() + self.texts.capacity()
    }
}

impl fmt::Debug for PartitionObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn key_of<'a>(forms: &[KeyForm], topic: &str, partition: i32, entry: &Entry, texts: &'a str) -> Cow<'a, str> {
    let text = &texts[entry.text_at()..];
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
    entries: Vec<Entry>,
    texts: String,
    last_text: usize,
    bytes: u64,
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
        form: u16,
        text: &str,
        start_offset: Option<i64>,
        size: u64,
        last_modified: i64,
    ) {
        // The pages of a listing are in order of keys, so equal dates stand next to each other.
        if self.texts[self.last_text..] != *text {
            self.last_text = self.texts.len();
            self.texts.push_str(text);
        }
        self.entries.push(Entry {
            start_offset: start_offset.unwrap_or(NO_OFFSET),
            size,
            last_modified,
            place: u64::from(form) << PLACE_BITS | self.last_text as u64,
        });
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Sorts what was collected and gives back the memory that is not needed.
    pub(super) fn finish(
        mut self,
        topic: Arc<str>,
        partition: i32,
        forms: Arc<[KeyForm]>,
    ) -> PartitionObjects {
        let texts = &self.texts;
        self.entries.sort_unstable_by(|a, b| {
            (a.start_offset, a.last_modified)
                .cmp(&(b.start_offset, b.last_modified))
                .then_with(|| {
                    key_of(&forms, &topic, partition, a, texts)
                        .cmp(&key_of(&forms, &topic, partition, b, texts))
                })
        });
        self.entries.shrink_to_fit();
        self.texts.shrink_to_fit();
        PartitionObjects {
            topic,
            partition,
            forms,
            entries: self.entries,
            texts: self.texts,
            bytes: self.bytes,
        }
    }
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
        assert_eq!(objects.bytes(), 60);
        assert_eq!(objects.start_offset(0), None);
        assert_eq!(objects.get(4), object("t-0-100", Some(100), 5));
    }

    #[test]
    fn an_entry_takes_thirty_two_bytes() {
        assert_eq!(size_of::<Entry>(), 32);
    }
}
