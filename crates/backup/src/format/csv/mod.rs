//! csv as Aiven's sinks write it: fields joined by `,`, records by `\n`, no header row, no quoting.
//!
//! Keys, header names and header values are base64 always, values unless `value.encoding=none` (see
//! [`raw`]), offsets and timestamps decimal numbers. Everything is bytes and never text. Null and
//! empty are the same in such a file; [`Decoding`] says which is meant, and the fields concerned are counted.
//!
//! A record that is cut (sinks publish what they had when a record failed) is an error with `truncated` set,
//! after all whole records before it. Source: `PlainOutputStreamWriter` and its field writers in Aiven's
//! commons.

pub(super) mod fields;
mod parser;
mod quick;
mod raw;

use fields::Bad;
use memchr::memchr;
use parser::{Outcome, Parser};
use quick::Found;
use raw::Split;
use record::{NO_TIMESTAMP, RecordBlock};

use super::guess::{self, Guess};
use super::{
    DecodeError, Decoding, Field, FinalNewline, FormatDecoder, Notes, ObjectHints, Skip, ValueEncoding,
    is_full,
};

/// How much of a file is looked at where its fields must be guessed.
const GUESS_BYTES: usize = 64 << 10;

/// Decodes csv.
pub struct CsvDecoder {
    columns: Vec<Field>,
    /// For each column, the earlier one that holds the same field.
    twins: Vec<Option<usize>>,
    /// True where records may go the quick way.
    pub(super) quick: bool,
    raw_value: Option<usize>,
    parser: Parser,
    final_newline: FinalNewline,
    single_record: bool,
    guessing: bool,
    /// True where no column holds the offset.
    numbered: bool,
    start_offset: Option<i64>,
    next_start_offset: Option<i64>,
    max_record_bytes: usize,
    /// Bytes of content before the next record, and its line.
    position: u64,
    line: u64,
    index: u64,
    after_newline: bool,
    finished: bool,
}

/// True for a name whose number is padded to ten digits. Only the S3 sinks 2.5 and 2.6 named objects so, and they ended
/// every record with a newline.
fn has_ten_digits(key: &str) -> bool {
    let number = key.rsplit('-').next().unwrap_or_default();
    let digits = number.strip_suffix(".gz").unwrap_or(number);
    digits.len() == 10 && digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit())
}

impl CsvDecoder {
    /// A decoder for one object.
    ///
    /// # Errors
    ///
    /// Where what is known of the backup does not suffice to read the file for certain: the text says what is
    /// missing.
    pub fn new(decoding: &Decoding, hints: &ObjectHints) -> Result<Self, DecodeError> {
        let mut decoder = Self {
            columns: Vec::new(),
            twins: Vec::new(),
            quick: false,
            raw_value: None,
            parser: Parser {
                empty_key: decoding.csv_empty_key,
                empty_value: decoding.csv_empty_value,
                raw: decoding.value_encoding == ValueEncoding::None,
                notes: Notes::default(),
                last_digits: 0,
                previous_digits: 0,
                ranges: Vec::new(),
                empty: 0,
            },
            final_newline: match decoding.csv_final_newline {
                FinalNewline::Auto if has_ten_digits(&hints.key) => FinalNewline::Terminator,
                said => said,
            },
            single_record: decoding.one_record_per_object,
            guessing: decoding.fields.is_none(),
            numbered: false,
            start_offset: hints.start_offset,
            next_start_offset: hints.next_start_offset,
            max_record_bytes: decoding.record_limit(),
            position: 0,
            line: 1,
            index: 0,
            after_newline: false,
            finished: false,
        };
        if let Some(fields) = &decoding.fields {
            decoder.set_columns(fields)?;
        }
        Ok(decoder)
    }

    fn set_columns(&mut self, fields: &[Field]) -> Result<(), DecodeError> {
        let refuse = |reason: &str| Err(DecodeError::new(reason, 0));
        if fields.is_empty() {
            return refuse("the list of csv fields is empty; a sink writes at least one");
        }
        self.columns = fields.to_vec();
        self.twins = (0..fields.len())
            .map(|at| fields[..at].iter().position(|field| *field == fields[at]))
            .collect();
        self.quick = self.twins.iter().all(Option::is_none) && !self.parser.raw;
        self.numbered = !fields.contains(&Field::Offset);
        if self.numbered && self.start_offset.is_none() {
            return refuse(
                "the csv fields do not include the offset, and the object's name gives no start offset: \
                 the records' offsets cannot be known",
            );
        }
        self.parser.notes.numbered = self.numbered;
        if self.parser.raw {
            let mut values = (0..fields.len()).filter(|at| fields[*at] == Field::Value);
            self.raw_value = values.next();
            if values.next().is_some() {
                return refuse(
                    "the csv values are written unencoded (value encoding none) and the field list has them twice: \
                     such a file cannot be taken apart",
                );
            }
            if self.raw_value == Some(fields.len() - 1) && !self.single_record {
                return refuse(
                    "the csv values are written unencoded (value encoding none) as the only or the last field: a \
                     newline inside a value cannot be told from the end of a record. Only where the connector ran with \
                     file.max.records=1 is each object one record: give the connector's configuration, or say that \
                     each object holds one record",
                );
            }
        }
        Ok(())
    }

    /// The offset of the next record where its fields do not say.
    fn next_offset(&self) -> Option<i64> {
        match self.start_offset {
            Some(start) if self.numbered => start.checked_add_unsigned(self.index),
            _ => Some(0),
        }
    }

    /// Takes the record at the start of `input` the quick way, where that goes.
    #[inline]
    fn quick_record(&mut self, input: &[u8], block: &mut RecordBlock) -> Option<Found> {
        let mut writer = block.append(self.next_offset()?, NO_TIMESTAMP);
        let parser = &mut self.parser;
        let found = quick::record(
            &self.columns,
            parser.empty_key,
            parser.empty_value,
            input,
            &mut writer,
        )?;
        if found.length > self.max_record_bytes {
            return None;
        }
        writer.finish();
        parser.notes.empty_keys += u64::from(found.empty_key);
        parser.notes.empty_values += u64::from(found.empty_value);
        parser.last_digits = found.timestamp_digits;
        Some(found)
    }

    /// Tries the record at the start of `input`.
    fn record(&mut self, input: &[u8], end: bool, block: &mut RecordBlock) -> Outcome {
        let Some(offset) = self.next_offset() else {
            return Outcome::Bad(Bad::at(0, "the record's offset would pass the largest number"));
        };
        let writer = block.append(offset, NO_TIMESTAMP);
        match self.raw_value {
            None => self.parser.record(&self.columns, &self.twins, input, end, writer),
            Some(raw) => {
                let split = raw::split(
                    input,
                    end,
                    &self.columns,
                    raw,
                    self.single_record,
                    &mut self.parser.ranges,
                );
                match split {
                    Split::Incomplete => Outcome::Incomplete,
                    Split::None(bad) => Outcome::Bad(bad),
                    Split::Whole {
                        length,
                        newline,
                        lines,
                    } => {
                        self.parser.notes.multiline_values += u64::from(lines > 0);
                        let ranges = std::mem::take(&mut self.parser.ranges);
                        let result = self
                            .parser
                            .fields(&self.columns, &self.twins, input, &ranges, writer);
                        self.parser.ranges = ranges;
                        match result {
                            Ok(()) => Outcome::Whole { length, newline },
                            Err(bad) => Outcome::Bad(bad),
                        }
                    }
                }
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        if self.raw_value.is_some() {
            self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
        } else {
            self.line += 1;
        }
        self.index += 1;
    }

    fn too_long(&self, used: usize) -> DecodeError {
        DecodeError {
            reason: format!(
                "the record is longer than {} bytes, the largest that is accepted",
                self.max_record_bytes
            ),
            byte_offset: self.position,
            line: Some(self.line),
            skip: None,
            before: used,
            truncated: false,
            rejected: None,
        }
    }

    /// The last record of a file with one column that ends with a newline, or is empty: a null or empty field
    /// behind a separator, or (old versions) nothing behind a terminator.
    fn last_empty_record(&mut self, block: &mut RecordBlock) {
        let notes = &mut self.parser.notes;
        notes.ambiguous_end = self.final_newline == FinalNewline::Auto;
        let keep = match self.final_newline {
            FinalNewline::Separator => true,
            FinalNewline::Terminator => false,
            // The next object's records cannot begin before this one's have ended.
            FinalNewline::Auto => match (self.start_offset, self.next_start_offset) {
                (Some(start), Some(next)) if next > start => start
                    .checked_add_unsigned(self.index)
                    .is_some_and(|offset| offset < next),
                _ => true,
            },
        };
        if keep {
            self.record(&[], true, block);
            self.index += 1;
        }
    }

    fn decode_records(
        &mut self,
        input: &[u8],
        end: bool,
        block_bytes: usize,
        block: &mut RecordBlock,
    ) -> Result<usize, DecodeError> {
        let mut used = 0;
        while !is_full(block, block_bytes) {
            let rest = &input[used..];
            if rest.is_empty() {
                if end && !self.finished {
                    self.finished = true;
                    self.parser.notes.final_newline = self.after_newline;
                    if self.columns.len() == 1 && (self.after_newline || self.position == 0) {
                        self.last_empty_record(block);
                    }
                }
                break;
            }
            if self.quick
                && let Some(found) = self.quick_record(rest, block)
            {
                self.step(&rest[..found.length]);
                used += found.length;
                self.after_newline = true;
                continue;
            }
            match self.record(rest, end, block) {
                Outcome::Whole { length, newline } => {
                    if length - usize::from(newline) > self.max_record_bytes {
                        block.truncate(block.len() - 1);
                        return Err(self.too_long(used));
                    }
                    self.step(&rest[..length]);
                    used += length;
                    self.after_newline = newline;
                    if !newline {
                        self.parser.note_short_end(self.columns.last());
                        self.finished = true;
                    }
                }
                Outcome::Incomplete => {
                    if rest.len() > self.max_record_bytes {
                        return Err(self.too_long(used));
                    }
                    break;
                }
                Outcome::Bad(bad) => {
                    let line_end = memchr(b'\n', rest);
                    if line_end.is_none() && !end {
                        if rest.len() > self.max_record_bytes {
                            return Err(self.too_long(used));
                        }
                        break; // The rest of the bad line has not come yet.
                    }
                    let length = line_end.map_or(rest.len(), |at| at + 1);
                    if length - usize::from(line_end.is_some()) > self.max_record_bytes {
                        return Err(self.too_long(used));
                    }
                    let error = DecodeError {
                        reason: bad.reason,
                        byte_offset: self.position + bad.at as u64,
                        line: Some(self.line),
                        skip: Some(Skip { before: used, length }),
                        before: used,
                        truncated: bad.cut && end && line_end.is_none(),
                        rejected: None,
                    };
                    self.position += length as u64;
                    self.line += 1;
                    self.index += 1;
                    self.after_newline = line_end.is_some();
                    self.finished = line_end.is_none();
                    return Err(error);
                }
            }
        }
        Ok(used)
    }
}

impl FormatDecoder for CsvDecoder {
    fn decode(
        &mut self,
        input: &[u8],
        end: bool,
        block_bytes: usize,
        block: &mut RecordBlock,
    ) -> Result<usize, DecodeError> {
        if self.guessing {
            let line_ends = memchr(b'\n', input).is_some() || input.len() > self.max_record_bytes;
            let enough = line_ends && input.len() >= GUESS_BYTES.min(self.max_record_bytes);
            if !end && !enough {
                return Ok(0);
            }
            let guess: Guess = guess::fields(input, end, self.start_offset)
                .map_err(|reason| DecodeError::new(&reason, 0))?;
            self.set_columns(&guess.fields)?;
            self.parser.notes.guess = Some(guess);
            self.guessing = false;
        }
        self.decode_records(input, end, block_bytes, block)
    }

    fn notes(&self) -> Notes {
        self.parser.notes.clone()
    }
}
