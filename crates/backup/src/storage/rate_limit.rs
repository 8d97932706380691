//! Limits the bytes per second of everything that goes through a store: a decorator.
//!
//! All bodies of all tasks share one schedule. A chunk is handed on when the bytes before it are paid for; long
//! chunks are cut, so that the flow is smooth at low rates too.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::Instant;

use super::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, Store};

/// How much of an unused rate may be made up for at once.
const BURST: Duration = Duration::from_millis(100);
/// Longest time that one piece may take at the given rate.
const PIECE: Duration = Duration::from_millis(100);

/// A rate that any number of stores and tasks share.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    bytes_per_second: u64,
    /// When everything admitted so far is paid for.
    paid_until: Arc<Mutex<Option<Instant>>>,
}

impl RateLimiter {
    /// A limiter of at least one byte per second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Arc::default(),
        }
    }

    /// Waits until `bytes` more may pass.
    pub async fn admit(&self, bytes: u64) {
        let deadline = self.book(Instant::now(), bytes);
        tokio::time::sleep_until(deadline).await;
    }

    /// Books `bytes` and gives the time at which they are paid for.
    fn book(&self, now: Instant, bytes: u64) -> Instant {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = paid_until.map_or(earliest, |until| until.max(earliest));
        let until = start + cost;
        *paid_until = Some(until);
        until
    }

    /// Longest piece that is handed on at once.
    fn piece(&self) -> usize {
        let bytes = (self.bytes_per_second as f64 * PIECE.as_secs_f64()) as usize;
        bytes.clamp(1, 256 << 10)
    }
}

/// A store whose bytes pass through a [`RateLimiter`].
#[derive(Debug)]
pub struct RateLimited {
    inner: Arc<dyn Store>,
    limiter: RateLimiter,
}

impl RateLimited {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Store>, limiter: RateLimiter) -> Self {
        Self { inner, limiter }
    }
}

#[async_trait]
impl Store for RateLimited {
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
        let state = (body.chunks, Bytes::new(), self.limiter.clone());
        let chunks = stream::unfold(state, |(mut chunks, mut rest, limiter)| async move {
            while rest.is_empty() {
                match chunks.next().await? {
                    Ok(chunk) => rest = chunk,
                    Err(error) => return Some((Err(error), (chunks, rest, limiter))),
                }
            }
            let piece = rest.split_to(rest.len().min(limiter.piece()));
            limiter.admit(piece.len() as u64).await;
            Some((Ok(piece), (chunks, rest, limiter)))
        });
        Ok(ObjectBody {
            chunks: chunks.boxed(),
            ..body
        })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.limiter.admit(bytes.len() as u64).await;
        self.inner.put(key, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
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

    #[test]
    fn bookings_follow_each_other_at_the_rate() {
        let limiter = RateLimiter::new(1_000);
        let now = Instant::now() + Duration::from_secs(10);
        let first = limiter.book(now, 100);
        assert_eq!(first, now, "a tenth of a second may be made up for");
        assert_eq!(limiter.book(now, 500), now + Duration::from_millis(500));
        assert_eq!(limiter.book(now, 500), now + Duration::from_secs(1));
        let later = now + Duration::from_secs(60);
        assert_eq!(
            limiter.book(later, 1_100),
            later + Duration::from_secs(1),
            "an hour of silence saves nothing up"
        );
    }

    #[tokio::test]
    async fn two_readers_share_the_rate() {
        tokio::time::pause();
        let memory = MemoryStore::new();
        memory.insert("k", vec![1; 1_000_000], 0);
        let store = RateLimited::new(Arc::new(memory), RateLimiter::new(100_000));
        let start = Instant::now();
        let read = async || {
            let body = store.get("k", None, None).await.unwrap();
            let pieces: Vec<Bytes> = body.chunks.try_collect().await.unwrap();
            assert!(pieces.iter().all(|piece| piece.len() <= 10_000));
            pieces.iter().map(Bytes::len).sum::<usize>()
        };
        let (first, second) = tokio::join!(read(), read());
        assert_eq!((first, second), (1_000_000, 1_000_000));
        // Virtual time: 2 MB at 100 kB/s, less the burst.
        let seconds = start.elapsed().as_secs_f64();
        assert!((19.8..20.1).contains(&seconds), "{seconds}");
    }
}
