//! Objects in memory, for tests: any key, any contents, a new version with every write.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, StorageErrorKind, Store, cut_range};

/// Bytes that a body gives at once.
const CHUNK: usize = 64 << 10;

/// A bucket in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, (ObjectMeta, Bytes)>,
    writes: u64,
}

impl MemoryStore {
    /// An empty bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object as if at `last_modified` (milliseconds since 1970).
    pub fn insert(&self, key: &str, bytes: impl Into<Bytes>, last_modified: i64) {
        let bytes = bytes.into();
        let mut objects = self.lock();
        objects.writes += 1;
        let version = Some(ObjectVersion(objects.writes.to_string()));
        let meta = ObjectMeta {
            key: key.to_owned(),
            size: bytes.len() as u64,
            last_modified,
            version,
        };
        objects.by_key.insert(key.to_owned(), (meta, bytes));
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to 1 000 objects after `last`, so that a long listing does not hold the lock.
    fn page(&self, prefix: &str, last: Option<&str>) -> Vec<ObjectMeta> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = last.map_or(Included(prefix), Excluded);
        self.lock()
            .by_key
            .range::<str, _>((from, Unbounded))
            .map(|(_, (meta, _))| meta)
            .take_while(|meta| meta.key.starts_with(prefix))
            .take(1_000)
            .cloned()
            .collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> &str {
        "memory://"
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        stream::unfold(None::<String>, move |last| async move {
            let page = self.page(prefix, last.as_deref());
            let last = page.last()?.key.clone();
            Some((stream::iter(page.into_iter().map(Ok)), Some(last)))
        })
        .flatten()
        .boxed()
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let error =
            |kind, message: &str| StorageError::new("read", self.location(), Some(key), kind, message);
        let (meta, bytes) = self
            .lock()
            .by_key
            .get(key)
            .cloned()
            .ok_or_else(|| error(StorageErrorKind::NotFound, "there is no such object"))?;
        if version.is_some_and(|version| Some(version) != meta.version.as_ref()) {
            return Err(error(StorageErrorKind::Changed, super::http::CHANGED));
        }
        let range = cut_range(range, meta.size);
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        let chunks = stream::unfold(bytes, |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            let chunk = rest.split_to(rest.len().min(CHUNK));
            Some((Ok(chunk), rest))
        });
        Ok(ObjectBody {
            meta,
            range,
            chunks: chunks.boxed(),
        })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.insert(key, bytes, jiff::Timestamp::now().as_millisecond());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.lock().by_key.remove(key);
        Ok(())
    }
}
