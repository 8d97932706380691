use std::fmt;
use std::ops::Range;

use crate::NO_TIMESTAMP;

/// Marks a null key, value or header value in a [`Span`].
const NULL: u32 = u32::MAX;

/// A range of a block's buffer, or null.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    const NULL: Span = Span {
        start: 0,
        length: NULL,
    };

    #[inline]
    fn of(self, data: &[u8]) -> Option<&[u8]> {
        (self.length != NULL).then(|| &data[self.start as usize..][..self.length as usize])
    }
}

#[derive(Clone, Copy)]
struct Entry {
    offset: i64,
    timestamp: i64,
    key: Span,
    value: Span,
    /// Where the record's bytes begin in the buffer, and its headers in their list. They end where those of the next
    /// record begin.
    data_start: u32,
    headers_start: u32,
}

#[derive(Clone, Copy)]
struct HeaderEntry {
    name: Span,
    value: Span,
}

/// Records of one partition in one contiguous buffer.
///
/// A block holds less than 4 GiB of bytes; [`RecordWriter::finish`] refuses a record that would pass that.
/// A cleared block keeps its memory, so blocks can be recycled.
#[derive(Clone, Default)]
pub struct RecordBlock {
    data: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

impl RecordBlock {
    /// An empty block that owns no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty block with room for `bytes` bytes of payload and `records` records.
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        Self {
            data: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(records),
            headers: Vec::new(),
        }
    }

    /// The number of records.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where the block holds no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Payload bytes: keys, values, header names and header values.
    pub fn payload_bytes(&self) -> usize {
        self.data.len()
    }

    /// Payload bytes of the records in `range`, without a look at each of them.
    ///
    /// # Panics
    ///
    /// Where `range` does not lie within the block.
    pub fn payload_bytes_of(&self, range: Range<usize>) -> usize {
        assert!(range.start <= range.end && range.end <= self.len());
        let start = |index: usize| match self.entries.get(index) {
            Some(entry) => entry.data_start as usize,
            None => self.data.len(),
        };
        start(range.end) - start(range.start)
    }

    /// Payload bytes and the bookkeeping of the records and headers, without spare room.
    pub fn used_bytes(&self) -> usize {
        self.data.len()
            + self.entries.len() * size_of::<Entry>()
            + self.headers.len() * size_of::<HeaderEntry>()
    }

    /// Bytes of memory that the block holds on to, for budgets.
    pub fn memory_bytes(&self) -> usize {
        self.data.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.headers.capacity() * size_of::<HeaderEntry>()
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
        self.headers.clear();
    }

    /// Forgets the records from index `length` on.
    pub fn truncate(&mut self, length: usize) {
        let Some(entry) = self.entries.get(length) else {
            return;
        };
        self.headers.truncate(entry.headers_start as usize);
        self.data.truncate(entry.data_start as usize);
        self.entries.truncate(length);
    }

    /// The record at `index`, from 0.
    ///
    /// # Panics
    ///
    /// Where `index` is not below [`len`](Self::len).
    #[inline]
    pub fn get(&self, index: usize) -> RecordRef<'_> {
        let entry = &self.entries[index];
        let headers_end = match self.entries.get(index + 1) {
            Some(next) => next.headers_start as usize,
            None => self.headers.len(),
        };
        RecordRef {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.of(&self.data),
            value: entry.value.of(&self.data),
            headers: Headers {
                data: &self.data,
                entries: &self.headers[entry.headers_start as usize..headers_end],
            },
        }
    }

    /// The first record, if there is one.
    pub fn first(&self) -> Option<RecordRef<'_>> {
        (!self.is_empty()).then(|| self.get(0))
    }

    /// The last record, if there is one.
    pub fn last(&self) -> Option<RecordRef<'_>> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    /// All records in the order in which they were appended.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + DoubleEndedIterator + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Gives every record a new offset: `first` for the first one, then one more each.
    ///
    /// For formats that store no offset.
    pub fn number_from(&mut self, first: i64) {
        for (entry, offset) in self.entries.iter_mut().zip(first..) {
            entry.offset = offset;
        }
    }

    /// Copies `record` to the end of the block.
    pub fn push(&mut self, record: RecordRef<'_>) {
        let mut writer = self.append(record.offset, record.timestamp);
        if let Some(key) = record.key {
            writer.key(key);
        }
        if let Some(value) = record.value {
            writer.value(value);
        }
        for (name, value) in record.headers {
            writer.header(name, value);
        }
        writer.finish();
    }

    /// Starts a record with a null key, a null value and no headers.
    ///
    /// The record is in the block only after [`RecordWriter::finish`]; a writer that is dropped before
    /// leaves the block as it was.
    #[inline]
    pub fn append(&mut self, offset: i64, timestamp: i64) -> RecordWriter<'_> {
        RecordWriter {
            entry: Entry {
                offset,
                timestamp,
                key: Span::NULL,
                value: Span::NULL,
                data_start: self.data.len() as u32,
                headers_start: self.headers.len() as u32,
            },
            finished: false,
            block: self,
        }
    }
}

impl fmt::Debug for RecordBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Two blocks are equal where they hold equal records in the same order.
impl PartialEq for RecordBlock {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// Appends one record to a [`RecordBlock`]. Fields may come in any order; a field set twice keeps its
/// last value.
pub struct RecordWriter<'a> {
    block: &'a mut RecordBlock,
    entry: Entry,
    finished: bool,
}

impl RecordWriter<'_> {
    /// Sets the record's offset.
    pub fn offset(&mut self, offset: i64) {
        self.entry.offset = offset;
    }

    /// Sets the record's timestamp, in milliseconds since 1970, or [`NO_TIMESTAMP`].
    pub fn timestamp(&mut self, timestamp: i64) {
        self.entry.timestamp = timestamp;
    }

    /// Sets the key.
    pub fn key(&mut self, key: &[u8]) {
        self.entry.key = self.copy(key);
    }

    /// Sets the value.
    pub fn value(&mut self, value: &[u8]) {
        self.entry.value = self.copy(value);
    }

    /// Sets the key to what `write` appends to the buffer it is given; it must not touch what is there.
    pub fn key_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.entry.key = self.write(write)?;
        Ok(())
    }

    /// Sets the value to what `write` appends to the buffer it is given; it must not touch what is there.
    pub fn value_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.entry.value = self.write(write)?;
        Ok(())
    }

    /// Sets the key to null.
    pub fn key_null(&mut self) {
        self.entry.key = Span::NULL;
    }

    /// Sets the value to null.
    pub fn value_null(&mut self) {
        self.entry.value = Span::NULL;
    }

    /// Appends a header.
    pub fn header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let name = self.copy(name);
        let value = value.map_or(Span::NULL, |value| self.copy(value));
        self.block.headers.push(HeaderEntry { name, value });
    }

    /// Appends a header whose name and value are what the two closures append to the buffer.
    pub fn header_with<E>(
        &mut self,
        name: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: Option<impl FnOnce(&mut Vec<u8>) -> Result<(), E>>,
    ) -> Result<(), E> {
        let name = self.write(name)?;
        let value = match value {
            Some(write) => self.write(write)?,
            None => Span::NULL,
        };
        self.block.headers.push(HeaderEntry { name, value });
        Ok(())
    }

    /// Puts the record into the block.
    ///
    /// # Panics
    ///
    /// Where the block would hold 4 GiB or more; decoders bound their blocks far below that.
    #[inline]
    pub fn finish(mut self) {
        assert!(
            self.block.data.len() < NULL as usize,
            "a record block holds less than 4 GiB"
        );
        self.block.entries.push(self.entry);
        self.finished = true;
    }

    #[inline]
    fn copy(&mut self, bytes: &[u8]) -> Span {
        let start = self.block.data.len() as u32;
        self.block.data.extend_from_slice(bytes);
        Span {
            start,
            length: bytes.len() as u32,
        }
    }

    #[inline]
    fn write<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Span, E> {
        let start = self.block.data.len();
        write(&mut self.block.data)?;
        Ok(Span {
            start: start as u32,
            length: (self.block.data.len() - start) as u32,
        })
    }
}

impl Drop for RecordWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.block.data.truncate(self.entry.data_start as usize);
            self.block.headers.truncate(self.entry.headers_start as usize);
        }
    }
}

/// One record, borrowed from a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970, or [`NO_TIMESTAMP`].
    pub timestamp: i64,
    /// The key; `None` is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null (a tombstone in compacted topics), which is not the same as empty.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates included.
    pub headers: Headers<'a>,
}

impl RecordRef<'_> {
    /// Payload bytes: key, value, header names and header values.
    pub fn payload_bytes(&self) -> usize {
        let length = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
        length(self.key)
            + length(self.value)
            + self
                .headers
                .iter()
                .map(|(name, value)| name.len() + length(value))
                .sum::<usize>()
    }

    /// True where everything but the offset is equal.
    pub fn same_content(&self, other: &RecordRef<'_>) -> bool {
        self.timestamp == other.timestamp
            && self.key == other.key
            && self.value == other.value
            && self.headers == other.headers
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Record");
        debug.field("offset", &self.offset);
        if self.timestamp != NO_TIMESTAMP {
            debug.field("timestamp", &self.timestamp);
        }
        debug
            .field(
                "key",
                &self.key.map(<[u8]>::escape_ascii).map(|key| key.to_string()),
            )
            .field(
                "value",
                &self
                    .value
                    .map(<[u8]>::escape_ascii)
                    .map(|value| value.to_string()),
            )
            .field("headers", &self.headers)
            .finish()
    }
}

/// The headers of one record: pairs of a name and a value that may be null.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    data: &'a [u8],
    entries: &'a [HeaderEntry],
}

impl<'a> Headers<'a> {
    /// The number of headers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where the record has no headers.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values in order.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter {
            data: self.data,
            entries: self.entries.iter(),
        }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Headers<'_> {}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_list()
            .entries(self.iter().map(|(name, value)| (text(name), value.map(text))))
            .finish()
    }
}

/// Iterates over the headers of one record.
#[derive(Clone)]
pub struct HeadersIter<'a> {
    data: &'a [u8],
    entries: std::slice::Iter<'a, HeaderEntry>,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some((
            entry.name.of(self.data).unwrap_or_default(),
            entry.value.of(self.data),
        ))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RecordBlock {
        let mut block = RecordBlock::new();
        let mut writer = block.append(7, 1000);
        writer.key(b"k");
        writer.value(b"");
        writer.header(b"h", Some(b"1"));
        writer.header(b"h", None);
        writer.header(b"", Some(b""));
        writer.finish();
        block.append(9, NO_TIMESTAMP).finish();
        block
    }

    #[test]
    fn null_is_not_empty_and_headers_keep_order_and_duplicates() {
        let block = sample();
        let record = block.get(0);
        assert_eq!(record.key, Some(&b"k"[..]));
        assert_eq!(record.value, Some(&b""[..]));
        let headers: Vec<_> = record.headers.iter().collect();
        assert_eq!(
            headers,
            [(&b"h"[..], Some(&b"1"[..])), (b"h", None), (b"", Some(b""))]
        );
        assert_eq!(block.get(1).key, None);
        assert_eq!(block.get(1).value, None);
        assert_eq!(record.payload_bytes(), 4);
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_no_trace() {
        let mut block = sample();
        let before = block.clone();
        let mut writer = block.append(10, 0);
        writer.key(b"lost");
        writer.header(b"lost", None);
        drop(writer);
        assert_eq!(block, before);
        assert_eq!(block.payload_bytes(), before.payload_bytes());
    }

    #[test]
    fn copying_a_record_keeps_everything() {
        let block = sample();
        let mut copy = RecordBlock::new();
        block.iter().for_each(|record| copy.push(record));
        assert_eq!(block, copy);
    }

    #[test]
    fn payload_of_a_range_is_that_of_its_records() {
        let mut block = sample();
        block.push(sample().get(0));
        for start in 0..=block.len() {
            for end in start..=block.len() {
                let each: usize = (start..end).map(|index| block.get(index).payload_bytes()).sum();
                assert_eq!(block.payload_bytes_of(start..end), each, "{start}..{end}");
            }
        }
    }

    #[test]
    fn truncating_keeps_the_records_before() {
        let mut block = sample();
        let first = sample();
        block.append(11, 3).finish();
        block.truncate(2);
        assert_eq!(block, first);
        block.truncate(0);
        assert!(block.is_empty());
        assert_eq!(block.payload_bytes(), 0);
    }
}
