//! What to do about each common mistake, in full sentences.
//!
//! Errors of the libraries are facts; what a person can do about them with this program's options is said here
//! and nowhere else.

use ::restore::error::RestoreError;
use backup::inventory::InventoryError;
use backup::storage::{StorageError, StorageErrorKind};
use kafka::error::{KafkaError, ResponseError};

use crate::config::ConfigError;

/// The hints for the first cause in the chain that has any.
pub(crate) fn for_error(error: &anyhow::Error) -> Vec<String> {
    error
        .chain()
        .map(for_cause)
        .find(|hints| !hints.is_empty())
        .unwrap_or_default()
}

fn for_cause(cause: &(dyn std::error::Error + 'static)) -> Vec<String> {
    if let Some(error) = cause.downcast_ref::<ConfigError>() {
        return config(error);
    }
    if let Some(error) = cause.downcast_ref::<StorageError>() {
        return vec![storage(error.kind)];
    }
    if let Some(error) = cause.downcast_ref::<KafkaError>() {
        return kafka(error).into_iter().collect();
    }
    if let Some(error) = cause.downcast_ref::<InventoryError>() {
        return inventory(error).into_iter().collect();
    }
    if let Some(error) = cause.downcast_ref::<RestoreError>() {
        return restore(error).into_iter().collect();
    }
    Vec::new()
}

/// The errors themselves say what there is instead.
fn inventory(error: &InventoryError) -> Option<String> {
    Some(match error {
        InventoryError::Storage(error) => storage(error.kind),
        InventoryError::NothingThere { .. } => {
            "The prefix is what the connector put before each name, literally: check it in --from or in \
             object_storage.prefix."
                .to_owned()
        }
        InventoryError::NothingMatches { existing, .. } => match existing.proposals.first() {
            Some(best) => format!(
                "Give the connector's own configuration with --connector-config; or, where that is how it named its files, \
                 --template '{}'.",
                best.text()
            ),
            None => "Give the connector's own configuration with --connector-config, or its file.name.template with \
                     --template."
                .to_owned(),
        },
        InventoryError::TopicNotFound { .. } => {
            "--topic takes the name that the topic has in the backup; --rename gives it another one in the target."
                .to_owned()
        }
        InventoryError::TwoPrefixes { .. } | InventoryError::Ambiguous { .. } => return None,
    })
}

fn restore(error: &RestoreError) -> Option<String> {
    match error {
        // The library's error hands its own cause on as itself, so that it is not in the chain.
        RestoreError::Storage(error) => Some(storage(error.kind)),
        RestoreError::Inventory(error) => inventory(error),
        RestoreError::Kafka(error) => kafka(error),
        RestoreError::Refused(_) => Some("Nothing was written.".to_owned()),
        error if error.is_retriable() => {
            Some("Run the same command again: it goes on where the target ends now.".to_owned())
        }
        _ => None,
    }
}

fn config(error: &ConfigError) -> Vec<String> {
    match error {
        ConfigError::Unreadable { what, .. } => {
            vec![format!("Check that the {what} exists and that you may read it.")]
        }
        ConfigError::Syntax {
            format: "JSON", path, ..
        } if path.extension().is_none_or(|e| e != "json") => vec![
            "The extension says the format: .json, .yaml or .yml, .toml; anything else is read as JSON."
                .to_owned(),
        ],
        ConfigError::Syntax { .. } => Vec::new(),
        ConfigError::UnknownKey {
            nearest: Some(nearest),
            ..
        } => vec![format!("Did you mean {nearest:?}?")],
        ConfigError::UnknownKey { known, .. } => vec![format!("Known keys here: {}.", known.join(", "))],
        ConfigError::WrongValue { .. } => Vec::new(),
        ConfigError::EnvironmentUnset { name, .. } => {
            vec![format!(
                "Set {name}, or write $${{{name}}} where the text itself is meant."
            )]
        }
        ConfigError::NoSuchFile { .. } => {
            vec![
                "Relative paths are looked for beside the config file, then in the current folder."
                    .to_owned(),
            ]
        }
        ConfigError::SecretTwice { .. } => vec!["Keep one of the two.".to_owned()],
        ConfigError::Missing { hint, .. } | ConfigError::Contradiction { hint, .. } => vec![hint.clone()],
    }
}

fn storage(kind: StorageErrorKind) -> String {
    match kind {
        StorageErrorKind::NotFound => "The object was listed a moment ago and is gone now: somebody (or a lifecycle \
            rule) deletes from this bucket. Stop that, and run the same command again."
            .to_owned(),
        StorageErrorKind::NoSuchBucket => "Check the bucket's name and, for S3, its region: --from \
            gs://BUCKET/PREFIX, or object_storage.bucket in the config file."
            .to_owned(),
        StorageErrorKind::PermissionDenied => "The credentials are valid but may not do this. They need to list and \
            read objects (GCS: Storage Object Viewer; S3: s3:ListBucket and s3:GetObject; Azure: Storage Blob Data \
            Reader)."
            .to_owned(),
        StorageErrorKind::Unauthenticated => "Check object_storage in the config file (credentials_file; \
            access_key_id and secret_access_key; account_key), or the provider's environment variables; credentials \
            may also have expired."
            .to_owned(),
        StorageErrorKind::Changed => "Somebody replaced the object while it was being read; a connector may still \
            be writing into this bucket. Run the same command again."
            .to_owned(),
        StorageErrorKind::Unreachable => "Check object_storage.endpoint, the network and proxies; \
            running the same command again is safe."
            .to_owned(),
        StorageErrorKind::Unordered | StorageErrorKind::Other => "Running the same command again is safe; -vv shows every request.".to_owned(),
    }
}

fn kafka(error: &KafkaError) -> Option<String> {
    let hint = match error {
        KafkaError::Request { .. } => {
            "The brokers are too old for what was asked; brokers from 2.8 on are supported."
        }
        KafkaError::Unreachable { .. } => {
            "Check --bootstrap-server (kafka.kafka_url). Where it is right, the address may be one that the brokers \
             advertise (advertised.listeners) and that this machine cannot resolve or reach."
        }
        KafkaError::Disconnected { .. } => {
            "A broker that hangs up at once often expects TLS or SASL: see kafka.security_protocol and the ssl_* keys. \
             Otherwise, running the same command again is safe."
        }
        KafkaError::TimedOut { .. } => {
            "A broker that never answers often expects TLS (kafka.security_protocol), or is overloaded. Running the \
             same command again is safe."
        }
        KafkaError::Tls { .. } => {
            "Check kafka.ssl_ca_file (the CA that signed the brokers' certificates), that the host names are in those \
             certificates, and that ssl_access_certificate_file and ssl_access_key_file belong together."
        }
        KafkaError::Authentication { .. } => {
            "Check kafka.sasl_mechanism, sasl_username and sasl_password: mechanism and user must exist on the \
             cluster."
        }
        KafkaError::UnsupportedVersion { .. } => "Brokers from 2.8 on are supported.",
        KafkaError::Protocol { .. } => {
            "Check that the address is a Kafka broker's and not a proxy's or a web server's."
        }
        KafkaError::Config { .. } => {
            "The name is the one that Kafka's Java clients use; in the config file it may come from a kafka.* key."
        }
        KafkaError::Broker { code, .. } => return refused(*code).map(str::to_owned),
    };
    Some(hint.to_owned())
}

fn refused(code: ResponseError) -> Option<&'static str> {
    Some(match code {
        ResponseError::TopicAuthorizationFailed => {
            "The user needs Describe, Read and Write on the topic, and DescribeConfigs for the plan's checks."
        }
        ResponseError::ClusterAuthorizationFailed => {
            "The user lacks a right on the cluster resource, such as IdempotentWrite or ClusterAction."
        }
        ResponseError::GroupAuthorizationFailed => "The user needs Read and Describe on the group.",
        ResponseError::UnknownTopicOrPartition => {
            "Create the topic first, with at least as many partitions as the backup has."
        }
        ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => {
            "Raise the topic's max.message.bytes for the time of the restore."
        }
        ResponseError::InvalidTimestamp => {
            "The topic refuses old timestamps: set message.timestamp.before.max.ms (on older brokers \
             message.timestamp.difference.max.ms) back to its default for the time of the restore."
        }
        ResponseError::NotEnoughReplicas | ResponseError::NotEnoughReplicasAfterAppend => {
            "Too few replicas are in sync for min.insync.replicas; bring the brokers back and run the same command again."
        }
        ResponseError::NonEmptyGroup => {
            "Stop the group's members first: committed offsets of an active group cannot be set."
        }
        ResponseError::PolicyViolation => "A policy of the cluster forbids this; its own words say which.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io;
    use std::path::PathBuf;

    use backup::inventory::{Existing, MissingTopic};

    use super::*;
    use crate::error::CommandError;

    /// One error of every kind, as a person sees it.
    #[test]
    fn common_mistakes() {
        let path = || PathBuf::from("restore.json");
        let key = |name: &str| name.to_owned();
        let unreadable = || io::Error::new(io::ErrorKind::NotFound, "No such file or directory (os error 2)");
        let mut errors: Vec<anyhow::Error> = [
            ConfigError::Unreadable {
                what: "config file",
                path: path(),
                source: unreadable(),
            },
            ConfigError::Syntax {
                path: path(),
                format: "JSON",
                message: "expected value at line 2 column 5".into(),
            },
            ConfigError::Syntax {
                path: "restore.conf".into(),
                format: "JSON",
                message: "expected value".into(),
            },
            ConfigError::UnknownKey {
                path: path(),
                key: key("kafka.ssl_ca"),
                nearest: Some("ssl_ca_file".into()),
                known: vec![],
            },
            ConfigError::UnknownKey {
                path: path(),
                key: key("zzz"),
                nearest: None,
                known: vec!["kafka".into(), "object_storage".into()],
            },
            ConfigError::WrongValue {
                path: path(),
                key: key("restore.memory"),
                message: "expected bytes".into(),
            },
            ConfigError::EnvironmentUnset {
                path: path(),
                key: key("kafka.sasl_password"),
                name: "PASSWORD".into(),
            },
            ConfigError::NoSuchFile {
                key: key("kafka.ssl_ca_file"),
                name: "ca.crt".into(),
                tried: vec!["/etc/ca.crt".into(), "ca.crt".into()],
            },
            ConfigError::SecretTwice {
                key: key("kafka.sasl_password"),
            },
        ]
        .map(anyhow::Error::new)
        .into();
        for kind in [
            StorageErrorKind::NotFound,
            StorageErrorKind::NoSuchBucket,
            StorageErrorKind::PermissionDenied,
            StorageErrorKind::Unauthenticated,
            StorageErrorKind::Changed,
            StorageErrorKind::Unreachable,
            StorageErrorKind::Other,
        ] {
            let error = StorageError {
                operation: "read",
                location: "gs://bucket".into(),
                key: Some("kafka/orders-0-17".into()),
                kind,
                message: format!("{kind:?}"),
                retryable: false,
            };
            errors.push(anyhow::Error::new(error).context("the backup cannot be read"));
        }
        let addr = || "broker:9092".to_owned();
        errors.extend(
            [
                KafkaError::Unreachable {
                    addr: addr(),
                    message: "connection refused".into(),
                },
                KafkaError::Disconnected {
                    addr: addr(),
                    message: "the broker closed it".into(),
                },
                KafkaError::Tls {
                    addr: addr(),
                    message: "unknown issuer".into(),
                },
                KafkaError::Authentication {
                    addr: addr(),
                    mechanism: "PLAIN",
                    message: "invalid credentials".into(),
                },
                KafkaError::Protocol {
                    addr: addr(),
                    message: "a length of 1213486160 bytes".into(),
                },
                KafkaError::Config {
                    key: "ssl.keystore.key".into(),
                    message: "no private key".into(),
                },
            ]
            .map(anyhow::Error::new),
        );
        for code in [29, 31, 30, 3, 10, 32, 19, 68, 44] {
            errors.push(
                KafkaError::check(code, "Produce", "orders-0", None)
                    .unwrap_err()
                    .into(),
            );
        }
        let location = || "gs://bucket".to_owned();
        let existing = Existing {
            prefixes: vec![("kafka/".into(), 12)],
            sample: Some("kafka/orders-0-0".into()),
            proposals: Vec::new(),
        };
        errors.extend(
            [
                InventoryError::NothingThere {
                    location: location(),
                    prefix: "kafak/".into(),
                    existing: Box::new(existing.clone()),
                },
                InventoryError::NothingMatches {
                    location: location(),
                    prefix: String::new(),
                    templates: vec!["{{topic}}-{{partition}}-{{start_offset}}".into()],
                    objects: 3,
                    samples: vec!["2026/orders".into()],
                    existing: Box::new(existing),
                },
                InventoryError::TopicNotFound {
                    location: location(),
                    missing: vec![MissingTopic {
                        topic: "order".into(),
                        near: vec!["orders".into()],
                    }],
                    found: vec!["orders".into(), "payments".into()],
                },
            ]
            .map(|error| RestoreError::from(error).into()),
        );
        errors.push(
            RestoreError::Refused("orders has 2 partitions and the backup has records for 6".into()).into(),
        );
        let kafka = KafkaError::Unreachable {
            addr: addr(),
            message: "connection refused".into(),
        };
        errors.push(RestoreError::from(kafka).into());
        let text = errors.into_iter().fold(String::new(), |mut text, error| {
            let error = CommandError::from(error);
            let _ = writeln!(
                text,
                "{}(exit status {})\n",
                error.render(str::to_owned),
                error.exit_status()
            );
            text
        });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_broker_code_with_a_hint_ends_in_a_full_sentence() {
        for code in 0..=130 {
            if let Some(hint) = ResponseError::try_from_code(code).and_then(refused) {
                assert!(hint.ends_with('.'), "{hint}");
            }
        }
    }
}
