//! What there is to say of one object beside its records.

use super::Format;
use super::guess::{Guess, InterpretationGuess};
use crate::container::Container;

/// Facts and counts of one object's content, for reports. Counts are of what has been decoded so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Notes {
    /// The containers found around the content, outermost first.
    pub containers: Vec<Container>,
    /// The format found.
    pub format: Option<Format>,
    /// True where the content is of another format than the configuration says; it was believed.
    pub format_differs: bool,
    /// Whole records decoded.
    pub records: u64,
    /// Stored bytes used.
    pub stored_bytes: u64,
    /// Unwrapped bytes used.
    pub unwrapped_bytes: u64,
    /// Zeros passed over behind the end of a container.
    pub padding_bytes: u64,
    /// True where the object holds no content at all.
    pub empty: bool,
    /// csv: empty key fields, each of which was null or empty.
    pub empty_keys: u64,
    /// csv: empty value fields, each of which was null or empty.
    pub empty_values: u64,
    /// csv, jsonl: the content ends with a newline. Old sinks end every record so; from others it is the mark
    /// of a partial object.
    pub final_newline: bool,
    /// csv with one field: whether there is a last empty record could not be told for certain.
    pub ambiguous_end: bool,
    /// csv: the last number of the file is shorter than the one in the record before: perhaps it was cut.
    pub suspicious_end: bool,
    /// csv with unencoded values: values that hold newlines, whose ends were found by the form of what follows.
    pub multiline_values: u64,
    /// Offsets are the start offset and the record's place in the file, because no field holds them: right only
    /// where the source had no gaps.
    pub numbered: bool,
    /// csv: the fields, where they had to be guessed.
    pub guess: Option<Guess>,
    /// json, jsonl: what keys, values or header values were taken for, where it had to be guessed.
    pub interpretations: Vec<InterpretationGuess>,
    /// json, jsonl: strings with half of a surrogate pair. Java writes such a character as `?` when it makes
    /// bytes of a string, and so do we.
    pub lone_surrogates: u64,
    /// json, jsonl: names that one object held twice; the last one counts, as in the sinks' own library.
    pub duplicate_names: u64,
    /// Keys, values and header values taken as, or written anew as, JSON text: equivalent, not identical.
    pub json_texts: u64,
    /// avro, parquet: records with headers, which these formats store as a map: of equal names only the last is
    /// left, and their order is lost.
    pub map_headers: u64,
    /// avro, parquet: the sink was to store headers and this object has no place for them, because its first
    /// record had none. Headers of later records were lost in silence.
    pub headers_absent: bool,
    /// parquet: files in this object that stand behind another one, which no released sink writes.
    pub joined_files: u64,
}
