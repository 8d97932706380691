//! Gives one partition's batches and gaps to the producer, in order, and notes what the brokers confirmed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::stream::StreamBlock;
use kafka::batch::{EncodeError, EncodedBatch, MAX_BATCH_RECORDS, filler_batch};
use kafka::producer::PartitionProducer;
use record::RecordBlock;
use tokio::sync::mpsc;

use crate::cut::{Piece, end_of_run};
use crate::digest::Digester;
use crate::encode::{FILLER_TIMESTAMP, Unencoded};
use crate::error::RestoreError;
use crate::exact::measured::Way;
use crate::exact::{self, GapFiller};
use crate::interim::INTERVAL;
use crate::pack::Batches;
use crate::partition::{Encoded, PartitionTask};
use crate::progress::Event;
use crate::report::{Outcome, PartitionReport};
use crate::shared::{Counters, Shared};

/// The largest batch that brokers get by default in one request (`socket.request.max.bytes`, 100 MiB), as a power of two.
const LARGEST_BATCH: usize = 64 << 20;
/// When it is said how long filling takes: the first time, and then.
const FIRST_NOTICE: Duration = Duration::from_secs(3);
const NOTICES: Duration = Duration::from_secs(15);

/// What has been given to the producer and is not confirmed yet.
#[derive(Default)]
struct Pending {
    /// The log end behind it.
    target_end: i64,
    records: u64,
    payload_bytes: u64,
    /// (source offset, target offset, length)
    runs: Vec<(i64, i64, i64)>,
    /// Offsets without records among them.
    empty: u64,
}

/// See the module's documentation.
pub(crate) struct Writer<'a> {
    shared: &'a Shared,
    task: &'a PartitionTask,
    producer: PartitionProducer,
    /// The log end behind everything that was given to the producer, and the sequence number that belongs to it.
    position: i64,
    sequence: i32,
    /// Where the log is to begin.
    first: Option<i64>,
    /// What lies before that was deleted, as far as the brokers allow it.
    is_trimmed: bool,
    /// The topic's segments are kept small for this partition.
    is_rolling: bool,
    pending: VecDeque<Pending>,
    /// Of everything that was given to the producer, where it is to be read back.
    digest: Option<Digester>,
    /// When it was told last how far the partition is.
    noted: Instant,
    report: &'a mut PartitionReport,
}

impl<'a> Writer<'a> {
    /// A writer to a log that ends at `log_end`.
    pub(crate) fn new(
        shared: &'a Shared,
        task: &'a PartitionTask,
        log_end: i64,
        sequence: i32,
        first: Option<i64>,
        report: &'a mut PartitionReport,
    ) -> Self {
        let producer = shared.producer.partition(task.target.clone(), log_end, sequence);
        Self {
            shared,
            task,
            producer,
            position: log_end,
            sequence,
            first,
            is_trimmed: first.is_none_or(|first| first == 0),
            is_rolling: false,
            pending: VecDeque::new(),
            digest: task.verify.then(|| Digester::new(task.exact)),
            noted: Instant::now(),
            report,
        }
    }

    /// Writes everything that comes, until it is confirmed.
    pub(crate) async fn write(&mut self, mut receiver: mpsc::Receiver<Encoded>) -> Result<(), RestoreError> {
        let result = self.write_all(&mut receiver).await;
        drop(receiver);
        if result.is_err() {
            // What was sent before the error is in order. Where the producer itself has stopped, it says so at once.
            let _ = self.producer.flush().await;
        }
        self.note_confirmed();
        let settled = self.end_roll().await;
        result.and(settled)
    }

    async fn write_all(&mut self, receiver: &mut mpsc::Receiver<Encoded>) -> Result<(), RestoreError> {
        let clock = &self.shared.counters.clock;
        self.task.topic.follows_profile().await;
        loop {
            let asked = Instant::now();
            let next = receiver.recv().await;
            clock.waited_for_records(asked);
            let Some(encoded) = next else { break };
            match encoded {
                Encoded::Gap { first, count } => self.gap(first, count).await?,
                Encoded::Roll { offset } => self.roll(offset).await?,
                Encoded::Packed(block) => self.packed(&block).await?,
                Encoded::Batches(job, pieces) => {
                    let asked = Instant::now();
                    let batches = job.await;
                    clock.waited_for_encoding(asked);
                    let batches = batches.map_err(|error| RestoreError::Internal(error.to_string()))?;
                    self.encoded(batches, pieces).await?;
                    if self.is_rolling {
                        self.producer.flush().await?;
                        self.end_roll().await?;
                    }
                }
            }
            self.note_confirmed();
            self.trim().await?;
        }
        let asked = Instant::now();
        self.producer.flush().await?;
        clock.waited_for_brokers(asked);
        // Here too, as the backup may have ended in an error: then nobody else does it.
        self.trim().await
    }

    /// The digest of everything that was given to the producer, in the end.
    pub(crate) fn into_digest(mut self) -> Option<Digester> {
        self.digest.take()
    }

    async fn append(&mut self, batch: EncodedBatch) -> Result<(), RestoreError> {
        // Sequence numbers start again at 0 after 2^31 - 1.
        let next = i64::from(self.sequence) + i64::from(batch.record_count());
        self.sequence = i32::try_from(next & i64::from(i32::MAX)).unwrap_or(0);
        self.producer.append(batch).await?;
        Ok(())
    }

    /// Sends what `pieces` were encoded to. A record that needs a larger batch than the topic takes gets it.
    async fn encoded(
        &mut self,
        batches: Result<Vec<EncodedBatch>, Unencoded>,
        pieces: Vec<Piece>,
    ) -> Result<(), RestoreError> {
        let (mut batches, mut pieces) = (batches, pieces);
        loop {
            let Unencoded { before, error } = match batches {
                Ok(batches) => return self.batches(batches, &pieces).await,
                Err(unencoded) => unencoded,
            };
            let offsets = before.iter().map(|batch| i64::from(batch.record_count())).sum();
            let (first, rest) = split(pieces, offsets);
            self.batches(before, &first).await?;
            self.make_room(error).await?;
            pieces = rest;
            let (encoding, work) = (Arc::clone(&self.task.encoding), pieces.clone());
            let encoded = self.shared.stream.cpu.run(move || encoding.encode(&work)).await;
            batches = encoded.map_err(|error| RestoreError::Internal(error.to_string()))?;
        }
    }

    /// Raises the topic's limit so that the record of `error` fits, if that is what is wrong with it.
    async fn make_room(&mut self, error: EncodeError) -> Result<(), RestoreError> {
        let EncodeError::RecordTooLarge { size, limit, .. } = error else {
            return Err(self.unencodable(error));
        };
        // Rounded up: where one record is large, others are a little larger.
        let needed = size.max(limit + 1).checked_next_power_of_two();
        let Some(needed) = needed.filter(|needed| *needed <= LARGEST_BATCH) else {
            return Err(self.unencodable(error));
        };
        match self
            .task
            .topic
            .raise_max_message_bytes(&self.shared.cluster, needed)
            .await
        {
            Ok((findings, now)) if now >= needed => {
                self.report.notes.extend(findings);
                self.report.notes.push(format!(
                    "a record needs a batch of {size} bytes, and max.message.bytes of the topic was {limit}: it was \
                     raised to {now} for the time of the restore"
                ));
                self.task.encoding.raise_max_bytes(now);
                Ok(())
            }
            Err(refused) if refused.is_retriable() => Err(refused),
            Err(refused) => {
                tracing::info!(%refused, "max.message.bytes cannot be raised");
                Err(self.unencodable(error))
            }
            Ok(_) => Err(self.unencodable(error)),
        }
    }

    fn unencodable(&self, error: EncodeError) -> RestoreError {
        RestoreError::Encode {
            partition: self.task.target.clone(),
            error,
        }
    }

    async fn batches(&mut self, batches: Vec<EncodedBatch>, pieces: &[Piece]) -> Result<(), RestoreError> {
        let mut pending = Pending {
            target_end: self.position,
            ..Pending::default()
        };
        for piece in pieces {
            if let Piece::Records(block, range) = piece {
                runs_of(block, range.clone(), pending.target_end, &mut pending.runs);
                if let Some(digest) = &mut self.digest {
                    digest.add_range(block, range.clone(), pending.target_end);
                }
                pending.records += range.len() as u64;
                pending.payload_bytes += block.payload_bytes_of(range.clone()) as u64;
            }
            if let Piece::Filler { count, .. } = piece {
                pending.empty += count.unsigned_abs();
            }
            pending.target_end += piece.offsets();
        }
        self.give(batches, pending).await
    }

    /// Sends a block that was encoded when it was decoded.
    async fn packed(&mut self, block: &StreamBlock) -> Result<(), RestoreError> {
        let (Some(pack), Some((first, _))) = (block.pack::<Batches>(), block.begins()) else {
            return Err(RestoreError::Internal(
                "a block came without its batches".to_owned(),
            ));
        };
        let batches = pack.get().map_err(|error| self.unencodable(error))?;
        let records = block.len() as i64;
        let pending = Pending {
            target_end: self.position + records,
            records: records.unsigned_abs(),
            payload_bytes: block.payload_bytes() as u64,
            runs: vec![(first, self.position, records)],
            empty: 0,
        };
        self.give(batches, pending).await
    }

    /// Gives `batches` to the producer, which are what `pending` says.
    async fn give(&mut self, batches: Vec<EncodedBatch>, pending: Pending) -> Result<(), RestoreError> {
        self.position = pending.target_end;
        let payload_bytes = pending.payload_bytes;
        self.wait_for(pending);
        self.shared.pace.turn(payload_bytes).await;
        let asked = Instant::now();
        for batch in batches {
            self.append(batch).await?;
        }
        self.shared.counters.clock.waited_for_brokers(asked);
        Ok(())
    }

    /// Notes what is given to the producer now.
    fn wait_for(&mut self, pending: Pending) {
        if pending.empty > 0 {
            self.shared.counters.measured.begin(Way::Gaps);
        }
        self.pending.push_back(pending);
    }

    /// Moves the log end over `count` offsets from `first` on that have no record.
    async fn gap(&mut self, first: i64, count: i64) -> Result<(), RestoreError> {
        if self.first.is_some_and(|begin| first < begin) {
            let measured = &self.shared.counters.measured;
            measured.begin(Way::Prefix);
            let filled = self.fill(count).await;
            // What is confirmed was added while it went on.
            self.shared.counters.measured.end(Way::Prefix, 0);
            return filled;
        }
        match &self.task.gap_filler {
            GapFiller::Markers => {
                self.wait_for(Pending {
                    target_end: self.position + count,
                    empty: count.unsigned_abs(),
                    ..Pending::default()
                });
                self.producer.append_gap(count).await?;
                self.position += count;
            }
            GapFiller::Transactions(transactions) => {
                // Transactions go another way than batches, so each waits for the other.
                let from = self.producer.flush().await?;
                self.note_confirmed();
                let measured = &self.shared.counters.measured;
                measured.begin(Way::Gaps);
                let advanced = transactions.advance(&self.task.target, from, count).await;
                measured.end(Way::Gaps, if advanced.is_ok() { count.unsigned_abs() } else { 0 });
                advanced?;
                self.position = from + count;
                self.producer =
                    self.shared
                        .producer
                        .partition(self.task.target.clone(), self.position, self.sequence);
            }
            GapFiller::None => {
                return Err(RestoreError::Gap {
                    partition: self.task.target.clone(),
                    first,
                    count,
                });
            }
        }
        Ok(())
    }

    /// Before the first record: batches of fillers, which are deleted by moving the log start.
    async fn fill(&mut self, count: i64) -> Result<(), RestoreError> {
        let encode = |count: i64| {
            filler_batch(usize::try_from(count).unwrap_or(0), FILLER_TIMESTAMP).map_err(|error| {
                RestoreError::Encode {
                    partition: self.task.target.clone(),
                    error,
                }
            })
        };
        let mut most = count.min(MAX_BATCH_RECORDS as i64);
        let mut full = encode(most)?;
        while full.encoded_bytes() > self.task.encoding.max_bytes() && most > 1 {
            most /= 2;
            full = encode(most)?;
        }
        let (begun, from) = (Instant::now(), self.producer.confirmed());
        let mut told = begun;
        let mut left = count;
        let mut counted = from;
        while left > 0 {
            if self.shared.cancel.is_cancelled() {
                return Err(RestoreError::Interrupted);
            }
            // The first time as soon as the rate of this cluster shows, then now and then.
            let pause = if told == begun { FIRST_NOTICE } else { NOTICES };
            if told.elapsed() >= pause {
                told = Instant::now();
                self.tell_filling(begun, from, count);
            }
            let batch = if left >= most { full.clone() } else { encode(left)? };
            left -= i64::from(batch.record_count());
            self.append(batch).await?;
            self.count_filled(&mut counted);
        }
        self.position += count;
        self.producer.flush().await?;
        self.count_filled(&mut counted);
        if told > begun {
            self.report.notes.push(format!(
                "{count} offsets before the first record were filled in {:.0} s",
                begun.elapsed().as_secs_f64()
            ));
        }
        Ok(())
    }

    /// Counts what was confirmed since `counted`.
    fn count_filled(&self, counted: &mut i64) {
        let confirmed = self.producer.confirmed();
        let more = (confirmed - *counted).max(0).unsigned_abs();
        self.shared.counters.measured.add(Way::Prefix, more);
        *counted = confirmed;
    }

    /// How long filling will take yet, at the rate at which this cluster takes it.
    fn tell_filling(&self, begun: Instant, from: i64, count: i64) {
        let done = (self.producer.confirmed() - from).max(0);
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        let left = (count - done) as f64 / rate.max(1.0);
        self.shared.progress.report(&Event::Notice {
            message: format!(
                "{}: {done} of {count} offsets before the first record are filled; at {:.1} million a second, measured \
                 here, the rest takes {left:.0} s",
                self.task.target,
                rate / 1e6
            ),
        });
    }

    /// Deletes what lies before the first record once that is confirmed: the brokers' disks are free the earlier.
    async fn trim(&mut self) -> Result<(), RestoreError> {
        if let Some(first) = self.first.filter(|_| !self.is_trimmed)
            && self.producer.confirmed() > first
        {
            self.is_trimmed = true;
            exact::trim(self.shared, &self.task.target, first).await?;
        }
        Ok(())
    }

    /// Puts a filler at `offset` around which the log begins new segments.
    async fn roll(&mut self, _offset: i64) -> Result<(), RestoreError> {
        self.producer.flush().await?;
        self.note_confirmed();
        let missing = self.task.segments.shrink(self.shared).await?;
        self.report.notes.extend(missing);
        self.is_rolling = true;
        let filler = exact::segment_filler().map_err(|error| self.unencodable(error))?;
        self.append(filler).await?;
        self.position += 1;
        self.producer.flush().await?;
        Ok(())
    }

    async fn end_roll(&mut self) -> Result<(), RestoreError> {
        if std::mem::take(&mut self.is_rolling) {
            self.task.segments.restore(self.shared).await?;
        }
        Ok(())
    }

    fn note_confirmed(&mut self) {
        let confirmed = self.producer.confirmed();
        while let Some(pending) = self
            .pending
            .pop_front_if(|pending| pending.target_end <= confirmed)
        {
            if pending.empty > 0 {
                self.shared.counters.measured.end(Way::Gaps, pending.empty);
            }
            let report = &mut *self.report;
            report.records += pending.records;
            report.payload_bytes += pending.payload_bytes;
            for (source, target, length) in pending.runs {
                let extend = |range: Option<(i64, i64)>, first: i64| {
                    Some((range.map_or(first, |(start, _)| start), first + length - 1))
                };
                if self.task.records.is_latest() {
                    report.target_range = extend(report.target_range, target);
                    continue;
                }
                if let Some((_, last)) = report.source_range
                    && source > last + 1
                {
                    report.gaps += 1;
                    report.missing_offsets += (source - last - 1) as u64;
                }
                report.source_range = extend(report.source_range, source);
                report.target_range = extend(report.target_range, target);
                if !report.exact {
                    report.offsets.push(source, target, length);
                }
            }
            if let Some((first, last)) = report.source_range.filter(|_| report.exact) {
                report.offsets = crate::offsets::OffsetMap::identity(first, last + 1);
            }
            Counters::add(&self.shared.counters.records_done, pending.records);
            Counters::add(&self.shared.counters.payload_bytes_done, pending.payload_bytes);
        }
        if self.shared.interim.is_wanted() && self.noted.elapsed() >= INTERVAL {
            self.noted = Instant::now();
            let so_far = PartitionReport {
                outcome: Outcome::Interrupted,
                ..self.report.clone()
            };
            self.shared.interim.note(&self.task.target, &so_far);
        }
    }
}

impl Drop for Writer<'_> {
    /// What is not confirmed by now is under way no more.
    fn drop(&mut self) {
        for pending in self.pending.drain(..).filter(|pending| pending.empty > 0) {
            tracing::debug!(
                offsets = pending.empty,
                "offsets without records are not confirmed"
            );
            self.shared.counters.measured.end(Way::Gaps, 0);
        }
    }
}

/// The first `offsets` offsets of `pieces`, and the rest.
fn split(pieces: Vec<Piece>, offsets: i64) -> (Vec<Piece>, Vec<Piece>) {
    let mut left = offsets;
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for piece in pieces {
        let count = piece.offsets().min(left);
        left -= count;
        match piece {
            piece if count == piece.offsets() => first.push(piece),
            piece if count == 0 => rest.push(piece),
            Piece::Records(block, range) => {
                let middle = range.start + usize::try_from(count).unwrap_or(0);
                first.push(Piece::Records(Arc::clone(&block), range.start..middle));
                rest.push(Piece::Records(block, middle..range.end));
            }
            Piece::Filler {
                first: from,
                count: all,
            } => {
                first.push(Piece::Filler { first: from, count });
                rest.push(Piece::Filler {
                    first: from + count,
                    count: all - count,
                });
            }
        }
    }
    (first, rest)
}

/// Appends the runs of consecutive source offsets in `block[range]`, whose first record goes to `target`.
fn runs_of(block: &RecordBlock, range: Range<usize>, target: i64, runs: &mut Vec<(i64, i64, i64)>) {
    let mut target = target;
    let mut start = range.start;
    while start < range.end {
        let first = block.get(start).offset;
        let end = end_of_run(block, start..range.end);
        let length = (end - start) as i64;
        runs.push((first, target, length));
        target += length;
        start = end;
    }
}
