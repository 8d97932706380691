//! Where the backup is and how to get in: the `object_storage` section and `--from` as one.

use backup::storage::url::{StorageConfig, StoreKind};

use crate::argument::source::SourceArguments;
use crate::config::file::StorageSection;
use crate::config::paths::Paths;
use crate::config::{ConfigError, ConfigFile};

/// The keys of the section that not every type has, and the types that have them.
const KEYS: [(&str, &[&str]); 11] = [
    ("bucket", &["gcs", "s3", "azure"]),
    ("credentials_file", &["gcs"]),
    ("region", &["s3"]),
    ("endpoint", &["gcs", "s3", "azure"]),
    ("access_key_id", &["s3"]),
    ("secret_access_key", &["s3"]),
    ("secret_access_key_file", &["s3"]),
    ("account", &["azure"]),
    ("account_key", &["azure"]),
    ("account_key_file", &["azure"]),
    ("path", &["local"]),
];

/// Merges both: `--from` wins, and keeps the file's credentials where it names the same kind of storage.
pub(crate) fn resolve(arguments: &SourceArguments, file: &ConfigFile) -> Result<StorageConfig, ConfigError> {
    let section = &file.sections.object_storage;
    let described = match &section.r#type {
        None if given(section).is_empty() => None,
        None => return Err(missing("type", "It must be gcs, s3, azure or local.")),
        Some(kind) => Some(read(section, kind, &file.paths())?),
    };
    match (&arguments.from, described) {
        (Some(location), Some(mut config)) => {
            config.set_location(location);
            Ok(config)
        }
        (Some(location), None) => Ok(location.into()),
        (None, Some(config)) => complete(config),
        (None, None) => Err(ConfigError::Missing {
            what: "where the backup is was not said".to_owned(),
            hint: "Give --from gs://BUCKET/PREFIX (or s3://, az://, a folder), or a config file with an \
                   object_storage section."
                .to_owned(),
        }),
    }
}

fn read(section: &StorageSection, kind: &str, paths: &Paths) -> Result<StorageConfig, ConfigError> {
    let store = match kind {
        "gcs" => StoreKind::Gcs,
        "s3" => StoreKind::S3,
        "azure" => StoreKind::Azure,
        "local" => StoreKind::Local,
        _ => {
            return Err(ConfigError::Contradiction {
                what: format!("object_storage.type is {kind:?}"),
                hint: "It must be gcs, s3, azure or local.".to_owned(),
            });
        }
    };
    for key in given(section) {
        let kinds = KEYS
            .iter()
            .find(|(name, _)| *name == key)
            .map_or(&[] as &[&str], |(_, kinds)| kinds);
        if !kinds.contains(&kind) {
            return Err(ConfigError::Contradiction {
                what: format!("object_storage.{key} means nothing for type {kind}"),
                hint: format!(
                    "It belongs to {}: remove it, or change the type.",
                    kinds.join(", ")
                ),
            });
        }
    }
    let mut config = StorageConfig::new(store);
    config.bucket = section.bucket.clone();
    config.prefix = section.prefix.clone();
    config.region = section.region.clone();
    config.endpoint = section.endpoint.clone();
    config.access_key_id = section.access_key_id.clone();
    config.account = section.account.clone();
    if let Some(name) = &section.credentials_file {
        config.credentials_file = Some(paths.find("object_storage.credentials_file", name)?);
    }
    if let Some(name) = &section.path {
        config.path = Some(paths.find("object_storage.path", name)?);
    }
    config.secret_access_key = paths.secret(
        "object_storage.secret_access_key",
        section.secret_access_key.as_ref(),
        section.secret_access_key_file.as_deref(),
    )?;
    config.account_key = paths.secret(
        "object_storage.account_key",
        section.account_key.as_ref(),
        section.account_key_file.as_deref(),
    )?;
    if config.access_key_id.is_some() != config.secret_access_key.is_some() {
        let key = if config.secret_access_key.is_some() {
            "access_key_id"
        } else {
            "secret_access_key"
        };
        return Err(missing(
            key,
            "access_key_id and secret_access_key go together; leave both out to use the environment, the instance or \
             the workload identity.",
        ));
    }
    Ok(config)
}

/// Refuses a section that names no place, where `--from` does not either.
fn complete(config: StorageConfig) -> Result<StorageConfig, ConfigError> {
    let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    match config.kind {
        StoreKind::Local if config.path.is_none() => {
            Err(missing("path", "It is the folder that holds the files."))
        }
        StoreKind::Azure if empty(&config.account) => {
            Err(missing("account", "It is the storage account's name."))
        }
        StoreKind::Azure if empty(&config.bucket) => {
            Err(missing("bucket", "For Azure it is the container's name."))
        }
        StoreKind::Gcs | StoreKind::S3 if empty(&config.bucket) => Err(missing(
            "bucket",
            "Give it there, or the whole place with --from.",
        )),
        _ => Ok(config),
    }
}

fn missing(key: &str, hint: &str) -> ConfigError {
    ConfigError::Missing {
        what: format!("object_storage.{key} is missing"),
        hint: hint.to_owned(),
    }
}

/// The keys of the section that are set, other than `type` and `prefix`.
fn given(section: &StorageSection) -> Vec<&'static str> {
    let set = [
        section.bucket.is_some(),
        section.credentials_file.is_some(),
        section.region.is_some(),
        section.endpoint.is_some(),
        section.access_key_id.is_some(),
        section.secret_access_key.is_some(),
        section.secret_access_key_file.is_some(),
        section.account.is_some(),
        section.account_key.is_some(),
        section.account_key_file.is_some(),
        section.path.is_some(),
    ];
    KEYS.iter()
        .zip(set)
        .filter(|(_, set)| *set)
        .map(|((key, _), _)| *key)
        .collect()
}
