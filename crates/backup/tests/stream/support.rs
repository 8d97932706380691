//! Backups of csv objects in memory, and a stream read to its end.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use kafka_restore_backup::format::{Decoding, Field, Format};
use kafka_restore_backup::inventory::{ObjectEntry, PartitionObjects};
use kafka_restore_backup::storage::memory::MemoryStore;
use kafka_restore_backup::storage::{
    ObjectBody, ObjectMeta, ObjectVersion, RetryPolicy, StorageError, StorageErrorKind, Store,
};
use kafka_restore_backup::stream::packing::{Pack, Packer, Packing};
use kafka_restore_backup::stream::{
    CpuPool, MemoryBudget, PartitionStream, StreamContext, StreamError, StreamOptions, StreamStatistics,
};
use record::{RecordBlock, TopicPartition};

/// A record as the tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) value: Vec<u8>,
}

/// A record whose timestamp and value follow from its offset and a variant.
pub(crate) fn record(offset: i64, variant: u8) -> Record {
    Record {
        offset,
        timestamp: 1_000_000 + offset,
        value: format!("{variant}-{offset}-{}", "x".repeat((offset % 7) as usize)).into_bytes(),
    }
}

pub(crate) fn records(offsets: impl IntoIterator<Item = i64>) -> Vec<Record> {
    offsets.into_iter().map(|offset| record(offset, 0)).collect()
}

/// csv with the fields offset, timestamp, value; no newline at the end.
pub(crate) fn csv(records: &[Record]) -> Vec<u8> {
    let lines: Vec<String> = records
        .iter()
        .map(|record| {
            format!(
                "{},{},{}",
                record.offset,
                record.timestamp,
                BASE64_STANDARD.encode(&record.value)
            )
        })
        .collect();
    lines.join("\n").into_bytes()
}

pub(crate) fn decoding() -> Arc<Decoding> {
    Arc::new(Decoding {
        format: Some(Format::Csv),
        fields: Some(vec![Field::Offset, Field::Timestamp, Field::Value]),
        ..Decoding::default()
    })
}

pub(crate) fn options() -> StreamOptions {
    StreamOptions::new(decoding())
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

pub(crate) static CPU: LazyLock<CpuPool> = LazyLock::new(|| CpuPool::new(2).unwrap());

/// Packs records into boxes of so many bytes, and refuses values that begin with this byte.
pub(crate) struct Boxing {
    pub(crate) bytes: usize,
    pub(crate) refused: Option<u8>,
}

/// What records are packed into here: themselves, without their offsets.
#[derive(Default)]
pub(crate) struct Boxed(pub(crate) RecordBlock);

struct Boxer {
    boxing: Arc<Boxing>,
    current: Boxed,
}

impl Packing for Boxing {
    fn packer(self: Arc<Self>, _bytes: usize) -> Option<Box<dyn Packer>> {
        Some(Box::new(Boxer {
            boxing: self,
            current: Boxed::default(),
        }))
    }
}

impl Packer for Boxer {
    fn add(&mut self, block: &RecordBlock) -> bool {
        let first = |value: Option<&[u8]>| value.and_then(|value| value.first().copied());
        let is_refused = |value| self.boxing.refused.is_some() && first(value) == self.boxing.refused;
        if block.iter().any(|record| is_refused(record.value)) {
            return false;
        }
        block.iter().for_each(|record| self.current.0.push(record));
        true
    }

    fn is_full(&self) -> bool {
        self.current.0.payload_bytes() >= self.boxing.bytes
    }

    fn finish(&mut self) -> Box<dyn Pack> {
        let mut boxed = std::mem::take(&mut self.current);
        boxed.0.number_from(0);
        assert!(!boxed.0.is_empty());
        Box::new(boxed)
    }
}

impl Pack for Boxed {
    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    fn unpack(&self) -> RecordBlock {
        self.0.clone()
    }
}

/// Objects of one partition.
#[derive(Default)]
pub(crate) struct Backup {
    pub(crate) store: Arc<MemoryStore>,
    list: Vec<(String, i64, u64, i64)>,
}

impl Backup {
    /// Adds an object; its key is `t-0-<start>` and what `suffix` says.
    pub(crate) fn add(
        &mut self,
        start: i64,
        suffix: &str,
        bytes: impl Into<Bytes>,
        last_modified: i64,
    ) -> String {
        let key = format!("t-0-{start}{suffix}");
        let bytes = bytes.into();
        self.list
            .push((key.clone(), start, bytes.len() as u64, last_modified));
        self.store.insert(&key, bytes, last_modified);
        key
    }

    pub(crate) fn objects(&self) -> Arc<PartitionObjects> {
        Arc::new(PartitionObjects::from_list(self.list.iter().map(
            |(key, start, size, last_modified)| ObjectEntry {
                key: key.as_str().into(),
                start_offset: Some(*start),
                size: *size,
                last_modified: *last_modified,
            },
        )))
    }

    pub(crate) async fn read(&self, options: StreamOptions) -> Outcome {
        self.read_through(self.store.clone(), options, 8 << 20).await
    }

    pub(crate) async fn read_through(
        &self,
        store: Arc<dyn Store>,
        options: StreamOptions,
        memory: usize,
    ) -> Outcome {
        let context = context(store, memory);
        let stream = PartitionStream::new(&context, partition(), self.objects(), options);
        let outcome = read_all(stream).await;
        all_given_back(&context).await;
        outcome
    }
}

pub(crate) fn context(store: Arc<dyn Store>, memory: usize) -> StreamContext {
    let hasty = RetryPolicy {
        attempts: 5,
        first_delay: std::time::Duration::ZERO,
        ..RetryPolicy::default()
    };
    StreamContext::new(store, CPU.clone(), MemoryBudget::new(memory), 8).with_retry(hasty)
}

/// Waits until everything that a stream had is given back: its tasks end on the runtime's next rounds.
pub(crate) async fn all_given_back(context: &StreamContext) {
    while context.budget.used() > 0 || context.budget.partitions_now() > 0 {
        tokio::task::yield_now().await;
    }
}

/// What a stream gave until its end or its error.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<Record>,
    pub(crate) blocks: usize,
    /// Records in packs that nobody had to open.
    pub(crate) packed: usize,
    pub(crate) error: Option<StreamError>,
    pub(crate) statistics: StreamStatistics,
}

impl Outcome {
    pub(crate) fn offsets(&self) -> Vec<i64> {
        self.records.iter().map(|record| record.offset).collect()
    }

    #[track_caller]
    pub(crate) fn complete(self) -> Self {
        assert!(self.error.is_none(), "{}", self.error.as_ref().unwrap());
        self
    }
}

pub(crate) async fn read_all(mut stream: PartitionStream) -> Outcome {
    let mut records: Vec<Record> = Vec::new();
    let (mut blocks, mut packed) = (0, 0);
    let error = loop {
        match stream.next().await {
            Ok(Some(block)) => {
                assert!(!block.is_empty());
                blocks += 1;
                let (length, payload_bytes, begins) = (block.len(), block.payload_bytes(), block.begins());
                if let Some(pack) = block.pack::<Boxed>() {
                    packed += pack.0.len();
                    assert!(
                        pack.0
                            .iter()
                            .zip(block.iter())
                            .all(|(one, other)| one.same_content(&other))
                    );
                }
                // What is told without a look at the records is true of them.
                let records_of: &RecordBlock = &block;
                assert_eq!(
                    (length, payload_bytes),
                    (records_of.len(), records_of.payload_bytes())
                );
                assert_eq!(
                    begins,
                    records_of.first().map(|first| (first.offset, first.timestamp))
                );
                for record in block.iter() {
                    assert!(records.last().is_none_or(|last| last.offset < record.offset));
                    records.push(Record {
                        offset: record.offset,
                        timestamp: record.timestamp,
                        value: record.value.unwrap_or_default().to_vec(),
                    });
                }
            }
            Ok(None) => break None,
            Err(error) => {
                assert!(stream.next().await.is_err(), "an error is the end");
                break Some(error);
            }
        }
    };
    let statistics = stream.statistics().clone();
    assert_eq!(statistics.records, records.len() as u64);
    Outcome {
        records,
        blocks,
        packed,
        error,
        statistics,
    }
}

/// A store whose bodies come in pieces of any size and break anywhere.
pub(crate) struct Choppy {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) random: Mutex<fastrand::Rng>,
    /// In how many of a hundred chunks a body breaks before the next.
    pub(crate) breaks: u32,
    pub(crate) longest_chunk: usize,
}

impl fmt::Debug for Choppy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choppy")
    }
}

#[async_trait]
impl Store for Choppy {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        self.inner.list(prefix)
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let body = self.inner.get(key, range, version).await?;
        let mut bytes = Vec::new();
        let mut chunks = body.chunks;
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let mut bytes = Bytes::from(bytes);
        let mut pieces = Vec::new();
        let mut random = self.random.lock().unwrap();
        while !bytes.is_empty() {
            let length = random.usize(1..=self.longest_chunk.min(bytes.len()));
            pieces.push(Ok(bytes.split_to(length)));
            // The first chunk always comes through, so that there is progress.
            if random.u32(0..100) < self.breaks {
                let kind = StorageErrorKind::Unreachable;
                pieces.push(Err(StorageError::new(
                    "read",
                    self.location(),
                    Some(key),
                    kind,
                    "broken by the test",
                )
                .retryable()));
                break;
            }
        }
        Ok(ObjectBody {
            chunks: stream::iter(pieces).boxed(),
            ..body
        })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.inner.put(key, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }
}
