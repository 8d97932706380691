//! The restore profile: what a topic's configuration must be while old records are put back.
//!
//! Retention deletes restored records within minutes of their arrival, because it goes by their own old
//! timestamps; compaction and its refusal of null keys, limits on timestamps and LogAppendTime get in the way
//! too. Only what is in the way is changed, and everything is put back at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A configuration value of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// The value.
    pub value: String,
    /// True where the topic has it of its own, false where it is a default of the brokers.
    pub own: bool,
}

/// A topic's configuration, by Kafka's names.
pub type Configs = BTreeMap<String, ConfigValue>;

/// One configuration value that is other while restoring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Kafka's name of it.
    pub name: String,
    /// The value before and after; `None` where the brokers' default held, which will hold again.
    pub original: Option<String>,
    /// The value while restoring.
    pub during: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// What segments are rolled by while fillers are deleted behind the first record: fillers are stamped 1970, and the
/// broker begins a new segment at the first record that is younger by more than this, so that they can go as a whole.
const FILLER_SEGMENT_MS: i64 = 604_800_000;

/// The changes that a topic with `configs` needs, in the order in which they are made. `fillers` says whether offsets
/// before the first record will be filled and cut off.
///
/// Topics with remote storage keep their `local.*` and `remote.*` settings: what these delete locally is stored remotely.
pub fn changes(configs: &Configs, fillers: bool) -> Vec<ConfigChange> {
    let mut changes = Vec::new();
    let value = |name: &str| configs.get(name).map(|config| config.value.as_str());
    let mut change = |name: &str, during: &str, reason: &str| {
        if let Some(config) = configs.get(name) {
            changes.push(ConfigChange {
                name: name.to_owned(),
                original: config.own.then(|| config.value.clone()),
                during: during.to_owned(),
                reason: reason.to_owned(),
            });
        }
    };
    let limited = |name: &str| {
        value(name)
            .and_then(|value| value.parse::<i64>().ok())
            .is_some_and(|value| value >= 0)
    };
    let below_max = |name: &str| limited(name) && value(name) != Some(MAX);
    if limited("retention.ms") {
        change(
            "retention.ms",
            "-1",
            "retention goes by the records' own timestamps and would delete old ones within minutes",
        );
    }
    if limited("retention.bytes") {
        change(
            "retention.bytes",
            "-1",
            "the log may grow past the limit before the restore is complete",
        );
    }
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        change(
            "cleanup.policy",
            "delete",
            "compaction would drop records before they can be verified, and refuses null keys",
        );
        change(
            "min.compaction.lag.ms",
            "0",
            "the log cleaner removes what fills the gaps between records as soon as the topic is compacted again",
        );
        change(
            "min.cleanable.dirty.ratio",
            "0",
            "the log cleaner removes what fills the gaps between records as soon as the topic is compacted again",
        );
        let limit = value("max.message.bytes").and_then(|limit| limit.parse::<i64>().ok());
        if limit.is_some_and(|limit| limit < LEAST_MESSAGE_BYTES) {
            change(
                "max.message.bytes",
                &LEAST_MESSAGE_BYTES.to_string(),
                "a record as large as the smallest segment lets the log cleaner get at everything before it",
            );
        }
        if let Some(size) = value("segment.bytes") {
            change(
                "segment.bytes",
                size,
                "it is 1 MiB for a moment, so that the log cleaner gets at everything before the last gap",
            );
        }
    }
    if (fillers || value("cleanup.policy").is_some_and(|policy| policy.contains("compact")))
        && value("compression.type").is_some_and(|codec| codec != "producer")
    {
        change(
            "compression.type",
            "producer",
            "brokers would compress what fills missing offsets anew, which is slower and larger",
        );
    }
    for name in [
        "message.timestamp.before.max.ms",
        "message.timestamp.after.max.ms",
    ] {
        if below_max(name) {
            change(
                name,
                MAX,
                "brokers refuse records whose timestamps lie outside the limit",
            );
        }
    }
    if below_max("message.timestamp.difference.max.ms")
        && !configs.contains_key("message.timestamp.before.max.ms")
    {
        change(
            "message.timestamp.difference.max.ms",
            MAX,
            "brokers refuse records whose timestamps lie outside the limit",
        );
    }
    let rolling = if fillers { FILLER_SEGMENT_MS } else { i64::MAX };
    if value("segment.ms")
        .and_then(|value| value.parse::<i64>().ok())
        .is_some_and(|value| value < rolling)
    {
        change(
            "segment.ms",
            &rolling.to_string(),
            "segments are rolled by the records' own timestamps: years of data would make thousands of small files",
        );
    }
    if value("message.timestamp.type") == Some("LogAppendTime") {
        change(
            "message.timestamp.type",
            "CreateTime",
            "brokers would replace the records' timestamps by the time of the restore",
        );
    }
    changes
}

/// What it means for a restore that a change was refused.
pub fn consequence(name: &str) -> &'static str {
    match name {
        "retention.ms" | "retention.bytes" => {
            "brokers may delete restored records within minutes, while the restore runs: raise it by other means \
             (the provider's console), or restore only records that are young enough"
        }
        "cleanup.policy" => {
            "compaction goes on: superseded records may be gone before they can be verified, and records without a key \
             are refused"
        }
        "message.timestamp.before.max.ms"
        | "message.timestamp.after.max.ms"
        | "message.timestamp.difference.max.ms" => {
            "records whose timestamps lie outside the limit will be refused, and their partitions stop there"
        }
        "message.timestamp.type" => "records get the time of the restore as their timestamp",
        "segment.ms" => "old data may make many small segments: more files, the same records",
        "max.message.bytes" => "records that are larger than the limit will be refused",
        _ => "the restore goes on without it",
    }
}

/// True where a refused change may cost records or their timestamps, so that somebody should make it by other means.
pub fn matters(name: &str) -> bool {
    !matches!(
        name,
        "segment.ms"
            | "segment.bytes"
            | "compression.type"
            | "min.compaction.lag.ms"
            | "min.cleanable.dirty.ratio"
            | "max.message.bytes"
    )
}

/// Kafka's default of `max.message.bytes`, a little more than the smallest `segment.bytes` of Kafka 4.
const LEAST_MESSAGE_BYTES: i64 = 1_048_588;

/// The largest value of a configuration in milliseconds.
const MAX: &str = "9223372036854775807";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(configs: &[(&str, &str)]) -> Vec<String> {
        let own = |value: &str| ConfigValue {
            value: value.to_owned(),
            own: true,
        };
        let configs = configs
            .iter()
            .map(|(name, value)| (name.to_string(), own(value)))
            .collect();
        changes(&configs, false)
            .into_iter()
            .map(|change| format!("{}={}", change.name, change.during))
            .collect()
    }

    #[test]
    fn only_what_is_in_the_way_is_changed() {
        let harmless = [
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("cleanup.policy", "delete"),
            ("message.timestamp.before.max.ms", MAX),
            ("message.timestamp.after.max.ms", MAX),
            ("message.timestamp.type", "CreateTime"),
            ("segment.ms", MAX),
        ];
        assert_eq!(names(&harmless), [""; 0]);
        assert_eq!(names(&[]), [""; 0]);
    }

    #[test]
    fn everything_in_the_way_is_changed() {
        let configs = [
            ("retention.ms", "604800000"),
            ("retention.bytes", "1000"),
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.before.max.ms", MAX),
            ("message.timestamp.after.max.ms", "3600000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.ms", "3600000"),
        ];
        assert_eq!(
            names(&configs),
            [
                "retention.ms=-1",
                "retention.bytes=-1",
                "cleanup.policy=delete",
                &format!("message.timestamp.after.max.ms={MAX}"),
                &format!("segment.ms={MAX}"),
                "message.timestamp.type=CreateTime",
            ]
        );
    }

    #[test]
    fn segments_still_roll_behind_fillers() {
        let configs = |value: &str| {
            let value = ConfigValue {
                value: value.to_owned(),
                own: false,
            };
            Configs::from([("segment.ms".to_owned(), value)])
        };
        assert_eq!(changes(&configs("604800000"), true), []);
        let change = changes(&configs("3600000"), true).remove(0);
        assert_eq!((change.during.as_str(), change.original), ("604800000", None));
    }
}
