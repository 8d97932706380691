//! From a configuration to a store, and the checks that all kinds share.

use std::sync::Arc;

use super::url::{StorageConfig, StoreKind};
use super::{RetryPolicy, StorageError, StorageErrorKind, Store, azure, gcs, local, s3};

/// Opens the store that a configuration names. No request is made to it; the first listing or read tells whether it
/// is there. The prefix is the caller's matter: it is part of the keys.
///
/// # Errors
///
/// Where the configuration lacks something or contradicts itself, or a credentials file cannot be used.
pub fn open(config: &StorageConfig) -> Result<Arc<dyn Store>, StorageError> {
    let policy = RetryPolicy::default();
    match config.kind {
        StoreKind::Gcs => gcs::open(config, policy),
        StoreKind::S3 => s3::open(config, policy),
        StoreKind::Azure => azure::open(config, policy),
        StoreKind::Local => local::open(config),
    }
}

pub(super) fn failed(location: &str, message: &str) -> StorageError {
    StorageError::new("open", location, None, StorageErrorKind::Other, message)
}

pub(super) fn bucket_of(config: &StorageConfig, kind: &str) -> Result<String, StorageError> {
    let bucket = config.bucket.as_deref().unwrap_or_default();
    if bucket.is_empty() {
        return Err(failed(
            "the object storage",
            &format!("a storage of type {kind} needs a bucket"),
        ));
    }
    if bucket.contains('/') {
        let text =
            format!("the bucket is {bucket:?}, but a bucket's name has no slash; the rest belongs to prefix");
        return Err(failed("the object storage", &text));
    }
    Ok(bucket.to_owned())
}

/// A URL without a slash at its end.
pub(super) fn checked_endpoint(location: &str, endpoint: &str) -> Result<String, StorageError> {
    let rest = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(['?', '#', '@', ' ']))
    {
        let text =
            "the endpoint must be a URL such as https://storage.example:9000, without a user or a query";
        return Err(failed(location, text));
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        for (text, words) in [
            (r#"{"type":"s3"}"#, "type s3 needs a bucket"),
            (r#"{"type":"gcs"}"#, "type gcs needs a bucket"),
            (r#"{"type":"local"}"#, "needs a path"),
            (r#"{"type":"s3","bucket":"a/b"}"#, "belongs to prefix"),
            (
                r#"{"type":"s3","bucket":"b","access_key_id":"k"}"#,
                "needs secret_access_key",
            ),
            (
                r#"{"type":"s3","bucket":"b","secret_access_key":"HUSH"}"#,
                "needs access_key_id",
            ),
            (
                r#"{"type":"s3","bucket":"b","endpoint":"minio:9000"}"#,
                "must be a URL",
            ),
            (
                r#"{"type":"s3","bucket":"b","endpoint":"http://u:HUSH@h"}"#,
                "must be a URL",
            ),
            (
                r#"{"type":"gcs","bucket":"b","credentials_file":"/nowhere/x.json"}"#,
                "cannot read the credentials file",
            ),
        ] {
            let error = open(&serde_json::from_str(text).unwrap())
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("HUSH"), "{error}");
        }
    }
}
