//! Does what a plan says.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use backup::format::Decoding;
use backup::stream::packing::Packing;
use backup::stream::{CpuPool, DEFAULT_REQUESTS, MemoryBudget, StreamContext, StreamOptions};
use futures::stream::{self, StreamExt};
use kafka::batch::{BufferPool, Compression};
use kafka::cluster::Cluster;
use kafka::producer::{Producer, ProducerIdentity, ProducerOptions};
use record::TopicPartition;
use tokio_util::sync::CancellationToken;

use crate::compare::Tolerance;
use crate::cut::Gaps;
use crate::encode::Encoding;
use crate::error::RestoreError;
use crate::exact::gaps::{self, GapMethod};
use crate::exact::measured::Measured;
use crate::exact::{self, GapFiller, SmallSegments};
use crate::interim::{self, Interim, Writing};
use crate::job::{Job, Resources, Source};
use crate::pace::Pace;
use crate::partition::{self, PartitionTask};
use crate::plan::{PartitionPlan, RestorePlan, Severity, TopicPlan};
use crate::profile::Configs;
use crate::progress::{Event, Phase, Progress};
use crate::report::{Outcome, REPORT_VERSION, Report, TopicReport};
use crate::shared::{Counters, Shared, Ticker, Totals, snapshot};
use crate::stages::{Clock, Stages};
use crate::topics::{self, Journals, Preparation, Prepared};

/// Memory that one active partition needs beside the blocks that it reads: batches being encoded, queued and sent.
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
    let mut config = job.target.cluster.clone();
    // From now on brokers may be away for as long as the run is patient, whatever they are asked.
    config.api_timeout = config.api_timeout.max(job.target.patience);
    let cluster = Cluster::connect(config).await?;
    let file = job.target.topics.journal.clone();
    let journals = Journals::read(&cluster, plan, job.resources.shard, file).await?;
    // The same producer in every run: what an earlier one still has on its way cannot be appended twice.
    let identity = match journals.producer() {
        Some(identity) => identity,
        None => cluster.init_producer_id().await?,
    };
    let has_gaps = plan.topics.iter().any(|topic| topic.exact);
    let markers = match has_gaps {
        true => Some(cluster.init_producer_id().await?),
        false => None,
    };
    let producers = (identity, markers);
    let shared = share(job, plan, cluster, producers, Arc::clone(&progress), cancel).await?;
    let _latest = shared.stream.budget.hold(plan.latest.bytes);
    let _inventory = shared.stream.budget.hold(plan.inventory.memory());

    progress.report(&Event::Phase {
        phase: Phase::Prepare,
        subject: plan.topics.len().to_string(),
    });
    let Preparation {
        topics: prepared,
        findings,
        to_do,
    } = topics::prepare(job, &shared.cluster, plan, &journals, identity).await?;

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
    let writing = job
        .target
        .interim_report
        .clone()
        .map(|path| Writing::start(path, interim_report(plan, started), shared.interim.clone()));
    let topics = restore_all(job, plan, &prepared, &shared).await;
    drop(ticker);
    if let Some(writing) = writing {
        writing.stop().await;
    }
    let topics = topics?;
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
            .chain(findings)
            .collect(),
        expirations: Vec::new(),
        to_do,
        unfinished: None,
        exact: shared.counters.measured.cost(),
        stages: Stages {
            connections_per_broker: shared.producer.connections(),
            ..shared
                .counters
                .clock
                .stages(clock.elapsed(), shared.producer.throttled())
        },
    };
    report.findings.extend(shared.counters.measured.over_limit());
    // Of several processes none knows when the last one is done.
    let alone = job.resources.shard.is_none_or(|shard| shard.count <= 1);
    progress.report(&Event::Phase {
        phase: Phase::Finish,
        subject: plan.topics.len().to_string(),
    });
    let keep_profile = !alone || job.target.topics.keep_profile;
    // What was restored is told whatever happens now.
    if let Err(error) = finish(&shared, &prepared, &mut report, keep_profile).await {
        report.unfinished = Some(error.to_string());
    }
    report.elapsed_milliseconds = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// The report of a restore that has not begun.
fn interim_report(plan: &RestorePlan, started: jiff::Timestamp) -> Report {
    let topic = |topic: &TopicPlan| TopicReport {
        source: topic.source.clone(),
        target: topic.target.clone(),
        latest: topic.latest.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| interim::not_begun(partition.partition, topic.exact))
            .collect(),
    };
    Report {
        version: REPORT_VERSION,
        started: started.to_string(),
        elapsed_milliseconds: 0,
        source: plan.source.clone(),
        topics: plan.topics.iter().map(topic).collect(),
        unmatched_objects: plan.unmatched_objects,
        findings: Vec::new(),
        expirations: Vec::new(),
        to_do: Vec::new(),
        unfinished: Some("the restore goes on, or was killed".to_owned()),
        exact: None,
        stages: Stages::default(),
    }
}

/// What is to be done once the records are there.
async fn finish(
    shared: &Shared,
    prepared: &[Arc<Prepared>],
    report: &mut Report,
    keep_profile: bool,
) -> Result<(), RestoreError> {
    exact::begin_logs(shared, report).await?;
    if !keep_profile {
        exact::clean(shared, prepared, report).await?;
    }
    topics::finish(&shared.cluster, prepared, report, keep_profile).await
}

async fn share(
    job: &Job,
    plan: &RestorePlan,
    cluster: Cluster,
    (identity, markers): (ProducerIdentity, Option<ProducerIdentity>),
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Arc<Shared>, RestoreError> {
    let stream = stream_context(job)?;
    let counters = Counters {
        clock: Clock::new(plan.listing, stream.clock()),
        measured: Measured::new(plan, job.target.exact_limit.time),
        ..Counters::default()
    };
    let options = ProducerOptions {
        identity: Some(identity),
        markers,
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
        pace: Pace::new(job.resources.rate_limit),
        patience,
        counters: Arc::new(counters),
        interim: Interim::new(job.target.interim_report.is_some()),
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
    prepared: &[Arc<Prepared>],
    shared: &Arc<Shared>,
) -> Result<Vec<TopicReport>, RestoreError> {
    let mut tasks = Vec::new();
    let buffers = BufferPool::new();
    for (index, (topic, prepared)) in plan.topics.iter().zip(prepared).enumerate() {
        let shape = shape(shared, topic, prepared).await?;
        let encoding = encoding(
            job,
            topic,
            &prepared.configs,
            prepared.original("compression.type").await,
            shape.gaps,
            shared.counters.clock.encoding(),
            &buffers,
        )?;
        for partition in &topic.partitions {
            tasks.push((
                index,
                Arc::new(task(
                    job,
                    plan,
                    topic,
                    partition,
                    &shape,
                    prepared,
                    Arc::clone(&encoding),
                )?),
            ));
        }
    }
    // Big partitions first: the last one to end then ends soon after the others.
    tasks.sort_by_key(|(_, task)| std::cmp::Reverse(task.records.weight()));
    let at_once = (job.resources.memory / (2 * PARTITION_BYTES)).clamp(1, 64);

    let mut reports: Vec<TopicReport> = plan
        .topics
        .iter()
        .map(|topic| TopicReport {
            source: topic.source.clone(),
            target: topic.target.clone(),
            latest: topic.latest.clone(),
            partitions: Vec::new(),
        })
        .collect();
    let mut running = stream::iter(tasks.into_iter().map(|(index, task)| {
        let shared = Arc::clone(shared);
        async move {
            // What is being encoded and sent counts in the budget, so that less is read ahead.
            let _sending = shared.stream.budget.hold(PARTITION_BYTES);
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

/// How the logs of a topic are built.
struct Shape {
    gaps: Gaps,
    filler: GapFiller,
    segments: Arc<SmallSegments>,
}

async fn shape(shared: &Shared, topic: &TopicPlan, prepared: &Prepared) -> Result<Shape, RestoreError> {
    let fills = topic.exact && prepared.is_compacted().await;
    let (gaps, method) = match (topic.exact, fills) {
        (false, _) => (Gaps::Close, GapMethod::None),
        // What is missing at the end is out of the log cleaner's reach.
        (true, true)
            if topic
                .partitions
                .iter()
                .all(|partition| partition.log_end.is_none()) =>
        {
            (Gaps::Fill, GapMethod::None)
        }
        (true, true) => (
            Gaps::Fill,
            gaps::probe(&shared.cluster, &topic.target, false).await?,
        ),
        (true, false) if topic.gaps == Some(GapMethod::Hidden) => {
            check_recompression(shared, topic).await?;
            (Gaps::Hide, GapMethod::Hidden)
        }
        (true, false) => (Gaps::Step, topic.gaps.unwrap_or(GapMethod::Markers)),
    };
    Ok(Shape {
        gaps,
        filler: GapFiller::open(method, &shared.cluster, &topic.target).await?,
        segments: Arc::new(SmallSegments::new(
            &topic.target,
            prepared.original("segment.bytes").await,
        )),
    })
}

/// Hidden records live in batches that are stored as they are sent.
async fn check_recompression(shared: &Shared, topic: &TopicPlan) -> Result<(), RestoreError> {
    let configs = topics::configs(&shared.cluster, &topic.target).await?;
    let codec = configs
        .get("compression.type")
        .map(|config| config.value.as_str());
    match codec {
        None | Some("producer" | "uncompressed") => Ok(()),
        Some(codec) => Err(RestoreError::Refused(format!(
            "{0}: its compression.type is {codec} and could not be changed for the time of the restore; brokers would \
             compress hidden records anew and so make them visible. Grant AlterConfigs on the topic, or set \
             compression.type=producer",
            topic.target
        ))),
    }
}

fn task(
    job: &Job,
    plan: &RestorePlan,
    topic: &TopicPlan,
    partition: &PartitionPlan,
    shape: &Shape,
    prepared: &Arc<Prepared>,
    encoding: Arc<Encoding>,
) -> Result<PartitionTask, RestoreError> {
    let number = partition.partition;
    let mut options = stream_options(job, &topic.content.decoding);
    // Where records are looked at again (to fill gaps between them, or for their digest) they stay as they are.
    if matches!(shape.gaps, Gaps::Close | Gaps::Step) && !job.target.verify {
        options.packing = Some(Arc::clone(&encoding) as Arc<dyn Packing>);
    }
    Ok(PartitionTask {
        source: TopicPartition::new(topic.source.as_str(), number),
        target: TopicPartition::new(topic.target.as_str(), number),
        records: plan.records(&topic.source, number)?,
        options,
        exact: topic.exact,
        gaps: shape.gaps,
        gap_filler: shape.filler.share(),
        segments: Arc::clone(&shape.segments),
        log_start: partition.log_start,
        log_end: partition.log_end,
        append: job.target.append,
        // What earlier runs have written was not read back by them.
        verify_existing: job.target.verify_existing || job.target.verify,
        verify: job.target.verify,
        tolerance: Tolerance::of_own(&topic.content.decoding),
        topic: Arc::clone(prepared),
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
    own_compression: Option<String>,
    gaps: Gaps,
    busy: &Arc<AtomicU64>,
    buffers: &BufferPool,
) -> Result<Arc<Encoding>, RestoreError> {
    let config = |name: &str| configs.get(name).map(|config| config.value.as_str());
    let own = own_compression.as_deref().or(config("compression.type"));
    let compression = match (job.target.compression, own) {
        _ if gaps == Gaps::Hide => Compression::None,
        (Some(compression), _) => compression,
        // Fillers between records are many and all alike.
        (None, None | Some("producer")) if gaps == Gaps::Fill => Compression::Zstd,
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
        gaps == Gaps::Hide,
        job.target.batch_bytes,
        max_bytes,
        buffers,
        busy,
    )))
}
