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

/// The changes that a topic with `configs` needs, in the order in which they are made.
pub fn changes(configs: &Configs) -> Vec<ConfigChange> {
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
    if value("message.timestamp.type") == Some("LogAppendTime") {
        change(
            "message.timestamp.type",
            "CreateTime",
            "brokers would replace the records' timestamps by the time of the restore",
        );
    }
    changes
}

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
        changes(&configs)
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
        ];
        assert_eq!(
            names(&configs),
            [
                "retention.ms=-1",
                "retention.bytes=-1",
                "cleanup.policy=delete",
                &format!("message.timestamp.after.max.ms={MAX}"),
                "message.timestamp.type=CreateTime",
            ]
        );
    }
}
