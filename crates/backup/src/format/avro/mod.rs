//! Avro object container files as Aiven's sinks write them, and any other whose rows are values.
//!
//! The sink's envelope is a record `connector_records` with some of the fields key, value, offset, timestamp and
//! headers; bytes and strings in it go straight from the file's block into the record block. Anything else goes
//! through [`datum`]. A block is read only when it lies whole in the input and its sync marker is right; it
//! counts as used when all its records are out.
//! Source: "Object Container Files" of the Apache Avro specification, version 1.12.

mod codec;
mod datum;
mod records;
pub(super) mod schema;

use record::RecordBlock;

use self::codec::Codec;
use self::datum::{Bad, Cursor, Limits};
use self::records::Records;
use self::schema::Schema;
use super::{DecodeError, Decoding, FormatDecoder, Notes, ObjectHints, Skip, is_full};

/// What every file begins with.
const MAGIC: &[u8] = b"Obj\x01";

/// The length of the marker behind each block.
const SYNC: usize = 16;

/// A block may be so much longer than the longest record: writers end one when it has reached some size.
const BLOCK_SLACK: usize = 1 << 20;

/// Decodes an Avro object container file.
pub struct AvroDecoder {
    decoding: Decoding,
    start_offset: Option<i64>,
    limit: usize,
    /// Bytes used so far.
    position: u64,
    file: Option<File>,
    block: Option<Block>,
    /// The block at hand, unpacked.
    plain: Vec<u8>,
    notes: Notes,
}

/// What the header said.
struct File {
    codec: Codec,
    sync: [u8; SYNC],
    records: Records,
}

/// A block of the file whose records are coming out.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Where its data starts, and how long it is, from its start in the input.
    data: usize,
    size: usize,
    /// Its whole length in the input, with sync marker where it has one.
    length: usize,
    /// Records that are still to come.
    records: u64,
    /// Where the next one starts, in the unpacked data.
    at: usize,
    /// The length of the unpacked data.
    plain: usize,
    limits: Limits,
    /// True where the file stops inside it.
    cut: bool,
}

/// What stands at the start of the input.
enum Next {
    /// Not all of it is here.
    Wait,
    Block(Block),
}

impl AvroDecoder {
    /// A decoder for one object.
    pub fn new(decoding: &Decoding, hints: &ObjectHints) -> Self {
        Self {
            decoding: decoding.clone(),
            start_offset: hints.start_offset,
            limit: decoding.record_limit() + BLOCK_SLACK,
            position: 0,
            file: None,
            block: None,
            plain: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// Reads the file's header, where it is all here. Gives its length.
    fn header(&mut self, input: &[u8], end: bool) -> Result<Option<usize>, DecodeError> {
        let mut cursor = Cursor::new(input, 0);
        match read_header(&mut cursor) {
            Ok(header) => {
                let fail = |reason: String| DecodeError::new(&reason, 0);
                let codec = Codec::named(header.codec).map_err(fail)?;
                let schema = header
                    .schema
                    .ok_or_else(|| fail("the Avro header has no schema".into()))?;
                let schema = Schema::parse(schema).map_err(|reason| {
                    fail(format!("the schema in the Avro header cannot be read: {reason}"))
                })?;
                let records = Records::new(schema, &self.decoding, &mut self.notes).map_err(fail)?;
                self.file = Some(File {
                    codec,
                    sync: header.sync,
                    records,
                });
                Ok(Some(cursor.position()))
            }
            Err(Bad::End) if end => Err(cut("the object stops inside the Avro header: it was cut", 0, 0)),
            Err(Bad::End) if input.len() > self.limit => Err(DecodeError::new(
                &format!("the Avro header is longer than {} bytes", self.limit),
                0,
            )),
            Err(Bad::End) => Ok(None),
            Err(Bad::Encoding(reason) | Bad::Value(reason)) => Err(DecodeError::new(
                &format!("the Avro header is damaged: {reason}"),
                0,
            )),
        }
    }

    /// Looks at the block that `input` starts with and unpacks it. `used` is what comes before it in the caller's
    /// input.
    fn next_block(&mut self, input: &[u8], used: usize, end: bool) -> Result<Next, DecodeError> {
        let Some(file) = &mut self.file else {
            return Ok(Next::Wait);
        };
        let position = self.position;
        let fail = |reason: &str| {
            let mut error = DecodeError::new(reason, position);
            error.before = used;
            error
        };
        let mut cursor = Cursor::new(input, 0);
        let (count, size) = match cursor.long().and_then(|count| Ok((count, cursor.long()?))) {
            Ok(sizes) => sizes,
            Err(Bad::End) if end => {
                return Err(cut(
                    "the object stops inside a block's length: it was cut",
                    position,
                    used,
                ));
            }
            Err(Bad::End) => return Ok(Next::Wait),
            Err(_) => return Err(fail("a block's length is damaged")),
        };
        let (Ok(records), Ok(size)) = (u64::try_from(count), usize::try_from(size)) else {
            return Err(fail("a block's length is negative"));
        };
        if size > self.limit {
            return Err(fail(&format!(
                "a block is {size} bytes long and the largest that is accepted has {}: raise the limit of a \
                 record's length",
                self.limit
            )));
        }
        let data = cursor.position();
        let length = data + size + SYNC;
        let whole = input.len() >= length;
        if !whole && !end {
            return Ok(Next::Wait);
        }
        if whole && input[data + size..length] != file.sync {
            return Err(fail(
                "the marker behind a block is not the file's: the block's length or the file is damaged",
            ));
        }
        let readable = matches!(file.codec, Codec::Null) && input.len() > data;
        if !whole && !readable {
            return Err(cut("the object stops inside a block: it was cut", position, used));
        }
        let packed = &input[data..input.len().min(data + size)];
        let damaged = |reason: String| {
            let mut error = fail(&reason);
            error.skip = Some(Skip { before: used, length });
            error
        };
        let plain = match &mut file.codec {
            Codec::Null => packed.len(),
            codec => match codec.unpack(packed, &mut self.plain, self.limit) {
                Ok(plain) => plain,
                Err(reason) => {
                    self.position += length as u64;
                    return Err(damaged(reason));
                }
            },
        };
        if whole && records > plain as u64 {
            // Even a record of one null offset takes a byte, and without this an empty block could go on for ever.
            self.position += length as u64;
            return Err(damaged(format!(
                "a block says that it holds {records} records in {plain} bytes"
            )));
        }
        Ok(Next::Block(Block {
            data,
            size: packed.len(),
            length: length.min(input.len()),
            records,
            at: 0,
            plain,
            limits: Limits {
                steps: plain as u64 * 64 + (1 << 20),
                text: self.decoding.record_limit(),
            },
            cut: !whole,
        }))
    }

    /// Appends the block's records until they end or `target` is full. True at the end.
    fn records(
        &mut self,
        input: &[u8],
        used: usize,
        block: &mut Block,
        block_bytes: usize,
        target: &mut RecordBlock,
    ) -> Result<bool, DecodeError> {
        let Some(file) = &mut self.file else {
            return Ok(true);
        };
        let data = match file.codec {
            Codec::Null => &input[block.data..block.data + block.size],
            _ => &self.plain[..block.plain],
        };
        while block.records > 0 {
            if is_full(target, block_bytes) {
                return Ok(false);
            }
            let start = block.at;
            let mut cursor = Cursor::new(data, start);
            let index = self.notes.records;
            let offset = self
                .start_offset
                .and_then(|start| start.checked_add_unsigned(index));
            let result = file
                .records
                .record(&mut cursor, offset, &mut block.limits, &mut self.notes, target);
            block.records -= 1;
            self.notes.records += 1;
            let (reason, whole) = match result {
                Ok(()) => {
                    block.at = cursor.position();
                    continue;
                }
                Err(Bad::End) if block.cut => {
                    return Err(cut(
                        "the object stops inside a record: it was cut",
                        self.position,
                        used,
                    ));
                }
                Err(Bad::End) => ("a record is longer than its block".to_owned(), false),
                Err(Bad::Encoding(reason)) => (reason, false),
                Err(Bad::Value(reason)) => (reason, true),
            };
            let mut error = DecodeError::new(&reason, self.position);
            error.before = used;
            if whole {
                // The next record can be read.
                block.at = cursor.position();
                error.skip = Some(Skip {
                    before: used,
                    length: 0,
                });
                error.rejected = Some(data[start..block.at].to_vec());
                self.block = Some(*block);
            } else {
                error.skip = Some(Skip {
                    before: used,
                    length: block.length,
                });
                error.rejected = Some(data[start..].to_vec());
                self.position += block.length as u64;
            }
            return Err(error);
        }
        if block.cut {
            return Err(cut(
                "the object stops inside a block: it was cut",
                self.position,
                used,
            ));
        }
        if block.at < data.len() {
            let mut error = DecodeError::new(
                "there are other bytes behind the records of a block",
                self.position,
            );
            error.before = used;
            error.skip = Some(Skip {
                before: used,
                length: block.length,
            });
            error.rejected = Some(data[block.at..].to_vec());
            self.position += block.length as u64;
            return Err(error);
        }
        Ok(true)
    }
}

impl FormatDecoder for AvroDecoder {
    fn decode(
        &mut self,
        input: &[u8],
        end: bool,
        block_bytes: usize,
        target: &mut RecordBlock,
    ) -> Result<usize, DecodeError> {
        let mut used = 0;
        if self.file.is_none() {
            match self.header(input, end)? {
                Some(length) => {
                    used = length;
                    self.position = length as u64;
                }
                None => return Ok(0),
            }
        }
        loop {
            let rest = &input[used..];
            let mut block = match self.block.take() {
                Some(block) => block,
                None if rest.is_empty() => return Ok(used),
                None => match self.next_block(rest, used, end)? {
                    Next::Wait => return Ok(used),
                    Next::Block(block) => block,
                },
            };
            if self.records(rest, used, &mut block, block_bytes, target)? {
                used += block.length;
                self.position += block.length as u64;
            } else {
                self.block = Some(block);
                return Ok(used);
            }
        }
    }

    fn notes(&self) -> Notes {
        let mut notes = self.notes.clone();
        notes.numbered &= notes.records > 0;
        notes
    }

    fn memory_bytes(&self) -> usize {
        self.plain.capacity()
    }
}

struct Header<'a> {
    codec: &'a [u8],
    schema: Option<&'a [u8]>,
    sync: [u8; SYNC],
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, Bad> {
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err(Bad::Encoding("it does not begin as an Avro file does".into()));
    }
    let (mut codec, mut schema) = (&b""[..], None);
    loop {
        let count = cursor.items()?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            let name = cursor.bytes()?;
            let value = cursor.bytes()?;
            match name {
                b"avro.codec" => codec = value,
                b"avro.schema" => schema = Some(value),
                _ => {}
            }
        }
    }
    let sync = cursor.take(SYNC)?.try_into().map_err(|_| Bad::End)?;
    Ok(Header { codec, schema, sync })
}

/// The content stops early; what was whole before is in the block.
fn cut(reason: &str, position: u64, before: usize) -> DecodeError {
    let mut error = DecodeError::new(reason, position);
    error.truncated = true;
    error.before = before;
    error
}

#[cfg(test)]
mod tests;
