//! Faults on demand, for tests of what is built on a store: a decorator.
//!
//! A rule is asked at every call and answers with a [`Fault`] or none. It may count, look at the key, or change the
//! store beneath (replace an object, say) before it answers.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, StorageErrorKind, Store};

/// What is about to be asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion<'a> {
    /// A listing begins.
    List {
        /// The prefix.
        prefix: &'a str,
    },
    /// A read begins.
    Get {
        /// The key.
        key: &'a str,
        /// The range, where one is asked for.
        range: Option<Range<u64>>,
    },
    /// A write begins.
    Put {
        /// The key.
        key: &'a str,
    },
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails.
    Refuse {
        /// With this kind,
        kind: StorageErrorKind,
        /// and this hope.
        retryable: bool,
    },
    /// The body breaks, retryably, after so many bytes; a listing after so many objects.
    BreakAfter(u64),
    /// The body ends after so many bytes without a word; a listing after so many objects.
    EndAfter(u64),
    /// From so many bytes on, the bits of the body's bytes are flipped.
    GarbleAfter(u64),
}

type Rule = dyn Fn(&Occasion<'_>) -> Option<Fault> + Send + Sync;

/// A store on which things go wrong.
pub struct Faulty {
    inner: Arc<dyn Store>,
    rule: Box<Rule>,
}

impl Faulty {
    /// Wraps `inner`; `rule` says what goes wrong.
    pub fn new(
        inner: Arc<dyn Store>,
        rule: impl Fn(&Occasion<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            rule: Box::new(rule),
        }
    }

    fn error(
        &self,
        operation: &'static str,
        key: &str,
        kind: StorageErrorKind,
        retryable: bool,
    ) -> StorageError {
        let error = StorageError::new(operation, self.location(), Some(key), kind, "a fault of the test");
        if retryable { error.retryable() } else { error }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faulty")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Faulty {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        let objects = self.inner.list(prefix);
        let few = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        match (self.rule)(&Occasion::List { prefix }) {
            Some(Fault::Refuse { kind, retryable }) => {
                stream::iter([Err(self.error("list", prefix, kind, retryable))]).boxed()
            }
            Some(Fault::BreakAfter(count)) => {
                let error = self.error("list", prefix, StorageErrorKind::Unreachable, true);
                objects.take(few(count)).chain(stream::iter([Err(error)])).boxed()
            }
            Some(Fault::EndAfter(count)) => objects.take(few(count)).boxed(),
            Some(Fault::GarbleAfter(_)) | None => objects,
        }
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let fault = (self.rule)(&Occasion::Get {
            key,
            range: range.clone(),
        });
        if let Some(Fault::Refuse { kind, retryable }) = fault {
            return Err(self.error("read", key, kind, retryable));
        }
        let body = self.inner.get(key, range, version).await?;
        let chunks = match fault {
            Some(Fault::BreakAfter(limit)) => {
                let error = self.error("read", key, StorageErrorKind::Unreachable, true);
                cut(body.chunks, limit).chain(stream::iter([Err(error)])).boxed()
            }
            Some(Fault::EndAfter(limit)) => cut(body.chunks, limit),
            Some(Fault::GarbleAfter(limit)) => garble(body.chunks, limit),
            Some(Fault::Refuse { .. }) | None => body.chunks,
        };
        Ok(ObjectBody { chunks, ..body })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        if let Some(Fault::Refuse { kind, retryable }) = (self.rule)(&Occasion::Put { key }) {
            return Err(self.error("write", key, kind, retryable));
        }
        self.inner.put(key, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }

    fn retries(&self) -> u64 {
        self.inner.retries()
    }
}

type Chunks = BoxStream<'static, Result<Bytes, StorageError>>;

fn cut(chunks: Chunks, limit: u64) -> Chunks {
    stream::unfold((chunks, limit), |(mut chunks, left)| async move {
        if left == 0 {
            return None;
        }
        let item = chunks.next().await?;
        let item = item.map(|mut chunk| {
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            chunk
        });
        let left = left - item.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Some((item, (chunks, left)))
    })
    .boxed()
}

fn garble(chunks: Chunks, limit: u64) -> Chunks {
    let mut position = 0;
    chunks
        .map(move |item| {
            item.map(|chunk| {
                let clean = usize::try_from(limit.saturating_sub(position))
                    .unwrap_or(usize::MAX)
                    .min(chunk.len());
                position += chunk.len() as u64;
                let mut bytes = chunk.to_vec();
                bytes[clean..].iter_mut().for_each(|byte| *byte = !*byte);
                Bytes::from(bytes)
            })
        })
        .boxed()
}
