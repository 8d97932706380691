//! Record formats: unwrapped bytes of one object -> [`RecordBlock`].
//!
//! Decoders are sans-I/O state machines behind [`FormatDecoder`]; Parquet, which must seek, has its own way.

mod avro;
mod csv;
pub mod guess;
mod instant;
mod json;
mod notes;
mod object;
mod parquet;
mod typed;

pub use avro::AvroDecoder;
pub use csv::CsvDecoder;
pub use guess::{Guess, InterpretationGuess, Samples};
pub use json::JsonDecoder;
pub use notes::Notes;
pub use object::{ObjectDecoder, ObjectError, ObjectHints, Rejected, Stage, Status};
pub use parquet::{ParquetDecoder, ParquetStep};

use record::RecordBlock;

/// A field that a sink can write for each record.
///
/// Source: `format.output.fields` of Aiven's sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
    /// The record's offset in its source partition.
    Offset,
    /// The record's timestamp.
    Timestamp,
    /// The record's headers.
    Headers,
}

/// A record format.
///
/// Source: `format.output.type` of Aiven's sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Fields joined by commas, records by newlines, base64 inside.
    Csv,
    /// One JSON array of records.
    Json,
    /// One JSON value on each line.
    Jsonl,
    /// An Avro object container file.
    Avro,
    /// An Apache Parquet file.
    Parquet,
}

/// How a csv value was written.
///
/// Source: `format.output.fields.value.encoding` of Aiven's sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueEncoding {
    /// Standard alphabet, padded.
    #[default]
    Base64,
    /// The value's own bytes, unescaped.
    None,
}

/// How a value of a JSON, Avro or Parquet file becomes the bytes that were in Kafka: the inverse of the
/// Connect converter that read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpretation {
    /// A base64 string (ByteArrayConverter).
    Bytes,
    /// A string, as UTF-8 (StringConverter).
    String,
    /// Any value, written as JSON text again: equivalent, not identical (JsonConverter).
    Json,
    /// A number, as 8 bytes big endian (LongConverter).
    Long,
    /// A number, as 4 bytes big endian (IntegerConverter).
    Integer,
    /// A number, as 2 bytes big endian (ShortConverter).
    Short,
    /// A number, as 8 bytes IEEE 754 big endian (DoubleConverter).
    Double,
    /// A number, as 4 bytes IEEE 754 big endian (FloatConverter).
    Float,
}

/// What an empty csv field stands for: csv cannot tell null from empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyField {
    /// A null.
    #[default]
    Null,
    /// An empty byte array.
    Empty,
}

/// What the newline at the very end of a csv file with one field is. With more fields it can only be a
/// terminator.
///
/// Source: GCS sinks up to 0.1.2 and S3 sinks up to 2.7.1 ended every record with a newline; later ones put
/// it between records only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalNewline {
    /// A separator, unless the next object's start offset shows that there is no room for another record.
    #[default]
    Auto,
    /// The end of the last record.
    Terminator,
    /// What stands before a last, empty record.
    Separator,
}

/// Everything that has to be known about a backup's content beyond its bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Decoding {
    /// The format, where it is known; otherwise it is told from the content.
    pub format: Option<Format>,
    /// The fields in configured order. csv needs them (or guesses, see [`guess::fields`]); others read them from the data.
    pub fields: Option<Vec<Field>>,
    /// How csv values are written.
    pub value_encoding: ValueEncoding,
    /// False where each record is its one bare field (`format.output.envelope=false`).
    pub envelope: bool,
    /// How keys become bytes (json, jsonl; avro and parquet where their schema leaves a choice).
    pub key_as: Option<Interpretation>,
    /// How values become bytes.
    pub value_as: Option<Interpretation>,
    /// How header values become bytes.
    pub header_as: Option<Interpretation>,
    /// What an empty csv key is.
    pub csv_empty_key: EmptyField,
    /// What an empty csv value is.
    pub csv_empty_value: EmptyField,
    /// What the final newline of a csv file with one field is.
    #[serde(default)]
    pub csv_final_newline: FinalNewline,
    /// True where the connector ran with `file.max.records=1`: each object is one record. Needed to read csv
    /// whose unencoded value is the last field, and used for nothing else.
    #[serde(default)]
    pub one_record_per_object: bool,
    /// The timestamp of records that were stored without one.
    #[serde(default)]
    pub missing_timestamp: MissingTimestamp,
    /// The longest single record that is accepted, in bytes of the unwrapped file; at most 1 GiB.
    pub max_record_bytes: usize,
}

/// The timestamp that a record gets where the sink did not store its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingTimestamp {
    /// None: [`NO_TIMESTAMP`](record::NO_TIMESTAMP).
    #[default]
    None,
    /// When its object was last modified, as the store says.
    Object,
    /// This one, in milliseconds since 1970.
    At(i64),
}

impl Decoding {
    fn record_limit(&self) -> usize {
        self.max_record_bytes.clamp(1, 1 << 30)
    }
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            format: None,
            fields: None,
            value_encoding: ValueEncoding::default(),
            envelope: true,
            key_as: None,
            value_as: None,
            header_as: None,
            csv_empty_key: EmptyField::default(),
            csv_empty_value: EmptyField::default(),
            csv_final_newline: FinalNewline::default(),
            one_record_per_object: false,
            missing_timestamp: MissingTimestamp::default(),
            max_record_bytes: 64 << 20,
        }
    }
}

/// Decodes the unwrapped bytes of one object.
pub trait FormatDecoder: Send {
    /// Appends the records that lie whole in `input` to `block`, until `input` is used up or the block
    /// [is full](is_full). Gives the number of bytes used.
    ///
    /// `input` starts where the last call stopped using it: the caller keeps the unused rest and calls again
    /// with more bytes behind it. `end` says that nothing will ever come behind `input`; then everything is
    /// used (unless the block is full) or it is an error. After an error that
    /// [can be skipped](DecodeError::skip), the next call goes on behind the rejected bytes.
    fn decode(
        &mut self,
        input: &[u8],
        end: bool,
        block_bytes: usize,
        block: &mut RecordBlock,
    ) -> Result<usize, DecodeError>;

    /// What there is to say of the content decoded so far.
    fn notes(&self) -> Notes {
        Notes::default()
    }

    /// Bytes of memory held beside the input and the block.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// True where a block has reached its size: `block_bytes` of payload and bookkeeping together, so that a file
/// of tiny records cannot make a huge block.
pub fn is_full(block: &RecordBlock, block_bytes: usize) -> bool {
    block.used_bytes() >= block_bytes
}

/// Tells the format from the first bytes of unwrapped content; nothing where there are none.
///
/// Certain for Avro and Parquet, which have magic bytes, and good for the others of the same writer: a csv
/// line starts with base64, a number, or (fields empty) a separator, unless its first field is an unencoded
/// value.
pub fn sniff(first_unwrapped_bytes: &[u8]) -> Option<Format> {
    let first = first_unwrapped_bytes.first()?;
    Some(if first_unwrapped_bytes.starts_with(b"PAR1") {
        Format::Parquet
    } else if first_unwrapped_bytes.starts_with(b"Obj\x01") {
        Format::Avro
    } else {
        match first {
            b'[' => Format::Json,
            b'{' | b'"' => Format::Jsonl,
            _ => Format::Csv,
        }
    })
}

/// Where and how `text` fails to be base64 of the standard alphabet with padding.
///
/// The place is the length of `text` where all its characters are right and their number is wrong.
fn base64_error(text: &[u8]) -> (usize, String) {
    let unpadded = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    let wrong = unpadded
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')));
    match wrong {
        Some(at) => (at, format!("it holds the byte '{}'", text[at].escape_ascii())),
        None if !text.len().is_multiple_of(4) => (
            text.len(),
            format!("it is {} characters long, which is no multiple of 4", text.len()),
        ),
        None => (
            unpadded.len().saturating_sub(1),
            "its last character holds bits that stand for nothing".into(),
        ),
    }
}

/// Content that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DecodeError {
    /// What is wrong, for people.
    pub reason: String,
    /// Where, in bytes from the start of the unwrapped content.
    pub byte_offset: u64,
    /// The line, from 1, for formats that have lines.
    pub line: Option<u64>,
    /// Bytes, from the start of the `input` of the failed call, that belong to whole records before the bad
    /// one, and the length of the bad one itself, where the decoder can go on behind it.
    pub skip: Option<Skip>,
    /// Bytes of that `input` whose records are in the block.
    pub before: usize,
    /// True where the content simply stops early (a cut upload) rather than being wrong.
    pub truncated: bool,
    /// The bad record's bytes, where they are not those of the input that [`skip`](Self::skip) names: in formats
    /// whose records are packed.
    pub rejected: Option<Vec<u8>>,
}

impl DecodeError {
    /// Content that cannot be decoded at all, from `byte_offset` on.
    pub fn new(reason: &str, byte_offset: u64) -> Self {
        Self {
            reason: reason.into(),
            byte_offset,
            line: None,
            skip: None,
            before: 0,
            truncated: false,
            rejected: None,
        }
    }
}

/// How to step over a record that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Bytes of `input` before the bad record; their records are in the block.
    pub before: usize,
    /// Length of the bad record in bytes, its separator included.
    pub length: usize,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod golden_tests;

#[cfg(test)]
mod json_tests;

#[cfg(test)]
mod matrix_tests;

#[cfg(test)]
mod sets_tests;
