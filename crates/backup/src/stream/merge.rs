//! The stream of one partition: objects are read ahead, merged by offset where they overlap, and passed
//! through where they do not.
//!
//! An object joins the merge when its start offset is not above the next record's; names are never higher than
//! what is inside, so nothing can come too late. The members stand in a heap by their next offset. As long as
//! the lowest member is below all others and below the next object's start, its blocks pass as they are.
//! [`resolve`](super::resolve) decides where one offset has several records.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use record::{RecordBlock, RecordRef, TopicPartition};

use super::block::{Facts, StreamBlock};
use super::budget::{Charge, PartitionAccount};
use super::cursor::{Cursor, Loaded, Reference, first_above};
use super::object::{Failure, Item, ObjectSpec, ReadOptions, Source, Summary, footprint};
use super::options::{OnBadRecord, OnConflict, RejectedRecord, StreamOptions};
use super::statistics::{StreamStatistics, Suspicion};
use super::{Conflict, ConflictingRecord, StreamContext, StreamError, StreamErrorKind, start};
use crate::format::{ObjectError, ObjectHints, Rejected};
use crate::inventory::PartitionObjects;

/// Memory that one member of a large merge takes: decoder, a range of stored bytes and a block.
const MEMBER_BYTES: usize = 160 << 10;

/// The smallest blocks that a large merge reads.
const LEAST_BLOCK: usize = 16 << 10;

/// How many blocks fit into an object's share of the memory: one each being decoded, at hand, and handed out,
/// and the rest for stored bytes and the decoder.
const BLOCKS_IN_SHARE: usize = 6;

/// A place in the merge: next offset, 0 for a stop or 1 for a record, place of the object in the list, slot.
type Place = Reverse<(i64, u8, usize, usize)>;

/// Something other than a record that comes next in an object.
pub(super) enum Stop {
    /// The object stops early.
    Cut(ObjectError, Option<Rejected>),
    /// It cannot be read on.
    Failed(StreamError),
}

/// One partition's records as blocks. See the [module](super).
///
/// Streams must be read independently of one another: a stream that overlaps heavily may keep others waiting
/// for memory until it gets on.
pub struct PartitionStream {
    pub(super) partition: TopicPartition,
    pub(super) objects: Arc<PartitionObjects>,
    pub(super) options: StreamOptions,
    pub(super) context: StreamContext,
    account: PartitionAccount,
    /// The next object to join the merge, and where they end.
    next: usize,
    end: usize,
    /// Objects from `next` on that are being read ahead, with their memory.
    ahead: VecDeque<Source>,
    ahead_bytes: usize,
    pub(super) slots: Vec<Option<Cursor>>,
    free: Vec<usize>,
    /// Members that must be asked for their next record.
    unloaded: Vec<usize>,
    pub(super) heap: BinaryHeap<Place>,
    stops: Vec<(usize, Stop)>,
    /// Memory counted for the members.
    need: usize,
    output: Option<(RecordBlock, Charge)>,
    /// The last offset passed, given or filtered, and its object.
    pub(super) last: Option<(i64, usize)>,
    /// The last object read to its end, with its earliest timestamp.
    finished: Option<(usize, i64)>,
    error: Option<StreamError>,
    stopped: bool,
    pub(super) statistics: StreamStatistics,
}

/// What one step of the merge gave.
enum Step {
    Block(StreamBlock),
    Again,
    End,
}

impl PartitionStream {
    /// The stream of one partition's objects. Reading begins with the first call of [`next`](Self::next), which
    /// must come from a tokio runtime.
    pub fn new(
        context: &StreamContext,
        partition: TopicPartition,
        objects: Arc<PartitionObjects>,
        mut options: StreamOptions,
    ) -> Self {
        let most = (context.budget.reserve() / BLOCKS_IN_SHARE).max(LEAST_BLOCK);
        options.block_bytes = options.block_bytes.clamp(1, most);
        let needed = start::needed(&objects, options.from_offset, options.to_offset);
        let statistics = StreamStatistics {
            objects_total: objects.len() as u64,
            objects_not_needed: (objects.len() - needed.len()) as u64,
            ..StreamStatistics::default()
        };
        Self {
            partition,
            account: context.budget.partition(),
            context: context.clone(),
            objects,
            options,
            next: needed.start,
            end: needed.end,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            slots: Vec::new(),
            free: Vec::new(),
            unloaded: Vec::new(),
            heap: BinaryHeap::new(),
            stops: Vec::new(),
            need: 0,
            output: None,
            last: None,
            finished: None,
            error: None,
            stopped: false,
            statistics,
        }
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// What has been seen and done so far.
    pub fn statistics(&self) -> &StreamStatistics {
        &self.statistics
    }

    /// The next block: never empty, its records strictly ascending in offset, within and across blocks. None at
    /// the end.
    ///
    /// Cancel-safe. The records before a place that stops the stream are given before the error; after an
    /// error nothing more comes.
    ///
    /// # Errors
    /// See [`StreamErrorKind`].
    pub async fn next(&mut self) -> Result<Option<StreamBlock>, StreamError> {
        if self.stopped {
            return Err(self.with_last(StreamError::new(&self.partition, "", StreamErrorKind::Stopped)));
        }
        let error = match self.error.take() {
            Some(error) => error,
            None => match self.advance().await {
                Ok(block) => return Ok(block),
                Err(error) => match self.take_output() {
                    Some(block) => {
                        self.error = Some(error);
                        return Ok(Some(block));
                    }
                    None => error,
                },
            },
        };
        self.stopped = true;
        self.close();
        Err(self.with_last(error))
    }

    fn with_last(&self, mut error: StreamError) -> StreamError {
        error.last_offset = self.last.map(|(offset, _)| offset);
        error
    }

    /// Ends all reading and gives the memory back.
    fn close(&mut self) {
        self.ahead.clear();
        self.ahead_bytes = 0;
        self.slots.clear();
        self.free.clear();
        self.unloaded.clear();
        self.heap.clear();
        self.stops.clear();
        self.need = 0;
        self.next = self.end;
        self.account.set_members(0);
    }

    async fn advance(&mut self) -> Result<Option<StreamBlock>, StreamError> {
        loop {
            self.read_ahead();
            while let Some(slot) = self.unloaded.last().copied() {
                if !self.load(slot, self.output.is_none()).await? {
                    return Ok(self.take_output());
                }
                self.unloaded.pop();
            }
            if self.admit().await? {
                continue;
            }
            match self.step()? {
                Step::Block(block) => return Ok(Some(block)),
                Step::Again => {}
                Step::End => {
                    self.close();
                    return Ok(self.take_output());
                }
            }
        }
    }

    // Reading ahead and joining.

    /// Starts to read objects ahead: many tiny ones, or few large ones.
    fn read_ahead(&mut self) {
        let streams = self.context.budget.partitions_now().max(1);
        let most_bytes = self.fair_share();
        let most_objects = (2 * self.context.most_requests / streams).max(2);
        // A large merge needs its memory for its members; what is read ahead for it must be small.
        let crowded = self.members() > 8;
        while self.ahead.len() < most_objects {
            let index = self.next + self.ahead.len();
            if index >= self.end {
                return;
            }
            let bytes = footprint(self.objects.size(index), self.context.budget.reserve());
            let first = self.ahead.is_empty() && !crowded;
            if !first && (self.ahead_bytes + bytes > most_bytes || (crowded && bytes > MEMBER_BYTES)) {
                return;
            }
            let source = self.open(index, self.context.budget.reserve());
            self.ahead_bytes += bytes;
            self.ahead.push_back(source);
        }
    }

    /// Memory beyond the reserves that falls to one partition.
    fn fair_share(&self) -> usize {
        let budget = &self.context.budget;
        budget.total() / 2 / budget.partitions_now().max(1)
    }

    fn open(&self, index: usize, share: usize) -> Source {
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
            block_bytes: self.options.block_bytes.min((share / BLOCKS_IN_SHARE).max(LEAST_BLOCK)),
            skip_bad: self.options.on_bad_record == OnBadRecord::Skip,
        };
        Source::open(&self.context, self.account.source(), spec, options)
    }

    pub(super) fn members(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn start_of(&self, index: usize) -> i64 {
        self.objects.start_offset(index).unwrap_or(i64::MIN)
    }

    /// The start offset of the next object to join.
    fn next_start(&self) -> Option<i64> {
        (self.next < self.end).then(|| self.start_of(self.next))
    }

    /// Lets all objects join that may hold the next record. True where any did.
    async fn admit(&mut self) -> Result<bool, StreamError> {
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
            // Nobody will use these before the merge goes on, so they must not be waited for.
            self.ahead.clear();
            self.ahead_bytes = 0;
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
                self.statistics.overlapping_objects += u64::from(!std::mem::replace(&mut cursor.overlaps, true));
            }
        }
        for index in self.next..until {
            let bytes = footprint(self.objects.size(index), self.context.budget.reserve());
            let source = match self.ahead.pop_front() {
                Some(source) => {
                    self.ahead_bytes -= bytes;
                    let too_wide = source.options.block_bytes > share / 2 && bytes > share;
                    if too_wide { self.open(index, share) } else { source }
                }
                None => self.open(index, share),
            };
            source.account.promote();
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
    async fn load(&mut self, slot: usize, may_wait: bool) -> Result<bool, StreamError> {
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
                    self.statistics.waiting += waited;
                    self.statistics.waiting_for_store +=
                        (cursor.source.waited_for_store() - store_before).min(waited);
                    item
                }
            };
            match item {
                Some(Item::Block(block, facts)) => {
                    cursor.load(block, facts);
                    let late = cursor.loaded.as_ref().is_some_and(|loaded| loaded.late_end > 0);
                    if (late || facts.went_back) && !std::mem::replace(&mut cursor.went_back, true) {
                        let object = &cursor.source.spec.hints.key;
                        self.statistics.suspicions.add(|| Suspicion::OffsetsGoBack { object: object.clone() });
                    }
                }
                Some(Item::Damage(error, rejected)) => {
                    let stop = if error.truncated {
                        Stop::Cut(error, rejected)
                    } else if self.options.on_bad_record == OnBadRecord::Skip {
                        self.reject(slot, &error, rejected.as_ref())?;
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
                let described =
                    |record| ConflictingRecord::new(&spec.hints.key, spec.last_modified, record);
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
    fn reject(&mut self, slot: usize, error: &ObjectError, rejected: Option<&Rejected>) -> Result<(), StreamError> {
        let Some(cursor) = &self.slots[slot] else {
            return Ok(());
        };
        self.statistics.rejected += 1;
        let behind = self.offset_behind(cursor);
        self.statistics.gaps.trouble(behind);
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
        sink.reject(record)
            .map_err(|failed| StreamError::new(&self.partition, &error.object, StreamErrorKind::Reject(failed)))
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
                statistics.gaps.trouble(start);
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

    // The merge.

    /// One step: passes a block, copies records, or settles a stop.
    fn step(&mut self) -> Result<Step, StreamError> {
        let Some(Reverse((offset, kind, _, slot))) = self.heap.peek().copied() else {
            return Ok(Step::End);
        };
        if self.options.to_offset.is_some_and(|to| offset > to) {
            return Ok(Step::End);
        }
        if kind == 0 {
            self.heap.pop();
            self.settle(slot, offset)?;
            return Ok(Step::Again);
        }
        let bound = self.bound();
        if offset >= bound {
            // Another member stands at the same offset.
            self.resolve(offset)?;
            return Ok(self.full_output());
        }
        let Some(loaded) = self.slots[slot].as_ref().and_then(|cursor| cursor.loaded.as_ref()) else {
            return Ok(Step::Again);
        };
        if !loaded.facts.ascending && repeats(loaded) {
            self.resolve(offset)?;
            return Ok(self.full_output());
        }
        let passes = loaded.position == 0
            && loaded.facts.ascending
            && loaded.facts.last < bound
            && self.output.is_none()
            && loaded.block.used_bytes() >= self.options.block_bytes / 8
            && self.wants_all_times(&loaded.facts);
        self.heap.pop();
        if passes {
            let Some(loaded) = self.slots[slot].as_mut().and_then(Cursor::unload) else {
                return Ok(Step::Again);
            };
            self.unloaded.push(slot);
            return Ok(Step::Block(self.pass(slot, loaded)));
        }
        self.copy(slot, bound);
        self.replace(slot);
        Ok(self.full_output())
    }

    /// The offset from which on the lowest member is no longer alone.
    fn bound(&self) -> i64 {
        let to = self.options.to_offset.map_or(i64::MAX, |to| to.saturating_add(1));
        let next = self.next_start().unwrap_or(i64::MAX);
        // The second lowest stands at one of the two places behind the top.
        let second = self
            .heap
            .as_slice()
            .iter()
            .skip(1)
            .take(2)
            .map(|Reverse((offset, ..))| *offset)
            .min()
            .unwrap_or(i64::MAX);
        to.min(next).min(second)
    }

    fn wants_all_times(&self, facts: &Facts) -> bool {
        self.options.from_time.is_none_or(|from| facts.first_time >= from)
            && self.options.to_time.is_none_or(|to| facts.last_time <= to)
    }

    /// Hands out a whole block as it is.
    fn pass(&mut self, slot: usize, loaded: Loaded) -> StreamBlock {
        let Loaded { block, facts, .. } = loaded;
        let index = self.index_of(slot);
        if facts.contiguous(block.len()) {
            self.passed(facts.first, index);
            self.last = Some((facts.last, index));
        } else {
            for record in block.iter() {
                self.passed(record.offset, index);
            }
        }
        let statistics = &mut self.statistics;
        statistics.records += block.len() as u64;
        statistics.payload_bytes += block.payload_bytes() as u64;
        statistics.first_offset.get_or_insert(facts.first);
        statistics.last_offset = Some(facts.last);
        if facts.first_time <= facts.last_time {
            statistics.time(facts.first_time);
            statistics.time(facts.last_time);
        }
        block.deliver()
    }

    pub(super) fn index_of(&self, slot: usize) -> usize {
        self.slots[slot].as_ref().map_or(0, |cursor| cursor.source.spec.index)
    }

    /// Copies the member's records below `bound` to the output, until that is full or an offset repeats.
    fn copy(&mut self, slot: usize, bound: i64) {
        let Some(mut loaded) = self.slots[slot].as_mut().and_then(|cursor| cursor.loaded.take()) else {
            return;
        };
        let index = self.index_of(slot);
        let end = match bound.checked_sub(1) {
            Some(below) => first_above(&loaded.block, loaded.position, below),
            None => loaded.position,
        };
        let mut full = false;
        while loaded.position < end && !full && (loaded.facts.ascending || !repeats(&loaded)) {
            full = self.give(loaded.block.get(loaded.position), index);
            loaded.position += 1;
        }
        if let Some(cursor) = &mut self.slots[slot] {
            cursor.loaded = Some(loaded);
        }
    }

    /// Puts a member that has moved on back in its place.
    pub(super) fn replace(&mut self, slot: usize) {
        let Some(cursor) = &mut self.slots[slot] else {
            return;
        };
        match cursor.offset() {
            Some(offset) => self
                .heap
                .push(Reverse((offset, 1, cursor.source.spec.index, slot))),
            None => {
                cursor.unload();
                self.unloaded.push(slot);
            }
        }
    }

    /// Gives one record; true where the output is full then.
    pub(super) fn give(&mut self, record: RecordRef<'_>, index: usize) -> bool {
        self.passed(record.offset, index);
        if !self.options.wants_time(record.timestamp) {
            self.statistics.outside_times += 1;
            return false;
        }
        let statistics = &mut self.statistics;
        statistics.records += 1;
        statistics.payload_bytes += record.payload_bytes() as u64;
        statistics.first_offset.get_or_insert(record.offset);
        statistics.last_offset = Some(record.offset);
        if record.timestamp != record::NO_TIMESTAMP {
            statistics.time(record.timestamp);
        }
        let (block, _) = self.output.get_or_insert_with(|| {
            let expected = footprint(self.objects.bytes(), self.options.block_bytes);
            let block = self.context.blocks.take(expected);
            let charge = self.account.hold(block.memory_bytes());
            (block, charge)
        });
        block.push(record);
        block.used_bytes() >= self.options.block_bytes
    }

    /// Moves on to `offset`, noting the gap before it.
    fn passed(&mut self, offset: i64, index: usize) {
        let (expected, before) = match (self.last, self.options.from_offset) {
            (Some((last, before)), _) => (last.saturating_add(1), Some(before)),
            (None, Some(from)) => (from, None),
            (None, None) => (offset, None),
        };
        if offset > expected {
            let objects = &self.objects;
            let name = |index| objects.get(index).key.into_owned();
            self.statistics
                .gaps
                .add(expected, offset - 1, || (before.map(name), name(index)));
        }
        self.last = Some((offset, index));
    }

    fn full_output(&mut self) -> Step {
        let full = self
            .output
            .as_ref()
            .is_some_and(|(block, _)| block.used_bytes() >= self.options.block_bytes);
        match full.then(|| self.take_output()).flatten() {
            Some(block) => Step::Block(block),
            None => Step::Again,
        }
    }

    fn take_output(&mut self) -> Option<StreamBlock> {
        let (block, mut charge) = self.output.take()?;
        charge.resize(block.memory_bytes());
        Some(StreamBlock::new(block, charge, self.context.blocks.clone()))
    }

    /// Decides about a stop that is reached.
    fn settle(&mut self, slot: usize, offset: i64) -> Result<(), StreamError> {
        let Some(place) = self.stops.iter().position(|(stopped, _)| *stopped == slot) else {
            return Ok(());
        };
        match self.stops.swap_remove(place).1 {
            Stop::Failed(error) => return Err(error),
            Stop::Cut(error, rejected) => {
                if self.covered(offset) {
                    self.statistics.salvaged_objects += 1;
                    self.statistics.gaps.trouble(offset);
                } else if self.options.on_bad_record == OnBadRecord::Skip {
                    self.reject(slot, &error, rejected.as_ref())?;
                } else {
                    return Err(StreamError::partial(&self.partition, &error, offset));
                }
            }
        }
        self.unloaded.push(slot);
        Ok(())
    }

    /// True where another object has what an incomplete one would have had from `offset` on: the record
    /// itself, or records before and behind, so that its own history has none there.
    fn covered(&self, offset: i64) -> bool {
        self.heap.iter().any(|Reverse((next, kind, _, slot))| {
            *kind == 1
                && (*next == offset
                    || self.slots[*slot]
                        .as_ref()
                        .is_some_and(|cursor| cursor.first.is_some_and(|first| first <= offset)))
        })
    }
}

/// True where the next two records of the block have one offset.
fn repeats(loaded: &Loaded) -> bool {
    let next = loaded.position + 1;
    next < loaded.block.len() && loaded.block.get(next).offset == loaded.block.get(loaded.position).offset
}

impl std::fmt::Debug for PartitionStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionStream")
            .field("partition", &self.partition)
            .field("next", &self.next)
            .field("end", &self.end)
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}
