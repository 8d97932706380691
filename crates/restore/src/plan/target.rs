//! What the target tells: whether the topics are there, how far their logs reach, what has to be created or changed.

use kafka::cluster::Cluster;
use record::TopicPartition;

use super::{Finding, PartitionPlan, RestorePlan, Severity, TopicPlan};
use crate::error::RestoreError;
use crate::job::{Create, Job, OffsetMode};
use crate::latest;
use crate::logs;
use crate::profile;
use crate::progress::Progress;
use crate::topics;
use crate::wish::{self, KnownTopic};

/// Adds to the plan what the target is like, and what would be created there or changed.
pub(super) async fn examine(
    job: &Job,
    cluster: &Cluster,
    plan: &mut RestorePlan,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let existing = cluster.topics(None).await?;
    let known = wish::known(job, &plan.inventory, &mut plan.findings).await?;
    for index in 0..plan.topics.len() {
        let ready = plan.refusal().is_none();
        let topic = &mut plan.topics[index];
        let is_latest = topic.latest.is_some();
        let needed = topic
            .partitions
            .iter()
            .map(|partition| partition.partition + 1)
            .max()
            .unwrap_or(0);
        let Some(metadata) = existing.iter().find(|existing| existing.name == topic.target) else {
            plan_creation(
                job,
                topic,
                known.get(&topic.source),
                needed,
                cluster.brokers().len(),
                existing.iter().map(|topic| topic.name.as_str()),
                &mut plan.findings,
            );
            let count = topic.create.as_ref().map(|new| new.partitions);
            know_logs(job, topic, known.get(&topic.source), count.unwrap_or(0));
            if let Some(count) = count.filter(|_| is_latest && ready) {
                latest::settle(job, plan, index, count, progress).await?;
            }
            continue;
        };
        let count = i32::try_from(metadata.partitions.len()).unwrap_or(i32::MAX);
        if is_latest && ready {
            latest::settle(job, plan, index, count, progress).await?;
        }
        let topic = &mut plan.topics[index];
        let wished = job
            .target
            .topics
            .partitions
            .or(known.get(&topic.source).map(|known| known.partitions));
        plan_partitions(job, topic, count, needed, wished, &mut plan.findings);
        let planned = topic.add_partitions.unwrap_or(count);
        know_logs(job, topic, known.get(&topic.source), planned);
        let configs = topics::configs(cluster, &topic.target).await?;
        let differences =
            topics::differences(job, cluster, topic, known.get(&topic.source), planned, &configs).await;
        plan.findings.extend(differences);
        topic.profile = profile::changes(&configs, topic.needs_fillers());
        let there: Vec<_> = topic
            .partitions
            .iter()
            .map(|plan| plan.partition)
            .filter(|number| (0..count).contains(number))
            .map(|number| TopicPartition::new(topic.target.as_str(), number))
            .collect();
        let logs = logs::ranges(cluster, &there).await?;
        for partition in &mut topic.partitions {
            if let Some(range) = logs.get(&partition.partition) {
                (partition.target_start, partition.target_end) = *range;
            }
        }
    }
    Ok(())
}

/// Notes where the source's logs ended, and adds those of its partitions that left no objects, where original offsets are
/// wanted and nothing is left out behind them.
fn know_logs(job: &Job, topic: &mut TopicPlan, known: Option<&KnownTopic>, count: i32) {
    let (records, selection) = (&job.source.records, &job.source.selection);
    let is_cut = records.to_offset.is_some() || records.from_time.is_some() || records.to_time.is_some();
    if job.target.offsets == OffsetMode::Map || job.target.append || job.source.latest_state || is_cut {
        return;
    }
    let logs = known.map_or(&[][..], |known| &known.logs[..]);
    for (number, log) in (0..count).zip(logs) {
        let Some((start, end)) = log.filter(|(start, end)| *end > 0 && (0..=*end).contains(start)) else {
            continue;
        };
        let found = topic.partitions.iter_mut().find(|plan| plan.partition == number);
        match found {
            Some(partition) => partition.log_end = Some(end),
            None if !selection.has_partition(Some(number)) || records.from_offset.is_some() => {}
            None => topic.partitions.push(PartitionPlan {
                log_start: Some(start),
                log_end: Some(end),
                ..PartitionPlan::empty(number)
            }),
        }
    }
    topic.partitions.sort_by_key(|partition| partition.partition);
}

/// Contiguous offsets have nothing to do with where the source's logs ended.
pub(super) fn forget_logs(topic: &mut TopicPlan) {
    topic
        .partitions
        .retain(|partition| partition.objects > 0 || partition.log_end.is_none());
    for partition in &mut topic.partitions {
        partition.log_end = None;
    }
}

fn plan_creation<'a>(
    job: &Job,
    topic: &mut TopicPlan,
    known: Option<&KnownTopic>,
    needed: i32,
    brokers: usize,
    existing: impl Iterator<Item = &'a str>,
    findings: &mut Vec<Finding>,
) {
    let wishes = &job.target.topics;
    let target = &topic.target;
    if wishes.create == Create::Never {
        let near = near_names(target, existing);
        findings.push(Finding {
            severity: Severity::Error,
            message: format!("the cluster has no topic {target}{near}; create it, or let the restore do it with --create auto"),
        });
        return;
    }
    if topic.latest.is_some() && wishes.partitions.is_none() && known.is_none() {
        findings.push(Finding {
            severity: Severity::Error,
            message: format!(
                "the names of the objects of {} say no partition, so that nobody knows how many {target} had; say it with \
                 --partitions (keys go where producers put them among so many), or create the topic first",
                topic.source
            ),
        });
        return;
    }
    topic.create = Some(wish::creation(wishes, target, known, needed, brokers, findings));
}

/// A topic of `count` partitions gets as many as the backup needs, and as many as are wished for, if it may.
fn plan_partitions(
    job: &Job,
    topic: &mut TopicPlan,
    count: i32,
    needed: i32,
    wished: Option<i32>,
    findings: &mut Vec<Finding>,
) {
    if job.target.topics.add_partitions {
        let enough = needed.max(wished.unwrap_or(0));
        topic.add_partitions = Some(enough).filter(|enough| *enough > count);
        return;
    }
    if count >= needed {
        return;
    }
    let target = &topic.target;
    findings.push(Finding {
        severity: Severity::Error,
        message: format!(
            "{target} has {count} partitions and the backup has records for {needed}; add them with --add-partitions \
             (keys then map to other partitions for producers), or restore into another topic with --rename"
        ),
    });
}

/// `; did you mean X or Y?`, or nothing.
fn near_names<'a>(name: &str, existing: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<_> = existing
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, other)| {
            *distance <= 2.max(name.len() / 4) || other.contains(name) || name.contains(*other)
        })
        .collect();
    near.sort();
    match near
        .iter()
        .take(3)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => String::new(),
        names => format!(" (there is {})", names.join(", ")),
    }
}
