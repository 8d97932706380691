//! From the fields of one csv record to the record, with a word for everything that is wrong with it.

use memchr::memchr2;
use record::{NO_TIMESTAMP, RecordWriter};

use super::fields::{Bad, base64_bad, decode_base64, headers, name, names, number, number_bad};
use crate::format::{EmptyField, Field, Notes};

const EMPTY_KEY: usize = 1;
const EMPTY_VALUE: usize = 2;

/// What one attempt at a record came to.
pub(super) enum Outcome {
    /// A record of this many bytes, its separator included, and whether there was a separator.
    Whole { length: usize, newline: bool },
    /// The record's end has not come yet.
    Incomplete,
    /// No record.
    Bad(Bad),
}

/// The part that turns fields into a record; apart, so that a record being written can borrow it.
pub(super) struct Parser {
    pub(super) empty_key: EmptyField,
    pub(super) empty_value: EmptyField,
    pub(super) raw: bool,
    pub(super) notes: Notes,
    /// The digits of the last timestamp, and of the one before.
    pub(super) last_digits: usize,
    pub(super) previous_digits: usize,
    pub(super) ranges: Vec<(usize, usize)>,
    /// [`EMPTY_KEY`] and [`EMPTY_VALUE`] of the record at hand.
    pub(super) empty: usize,
}

impl Parser {
    /// The record at the start of `input`, all of whose fields are free of commas and newlines.
    pub(super) fn record(
        &mut self,
        columns: &[Field],
        twins: &[Option<usize>],
        input: &[u8],
        end: bool,
        mut writer: RecordWriter<'_>,
    ) -> Outcome {
        let mut start = 0;
        let mut length = 0;
        let mut newline = false;
        let count = columns.len();
        let has_twins = twins.iter().any(Option::is_some);
        self.ranges.clear();
        self.empty = 0;
        for (at, column) in columns.iter().enumerate() {
            let rest = &input[start..];
            let (field, delimiter) = match memchr2(b',', b'\n', rest) {
                Some(stop) => (&rest[..stop], rest[stop]),
                None if !end => return Outcome::Incomplete,
                None => (rest, b'\n'),
            };
            let stop = start + field.len();
            let at_end = stop == input.len();
            let last = at + 1 == count;
            if (delimiter == b',') == last {
                let reason = if last {
                    format!("the record has more than {count} fields ({})", names(columns))
                } else {
                    format!("the record has {} of {count} fields ({})", at + 1, names(columns))
                };
                return Outcome::Bad(Bad {
                    at: stop,
                    reason,
                    cut: at_end,
                });
            }
            if has_twins {
                self.ranges.push((start, stop));
            }
            if let Err(mut bad) = self.field(*column, field, at_end, &mut writer) {
                bad.at += start;
                return Outcome::Bad(bad);
            }
            if let Some(twin) = twins[at]
                && let Some((from, to)) = self.ranges.get(twin)
                && &input[*from..*to] != field
            {
                return Outcome::Bad(Bad::at(
                    start,
                    format!("the two {} fields of the record differ", name(*column)),
                ));
            }
            newline = !at_end;
            length = stop + usize::from(newline);
            start = length;
        }
        writer.finish();
        self.count_empty();
        Outcome::Whole { length, newline }
    }

    /// The record whose fields lie at `ranges`.
    pub(super) fn fields(
        &mut self,
        columns: &[Field],
        twins: &[Option<usize>],
        input: &[u8],
        ranges: &[(usize, usize)],
        mut writer: RecordWriter<'_>,
    ) -> Result<(), Bad> {
        self.empty = 0;
        for ((at, column), (start, stop)) in columns.iter().enumerate().zip(ranges) {
            let field = &input[*start..*stop];
            self.field(*column, field, *stop == input.len(), &mut writer)
                .map_err(|bad| Bad {
                    at: bad.at + start,
                    ..bad
                })?;
            if let Some(twin) = twins[at] {
                let (from, to) = ranges[twin];
                if &input[from..to] != field {
                    return Err(Bad::at(
                        *start,
                        format!("the two {} fields of the record differ", name(*column)),
                    ));
                }
            }
        }
        writer.finish();
        self.count_empty();
        Ok(())
    }

    #[inline]
    fn field(
        &mut self,
        column: Field,
        field: &[u8],
        at_end: bool,
        writer: &mut RecordWriter<'_>,
    ) -> Result<(), Bad> {
        match column {
            Field::Key => {
                if field.is_empty() {
                    self.empty |= EMPTY_KEY;
                    match self.empty_key {
                        EmptyField::Null => writer.key_null(),
                        EmptyField::Empty => writer.key(b""),
                    }
                    Ok(())
                } else {
                    writer
                        .key_with(|buffer| decode_base64(field, buffer))
                        .map_err(|()| base64_bad("key", field, 0, at_end))
                }
            }
            Field::Value => {
                if field.is_empty() {
                    self.empty |= EMPTY_VALUE;
                    match self.empty_value {
                        EmptyField::Null => writer.value_null(),
                        EmptyField::Empty => writer.value(b""),
                    }
                    Ok(())
                } else if self.raw {
                    writer.value(field);
                    Ok(())
                } else {
                    writer
                        .value_with(|buffer| decode_base64(field, buffer))
                        .map_err(|()| base64_bad("value", field, 0, at_end))
                }
            }
            Field::Offset => {
                match number(field).filter(|offset| *offset >= 0) {
                    Some(offset) => writer.offset(offset),
                    None => return Err(number_bad("offset", field, at_end)),
                }
                Ok(())
            }
            Field::Timestamp => {
                self.previous_digits = self.last_digits;
                self.last_digits = field.len();
                // The text `null` was written by the S3 sink up to 2.6.0.
                let timestamp = match field {
                    b"" | b"null" => NO_TIMESTAMP,
                    _ => match number(field) {
                        Some(timestamp) => timestamp,
                        None => return Err(number_bad("timestamp", field, at_end)),
                    },
                };
                writer.timestamp(timestamp);
                Ok(())
            }
            Field::Headers => headers(field, at_end, writer),
        }
    }

    pub(super) fn count_empty(&mut self) {
        if self.empty != 0 {
            self.notes.empty_keys += u64::from(self.empty & EMPTY_KEY != 0);
            self.notes.empty_values += u64::from(self.empty & EMPTY_VALUE != 0);
            self.empty = 0;
        }
    }

    /// A timestamp at the very end of a file without a final newline may have been cut without a trace; one that
    /// is shorter than in the record before is worth a word.
    pub(super) fn note_short_end(&mut self, last: Option<&Field>) {
        if last == Some(&Field::Timestamp) && self.last_digits < self.previous_digits {
            self.notes.suspicious_end = true;
        }
    }
}
