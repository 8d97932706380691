//! Restores one partition: from the objects of the backup to confirmed batches in the target.
//!
//! Two tasks work hand in hand, joined by a short queue that keeps the order: the *reader* takes blocks from the
//! stream, cuts them and starts their encoding; the *writer* (`writer`) gives the encoded batches to the producer and
//! notes what the brokers confirmed. A backup that ends in an error is restored up to there.

use std::sync::Arc;
use std::time::Duration;

use backup::stream::{CpuError, PartitionStream, StreamBlock, StreamOptions, StreamStatistics};
use kafka::admin::OffsetSpec;
use kafka::batch::EncodedBatch;
use kafka::error::KafkaError;
use kafka::fetch::{Isolation, PartitionFetcher};
use kafka::producer::settled_end;
use record::TopicPartition;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::compare::Tolerance;
use crate::cut::{Cutter, Gaps, Piece, Step};
use crate::digest::Digester;
use crate::encode::{Encoding, Unencoded};
use crate::error::RestoreError;
use crate::exact::{self, GapFiller, SmallSegments};
use crate::latest::Records;
use crate::lockstep::{Lockstep, Placement};
use crate::notes::notes;
use crate::offsets::OffsetMap;
use crate::report::{Outcome, PartitionReport};
use crate::shared::{Counters, Shared};
use crate::topics::Prepared;
use crate::writer::Writer;

/// Encoded batches that wait for the producer, per partition.
const ENCODED_AHEAD: usize = 3;

/// Offsets before the log end that are compared with the backup before anything is added.
const COMPARED_BEFORE_RESUME: i64 = 200;

/// Everything about one partition that does not change.
pub(crate) struct PartitionTask {
    pub(crate) source: TopicPartition,
    pub(crate) target: TopicPartition,
    pub(crate) records: Records,
    pub(crate) options: StreamOptions,
    pub(crate) exact: bool,
    /// What becomes of gaps between records, in exact mode.
    pub(crate) gaps: Gaps,
    /// How the log end is moved over offsets that nobody may see, in exact mode.
    pub(crate) gap_filler: GapFiller,
    /// Makes the log cleaner's work possible, where gaps are filled for it.
    pub(crate) segments: Arc<SmallSegments>,
    /// The source's log start, where it is known and there are no records.
    pub(crate) log_start: Option<i64>,
    /// The source's log end, where it is known: the offset behind everything that the target is to have, in exact mode.
    pub(crate) log_end: Option<i64>,
    /// Records may come behind others.
    pub(crate) append: bool,
    pub(crate) verify_existing: bool,
    /// What was written is read back and compared.
    pub(crate) verify: bool,
    pub(crate) tolerance: Tolerance,
    /// The topic, which knows where this restore began, and whose limit on the size of batches may have to be raised.
    pub(crate) topic: Arc<Prepared>,
    pub(crate) encoding: Arc<Encoding>,
}

impl PartitionTask {
    /// The backup's records, from source offset `from` on where it is given.
    pub(crate) fn stream(&self, shared: &Shared, from: Option<i64>) -> PartitionStream {
        let mut options = self.options.clone();
        options.from_offset = options.from_offset.max(from);
        self.records.stream(&shared.stream, self.source.clone(), options)
    }
}

/// Does it; errors are in the report.
pub(crate) async fn restore(shared: Arc<Shared>, task: Arc<PartitionTask>) -> PartitionReport {
    let mut report = PartitionReport::new(task.source.partition, task.exact);
    report.outcome = match run(&shared, &task, &mut report).await {
        Ok(()) => Outcome::Complete,
        Err(RestoreError::Interrupted) => Outcome::Interrupted,
        Err(error) => Outcome::Failed {
            error: describe(&error),
            retriable: error.is_retriable(),
        },
    };
    Counters::add(&shared.counters.partitions_done, 1);
    shared.interim.note(&task.target, &report);
    report
}

/// An error with its causes, in one line.
fn describe(error: &RestoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

async fn run(
    shared: &Arc<Shared>,
    task: &Arc<PartitionTask>,
    report: &mut PartitionReport,
) -> Result<(), RestoreError> {
    let log = log_range(shared, &task.target).await?;
    let start = begin(shared, task, &log).await?;
    report.resumed_at = start.resumed.then_some(log.end);
    report.first_offset = start.first;
    report.first_timestamp = start.first_timestamp;
    report.fillers_below = start.last_run;
    report.offsets = start.offsets.clone();
    if let Some(first) = start.first.filter(|first| log.start > *first) {
        report.notes.push(format!(
            "the log begins at offset {}: the records from offset {first} on were deleted from the target since they \
             were restored, by retention or by a person",
            log.start
        ));
    }

    let (sender, receiver) = mpsc::channel(ENCODED_AHEAD);
    let mut writer = Writer::new(shared, task, log.end, log.next_sequence, start.first, report);
    let reader = tokio::spawn(read(Arc::clone(shared), Arc::clone(task), start, log.end, sender));
    let written = writer.write(receiver).await;
    let digest = writer.into_digest();
    let (read, statistics) = reader
        .await
        .map_err(|error| RestoreError::Internal(error.to_string()))?;
    (report.first_time, report.last_time) = (statistics.first_time, statistics.last_time);
    report.objects = statistics.objects_done;
    report.duplicates = statistics.duplicates;
    report.conflicts = statistics.conflicts;
    report.rejected = statistics.rejected;
    report.suspicious_gaps = statistics.gaps.suspicious + u64::from(statistics.gaps.trouble_at_end.is_some());
    report.notes.extend(notes(&statistics));
    written?;
    read?;
    match digest {
        Some(digest) => read_back(shared, task, digest, report).await,
        None => Ok(()),
    }
}

/// Compares what the target gives back with what this run has sent, without reading the backup again.
async fn read_back(
    shared: &Shared,
    task: &PartitionTask,
    digest: Digester,
    report: &mut PartitionReport,
) -> Result<(), RestoreError> {
    let (start, end) = report
        .target_range
        .map_or((0, 0), |(first, last)| (first, last + 1));
    let verified = report
        .verified
        .insert(digest.read_back(shared, &task.target, start, end).await?);
    match verified.equal {
        true => Ok(()),
        false => Err(RestoreError::Unequal {
            partition: task.target.clone(),
            start,
        }),
    }
}

/// The target's log before anything is added to it.
struct Log {
    start: i64,
    end: i64,
    next_sequence: i32,
}

/// How long the end of a log that holds something must not move before it is believed: a run that was killed may
/// still have requests on their way.
const QUIET_TIME: Duration = Duration::from_secs(1);

async fn log_range(shared: &Shared, partition: &TopicPartition) -> Result<Log, RestoreError> {
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
struct Start {
    /// The rest of a block, from this index on.
    rest: Option<(Arc<StreamBlock>, usize)>,
    stream: PartitionStream,
    /// The source offset that would leave no gap in exact mode.
    expected: i64,
    resumed: bool,
    /// The source offset at which the log is to begin in exact mode; `None` where there is nothing to restore.
    first: Option<i64>,
    /// The timestamp of the record there.
    first_timestamp: Option<i64>,
    /// The source offset of the last run of records without a gap, where gaps are filled and there is one before it.
    last_run: Option<i64>,
    /// Where what stands in the target already came from.
    offsets: OffsetMap,
}

/// Holds what stands in the target against the backup and finds the place behind it.
async fn begin(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<Start, RestoreError> {
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
        resumed: false,
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
    let record = first.as_ref().and_then(|block| block.first());
    start.first = record
        .map(|record| record.offset)
        .or(task.log_start)
        .or(task.log_end);
    start.first_timestamp = record.map(|record| record.timestamp);
    if log.end == 0 {
        start.rest = first.map(|block| (block, 0));
        return Ok(start);
    }
    // Its memory is needed for the comparison.
    drop(first);
    let from = compared_from(task, log, 0);
    let backup = task.stream(shared, Some(from));
    let mut lockstep = lockstep(shared, task, log, backup, Placement::Exact, from);
    if task.gaps == Gaps::Fill {
        lockstep = lockstep.with_cleaned_target();
    }
    if let Some(difference) = lockstep.walk(from, log.end, 1, |_| {}).await?.differences.first() {
        return Err(foreign(task, difference.to_string()));
    }
    (start.rest, start.stream) = lockstep.into_backup().into_rest();
    start.resumed = true;
    Ok(start)
}

async fn begin_contiguous(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<Start, RestoreError> {
    let number = task.target.partition;
    let known = task.topic.base(number).await;
    let base = match known {
        Some(base) => base,
        // Whatever it held was deleted before this restore began.
        None if log.start == log.end => {
            begins_here(shared, task, log).await?;
            log.end
        }
        None => 0,
    };
    if log.end == base {
        return Ok(nothing_yet(shared, task, log));
    }
    if log.end < base {
        return Err(foreign(
            task,
            format!(
                "its log ends at {}, before {base}, where this restore began",
                log.end
            ),
        ));
    }
    let mut start = nothing_yet(shared, task, log);
    let from = compared_from(task, log, base);
    let backup = task.stream(shared, None);
    let mut lockstep = lockstep(shared, task, log, backup, Placement::From(base), from);
    let walk = lockstep.walk(from, log.end, 1, |_| {}).await?;
    let more = log.end - base - lockstep.passed();
    let difference = match walk.differences.first() {
        Some(difference) => Some(difference.to_string()),
        None if more > 0 => Some(format!("it holds {more} more records than the backup")),
        None => None,
    };
    match difference {
        // What was there when the restore began was not ours, and now somebody says that it may stay.
        Some(_) if task.append && known.is_none() => {
            begins_here(shared, task, log).await?;
            Ok(nothing_yet(shared, task, log))
        }
        Some(difference) if base > 0 => Err(foreign(
            task,
            format!("behind offset {base}, where this restore began, {difference}"),
        )),
        Some(difference) => Err(foreign(task, difference)),
        None => {
            if !task.records.is_latest() {
                start.offsets = lockstep.take_offsets();
            }
            (start.rest, start.stream) = lockstep.into_backup().into_rest();
            start.resumed = true;
            Ok(start)
        }
    }
}

/// Notes that this restore begins at the log's end as it is now.
async fn begins_here(shared: &Shared, task: &PartitionTask, log: &Log) -> Result<(), RestoreError> {
    let number = task.target.partition;
    let kept = task.topic.set_base(&shared.cluster, number, log.end).await;
    // Without --append the next run refuses to go on, and nothing is written twice.
    if task.append { kept } else { Ok(()) }
}

fn compared_from(task: &PartitionTask, log: &Log, base: i64) -> i64 {
    match task.verify_existing {
        true => log.start.max(base),
        false => log.start.max(base).max(log.end - COMPARED_BEFORE_RESUME),
    }
}

fn lockstep(
    shared: &Shared,
    task: &PartitionTask,
    log: &Log,
    backup: PartitionStream,
    placement: Placement,
    from: i64,
) -> Lockstep {
    let fetcher = PartitionFetcher::new(
        shared.cluster.clone(),
        task.target.clone(),
        from,
        log.end,
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

/// What the reader hands to the writer, in order.
pub(crate) enum Encoded {
    Batches(
        JoinHandle<Result<Result<Vec<EncodedBatch>, Unencoded>, CpuError>>,
        Vec<Piece>,
    ),
    Gap {
        first: i64,
        count: i64,
    },
    Roll {
        offset: i64,
    },
}

async fn read(
    shared: Arc<Shared>,
    task: Arc<PartitionTask>,
    start: Start,
    log_end: i64,
    sender: mpsc::Sender<Encoded>,
) -> (Result<(), RestoreError>, StreamStatistics) {
    let Start {
        mut rest,
        mut stream,
        mut expected,
        first,
        last_run,
        ..
    } = start;
    let mut steps = Vec::new();
    if let Some(first) = first.filter(|first| task.exact && *first > expected) {
        // Offsets before the first record have a way of their own: fillers that DeleteRecords takes away.
        steps.push(Step::Gap {
            first: expected,
            count: first - expected,
        });
        expected = first;
    }
    let gaps = if task.exact { task.gaps } else { Gaps::Close };
    let mut cutter = Cutter::new(gaps, expected).rolling_before(last_run);
    let result = async {
        let (mut objects, mut stored_bytes) = (0, 0);
        loop {
            if let Some((block, index)) = rest.take().filter(|(block, index)| *index < block.len()) {
                let first = block.get(index).offset;
                if task.exact && first < log_end {
                    return Err(RestoreError::Foreign {
                        partition: task.target.clone(),
                        difference: format!(
                            "its log ends at {log_end}, and the backup has a record for offset {first}"
                        ),
                    });
                }
                Counters::add(&shared.counters.records_read, (block.len() - index) as u64);
                cutter.push(block, index, task.encoding.batch_bytes(), &mut steps);
            }
            send(&shared, &task, &mut steps, &sender).await?;
            if shared.cancel.is_cancelled() {
                return Err(RestoreError::Interrupted);
            }
            let next = tokio::select! {
                next = stream.next() => next?,
                () = shared.cancel.cancelled() => return Err(RestoreError::Interrupted),
            };
            let now = stream.statistics();
            Counters::add(&shared.counters.objects_done, now.objects_done - objects);
            Counters::add(
                &shared.counters.stored_bytes_done,
                now.stored_bytes - stored_bytes,
            );
            (objects, stored_bytes) = (now.objects_done, now.stored_bytes);
            match next {
                Some(next) => rest = Some((Arc::new(next), 0)),
                None => return Ok(()),
            }
        }
    }
    .await;
    // Whatever ended the reading: what was read in order before is restored.
    cutter.finish(task.log_end.filter(|_| result.is_ok()), &mut steps);
    let sent = send(&shared, &task, &mut steps, &sender).await;
    (result.and(sent), stream.statistics().clone())
}

/// Starts the encoding of each step and queues it. An error says that the writer has stopped, which knows why.
async fn send(
    shared: &Shared,
    task: &Arc<PartitionTask>,
    steps: &mut Vec<Step>,
    sender: &mpsc::Sender<Encoded>,
) -> Result<(), RestoreError> {
    for step in steps.drain(..) {
        let encoded = match step {
            Step::Gap { first, count } => Encoded::Gap { first, count },
            Step::Roll { offset } => Encoded::Roll { offset },
            Step::Batch(pieces) => {
                let (encoding, work, cpu) = (
                    Arc::clone(&task.encoding),
                    pieces.clone(),
                    shared.stream.cpu.clone(),
                );
                let job = tokio::spawn(async move {
                    let encode = move || encoding.encode(&work);
                    cpu.run_first(encode).await
                });
                Encoded::Batches(job, pieces)
            }
        };
        if sender.send(encoded).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
