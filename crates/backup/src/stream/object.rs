//! One object as an asynchronous source of blocks.
//!
//! A task per object fetches ranges ahead, decodes on the CPU pool and puts blocks into a channel; how far it
//! runs ahead of the consumer is a matter of the memory budget alone. A tiny object is one request and one hop
//! to the CPU pool. An object that is replaced while it is read is read again from its start, once, as long
//! as it begins with the same records.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use record::RecordBlock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::StreamContext;
use super::block::{Facts, Fingerprint, StreamBlock};
use super::budget::{Charge, SourceAccount};
use super::cpu::CpuError;
use super::fetch::{Piece, fetch};
use super::packing::{ObjectPacking, Packed, Packing};
use super::recognition::Recognition;
use super::seekable;
use super::visit::{FileInput, Work};
use crate::format::{
    Decoding, Format, Notes, ObjectDecoder, ObjectError, ObjectHints, Rejected, Stage, Status,
};
use crate::storage::{ObjectMeta, StorageError, StorageErrorKind};

/// Requests that one object has under way at most.
const REQUESTS_AHEAD: usize = 8;

/// The shortest range that is asked for, but for the last one of an object.
const LEAST_RANGE: usize = 16 << 10;

/// The longest range that is asked for.
const MOST_RANGE: usize = 8 << 20;

/// Ranges of one long range that are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Memory of a decoder and its task that nobody can ask for. Containers tell their own.
pub(super) const DECODER_BYTES: usize = 16 << 10;

/// What is known of an object before it is read.
#[derive(Clone, Debug)]
pub(super) struct ObjectSpec {
    /// Its place among the partition's objects.
    pub(super) index: usize,
    pub(super) hints: ObjectHints,
    pub(super) size: u64,
    pub(super) last_modified: i64,
}

/// How an object is to be read.
#[derive(Clone)]
pub(super) struct ReadOptions {
    pub(super) decoding: Arc<Decoding>,
    pub(super) block_bytes: usize,
    /// True where bad records are stepped over.
    pub(super) skip_bad: bool,
    /// Packs the records, where that is worth it.
    pub(super) packing: Option<Arc<dyn Packing>>,
}

/// Memory that an object takes while it is read, at most about `reserve`.
pub(super) fn footprint(size: u64, reserve: usize) -> usize {
    let unwrapped = usize::try_from(size.saturating_mul(8)).unwrap_or(usize::MAX);
    unwrapped.saturating_add(4 << 10).min(reserve)
}

/// What comes out of an object, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// Records; never none.
    Block(StreamBlock, Facts),
    /// A place that could not be decoded; with its bytes where the decoder could tell them.
    Damage(ObjectError, Option<Rejected>),
    /// The end; nothing comes behind.
    End(Box<Summary>),
    /// The object could not be read on; nothing comes behind.
    Failed(Failure),
}

/// What there is to say at an object's end.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) notes: Notes,
    pub(super) requests: u64,
    pub(super) decoding: Duration,
    /// True where the object is another than was listed, or became another on the way.
    pub(super) replaced: bool,
    /// True where what stands behind some place was given up.
    pub(super) abandoned: bool,
}

/// Why an object cannot be read on.
#[derive(Debug)]
pub(super) enum Failure {
    Storage(StorageError),
    /// Replaced, and its beginning is not what was read before.
    Replaced,
    Defect(CpuError),
}

/// The consumer's end of an object that is being read. Dropping it ends the reading.
pub(super) struct Source {
    pub(super) spec: ObjectSpec,
    pub(super) options: ReadOptions,
    pub(super) account: SourceAccount,
    items: UnboundedReceiver<Item>,
    waits: Arc<AtomicU64>,
    task: AbortOnDrop<()>,
}

impl Source {
    /// Starts to read an object ahead.
    pub(super) fn open(
        context: &StreamContext,
        account: SourceAccount,
        spec: ObjectSpec,
        options: ReadOptions,
    ) -> Self {
        let (sender, items) = unbounded_channel();
        let waits = Arc::new(AtomicU64::new(0));
        let reader = Reader {
            context: context.clone(),
            account: account.clone(),
            spec: spec.clone(),
            options: options.clone(),
            items: sender,
            waits: waits.clone(),
            requests: 0,
            decoding: Duration::ZERO,
            replaced: false,
            abandoned: false,
            seen: Fingerprint::default(),
            skip: None,
        };
        Self {
            spec,
            options,
            account,
            items,
            waits,
            task: AbortOnDrop(tokio::spawn(reader.run())),
        }
    }

    /// Ends the reading of these objects, and waits until their memory is given back.
    pub(super) async fn close_all(sources: impl IntoIterator<Item = Self>) {
        let tasks: Vec<_> = sources.into_iter().map(|source| source.task).collect();
        for task in &tasks {
            task.0.abort();
        }
        for mut task in tasks {
            // It was cancelled, or at its end.
            let _ = (&mut task.0).await;
        }
    }

    /// The next item; cancel-safe. None behind the last one.
    pub(super) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }

    /// The next item where it is there already.
    pub(super) fn try_next(&mut self) -> Option<Item> {
        self.items.try_recv().ok()
    }

    /// How long the object has waited for the store so far.
    pub(super) fn waited_for_store(&self) -> Duration {
        Duration::from_nanos(self.waits.load(Ordering::Relaxed))
    }
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task's end.
pub(super) struct Reader {
    pub(super) context: StreamContext,
    pub(super) account: SourceAccount,
    pub(super) spec: ObjectSpec,
    pub(super) options: ReadOptions,
    items: UnboundedSender<Item>,
    /// Nanoseconds spent on waiting for the store.
    waits: Arc<AtomicU64>,
    requests: u64,
    pub(super) decoding: Duration,
    replaced: bool,
    pub(super) abandoned: bool,
    /// The records sent so far.
    pub(super) seen: Fingerprint,
    /// While an object is read again: what has to come first, and is not sent again.
    pub(super) skip: Option<Fingerprint>,
}

/// A range that was paid for and asked for.
struct Request {
    charge: Charge,
    answer: AbortOnDrop<Result<Piece, StorageError>>,
}

/// What of the object has been asked for.
struct Ranges {
    /// What the first answer said; all others have to be of the same version.
    meta: Option<ObjectMeta>,
    /// Where the next range starts.
    position: u64,
    /// Where the object ends: as listed, until the first answer.
    size: u64,
    requests: VecDeque<Request>,
}

impl Ranges {
    fn new(size: u64) -> Self {
        Self {
            meta: None,
            position: 0,
            size,
            requests: VecDeque::new(),
        }
    }

    /// True where more may be asked for ahead. The first answer has to come first: it tells the version.
    fn wants_more(&self) -> bool {
        self.meta.is_some() && self.position < self.size && self.requests.len() < REQUESTS_AHEAD
    }

    /// True where everything has been received.
    fn ended(&self) -> bool {
        self.position >= self.size && self.requests.is_empty()
    }
}

impl Reader {
    pub(super) fn key(&self) -> &str {
        &self.spec.hints.key
    }

    async fn run(mut self) {
        let result = match self.read().await {
            Err(Failure::Storage(error)) if error.kind == StorageErrorKind::Changed => {
                self.replaced = true;
                if self.seen.records > 0 {
                    self.skip = Some(std::mem::take(&mut self.seen));
                }
                tracing::warn!(key = self.key(), "the object was replaced; reading it again");
                self.read().await
            }
            result => result,
        };
        if let Err(failure) = result {
            self.send(Item::Failed(failure));
        }
    }

    /// Reads the object from its start to its end.
    async fn read(&mut self) -> Result<(), Failure> {
        let mut ranges = Ranges::new(self.spec.size);
        let mut input: Option<Piece> = None;
        // Charges of pieces that the decoder has not used up.
        let mut held: Vec<Charge> = Vec::new();
        let mut decoder_charge: Option<Charge> = None;
        let mut block_charge: Option<Charge> = None;
        let unwrapped = footprint(self.spec.size, self.options.block_bytes.max(LEAST_RANGE));
        let decoder = ObjectDecoder::new(self.options.decoding.clone(), self.spec.hints.clone());
        let folder = self.context.store.folder();
        let (packing, block_bytes) = (self.options.packing.as_ref(), self.options.block_bytes);
        let mut work = Work {
            packing: ObjectPacking::new(packing, self.spec.size, block_bytes),
            decoder: decoder.with_memory(block_bytes.max(LEAST_RANGE)),
            block: RecordBlock::new(),
            recognition: Recognition {
                skip: self.skip,
                ..Recognition::default()
            },
            file: folder.map(|folder| FileInput::new(folder.clone(), self.key().to_owned())),
        };
        let mut hungry = self.spec.size > 0 && work.file.is_none();
        loop {
            if hungry {
                let (piece, charge) = self.next_piece(&mut ranges).await?;
                held.push(charge);
                input = Some(piece);
                work.recognition.may_change |= !ranges.ended();
            }
            // Ask ahead as far as memory allows without waiting for it.
            while work.file.is_none()
                && ranges.wants_more()
                && let Some(charge) = self.account.try_charge(self.length_at(&ranges))
            {
                self.request(&mut ranges, charge);
            }
            let decoder_charge = match &mut decoder_charge {
                Some(charge) => charge,
                empty => empty.insert(self.account.charge(DECODER_BYTES + unwrapped).await),
            };
            if block_charge.is_none() {
                block_charge = Some(match &work.packing {
                    Some(packing) => self.account.charge(packing.most_bytes()).await,
                    None => {
                        let (block, charge) = self.empty_block().await;
                        work.block = block;
                        charge
                    }
                });
            }
            let pieces = input.take();
            let ended = work.file.is_none() && ranges.ended();
            let job = move || work.visit(pieces, ended, block_bytes);
            let (back, outcome) = self.context.cpu.run(job).await.map_err(Failure::Defect)?;
            work = back;
            self.waited(outcome.reading);
            if ranges.meta.is_none()
                && let Some(meta) = work.file.as_ref().and_then(FileInput::meta)
            {
                self.requests += 1;
                self.answered(&mut ranges, meta.clone());
            }
            if let Some(error) = outcome.unread {
                return Err(Failure::Storage(error));
            }
            self.decoding += outcome.took;
            self.context.clock.worked(outcome.took, outcome.unwrapping);
            if !outcome.same {
                return Err(Failure::Replaced);
            }
            // What is in a pack that is not full yet was not sent: it counts as not seen where the object is replaced.
            if !work.packing.as_ref().is_some_and(ObjectPacking::has_begun) {
                self.seen = work.recognition.seen;
                self.skip = work.recognition.skip;
            }
            let beside = match &work.packing {
                Some(_) => work.block.memory_bytes(),
                None => 0,
            };
            decoder_charge.resize(DECODER_BYTES + work.decoder.memory_bytes() + beside);
            if work.decoder.pending_bytes() == 0 {
                held.clear();
            }
            if let Some((packed, facts)) = outcome.packed {
                let charge = block_charge.take().unwrap_or_else(|| self.account.force(0));
                self.send_packed(packed, charge, facts);
            }
            if let Some(facts) = outcome.facts {
                let charge = block_charge.take().unwrap_or_else(|| self.account.force(0));
                self.send_block(std::mem::take(&mut work.block), charge, facts);
            } else if let Some(charge) = &mut block_charge {
                charge.resize(work.block.memory_bytes().max(charge.bytes()));
            }
            hungry = false;
            match outcome.status {
                Ok(Status::BlockReady) => {}
                Ok(Status::NeedInput) if ended => {
                    return Err(Failure::defect("a decoder wants more than there is"));
                }
                Ok(Status::NeedInput) => hungry = true,
                Ok(Status::Finished) => {
                    let notes = outcome.notes.unwrap_or_default();
                    if let Some(error) = unfinished_lines(self.key(), &notes) {
                        self.damage(error, None);
                    }
                    self.finish(notes);
                    return Ok(());
                }
                Ok(Status::Seekable) => {
                    drop(block_charge);
                    let Some(meta) = ranges.meta.take() else {
                        return Err(Failure::defect("there are bytes of no object"));
                    };
                    // A small object is here already.
                    let all = work.decoder.pending_bytes() as u64 == ranges.size;
                    let whole = all.then(|| joined(work.decoder.take_pending(), ranges.size));
                    drop((ranges, work));
                    return seekable::read(self, meta, whole, held).await;
                }
                Err(error) => {
                    let resumes = outcome.rejected.is_some() && self.options.skip_bad;
                    self.abandoned |= !resumes && !error.truncated;
                    // What an object read again had to say before was said.
                    if self.skip.is_none() {
                        self.damage(error, outcome.rejected);
                    }
                    if !resumes {
                        self.finish(outcome.notes.unwrap_or_default());
                        return Ok(());
                    }
                }
            }
        }
    }

    /// An empty block, paid for.
    pub(super) async fn empty_block(&self) -> (RecordBlock, Charge) {
        let expected = footprint(self.spec.size, self.options.block_bytes);
        // What a block holds on to is more than what is in it.
        let mut charge = self.account.charge(expected + expected / 4).await;
        let block = self.context.blocks.take(expected);
        charge.resize(charge.bytes().max(block.memory_bytes()));
        (block, charge)
    }

    /// A range of the object's version `meta`, in one piece. The caller has paid for it.
    pub(super) async fn fetch_range(
        &mut self,
        range: Range<u64>,
        meta: &ObjectMeta,
    ) -> Result<Bytes, Failure> {
        let length = range.end - range.start;
        let (context, key) = (&self.context, &self.spec.hints.key);
        let started = Instant::now();
        let parts = range.clone().step_by(MOST_RANGE).map(|start| {
            let part = start..range.end.min(start + MOST_RANGE as u64);
            async move {
                let _place = context.requests.place().await;
                fetch(&context.store, key, part, Some(meta.clone()), &context.retry).await
            }
        });
        let mut parts = stream::iter(parts).buffered(PARTS_AT_ONCE);
        let (mut chunks, mut requests) = (Vec::new(), 0);
        while let Some(piece) = parts.next().await {
            let piece = piece.map_err(Failure::Storage)?;
            requests += piece.requests;
            chunks.extend(piece.chunks);
        }
        drop(parts);
        self.requests += requests;
        self.waited(started.elapsed());
        Ok(joined(chunks.into_iter(), length))
    }

    /// How many bytes to ask for next.
    fn length_at(&self, ranges: &Ranges) -> usize {
        let length = (self.account.share() / 4).clamp(LEAST_RANGE, MOST_RANGE);
        usize::try_from(ranges.size - ranges.position).map_or(length, |rest| rest.min(length))
    }

    /// Asks for as many bytes as were paid for.
    fn request(&self, ranges: &mut Ranges, charge: Charge) {
        let context = self.context.clone();
        let key = self.spec.hints.key.clone();
        let range = ranges.position..ranges.position + charge.bytes() as u64;
        ranges.position = range.end;
        let meta = ranges.meta.clone();
        let answer = tokio::spawn(async move {
            let _place = context.requests.place().await;
            fetch(&context.store, &key, range, meta, &context.retry).await
        });
        ranges.requests.push_back(Request {
            charge,
            answer: AbortOnDrop(answer),
        });
    }

    /// The next bytes of the object, asking for them where that was not done ahead.
    async fn next_piece(&mut self, ranges: &mut Ranges) -> Result<(Piece, Charge), Failure> {
        if ranges.requests.is_empty() {
            let charge = self.account.charge(self.length_at(ranges)).await;
            self.request(ranges, charge);
        }
        let Some(Request {
            mut charge,
            mut answer,
        }) = ranges.requests.pop_front()
        else {
            return Err(Failure::defect("a request was lost"));
        };
        let started = Instant::now();
        let result = (&mut answer.0).await;
        self.waited(started.elapsed());
        let piece = result
            .map_err(|error| Failure::defect(&error.to_string()))?
            .map_err(Failure::Storage)?;
        self.requests += piece.requests;
        charge.resize(piece.bytes);
        if ranges.meta.is_none() {
            self.answered(ranges, piece.meta.clone());
        }
        Ok((piece, charge))
    }

    /// Takes note of what the first answer says of the object.
    fn answered(&mut self, ranges: &mut Ranges, meta: ObjectMeta) {
        // HTTP knows times to the second only.
        self.replaced |= meta.size != self.spec.size
            || meta.last_modified.div_euclid(1000) != self.spec.last_modified.div_euclid(1000);
        ranges.size = meta.size;
        ranges.position = ranges.position.min(ranges.size);
        ranges.meta = Some(meta);
    }

    fn waited(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waits.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn send_block(&self, block: RecordBlock, mut charge: Charge, facts: Facts) {
        charge.resize(block.memory_bytes());
        charge.queue();
        let block = StreamBlock::new(block, charge, self.context.blocks.clone());
        self.send(Item::Block(block, facts));
    }

    fn send_packed(&self, packed: Packed, mut charge: Charge, facts: Facts) {
        charge.resize(packed.pack.memory_bytes());
        charge.queue();
        let block = StreamBlock::packed(packed, charge, self.context.blocks.clone());
        self.send(Item::Block(block, facts));
    }

    pub(super) fn damage(&self, error: ObjectError, rejected: Option<Rejected>) {
        self.send(Item::Damage(error, rejected));
    }

    pub(super) fn finish(&self, notes: Notes) {
        self.send(Item::End(Box::new(Summary {
            notes,
            requests: self.requests,
            decoding: self.decoding,
            replaced: self.replaced,
            abandoned: self.abandoned,
        })));
    }

    fn send(&self, item: Item) {
        // Fails only where nobody listens any more; then the task is about to be ended.
        let _ = self.items.send(item);
    }
}

impl Failure {
    fn defect(message: &str) -> Self {
        Failure::Defect(CpuError {
            message: message.to_owned(),
        })
    }
}

/// A jsonl object that ends with a newline, as one that stops early. Sinks write the newline before the next record, so
/// it stands at the end only where that record failed and was never written; csv of old sinks is another matter.
fn unfinished_lines(key: &str, notes: &Notes) -> Option<ObjectError> {
    let unfinished = notes.format == Some(Format::Jsonl) && notes.final_newline;
    unfinished.then(|| ObjectError {
        object: key.to_owned(),
        stage: Stage::Format,
        reason: "its last line ends with a newline, which the sink writes before a record: the record that was to \
                 follow failed and is not there"
            .to_owned(),
        byte_offset: notes.unwrapped_bytes,
        unwrapped: true,
        line: None,
        truncated: true,
        can_skip: false,
    })
}

/// Chunks of `length` bytes together, in one piece.
fn joined(mut chunks: impl Iterator<Item = Bytes>, length: u64) -> Bytes {
    let first = chunks.next().unwrap_or_default();
    if first.len() as u64 == length {
        return first;
    }
    let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    all.extend_from_slice(&first);
    chunks.for_each(|chunk| all.extend_from_slice(&chunk));
    all.into()
}
