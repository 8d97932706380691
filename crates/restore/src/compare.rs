//! Backup against target, record by record, in lockstep.
//!
//! Used twice: for what stands in a target before anything is added to it, and to verify at the end. Both sides
//! are walked block by block, so that memory does not grow with the number of records.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use backup::format::{Decoding, Field, Format, MissingTimestamp};
use backup::stream::{PartitionStream, StreamBlock};
use kafka::fetch::PartitionFetcher;
use record::{NO_TIMESTAMP, RecordBlock, RecordRef};
use serde::{Deserialize, Serialize};

use crate::content::TopicContent;
use crate::encode::FILLER_TIMESTAMP;
use crate::error::RestoreError;

/// Something that gives blocks of records in ascending order of offset.
pub(crate) trait BlockSource {
    /// What the records come in.
    type Block: Deref<Target = RecordBlock>;

    /// The next block, `None` at the end.
    async fn next_block(&mut self) -> Result<Option<Self::Block>, RestoreError>;
}

impl BlockSource for PartitionStream {
    type Block = StreamBlock;

    async fn next_block(&mut self) -> Result<Option<StreamBlock>, RestoreError> {
        Ok(self.next().await?)
    }
}

impl BlockSource for PartitionFetcher {
    type Block = Box<RecordBlock>;

    async fn next_block(&mut self) -> Result<Option<Box<RecordBlock>>, RestoreError> {
        let mut block = Box::default();
        Ok(self.next(&mut block).await?.then_some(block))
    }
}

/// What is left of a block: from this index on.
pub(crate) type Rest<B> = (Arc<B>, usize);

/// A place in a [`BlockSource`].
pub(crate) struct Cursor<S: BlockSource> {
    source: S,
    block: Option<Arc<S::Block>>,
    index: usize,
}

impl<S: BlockSource> Cursor<S> {
    pub(crate) fn new(source: S) -> Self {
        Self {
            source,
            block: None,
            index: 0,
        }
    }

    /// Makes sure that [`current`](Self::current) gives a record, unless the source has ended.
    pub(crate) async fn fill(&mut self) -> Result<bool, RestoreError> {
        while self.current().is_none() {
            match self.source.next_block().await? {
                Some(block) => (self.block, self.index) = (Some(Arc::new(block)), 0),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The record at this place, after [`fill`](Self::fill).
    pub(crate) fn current(&self) -> Option<RecordRef<'_>> {
        let block = self.block.as_ref()?;
        (self.index < block.len()).then(|| block.get(self.index))
    }

    /// Steps over the current record.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
    }

    /// The rest of the current block, and the source for what follows.
    pub(crate) fn into_rest(self) -> (Option<Rest<S::Block>>, S) {
        (self.block.map(|block| (block, self.index)), self.source)
    }
}

/// How much two equal records may differ, because of what the backup's format cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// A null key in the backup may be an empty one in the target (csv).
    pub null_or_empty_key: bool,
    /// A null value in the backup may be an empty one in the target (csv).
    pub null_or_empty_value: bool,
    /// The backup has no keys.
    pub any_key: bool,
    /// The backup has no values.
    pub any_value: bool,
    /// The backup has no timestamps.
    pub any_timestamp: bool,
    /// The backup has no headers.
    pub any_headers: bool,
}

impl Tolerance {
    /// What csv cannot tell: it writes a null and an empty field alike.
    pub fn csv() -> Self {
        Self {
            null_or_empty_key: true,
            null_or_empty_value: true,
            ..Self::default()
        }
    }

    /// What may differ from what an earlier run of the same restore put there: a timestamp that every run chooses anew.
    pub(crate) fn of_own(decoding: &Decoding) -> Self {
        Self {
            any_timestamp: gives_another(decoding),
            ..Self::default()
        }
    }

    /// What a backup that is read like this cannot tell: csv writes a null and an empty field alike, and fields that
    /// were not configured were not stored.
    pub(crate) fn of(content: &TopicContent) -> Self {
        let csv = content.formats.iter().any(|(format, _)| *format == Format::Csv);
        let fields = content.decoding.fields.as_ref();
        let lacks = |field: Field| fields.is_some_and(|fields| !fields.contains(&field));
        Self {
            null_or_empty_key: csv,
            null_or_empty_value: csv,
            any_key: lacks(Field::Key),
            any_value: lacks(Field::Value),
            any_timestamp: lacks(Field::Timestamp) || gives_another(&content.decoding),
            any_headers: lacks(Field::Headers),
        }
    }
}

/// True where records without a timestamp get that of the run.
fn gives_another(decoding: &Decoding) -> bool {
    matches!(decoding.missing_timestamp, MissingTimestamp::At(_))
}

/// One difference between a backup and a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Offset of the record in the backup, where there is one.
    pub source_offset: Option<i64>,
    /// Offset of the record in the target, where there is one.
    pub target_offset: Option<i64>,
    /// What differs.
    pub kind: DifferenceKind,
    /// The backup's side, for people.
    pub backup: String,
    /// The target's side, for people.
    pub target: String,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The backup has a record that the target lacks.
    Missing,
    /// The target has a record that the backup lacks.
    Extra,
    /// The records stand at different offsets.
    Offset,
    /// The timestamps differ.
    Timestamp,
    /// The keys differ.
    Key,
    /// The values differ.
    Value,
    /// The headers differ, in names, values, number or order.
    Headers,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DifferenceKind::Missing => "the target lacks a record",
            DifferenceKind::Extra => "the target has a record that the backup lacks",
            DifferenceKind::Offset => "the offset differs",
            DifferenceKind::Timestamp => "the timestamp differs",
            DifferenceKind::Key => "the key differs",
            DifferenceKind::Value => "the value differs",
            DifferenceKind::Headers => "the headers differ",
        };
        let place =
            |offset: Option<i64>| offset.map_or("nothing".into(), |offset| format!("offset {offset}"));
        write!(
            f,
            "{what} (backup: {}, {}; target: {}, {})",
            place(self.source_offset),
            self.backup,
            place(self.target_offset),
            self.target
        )
    }
}

/// The first difference in content between `backup` and `target`, offsets aside.
pub(crate) fn content_difference(
    backup: RecordRef<'_>,
    target: RecordRef<'_>,
    tolerance: Tolerance,
) -> Option<Difference> {
    let kind = if backup.timestamp != target.timestamp && !tolerance.any_timestamp {
        DifferenceKind::Timestamp
    } else if !tolerance.any_key && !same_field(backup.key, target.key, tolerance.null_or_empty_key) {
        DifferenceKind::Key
    } else if !tolerance.any_value && !same_field(backup.value, target.value, tolerance.null_or_empty_value) {
        DifferenceKind::Value
    } else if backup.headers != target.headers && !tolerance.any_headers {
        DifferenceKind::Headers
    } else {
        return None;
    };
    Some(difference(kind, Some(backup), Some(target)))
}

fn same_field(backup: Option<&[u8]>, target: Option<&[u8]>, null_or_empty: bool) -> bool {
    backup == target
        || (null_or_empty && backup.unwrap_or_default().is_empty() && target.unwrap_or_default().is_empty())
}

/// Describes a difference of `kind`.
pub(crate) fn difference(
    kind: DifferenceKind,
    backup: Option<RecordRef<'_>>,
    target: Option<RecordRef<'_>>,
) -> Difference {
    let describe = |record: Option<RecordRef<'_>>| {
        let Some(record) = record else {
            return "no record".to_owned();
        };
        match kind {
            DifferenceKind::Timestamp => match record.timestamp {
                NO_TIMESTAMP => "no timestamp".to_owned(),
                timestamp => format!("timestamp {timestamp}"),
            },
            DifferenceKind::Key => format!("key {}", describe_bytes(record.key)),
            DifferenceKind::Value => format!("value {}", describe_bytes(record.value)),
            DifferenceKind::Headers => {
                let headers: Vec<String> = record
                    .headers
                    .iter()
                    .take(4)
                    .map(|(name, value)| format!("{}={}", name.escape_ascii(), describe_bytes(value)))
                    .collect();
                format!("{} headers [{}]", record.headers.len(), headers.join(", "))
            }
            DifferenceKind::Missing | DifferenceKind::Extra | DifferenceKind::Offset => {
                format!(
                    "key {}, value {}",
                    describe_bytes(record.key),
                    describe_bytes(record.value)
                )
            }
        }
    };
    Difference {
        source_offset: backup.map(|record| record.offset),
        target_offset: target.map(|record| record.offset),
        kind,
        backup: describe(backup),
        target: describe(target),
    }
}

/// Bytes for people: escaped, with their number where they are long.
fn describe_bytes(bytes: Option<&[u8]>) -> String {
    const SHOWN: usize = 32;
    match bytes {
        None => "null".to_owned(),
        Some([]) => "empty".to_owned(),
        Some(bytes) if bytes.len() <= SHOWN => format!("\"{}\"", bytes.escape_ascii()),
        Some(bytes) => format!("\"{}...\" ({} bytes)", bytes[..SHOWN].escape_ascii(), bytes.len()),
    }
}

/// True for a record that a restore puts at an offset that has none in the backup.
pub(crate) fn is_filler(record: RecordRef<'_>) -> bool {
    record.key.is_none()
        && record.value.is_none()
        && record.headers.is_empty()
        && record.timestamp == FILLER_TIMESTAMP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> RecordBlock {
        let mut block = RecordBlock::new();
        let mut writer = block.append(5, timestamp);
        key.inspect(|key| writer.key(key));
        value.inspect(|value| writer.value(value));
        headers
            .iter()
            .for_each(|(name, value)| writer.header(name.as_bytes(), *value));
        writer.finish();
        block
    }

    #[test]
    fn every_field_is_compared() {
        let backup = block(7, Some(b"k"), Some(b"v"), &[("a", Some(b"1")), ("b", None)]);
        let kind = |target: &RecordBlock, tolerance| {
            content_difference(backup.get(0), target.get(0), tolerance).map(|difference| difference.kind)
        };
        let exactly = Tolerance::default();
        let headers = [("a", Some(&b"1"[..])), ("b", None)];
        assert_eq!(kind(&backup, exactly), None);
        assert_eq!(
            kind(&block(8, Some(b"k"), Some(b"v"), &headers), exactly),
            Some(DifferenceKind::Timestamp)
        );
        assert_eq!(
            kind(&block(7, None, Some(b"v"), &headers), exactly),
            Some(DifferenceKind::Key)
        );
        assert_eq!(
            kind(&block(7, Some(b"k"), Some(b"w"), &headers), exactly),
            Some(DifferenceKind::Value)
        );
        let swapped = [("b", None), ("a", Some(&b"1"[..]))];
        assert_eq!(
            kind(&block(7, Some(b"k"), Some(b"v"), &swapped), exactly),
            Some(DifferenceKind::Headers)
        );
        let empty = [("a", Some(&b"1"[..])), ("b", Some(&b""[..]))];
        assert_eq!(
            kind(&block(7, Some(b"k"), Some(b"v"), &empty), exactly),
            Some(DifferenceKind::Headers)
        );
    }

    #[test]
    fn null_and_empty_are_the_same_only_where_the_backup_cannot_tell() {
        let (null, empty) = (block(1, None, None, &[]), block(1, Some(b""), Some(b""), &[]));
        let lenient = Tolerance {
            null_or_empty_key: true,
            null_or_empty_value: true,
            ..Tolerance::default()
        };
        assert!(content_difference(null.get(0), empty.get(0), Tolerance::default()).is_some());
        assert_eq!(content_difference(null.get(0), empty.get(0), lenient), None);
    }

    #[test]
    fn differences_read_well() {
        let (backup, target) = (
            block(1, Some(b"a\xff"), None, &[]),
            block(1, Some(b"b"), None, &[]),
        );
        let text =
            content_difference(backup.get(0), target.get(0), Tolerance::default()).map(|d| d.to_string());
        assert_eq!(
            text.as_deref(),
            Some("the key differs (backup: offset 5, key \"a\\xff\"; target: offset 5, key \"b\")")
        );
    }
}
