//! Does what a plan says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use backup::format::Decoding;
use backup::stream::{CpuPool, DEFAULT_REQUESTS, MemoryBudget, StreamContext, StreamOptions};
use futures::stream::{self, StreamExt};
use kafka::batch::{BufferPool, Compression};
use kafka::cluster::Cluster;
use kafka::producer::{Producer, ProducerOptions};
use record::TopicPartition;
use tokio_util::sync::CancellationToken;

use crate::compare::Tolerance;
use crate::cut::Gaps;
use crate::encode::Encoding;
use crate::error::RestoreError;
use crate::job::{Job, Resources, Source};
use crate::partition::{self, PartitionTask};
use crate::plan::{RestorePlan, Severity, TopicPlan};
use crate::profile::Configs;
use crate::progress::{Event, Phase, Progress};
use crate::report::{Outcome, REPORT_VERSION, Report, Stages, TopicReport};
use crate::shared::{Counters, Shared, Ticker, Totals, snapshot};
use crate::topics::{self, Prepared};

/// Memory that one active partition needs beside the objects that it reads: blocks being cut, encoded and sent.
const PARTITION_BYTES: usize = 12 << 20;

/// Restores everything in `plan`. Partitions that fail do not stop the others; they are in the report.
///
/// After `cancel`, what is on its way is confirmed and the report says where each partition stands.
pub async fn execute(
    job: &Job,
    plan: &RestorePlan,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Report, RestoreError> {
    if let Some(refusal) = plan.refusal() {
        return Err(RestoreError::Refused(refusal.message.clone()));
    }
    let (started, clock) = (jiff::Timestamp::now(), Instant::now());
    let cluster = Cluster::connect(job.target.cluster.clone()).await?;
    let shared = share(job, cluster, Arc::clone(&progress), cancel).await?;

    progress.report(&Event::Phase {
        phase: Phase::Prepare,
        subject: plan.topics.len().to_string(),
    });
    let prepared = topics::prepare(&shared.cluster, &plan.topics).await?;

    progress.report(&Event::Phase {
        phase: Phase::Restore,
        subject: plan.source.clone(),
    });
    let (objects, stored_bytes, partitions) = plan.totals();
    let totals = Totals {
        objects,
        stored_bytes,
        partitions,
    };
    let ticker = Ticker::start(Arc::clone(&progress), Arc::clone(&shared.counters), totals);
    let topics = restore_all(job, plan, &prepared, &shared).await?;
    drop(ticker);
    progress.report(&Event::Advance(snapshot(&shared.counters, totals, clock)));

    let mut report = Report {
        version: REPORT_VERSION,
        started: started.to_string(),
        elapsed_milliseconds: 0,
        source: plan.source.clone(),
        topics,
        unmatched_objects: plan.unmatched_objects,
        findings: plan
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Warning)
            .map(|finding| finding.message.clone())
            .collect(),
        stages: stages(&shared),
    };
    if !job.target.topics.keep_profile {
        progress.report(&Event::Phase {
            phase: Phase::Finish,
            subject: plan.topics.len().to_string(),
        });
        topics::finish(&shared.cluster, &plan.topics, &prepared, &mut report).await?;
    }
    report.elapsed_milliseconds = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

async fn share(
    job: &Job,
    cluster: Cluster,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Arc<Shared>, RestoreError> {
    let stream = stream_context(job)?;
    let identity = cluster.init_producer_id().await?;
    let options = ProducerOptions {
        identity: Some(identity),
        delivery_deadline: job.target.patience,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(cluster.clone(), options);
    let patience = job.target.patience;
    Ok(Arc::new(Shared {
        stream,
        cluster,
        producer,
        identity,
        patience,
        counters: Arc::default(),
        cancel,
        progress,
    }))
}

/// What the streams of all partitions share.
pub(crate) fn stream_context(job: &Job) -> Result<StreamContext, RestoreError> {
    source_context(&job.source, &job.resources)
}

/// What the streams of all partitions of `source` share.
pub(crate) fn source_context(source: &Source, resources: &Resources) -> Result<StreamContext, RestoreError> {
    let cpu = resources.jobs.map_or_else(CpuPool::per_core, CpuPool::new);
    let cpu = cpu.map_err(|error| RestoreError::Internal(format!("no thread can be started: {error}")))?;
    let budget = MemoryBudget::new(resources.memory);
    Ok(StreamContext::new(
        Arc::clone(&source.store),
        cpu,
        budget,
        DEFAULT_REQUESTS,
    ))
}

async fn restore_all(
    job: &Job,
    plan: &RestorePlan,
    prepared: &[Prepared],
    shared: &Arc<Shared>,
) -> Result<Vec<TopicReport>, RestoreError> {
    let mut tasks = Vec::new();
    let buffers = BufferPool::new();
    for (index, (topic, prepared)) in plan.topics.iter().zip(prepared).enumerate() {
        let encoding = encoding(
            job,
            topic,
            &prepared.configs,
            &shared.counters.encode_nanoseconds,
            &buffers,
        )?;
        for partition in &topic.partitions {
            tasks.push((
                index,
                Arc::new(task(
                    job,
                    plan,
                    topic,
                    partition.partition,
                    Arc::clone(&encoding),
                )?),
            ));
        }
    }
    // Big partitions first: the last one to end then ends soon after the others.
    tasks.sort_by_key(|(_, task)| std::cmp::Reverse(task.objects.bytes()));
    let at_once = (job.resources.memory / (2 * PARTITION_BYTES)).clamp(1, 64);

    let mut reports: Vec<TopicReport> = plan
        .topics
        .iter()
        .map(|topic| TopicReport {
            source: topic.source.clone(),
            target: topic.target.clone(),
            partitions: Vec::new(),
        })
        .collect();
    let mut running = stream::iter(tasks.into_iter().map(|(index, task)| {
        let shared = Arc::clone(shared);
        async move {
            let topic = task.target.topic.to_string();
            let report = tokio::spawn(partition::restore(Arc::clone(&shared), task)).await;
            if let Ok(report) = &report
                && report.outcome == Outcome::Complete
            {
                shared.progress.report(&Event::PartitionDone {
                    topic,
                    partition: report.partition,
                    records: report.records,
                });
            }
            (index, report)
        }
    }))
    .buffer_unordered(at_once);
    while let Some((index, report)) = running.next().await {
        let report = report.map_err(|error| RestoreError::Internal(error.to_string()))?;
        reports[index].partitions.push(report);
    }
    for report in &mut reports {
        report.partitions.sort_by_key(|partition| partition.partition);
    }
    Ok(reports)
}

fn task(
    job: &Job,
    plan: &RestorePlan,
    topic: &TopicPlan,
    partition: i32,
    encoding: Arc<Encoding>,
) -> Result<PartitionTask, RestoreError> {
    Ok(PartitionTask {
        source: TopicPartition::new(topic.source.as_str(), partition),
        target: TopicPartition::new(topic.target.as_str(), partition),
        objects: plan.objects(&topic.source, partition)?,
        options: stream_options(job, &topic.content.decoding),
        exact: topic.exact,
        gaps: Gaps::Step,
        append: job.target.append,
        verify_existing: job.target.verify_existing,
        tolerance: Tolerance::default(),
        encoding,
    })
}

/// How the stream of a partition is read.
pub(crate) fn stream_options(job: &Job, decoding: &Arc<Decoding>) -> StreamOptions {
    let source = &job.source;
    StreamOptions {
        from_offset: source.records.from_offset,
        to_offset: source.records.to_offset,
        from_time: source.records.from_time,
        to_time: source.records.to_time,
        on_conflict: source.on_conflict,
        on_bad_record: source.on_bad_record,
        rejected: source.rejected.clone(),
        ..StreamOptions::new(Arc::clone(decoding))
    }
}

fn encoding(
    job: &Job,
    topic: &TopicPlan,
    configs: &Configs,
    busy: &Arc<AtomicU64>,
    buffers: &BufferPool,
) -> Result<Arc<Encoding>, RestoreError> {
    let config = |name: &str| configs.get(name).map(|config| config.value.as_str());
    let compression = match (job.target.compression, config("compression.type")) {
        (Some(compression), _) => compression,
        (None, None | Some("producer")) => Compression::None,
        (None, Some("uncompressed")) => Compression::None,
        (None, Some(name)) => name.parse().map_err(|_| {
            RestoreError::Refused(format!("{} has an unknown compression.type {name}", topic.target))
        })?,
    };
    // Brokers count the 12 bytes of base offset and length that precede a batch as part of it; so do we.
    let max_bytes = config("max.message.bytes")
        .and_then(|value| value.parse().ok())
        .unwrap_or(1_048_588);
    Ok(Arc::new(Encoding::new(
        compression,
        job.target.batch_bytes,
        max_bytes,
        buffers,
        busy,
    )))
}

fn stages(shared: &Shared) -> Stages {
    let counters = &shared.counters;
    Stages {
        waiting_for_records_seconds: Counters::seconds(&counters.waiting_for_records_nanoseconds),
        encode_seconds: std::time::Duration::from_nanos(counters.encode_nanoseconds.load(Ordering::Relaxed))
            .as_secs_f64(),
        waiting_for_brokers_seconds: Counters::seconds(&counters.waiting_for_brokers_nanoseconds),
        throttled_seconds: shared.producer.throttled().as_secs_f64(),
    }
}
