//! Topics get their own configuration back: at the end of a restore, or after one that was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka::admin::ConfigOperation;
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};

use super::commands::put_back_command;
use super::journals::Place;
use super::{Prepared, configs};
use crate::configure::change;
use crate::error::RestoreError;
use crate::forecast::{self, Expiration, Times};
use crate::journal::{self, Journal, JournalFile};
use crate::report::{Outcome, Report, TopicReport};

/// Gives each topic whose restore is complete its own configuration back and deletes its journal. Topics that were
/// compared with the backup and differ stay as they are, like those that are not complete: nothing may be deleted from
/// them before a person has looked. With `keep_profile` all topics stay so.
pub(crate) async fn finish(
    cluster: &Cluster,
    prepared: &[Arc<Prepared>],
    report: &mut Report,
    keep_profile: bool,
) -> Result<(), RestoreError> {
    for prepared in prepared {
        let topic = &prepared.place.topic;
        let mut journal = prepared.journal.lock().await;
        let done: Vec<&TopicReport> = report
            .topics
            .iter()
            .filter(|done| done.target == *topic)
            .collect();
        let mut findings: Vec<String> = note_complete(cluster, prepared, &mut journal, &done).await;
        findings.extend(nothing_to_do(prepared, &done));
        report.findings.append(&mut findings);
        if let Some(reason) = reason_to_keep(topic, &done, keep_profile) {
            if !journal.originals.is_empty() {
                report.findings.push(reason);
                continue;
            }
            // Nothing was changed: the journal is of use only to a next run, or to other processes.
            if prepared.shared || !is_complete(&done) {
                continue;
            }
        }
        let times: BTreeMap<i32, Times> = done
            .iter()
            .flat_map(|done| &done.partitions)
            .map(|partition| (partition.partition, Times::of(partition)))
            .collect();
        match put_back(cluster, topic, &journal.originals, &times).await {
            Ok(expirations) => {
                report.expirations.extend(expirations);
                if let Err(error) = prepared.place.rest(cluster, &journal).await {
                    report.findings.push(format!(
                        "{topic}: its journal is not needed any more as it is and cannot be changed: {error}"
                    ));
                }
            }
            Err(error) => {
                report.findings.push(format!(
                    "{topic} cannot be given its own configuration back: {error}"
                ));
                report
                    .to_do
                    .push(put_back_command(cluster, topic, &journal.originals));
            }
        }
    }
    Ok(())
}

/// Notes where the records stand that were put behind others, in the partitions where they are complete: whoever writes
/// there from now on, the same restore will not take that for its own, nor add its records again.
async fn note_complete(
    cluster: &Cluster,
    prepared: &Prepared,
    journal: &mut Journal,
    done: &[&TopicReport],
) -> Vec<String> {
    if !journal.append {
        return Vec::new();
    }
    let complete = done
        .iter()
        .flat_map(|done| &done.partitions)
        .filter(|partition| partition.outcome == Outcome::Complete && !partition.exact);
    let mut ranges: Vec<(i32, i64, i64)> = Vec::new();
    for partition in complete {
        let number = partition.partition;
        let known = prepared
            .appended(number)
            .filter(|_| journal.base(number).is_none());
        let (start, end) = known.unwrap_or_else(|| {
            let start = journal.base(number).unwrap_or(0);
            (start, start)
        });
        let added = partition.target_range.map(|(_, last)| last + 1);
        ranges.push((number, start, added.or(partition.resumed_at).unwrap_or(end)));
    }
    let before = journal.clone();
    journal.complete(&prepared.choice, ranges);
    match prepared.place.keep_bases(cluster, journal).await {
        Ok(()) => Vec::new(),
        Err(error) => {
            // As it was it still keeps the same restore from adding its records again.
            *journal = before;
            vec![format!(
                "{}: where the records end that were put behind others could not be noted ({error}). If the same command \
                 is run again once others have written behind them, it will refuse to go on",
                prepared.place.topic
            )]
        }
    }
}

/// What is said where an earlier run had put everything there already.
fn nothing_to_do(prepared: &Prepared, done: &[&TopicReport]) -> Option<String> {
    let appended = prepared.appended.as_ref()?;
    let partitions = || done.iter().flat_map(|done| &done.partitions);
    let nothing_new = is_complete(done)
        && partitions()
            .all(|partition| partition.records == 0 && appended.range(partition.partition).is_some());
    nothing_new.then(|| super::already_there(&prepared.place.topic, &appended.completed))
}

fn is_complete(done: &[&TopicReport]) -> bool {
    done.iter()
        .flat_map(|done| &done.partitions)
        .all(|partition| partition.outcome == Outcome::Complete)
}

/// Why a topic keeps its restore profile, if it does.
fn reason_to_keep(topic: &str, done: &[&TopicReport], keep_profile: bool) -> Option<String> {
    let partitions = || done.iter().flat_map(|done| &done.partitions);
    let ends_it = format!("`kafka-restore topics finish -t {topic}` ends it");
    let unequal: Vec<String> = partitions()
        .filter(|partition| {
            partition
                .verified
                .as_ref()
                .is_some_and(|verified| !verified.equal)
        })
        .map(|partition| partition.partition.to_string())
        .collect();
    if !unequal.is_empty() {
        return Some(format!(
            "{topic} differs from its backup (partition {}) and keeps its restore profile, so that brokers delete and \
             compact nothing before somebody has looked at it; {ends_it}",
            unequal.join(", ")
        ));
    }
    if !is_complete(done) {
        return Some(format!(
            "{topic} keeps its restore profile until a restore of it is complete: run the same command again, or end it \
             with `kafka-restore topics finish -t {topic}`"
        ));
    }
    keep_profile.then(|| {
        format!(
            "{topic} keeps its restore profile (--keep-profile, or other processes still work on it); {ends_it}. \
             Its journal on the cluster lives as long as offsets of a group without members (offsets.retention.minutes, \
             7 days by default)"
        )
    })
}

/// Puts the originals back, and foretells what the brokers will do then.
async fn put_back(
    cluster: &Cluster,
    topic: &str,
    originals: &BTreeMap<String, Option<String>>,
    times: &BTreeMap<i32, Times>,
) -> Result<Vec<Expiration>, RestoreError> {
    if originals.is_empty() {
        return Ok(Vec::new());
    }
    let logs = forecast::log_ranges(cluster, topic).await?;
    let operations = originals.iter().map(|(name, original)| {
        let operation = match original {
            Some(original) => ConfigOperation::Set(original.clone()),
            None => ConfigOperation::Delete,
        };
        (name.clone(), operation)
    });
    change(cluster, topic, operations.collect()).await?;
    // Brokers learn of it one after the other.
    let mut retry = cluster.retry();
    let configs = loop {
        let configs = configs(cluster, topic).await?;
        let is_back = |(name, original): (&String, &Option<String>)| match (original, configs.get(name)) {
            (Some(original), Some(config)) => config.own && config.value == *original,
            (Some(_), None) => false,
            (None, config) => config.is_none_or(|config| !config.own),
        };
        if originals.iter().all(is_back) {
            break configs;
        }
        let stale = KafkaError::Broker {
            code: ResponseError::UnknownTopicOrPartition,
            what: "DescribeConfigs",
            resource: topic.to_owned(),
            message: Some("the configuration is not what was set a moment ago".to_owned()),
        };
        retry.pause(stale).await?;
    };
    forecast::expirations(cluster, topic, &configs, &logs, times).await
}

/// What became of a topic that an interrupted restore had left behind.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finished {
    /// The topic.
    pub topic: String,
    /// What was put back: the own value, or none for the brokers' default. None of all where no restore is unfinished.
    pub originals: Option<BTreeMap<String, Option<String>>>,
    /// What was known of records behind others was forgotten, as asked: the same restore would add them again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    /// What brokers will delete or compact now.
    pub expirations: Vec<Expiration>,
    /// Why the originals could not be put back, and the command that does it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Unfinished>,
}

/// A topic that stays as it is.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Unfinished {
    /// Why.
    pub error: String,
    /// What to do by hand: a command of Kafka's own tool.
    pub to_do: String,
}

/// Puts the configuration of topics back that an interrupted restore left in its profile: from the journals on the
/// cluster, or else from `file`. An empty list means all topics that have one. What the journals know of records that
/// were put behind others stays, unless it is to `forget` that too.
pub async fn finish_interrupted(
    cluster: &Cluster,
    topics: &[String],
    file: Option<&JournalFile>,
    forget: bool,
) -> Result<Vec<Finished>, RestoreError> {
    let mut names: BTreeSet<String> = topics.iter().cloned().collect();
    if names.is_empty() {
        let groups = cluster.list_groups().await?.groups;
        let journals = groups
            .iter()
            .filter_map(|group| group.id.strip_prefix(journal::GROUP_PREFIX));
        names.extend(journals.map(str::to_owned));
        if let Some(file) = file {
            names.extend(file.topics()?);
        }
    }
    let mut finished = Vec::with_capacity(names.len());
    for topic in names {
        finished.push(finish_one(cluster, topic, file, forget).await?);
    }
    if topics.is_empty() {
        finished.retain(|topic| topic.originals.is_some());
    }
    Ok(finished)
}

async fn finish_one(
    cluster: &Cluster,
    topic: String,
    file: Option<&JournalFile>,
    forget: bool,
) -> Result<Finished, RestoreError> {
    let found = match journal::read(cluster, &topic).await {
        Err(error) if error.is_missing_right() && file.is_some() => None,
        found => found?,
    };
    let found = match (found, file) {
        (None, Some(file)) => file.read(&topic)?,
        (found, _) => found,
    };
    let mut finished = Finished {
        topic,
        originals: None,
        forgotten: false,
        expirations: Vec::new(),
        failed: None,
    };
    let Some(found) = found else {
        return Ok(finished);
    };
    let place = Place {
        topic: finished.topic.clone(),
        partition: 0,
        file: file.cloned(),
    };
    finished.forgotten = forget && (found.append || !found.appended.is_empty());
    // It only tells what was put behind others.
    if !found.is_under_way() || found.append && found.originals.is_empty() {
        if forget {
            place.forget(cluster).await?;
        }
        return Ok(finished);
    }
    match put_back(cluster, &finished.topic, &found.originals, &BTreeMap::new()).await {
        Err(error) if error.is_retriable() => return Err(error),
        Err(error) => {
            finished.failed = Some(Unfinished {
                error: error.to_string(),
                to_do: put_back_command(cluster, &finished.topic, &found.originals),
            });
        }
        Ok(expirations) => {
            finished.expirations = expirations;
            match forget {
                true => place.forget(cluster).await?,
                false => place.rest(cluster, &found).await?,
            }
        }
    }
    finished.originals = Some(found.originals);
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Verified;
    use crate::report::PartitionReport;

    #[test]
    fn what_differs_keeps_its_profile_and_says_so() {
        let verified = |equal: bool| Verified {
            equal,
            records: 1,
            digest: String::new(),
            target_records: 1,
            target_digest: String::new(),
        };
        let mut topic = TopicReport {
            source: "orders".to_owned(),
            target: "orders".to_owned(),
            latest: None,
            partitions: (0..3).map(|number| PartitionReport::new(number, true)).collect(),
        };
        let reason = |topic: &TopicReport, keep| reason_to_keep("orders", &[topic], keep);
        assert_eq!(reason(&topic, false), None);
        topic.partitions[0].verified = Some(verified(true));
        assert_eq!(reason(&topic, false), None);
        assert!(reason(&topic, true).unwrap().contains("--keep-profile"));
        topic.partitions[1].outcome = Outcome::Interrupted;
        assert!(
            reason(&topic, false)
                .unwrap()
                .contains("until a restore of it is complete")
        );
        topic.partitions[2].verified = Some(verified(false));
        let said = reason(&topic, false).unwrap();
        assert!(
            said.contains("differs from its backup (partition 2)")
                && said.contains("topics finish -t orders"),
            "{said}"
        );
    }
}
