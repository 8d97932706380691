//! One range of one object, into memory, whatever breaks on the way.
//!
//! Objects are read by ranges that are paid for in the budget before they are asked for, and each range is read
//! at the speed of the network: no open body ever waits for a decoder, so none is cut by a server for being
//! slow, none fills a connection's window, and large objects are read by several ranges at once.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use crate::storage::{ObjectMeta, RetryPolicy, StorageError, StorageErrorKind, Store};

/// What a range gave.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) chunks: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) meta: ObjectMeta,
    /// How many requests it took.
    pub(super) requests: u64,
}

/// Reads `range` (end exclusive, cut at the object's end) of the object, of the version `first` where given.
///
/// # Errors
///
/// [`StorageErrorKind::Changed`] where the object is another than `first`; else what the store says.
pub(super) async fn fetch(
    store: &Arc<dyn Store>,
    key: &str,
    range: Range<u64>,
    first: Option<ObjectMeta>,
    policy: &RetryPolicy,
) -> Result<Piece, StorageError> {
    let mut seen = first;
    let mut chunks = Vec::new();
    let mut bytes = 0;
    let mut requests = 0;
    let mut failures = 0;
    loop {
        let start = range.start + bytes as u64;
        requests += 1;
        let version = seen.as_ref().and_then(|meta| meta.version.as_ref());
        let mut body = store.get(key, Some(start..range.end), version).await?;
        let meta = body.meta;
        // Where the provider has no versions, size and time must do.
        if let Some(seen) = &seen
            && (seen.size != meta.size || seen.last_modified != meta.last_modified)
        {
            return Err(StorageError::new(
                "read",
                store.location(),
                Some(key),
                StorageErrorKind::Changed,
                "the object was replaced while it was being read",
            ));
        }
        let end = range.end.min(meta.size);
        let before = bytes;
        let mut broken = None;
        while range.start + (bytes as u64) < end {
            match body.chunks.next().await {
                Some(Ok(mut chunk)) => {
                    // Never more than was asked and paid for.
                    chunk.truncate((end - range.start) as usize - bytes);
                    bytes += chunk.len();
                    chunks.push(chunk);
                }
                Some(Err(error)) => {
                    broken = Some(error);
                    break;
                }
                None => break,
            }
        }
        if range.start + bytes as u64 >= end {
            return Ok(Piece {
                chunks,
                bytes,
                meta,
                requests,
            });
        }
        let error = broken.unwrap_or_else(|| {
            let message = "the object's bytes end early";
            StorageError::new(
                "read",
                store.location(),
                Some(key),
                StorageErrorKind::Unreachable,
                message,
            )
            .retryable()
        });
        // An answer that brought something counts as progress: ranges are short.
        failures = if bytes > before { 1 } else { failures + 1 };
        if !error.retryable || failures >= policy.attempts {
            return Err(error);
        }
        let delay = policy.delay(failures, None);
        tracing::warn!(
            key,
            position = range.start + bytes as u64,
            ?delay,
            "{error}; resuming"
        );
        seen = Some(meta);
        tokio::time::sleep(delay).await;
    }
}
