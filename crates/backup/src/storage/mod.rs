//! The raw-key object store: one small trait over GCS, S3, Azure Blob, a local folder and memory.
//!
//! Keys are strings exactly as the provider has them: nothing is trimmed, decoded or normalised, and `a//b`,
//! `/a`, `a%2Fb` and `a b` are five different keys from `a/b`.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

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
    /// The bytes, in order. An error ends the stream; [`reader::ObjectReader`] goes on from there.
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
}

/// A request to the store that failed for good, or whose retries are used up.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} {location}{}: {message}", key.as_deref().map(|key| format!("/{key}")).unwrap_or_default())]
pub struct StorageError {
    /// What was tried: `list`, `read`, `write`, `delete`.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Any other answer.
    Other,
}
