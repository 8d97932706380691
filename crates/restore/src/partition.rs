//! Restores one partition: from the objects of the backup to confirmed batches in the target.
//!
//! Two tasks work hand in hand, joined by a short queue that keeps the order: the *reader* takes blocks from the
//! stream, cuts them and starts their encoding; the *writer* gives the encoded batches to the producer and notes
//! what the brokers confirmed. A backup that ends in an error is restored up to there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::inventory::PartitionObjects;
use backup::stream::{CpuError, PartitionStream, StreamBlock, StreamOptions, StreamStatistics};
use kafka::admin::OffsetSpec;
use kafka::batch::{EncodeError, EncodedBatch, MAX_BATCH_RECORDS, filler_batch};
use kafka::error::KafkaError;
use kafka::fetch::{Isolation, PartitionFetcher};
use kafka::producer::{PartitionProducer, settled_end};
use record::{RecordBlock, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::compare::Tolerance;
use crate::cut::{Cutter, Gaps, Piece, Step};
use crate::encode::{Encoding, FILLER_TIMESTAMP};
use crate::error::RestoreError;
use crate::lockstep::{Lockstep, Placement};
use crate::offsets::OffsetMap;
use crate::report::{Outcome, PartitionReport};
use crate::shared::{Counters, Shared};

/// Encoded batches that wait for the producer, per partition.
const ENCODED_AHEAD: usize = 3;

/// Offsets before the log end that are compared with the backup before anything is added.
const COMPARED_BEFORE_RESUME: i64 = 200;

/// Everything about one partition that does not change.
pub(crate) struct PartitionTask {
    pub(crate) source: TopicPartition,
    pub(crate) target: TopicPartition,
    pub(crate) objects: Arc<PartitionObjects>,
    pub(crate) options: StreamOptions,
    pub(crate) exact: bool,
    /// What becomes of gaps behind the first record, in exact mode.
    pub(crate) gaps: Gaps,
    pub(crate) append: bool,
    pub(crate) verify_existing: bool,
    pub(crate) tolerance: Tolerance,
    pub(crate) encoding: Arc<Encoding>,
}

/// Does it; errors are in the report.
pub(crate) async fn restore(shared: Arc<Shared>, task: Arc<PartitionTask>) -> PartitionReport {
    let mut report = PartitionReport {
        partition: task.source.partition,
        outcome: Outcome::Complete,
        resumed_at: None,
        records: 0,
        payload_bytes: 0,
        source_range: None,
        target_range: None,
        exact: task.exact,
        missing_offsets: 0,
        gaps: 0,
        offsets: OffsetMap::new(),
        objects: 0,
        duplicates: 0,
        conflicts: 0,
        rejected: 0,
        notes: Vec::new(),
    };
    report.outcome = match run(&shared, &task, &mut report).await {
        Ok(()) => Outcome::Complete,
        Err(RestoreError::Interrupted) => Outcome::Interrupted,
        Err(error) => Outcome::Failed {
            error: describe(&error),
            retriable: error.is_retriable(),
        },
    };
    Counters::add(&shared.counters.partitions_done, 1);
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
    let start = begin(shared, task, log.start, log.end).await?;
    report.resumed_at = start.resumed.then_some(log.end);

    let (sender, receiver) = mpsc::channel(ENCODED_AHEAD);
    let mut writer = Writer {
        shared,
        task,
        producer: shared
            .producer
            .partition(task.target.clone(), log.end, log.next_sequence),
        position: log.end,
        pending: VecDeque::new(),
        report,
    };
    let reader = tokio::spawn(read(Arc::clone(shared), Arc::clone(task), start, log.end, sender));
    let written = writer.write(receiver).await;
    let (read, statistics) = reader
        .await
        .map_err(|error| RestoreError::Internal(error.to_string()))?;
    report.objects = statistics.objects_done;
    report.duplicates = statistics.duplicates;
    report.conflicts = statistics.conflicts;
    report.rejected = statistics.rejected;
    report.notes.extend(notes(&statistics));
    written?;
    read?;
    Ok(())
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
}

/// Holds what stands in the target against the backup and finds the place behind it.
async fn begin(
    shared: &Shared,
    task: &PartitionTask,
    log_start: i64,
    log_end: i64,
) -> Result<Start, RestoreError> {
    let stream = |from: Option<i64>| {
        let mut options = task.options.clone();
        options.from_offset = options.from_offset.max(from);
        PartitionStream::new(
            &shared.stream,
            task.source.clone(),
            Arc::clone(&task.objects),
            options,
        )
    };
    let fresh = |stream| Start {
        rest: None,
        stream,
        expected: log_end,
        resumed: false,
    };
    if log_start == log_end && (log_end == 0 || !task.exact) || task.append {
        return Ok(fresh(stream(None)));
    }
    let compared_from = if task.verify_existing {
        log_start
    } else {
        log_start.max(log_end - COMPARED_BEFORE_RESUME)
    };
    let (placement, backup) = if task.exact {
        (Placement::Exact, stream(Some(compared_from)))
    } else {
        (Placement::From(0), stream(None))
    };
    let fetcher = PartitionFetcher::new(
        shared.cluster.clone(),
        task.target.clone(),
        compared_from,
        log_end,
        Isolation::ReadUncommitted,
    );
    let mut lockstep = Lockstep::new(backup, fetcher, placement, task.tolerance);
    let walk = lockstep.walk(compared_from, log_end, 1, |_| {}).await?;
    let foreign = |difference: String| RestoreError::Foreign {
        partition: task.target.clone(),
        difference,
    };
    if let Some(difference) = walk.differences.first() {
        return Err(foreign(difference.to_string()));
    }
    if !task.exact && lockstep.passed() < log_end {
        let more = log_end - lockstep.passed();
        return Err(foreign(format!("it holds {more} more records than the backup")));
    }
    let (rest, stream) = lockstep.into_backup().into_rest();
    Ok(Start {
        rest,
        stream,
        expected: log_end,
        resumed: true,
    })
}

/// What a person should know of how a partition was read.
fn notes(statistics: &StreamStatistics) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            notes.push(format!("{count} {text}"));
        }
    };
    let sums = &statistics.notes;
    note(
        sums.empty_keys,
        "empty csv keys: each was null or empty, csv cannot tell (--csv-empty-key)",
    );
    note(
        sums.empty_values,
        "empty csv values: each was null or empty, csv cannot tell (--csv-empty-value)",
    );
    note(
        sums.json_texts,
        "keys and values were written anew as JSON: equivalent to the original, not identical",
    );
    note(sums.lone_surrogates, "strings with half of a surrogate pair");
    note(
        sums.numbered_objects,
        "objects without offsets: numbered from the name on, which is wrong behind a gap",
    );
    note(
        sums.guessed_objects,
        "objects whose fields or values had to be guessed (--connector-config says them)",
    );
    note(
        statistics.salvaged_objects,
        "objects stop early; others have the records that follow",
    );
    note(
        statistics.abandoned_objects,
        "objects could not be read to their end",
    );
    note(statistics.empty_objects, "objects are empty");
    note(
        statistics.replaced_objects,
        "objects were replaced while they were read",
    );
    note(
        statistics.gaps.suspicious,
        "gaps lie at an object that is cut short or empty: records may be lost there",
    );
    notes.extend(statistics.suspicions.list.iter().map(ToString::to_string));
    notes
}

/// What the reader hands to the writer, in order.
enum Encoded {
    Batches(
        JoinHandle<Result<Result<Vec<EncodedBatch>, EncodeError>, CpuError>>,
        Vec<Piece>,
    ),
    Gap {
        count: i64,
        first: i64,
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
        expected,
        resumed: _,
    } = start;
    let mut cutter = Cutter::new(if task.exact { task.gaps } else { Gaps::Close }, expected);
    let result = async {
        let mut steps = Vec::new();
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
                send(&shared, &task, &mut steps, &sender).await?;
            }
            if shared.cancel.is_cancelled() {
                return Err(RestoreError::Interrupted);
            }
            let asked = Instant::now();
            let next = tokio::select! {
                next = stream.next() => next?,
                () = shared.cancel.cancelled() => return Err(RestoreError::Interrupted),
            };
            Counters::add_time(&shared.counters.waiting_for_records_nanoseconds, asked);
            match next {
                Some(next) => rest = Some((Arc::new(next), 0)),
                None => return Ok(()),
            }
        }
    }
    .await;
    // Whatever ended the reading: what was read in order before is restored.
    let mut steps = Vec::new();
    cutter.finish(None, &mut steps);
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
            Step::Batch(pieces) => {
                let (encoding, work, cpu) = (
                    Arc::clone(&task.encoding),
                    pieces.clone(),
                    shared.stream.cpu.clone(),
                );
                let job = tokio::spawn(async move {
                    let encode = move || encoding.encode(&work);
                    cpu.run(encode).await
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

/// What has been given to the producer and is not confirmed yet.
struct Pending {
    /// The log end behind it.
    target_end: i64,
    records: u64,
    payload_bytes: u64,
    /// (source offset, target offset, length)
    runs: Vec<(i64, i64, i64)>,
}

struct Writer<'a> {
    shared: &'a Shared,
    task: &'a PartitionTask,
    producer: PartitionProducer,
    position: i64,
    pending: VecDeque<Pending>,
    report: &'a mut PartitionReport,
}

impl Writer<'_> {
    async fn write(&mut self, mut receiver: mpsc::Receiver<Encoded>) -> Result<(), RestoreError> {
        let result = self.write_all(&mut receiver).await;
        drop(receiver);
        // Also after an error: what was sent before may have been confirmed meanwhile.
        self.note_confirmed();
        result
    }

    async fn write_all(&mut self, receiver: &mut mpsc::Receiver<Encoded>) -> Result<(), RestoreError> {
        while let Some(encoded) = receiver.recv().await {
            match encoded {
                Encoded::Gap { first, count } => self.gap(first, count).await?,
                Encoded::Batches(job, pieces) => {
                    let batches = job
                        .await
                        .map_err(|error| RestoreError::Internal(error.to_string()))?
                        .map_err(|error| RestoreError::Internal(error.to_string()))?
                        .map_err(|error| RestoreError::Encode {
                            partition: self.task.target.clone(),
                            error,
                        })?;
                    self.batches(batches, &pieces).await?;
                }
            }
            self.note_confirmed();
        }
        self.producer.flush().await?;
        Ok(())
    }

    async fn batches(&mut self, batches: Vec<EncodedBatch>, pieces: &[Piece]) -> Result<(), RestoreError> {
        let mut pending = Pending {
            target_end: self.position,
            records: 0,
            payload_bytes: 0,
            runs: Vec::new(),
        };
        for piece in pieces {
            if let Piece::Records(block, range) = piece {
                runs_of(block, range.clone(), pending.target_end, &mut pending.runs);
                pending.records += range.len() as u64;
                pending.payload_bytes += match range.len() == block.len() {
                    true => block.payload_bytes() as u64,
                    false => range
                        .clone()
                        .map(|index| block.get(index).payload_bytes() as u64)
                        .sum(),
                };
            }
            pending.target_end += piece.offsets();
        }
        self.position = pending.target_end;
        self.pending.push_back(pending);
        let asked = Instant::now();
        for batch in batches {
            self.producer.append(batch).await?;
        }
        Counters::add_time(&self.shared.counters.waiting_for_brokers_nanoseconds, asked);
        Ok(())
    }

    /// Moves the log end over `count` offsets that have no record.
    async fn gap(&mut self, first: i64, count: i64) -> Result<(), RestoreError> {
        if self.report.source_range.is_none() && self.pending.is_empty() && self.report.resumed_at.is_none() {
            self.fill(first, count).await
        } else {
            self.producer.append_gap(count).await?;
            self.position += count;
            Ok(())
        }
    }

    /// Before the first record: batches of fillers, deleted at the end by moving the log start.
    async fn fill(&mut self, _first: i64, count: i64) -> Result<(), RestoreError> {
        let encode = |count: i64| {
            filler_batch(usize::try_from(count).unwrap_or(0), FILLER_TIMESTAMP).map_err(|error| {
                RestoreError::Encode {
                    partition: self.task.target.clone(),
                    error,
                }
            })
        };
        let full = encode(count.min(MAX_BATCH_RECORDS as i64))?;
        let mut left = count;
        while left > 0 {
            if self.shared.cancel.is_cancelled() {
                return Err(RestoreError::Interrupted);
            }
            let batch = if left >= MAX_BATCH_RECORDS as i64 {
                full.clone()
            } else {
                encode(left)?
            };
            left -= i64::from(batch.record_count());
            self.producer.append(batch).await?;
        }
        self.position += count;
        Ok(())
    }

    fn note_confirmed(&mut self) {
        let confirmed = self.producer.confirmed();
        while let Some(pending) = self
            .pending
            .pop_front_if(|pending| pending.target_end <= confirmed)
        {
            let report = &mut *self.report;
            report.records += pending.records;
            report.payload_bytes += pending.payload_bytes;
            for (source, target, length) in pending.runs {
                if let Some((_, last)) = report.source_range
                    && source > last + 1
                {
                    report.gaps += 1;
                    report.missing_offsets += (source - last - 1) as u64;
                }
                let extend = |range: Option<(i64, i64)>, first: i64| {
                    Some((range.map_or(first, |(start, _)| start), first + length - 1))
                };
                report.source_range = extend(report.source_range, source);
                report.target_range = extend(report.target_range, target);
                report.offsets.push(source, target, length);
            }
            Counters::add(&self.shared.counters.records_done, pending.records);
            Counters::add(&self.shared.counters.payload_bytes_done, pending.payload_bytes);
        }
    }
}

/// Appends the runs of consecutive source offsets in `block[range]`, whose first record goes to `target`.
fn runs_of(block: &RecordBlock, range: std::ops::Range<usize>, target: i64, runs: &mut Vec<(i64, i64, i64)>) {
    let mut target = target;
    let mut start = range.start;
    while start < range.end {
        let first = block.get(start).offset;
        let contiguous = |index: usize| block.get(index).offset - first == (index - start) as i64;
        let mut end = range.end;
        if !contiguous(range.end - 1) {
            let (mut low, mut high) = (start, range.end - 1);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if contiguous(middle) {
                    low = middle
                } else {
                    high = middle
                }
            }
            end = high;
        }
        let length = (end - start) as i64;
        runs.push((first, target, length));
        target += length;
        start = end;
    }
}
