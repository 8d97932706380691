//! Reads objects to their end, whatever breaks: chunks of bounded size, in order, all of one version.
//!
//! A body that breaks is resumed by a range request that names the version of the first answer. Where the object
//! was replaced meanwhile, the error's kind is [`StorageErrorKind::Changed`]: bytes of two versions are never mixed,
//! and [`ObjectReader::restart`] reads the new one from its start.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use super::http::CHANGED;
use super::{ObjectBody, ObjectMeta, RetryPolicy, StorageError, StorageErrorKind, Store};

/// Longest chunk that [`ObjectReader::next_chunk`] gives.
pub const CHUNK_BYTES: usize = 256 << 10;

/// A broken body is resumed without end as long as each answer brings so much; what brings less counts as a failure.
const PROGRESS: u64 = 1 << 20;

/// One object, being read.
#[derive(Debug)]
pub struct ObjectReader {
    store: Arc<dyn Store>,
    key: String,
    listed: Option<(u64, i64)>,
    policy: RetryPolicy,
    /// The first answer's, which all later ones must equal.
    meta: Option<ObjectMeta>,
    position: u64,
    body: Option<Body>,
    resumptions: u64,
    /// Failures in a row without enough bytes between them.
    failures: u32,
    /// Where the reading stood when `failures` last was zero.
    progress_from: u64,
}

struct Body {
    chunks: BoxStream<'static, Result<Bytes, StorageError>>,
    /// The rest of a chunk that was too long.
    rest: Bytes,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Body")
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

impl ObjectReader {
    /// A reader at the start of an object. Nothing is asked for yet.
    pub fn new(store: Arc<dyn Store>, key: impl Into<String>) -> Self {
        Self {
            store,
            key: key.into(),
            listed: None,
            policy: RetryPolicy::default(),
            meta: None,
            position: 0,
            body: None,
            resumptions: 0,
            failures: 0,
            progress_from: 0,
        }
    }

    /// Says what the listing gave, for [`replaced_since_listing`](Self::replaced_since_listing): bytes and
    /// milliseconds since 1970.
    pub fn listed(mut self, size: u64, last_modified: i64) -> Self {
        self.listed = Some((size, last_modified));
        self
    }

    /// Sets how often, and after what waits, a broken body is resumed without getting on.
    pub fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The object's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the first answer said of the object; none before it.
    pub fn meta(&self) -> Option<&ObjectMeta> {
        self.meta.as_ref()
    }

    /// The stored bytes that were given in order so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How often a broken body was resumed.
    pub fn resumptions(&self) -> u64 {
        self.resumptions
    }

    /// True where the first answer tells of another object than the listing did. Times are compared to the second:
    /// HTTP knows no more.
    pub fn replaced_since_listing(&self) -> bool {
        match (self.listed, &self.meta) {
            (Some((size, modified)), Some(meta)) => {
                meta.size != size || meta.last_modified.div_euclid(1_000) != modified.div_euclid(1_000)
            }
            _ => false,
        }
    }

    /// Goes back to the start and forgets the version: what is read next is the object as it then is.
    pub fn restart(&mut self) {
        self.meta = None;
        self.position = 0;
        self.body = None;
        self.failures = 0;
        self.progress_from = 0;
    }

    /// Asks for the object where nothing was asked for yet, and gives what the answer says of it.
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub async fn open(&mut self) -> Result<&ObjectMeta, StorageError> {
        if self.meta.is_none() {
            self.connect().await?;
        }
        match &self.meta {
            Some(meta) => Ok(meta),
            None => Err(self.error(StorageErrorKind::Other, "the store told nothing of the object")),
        }
    }

    /// The next bytes in order, at most [`CHUNK_BYTES`] and never none; None at the object's end.
    ///
    /// # Errors
    ///
    /// [`StorageErrorKind::Changed`] where the object was replaced since the first answer; else what broke the body
    /// when resuming it no longer helped. After an error another call tries to go on from the same place.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            if self.body.is_none() {
                if self.at_end() {
                    return Ok(None);
                }
                self.connect().await?;
            }
            let Some(body) = &mut self.body else { continue };
            if body.rest.is_empty() {
                match body.chunks.next().await {
                    Some(Ok(chunk)) => body.rest = chunk,
                    Some(Err(error)) => {
                        self.body = None;
                        if !error.retryable || !self.at_end() {
                            self.pause(error).await?;
                        }
                        continue;
                    }
                    None => {
                        self.body = None;
                        if !self.at_end() {
                            let error =
                                self.error(StorageErrorKind::Unreachable, "the object's bytes end early");
                            self.pause(error.retryable()).await?;
                        }
                        continue;
                    }
                }
            }
            if !body.rest.is_empty() {
                let chunk = body.rest.split_to(body.rest.len().min(CHUNK_BYTES));
                self.position += chunk.len() as u64;
                return Ok(Some(chunk));
            }
        }
    }

    /// The stored bytes `range` (end exclusive, cut at the object's end), of the same version as all else that this
    /// reader gives. The order of [`next_chunk`](Self::next_chunk) is not touched. The caller bounds the range.
    ///
    /// # Errors
    ///
    /// As [`next_chunk`](Self::next_chunk).
    pub async fn read_range(&mut self, range: Range<u64>) -> Result<Bytes, StorageError> {
        let mut part = Self {
            store: Arc::clone(&self.store),
            key: self.key.clone(),
            listed: None,
            policy: self.policy.clone(),
            meta: self.meta.clone(),
            position: range.start,
            body: None,
            resumptions: 0,
            failures: 0,
            progress_from: range.start,
        };
        let result = part.collect(range).await;
        self.resumptions += part.resumptions;
        if self.meta.is_none() {
            self.meta = part.meta;
        }
        result
    }

    async fn collect(&mut self, range: Range<u64>) -> Result<Bytes, StorageError> {
        // Grows with what arrives, not with what was asked for.
        let mut collected: Vec<u8> = Vec::new();
        loop {
            let end = self
                .meta
                .as_ref()
                .map_or(range.end, |meta| range.end.min(meta.size));
            if self.meta.is_some() && self.position >= end {
                return Ok(collected.into());
            }
            let body = self.ask(Some(self.position..range.end)).await?;
            let mut chunks = body.chunks;
            let broken = loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        collected.extend_from_slice(&chunk);
                        self.position += chunk.len() as u64;
                    }
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            let end = range.end.min(body.meta.size);
            if self.position >= end {
                return Ok(collected.into());
            }
            let early = || {
                self.error(StorageErrorKind::Unreachable, "the range's bytes end early")
                    .retryable()
            };
            let error = broken.unwrap_or_else(early);
            self.pause(error).await?;
        }
    }

    fn at_end(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| self.position >= meta.size)
    }

    /// Asks for the object from the current position on.
    async fn connect(&mut self) -> Result<(), StorageError> {
        let size = self.meta.as_ref().map_or(u64::MAX, |meta| meta.size);
        let range = (self.position > 0).then_some(self.position..size);
        let body = self.ask(range).await?;
        self.body = Some(Body {
            chunks: body.chunks,
            rest: Bytes::new(),
        });
        Ok(())
    }

    async fn ask(&mut self, range: Option<Range<u64>>) -> Result<ObjectBody, StorageError> {
        let version = self.meta.as_ref().and_then(|meta| meta.version.clone());
        let body = self.store.get(&self.key, range, version.as_ref()).await?;
        match &self.meta {
            // Where the provider has no versions, size and time must do.
            Some(first) if first.size != body.meta.size || first.last_modified != body.meta.last_modified => {
                return Err(self.error(StorageErrorKind::Changed, CHANGED));
            }
            Some(_) => {}
            None => self.meta = Some(body.meta.clone()),
        }
        Ok(body)
    }

    /// After a body broke: waits, or gives the error back where that does not help or happened too often.
    async fn pause(&mut self, error: StorageError) -> Result<(), StorageError> {
        if self.position.saturating_sub(self.progress_from) >= PROGRESS {
            self.failures = 0;
            self.progress_from = self.position;
        }
        self.failures += 1;
        if !error.retryable || self.failures >= self.policy.attempts {
            self.failures = 0;
            return Err(error);
        }
        let delay = self.policy.delay(self.failures, None);
        tracing::warn!(key = %self.key, position = self.position, ?delay, "{error}; resuming");
        self.resumptions += 1;
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn error(&self, kind: StorageErrorKind, message: &str) -> StorageError {
        StorageError::new("read", self.store.location(), Some(&self.key), kind, message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::storage::faults::{Fault, Faulty, Occasion};
    use crate::storage::memory::MemoryStore;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn hasty() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            first_delay: Duration::ZERO,
            ..RetryPolicy::default()
        }
    }

    fn memory(length: usize) -> Arc<MemoryStore> {
        let memory = Arc::new(MemoryStore::new());
        memory.insert("k", bytes(length), 5_000);
        memory
    }

    async fn read_all(reader: &mut ObjectReader) -> Result<Vec<u8>, StorageError> {
        let mut all = Vec::new();
        while let Some(chunk) = reader.next_chunk().await? {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES);
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_broken_body_is_resumed_where_it_broke() {
        let starts: Arc<std::sync::Mutex<Vec<u64>>> = Arc::default();
        let seen = Arc::clone(&starts);
        let store = Faulty::new(memory(3_000_000), move |occasion| {
            let Occasion::Get { range, .. } = occasion else {
                return None;
            };
            let mut seen = seen.lock().unwrap();
            seen.push(range.as_ref().map_or(0, |range| range.start));
            match seen.len() {
                1 => Some(Fault::BreakAfter(0)),
                2 => Some(Fault::BreakAfter(1_234_567)),
                3 => Some(Fault::EndAfter(7)),
                _ => None,
            }
        });
        let mut reader = ObjectReader::new(Arc::new(store), "k")
            .listed(3_000_000, 5_000)
            .policy(hasty());
        assert_eq!(read_all(&mut reader).await.unwrap(), bytes(3_000_000));
        assert_eq!(reader.resumptions(), 3);
        assert_eq!(*starts.lock().unwrap(), [0, 0, 1_234_567, 1_234_574]);
        assert!(!reader.replaced_since_listing());
        assert_eq!(reader.next_chunk().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_replaced_object_is_an_error_and_can_be_read_anew() {
        let memory = memory(1_000_000);
        let beneath = Arc::clone(&memory);
        let calls = AtomicU64::new(0);
        let store = Faulty::new(memory, move |_| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Fault::BreakAfter(500_000)),
            1 => {
                beneath.insert("k", bytes(1_000_001), 9_000);
                None
            }
            _ => None,
        });
        let mut reader = ObjectReader::new(Arc::new(store), "k")
            .listed(1_000_000, 5_000)
            .policy(hasty());
        let error = read_all(&mut reader).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (StorageErrorKind::Changed, false));
        assert_eq!(reader.position(), 500_000);
        assert!(
            reader
                .read_range(0..10)
                .await
                .is_err_and(|error| error.kind == StorageErrorKind::Changed)
        );
        reader.restart();
        assert_eq!(read_all(&mut reader).await.unwrap(), bytes(1_000_001));
        assert!(reader.replaced_since_listing());
    }

    #[tokio::test]
    async fn a_body_that_never_gets_on_is_given_up_and_one_that_does_is_not() {
        let store = Faulty::new(memory(10_000_000), |_| Some(Fault::BreakAfter(10)));
        let mut reader = ObjectReader::new(Arc::new(store), "k").policy(hasty());
        let error = read_all(&mut reader).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retryable),
            (StorageErrorKind::Unreachable, true)
        );
        assert_eq!((reader.resumptions(), reader.position()), (2, 30));
        let store = Faulty::new(memory(10_000_000), |_| Some(Fault::BreakAfter(1 << 20)));
        let mut reader = ObjectReader::new(Arc::new(store), "k").policy(hasty());
        assert_eq!(read_all(&mut reader).await.unwrap(), bytes(10_000_000));
        assert_eq!(reader.resumptions(), 9);
    }

    #[tokio::test]
    async fn what_cannot_be_helped_is_told_at_once() {
        for (kind, fault) in [
            (
                StorageErrorKind::PermissionDenied,
                Some(StorageErrorKind::PermissionDenied),
            ),
            (StorageErrorKind::NotFound, None),
        ] {
            let store = Faulty::new(Arc::new(MemoryStore::new()), move |_| {
                fault.map(|kind| Fault::Refuse {
                    kind,
                    retryable: false,
                })
            });
            let mut reader = ObjectReader::new(Arc::new(store), "k").policy(hasty());
            assert_eq!(reader.next_chunk().await.unwrap_err().kind, kind);
            assert_eq!(reader.resumptions(), 0);
        }
    }

    #[tokio::test]
    async fn empty_objects_and_edges_of_ranges() {
        let memory = memory(100);
        memory.insert("empty", Bytes::new(), 0);
        let mut reader = ObjectReader::new(memory.clone(), "empty");
        assert_eq!(reader.open().await.unwrap().size, 0);
        assert_eq!(reader.next_chunk().await.unwrap(), None);
        assert_eq!(reader.read_range(0..10).await.unwrap(), Bytes::new());
        let mut reader = ObjectReader::new(memory, "k");
        for (range, length) in [
            (0..0, 0),
            (0..100, 100),
            (90..200, 10),
            (100..101, 0),
            (7_000..8_000, 0),
        ] {
            let part = reader.read_range(range.clone()).await.unwrap();
            assert_eq!(part.len(), length, "{range:?}");
            let from = (range.start as usize).min(100);
            assert_eq!(part, bytes(100)[from..from + length]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_breaks_give_the_same_bytes(
            length in 0usize..300_000,
            breaks in proptest::collection::vec(0u64..100_000, 0..6),
            range in (0u64..300_000, 0u64..300_000),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let make = || {
                    let (calls, breaks) = (AtomicU64::new(0), breaks.clone());
                    let store = Faulty::new(memory(length), move |_| {
                        let call = calls.fetch_add(1, Ordering::Relaxed) as usize;
                        breaks.get(call).map(|&at| Fault::BreakAfter(at))
                    });
                    ObjectReader::new(Arc::new(store), "k").policy(RetryPolicy { attempts: 10, ..hasty() })
                };
                assert_eq!(read_all(&mut make()).await.unwrap(), bytes(length));
                let range = range.0.min(range.1)..range.0.max(range.1);
                let wanted = crate::storage::cut_range(Some(range.clone()), length as u64);
                let expected = &bytes(length)[wanted.start as usize..wanted.end as usize];
                assert_eq!(make().read_range(range).await.unwrap(), expected);
            });
        }
    }
}
