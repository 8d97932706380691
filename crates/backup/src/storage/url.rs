//! Where a store is: a URL or path that a person types, and the keys of the configuration's `object_storage`.
//!
//! `gs://BUCKET/PREFIX`, `s3://BUCKET/PREFIX`, `az://ACCOUNT/CONTAINER/PREFIX`, `file:///DIR`, or a plain path. The
//! prefix is what follows the slash after the bucket, literally: nothing is decoded, trimmed or normalised.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Google Cloud Storage.
    Gcs,
    /// Amazon S3 and servers that speak its protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// A folder.
    Local,
}

/// A place that objects are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which store.
    pub kind: StoreKind,
    /// The account, for Azure only.
    pub account: Option<String>,
    /// The bucket or container; the folder's path for a local folder.
    pub bucket: String,
    /// What every key must begin with, literally; may be empty. Always empty for a local folder.
    pub prefix: String,
}

/// A text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no place for a backup: {reason}")]
pub struct LocationError {
    /// The text.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl Location {
    /// Reads a URL or a path.
    ///
    /// # Errors
    ///
    /// Where the scheme is unknown, or the bucket, account, container or folder is missing.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let error = |reason: String| LocationError {
            text: text.to_owned(),
            reason,
        };
        let local = |path: &str| {
            if path.is_empty() {
                return Err(error("the path is empty".to_owned()));
            }
            Ok(Self {
                kind: StoreKind::Local,
                account: None,
                bucket: path.to_owned(),
                prefix: String::new(),
            })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.starts_with("file:") {
                return Err(error("a folder's URL has three slashes: file:///DIR".to_owned()));
            }
            return local(text);
        };
        let bucket = |kind, rest: &str, account: Option<&str>, form: &str| {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || account == Some("") {
                return Err(error(format!("write it as {form}")));
            }
            Ok(Self {
                kind,
                account: account.map(str::to_owned),
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            })
        };
        match scheme {
            "gs" => bucket(StoreKind::Gcs, rest, None, "gs://BUCKET/PREFIX"),
            "s3" => bucket(StoreKind::S3, rest, None, "s3://BUCKET/PREFIX"),
            "az" => {
                let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
                bucket(
                    StoreKind::Azure,
                    rest,
                    Some(account),
                    "az://ACCOUNT/CONTAINER/PREFIX",
                )
            }
            "file" if rest.starts_with('/') => local(rest),
            "file" => Err(error("a folder's URL has three slashes: file:///DIR".to_owned())),
            other => Err(error(format!(
                "the scheme {other:?} is unknown; known are gs://, s3://, az:// and file://, and plain paths"
            ))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            account,
            bucket,
            prefix,
        } = self;
        match kind {
            StoreKind::Gcs => write!(formatter, "gs://{bucket}")?,
            StoreKind::S3 => write!(formatter, "s3://{bucket}")?,
            StoreKind::Azure => write!(
                formatter,
                "az://{}/{bucket}",
                account.as_deref().unwrap_or_default()
            )?,
            StoreKind::Local if bucket.starts_with('/') => write!(formatter, "file://{bucket}")?,
            StoreKind::Local => formatter.write_str(bucket)?,
        }
        if prefix.is_empty() {
            Ok(())
        } else {
            write!(formatter, "/{prefix}")
        }
    }
}

/// The configuration's `object_storage`. Secrets are not shown by `Debug`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Which store.
    #[serde(rename = "type")]
    pub kind: StoreKind,
    /// The bucket or container; not for a local folder.
    #[serde(default)]
    pub bucket: Option<String>,
    /// What the connector put before each name, literally.
    #[serde(default)]
    pub prefix: Option<String>,
    /// GCS: a service account's key, or any other file that Google's libraries take as default credentials.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// S3: the bucket's region; found out by itself on Amazon.
    #[serde(default)]
    pub region: Option<String>,
    /// The server's URL, where it is not the provider's own: `http://127.0.0.1:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// S3.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// S3.
    #[serde(default)]
    pub secret_access_key: Option<SecretString>,
    /// Azure: the storage account.
    #[serde(default)]
    pub account: Option<String>,
    /// Azure: one of the account's two keys.
    #[serde(default)]
    pub account_key: Option<SecretString>,
    /// A local folder.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

impl StorageConfig {
    /// The configuration of one kind of store, with nothing else set.
    pub fn new(kind: StoreKind) -> Self {
        Self {
            kind,
            bucket: None,
            prefix: None,
            credentials_file: None,
            region: None,
            endpoint: None,
            access_key_id: None,
            secret_access_key: None,
            account: None,
            account_key: None,
            path: None,
        }
    }

    /// Sets what a URL says: the place and the prefix. Credentials, region and endpoint stay where the kind is the
    /// same; with another kind nothing stays.
    pub fn set_location(&mut self, location: &Location) {
        if self.kind != location.kind {
            *self = Self::new(location.kind);
        }
        self.prefix = Some(location.prefix.clone());
        if location.kind == StoreKind::Local {
            self.path = Some(PathBuf::from(&location.bucket));
            self.bucket = None;
        } else {
            self.bucket = Some(location.bucket.clone());
        }
        if let Some(account) = &location.account {
            // A key belongs to one account.
            if self.account.as_ref().is_some_and(|before| before != account) {
                self.account_key = None;
            }
            self.account = Some(account.clone());
        }
    }
}

impl From<&Location> for StorageConfig {
    fn from(location: &Location) -> Self {
        let mut config = Self::new(location.kind);
        config.set_location(location);
        config
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (StoreKind, Option<String>, String, String) {
        let location = Location::parse(text).unwrap();
        (location.kind, location.account, location.bucket, location.prefix)
    }

    #[test]
    fn urls_and_paths() {
        use StoreKind::*;
        for (text, kind, account, bucket, prefix) in [
            ("gs://b", Gcs, None, "b", ""),
            ("gs://b/", Gcs, None, "b", ""),
            ("gs://b/backups", Gcs, None, "b", "backups"),
            ("gs://b//x//%2F ?#", Gcs, None, "b", "/x//%2F ?#"),
            ("s3://b/p/", S3, None, "b", "p/"),
            ("az://acc/c", Azure, Some("acc"), "c", ""),
            ("az://acc/c/p/q", Azure, Some("acc"), "c", "p/q"),
            ("file:///tmp/a b", Local, None, "/tmp/a b", ""),
            ("/tmp/x", Local, None, "/tmp/x", ""),
            ("backup", Local, None, "backup", ""),
            ("./a:b", Local, None, "./a:b", ""),
        ] {
            let expected = (
                kind,
                account.map(str::to_owned),
                bucket.to_owned(),
                prefix.to_owned(),
            );
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn wrong_places_are_explained() {
        for (text, words) in [
            ("", "the path is empty"),
            ("gs://", "gs://BUCKET/PREFIX"),
            ("s3:///x", "s3://BUCKET/PREFIX"),
            ("az://acc", "az://ACCOUNT/CONTAINER/PREFIX"),
            ("az:///c", "az://ACCOUNT/CONTAINER/PREFIX"),
            ("file://dir", "file:///DIR"),
            ("file:dir", "file:///DIR"),
            ("gcs://b", "the scheme \"gcs\" is unknown"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_configuration_is_strict_and_keeps_secrets() {
        let text =
            r#"{"type":"s3","bucket":"b","prefix":"p/","access_key_id":"AKID","secret_access_key":"HUSH"}"#;
        let config: StorageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.kind, StoreKind::S3);
        let shown = format!("{config:?}");
        assert!(shown.contains("AKID") && !shown.contains("HUSH"), "{shown}");
        let azure = r#"{"type":"azure","account":"a","account_key":"HUSH"}"#;
        assert!(!format!("{:?}", serde_json::from_str::<StorageConfig>(azure).unwrap()).contains("HUSH"));
        assert!(serde_json::from_str::<StorageConfig>(r#"{"type":"gcs","buket":"b"}"#).is_err());
        assert!(serde_json::from_str::<StorageConfig>(r#"{"type":"ftp"}"#).is_err());
    }

    #[test]
    fn a_url_replaces_the_place_but_not_the_credentials_of_its_kind() {
        let mut config: StorageConfig = serde_json::from_str(
            r#"{"type":"azure","account":"a","account_key":"k","bucket":"c","prefix":"p"}"#,
        )
        .unwrap();
        config.set_location(&Location::parse("az://a/d/q").unwrap());
        assert_eq!(
            (config.bucket.as_deref(), config.prefix.as_deref()),
            (Some("d"), Some("q"))
        );
        assert!(config.account_key.is_some());
        config.set_location(&Location::parse("az://other/d").unwrap());
        assert!(config.account_key.is_none());
        config.set_location(&Location::parse("gs://b").unwrap());
        assert_eq!((config.kind, config.account.as_deref()), (StoreKind::Gcs, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn locations_print_as_they_are_read(text in "(gs|s3|file|az)://\\PC{0,30}") {
            if let Ok(location) = Location::parse(&text) {
                prop_assert_eq!(Location::parse(&location.to_string()), Ok(location));
            }
        }
    }
}
