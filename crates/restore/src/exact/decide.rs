//! Whether a topic gets its original offsets, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backup::stream::{PartitionStream, StreamContext, StreamOptions};
use futures::stream::{self, StreamExt};
use kafka::cluster::{Cluster, Operation, TopicMetadata};
use kafka::fetch::last_records;
use record::TopicPartition;

use super::cost::{self, ExactCost};
use super::gaps::{self, GapMethod};
use super::survey::{Survey, is_damage, survey};
use crate::compare::{Tolerance, content_difference, is_filler};
use crate::error::RestoreError;
use crate::execute::{source_context, stream_options};
use crate::job::{Job, OffsetMode, Resources};
use crate::journal;
use crate::plan::{Finding, PartitionPlan, RestorePlan, Severity, TopicPlan};

/// Partitions that are looked at side by side.
const SIDE_BY_SIDE: usize = 4;
/// Memory for looking at them.
const LOOKING_BYTES: usize = 32 << 20;
/// Records at the end of a log that tell how it was begun.
const TELLING_RECORDS: usize = 20;

/// Looks at both sides and settles `exact`, `offsets_reason` and the costs of every topic of `plan`.
pub(crate) async fn decide(job: &Job, cluster: &Cluster, plan: &mut RestorePlan) -> Result<(), RestoreError> {
    if job.target.offsets == OffsetMode::Map {
        for topic in &mut plan.topics {
            topic.exact = false;
        }
        return Ok(());
    }
    // Little of each object is wanted: what is read ahead of that would be read for nothing.
    let resources = Resources {
        memory: job.resources.memory.min(LOOKING_BYTES),
        ..job.resources.clone()
    };
    let context = source_context(&job.source, &resources)?;
    let targets: Vec<&str> = plan.topics.iter().map(|topic| topic.target.as_str()).collect();
    let metadata = cluster.topics(Some(&targets)).await?;
    let brokers = u32::try_from(cluster.brokers().len()).unwrap_or(1);
    let mut findings = Vec::new();
    for index in 0..plan.topics.len() {
        if plan.topics[index].latest.is_some() {
            let topic = &mut plan.topics[index];
            topic.exact = false;
            topic.offsets_reason = "one record per key, whose original partition is not known".to_owned();
            continue;
        }
        let topic = &plan.topics[index];
        let about = metadata.iter().find(|found| found.name == topic.target);
        let compacted = is_compacted(cluster, topic).await;
        // The log cleaner would turn hidden records at the end of a log into a reason to complain.
        let hides = job.target.hidden_records && !compacted;
        let stepping = gaps::probe(cluster, &topic.target, hides).await?;
        let mut surveys = surveys(job, &context, plan, topic, stepping).await?;
        warn_of_damage(&surveys, &mut findings);
        let method = if compacted { GapMethod::Cleaner } else { stepping };
        let begun = begun(job, cluster, &context, plan, topic, &surveys).await?;
        let existing = topic
            .create
            .is_none()
            .then(|| TopicPartition::new(topic.target.as_str(), 0));
        let round_trip = cost::round_trip(cluster, existing.as_ref()).await;
        let replicas = replicas(topic, about, brokers);

        let topic = &mut plan.topics[index];
        reach_log_ends(topic, &mut surveys, stepping, &mut findings);
        let mut sum = ExactCost::default();
        for partition in &mut topic.partitions {
            let Some(survey) = surveys.get(&partition.partition) else {
                continue;
            };
            let cost = cost::estimate(survey, method, partition.target_end, replicas, round_trip);
            sum = sum.plus(cost);
            partition.cost = Some(cost);
            partition.survey = Some(survey.clone());
        }
        topic.gaps = Some(method);
        topic.cost_basis = Some(cost::basis(method, round_trip));
        if method == GapMethod::Hidden && surveys.values().any(|survey| survey.missing_offsets > 0) {
            findings.push(Finding {
                severity: Severity::Warning,
                message: format!(
                    "{}: gaps will hold hidden records, as --hidden-records asks: kafka-python shows them, and whatever \
                     compresses batches anew on their way (a mirror, another compression.type) makes them visible",
                    topic.target
                ),
            });
        }
        let obstacle = obstacle(topic, about, method, &surveys);
        settle(job, topic, &begun, obstacle, sum, &mut findings);
        if compacted {
            warn_of_null_keys(topic, &surveys, &mut findings);
        }
    }
    plan.findings.append(&mut findings);
    Ok(())
}

async fn surveys(
    job: &Job,
    context: &StreamContext,
    plan: &RestorePlan,
    topic: &TopicPlan,
    stepping: GapMethod,
) -> Result<BTreeMap<i32, Survey>, RestoreError> {
    let options = stream_options(job, &topic.content.decoding);
    let mut surveys = BTreeMap::new();
    let mut running = stream::iter(&topic.partitions)
        .map(|partition| {
            let (options, number) = (&options, partition.partition);
            async move {
                let objects = plan.objects(&topic.source, number)?;
                let source = TopicPartition::new(topic.source.as_str(), number);
                // Where nothing can be done about offsets without records, it matters whether there are any at the end.
                let to_the_end = partition.log_end.is_some() && stepping == GapMethod::None;
                let survey = survey(context, &source, &objects, options, to_the_end).await?;
                Ok::<_, RestoreError>((number, survey))
            }
        })
        .buffer_unordered(SIDE_BY_SIDE);
    while let Some(surveyed) = running.next().await {
        let (number, survey) = surveyed?;
        surveys.insert(number, survey);
    }
    Ok(surveys)
}

/// Counts what is missing between the last records and the source's log ends as gaps, or leaves it out where nothing can
/// be done about it.
fn reach_log_ends(
    topic: &mut TopicPlan,
    surveys: &mut BTreeMap<i32, Survey>,
    method: GapMethod,
    findings: &mut Vec<Finding>,
) {
    let mut left_out = Vec::new();
    for partition in &mut topic.partitions {
        let (Some(end), Some(survey)) = (partition.log_end, surveys.get_mut(&partition.partition)) else {
            continue;
        };
        // Behind damage nobody knows what there was.
        if survey.damage.is_some() {
            continue;
        }
        let start = partition.log_start.map_or(end, |start| start.min(end));
        let from = survey.end_offset.unwrap_or(start);
        if end <= from && survey.end_offset.is_some() {
            continue;
        }
        let missing = (end - from).unsigned_abs();
        if missing > 0 && method == GapMethod::None {
            left_out.push(partition.partition);
            match survey.end_offset {
                Some(_) => {
                    partition.log_end = None;
                    continue;
                }
                // Fillers and a later beginning do it for a log without records.
                None => partition.log_start = Some(end),
            }
        } else {
            survey.missing_offsets += missing;
            survey.gaps += u64::from(missing > 0);
        }
        survey.first_offset = survey.first_offset.or(Some(partition.log_start.unwrap_or(end)));
        survey.end_offset = Some(end);
    }
    if !left_out.is_empty() {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "{}: the snapshot tells that the logs of partitions {left_out:?} ended behind their last records (after \
                 markers of transactions, for example), and this user may not write what fills such offsets: committed \
                 offsets there will lie beyond the end. Alter on the cluster, or Write on transactional ids, helps",
                topic.target
            ),
        });
    }
}

/// True where the topic is compacted, or was before a restore that is not finished.
async fn is_compacted(cluster: &Cluster, topic: &TopicPlan) -> bool {
    const POLICY: &str = "cleanup.policy";
    if let Some(new) = &topic.create {
        return new
            .configs
            .get(POLICY)
            .is_some_and(|policy| policy.contains("compact"));
    }
    let changed = topic.profile.iter().any(|change| change.name == POLICY);
    changed
        || matches!(journal::read(cluster, &topic.target).await,
            Ok(Some(journal)) if journal.originals.contains_key(POLICY))
}

fn replicas(topic: &TopicPlan, about: Option<&TopicMetadata>, brokers: u32) -> u32 {
    let existing = about
        .and_then(|topic| topic.partitions.first())
        .map(|first| first.replicas.len());
    let wished = topic.create.as_ref().and_then(|new| new.replication_factor);
    existing
        .and_then(|count| u32::try_from(count).ok())
        .or(wished.and_then(|factor| u32::try_from(factor).ok()))
        .unwrap_or(brokers.min(3))
}

/// How what stands in a topic was put there.
#[derive(Default)]
struct Begun {
    /// Partitions whose records stand at their source offsets.
    exact: BTreeSet<i32>,
    /// Partitions whose records do not.
    contiguous: BTreeSet<i32>,
}

async fn begun(
    job: &Job,
    cluster: &Cluster,
    context: &StreamContext,
    plan: &RestorePlan,
    topic: &TopicPlan,
    surveys: &BTreeMap<i32, Survey>,
) -> Result<Begun, RestoreError> {
    let mut begun = Begun::default();
    let options = stream_options(job, &topic.content.decoding);
    for partition in topic
        .partitions
        .iter()
        .filter(|partition| partition.target_end > 0)
    {
        if job.target.append {
            continue;
        }
        let number = partition.partition;
        let first = surveys.get(&number).and_then(|survey| survey.first_offset);
        let stands = stands_exact(cluster, context, plan, topic, partition, &options).await?;
        match stands {
            false => begun.contiguous.insert(number),
            // Up to the first gap, a partition that begins at 0 looks the same both ways.
            true if first == Some(0) && partition.target_start == 0 => false,
            true => begun.exact.insert(number),
        };
    }
    Ok(begun)
}

/// True where the last records of a partition of the target stand at the offsets that they have in the backup.
pub(crate) async fn stands_exact(
    cluster: &Cluster,
    context: &StreamContext,
    plan: &RestorePlan,
    topic: &TopicPlan,
    partition: &PartitionPlan,
    options: &StreamOptions,
) -> Result<bool, RestoreError> {
    let target = TopicPartition::new(topic.target.as_str(), partition.partition);
    let last = last_records(cluster, &target, partition.target_end, TELLING_RECORDS).await?;
    let mut records = last.iter().filter(|record| !is_filler(*record)).peekable();
    let Some(first) = records.peek().map(|record| record.offset) else {
        return Ok(true);
    };
    let mut options = options.clone();
    options.from_offset = options.from_offset.max(Some(first));
    options.rejected = None;
    let source = TopicPartition::new(topic.source.as_str(), partition.partition);
    let objects = plan.objects(&topic.source, partition.partition)?;
    let mut stream = PartitionStream::new(context, source, Arc::clone(&objects), options);
    let mut block = match stream.next().await {
        Err(error) if is_damage(&error) => return Ok(true),
        block => block?,
    };
    let tolerance = Tolerance {
        any_timestamp: Tolerance::of_own(&topic.content.decoding).any_timestamp,
        ..Tolerance::csv()
    };
    let mut index = 0;
    for record in records {
        loop {
            let Some(found) = &block else { return Ok(false) };
            if index == found.len() {
                drop(block.take());
                block = match stream.next().await {
                    // Up to the damage all is the same; the restore itself tells of it.
                    Err(error) if is_damage(&error) => return Ok(true),
                    block => block?,
                };
                index = 0;
            } else if found.get(index).offset < record.offset {
                index += 1;
            } else {
                break;
            }
        }
        let same = block.as_ref().is_some_and(|found| {
            let backup = found.get(index);
            backup.offset == record.offset && content_difference(backup, record, tolerance).is_none()
        });
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Why exact offsets are not possible, if they are not.
fn obstacle(
    topic: &TopicPlan,
    about: Option<&TopicMetadata>,
    method: GapMethod,
    surveys: &BTreeMap<i32, Survey>,
) -> Option<String> {
    let missing: u64 = surveys.values().map(|survey| survey.missing_offsets).sum();
    if method == GapMethod::None && missing > 0 {
        return Some(format!(
            "about {missing} offsets between its records have none, and this user may neither write transaction markers \
             (Alter on the cluster) nor use transactional ids (Write on kafka-restore-{}-*)",
            topic.target
        ));
    }
    let later = topic.partitions.iter().any(|partition| {
        let first = surveys
            .get(&partition.partition)
            .and_then(|survey| survey.first_offset);
        first.is_some_and(|first| first > 0 && partition.target_start < first)
    });
    let rights = about.and_then(|topic| topic.rights);
    let may = |operation| rights.is_none_or(|rights| rights.allow(operation));
    if later && !may(Operation::Delete) && !may(Operation::AlterConfigs) {
        return Some(format!(
            "its first offset is not 0, and this user may neither delete records of {0} (Delete on the topic) nor change \
             its retention (AlterConfigs on the topic)",
            topic.target
        ));
    }
    None
}

fn settle(
    job: &Job,
    topic: &mut TopicPlan,
    begun: &Begun,
    obstacle: Option<String>,
    sum: ExactCost,
    findings: &mut Vec<Finding>,
) {
    let limit = job.target.exact_limit;
    let costs = format!(
        "about {} and {} on disk for offsets without records",
        seconds(sum.seconds),
        bytes(sum.disk_bytes)
    );
    let too_dear = sum.seconds > limit.time.as_secs_f64() || sum.disk_bytes > limit.bytes;
    let contiguous = match begun.contiguous.is_empty() {
        true => None,
        false => Some(format!(
            "partitions {:?} of the target hold records at other offsets than the backup has them",
            begun.contiguous
        )),
    };
    let asked = job.target.offsets == OffsetMode::Exact;
    let mut error = |message: String| {
        findings.push(Finding {
            severity: Severity::Error,
            message,
        });
    };
    let target = &topic.target;
    if job.target.append {
        topic.exact = false;
        topic.offsets_reason = "records are added behind others".to_owned();
        if asked {
            error(format!(
                "{target}: --append puts records behind others, so they cannot keep their offsets"
            ));
        }
        return;
    }
    match (contiguous, obstacle) {
        (Some(contiguous), _) if asked || !begun.exact.is_empty() => {
            let advice = match begun.exact.is_empty() {
                true => "restore into another topic with --rename, delete it first, or say --offsets map",
                false => "and others at the same ones, so it is no beginning of one restore; delete it first",
            };
            topic.exact = asked;
            error(format!("{target}: {contiguous}; {advice}"));
        }
        (Some(contiguous), _) => {
            topic.exact = false;
            topic.offsets_reason = contiguous;
        }
        (None, Some(obstacle)) if asked || !begun.exact.is_empty() => {
            topic.exact = true;
            error(format!("{target} cannot get its original offsets: {obstacle}"));
        }
        (None, Some(obstacle)) => {
            topic.exact = false;
            topic.offsets_reason = format!("original ones are not possible: {obstacle}");
        }
        (None, None) if !asked && begun.exact.is_empty() && too_dear => {
            topic.exact = false;
            topic.offsets_reason = format!("original ones would cost {costs}, more than --exact-limit");
        }
        (None, None) if !asked && begun.exact.is_empty() && is_unsure(topic) => {
            topic.exact = false;
            topic.offsets_reason =
                "original ones need the right to step over gaps, should there be any: Alter on the \
                 cluster, or Write on transactional ids"
                    .to_owned();
        }
        (None, None) => {
            topic.exact = true;
            topic.offsets_reason = match (asked, begun.exact.is_empty()) {
                (true, _) => format!("as asked; {costs}"),
                (false, true) => costs.clone(),
                (false, false) => format!("the target was begun with them; {costs}"),
            };
            if asked && too_dear {
                findings.push(Finding {
                    severity: Severity::Warning,
                    message: format!("{}: original offsets cost {costs}", topic.target),
                });
            }
        }
    }
}

/// True where a gap would be the end, and nobody has seen that there is none.
fn is_unsure(topic: &TopicPlan) -> bool {
    let unseen = |partition: &PartitionPlan| {
        partition
            .survey
            .as_ref()
            .is_some_and(|survey| !survey.is_complete)
    };
    topic.gaps == Some(GapMethod::None) && topic.partitions.iter().any(unseen)
}

/// One partition's damage is no reason to stop the others.
fn warn_of_damage(surveys: &BTreeMap<i32, Survey>, findings: &mut Vec<Finding>) {
    for damage in surveys.values().filter_map(|survey| survey.damage.as_ref()) {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!("{damage}; this partition can be restored up to there"),
        });
    }
}

fn warn_of_null_keys(topic: &TopicPlan, surveys: &BTreeMap<i32, Survey>, findings: &mut Vec<Finding>) {
    let count: u64 = surveys.values().map(|survey| survey.null_keys).sum();
    if count > 0 {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "{} is compacted, and at least {count} records of the backup have no key: the log cleaner will drop them",
                topic.target
            ),
        });
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => "1 s".to_owned(),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e6 => format!("{:.0} KB", (bytes / 1e3).ceil()),
        bytes if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}
