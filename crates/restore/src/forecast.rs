//! What brokers will delete or compact once a topic has its own configuration back, and when.
//!
//! Retention goes by the largest timestamp of each segment, and deletes whole segments, the active one included.
//! Which records are older than the limit now, brokers say themselves; when the others follow, the times of the
//! restored records tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kafka::cluster::{Cluster, TopicMetadata};
use record::TopicPartition;
use serde::{Deserialize, Serialize};

use crate::error::RestoreError;
use crate::logs;
use crate::profile::Configs;
use crate::report::PartitionReport;

/// Why records will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `retention.ms`.
    Age,
    /// `retention.bytes`.
    Size,
    /// `cleanup.policy` with `compact`.
    Compaction,
}

/// Records that brokers will delete or compact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiration {
    /// The topic.
    pub topic: String,
    /// The partitions that it is about.
    pub partitions: Vec<i32>,
    /// Why.
    pub cause: Cause,
    /// Offsets that go at the brokers' next check, summed over the partitions, where that is known.
    pub offsets_now: Option<u64>,
    /// When the next ones go, RFC 3339, where that is known.
    pub next: Option<String>,
    /// When the last of what is there now goes, RFC 3339, where that is known.
    pub last: Option<String>,
    /// All this in a sentence.
    pub message: String,
}

/// The smallest and the largest timestamp that a run saw in a partition, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    first: Option<i64>,
    last: Option<i64>,
}

impl Times {
    pub(crate) fn of(partition: &PartitionReport) -> Self {
        Self {
            first: partition.first_time,
            last: partition.last_time,
        }
    }
}

/// Log start and log end of every partition of a topic that holds anything.
pub(crate) async fn log_ranges(
    cluster: &Cluster,
    topic: &str,
) -> Result<BTreeMap<i32, (i64, i64)>, RestoreError> {
    let partitions: Vec<TopicPartition> = cluster
        .topics(Some(&[topic]))
        .await?
        .iter()
        .flat_map(TopicMetadata::topic_partitions)
        .collect();
    let mut ranges = logs::ranges(cluster, &partitions).await?;
    ranges.retain(|_, (start, end)| start < end);
    Ok(ranges)
}

/// What will go from a topic with `configs`, whose logs were `logs` a moment ago.
pub(crate) async fn expirations(
    cluster: &Cluster,
    topic: &str,
    configs: &Configs,
    logs: &BTreeMap<i32, (i64, i64)>,
    times: &BTreeMap<i32, Times>,
) -> Result<Vec<Expiration>, RestoreError> {
    let value = |name: &str| configs.get(name).map(|config| config.value.as_str());
    let limit = |name: &str| {
        value(name)
            .and_then(|value| value.parse::<i64>().ok())
            .filter(|limit| *limit >= 0)
    };
    let policy = value("cleanup.policy").unwrap_or("delete");
    let mut expirations = Vec::new();
    if logs.is_empty() {
        return Ok(expirations);
    }
    if policy.contains("delete") {
        if let Some(retention) = limit("retention.ms") {
            let now = jiff::Timestamp::now().as_millisecond();
            let partitions: Vec<TopicPartition> = logs
                .keys()
                .map(|partition| TopicPartition::new(topic, *partition))
                .collect();
            let cutoff = now.saturating_sub(retention);
            let mut young = BTreeMap::new();
            for (partition, offset) in cluster.offsets_for_time(&partitions, cutoff).await {
                young.insert(partition.partition, offset?);
            }
            expirations.extend(by_age(topic, retention, logs, &young, times));
        }
        if let Some(bytes) = limit("retention.bytes") {
            expirations.push(Expiration {
                topic: topic.to_owned(),
                partitions: logs.keys().copied().collect(),
                cause: Cause::Size,
                offsets_now: None,
                next: None,
                last: None,
                message: format!(
                    "{topic}: retention.bytes={bytes} holds again: where a partition is larger, brokers delete its oldest \
                     segments at their next check, within minutes"
                ),
            });
        }
    }
    if policy.contains("compact") {
        let lag = limit("min.compaction.lag.ms").filter(|lag| *lag > 0);
        let when = match lag {
            Some(lag) => format!("for records older than min.compaction.lag.ms={lag}"),
            None => "from now on, as segments are closed".to_owned(),
        };
        expirations.push(Expiration {
            topic: topic.to_owned(),
            partitions: logs.keys().copied().collect(),
            cause: Cause::Compaction,
            offsets_now: None,
            next: None,
            last: None,
            message: format!(
                "{topic}: cleanup.policy={policy} holds again: brokers remove all but the latest record of each key, {when}; \
                 records with null values go after delete.retention.ms={}",
                value("delete.retention.ms").unwrap_or("86400000")
            ),
        });
    }
    Ok(expirations)
}

fn by_age(
    topic: &str,
    retention: i64,
    logs: &BTreeMap<i32, (i64, i64)>,
    young: &BTreeMap<i32, Option<i64>>,
    times: &BTreeMap<i32, Times>,
) -> Vec<Expiration> {
    let (mut old, mut mixed, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    let (mut old_offsets, mut mixed_offsets) = (0, 0);
    for (partition, (start, end)) in logs {
        match young.get(partition).copied().flatten() {
            None => {
                old.push(*partition);
                old_offsets += end.abs_diff(*start);
            }
            Some(first) if first > *start => {
                mixed.push(*partition);
                mixed_offsets += first.abs_diff(*start);
            }
            Some(_) => fresh.push(*partition),
        }
    }
    let rule = format!("retention.ms={retention} ({}) holds again", length(retention));
    let mut expirations = Vec::new();
    let mut put = |partitions: Vec<i32>, now: Option<u64>, message: String| {
        if partitions.is_empty() {
            return;
        }
        let firsts = partitions.iter().map(|partition| times.get(partition)?.first);
        let lasts = partitions.iter().map(|partition| times.get(partition)?.last);
        let after = |time: Option<i64>| {
            let moment = jiff::Timestamp::from_millisecond(time?.checked_add(retention)?).ok()?;
            (moment > jiff::Timestamp::now()).then(|| moment.to_string())
        };
        // Known only where it is known of every partition.
        let first = firsts
            .collect::<Option<Vec<i64>>>()
            .and_then(|times| times.into_iter().min());
        let last = lasts
            .collect::<Option<Vec<i64>>>()
            .and_then(|times| times.into_iter().max());
        let (next, last) = (after(first), after(last));
        let mut message = format!("{topic}: {rule}: {message}");
        if let Some(last) = &last {
            let _ = write!(message, "; the last of them go at {last}");
        }
        expirations.push(Expiration {
            topic: topic.to_owned(),
            message,
            partitions,
            cause: Cause::Age,
            offsets_now: now,
            next,
            last,
        });
    };
    let text = format!(
        "all {old_offsets} offsets of {} are older, and brokers delete them at their next check, within minutes \
         (log.retention.check.interval.ms)",
        names(&old)
    );
    put(old, Some(old_offsets), text);
    let text = format!(
        "about {mixed_offsets} offsets of {} are older, and brokers delete the segments that hold nothing younger at \
         their next check, within minutes",
        names(&mixed)
    );
    put(mixed, Some(mixed_offsets), text);
    let text = format!(
        "the records of {} are younger, and go as they reach that age",
        names(&fresh)
    );
    put(fresh, Some(0), text);
    expirations
}

/// `partition 3`, `partitions 0-4, 7`.
fn names(partitions: &[i32]) -> String {
    let mut text = String::new();
    let mut index = 0;
    while index < partitions.len() {
        let first = partitions[index];
        let mut last = first;
        while partitions.get(index + 1) == Some(&(last + 1)) {
            index += 1;
            last += 1;
        }
        index += 1;
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = match last - first {
            0 => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
    }
    format!("partition{} {text}", if partitions.len() == 1 { "" } else { "s" })
}

/// Milliseconds in the largest unit that leaves no rest.
fn length(milliseconds: i64) -> String {
    for (unit, name) in [
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1000, "second"),
    ] {
        if milliseconds >= unit && milliseconds % unit == 0 {
            let count = milliseconds / unit;
            return format!("{count} {name}{}", if count == 1 { "" } else { "s" });
        }
    }
    format!("{milliseconds} milliseconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(names(&[3]), "partition 3");
        assert_eq!(names(&[0, 1, 2, 4, 7, 8]), "partitions 0-2, 4, 7-8");
        for (milliseconds, text) in [
            (604_800_000, "7 days"),
            (86_400_000, "1 day"),
            (3_600_000, "1 hour"),
            (90_000, "90 seconds"),
            (1, "1 milliseconds"),
            (0, "0 milliseconds"),
        ] {
            assert_eq!(length(milliseconds), text);
        }
    }

    #[test]
    fn old_mixed_and_young_partitions() {
        let logs = BTreeMap::from([(0, (0, 10)), (1, (5, 8)), (2, (0, 100)), (3, (0, 4))]);
        let young = BTreeMap::from([(0, None), (1, None), (2, Some(40)), (3, Some(0))]);
        let now = jiff::Timestamp::now().as_millisecond();
        let times = BTreeMap::from([
            (
                0,
                Times {
                    first: Some(0),
                    last: Some(1),
                },
            ),
            (
                3,
                Times {
                    first: Some(now - 1000),
                    last: Some(now),
                },
            ),
        ]);
        let found = by_age("orders", 604_800_000, &logs, &young, &times);
        let short: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.partitions.as_slice(),
                    found.offsets_now,
                    found.last.is_some(),
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                (&[0, 1][..], Some(13), false),
                (&[2][..], Some(40), false),
                (&[3][..], Some(0), true)
            ]
        );
        assert!(
            found[0]
                .message
                .starts_with("orders: retention.ms=604800000 (7 days) holds again: all 13 offsets")
        );
    }
}
