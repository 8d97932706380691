//! Restores one partition: from the objects of the backup to confirmed batches in the target.
//!
//! Two tasks work hand in hand, joined by a short queue that keeps the order: the *reader* takes blocks from the
//! stream, cuts them and starts their encoding; the *writer* (`writer`) gives the encoded batches to the producer and
//! notes what the brokers confirmed. A backup that ends in an error is restored up to there.

use std::sync::Arc;

use backup::stream::{CpuJob, PartitionStream, StreamBlock, StreamOptions, StreamStatistics};
use kafka::batch::EncodedBatch;
use record::TopicPartition;
use tokio::sync::mpsc;

use crate::begin::{Start, begin, log_range};
use crate::compare::Tolerance;
use crate::cut::{Cutter, Gaps, Piece, Step};
use crate::digest::Digester;
use crate::encode::{Encoding, Unencoded};
use crate::error::RestoreError;
use crate::exact::{GapFiller, SmallSegments};
use crate::latest::Records;
use crate::notes::notes;
use crate::pack::Batches;
use crate::report::{Outcome, PartitionReport};
use crate::shared::{Counters, Shared};
use crate::topics::Prepared;
use crate::writer::Writer;

/// Encoded batches that wait for the producer, per partition.
const ENCODED_AHEAD: usize = 3;

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
    report.resumed_at = start.resumed;
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

/// What the reader hands to the writer, in order.
pub(crate) enum Encoded {
    Batches(CpuJob<Result<Vec<EncodedBatch>, Unencoded>>, Vec<Piece>),
    /// A block whose pack is its batches.
    Packed(Arc<StreamBlock>),
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
                let first = block.offset(index);
                if task.exact && first < log_end {
                    return Err(RestoreError::Foreign {
                        partition: task.target.clone(),
                        difference: format!(
                            "its log ends at {log_end}, and the backup has a record for offset {first}"
                        ),
                    });
                }
                Counters::add(&shared.counters.records_read, (block.len() - index) as u64);
                if index == 0 && block.pack::<Batches>().is_some() {
                    let records = block.len();
                    cutter.pass(block, first, records, &mut steps);
                } else {
                    cutter.push(block, index, task.encoding.batch_bytes(), &mut steps);
                }
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
            Step::Packed(block) => Encoded::Packed(block),
            Step::Batch(pieces) => {
                let (encoding, work) = (Arc::clone(&task.encoding), pieces.clone());
                let job = shared.stream.cpu.run_first(move || encoding.encode(&work));
                Encoded::Batches(job, pieces)
            }
        };
        if sender.send(encoded).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
