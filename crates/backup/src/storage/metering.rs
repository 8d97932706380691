//! Counts what goes through a store: a decorator. The numbers are for the report and the progress line.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use super::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, Store};

/// Numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Listings begun.
    pub lists: u64,
    /// Objects that listings gave.
    pub objects_listed: u64,
    /// Reads begun, ranges included.
    pub reads: u64,
    /// Stored bytes that reads gave.
    pub bytes_read: u64,
    /// Writes begun.
    pub writes: u64,
    /// Bytes of writes that succeeded.
    pub bytes_written: u64,
    /// Deletions begun.
    pub deletes: u64,
    /// Calls, pages and bodies that ended in an error.
    pub errors: u64,
    /// Requests that the store tried anew.
    pub retries: u64,
    /// Time spent waiting for the store, summed over all tasks.
    pub waited: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    lists: AtomicU64,
    objects_listed: AtomicU64,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    deletes: AtomicU64,
    errors: AtomicU64,
    nanoseconds_waited: AtomicU64,
}

impl Counters {
    fn waited(&self, since: Instant) {
        let nanoseconds = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds_waited.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn finish<T>(&self, since: Instant, result: Result<T, StorageError>) -> Result<T, StorageError> {
        self.waited(since);
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// A store that counts.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Metered {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            counters: Arc::default(),
        }
    }

    /// The numbers so far.
    pub fn reading(&self) -> Reading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Reading {
            lists: get(&counters.lists),
            objects_listed: get(&counters.objects_listed),
            reads: get(&counters.reads),
            bytes_read: get(&counters.bytes_read),
            writes: get(&counters.writes),
            bytes_written: get(&counters.bytes_written),
            deletes: get(&counters.deletes),
            errors: get(&counters.errors),
            retries: self.inner.retries(),
            waited: Duration::from_nanos(get(&counters.nanoseconds_waited)),
        }
    }
}

/// Counts the items of a stream, and the time that each was waited for.
fn counted<'a, T: Send + 'a>(
    items: BoxStream<'a, Result<T, StorageError>>,
    counters: Arc<Counters>,
    count: impl Fn(&Counters, &T) + Copy + Send + 'a,
) -> BoxStream<'a, Result<T, StorageError>> {
    futures::stream::unfold((items, counters), move |(mut items, counters)| async move {
        let since = Instant::now();
        let item = items.next().await;
        counters.waited(since);
        let item = item?;
        match &item {
            Ok(item) => count(&counters, item),
            Err(_) => {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        Some((item, (items, counters)))
    })
    .boxed()
}

#[async_trait]
impl Store for Metered {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        self.counters.lists.fetch_add(1, Ordering::Relaxed);
        counted(
            self.inner.list(prefix),
            Arc::clone(&self.counters),
            |counters, _| {
                counters.objects_listed.fetch_add(1, Ordering::Relaxed);
            },
        )
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        let body = self
            .counters
            .finish(since, self.inner.get(key, range, version).await)?;
        let chunks = counted(
            body.chunks,
            Arc::clone(&self.counters),
            |counters, chunk: &Bytes| {
                counters
                    .bytes_read
                    .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            },
        );
        Ok(ObjectBody { chunks, ..body })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        let (since, length) = (Instant::now(), bytes.len() as u64);
        self.counters.finish(since, self.inner.put(key, bytes).await)?;
        self.counters.bytes_written.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.counters.deletes.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        self.counters.finish(since, self.inner.delete(key).await)
    }

    fn retries(&self) -> u64 {
        self.inner.retries()
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::storage::memory::MemoryStore;

    #[tokio::test]
    async fn everything_is_counted() {
        let store = Metered::new(Arc::new(MemoryStore::new()));
        store.put("a", Bytes::from(vec![1; 100_000])).await.unwrap();
        store.put("b", Bytes::new()).await.unwrap();
        assert_eq!(store.list("").try_collect::<Vec<_>>().await.unwrap().len(), 2);
        store
            .get("a", None, None)
            .await
            .unwrap()
            .chunks
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        store
            .get("a", Some(10..20), None)
            .await
            .unwrap()
            .chunks
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        store.get("missing", None, None).await.unwrap_err();
        store.delete("a").await.unwrap();
        let reading = Reading {
            waited: Duration::ZERO,
            ..store.reading()
        };
        let expected = Reading {
            lists: 1,
            objects_listed: 2,
            reads: 3,
            bytes_read: 100_010,
            writes: 2,
            bytes_written: 100_000,
            deletes: 1,
            errors: 1,
            retries: 0,
            waited: Duration::ZERO,
        };
        assert_eq!(reading, expected);
    }
}
