//! json and jsonl as Aiven's sinks write them: a record on each line.
//!
//! jsonl joins records by `\n`. json is an array written as `[\n`, records joined by `,\n`, `\n]`; since a
//! newline inside a JSON string is always escaped, it too is read line by line and in bounded memory.
//!
//! A sink whose record failed leaves `,\n\n]` at the end of json (an error with `truncated` set, after all
//! whole records) and a final newline at the end of jsonl (told in [`Notes::final_newline`]).
//! Source: `JsonOutputStreamWriter` in Aiven's commons.

mod row;
mod scan;
mod text;

use memchr::memchr;
use record::{NO_TIMESTAMP, RecordBlock};
use row::{Envelope, Headers, Interpretations, Reader, Refused, envelope, not_null};
use serde_json::value::RawValue;

use super::guess::{self, InterpretationGuess};
use super::{DecodeError, Decoding, Field, FormatDecoder, Interpretation, Notes, ObjectHints, Skip, is_full};

/// How much of a file is looked at where the interpretation of its fields must be guessed.
const GUESS_BYTES: usize = 64 << 10;

/// Where in the array the next line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before `[`.
    Start,
    /// Behind `[`.
    First,
    /// Behind a comma.
    Next,
    /// Behind a record without a comma.
    Last,
    /// Behind a record (jsonl), or at its start.
    Lines,
    /// Behind the end.
    End,
    /// Behind the end of a partial array; its `]` may still come.
    Partial,
}

/// Decodes json and jsonl.
pub struct JsonDecoder {
    reader: Reader,
    place: Place,
    /// Interpretations that were given, by key, value, header.
    given: [Option<Interpretation>; 3],
    guessing: bool,
    start_offset: Option<i64>,
    max_record_bytes: usize,
    position: u64,
    line: u64,
    index: u64,
    after_newline: bool,
}

/// What stands on a line.
enum Line<'a> {
    Record(&'a [u8]),
    Frame,
    Refused(Refused),
}

impl JsonDecoder {
    /// A decoder for one object: `array` for json, otherwise jsonl.
    ///
    /// # Errors
    ///
    /// Where records are bare and more than one field is configured.
    pub fn new(array: bool, decoding: &Decoding, hints: &ObjectHints) -> Result<Self, DecodeError> {
        let bare = match (decoding.envelope, decoding.fields.as_deref()) {
            (true, _) => None,
            (false, None) => Some(Field::Value),
            (false, Some([field])) => Some(*field),
            (false, Some(_)) => {
                return Err(DecodeError::new(
                    "records without an envelope hold exactly one field; the field list must name it alone",
                    0,
                ));
            }
        };
        let given = [decoding.key_as, decoding.value_as, decoding.header_as];
        let or_bytes = |given: Option<Interpretation>| given.unwrap_or(Interpretation::Bytes);
        Ok(Self {
            reader: Reader {
                interpretations: Interpretations {
                    key: or_bytes(given[0]),
                    value: or_bytes(given[1]),
                    header: or_bytes(given[2]),
                },
                bare,
                notes: Notes::default(),
                scratch: Vec::new(),
                headers: Vec::new(),
            },
            place: if array { Place::Start } else { Place::Lines },
            given,
            guessing: given.contains(&None),
            start_offset: hints.start_offset,
            max_record_bytes: decoding.record_limit(),
            position: 0,
            line: 1,
            index: 0,
            after_newline: false,
        })
    }

    /// Looks at the first lines to tell what the fields are whose interpretation was not given.
    fn guess(&mut self, input: &[u8], end: bool) {
        // No more than is needed, however much is here.
        let (input, end) = match input.get(GUESS_BYTES..).and_then(|rest| memchr(b'\n', rest)) {
            Some(stop) => (&input[..GUESS_BYTES + stop], true),
            None => (input, end),
        };
        let whole = match memchr::memrchr(b'\n', input) {
            _ if end => input,
            Some(stop) => &input[..stop],
            None => &[],
        };
        let mut samples: [guess::Samples; 3] = Default::default();
        for line in whole.split(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b",").unwrap_or(line);
            let Ok(text) = std::str::from_utf8(text) else {
                continue;
            };
            match self.reader.bare {
                Some(field) => {
                    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
                        continue;
                    };
                    let mut fields = Envelope::default();
                    *fields.of(field) = Some(raw.get());
                    sample(&fields, &mut samples);
                }
                None => {
                    let Ok(fields) = envelope(text) else {
                        continue;
                    };
                    sample(&fields, &mut samples);
                }
            }
        }
        for (at, field) in [Field::Key, Field::Value, Field::Headers].into_iter().enumerate() {
            if self.given[at].is_some() || !samples[at].any_field() {
                continue;
            }
            let seen = samples[at];
            let (interpretation, words) = seen.interpretation();
            let slot = match field {
                Field::Key => &mut self.reader.interpretations.key,
                Field::Value => &mut self.reader.interpretations.value,
                _ => &mut self.reader.interpretations.header,
            };
            *slot = interpretation;
            self.reader.notes.interpretations.push(InterpretationGuess {
                field,
                interpretation,
                words,
                samples: seen,
            });
        }
    }

    /// Tells what a line is and moves on in the array.
    fn frame<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let refuse = |reason: &str| Line::Refused(reason.to_owned().into());
        match (self.place, line) {
            (Place::Lines, _) => Line::Record(line),
            (Place::Start, b"[") => {
                self.place = Place::First;
                Line::Frame
            }
            (Place::Start, _) => refuse("a json array should begin with a line that holds nothing but `[`"),
            (Place::First | Place::Last, b"]") => {
                self.place = Place::End;
                Line::Frame
            }
            (Place::First | Place::Next, b"" | b"]") => {
                self.place = Place::Partial;
                Line::Refused(Refused {
                    at: 0,
                    reason: "the array goes on after its last whole record without another one: the sink \
                             failed on the next record and left a partial object"
                        .into(),
                    cut: true,
                })
            }
            (Place::Last, _) => refuse("a record should end with a comma before the next one"),
            (Place::End, b"") | (Place::Partial, b"" | b"]") => Line::Frame,
            (Place::End | Place::Partial, _) => refuse("there are other bytes behind the end of the array"),
            (Place::First | Place::Next, _) => match line.strip_suffix(b",") {
                Some(text) => {
                    self.place = Place::Next;
                    Line::Record(text)
                }
                None => {
                    self.place = Place::Last;
                    Line::Record(line)
                }
            },
        }
    }

    fn error(&self, refused: Refused, skip: Option<Skip>, before: usize, truncated: bool) -> DecodeError {
        DecodeError {
            reason: refused.reason,
            byte_offset: self.position + refused.at as u64,
            line: Some(self.line),
            skip,
            before,
            truncated,
            rejected: None,
        }
    }

    /// The content has ended: the array must have, too.
    fn ended(&mut self, used: usize) -> Result<(), DecodeError> {
        match self.place {
            Place::Lines | Place::End | Place::Partial => Ok(()),
            Place::Start if self.position == 0 => Ok(()),
            _ => {
                let refused = Refused {
                    at: 0,
                    reason: "the array is not closed by `]`: the object was cut".into(),
                    cut: true,
                };
                self.place = Place::End;
                let skip = Some(Skip {
                    before: used,
                    length: 0,
                });
                Err(self.error(refused, skip, used, true))
            }
        }
    }
}

fn sample(fields: &Envelope<'_>, samples: &mut [guess::Samples; 3]) {
    if let Some(raw) = fields.key {
        samples[0].add(raw);
    }
    if let Some(raw) = fields.value {
        samples[1].add(raw);
    }
    if let Some(raw) = not_null(fields.headers)
        && let Ok(Headers(headers)) = serde_json::from_str(raw)
    {
        for header in headers {
            if let Some(raw) = header.value {
                samples[2].add(raw);
            }
        }
    }
}

impl FormatDecoder for JsonDecoder {
    fn decode(
        &mut self,
        input: &[u8],
        end: bool,
        block_bytes: usize,
        block: &mut RecordBlock,
    ) -> Result<usize, DecodeError> {
        if self.guessing {
            let enough = input.len() >= GUESS_BYTES.min(self.max_record_bytes);
            if !end && (!enough || memchr(b'\n', input).is_none() && input.len() <= self.max_record_bytes) {
                return Ok(0);
            }
            self.guess(input, end);
            self.guessing = false;
        }
        let mut used = 0;
        while !is_full(block, block_bytes) {
            let rest = &input[used..];
            if rest.is_empty() {
                if end {
                    self.reader.notes.final_newline = self.after_newline && self.place == Place::Lines;
                    self.ended(used)?;
                }
                break;
            }
            let (line, length) = match memchr(b'\n', rest) {
                Some(stop) => (&rest[..stop], stop + 1),
                None if end => (rest, rest.len()),
                None if rest.len() <= self.max_record_bytes => break,
                None => (rest, 0),
            };
            if line.len() > self.max_record_bytes {
                let reason = format!(
                    "the record is longer than {} bytes, the largest that is accepted",
                    self.max_record_bytes
                );
                return Err(self.error(reason.into(), None, used, false));
            }
            let result = match self.frame(line) {
                Line::Frame => Ok(()),
                Line::Refused(refused) => Err(refused),
                Line::Record(text) => {
                    let offset = self
                        .start_offset
                        .and_then(|start| start.checked_add_unsigned(self.index));
                    self.index += 1;
                    self.reader.record(text, offset, block.append(0, NO_TIMESTAMP))
                }
            };
            let cut_off = length == line.len();
            if let Err(refused) = result {
                let partial = self.place == Place::Partial;
                let truncated = refused.cut && (partial || (cut_off && end));
                if truncated && !partial {
                    self.place = Place::End;
                }
                let error = self.error(refused, Some(Skip { before: used, length }), used, truncated);
                self.position += length as u64;
                self.line += 1;
                return Err(error);
            }
            used += length;
            self.position += length as u64;
            self.line += 1;
            self.after_newline = !cut_off;
        }
        Ok(used)
    }

    fn notes(&self) -> Notes {
        let mut notes = self.reader.notes.clone();
        notes.numbered &= self.index > 0;
        notes
    }
}
