//! The sections of the config file and their keys.
//!
//! `kafka` and `object_storage` are described here; `backup` and `restore` hold options of the command line by
//! their long names and are read by [`super::section`].

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::environment::{Environment, substitute};
use super::error::ConfigError;
use super::paths::Paths;
use super::secret::Secret;
use super::tree;

/// A config file that was read.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// Where it is; empty where there is none.
    pub(crate) path: PathBuf,
    /// Its sections.
    pub(crate) sections: Sections,
}

/// The outermost keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sections {
    /// Which cluster.
    pub(crate) kafka: KafkaSection,
    /// Where the backup is.
    pub(crate) object_storage: StorageSection,
    /// How the files were written: options by their long names.
    pub(crate) backup: Map<String, Value>,
    /// Any option by its long name.
    pub(crate) restore: Map<String, Value>,
}

/// Which cluster, and how to get in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KafkaSection {
    /// Brokers to start from, `host:port`, joined by commas or as a list.
    pub(crate) kafka_url: Option<OneOrMany>,
    /// CA certificates (PEM) that the brokers' certificates are checked with.
    pub(crate) ssl_ca_file: Option<String>,
    /// The same: the original tool asked for this key before it turned TLS on, so its working config files
    /// have both.
    pub(crate) ssl_cafile: Option<String>,
    /// The client's certificate chain (PEM).
    pub(crate) ssl_access_certificate_file: Option<String>,
    /// The client's private key (PEM).
    pub(crate) ssl_access_key_file: Option<String>,
    /// The passphrase of an encrypted private key.
    pub(crate) ssl_access_key_password: Option<Secret>,
    /// A file that holds it.
    pub(crate) ssl_access_key_password_file: Option<String>,
    /// PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    pub(crate) security_protocol: Option<String>,
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    pub(crate) sasl_mechanism: Option<String>,
    /// The user's name, or the client id.
    pub(crate) sasl_username: Option<String>,
    /// The password, or the client secret.
    pub(crate) sasl_password: Option<Secret>,
    /// A file that holds it.
    pub(crate) sasl_password_file: Option<String>,
    /// A file of settings under the names of Kafka's Java clients.
    pub(crate) properties_file: Option<String>,
}

/// Where the backup is, and how to get in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StorageSection {
    /// gcs, s3, azure or local.
    pub(crate) r#type: Option<String>,
    /// The bucket, or Azure's container.
    #[serde(alias = "container")]
    pub(crate) bucket: Option<String>,
    /// What the connector put before each name, literally.
    pub(crate) prefix: Option<String>,
    /// GCS: a service account's or an authorized user's JSON file.
    pub(crate) credentials_file: Option<String>,
    /// S3: the bucket's region.
    pub(crate) region: Option<String>,
    /// The address of a compatible server.
    pub(crate) endpoint: Option<String>,
    /// S3: the access key's id.
    pub(crate) access_key_id: Option<String>,
    /// S3: the access key's secret.
    pub(crate) secret_access_key: Option<Secret>,
    /// A file that holds it.
    pub(crate) secret_access_key_file: Option<String>,
    /// Azure: the storage account.
    pub(crate) account: Option<String>,
    /// Azure: its key.
    pub(crate) account_key: Option<Secret>,
    /// A file that holds it.
    pub(crate) account_key_file: Option<String>,
    /// Local: the folder.
    pub(crate) path: Option<String>,
}

/// A text or a list of texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(crate) enum OneOrMany {
    /// One, or several joined by commas.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl ConfigFile {
    /// Reads and checks the file at `path`.
    pub(crate) fn load(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            what: "config file",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text, environment)
    }

    fn parse(path: &Path, text: &str, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let mut tree = Value::Object(tree::parse(path, text)?);
        substitute(&mut tree, "", environment).map_err(|unset| ConfigError::EnvironmentUnset {
            path: path.to_owned(),
            key: unset.key,
            name: unset.name,
        })?;
        let sections = serde_path_to_error::deserialize(&tree).map_err(|error| {
            let key = error.path().to_string();
            wrong(path, key, &error.into_inner().to_string())
        })?;
        Ok(Self {
            path: path.to_owned(),
            sections,
        })
    }

    /// Where the files that it names are looked for.
    pub(crate) fn paths(&self) -> Paths {
        Paths {
            beside: self
                .path
                .parent()
                .map(Path::to_owned)
                .filter(|folder| !folder.as_os_str().is_empty()),
        }
    }
}

/// Turns serde's words into our error. They read "unknown field `x`, expected one of `a`, `b`" (or "expected `a`")
/// for unknown keys, which the tests below hold on to.
fn wrong(path: &Path, key: String, message: &str) -> ConfigError {
    let path = path.to_owned();
    let Some(unknown) = message.strip_prefix("unknown field ") else {
        return ConfigError::WrongValue {
            path,
            key,
            message: message.to_owned(),
        };
    };
    let mut quoted = unknown.split('`').skip(1).step_by(2).map(str::to_owned);
    let name = quoted.next().unwrap_or_default();
    unknown_key(path, &key, &name, quoted.collect())
}

/// The error for key `name` at `key`, with the nearest of the `known` ones.
pub(super) fn unknown_key(path: PathBuf, key: &str, name: &str, known: Vec<String>) -> ConfigError {
    let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    ConfigError::UnknownKey {
        path,
        key: key.to_owned(),
        nearest,
        known,
    }
}

/// The candidate that looks most like `name`, if one does.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// The keys of a section, or the sections for none; for the reference.
#[cfg(test)]
pub(crate) fn known_keys(section: Option<&str>) -> Vec<String> {
    let unknown = serde_json::json!({ "?": 0 });
    let tree = section.map_or(unknown.clone(), |section| serde_json::json!({ section: unknown }));
    match ConfigFile::parse(Path::new("-"), &tree.to_string(), &|_| None) {
        Err(ConfigError::UnknownKey { known, .. }) => known,
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
        ConfigFile::parse(Path::new("restore.json"), text, &|_| None)
    }

    #[test]
    fn unknown_keys_are_placed_and_corrected() {
        for (text, place, correction) in [
            (
                r#"{"kafka": {"ssl_ca_fle": "x"}}"#,
                "kafka.ssl_ca_fle",
                Some("ssl_ca_file"),
            ),
            (
                r#"{"object_storage": {"bukcet": "x"}}"#,
                "object_storage.bukcet",
                Some("bucket"),
            ),
            (r#"{"kafak": {}}"#, "kafak", Some("kafka")),
            (r#"{"zzz": {}}"#, "zzz", None),
        ] {
            let Err(ConfigError::UnknownKey {
                key, nearest, known, ..
            }) = parse(text)
            else {
                panic!("{text}")
            };
            assert_eq!(key, place);
            assert_eq!(nearest.as_deref(), correction);
            assert!(known.len() > 3, "{known:?}");
        }
    }

    #[test]
    fn wrong_types_are_placed() {
        let error = parse(r#"{"kafka": {"kafka_url": 5}}"#).unwrap_err().to_string();
        assert_eq!(
            error,
            "the config file restore.json has a wrong value at \"kafka.kafka_url\": expected a text or a list of texts"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let file = parse(
            r#"{"kafka": {"sasl_password": "hunter2", "ssl_access_key_password": "hunter2"},
                "object_storage": {"secret_access_key": "hunter2", "account_key": "hunter2"}}"#,
        )
        .unwrap();
        assert!(!format!("{file:?}{file:#?}").contains("hunter2"));
    }
}
