//! Proves that a target holds a backup, record by record.
//!
//! Not a count: the backup's stream and what consumers get from the target are walked in lockstep, all partitions
//! side by side, and every field of every record is compared, as far as the backup's format can tell.

mod partition;

use std::sync::Arc;
use std::time::Instant;

use backup::inventory::NO_PARTITION;
use futures::stream::{self, StreamExt};
use kafka::cluster::Cluster;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::compare::Difference;
use crate::error::RestoreError;
use crate::execute::stream_context;
use crate::job::Job;
use crate::latest;
use crate::plan::{PartitionPlan, RestorePlan, TopicPlan, list_topics};
use crate::progress::{Event, Phase, Progress};
use crate::shared::{Counters, Ticker, Totals};
use partition::Comparing;

/// How thoroughly to compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// The differences of each partition that are kept; all are counted.
    pub limit: usize,
    /// The share of each partition's offsets that is compared, from 0 to 1; `None` is everything.
    pub sample: Option<f64>,
}

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
    /// Compacted topics: records that the log cleaner has dropped as it should, because a newer record of the same key
    /// lies behind them, because they were tombstones, or because they had no key.
    #[serde(default)]
    pub cleaned: u64,
    /// Compacted topics, of a sample: records that are not there, which may be the log cleaner's work or a loss. Only a
    /// comparison of everything tells.
    #[serde(default)]
    pub unproven: u64,
    /// What was looked at, where that is not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Why the partition could not be compared to its end.
    pub error: Option<String>,
}

/// The part of a partition that a sample has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Stretches of target offsets, first and last one each, ascending. The last stretch has gone on to the end of both
    /// sides.
    pub stretches: Vec<(i64, i64)>,
}

impl Sample {
    /// The offsets in all stretches.
    pub fn offsets(&self) -> u64 {
        let length = |(first, last): &(i64, i64)| (last - first + 1).unsigned_abs();
        self.stretches.iter().map(length).sum()
    }
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

/// Compares everything that `job` selects, or a sample of it, with its target.
pub async fn verify(
    job: &Job,
    depth: Depth,
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
    let partitions = compare(job, &plan, &cluster, depth, Arc::clone(&progress), cancel).await?;
    Ok(VerifyReport {
        version: VERIFY_VERSION,
        source: plan.source,
        elapsed_milliseconds: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        partitions,
    })
}

/// Compares what `plan` lists with its target.
async fn compare(
    job: &Job,
    plan: &RestorePlan,
    cluster: &Cluster,
    depth: Depth,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
) -> Result<Vec<PartitionVerdict>, RestoreError> {
    progress.report(&Event::Phase {
        phase: Phase::Verify,
        subject: plan.source.clone(),
    });
    let context = stream_context(job)?;
    let _latest = context.budget.hold(plan.latest.bytes);
    let _inventory = context.budget.hold(plan.inventory.memory());
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
    let mut comparing = Vec::new();
    for topic in &plan.topics {
        let is_compacted = partition::is_compacted(cluster, &topic.target).await;
        comparing.extend(topic.partitions.iter().map(|partition| Comparing {
            job,
            plan,
            topic,
            partition,
            is_compacted,
            cluster,
            context: &context,
            depth,
            counters: &counters,
        }));
    }
    let at_once = context.budget.partitions_at_once().max(1);
    let mut verdicts: Vec<PartitionVerdict> = stream::iter(comparing)
        .map(|comparing| {
            let (counters, cancel) = (&counters, &cancel);
            async move {
                let mut verdict = PartitionVerdict {
                    source: comparing.topic.source.clone(),
                    target: comparing.topic.target.clone(),
                    partition: comparing.partition.partition,
                    equal: 0,
                    different: 0,
                    differences: Vec::new(),
                    fillers: 0,
                    cleaned: 0,
                    unproven: 0,
                    sample: None,
                    error: None,
                };
                let compared = tokio::select! {
                    compared = comparing.compare(&mut verdict) => compared,
                    () = cancel.cancelled() => Err(RestoreError::Interrupted),
                };
                if let Err(error) = compared {
                    verdict.error = Some(error.to_string());
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
