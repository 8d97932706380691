//! Where a partition's restore begins, or goes on: what stands in the target is held against the backup, and the place
//! behind it is found. Nothing but that decides what is written; a journal only tells where contiguous offsets began.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use backup::stream::{PartitionStream, StreamBlock};
use kafka::admin::OffsetSpec;
use kafka::error::KafkaError;
use kafka::fetch::{Isolation, PartitionFetcher};
use kafka::producer::settled_end;
use record::TopicPartition;

use crate::cut::Gaps;
use crate::error::RestoreError;
use crate::exact;
use crate::lockstep::{Lockstep, Placement};
use crate::offsets::OffsetMap;
use crate::partition::PartitionTask;
use crate::shared::Shared;

/// Offsets before the log end that are compared with the backup before anything is added.
const COMPARED_BEFORE_RESUME: i64 = 200;

/// The target's log before anything is added to it.
pub(crate) struct Log {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) next_sequence: i32,
}

/// How long the end of a log that holds something must not move before it is believed: a run that was killed may
/// still have requests on their way.
const QUIET_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn log_range(shared: &Shared, partition: &TopicPartition) -> Result<Log, RestoreError> {
    let asked = [partition.clone()];
    let start = match shared
        .cluster
        .list_offsets(&asked, OffsetSpec::Earliest)
        .await
        .pop()
    {
        Some((_, start)) => start?,
        None => return Err(RestoreError::Internal(format!("no answer about {partition}"))),
    };
    let settle = async |quiet| {
        let settling = settled_end(&shared.cluster, partition, Some(shared.identity), quiet);
        let timed_out = |_| KafkaError::TimedOut {
            what: format!("the log end of {partition} (replicas stay behind)"),
            addr: "its leader".to_owned(),
            after: shared.patience,
        };
        Ok::<_, RestoreError>(
            tokio::time::timeout(shared.patience, settling)
                .await
                .map_err(timed_out)??,
        )
    };
    let mut end = settle(None).await?;
    if end.offset > 0 {
        end = settle(Some(QUIET_TIME)).await?;
    }
    // A broker that knows nothing of this producer takes any first sequence number. Its position is the one that every
    // run of the same restore arrives at.
    let position = i32::try_from(end.offset & i64::from(i32::MAX)).unwrap_or(0);
    Ok(Log {
        start,
        end: end.offset,
        next_sequence: end.next_sequence.unwrap_or(position),
    })
}

/// Where a restore goes on: a place in the backup.
pub(crate) struct Start {
    /// The rest of a block, from this index on.
    pub(crate) rest: Option<(Arc<StreamBlock>, usize)>,
    pub(crate) stream: PartitionStream,
    /// The source offset that would leave no gap in exact mode.
    pub(crate) expected: i64,
    /// The target offset behind what earlier runs have put there.
    pub(crate) resumed: Option<i64>,
    /// The source offset at which the log is to begin in exact mode; `None` where there is nothing to restore.
    pub(crate) first: Option<i64>,
    /// The timestamp of the record there.
    pub(crate) first_timestamp: Option<i64>,
    /// The source offset of the last run of records without a gap, where gaps are filled and there is one before it.
    pub(crate) last_run: Option<i64>,
    /// Where what stands in the target already came from.
    pub(crate) offsets: OffsetMap,
}

/// Holds what stands in the target against the backup and finds the place behind it.
pub(crate) async fn begin(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<Start, RestoreError> {
    match task.exact {
        true => begin_exact(shared, task, log).await,
        false => begin_contiguous(shared, task, log).await,
    }
}

fn nothing_yet(shared: &Shared, task: &PartitionTask, log: &Log) -> Start {
    Start {
        rest: None,
        stream: task.stream(shared, None),
        expected: log.end,
        resumed: None,
        first: None,
        first_timestamp: None,
        last_run: None,
        offsets: OffsetMap::new(),
    }
}

async fn begin_exact(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<Start, RestoreError> {
    let mut start = nothing_yet(shared, task, log);
    if task.gaps == Gaps::Fill {
        start.last_run = exact::last_run(shared, task).await?;
    }
    // The first block says where the log begins; a fresh restore goes on with it.
    let first = start.stream.next().await?.map(Arc::new);
    let begins = first.as_ref().and_then(|block| block.begins());
    start.first = begins
        .map(|(offset, _)| offset)
        .or(task.log_start)
        .or(task.log_end);
    start.first_timestamp = begins.map(|(_, timestamp)| timestamp);
    if log.end == 0 {
        start.rest = first.map(|block| (block, 0));
        return Ok(start);
    }
    // Its memory is needed for the comparison.
    drop(first);
    let from = compared_from(task, log, 0, log.end);
    let backup = task.stream(shared, Some(from));
    let mut lockstep = lockstep(shared, task, backup, Placement::Exact, from..log.end);
    if task.gaps == Gaps::Fill {
        lockstep = lockstep.with_cleaned_target();
    }
    if let Some(difference) = lockstep.walk(from, log.end, 1, |_| {}).await?.differences.first() {
        return Err(foreign(task, difference.to_string()));
    }
    (start.rest, start.stream) = lockstep.into_backup().into_rest();
    start.resumed = Some(log.end);
    Ok(start)
}

async fn begin_contiguous(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<Start, RestoreError> {
    let number = task.target.partition;
    // What lies behind an earlier run's records, where that was complete, is no concern of this restore.
    let appended = task.topic.appended(number);
    let known = match appended {
        Some((start, _)) => Some(start),
        None => task.topic.base(number).await,
    };
    let base = match known {
        Some(base) => base,
        // Whatever it held was deleted before this restore began.
        None if log.start == log.end => {
            begins_here(shared, task, log).await?;
            log.end
        }
        None => 0,
    };
    let end = appended.map_or(log.end, |(_, end)| end);
    if log.end < end.max(base) {
        return Err(foreign(
            task,
            format!(
                "its log ends at {}, before {}, where {}",
                log.end,
                end.max(base),
                match appended {
                    Some(_) => "an earlier run of this restore ended",
                    None => "this restore began",
                }
            ),
        ));
    }
    if log.end == base && appended.is_none() {
        return Ok(nothing_yet(shared, task, log));
    }
    let mut start = nothing_yet(shared, task, log);
    let from = compared_from(task, log, base, end);
    let backup = task.stream(shared, None);
    let mut lockstep = lockstep(shared, task, backup, Placement::From(base), from..end);
    if appended.is_some() && task.topic.is_compacted().await {
        lockstep = lockstep.with_cleaned_target();
    }
    let walk = lockstep.walk(from, end, 1, |_| {}).await?;
    let more = end - base - lockstep.passed();
    let difference = match walk.differences.first() {
        Some(difference) => Some(difference.to_string()),
        None if more > 0 => Some(format!("it holds {more} more records than the backup")),
        None => None,
    };
    match difference {
        // What was there when the restore began was not ours, and now somebody says that it may stay.
        Some(_) if task.append && known.is_none() => {
            begins_here(shared, task, log).await?;
            return Ok(nothing_yet(shared, task, log));
        }
        Some(difference) if base > 0 => {
            return Err(foreign(
                task,
                format!("behind offset {base}, where this restore began, {difference}"),
            ));
        }
        Some(difference) => return Err(foreign(task, difference)),
        None => {}
    }
    if !task.records.is_latest() {
        start.offsets = lockstep.take_offsets();
    }
    let mut backup = lockstep.into_backup();
    if appended.is_some()
        && backup.fill().await?
        && let Some(next) = backup.current().map(|record| record.offset)
    {
        if log.end > end {
            return Err(RestoreError::Grown {
                partition: task.target.clone(),
                end,
                next,
            });
        }
        task.topic.reopen(&shared.cluster, number).await?;
    }
    (start.rest, start.stream) = backup.into_rest();
    start.resumed = Some(end);
    Ok(start)
}

/// Notes that this restore begins at the log's end as it is now.
async fn begins_here(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<(), RestoreError> {
    let number = task.target.partition;
    let kept = task.topic.set_base(&shared.cluster, number, log.end).await;
    // Without --append the next run refuses to go on, and nothing is written twice.
    if task.append { kept } else { Ok(()) }
}

/// Where the comparison begins of what stands from `base` up to `end`.
fn compared_from(task: &PartitionTask, log: &Log, base: i64, end: i64) -> i64 {
    let from = match task.verify_existing {
        true => log.start.max(base),
        false => log.start.max(base).max(end - COMPARED_BEFORE_RESUME),
    };
    // Of what retention has deleted nothing can be seen.
    from.min(end)
}

fn lockstep(
    shared: &Shared,
    task: &PartitionTask,
    backup: PartitionStream,
    placement: Placement,
    compared: Range<i64>,
) -> Lockstep {
    let fetcher = PartitionFetcher::new(
        shared.cluster.clone(),
        task.target.clone(),
        compared.start,
        compared.end,
        Isolation::ReadUncommitted,
    );
    Lockstep::new(backup, fetcher, placement, task.tolerance)
}

fn foreign(task: &PartitionTask, difference: String) -> RestoreError {
    RestoreError::Foreign {
        partition: task.target.clone(),
        difference,
    }
}
