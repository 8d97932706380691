//! The raw-key object store: one small trait over GCS, S3, Azure Blob, a local folder and memory.
//!
//! Keys are strings exactly as the provider has them: nothing is trimmed, decoded or normalised, and `a//b`,
//! `/a`, `a%2Fb` and `a b` are five different keys from `a/b`. One conformance suite holds all stores to that
//! (`tests/storage`).
//!
//! [`url`] says where a store is, [`open()`] opens it, [`reader`] reads objects to their end whatever breaks, and
//! [`faults`] wraps a store for tests. The providers share `http`: credentials and
//! signatures come from `object_store`, requests and listings are our own, since its paths cannot hold every key.

#[cfg(feature = "aws-config")]
mod aws_sdk;
pub mod azure;
pub mod faults;
pub mod gcs;
#[cfg(feature = "google-cloud-auth")]
mod google_auth;
mod http;
mod listing;
pub mod local;
pub mod memory;
mod open;
mod ranges;
pub mod reader;
mod refusal;
mod retry;
pub mod s3;
pub mod url;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use open::open;
pub use retry::RetryPolicy;

/// What a listing or a read says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The whole key, prefix included, exactly as the provider has it.
    pub key: String,
    /// Stored bytes (before any decompression by the provider).
    pub size: u64,
    /// Milliseconds since 1970.
    pub last_modified: i64,
    /// Identifies this content among all contents the key has had, where the provider has such a thing.
    pub version: Option<ObjectVersion>,
}

/// An opaque token that changes when an object is replaced: an ETag or a generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectVersion(pub String);

/// The answer to [`Store::get`].
pub struct ObjectBody {
    /// What the provider said of the object with this very answer.
    pub meta: ObjectMeta,
    /// The range of stored bytes that `chunks` gives, end exclusive.
    pub range: Range<u64>,
    /// The bytes, in order. An error ends the stream; [`reader::ObjectReader`] goes on from there. A store that
    /// speaks over a network ends it with a retryable error where no bytes come for a while.
    pub chunks: BoxStream<'static, Result<Bytes, StorageError>>,
}

/// A bucket, a container or a folder.
///
/// Implementations retry what the provider calls retryable before they answer, with bounded attempts; a body
/// that breaks half-way is not resumed here but by [`reader::ObjectReader`]. They are safe to call from many
/// tasks at once and do not limit concurrency; the caller does.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// How the store is named in messages, as a URL without secrets: `gs://bucket`, `file:///dir`.
    fn location(&self) -> &str;

    /// All objects whose key starts with `prefix` (a plain string prefix: `ab` finds `abc`), in the
    /// provider's order, page by page as they arrive. May miss objects written after the call.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>>;

    /// The same objects in any order, each once: several pages at a time where the store can begin behind a key, else as
    /// [`list`](Self::list) does. Up to four pages cost as many requests as there are pages; more cost some more, rarely
    /// twice as many, and at most 16 of them at the same time.
    ///
    /// An error of the kind [`StorageErrorKind::Unordered`] says that the store does not keep its keys in order after
    /// all: what has come is void, and `list` has to be asked.
    fn list_in_any_order<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        self.list(prefix)
    }

    /// The stored bytes `range` of the object (end exclusive, cut at the object's end), or all of them.
    ///
    /// Where `version` is given and the object is now another, the error's kind is
    /// [`StorageErrorKind::Changed`]. Never transparently decompressed.
    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError>;

    /// Writes a small object, whole or not at all, replacing one of the same key.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// Deletes an object; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// The folder itself, where the store is one: its files are best read by the thread that decodes them, which
    /// then finds the bytes in its cache.
    fn folder(&self) -> Option<&local::LocalStore> {
        None
    }

    /// How many requests had to be tried anew so far.
    fn retries(&self) -> u64 {
        0
    }
}

/// A request to the store that failed for good, or whose retries are used up.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {location}{}: {message}", key.as_deref().map(|key| format!("/{key}")).unwrap_or_default())]
pub struct StorageError {
    /// What was tried: `open`, `list`, `read`, `write`, `delete`.
    pub operation: &'static str,
    /// The store's [`location`](Store::location).
    pub location: String,
    /// The key, or the prefix of a listing.
    pub key: Option<String>,
    /// What went wrong, for programs.
    pub kind: StorageErrorKind,
    /// What went wrong, for people: the provider's own words.
    pub message: String,
    /// True where the same call may succeed later without anybody changing anything.
    pub retryable: bool,
}

/// Kinds of [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageErrorKind {
    /// No such object.
    NotFound,
    /// No such bucket, container or folder.
    NoSuchBucket,
    /// The credentials were understood and do not suffice.
    PermissionDenied,
    /// The credentials are missing, expired or wrong.
    Unauthenticated,
    /// The object was replaced since its version was read.
    Changed,
    /// The endpoint could not be reached.
    Unreachable,
    /// A listing [in any order](Store::list_in_any_order) went wrong, as the store does not list its keys in the order of
    /// their bytes, or not from any key on.
    Unordered,
    /// Any other answer.
    Other,
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ObjectBody")
            .field("meta", &self.meta)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl StorageError {
    /// An error that retrying does not help against.
    pub fn new(
        operation: &'static str,
        location: &str,
        key: Option<&str>,
        kind: StorageErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            location: location.to_owned(),
            key: key.map(str::to_owned),
            kind,
            message: message.into(),
            retryable: false,
        }
    }

    /// The same error, with [`retryable`](Self::retryable) set.
    pub fn retryable(self) -> Self {
        Self {
            retryable: true,
            ..self
        }
    }
}

/// `wanted` (end exclusive) cut to an object of `size` bytes; never inverted.
pub(crate) fn cut_range(wanted: Option<Range<u64>>, size: u64) -> Range<u64> {
    match wanted {
        None => 0..size,
        Some(range) => {
            let start = range.start.min(size);
            start..range.end.clamp(start, size)
        }
    }
}
