use std::io::Read;

use bytes::{Buf, Bytes};
use record::RecordBlock;

use super::crc::crc32c;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, CRC_START};
use super::varint;
use super::{DecodeError, HIDDEN_DELTA, decompress};

/// The largest record that is read. Far above any broker's `message.max.bytes`, far below a machine's memory.
const MAX_RECORD_BYTES: usize = 256 << 20;
/// Bytes that are unpacked at a time.
const STEP: usize = 64 * 1024;

/// The batches in `bytes`, as a Fetch answer holds them. Bytes behind the last whole batch are left alone.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { bytes }
}

/// Iterates over the batches of fetched bytes; see [`batches`]. Ends after an error.
#[derive(Debug, Clone)]
pub struct Batches {
    bytes: Bytes,
}

impl Iterator for Batches {
    type Item = Result<RawBatch, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchHeader::parse(&self.bytes) {
            Ok(Some(header)) => Some(Ok(RawBatch {
                header,
                bytes: self.bytes.split_to(header.size),
            })),
            Ok(None) => None,
            Err(error) => {
                self.bytes.clear();
                Some(Err(error))
            }
        }
    }
}

/// What a control batch says about the transaction it ends.
///
/// Source: <https://kafka.apache.org/documentation/#controlbatch>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction's records are void.
    Abort,
    /// The transaction's records are good.
    Commit,
    /// Something else that is not data.
    Other(i16),
}

/// A batch as the broker sent it, its header read.
#[derive(Debug, Clone)]
pub struct RawBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RawBatch {
    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Compares the checksum.
    pub fn check_crc(&self) -> Result<(), DecodeError> {
        let actual = crc32c(&self.bytes[CRC_START..]);
        if actual == self.header.crc {
            return Ok(());
        }
        Err(DecodeError::Crc {
            base_offset: self.header.base_offset,
            expected: self.header.crc,
            actual,
        })
    }

    /// The records, to be read in blocks. The checksum is compared first. Control batches give theirs too; see
    /// [`BatchHeader::is_control`].
    pub fn records(&self) -> Result<BatchRecords, DecodeError> {
        self.check_crc()?;
        BatchRecords::new(self.header, self.bytes.slice(BATCH_HEADER_BYTES..))
    }

    /// What a control batch says; `None` for a batch of data.
    pub fn control(&self) -> Result<Option<ControlType>, DecodeError> {
        if !self.header.is_control() {
            return Ok(None);
        }
        let mut block = RecordBlock::new();
        self.records()?.read(&mut block, STEP)?;
        let kind = block.first().and_then(|record| record.key).and_then(|mut key| {
            // Version, then type; both 16 bits.
            (key.len() >= 4).then(|| {
                key.advance(2);
                key.get_i16()
            })
        });
        Ok(Some(match kind {
            Some(0) => ControlType::Abort,
            Some(1) => ControlType::Commit,
            Some(other) => ControlType::Other(other),
            None => ControlType::Other(-1),
        }))
    }
}

/// Reads the records of one batch.
pub struct BatchRecords {
    header: BatchHeader,
    left: i32,
    source: Source,
}

impl BatchRecords {
    pub(super) fn new(header: BatchHeader, records: Bytes) -> Result<Self, DecodeError> {
        let codec = header.compression().ok_or_else(|| DecodeError::Malformed {
            base_offset: header.base_offset,
            message: format!("its codec {} is not known", header.attributes & 0x07),
        })?;
        let reader = decompress::reader(codec, records.clone()).map_err(|error| DecodeError::Decompress {
            base_offset: header.base_offset,
            codec,
            message: error.to_string(),
        })?;
        let source = match reader {
            Some(reader) => Source::Stream {
                reader,
                buffer: Vec::new(),
                start: 0,
            },
            None => Source::Plain {
                bytes: records,
                start: 0,
            },
        };
        Ok(Self {
            header,
            left: header.record_count,
            source,
        })
    }

    /// Appends records to `block` until it holds at least `max_bytes` of payload (or as many records as bytes / 16),
    /// or the batch ends. True where records are left.
    pub fn read(&mut self, block: &mut RecordBlock, max_bytes: usize) -> Result<bool, DecodeError> {
        while self.left > 0 {
            if block.payload_bytes() >= max_bytes || block.len() * 16 >= max_bytes.max(16) {
                return Ok(true);
            }
            let record = self.source.record().map_err(|problem| problem.at(&self.header))?;
            append(block, &self.header, record).ok_or_else(|| DecodeError::Malformed {
                base_offset: self.header.base_offset,
                message: format!(
                    "record {} of {} cannot be read",
                    self.header.record_count - self.left,
                    self.header.record_count
                ),
            })?;
            self.left -= 1;
        }
        if !self.source.at_end().map_err(|problem| problem.at(&self.header))? {
            return Err(DecodeError::Malformed {
                base_offset: self.header.base_offset,
                message: format!("there is more behind its {} records", self.header.record_count),
            });
        }
        Ok(false)
    }
}

/// Appends the record in `bytes` (without its length), or nothing where it is not well-formed.
fn append(block: &mut RecordBlock, header: &BatchHeader, mut bytes: &[u8]) -> Option<()> {
    let bytes = &mut bytes;
    take_bytes(bytes, 1)?; // Attributes of a record: none are defined.
    let timestamp_delta = varint::take(bytes)?;
    let offset_delta = varint::take(bytes)?;
    // As consumers do: what lies before the place that was asked for is passed over.
    if offset_delta == HIDDEN_DELTA {
        return Some(());
    }
    let timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.wrapping_add(timestamp_delta)
    };
    let mut writer = block.append(header.base_offset.wrapping_add(offset_delta), timestamp);
    if let Some(key) = take_field(bytes)? {
        writer.key(key);
    }
    if let Some(value) = take_field(bytes)? {
        writer.value(value);
    }
    let headers = varint::take(bytes)?;
    // Each header takes two bytes at least.
    if headers < 0 || headers as usize > bytes.len() / 2 {
        return None;
    }
    for _ in 0..headers {
        let name = take_field(bytes)??;
        let value = take_field(bytes)?;
        writer.header(name, value);
    }
    if !bytes.is_empty() {
        return None;
    }
    writer.finish();
    Some(())
}

/// Takes a field with its length off the front; the inner `None` is null.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint::take(bytes)? {
        -1 => Some(None),
        length => Some(Some(take_bytes(bytes, usize::try_from(length).ok()?)?)),
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Where the uncompressed bytes of the records come from.
enum Source {
    Plain {
        bytes: Bytes,
        start: usize,
    },
    Stream {
        reader: Box<dyn Read + Send + Sync>,
        buffer: Vec<u8>,
        start: usize,
    },
}

enum Problem {
    Message(&'static str),
    Reader(std::io::Error),
}

impl Problem {
    fn at(self, header: &BatchHeader) -> DecodeError {
        let base_offset = header.base_offset;
        match self {
            Problem::Message(message) => DecodeError::Malformed {
                base_offset,
                message: message.to_owned(),
            },
            Problem::Reader(error) => DecodeError::Decompress {
                base_offset,
                codec: header.compression().unwrap_or(super::Compression::None),
                message: error.to_string(),
            },
        }
    }
}

const CUT_OFF: Problem = Problem::Message("its records end too early");

impl Source {
    /// The next record's bytes, without its length.
    fn record(&mut self) -> Result<&[u8], Problem> {
        let (length, used) = loop {
            match varint::read(self.available()) {
                varint::Read::Value(length, used) => break (length, used),
                varint::Read::Invalid => return Err(Problem::Message("a record's length is no number")),
                varint::Read::NeedMore => {
                    if !self.fill()? {
                        return Err(CUT_OFF);
                    }
                }
            }
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_RECORD_BYTES)
            .ok_or(Problem::Message("a record's length is impossible"))?;
        while self.available().len() < used + length {
            if !self.fill()? {
                return Err(CUT_OFF);
            }
        }
        match self {
            Source::Plain { bytes, start } => {
                let record = &bytes[*start + used..*start + used + length];
                *start += used + length;
                Ok(record)
            }
            Source::Stream { buffer, start, .. } => {
                let record = &buffer[*start + used..*start + used + length];
                *start += used + length;
                Ok(record)
            }
        }
    }

    fn available(&self) -> &[u8] {
        match self {
            Source::Plain { bytes, start } => &bytes[*start..],
            Source::Stream { buffer, start, .. } => &buffer[*start..],
        }
    }

    /// Unpacks some more; false at the end.
    fn fill(&mut self) -> Result<bool, Problem> {
        let Source::Stream {
            reader,
            buffer,
            start,
        } = self
        else {
            return Ok(false);
        };
        if *start > 0 {
            buffer.drain(..*start);
            *start = 0;
        }
        let before = buffer.len();
        buffer.resize(before + STEP, 0);
        let read = loop {
            match reader.read(&mut buffer[before..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(Problem::Reader);
        buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        Ok(read? > 0)
    }

    fn at_end(&mut self) -> Result<bool, Problem> {
        Ok(self.available().is_empty() && !self.fill()?)
    }
}
