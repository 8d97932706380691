//! What the options of Aiven's sinks mean, with their defaults.
//!
//! Source: the `*Config` and `*Fragment` classes of Aiven's sinks.

use super::properties::Options;
use super::{ConnectorError, Naming, StoreKind, Transform};
use crate::format::{Field, Format};
use crate::layout::{Generation, NameTemplate};

pub(super) const FORMATS: [(&str, Format); 5] = [
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::Jsonl),
    ("avro", Format::Avro),
    ("parquet", Format::Parquet),
];

pub(super) const FIELDS: [(&str, Field); 5] = [
    ("key", Field::Key),
    ("value", Field::Value),
    ("offset", Field::Offset),
    ("timestamp", Field::Timestamp),
    ("headers", Field::Headers),
];

pub(super) fn bucket_options(store: StoreKind) -> &'static [&'static str] {
    match store {
        StoreKind::Gcs => &["gcs.bucket.name"],
        StoreKind::S3 => &["aws.s3.bucket.name", "aws_s3_bucket"],
        StoreKind::Azure => &["azure.storage.container.name"],
    }
}

/// The value of the first of these options that is set.
pub(super) fn first<'o>(options: &'o Options, names: &[&str]) -> Option<&'o str> {
    names
        .iter()
        .find_map(|name| options.get(*name))
        .map(String::as_str)
}

pub(super) fn store_kind(options: &Options, warnings: &mut Vec<String>) -> Result<StoreKind, ConnectorError> {
    let class = options
        .get("connector.class")
        .map(|class| class.trim())
        .unwrap_or_default();
    let simple = class.rsplit('.').next().unwrap_or_default();
    let other = || ConnectorError::OtherConnector {
        class: if class.is_empty() {
            "not given (connector.class is missing)".into()
        } else {
            class.to_owned()
        },
    };
    if [
        "io.confluent.",
        "io.lenses.",
        "com.datamountaineer.",
        "org.apache.camel.",
    ]
    .iter()
    .any(|package| class.starts_with(package))
        || simple.contains("Source")
    {
        return Err(other());
    }
    match simple {
        "GcsSinkConnector" | "GcsSink" => return Ok(StoreKind::Gcs),
        "AivenKafkaConnectS3SinkConnector" | "AivenKafkaConnectS3Sink" => return Ok(StoreKind::S3),
        "AzureBlobSinkConnector" | "AzureBlobSink" => return Ok(StoreKind::Azure),
        _ => {}
    }
    let kinds = [StoreKind::Gcs, StoreKind::S3, StoreKind::Azure];
    let kind = kinds
        .into_iter()
        .find(|kind| first(options, bucket_options(*kind)).is_some())
        .ok_or_else(other)?;
    let class = if class.is_empty() {
        "no connector.class"
    } else {
        class
    };
    warnings.push(format!(
        "The configuration has {class}; by its options it is read as that of Aiven's sink, whose option names others share."
    ));
    Ok(kind)
}

pub(super) fn value_error(option: &str, value: &str, reason: impl Into<String>) -> ConnectorError {
    ConnectorError::Value {
        option: option.to_owned(),
        value: value.to_owned(),
        reason: reason.into(),
    }
}

/// One of several words, whatever their case.
pub(super) fn choice<T: Copy>(
    options: &Options,
    option: &str,
    words: &[(&str, T)],
    default: T,
) -> Result<T, ConnectorError> {
    let Some(value) = options.get(option) else {
        return Ok(default);
    };
    words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value.trim()))
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            value_error(option, value, format!("it must be one of {}", all.join(", ")))
        })
}

pub(super) fn list(value: Option<&String>) -> Vec<String> {
    let items = value
        .map(String::as_str)
        .unwrap_or_default()
        .split(',')
        .map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

pub(super) fn fields(options: &Options, store: StoreKind) -> Result<Vec<Field>, ConnectorError> {
    let legacy = Some("output_fields").filter(|_| store == StoreKind::S3);
    let option = ["format.output.fields"]
        .into_iter()
        .chain(legacy)
        .find(|option| options.contains_key(*option));
    let Some(option) = option else {
        return Ok(vec![Field::Value]);
    };
    let names = list(options.get(option));
    if names.is_empty() {
        return Err(value_error(option, "", "it must name at least one field"));
    }
    names
        .iter()
        .map(|name| {
            FIELDS
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(name))
                .map(|(_, field)| *field)
                .ok_or_else(|| {
                    value_error(
                        option,
                        name,
                        "it must be a list of key, value, offset, timestamp, headers",
                    )
                })
        })
        .collect()
}

/// The S3 sink compresses with gzip unless told otherwise, the others do not compress.
pub(super) fn compression(options: &Options, store: StoreKind) -> Result<String, ConnectorError> {
    let words = [
        ("none", "none"),
        ("gzip", "gzip"),
        ("snappy", "snappy"),
        ("zstd", "zstd"),
    ];
    let default = match store {
        StoreKind::S3 => choice(options, "output_compression", &words, "gzip")?,
        _ => "none",
    };
    choice(options, "file.compression.type", &words, default).map(str::to_owned)
}

pub(super) fn max_records(options: &Options) -> Result<u64, ConnectorError> {
    let option = "file.max.records";
    let Some(value) = options.get(option) else {
        return Ok(0);
    };
    value
        .trim()
        .parse()
        .map_err(|_| value_error(option, value, "it must be a whole number of records"))
}

pub(super) fn naming(
    options: &Options,
    store: StoreKind,
    warnings: &mut Vec<String>,
) -> Result<Naming, ConnectorError> {
    for option in [
        "file.name.template",
        "file.name.prefix",
        "aws.s3.prefix",
        "aws_s3_prefix",
    ] {
        if options.get(option).is_some_and(|value| value.contains("${")) {
            warnings.push(format!(
                "The value of {option} looks like a reference to a config provider; Connect puts another text in its place."
            ));
        }
    }
    let mut prefix = options.get("file.name.prefix").cloned().unwrap_or_default();
    if store == StoreKind::S3 {
        if let Some(prefix) = first(options, &["aws.s3.prefix", "aws_s3_prefix"]) {
            Generation::s3_legacy(prefix)?;
            return Ok(Naming::S3Legacy {
                prefix: prefix.to_owned(),
            });
        }
        if !prefix.is_empty() {
            warnings.push(
                "The S3 sink has no option file.name.prefix: it is passed over, as the sink does.".into(),
            );
            prefix.clear();
        }
    }
    match options.get("file.name.template") {
        None => Ok(Naming::Default { prefix }),
        Some(text) => {
            let template = NameTemplate::new(text)?;
            if template.has_week_year() {
                warnings.push(
                    "The template has unit=YYYY, the week-based year: names of days near New Year show another year.".into(),
                );
            }
            Ok(Naming::Template { prefix, template })
        }
    }
}

pub(super) fn transforms(options: &Options) -> Vec<Transform> {
    let renaming = [
        "RegexRouter",
        "TimestampRouter",
        "ExtractTopic",
        "ByLogicalTableRouter",
        "TopicRouter",
        "EventRouter",
    ];
    list(options.get("transforms"))
        .into_iter()
        .map(|name| {
            let class = options
                .get(&format!("transforms.{name}.type"))
                .map(|class| class.trim().to_owned());
            let class = class.unwrap_or_else(|| "no type given".into());
            let outer = class
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .split('$')
                .next()
                .unwrap_or_default();
            let renames_topics = renaming.contains(&outer) || outer.ends_with("Router");
            Transform {
                name,
                renames_topics,
                class,
            }
        })
        .collect()
}
