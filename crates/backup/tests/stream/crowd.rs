//! A thousand interleaved objects of 50 MB in the default budget. Nothing is stored: bytes are made when asked for.

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, BoxStream, StreamExt};
use kafka_restore_backup::inventory::{ObjectEntry, PartitionObjects};
use kafka_restore_backup::storage::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, Store};
use kafka_restore_backup::stream::{DEFAULT_MEMORY, PartitionStream, StreamErrorKind};

use crate::support::{all_given_back, context, options, partition};

const OBJECTS: i64 = 1_000;
/// All offsets have twelve digits, so that all lines are equally long.
const FIRST_OFFSET: i64 = 100_000_000_000;
const LINE_BYTES: usize = 1_000;
/// Lines that are compressed together.
const LINES: usize = 4;
const OBJECT_BYTES: u64 = 50_000_000;
/// Records that are read: every object is in the merge from the first one on, and is asked for a second block.
const READ: i64 = 24_000;

/// Each object holds every thousandth offset.
struct Made {
    wrap: fn(Vec<u8>) -> Vec<u8>,
    /// Bytes of a group of lines as it is stored.
    group: u64,
}

impl Made {
    fn new(wrap: fn(Vec<u8>) -> Vec<u8>) -> Self {
        let group = wrap(lines(0, 0)).len() as u64;
        Self { wrap, group }
    }

    fn size(&self) -> u64 {
        OBJECT_BYTES / self.group * self.group
    }

    fn objects(&self) -> Arc<PartitionObjects> {
        let keys: Vec<String> = (0..OBJECTS).map(|object| format!("t-0-{object}")).collect();
        Arc::new(PartitionObjects::from_list(keys.iter().map(|key| ObjectEntry {
            key: key.into(),
            start_offset: Some(FIRST_OFFSET),
            size: self.size(),
            last_modified: 0,
        })))
    }

    fn bytes(&self, object: i64, range: Range<u64>) -> Bytes {
        let groups = range.start / self.group..range.end.div_ceil(self.group);
        let skipped = (range.start - groups.start * self.group) as usize;
        let made: Vec<u8> = groups
            .flat_map(|group| {
                let stored = (self.wrap)(lines(object, group));
                assert_eq!(stored.len() as u64, self.group);
                stored
            })
            .collect();
        Bytes::from(made).slice(skipped..skipped + (range.end - range.start) as usize)
    }
}

/// A group of lines: offset, timestamp, value.
fn lines(object: i64, group: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(LINES * LINE_BYTES);
    for line in 0..LINES as i64 {
        let offset = FIRST_OFFSET + (group as i64 * LINES as i64 + line) * OBJECTS + object;
        let start = text.len();
        text.extend_from_slice(format!("{offset},1700000000000,").as_bytes());
        let value = LINE_BYTES - (text.len() - start) - 1;
        text.resize(text.len() + value / 4 * 4, b'A');
        text.push(b'\n');
    }
    text
}

fn gzip(bytes: Vec<u8>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

#[async_trait]
impl Store for Made {
    fn location(&self) -> &str {
        "made://"
    }

    fn list<'a>(&'a self, _prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        stream::empty().boxed()
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        _version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let object: i64 = key.rsplit('-').next().unwrap().parse().unwrap();
        let range = range.unwrap_or(0..self.size());
        let range = range.start..range.end.min(self.size());
        let bytes = self.bytes(object, range.clone());
        Ok(ObjectBody {
            meta: ObjectMeta {
                key: key.to_owned(),
                size: self.size(),
                last_modified: 0,
                version: None,
            },
            range,
            chunks: stream::iter([Ok(bytes)]).boxed(),
        })
    }

    async fn put(&self, _key: &str, _bytes: Bytes) -> Result<(), StorageError> {
        unreachable!("nothing is written")
    }

    async fn delete(&self, _key: &str) -> Result<(), StorageError> {
        unreachable!("nothing is deleted")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_interleaved_objects_of_fifty_megabytes_stay_within_the_default_budget() {
    for wrap in [|bytes| bytes, gzip] {
        let made = Arc::new(Made::new(wrap));
        let context = context(made.clone(), DEFAULT_MEMORY);
        let mut stream = PartitionStream::new(&context, partition(), made.objects(), options());
        let mut next = FIRST_OFFSET;
        while next < FIRST_OFFSET + READ {
            let block = stream.next().await.unwrap().unwrap();
            for record in block.iter() {
                assert_eq!(record.offset, next);
                next += 1;
            }
        }
        assert_eq!(stream.statistics().overlapping_objects, OBJECTS as u64);
        drop(stream);
        let most = context.budget.high_water();
        assert!(most <= DEFAULT_MEMORY, "{most} bytes");
        all_given_back(&context).await;
    }
}

#[tokio::test]
async fn half_of_that_is_too_little_and_says_so() {
    let made = Arc::new(Made::new(|bytes| bytes));
    let context = context(made.clone(), DEFAULT_MEMORY / 2);
    let mut stream = PartitionStream::new(&context, partition(), made.objects(), options());
    let error = stream.next().await.unwrap_err();
    assert!(
        matches!(error.kind, StreamErrorKind::Memory { objects: 1_000, .. }),
        "{error}"
    );
}
