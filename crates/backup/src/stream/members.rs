//! Who takes part in the merge: objects are read ahead, join, give their records in order, and leave.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::budget::SourceAccount;
use super::cursor::{Cursor, Reference};
use super::merge::{BLOCKS_IN_SHARE, LEAST_BLOCK, MEMBER_BYTES, PartitionStream, Stop};
use super::object::{Failure, Item, ObjectSpec, ReadOptions, Source, Summary, footprint};
use super::options::{OnBadRecord, OnConflict, RejectedRecord};
use super::statistics::Suspicion;
use super::{Conflict, ConflictingRecord, StreamError, StreamErrorKind};
use crate::format::{ObjectError, ObjectHints, Rejected};

/// A stream that waits so long for the store has not read far enough ahead.
const SLOW_ANSWER: Duration = Duration::from_millis(20);

impl PartitionStream {
    /// Starts to read objects ahead: many tiny ones, or few large ones.
    pub(super) fn read_ahead(&mut self) {
        let streams = self.context.budget.partitions_now().max(1);
        let most_bytes = self.fair_share();
        let most_objects = (2 * self.context.requests.most() / streams).max(2);
        // A large merge needs its memory for its members; what is read ahead for it must be small.
        let crowded = self.members() > 8;
        while self.ahead.len() < most_objects {
            let index = self.next + self.ahead.len();
            if index >= self.end {
                return;
            }
            let bytes = self.ahead_footprint(index);
            let first = self.ahead.is_empty() && !crowded;
            if !first && (self.ahead_bytes + bytes > most_bytes || (crowded && bytes > MEMBER_BYTES)) {
                return;
            }
            let source = self.open(self.account.source(), index, self.context.budget.reserve());
            self.ahead_bytes += bytes;
            self.ahead.push_back(source);
        }
    }

    /// Memory that an object takes when it is decoded to its end before its turn comes. Few that are ready by then keep
    /// more cores busy than many that have only begun.
    fn ahead_footprint(&self, index: usize) -> usize {
        footprint(self.objects.size(index) / 2, self.context.budget.total() / 2)
    }

    /// Memory beyond the reserves that falls to one partition.
    fn fair_share(&self) -> usize {
        let budget = &self.context.budget;
        budget.total() / 2 / budget.partitions_now().max(1)
    }

    /// Starts to read an object that takes part from its beginning: as a borrower it would ask for too much.
    fn open_member(&self, index: usize, share: usize) -> Source {
        let account = self.account.source();
        account.promote();
        self.open(account, index, share)
    }

    fn open(&self, account: SourceAccount, index: usize, share: usize) -> Source {
        let object = self.objects.get(index);
        let spec = ObjectSpec {
            index,
            hints: ObjectHints {
                key: object.key.into_owned(),
                start_offset: object.start_offset,
                next_start_offset: (index + 1 < self.objects.len())
                    .then(|| self.objects.start_offset(index + 1))
                    .flatten(),
            },
            size: object.size,
            last_modified: object.last_modified,
        };
        let options = ReadOptions {
            decoding: self.options.decoding.clone(),
            block_bytes: self
                .options
                .block_bytes
                .min((share / BLOCKS_IN_SHARE).max(LEAST_BLOCK)),
            skip_bad: self.options.on_bad_record == OnBadRecord::Skip,
            packing: self
                .options
                .packing
                .clone()
                .filter(|_| !self.options.looks_at_times()),
        };
        Source::open(&self.context, account, spec, options)
    }

    pub(super) fn members(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn start_of(&self, index: usize) -> i64 {
        self.objects.start_offset(index).unwrap_or(i64::MIN)
    }

    /// The start offset of the next object to join.
    pub(super) fn next_start(&self) -> Option<i64> {
        (self.next < self.end).then(|| self.start_of(self.next))
    }

    /// Lets all objects join that may hold the next record. True where any did.
    pub(super) async fn admit(&mut self) -> Result<bool, StreamError> {
        let Some(start) = self.next_start() else {
            return Ok(false);
        };
        let limit = match self.heap.peek() {
            Some(Reverse((offset, ..))) if *offset < start => return Ok(false),
            Some(Reverse((offset, ..))) => *offset,
            None => start,
        };
        let member_bytes = |index| footprint(self.objects.size(index), MEMBER_BYTES);
        let mut until = self.next;
        let mut need = self.need;
        while until < self.end && self.start_of(until) <= limit {
            need = need.saturating_add(member_bytes(until));
            until += 1;
        }
        let members = self.members() + until - self.next;
        if members > 1 && need > self.account.reserve() {
            // Nobody will use these before the merge goes on, and the merge needs their memory.
            self.ahead_bytes = 0;
            Source::close_all(std::mem::take(&mut self.ahead)).await;
            // More than the least where there is enough, since longer ranges take fewer requests.
            let comfortable = members.saturating_mul(512 << 10).min(self.fair_share() / 2);
            let too_much = self.account.grow(need.max(comfortable)).await.err();
            if let Some(too_much) = too_much {
                let kind = StreamErrorKind::Memory {
                    objects: members,
                    needed: too_much.bytes,
                    available: too_much.most,
                };
                let object = self.objects.get(self.next);
                return Err(StreamError::new(&self.partition, &object.key, kind));
            }
        }
        self.account.set_members(members);
        let share = (self.account.reserve().max(self.fair_share()) / members).max(MEMBER_BYTES);
        let beside_others = members > 1;
        if beside_others {
            for cursor in self.slots.iter_mut().flatten() {
                self.statistics.overlapping_objects +=
                    u64::from(!std::mem::replace(&mut cursor.overlaps, true));
            }
        }
        for index in self.next..until {
            let source = match self.ahead.pop_front() {
                Some(source) => {
                    self.ahead_bytes -= self.ahead_footprint(index);
                    let bytes = footprint(self.objects.size(index), self.context.budget.reserve());
                    let too_wide = source.options.block_bytes > share / 2 && bytes > share;
                    if too_wide {
                        self.open_member(index, share)
                    } else {
                        source.account.promote();
                        source
                    }
                }
                None => self.open_member(index, share),
            };
            let need = footprint(self.objects.size(index), MEMBER_BYTES);
            self.need += need;
            let mut cursor = Cursor::new(source, need);
            cursor.overlaps = beside_others;
            self.statistics.overlapping_objects += u64::from(beside_others);
            let slot = match self.free.pop() {
                Some(slot) => {
                    self.slots[slot] = Some(cursor);
                    slot
                }
                None => {
                    self.slots.push(Some(cursor));
                    self.slots.len() - 1
                }
            };
            self.unloaded.push(slot);
        }
        self.next = until;
        Ok(true)
    }

    /// Takes an object out of the merge.
    fn leave(&mut self, slot: usize) {
        if let Some(cursor) = self.slots[slot].take() {
            self.need -= cursor.need;
            self.free.push(slot);
            self.account.set_members(self.members());
        }
    }

    // Members' next records.

    /// Finds the member's next record and puts the member in its place, or takes it out at its end. False where
    /// that would mean waiting and `may_wait` forbids it. Cancel-safe.
    pub(super) async fn load(&mut self, slot: usize, may_wait: bool) -> Result<bool, StreamError> {
        loop {
            if !self.check_late(slot).await? {
                return Ok(true);
            }
            let Some(cursor) = &mut self.slots[slot] else {
                return Ok(true);
            };
            if let Some(loaded) = &mut cursor.loaded {
                if let Some(from) = self.options.from_offset {
                    self.statistics.outside_offsets += loaded.skip_below(from) as u64;
                }
                if let Some(offset) = loaded.offset() {
                    let index = cursor.source.spec.index;
                    if self.last.is_some_and(|(last, _)| offset <= last) {
                        self.stop_out_of_order(slot, offset);
                    } else {
                        self.heap.push(Reverse((offset, 1, index, slot)));
                    }
                    return Ok(true);
                }
                cursor.unload();
            }
            let item = match cursor.source.try_next() {
                Some(item) => Some(item),
                None if !may_wait => return Ok(false),
                None => {
                    let store_before = cursor.source.waited_for_store();
                    let started = Instant::now();
                    let item = cursor.source.next().await;
                    let waited = started.elapsed();
                    let for_store = (cursor.source.waited_for_store() - store_before).min(waited);
                    self.context.clock.waited(waited, for_store);
                    if for_store >= SLOW_ANSWER && self.last.is_some() {
                        self.context.read_further_ahead();
                    }
                    self.statistics.waiting += waited;
                    self.statistics.waiting_for_store += for_store;
                    item
                }
            };
            match item {
                Some(Item::Block(block, facts)) => {
                    cursor.load(block, facts);
                    let late = cursor.loaded.as_ref().is_some_and(|loaded| loaded.late_end > 0);
                    if (late || facts.went_back) && !std::mem::replace(&mut cursor.went_back, true) {
                        let object = &cursor.source.spec.hints.key;
                        self.statistics.suspicions.add(|| Suspicion::OffsetsGoBack {
                            object: object.clone(),
                        });
                    }
                }
                Some(Item::Damage(error, rejected)) => {
                    let stop = if error.truncated {
                        Stop::Cut(error, rejected)
                    } else if self.options.on_bad_record == OnBadRecord::Skip {
                        self.reject(slot, &error, rejected.as_ref())
                            .map_err(|error| *error)?;
                        continue;
                    } else {
                        Stop::Failed(StreamError::damaged(&self.partition, &error))
                    };
                    self.stop(slot, stop);
                    return Ok(true);
                }
                Some(Item::End(summary)) => {
                    self.finish(slot, &summary);
                    return Ok(true);
                }
                Some(Item::Failed(failure)) => {
                    let error = self.failure(slot, failure);
                    self.stop(slot, Stop::Failed(error));
                    return Ok(true);
                }
                None => {
                    let error = self.failure(
                        slot,
                        Failure::Defect(super::CpuError {
                            message: "the reading of an object ended without a word".to_owned(),
                        }),
                    );
                    self.stop(slot, Stop::Failed(error));
                    return Ok(true);
                }
            }
        }
    }

    /// Compares repeated records at the front of the member's block with their first appearance. False where
    /// that put a stop in place of the member's next record.
    async fn check_late(&mut self, slot: usize) -> Result<bool, StreamError> {
        loop {
            let Some(cursor) = &mut self.slots[slot] else {
                return Ok(true);
            };
            let Some(loaded) = &mut cursor.loaded else {
                return Ok(true);
            };
            if loaded.position >= loaded.late_end {
                return Ok(true);
            }
            let record = loaded.block.get(loaded.position);
            let reference = match &mut cursor.reference {
                Some(reference) if reference.reaches(record.offset) => reference,
                empty => {
                    let account = self.account.source();
                    account.promote();
                    let Source { spec, options, .. } = &cursor.source;
                    let source = Source::open(&self.context, account, spec.clone(), options.clone());
                    empty.insert(Reference::new(source))
                }
            };
            let found = match reference.find(record.offset).await {
                Ok(true) => reference.found(),
                Ok(false) => None,
                Err(failure) => {
                    let error = self.failure(slot, failure);
                    self.stop(slot, Stop::Failed(error));
                    return Ok(false);
                }
            };
            let Some(first) = found else {
                let offset = record.offset;
                self.stop_out_of_order(slot, offset);
                return Ok(false);
            };
            let wanted = self.options.from_offset.is_none_or(|from| record.offset >= from);
            if !wanted {
                self.statistics.outside_offsets += 1;
            } else if first.same_content(&record) {
                self.statistics.duplicates += 1;
            } else if self.options.on_conflict == OnConflict::Fail {
                let spec = &cursor.source.spec;
                let described = |record| ConflictingRecord::new(&spec.hints.key, spec.last_modified, record);
                let conflict = Conflict {
                    offset: record.offset,
                    one: described(&first),
                    other: described(&record),
                };
                let kind = StreamErrorKind::Conflict(Box::new(conflict));
                let error = StreamError::new(&self.partition, &spec.hints.key, kind);
                self.stop(slot, Stop::Failed(error));
                return Ok(false);
            } else {
                // Within one object the first appearance counts: it has been given already.
                self.statistics.conflicts += 1;
                self.statistics.conflicting_records += 1;
                let object = &cursor.source.spec.hints.key;
                self.statistics.suspicions.add(|| Suspicion::Conflict {
                    offset: record.offset,
                    one: object.clone(),
                    other: object.clone(),
                });
            }
            loaded.position += 1;
        }
    }

    /// Where a stop stands in the merge: behind the member's last record.
    fn stop(&mut self, slot: usize, stop: Stop) {
        let Some(cursor) = &self.slots[slot] else {
            return;
        };
        let offset = self.offset_behind(cursor);
        let index = cursor.source.spec.index;
        self.stops.push((slot, stop));
        self.heap.push(Reverse((offset, 0, index, slot)));
    }

    /// The first offset that the member has not given.
    fn offset_behind(&self, cursor: &Cursor) -> i64 {
        let behind = match cursor.high {
            Some(high) => high.saturating_add(1),
            None => cursor.source.spec.hints.start_offset.unwrap_or(i64::MIN),
        };
        behind.max(self.options.from_offset.unwrap_or(i64::MIN))
    }

    fn stop_out_of_order(&mut self, slot: usize, offset: i64) {
        if let Some(cursor) = &self.slots[slot] {
            let kind = StreamErrorKind::OutOfOrder { offset };
            let error = StreamError::new(&self.partition, &cursor.source.spec.hints.key, kind);
            self.stop(slot, Stop::Failed(error));
        }
    }

    fn failure(&self, slot: usize, failure: Failure) -> StreamError {
        let key = match &self.slots[slot] {
            Some(cursor) => cursor.source.spec.hints.key.as_str(),
            None => "",
        };
        match failure {
            Failure::Storage(error) => StreamError::storage(&self.partition, key, error),
            Failure::Replaced => StreamError::new(&self.partition, key, StreamErrorKind::Replaced),
            Failure::Defect(error) => StreamError::new(&self.partition, key, StreamErrorKind::Defect(error)),
        }
    }

    /// Puts aside what could not be decoded.
    pub(super) fn reject(
        &mut self,
        slot: usize,
        error: &ObjectError,
        rejected: Option<&Rejected>,
    ) -> Result<(), Box<StreamError>> {
        let Some(cursor) = &self.slots[slot] else {
            return Ok(());
        };
        self.statistics.rejected += 1;
        let behind = self.offset_behind(cursor);
        self.statistics.gaps.trouble(behind, &error.object);
        let Some(sink) = &self.options.rejected else {
            return Ok(());
        };
        let record = RejectedRecord {
            partition: &self.partition,
            object: &error.object,
            rejected,
            byte_offset: error.byte_offset,
            line: error.line,
            reason: &error.reason,
            after_offset: cursor.high,
        };
        sink.reject(record).map_err(|failed| {
            let kind = StreamErrorKind::Reject(failed);
            Box::new(StreamError::new(&self.partition, &error.object, kind))
        })
    }

    /// An object is read to its end.
    fn finish(&mut self, slot: usize, summary: &Summary) {
        let Some(cursor) = &self.slots[slot] else {
            return;
        };
        let statistics = &mut self.statistics;
        statistics.objects_done += 1;
        statistics.stored_bytes += summary.notes.stored_bytes;
        statistics.unwrapped_bytes += summary.notes.unwrapped_bytes;
        statistics.requests += summary.requests;
        statistics.decoding += summary.decoding;
        statistics.replaced_objects += u64::from(summary.replaced);
        statistics.abandoned_objects += u64::from(summary.abandoned);
        statistics.notes.add(&summary.notes);
        let spec = &cursor.source.spec;
        if cursor.first.is_none() {
            statistics.empty_objects += u64::from(summary.notes.empty);
            if let Some(start) = spec.hints.start_offset {
                statistics.gaps.trouble(start, &spec.hints.key);
            }
        }
        let (first_time, last_time) = cursor.times;
        if first_time <= last_time {
            if let Some((before, before_first)) = self.finished
                && before < spec.index
                && last_time < before_first
            {
                let before = self.objects.get(before);
                if spec.last_modified < before.last_modified {
                    statistics.suspicions.add(|| Suspicion::OlderBehind {
                        before: before.key.into_owned(),
                        behind: spec.hints.key.clone(),
                    });
                }
            }
            self.finished = Some((spec.index, first_time));
        }
        self.leave(slot);
    }
}
