//! One object's stored bytes -> records, sans I/O: containers, format and records that lie across chunks.
//!
//! [`ObjectDecoder`] is fed with stored bytes as they come and asked for blocks. It holds at most what was
//! pushed and not used, one piece of unwrapped bytes, and the record at hand
//! ([`Decoding::max_record_bytes`]). What is whole before a damaged place is delivered before the error, except
//! for a small object whose container proves damaged: of that nothing is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use record::RecordBlock;

use super::{
    AvroDecoder, CsvDecoder, DecodeError, Decoding, Field, Format, FormatDecoder, JsonDecoder, Notes,
    ValueEncoding, is_full, sniff,
};
use crate::container::{self, Chain, Container, ContainerError, StoredBytes};

/// Unwrapped bytes made at once: what the decoder reads is then still in the processor's cache.
const PIECE: usize = 128 << 10;

/// Up to this many unwrapped bytes nothing is delivered before the container has been read to its end, so that
/// its checksum is known. Of a larger object records are out by then, and the error comes behind them.
const VERIFY_BYTES: usize = 1 << 20;

/// Bytes that tell every container and format.
const SNIFF_BYTES: usize = 16;

/// What is known of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHints {
    /// The object's key, for messages.
    pub key: String,
    /// The start offset in its name. Numbers the records of formats that store no offset.
    pub start_offset: Option<i64>,
    /// The start offset in the name of the partition's next object. Only used to tell whether a csv file with
    /// one field ends with an empty record.
    pub next_start_offset: Option<i64>,
}

/// How far [`ObjectDecoder::decode`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All pushed bytes are used, as far as they can be; the block may hold records.
    NeedInput,
    /// The block is full.
    BlockReady,
    /// All records are out; the block may hold the last ones.
    Finished,
    /// The object is a Parquet file, which is read by seeking and not by this decoder.
    Seekable,
}

/// What an [`ObjectError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A container: gzip, snappy, zstd.
    Container,
    /// The format inside.
    Format,
}

/// An object whose content cannot be decoded from some place on. Trying again cannot help, unless the object
/// is replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {reason} ({place})", place = self.place())]
pub struct ObjectError {
    /// The object's key.
    pub object: String,
    /// What is damaged: the container or its content.
    pub stage: Stage,
    /// What is wrong, for people.
    pub reason: String,
    /// Where, in bytes from the start.
    pub byte_offset: u64,
    /// True where `byte_offset` counts unwrapped bytes rather than the stored object's.
    pub unwrapped: bool,
    /// The line of the unwrapped content, from 1, for formats that have lines.
    pub line: Option<u64>,
    /// True where the content stops early rather than being wrong.
    pub truncated: bool,
    /// True where [`ObjectDecoder::resume_after_error`] can step over the bad record.
    pub can_skip: bool,
}

impl ObjectError {
    fn place(&self) -> String {
        let kind = if self.unwrapped { "unwrapped" } else { "stored" };
        match self.line {
            Some(line) => format!("line {line}, {kind} byte {}", self.byte_offset),
            None => format!("{kind} byte {}", self.byte_offset),
        }
    }
}

/// A bad record that was stepped over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its bytes as they stand in the unwrapped content, separator included.
    pub bytes: Vec<u8>,
    /// Where they start, in unwrapped bytes.
    pub byte_offset: u64,
    /// The line, from 1, for formats that have lines.
    pub line: Option<u64>,
}

/// Decodes one object that can be read from start to end.
pub struct ObjectDecoder {
    decoding: Arc<Decoding>,
    hints: ObjectHints,
    stored: StoredBytes,
    chain: Chain,
    /// Unwrapped bytes, or (without a container) the start of a record whose rest lies in the next chunk.
    buffer: Vec<u8>,
    start: usize,
    /// The buffer must reach this length before another attempt at its record, so that a long record is tried
    /// a few times and not once per chunk.
    wanted: usize,
    /// True where all content has been unwrapped into the buffer.
    content_ended: bool,
    /// A damaged container, told after the records before it.
    container_error: Option<ContainerError>,
    decoder: Option<Box<dyn FormatDecoder>>,
    unwrapped_used: u64,
    notes: Notes,
    sniffed_container: bool,
    /// True while nothing may be delivered because the container's checksum is to come.
    verifying: bool,
    error: Option<ObjectError>,
    rejected: Option<Rejected>,
    finished: bool,
    seekable: bool,
    /// At most [`PIECE`] and [`VERIFY_BYTES`].
    piece: usize,
    verify_bytes: usize,
    /// Time spent in containers.
    unwrapping: Duration,
}

impl ObjectDecoder {
    /// A decoder for one object.
    pub fn new(decoding: Arc<Decoding>, object: ObjectHints) -> Self {
        Self {
            decoding,
            hints: object,
            stored: StoredBytes::default(),
            chain: Chain::default(),
            buffer: Vec::new(),
            start: 0,
            wanted: 0,
            content_ended: false,
            container_error: None,
            decoder: None,
            unwrapped_used: 0,
            notes: Notes::default(),
            sniffed_container: false,
            verifying: true,
            error: None,
            rejected: None,
            finished: false,
            seekable: false,
            piece: PIECE,
            verify_bytes: VERIFY_BYTES,
            unwrapping: Duration::ZERO,
        }
    }

    /// Keeps to about `bytes` of unwrapped content held at once, where records are not longer: for many objects
    /// read side by side. Less than the usual size means that only smaller objects are checked as a whole
    /// before their first record is delivered.
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.piece = PIECE.min(bytes.max(SNIFF_BYTES));
        self.verify_bytes = VERIFY_BYTES.min(bytes.max(SNIFF_BYTES));
        self
    }

    /// Adds stored bytes behind those pushed before. Push few chunks ahead: they are held until they are used.
    pub fn push(&mut self, stored_bytes: Bytes) {
        self.stored.push(stored_bytes);
    }

    /// Says that all stored bytes have been pushed.
    pub fn end_of_input(&mut self) {
        self.stored.end();
    }

    /// Takes out the stored bytes that were pushed and not used yet: all of them where the object is
    /// [`Seekable`](Status::Seekable).
    pub fn take_pending(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.stored.take()
    }

    /// Stored bytes that were pushed and not used yet.
    pub fn pending_bytes(&self) -> usize {
        self.stored.len()
    }

    /// Bytes of memory held beside the pushed chunks.
    pub fn memory_bytes(&self) -> usize {
        let decoder = self.decoder.as_ref();
        self.buffer.capacity()
            + self.chain.memory_bytes()
            + decoder.map_or(0, |decoder| decoder.memory_bytes())
    }

    /// The time that [`decode`](Self::decode) has spent in containers so far.
    pub fn unwrapping(&self) -> Duration {
        self.unwrapping
    }

    /// What there is to say of the object so far.
    pub fn notes(&self) -> Notes {
        let mut notes = self
            .decoder
            .as_ref()
            .map(|decoder| decoder.notes())
            .unwrap_or_default();
        notes.containers = self.chain.containers().collect();
        notes.padding_bytes = self.chain.padding_bytes();
        notes.format = self.notes.format;
        notes.format_differs = self.notes.format_differs;
        notes.records = self.notes.records;
        notes.empty = self.notes.empty;
        notes.stored_bytes = self.stored.total() - self.stored.len() as u64;
        notes.unwrapped_bytes = self.unwrapped_used;
        notes
    }

    /// Appends records to `block` until it [is full](is_full), the pushed bytes are used up, or the object
    /// has ended.
    ///
    /// # Errors
    ///
    /// Where the content is damaged. `block` then holds all whole records before the damage; where a container
    /// is damaged (and not just cut) they may be wrong, and of up to 1 MiB of content none are delivered. The same error
    /// comes again until [`resume_after_error`](Self::resume_after_error) steps over the record.
    pub fn decode(&mut self, block: &mut RecordBlock, block_bytes: usize) -> Result<Status, ObjectError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let before = block.len();
        let result = self.run(block, block_bytes.clamp(1, 1 << 30));
        self.notes.records += (block.len() - before) as u64;
        result.inspect_err(|error| self.error = Some(error.clone()))
    }

    /// Steps over the record that the last error was about, where that is possible, and gives its bytes. The
    /// next [`decode`](Self::decode) goes on behind it.
    pub fn resume_after_error(&mut self) -> Option<Rejected> {
        let rejected = self.rejected.take()?;
        self.error = None;
        Some(rejected)
    }

    fn run(&mut self, block: &mut RecordBlock, block_bytes: usize) -> Result<Status, ObjectError> {
        loop {
            if self.finished {
                return Ok(Status::Finished);
            }
            if self.seekable {
                return Ok(Status::Seekable);
            }
            if is_full(block, block_bytes) {
                return Ok(Status::BlockReady);
            }
            let status = if !self.sniffed_container {
                self.look_at_container()?
            } else if self.decoder.is_none() {
                self.look_at_format()?
            } else if self.chain.is_empty() && self.buffer.is_empty() {
                self.decode_chunk(block, block_bytes)?
            } else {
                self.decode_buffer(block, block_bytes)?
            };
            if let Some(status) = status {
                return Ok(status);
            }
        }
    }

    /// Tells the outermost container from the stored bytes.
    fn look_at_container(&mut self) -> Result<Option<Status>, ObjectError> {
        if self.stored.len() < SNIFF_BYTES && !self.stored.has_ended() {
            return Ok(Some(Status::NeedInput));
        }
        let container = container::sniff(&self.stored.peek(SNIFF_BYTES));
        if container != Container::None {
            let pushed = self.chain.push(container, Vec::new());
            pushed.map_err(|error| self.container_failed(error))?;
        }
        self.sniffed_container = true;
        Ok(None)
    }

    /// Tells a container in the container, or the format.
    fn look_at_format(&mut self) -> Result<Option<Status>, ObjectError> {
        let head = if self.chain.is_empty() {
            self.stored.peek(SNIFF_BYTES)
        } else {
            self.fill(self.piece);
            if self.buffer.len() < SNIFF_BYTES && !self.content_ended {
                return match self.container_error.take() {
                    Some(error) => Err(self.container_failed(error)),
                    None => Ok(Some(Status::NeedInput)),
                };
            }
            let head = self.buffer[..self.buffer.len().min(SNIFF_BYTES)].to_vec();
            let container = container::sniff(&head);
            if container != Container::None {
                let unwrapped = std::mem::take(&mut self.buffer);
                let pushed = self.chain.push(container, unwrapped);
                pushed.map_err(|error| self.container_failed(error))?;
                self.content_ended = false;
                return Ok(None);
            }
            head
        };
        self.notes.empty = head.is_empty();
        let Some(format) = self.choose_format(&head) else {
            self.finished = true;
            return Ok(None);
        };
        self.notes.format = Some(format);
        self.notes.format_differs = self
            .decoding
            .format
            .is_some_and(|configured| configured != format);
        if format == Format::Parquet && self.chain.is_empty() {
            self.seekable = true;
            return Ok(None);
        }
        let decoder = decoder_for(format, &self.decoding, &self.hints);
        self.decoder = Some(decoder.map_err(|error| self.format_failed(error, None))?);
        Ok(None)
    }

    /// The format to read the content as; nothing for empty content that stands for no record.
    ///
    /// What the configuration says counts where the content allows it: a bucket that has seen several
    /// configurations holds several formats.
    fn choose_format(&self, head: &[u8]) -> Option<Format> {
        let configured = self.decoding.format;
        let Some(found) = sniff(head) else {
            // An empty file can be one record whose only csv field is null; of anything else it is nothing.
            let one_field = self
                .decoding
                .fields
                .as_ref()
                .is_some_and(|fields| fields.len() == 1);
            return (configured == Some(Format::Csv) && one_field).then_some(Format::Csv);
        };
        let Some(configured) = configured else {
            return Some(found);
        };
        let raw_first = self.decoding.value_encoding == ValueEncoding::None
            && self
                .decoding
                .fields
                .as_ref()
                .is_some_and(|fields| fields.first() == Some(&Field::Value));
        Some(match (configured, found) {
            (Format::Csv, _) if raw_first => Format::Csv,
            // Magic bytes, or a character that no base64 starts with.
            (_, Format::Avro | Format::Parquet) => found,
            (Format::Csv, found) => found,
            (Format::Json, Format::Jsonl) | (Format::Jsonl, Format::Json) if self.decoding.envelope => found,
            (Format::Json | Format::Jsonl, Format::Csv)
                if self.decoding.envelope && self.decoding.fields.is_some() =>
            {
                found
            }
            (Format::Avro | Format::Parquet, found) => found,
            (configured, _) => configured,
        })
    }

    /// Unwraps into the buffer until it holds `length` bytes, no more stored bytes are here, the content ends
    /// or its container proves damaged.
    fn fill(&mut self, length: usize) {
        if self.content_ended || self.container_error.is_some() {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let started = Instant::now();
        match self.chain.unwrap(&mut self.stored, &mut self.buffer, length) {
            Ok(ended) => self.content_ended = ended,
            Err(error) => self.container_error = Some(error),
        }
        self.unwrapping += started.elapsed();
    }

    /// Decodes from the buffer: unwrapped bytes, or a record across chunks.
    fn decode_buffer(
        &mut self,
        block: &mut RecordBlock,
        block_bytes: usize,
    ) -> Result<Option<Status>, ObjectError> {
        if self.verifying && !self.chain.is_empty() {
            self.fill(self.verify_bytes);
            match &self.container_error {
                // What was written before a cut is what the sink wrote.
                Some(error) if error.truncated => {}
                Some(_) => return Err(self.take_container_error()),
                None if self.content_ended || self.buffer.len() >= self.verify_bytes => {}
                None => return Ok(Some(Status::NeedInput)),
            }
        }
        self.verifying = false;
        let pending = self.buffer.len() - self.start;
        if pending == 0 && self.chain.is_empty() && !self.content_ended {
            self.buffer.clear();
            self.start = 0;
            return Ok(None);
        }
        if !self.content_ended && pending < self.wanted.max(1) {
            if self.chain.is_empty() {
                return self.decode_across_chunks(block, block_bytes);
            }
            self.fill(self.wanted.max(self.piece));
            let filled = self.buffer.len() - self.start;
            if filled < self.wanted.max(1) && !self.content_ended {
                if self.container_error.is_none() {
                    return Ok(Some(Status::NeedInput));
                }
                if filled == pending {
                    // Everything before the damage has been tried.
                    return Err(self.take_container_error());
                }
            }
        }
        let end = self.content_ended;
        let result = call(
            &mut self.decoder,
            &self.buffer[self.start..],
            end,
            block_bytes,
            block,
        );
        match result {
            Ok(used) => {
                self.start += used;
                self.unwrapped_used += used as u64;
                let rest = self.buffer.len() - self.start;
                if is_full(block, block_bytes) {
                    self.wanted = 0;
                } else if end {
                    self.finished = true;
                } else {
                    self.wanted = self.next_attempt(rest);
                    if self.container_error.is_some() {
                        return Err(self.take_container_error());
                    }
                }
                Ok(None)
            }
            Err(error) => {
                let rest = rejected_bytes(&self.buffer[self.start..], &error, self.unwrapped_used);
                self.start += used_by(&error);
                self.unwrapped_used += used_by(&error) as u64;
                self.wanted = 0;
                Err(self.format_failed(error, rest))
            }
        }
    }

    /// Decodes from the chunk in front, without copying it.
    fn decode_chunk(
        &mut self,
        block: &mut RecordBlock,
        block_bytes: usize,
    ) -> Result<Option<Status>, ObjectError> {
        let end = self.stored.front_is_last();
        if self.stored.is_empty() && !end {
            return Ok(Some(Status::NeedInput));
        }
        let input = self.stored.front().unwrap_or_default();
        let result = call(&mut self.decoder, input, end, block_bytes, block);
        match result {
            Ok(used) => {
                let rest = input.len() - used;
                if is_full(block, block_bytes) {
                    self.take_stored(used);
                } else if end {
                    self.take_stored(used);
                    self.finished = true;
                } else {
                    self.buffer.extend_from_slice(&input[used..]);
                    self.start = 0;
                    self.wanted = self.next_attempt(rest);
                    self.unwrapped_used += used as u64;
                    self.stored.advance(used + rest);
                }
                Ok(None)
            }
            Err(error) => {
                let rejected = rejected_bytes(input, &error, self.unwrapped_used);
                self.take_stored(used_by(&error));
                Err(self.format_failed(error, rejected))
            }
        }
    }

    /// Completes the record in the buffer with bytes of the next chunk, and goes back to decoding chunks
    /// directly behind it.
    fn decode_across_chunks(
        &mut self,
        block: &mut RecordBlock,
        block_bytes: usize,
    ) -> Result<Option<Status>, ObjectError> {
        let Some(chunk) = self.stored.front() else {
            if self.stored.has_ended() {
                self.content_ended = true;
                return Ok(None);
            }
            return Ok(Some(Status::NeedInput));
        };
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let kept = self.buffer.len();
        let take = self.wanted.max(kept + 1).saturating_sub(kept).min(chunk.len());
        self.buffer.extend_from_slice(&chunk[..take]);
        let end = self.stored.front_is_last() && take == chunk.len();
        if self.buffer.len() < self.wanted && !end {
            self.stored.advance(take);
            return Ok(None);
        }
        let result = call(&mut self.decoder, &self.buffer, end, block_bytes, block);
        let used = match &result {
            Ok(used) => *used,
            Err(error) => used_by(error),
        };
        let rejected = match &result {
            Ok(_) => None,
            Err(error) => rejected_bytes(&self.buffer, error, self.unwrapped_used),
        };
        self.unwrapped_used += used as u64;
        if used >= kept {
            // What is left came from this chunk: it stays there.
            self.stored.advance(used - kept);
            self.buffer.clear();
            self.wanted = 0;
        } else {
            self.stored.advance(take);
            self.buffer.drain(..used);
            self.wanted = self.next_attempt(self.buffer.len());
        }
        match result {
            Ok(_) => {
                let full = is_full(block, block_bytes);
                self.finished = end && !full;
                if full {
                    self.wanted = 0;
                }
                Ok(None)
            }
            Err(error) => Err(self.format_failed(error, rejected)),
        }
    }

    fn take_stored(&mut self, used: usize) {
        self.stored.advance(used);
        self.unwrapped_used += used as u64;
    }

    /// How long an unfinished record must have become to be worth another attempt.
    fn next_attempt(&self, tried: usize) -> usize {
        let limit = self.decoding.record_limit();
        let longer = tried.saturating_mul(2).max(4096);
        if tried <= limit {
            longer.min(limit + 1).max(tried + 1)
        } else {
            longer
        }
    }

    fn take_container_error(&mut self) -> ObjectError {
        let error = self.container_error.take().unwrap_or(ContainerError {
            reason: "the container is damaged".into(),
            byte_offset: 0,
            truncated: false,
        });
        self.container_failed(error)
    }

    fn container_failed(&self, error: ContainerError) -> ObjectError {
        ObjectError {
            object: self.hints.key.clone(),
            stage: Stage::Container,
            reason: error.reason,
            byte_offset: error.byte_offset,
            unwrapped: false,
            line: None,
            truncated: error.truncated,
            can_skip: false,
        }
    }

    fn format_failed(&mut self, error: DecodeError, rejected: Option<Rejected>) -> ObjectError {
        let can_skip = rejected.is_some();
        self.rejected = rejected;
        ObjectError {
            object: self.hints.key.clone(),
            stage: Stage::Format,
            reason: error.reason,
            byte_offset: error.byte_offset,
            unwrapped: !self.chain.is_empty(),
            line: error.line,
            truncated: error.truncated,
            can_skip,
        }
    }
}

/// Calls the format's decoder; a free function, so that its input may be borrowed from beside it.
fn call(
    decoder: &mut Option<Box<dyn FormatDecoder>>,
    input: &[u8],
    end: bool,
    block_bytes: usize,
    block: &mut RecordBlock,
) -> Result<usize, DecodeError> {
    match decoder {
        Some(decoder) => decoder.decode(input, end, block_bytes, block),
        None => Ok(0),
    }
}

/// Bytes of the failed call's input that are done with: the records before the bad one, and the bad one itself
/// where it can be stepped over.
fn used_by(error: &DecodeError) -> usize {
    error.skip.map_or(error.before, |skip| skip.before + skip.length)
}

/// `base` is where `input` starts in the content.
fn rejected_bytes(input: &[u8], error: &DecodeError, base: u64) -> Option<Rejected> {
    let skip = error.skip?;
    let bytes = match &error.rejected {
        Some(bytes) => bytes.clone(),
        None => input.get(skip.before..skip.before + skip.length)?.to_vec(),
    };
    Some(Rejected {
        bytes,
        byte_offset: base + skip.before as u64,
        line: error.line,
    })
}

fn decoder_for(
    format: Format,
    decoding: &Decoding,
    hints: &ObjectHints,
) -> Result<Box<dyn FormatDecoder>, DecodeError> {
    match format {
        Format::Csv => Ok(Box::new(CsvDecoder::new(decoding, hints)?)),
        Format::Json => Ok(Box::new(JsonDecoder::new(true, decoding, hints)?)),
        Format::Jsonl => Ok(Box::new(JsonDecoder::new(false, decoding, hints)?)),
        Format::Avro => Ok(Box::new(AvroDecoder::new(decoding, hints))),
        Format::Parquet => Err(DecodeError::new(
            "a Parquet file inside a container, which no sink writes: unpack it first",
            0,
        )),
    }
}
