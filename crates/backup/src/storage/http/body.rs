//! The body of an answer as a stream: the wanted part of it, with a time limit on every wait.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::client::HttpResponseBody;
use reqwest::header::{CONTENT_RANGE, HeaderMap};

use super::super::refusal::shorten;
use super::super::{StorageError, StorageErrorKind};

/// What a body needs to name itself in an error, long after the store's call has ended.
pub(super) struct BodyContext {
    pub(super) location: String,
    pub(super) key: String,
    pub(super) patience: Duration,
}

impl BodyContext {
    fn broken(&self, message: String) -> StorageError {
        StorageError::new(
            "read",
            &self.location,
            Some(&self.key),
            StorageErrorKind::Unreachable,
            message,
        )
        .retryable()
    }

    /// `length` bytes of the body after its first `skip`, with a time limit on every wait.
    pub(super) fn chunks(
        self,
        body: HttpResponseBody,
        skip: u64,
        length: u64,
    ) -> BoxStream<'static, Result<Bytes, StorageError>> {
        let state = (body.bytes_stream(), skip, length);
        let context = Arc::new(self);
        stream::try_unfold(state, move |(mut body, mut skip, mut left)| {
            let context = Arc::clone(&context);
            async move {
                while left > 0 {
                    let mut chunk = match tokio::time::timeout(context.patience, body.next()).await {
                        Ok(Some(Ok(chunk))) => chunk,
                        Ok(Some(Err(error))) => return Err(context.broken(chain(&error))),
                        Ok(None) => return Err(context.broken(format!("the answer ends {left} bytes early"))),
                        Err(_) => {
                            let seconds = context.patience.as_secs_f64();
                            return Err(
                                context.broken(format!("the server has sent nothing for {seconds} s"))
                            );
                        }
                    };
                    let skipped = skip.min(chunk.len() as u64);
                    skip -= skipped;
                    chunk = chunk.slice(skipped as usize..);
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    if !chunk.is_empty() {
                        left -= chunk.len() as u64;
                        return Ok(Some((chunk, (body, skip, left))));
                    }
                }
                Ok(None)
            }
        })
        .boxed()
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    shorten(&text)
}

/// `bytes 0-9/100` -> (0..10, 100).
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let text = headers
        .get(CONTENT_RANGE)?
        .to_str()
        .ok()?
        .trim()
        .strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?;
    // Equal where the range begins at the object's end: no bytes, though HTTP has no such range.
    (end >= first).then_some((first..end, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn content_ranges() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(text));
            content_range(&headers)
        };
        assert_eq!(read("bytes 0-9/100"), Some((0..10, 100)));
        assert_eq!(read("bytes 5-5/9"), Some((5..6, 9)));
        assert_eq!(read("bytes 10-9/10"), Some((10..10, 10)));
        for bad in [
            "bytes */100",
            "bytes 5-5/*",
            "bytes 9-0/100",
            "0-9/100",
            "bytes 0-18446744073709551615/1",
            "bytes a-b/c",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
