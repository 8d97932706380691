//! Proves that a target holds a backup, record by record.
//!
//! Not a count: the backup's stream and what consumers get from the target are walked in lockstep, all partitions
//! side by side, and every field of every record is compared, as far as the backup's format can tell.

use std::sync::Arc;
use std::time::Instant;

use backup::inventory::NO_PARTITION;
use backup::stream::PartitionStream;
use futures::stream::{self, StreamExt};
use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use kafka::fetch::{Isolation, PartitionFetcher};
use record::TopicPartition;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::compare::{Difference, Tolerance};
use crate::error::RestoreError;
use crate::execute::{stream_context, stream_options};
use crate::job::{Job, OffsetMode};
use crate::latest;
use crate::lockstep::{Lockstep, Placement};
use crate::plan::{PartitionPlan, RestorePlan, TopicPlan, list_topics};
use crate::progress::{Event, Phase, Progress};
use crate::shared::{Counters, Ticker, Totals};

/// The version of the report's schema.
pub const VERIFY_VERSION: u32 = 1;

/// What a comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyReport {
    /// [`VERIFY_VERSION`].
    pub version: u32,
    /// Where the backup lies.
    pub source: String,
    /// How long it took, milliseconds.
    pub elapsed_milliseconds: u64,
    /// Each partition of each topic.
    pub partitions: Vec<PartitionVerdict>,
}

/// What the comparison of one partition found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionVerdict {
    /// The topic's name in the backup.
    pub source: String,
    /// The topic's name in the target.
    pub target: String,
    /// The partition.
    pub partition: i32,
    /// Records that are equal.
    pub equal: u64,
    /// Differences, all of them.
    pub different: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Null records that consumers still see at offsets without a record in the backup: before the first record where
    /// the log begins too early, between records where the log cleaner has not been there yet.
    #[serde(default)]
    pub fillers: u64,
    /// Why the partition could not be compared to its end.
    pub error: Option<String>,
}

impl VerifyReport {
    /// True where every partition was compared and is equal.
    pub fn is_equal(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.different == 0 && partition.fillers == 0 && partition.error.is_none())
    }

    /// True where some partition could not be compared.
    pub fn is_incomplete(&self) -> bool {
        self.partitions.iter().any(|partition| partition.error.is_some())
    }
}

/// Compares everything that `job` selects with its target; keeps `limit` differences of each partition.
pub async fn verify(
    job: &Job,
    limit: usize,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<VerifyReport, RestoreError> {
    let clock = Instant::now();
    let mut plan = list_topics(job, progress.as_ref()).await?;
    let cluster = Cluster::connect(job.target.cluster.clone()).await?;
    // Whatever else forbids a restore, what stands in the target can be compared.
    let is_placed = |topic: &TopicPlan| {
        let unplaced = |partition: &PartitionPlan| partition.partition == NO_PARTITION;
        topic.latest.is_some() || !topic.partitions.iter().any(unplaced)
    };
    if let Some(refusal) = plan.refusal().filter(|_| !plan.topics.iter().all(is_placed)) {
        return Err(RestoreError::Refused(refusal.message.clone()));
    }
    latest::settle_as_target(job, &cluster, &mut plan, progress.as_ref()).await?;
    let partitions = compare(job, &plan, &cluster, limit, Arc::clone(&progress), cancel).await?;
    Ok(VerifyReport {
        version: VERIFY_VERSION,
        source: plan.source,
        elapsed_milliseconds: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        partitions,
    })
}

/// Compares what `plan` lists with its target.
pub(crate) async fn compare(
    job: &Job,
    plan: &RestorePlan,
    cluster: &Cluster,
    limit: usize,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Vec<PartitionVerdict>, RestoreError> {
    progress.report(&Event::Phase {
        phase: Phase::Verify,
        subject: plan.source.clone(),
    });
    let context = stream_context(job)?;
    let _latest = context.budget.hold(plan.latest.bytes);
    let counters = Arc::new(Counters::default());
    let (objects, stored_bytes, partitions) = plan.totals();
    let _ticker = Ticker::start(
        progress,
        Arc::clone(&counters),
        Totals {
            objects,
            stored_bytes,
            partitions,
        },
    );
    let pairs = plan.topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(move |partition| (topic, partition.partition))
    });
    let at_once = context.budget.partitions_at_once().max(1);
    let mut verdicts: Vec<PartitionVerdict> = stream::iter(pairs)
        .map(|(topic, partition)| {
            let (context, counters, cancel) = (&context, &counters, &cancel);
            async move {
                let mut verdict = PartitionVerdict {
                    source: topic.source.clone(),
                    target: topic.target.clone(),
                    partition,
                    equal: 0,
                    different: 0,
                    differences: Vec::new(),
                    fillers: 0,
                    error: None,
                };
                let source = TopicPartition::new(topic.source.as_str(), partition);
                let target = TopicPartition::new(topic.target.as_str(), partition);
                let walking = async {
                    let records = plan.records(&topic.source, partition)?;
                    let placement = match records.is_latest() {
                        true => Placement::From(0),
                        false => placement(job),
                    };
                    let options = stream_options(job, &topic.content.decoding);
                    let backup = records.stream(context, source, options);
                    let tolerance = Tolerance::of(&topic.content);
                    walk(cluster, backup, target, placement, tolerance, limit, counters).await
                };
                let walked = tokio::select! {
                    walked = walking => walked,
                    () = cancel.cancelled() => Err(RestoreError::Interrupted),
                };
                match walked {
                    Ok(walk) => {
                        verdict.equal = walk.equal;
                        verdict.different = walk.different;
                        verdict.fillers = walk.fillers;
                        verdict.differences = walk.differences;
                    }
                    Err(error) => verdict.error = Some(error.to_string()),
                }
                Counters::add(&counters.partitions_done, 1);
                verdict
            }
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    verdicts.sort_by(|a, b| (&a.target, a.partition).cmp(&(&b.target, b.partition)));
    Ok(verdicts)
}

/// How target offsets relate to source offsets: as the job says, or as the target shows.
fn placement(job: &Job) -> Placement {
    match job.target.offsets {
        OffsetMode::Exact => Placement::Exact,
        OffsetMode::Map => Placement::From(0),
        OffsetMode::Auto => Placement::Either(0),
    }
}

async fn walk(
    cluster: &Cluster,
    backup: PartitionStream,
    target: TopicPartition,
    placement: Placement,
    tolerance: Tolerance,
    limit: usize,
    counters: &Counters,
) -> Result<crate::lockstep::Walk, RestoreError> {
    let partitions = [target.clone()];
    let offset = async |spec| match cluster.list_offsets(&partitions, spec).await.pop() {
        Some((_, offset)) => Ok(offset?),
        None => Err(RestoreError::Internal(format!("no answer about {target}"))),
    };
    let (start, end) = (
        offset(OffsetSpec::Earliest).await?,
        offset(OffsetSpec::Latest).await?,
    );
    let fetcher = PartitionFetcher::new(
        cluster.clone(),
        target.clone(),
        start,
        end,
        Isolation::ReadUncommitted,
    );
    // What retention or a person has deleted from the beginning of the target is missing there, so the walk starts
    // at 0 whatever the log start; and records of the backup that the target has no room for are missing too.
    let mut lockstep = Lockstep::new(backup, fetcher, placement, tolerance);
    let step = |records| Counters::add(&counters.records_done, records);
    lockstep.walk(0, i64::MAX, limit, step).await
}
