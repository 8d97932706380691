//! Once the records are there: logs begin where the source's did, and compacted topics lose their fillers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::admin::{ConfigChange, ConfigOperation, ConfigResource, OffsetSpec};
use kafka::batch::RawBatch;
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use kafka::scan::scan_batches;
use record::{RecordBlock, TopicPartition};
use tokio::time::{Instant, sleep};

use crate::error::RestoreError;
use crate::progress::Event;
use crate::report::{Outcome, Report, TopicReport};
use crate::shared::Shared;
use crate::topics::Prepared;

/// Records up to an hour after 1970 began count as fillers for retention; no others are that old.
const FILLER_AGE_MS: i64 = 3_600_000;
/// Brokers look for segments to delete every 5 minutes by default.
const RETENTION_PATIENCE: Duration = Duration::from_secs(7 * 60);
/// How long the log cleaner gets at least, and more for each million offsets that were filled.
const CLEANER_PATIENCE: Duration = Duration::from_secs(180);
const CLEANER_PATIENCE_PER_MILLION: Duration = Duration::from_secs(1);
/// How often it is said that something is waited for.
const NOTICES: Duration = Duration::from_secs(15);

/// Deletes what lies before `first`. A missing right is no error here: [`begin_logs`] comes back to it.
pub(crate) async fn trim(
    shared: &Shared,
    partition: &TopicPartition,
    first: i64,
) -> Result<(), RestoreError> {
    for ((partition, _), outcome) in shared.cluster.delete_records(&[(partition.clone(), first)]).await {
        match outcome {
            Ok(_) => {}
            Err(error) if is_forbidden(&error) => {
                tracing::info!(%partition, %error, "the fillers cannot be deleted with DeleteRecords");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_forbidden(error: &KafkaError) -> bool {
    matches!(
        error.code(),
        Some(
            ResponseError::TopicAuthorizationFailed
                | ResponseError::ClusterAuthorizationFailed
                | ResponseError::PolicyViolation
        )
    )
}

/// Makes the logs of all partitions with exact offsets begin at their first record, and sees that they do.
pub(crate) async fn begin_logs(shared: &Shared, report: &mut Report) -> Result<(), RestoreError> {
    for index in 0..report.topics.len() {
        let topic = &report.topics[index];
        let wanted: Vec<(TopicPartition, i64)> = topic
            .partitions
            .iter()
            .filter(|partition| partition.exact && partition.outcome == Outcome::Complete)
            .filter_map(|partition| {
                let at = TopicPartition::new(topic.target.as_str(), partition.partition);
                Some((at, partition.first_offset?))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let later: Vec<_> = wanted.iter().filter(|(_, first)| *first > 0).cloned().collect();
        let mut forbidden = Vec::new();
        for ((partition, first), outcome) in shared.cluster.delete_records(&later).await {
            match outcome {
                Ok(_) => {}
                Err(error) if is_forbidden(&error) => forbidden.push((partition, first)),
                Err(error) => return Err(error.into()),
            }
        }
        let mut findings = Vec::new();
        if !forbidden.is_empty()
            && let Some(finding) = delete_by_retention(shared, topic, &forbidden).await?
        {
            findings.push(finding);
        }
        let starts = log_starts(&shared.cluster, &wanted).await?;
        let topic = &mut report.topics[index];
        for partition in &mut topic.partitions {
            partition.log_start = starts.get(&partition.partition).copied();
        }
        let early: Vec<i32> = wanted
            .iter()
            .filter(|(at, first)| starts.get(&at.partition).is_some_and(|start| start < first))
            .map(|(at, _)| at.partition)
            .collect();
        if !early.is_empty() {
            findings.push(format!(
                "{}: the logs of partitions {early:?} still begin before their first record, so consumers that read from \
                 the beginning see null records with the timestamp 0 there. Run the same command again with Delete on \
                 the topic",
                topic.target
            ));
        } else if !later.is_empty() {
            findings.push(format!(
                "{}: its logs begin at their first records now. Brokers write that down once a minute; one that is \
                 killed before shows null records before them again. To be sure, look once more in a few minutes: \
                 `kafka-restore verify --offsets exact` with the same other options shows it, and the same restore \
                 command repairs it",
                topic.target
            ));
        }
        report.findings.extend(findings);
    }
    Ok(())
}

async fn log_starts(
    cluster: &Cluster,
    wanted: &[(TopicPartition, i64)],
) -> Result<BTreeMap<i32, i64>, RestoreError> {
    let partitions: Vec<_> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
    let mut starts = BTreeMap::new();
    for (partition, start) in cluster.list_offsets(&partitions, OffsetSpec::Earliest).await {
        starts.insert(partition.partition, start?);
    }
    Ok(starts)
}

/// Lets retention delete the fillers: they are stamped 1970, in segments of their own. Gives a sentence where that is
/// not possible.
async fn delete_by_retention(
    shared: &Shared,
    topic: &TopicReport,
    wanted: &[(TopicPartition, i64)],
) -> Result<Option<String>, RestoreError> {
    let old = |partition: i32| {
        let report = topic
            .partitions
            .iter()
            .find(|report| report.partition == partition);
        report.is_none_or(|report| report.first_timestamp.is_none_or(|first| first <= FILLER_AGE_MS))
    };
    let ancient: Vec<i32> = wanted
        .iter()
        .map(|(at, _)| at.partition)
        .filter(|partition| old(*partition))
        .collect();
    if !ancient.is_empty() {
        return Ok(Some(format!(
            "{}: this user may not delete records, and the first records of partitions {ancient:?} have timestamps as \
             old as the fillers before them, so retention cannot tell them apart",
            topic.target
        )));
    }
    let now = jiff::Timestamp::now().as_millisecond();
    let retention = |value: String| async {
        let change = ConfigChange {
            resource: ConfigResource::Topic(topic.target.clone()),
            changes: vec![("retention.ms".to_owned(), ConfigOperation::Set(value))],
        };
        let outcomes = shared.cluster.incremental_alter_configs(&[change], false).await;
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    };
    if let Err(error) = retention((now - FILLER_AGE_MS).to_string()).await {
        return Ok(Some(format!(
            "{}: this user may neither delete records nor change the topic's retention ({error})",
            topic.target
        )));
    }
    let deadline = Instant::now() + RETENTION_PATIENCE;
    let mut notice = Instant::now();
    let late = loop {
        let starts = log_starts(&shared.cluster, wanted).await?;
        let late = wanted
            .iter()
            .filter(|(at, first)| starts.get(&at.partition).is_some_and(|start| start < first))
            .count();
        if late == 0 || Instant::now() > deadline || shared.cancel.is_cancelled() {
            break late;
        }
        if Instant::now() >= notice {
            notice = Instant::now() + NOTICES;
            shared.progress.report(&Event::Notice {
                message: format!(
                    "{}: waiting for retention to delete the fillers of {late} partitions; brokers look every 5 minutes",
                    topic.target
                ),
            });
        }
        sleep(Duration::from_secs(1)).await;
    };
    retention("-1".to_owned()).await?;
    Ok((late > 0).then(|| {
        format!(
            "{}: retention has not deleted the fillers of {late} partitions in time",
            topic.target
        )
    }))
}

/// Gives compacted topics their own policy back and waits until the log cleaner has removed every filler, on every
/// replica. A topic that is not complete stays as it is.
pub(crate) async fn clean(
    shared: &Shared,
    prepared: &[Arc<Prepared>],
    report: &mut Report,
) -> Result<(), RestoreError> {
    for (index, prepared) in prepared.iter().enumerate() {
        let Some(topic) = report.topics.get(index) else {
            continue;
        };
        let filled: Vec<(TopicPartition, i64, i64)> = topic
            .partitions
            .iter()
            .filter_map(|partition| {
                let at = TopicPartition::new(topic.target.as_str(), partition.partition);
                Some((at, partition.first_offset?, partition.fillers_below?))
            })
            .collect();
        let complete = topic
            .partitions
            .iter()
            .all(|partition| partition.outcome == Outcome::Complete);
        if filled.is_empty() || !complete {
            continue;
        }
        let operation = match prepared.original("cleanup.policy").await {
            Some(policy) => ConfigOperation::Set(policy),
            None => ConfigOperation::Delete,
        };
        let change = ConfigChange {
            resource: ConfigResource::Topic(topic.target.clone()),
            changes: vec![("cleanup.policy".to_owned(), operation)],
        };
        for (_, outcome) in shared.cluster.incremental_alter_configs(&[change], false).await {
            outcome?;
        }
        let dirty = wait_for_cleaner(shared, &topic.target, &filled).await?;
        let target = topic.target.clone();
        report.findings.push(match dirty.is_empty() {
            true => format!(
                "{target}: the log cleaner has removed all null records from the gaps. It has also dropped versions of \
                 keys that were superseded before the last gap, as it would have in the source; tombstones before it \
                 stay for delete.retention.ms from now"
            ),
            false => format!(
                "{target}: the log cleaner has not yet removed the null records that fill its gaps: {}. Until then \
                 consumers see them. `kafka-restore verify --offsets exact` counts what is left; where the number stays, \
                 look at log.cleaner.enable and the brokers' log-cleaner.log",
                dirty.join(", ")
            ),
        });
    }
    Ok(())
}

/// Looks at every replica until none holds a filler below the last run. Gives those that still do.
async fn wait_for_cleaner(
    shared: &Shared,
    topic: &str,
    filled: &[(TopicPartition, i64, i64)],
) -> Result<Vec<String>, RestoreError> {
    let offsets: i64 = filled.iter().map(|(_, first, end)| end - first).sum();
    let millions = u32::try_from(offsets / 1_000_000).unwrap_or(u32::MAX);
    let patience = CLEANER_PATIENCE + CLEANER_PATIENCE_PER_MILLION.saturating_mul(millions);
    let deadline = Instant::now() + patience;
    let mut notice = Instant::now() + NOTICES;
    // (partition, broker, clean up to here, end)
    let mut open: Vec<(TopicPartition, i32, i64, i64)> = Vec::new();
    for metadata in shared.cluster.topics(Some(&[topic])).await? {
        for found in &metadata.partitions {
            for (partition, first, end) in filled.iter().filter(|(at, ..)| at.partition == found.partition) {
                let replicas = found.replicas.iter();
                open.extend(replicas.map(|broker| (partition.clone(), *broker, *first, *end)));
            }
        }
    }
    let replicas = open.len();
    loop {
        let mut left = Vec::new();
        for (partition, broker, from, end) in open {
            let seen = scan_batches(&shared.cluster, broker, &partition, from, end, |batch| {
                !has_filler(batch)
            })
            .await;
            let clean = match seen {
                // A replica that is behind shows nothing for a moment.
                Ok(clean) => clean,
                Err(error) => {
                    tracing::debug!(%partition, broker, %error, "a replica could not be looked at");
                    from
                }
            };
            if clean < end {
                left.push((partition, broker, clean, end));
            }
        }
        open = left;
        if open.is_empty() || Instant::now() > deadline || shared.cancel.is_cancelled() {
            break;
        }
        if Instant::now() >= notice {
            notice = Instant::now() + NOTICES;
            shared.progress.report(&Event::Notice {
                message: format!(
                    "{topic}: waiting for the log cleaner; {} of {replicas} replicas are clean",
                    replicas - open.len()
                ),
            });
        }
        sleep(Duration::from_secs(1)).await;
    }
    let place = |(partition, broker, ..): &(TopicPartition, i32, i64, i64)| {
        format!("partition {} on broker {broker}", partition.partition)
    };
    Ok(open.iter().map(place).collect())
}

/// True where a batch holds a record without a key, which compacted topics do not keep.
fn has_filler(batch: &RawBatch) -> bool {
    let header = batch.header();
    // Fewer records than offsets: the cleaner has written it anew.
    if header.is_control() || header.record_count <= header.last_offset_delta {
        return false;
    }
    let Ok(mut records) = batch.records() else {
        return false;
    };
    let mut block = RecordBlock::new();
    loop {
        block.clear();
        let more = records.read(&mut block, 64 << 10);
        if block.iter().any(|record| record.key.is_none()) {
            return true;
        }
        if !matches!(more, Ok(true)) {
            return false;
        }
    }
}
