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

use record::{RecordBlock, RecordRef, TopicPartition};

use super::block::{Facts, StreamBlock};
use super::budget::{Charge, PartitionAccount};
use super::chosen::Chosen;
use super::cursor::{Cursor, Loaded, first_above};
use super::object::{Source, footprint};
use super::options::{OnBadRecord, StreamOptions};
use super::statistics::StreamStatistics;
use super::{StreamContext, StreamError, StreamErrorKind, start};
use crate::format::MissingTimestamp;
use crate::format::{ObjectError, Rejected};
use crate::inventory::PartitionObjects;

/// Memory that one member of a large merge takes: decoder, a range of stored bytes and a block.
pub(super) const MEMBER_BYTES: usize = 192 << 10;

/// The smallest blocks that a large merge reads.
pub(super) const LEAST_BLOCK: usize = 16 << 10;

/// How many blocks fit into an object's share of the memory: one each being decoded, at hand, and handed out,
/// and the rest for stored bytes and the decoder.
pub(super) const BLOCKS_IN_SHARE: usize = 8;

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
    pub(super) account: PartitionAccount,
    /// The next object to join the merge, and where they end.
    pub(super) next: usize,
    pub(super) end: usize,
    /// Objects from `next` on that are being read ahead, with their memory.
    pub(super) ahead: VecDeque<Source>,
    pub(super) ahead_bytes: usize,
    pub(super) slots: Vec<Option<Cursor>>,
    pub(super) free: Vec<usize>,
    /// Members that must be asked for their next record.
    pub(super) unloaded: Vec<usize>,
    pub(super) heap: BinaryHeap<Place>,
    pub(super) stops: Vec<(usize, Stop)>,
    /// Memory counted for the members.
    pub(super) need: usize,
    pub(super) output: Option<(RecordBlock, Charge)>,
    /// The last offset passed, given or filtered, and its object.
    pub(super) last: Option<(i64, usize)>,
    /// The last object read to its end, with its earliest timestamp.
    pub(super) finished: Option<(usize, i64)>,
    error: Option<StreamError>,
    stopped: bool,
    /// Records that are given instead of those of objects.
    pub(super) chosen: Option<Chosen>,
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
            chosen: None,
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
        if self.chosen.is_some() {
            return Ok(self.next_chosen());
        }
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
            match self.step().map_err(|error| *error)? {
                Step::Block(block) => return Ok(Some(block)),
                Step::Again => {}
                Step::End => {
                    let last = self.last.map(|(last, _)| last);
                    self.statistics.gaps.end(last, self.options.to_offset);
                    self.close();
                    return Ok(self.take_output());
                }
            }
        }
    }

    /// One step: passes a block, copies records, or settles a stop.
    fn step(&mut self) -> Result<Step, Box<StreamError>> {
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
        let Some(loaded) = self.slots[slot]
            .as_ref()
            .and_then(|cursor| cursor.loaded.as_ref())
        else {
            return Ok(Step::Again);
        };
        if !loaded.facts.ascending && repeats(loaded) {
            self.resolve(offset)?;
            return Ok(self.full_output());
        }
        let passes = loaded.position == 0
            && loaded.facts.ascending
            && loaded.facts.last < bound
            && (loaded.block.is_packed() || loaded.block.used_bytes() >= self.options.block_bytes / 8)
            && self.wants_all_times(&loaded.facts)
            && !(loaded.facts.timeless && self.gives_timestamps());
        let opens = !passes && loaded.block.is_packed();
        if passes && let Some(block) = self.take_output() {
            return Ok(Step::Block(block));
        }
        if opens
            && let Some(loaded) = self.slots[slot]
                .as_mut()
                .and_then(|cursor| cursor.loaded.as_mut())
        {
            loaded.block.unpack();
            if loaded.position == 0 {
                // Others stand between its records: the next objects would be packed for nothing as well.
                self.options.packing = None;
            }
        }
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

    /// True where records without a timestamp get one.
    fn gives_timestamps(&self) -> bool {
        self.options.decoding.missing_timestamp != MissingTimestamp::None
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
        self.slots[slot]
            .as_ref()
            .map_or(0, |cursor| cursor.source.spec.index)
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
    pub(super) fn give(&mut self, mut record: RecordRef<'_>, index: usize) -> bool {
        self.passed(record.offset, index);
        if !self.options.wants_time(record.timestamp) {
            self.statistics.outside_times += 1;
            return false;
        }
        if record.timestamp == record::NO_TIMESTAMP {
            // Only here, behind the comparison of records that stand in several objects.
            record.timestamp = match self.options.decoding.missing_timestamp {
                MissingTimestamp::None => record::NO_TIMESTAMP,
                MissingTimestamp::Object => self.objects.get(index).last_modified,
                MissingTimestamp::At(timestamp) => timestamp,
            };
        }
        self.statistics.give(&record);
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
        let (mut block, mut charge) = self.output.take()?;
        if block.used_bytes() < block.memory_bytes() / 4 {
            // Given before it is full, as the next object is not there yet. Its user may keep it until there is enough for
            // a batch: hundreds of such blocks would take the whole budget for a few records each.
            let mut small = RecordBlock::with_capacity(block.payload_bytes(), block.len());
            block.iter().for_each(|record| small.push(record));
            self.context.blocks.recycle(std::mem::replace(&mut block, small));
        }
        charge.resize(block.memory_bytes());
        Some(StreamBlock::new(block, charge, self.context.blocks.clone()))
    }

    /// Decides about a stop that is reached.
    fn settle(&mut self, slot: usize, offset: i64) -> Result<(), Box<StreamError>> {
        let Some(place) = self.stops.iter().position(|(stopped, _)| *stopped == slot) else {
            return Ok(());
        };
        match self.stops.swap_remove(place).1 {
            Stop::Failed(error) => return Err(Box::new(error)),
            Stop::Cut(error, rejected) => {
                if self.covered(offset) {
                    self.statistics.salvaged_objects += 1;
                    self.statistics.gaps.trouble(offset, &error.object);
                } else if self.options.on_bad_record == OnBadRecord::Skip {
                    self.reject(slot, &error, rejected.as_ref())?;
                } else {
                    return Err(Box::new(StreamError::partial(&self.partition, &error, offset)));
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
