//! What GCS, S3 and Azure share: requests over HTTP with retries, listings by pages, and bodies with a time limit.
//!
//! A [`Provider`] says how URLs are built, requests signed and pages read; [`HttpStore`] makes a [`Store`] of it.
//! Keys go into URLs as they are, percent-encoded, so every key that the provider can hold can be read, but for one
//! limit: the URL library resolves `.` and `..` between slashes, whatever their encoding.

mod body;
mod exchange;
mod pages;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpResponseBody, ReqwestConnector,
};
use reqwest::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LAST_MODIFIED, RANGE,
};
use reqwest::{Method, StatusCode};

use body::{BodyContext, content_range};

use super::listing::{Page, milliseconds_http, version_of_tag};
use super::ranges::Place;
use super::refusal::{Failure, shorten};
use super::{
    ObjectBody, ObjectMeta, ObjectVersion, RetryPolicy, StorageError, StorageErrorKind, Store, cut_range,
};

/// How many objects one page of a listing holds; the least that all providers allow.
pub(super) const PAGE_OBJECTS: usize = 1_000;
/// Longest page of a listing: 1 000 keys of 1 024 bytes, each byte escaped, and their properties.
const LONGEST_PAGE: usize = 16 << 20;
/// Longest part of an error's body that is read.
const LONGEST_REFUSAL: usize = 64 << 10;
/// Tries before giving up on an endpoint that has never answered: most likely its name is wrong.
const FIRST_CONTACT_ATTEMPTS: u32 = 4;

/// What differs between the stores that speak HTTP.
#[async_trait]
pub(super) trait Provider: fmt::Debug + Send + Sync + 'static {
    /// The URL of an object, its key percent-encoded.
    fn object_url(&self, key: &str) -> String;

    /// The URL of a page of the listing.
    fn list_url(&self, prefix: &str, place: &Place) -> String;

    /// True where a listing can begin at [`Place::Behind`] a key, and keys are listed in the order of their bytes; else
    /// no such place is asked for. What the provider promises here is checked.
    fn lists_behind_keys(&self) -> bool {
        false
    }

    /// Reads a page of the listing.
    fn parse_page(&self, body: &[u8]) -> Result<Page, String>;

    /// Headers that every request for an object's bytes has.
    fn get_headers(&self) -> &[(&'static str, &'static str)] {
        &[]
    }

    /// Headers that every write has.
    fn put_headers(&self) -> &[(&'static str, &'static str)] {
        &[]
    }

    /// Signs the request.
    async fn authorise(&self, request: &mut HttpRequest) -> Result<(), String>;

    /// Learns from a refusal, such as the region of a bucket; true where the request should be sent again at once.
    fn learn(&self, _status: StatusCode, _headers: &HeaderMap) -> bool {
        false
    }
}

/// An HTTP client for object stores and for fetching credentials; answers are never decompressed.
pub(super) fn client_options() -> ClientOptions {
    // The providers of TLS are a matter of the whole process; where the program has chosen one, it stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_user_agent(HeaderValue::from_static(concat!(
            "kafka-restore/",
            env!("CARGO_PKG_VERSION")
        )))
}

/// How often fetching a credential is tried.
pub(super) fn credential_retries() -> object_store::RetryConfig {
    object_store::RetryConfig {
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
        ..object_store::RetryConfig::default()
    }
}

/// A provider's bucket.
#[derive(Debug)]
pub(super) struct HttpStore<P> {
    provider: P,
    location: String,
    client: HttpClient,
    policy: RetryPolicy,
    retries: AtomicU64,
    /// True once the endpoint has given any answer.
    answered: AtomicBool,
}

/// One request, as it is sent again and again.
struct Call<'a> {
    operation: &'static str,
    key: &'a str,
    method: Method,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// An answer that is no refusal.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// The body, where it was asked for as a whole.
    whole: Bytes,
    /// The body, where it was not.
    body: HttpResponseBody,
}

impl<P: Provider> HttpStore<P> {
    pub(super) fn new(provider: P, location: String, policy: RetryPolicy) -> Result<Self, StorageError> {
        let client = ReqwestConnector::default()
            .connect(&client_options())
            .map_err(|error| {
                StorageError::new(
                    "open",
                    &location,
                    None,
                    StorageErrorKind::Other,
                    shorten(&error.to_string()),
                )
            })?;
        let (retries, answered) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self {
            provider,
            location,
            client,
            policy,
            retries,
            answered,
        })
    }

    fn error(&self, operation: &'static str, key: &str, failure: Failure) -> StorageError {
        let error = StorageError::new(
            operation,
            &self.location,
            Some(key),
            failure.kind,
            failure.message,
        );
        if failure.retryable {
            error.retryable()
        } else {
            error
        }
    }

    fn call_for<'a>(
        &self,
        operation: &'static str,
        key: &'a str,
        method: Method,
    ) -> Result<Call<'a>, StorageError> {
        if key.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(StorageError::new(
                operation,
                &self.location,
                Some(key),
                StorageErrorKind::Other,
                "a key with a segment . or .. cannot be asked for over HTTP: URLs resolve such segments",
            ));
        }
        let url = self.provider.object_url(key);
        Ok(Call {
            operation,
            key,
            method,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
        })
    }

    /// What is known of an object without its bytes.
    async fn head(&self, key: &str, version: Option<&ObjectVersion>) -> Result<ObjectBody, StorageError> {
        let mut call = self.call_for("read", key, Method::HEAD)?;
        call.headers.extend(self.read_headers(key, version)?);
        let answer = self.call(&call, None).await?;
        let meta = self.meta(key, &answer.headers, None)?;
        self.check_version(&meta, version)?;
        let end = meta.size;
        Ok(ObjectBody {
            meta,
            range: end..end,
            chunks: stream::empty().boxed(),
        })
    }

    fn read_headers(
        &self,
        key: &str,
        version: Option<&ObjectVersion>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, StorageError> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = self
            .provider
            .get_headers()
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        if let Some(ObjectVersion(tag)) = version {
            let value = HeaderValue::try_from(format!("\"{tag}\"")).map_err(|_| {
                let failure = Failure::lasting(StorageErrorKind::Other, format!("{tag:?} is no version"));
                self.error("read", key, failure)
            })?;
            headers.push((IF_MATCH, value));
        }
        Ok(headers)
    }

    /// Reads an answer's headers; `total` is the object's size where the answer is a part of it.
    fn meta(&self, key: &str, headers: &HeaderMap, total: Option<u64>) -> Result<ObjectMeta, StorageError> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let missing = |what: &str| {
            let failure = Failure::lasting(StorageErrorKind::Other, format!("the answer has no {what}"));
            self.error("read", key, failure)
        };
        let size = total
            .or_else(|| text(CONTENT_LENGTH)?.parse().ok())
            .ok_or_else(|| missing("Content-Length"))?;
        let last_modified = text(LAST_MODIFIED)
            .and_then(milliseconds_http)
            .ok_or_else(|| missing("Last-Modified time"))?;
        let version = text(ETAG).filter(|tag| !tag.is_empty()).map(version_of_tag);
        Ok(ObjectMeta {
            key: key.to_owned(),
            size,
            last_modified,
            version,
        })
    }

    /// Servers exist that do not know `If-Match`.
    fn check_version(&self, meta: &ObjectMeta, wanted: Option<&ObjectVersion>) -> Result<(), StorageError> {
        match (wanted, &meta.version) {
            (Some(wanted), Some(found)) if wanted != found => Err(self.error(
                "read",
                &meta.key,
                Failure::lasting(StorageErrorKind::Changed, CHANGED),
            )),
            _ => Ok(()),
        }
    }
}

/// What is said of an object that was replaced while it was read.
pub(super) const CHANGED: &str = "the object was replaced since reading it began";

#[async_trait]
impl<P: Provider> Store for HttpStore<P> {
    fn location(&self) -> &str {
        &self.location
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        self.one_by_one(prefix)
    }

    fn list_in_any_order<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        if self.provider.lists_behind_keys() {
            self.side_by_side(prefix)
        } else {
            self.one_by_one(prefix)
        }
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let mut call = self.call_for("read", key, Method::GET)?;
        call.headers.extend(self.read_headers(key, version)?);
        if let Some(range) = &range {
            if range.end <= range.start {
                return self.head(key, version).await;
            }
            // Servers read the numbers as signed; without an end a range goes to the object's.
            let end = if range.end > i64::MAX as u64 {
                String::new()
            } else {
                (range.end - 1).to_string()
            };
            let value = format!("bytes={}-{end}", range.start);
            let value = HeaderValue::try_from(value).map_err(|_| {
                self.error(
                    "read",
                    key,
                    Failure::lasting(StorageErrorKind::Other, "the range is no header"),
                )
            })?;
            call.headers.push((RANGE, value));
        }
        let answer = self.call(&call, None).await?;
        if answer.status == StatusCode::RANGE_NOT_SATISFIABLE {
            // The range begins at or after the object's end.
            return self.head(key, version).await;
        }
        let refuse = |text: String| self.error("read", key, Failure::lasting(StorageErrorKind::Other, text));
        let (meta, given) = if answer.status == StatusCode::PARTIAL_CONTENT {
            let (given, total) = content_range(&answer.headers)
                .ok_or_else(|| refuse("the server gives a part without saying which".to_owned()))?;
            (self.meta(key, &answer.headers, Some(total))?, given)
        } else {
            let meta = self.meta(key, &answer.headers, None)?;
            let all = 0..meta.size;
            (meta, all)
        };
        self.check_version(&meta, version)?;
        let wanted = cut_range(range, meta.size);
        // A server may ignore the range, or give more than was asked for.
        if given.start > wanted.start || given.end < wanted.end {
            return Err(refuse(format!(
                "asked for the bytes {wanted:?}, the server gives {given:?}"
            )));
        }
        let context = BodyContext {
            location: self.location.clone(),
            key: key.to_owned(),
            patience: self.policy.patience,
        };
        let skip = wanted.start - given.start;
        let chunks = context.chunks(answer.body, skip, wanted.end - wanted.start);
        Ok(ObjectBody {
            meta,
            range: wanted,
            chunks,
        })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let mut call = self.call_for("write", key, Method::PUT)?;
        call.headers = self
            .provider
            .put_headers()
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        // Azure signs the length.
        call.headers
            .push((CONTENT_LENGTH, HeaderValue::from(bytes.len())));
        call.body = bytes;
        self.call(&call, Some(LONGEST_REFUSAL)).await.map(|_| ())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let call = self.call_for("delete", key, Method::DELETE)?;
        match self.call(&call, Some(LONGEST_REFUSAL)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}
