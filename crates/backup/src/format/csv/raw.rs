//! Taking a csv record apart whose value is written unencoded (`format.output.fields.value.encoding=none`).
//!
//! Such a value may hold commas and newlines. All other fields are free of them and have a strict form
//! (base64, a number, headers), so the fields before the value are counted from the left and those behind it
//! from the right; where a line so taken is not a record, or what follows it cannot start one, the newline
//! belongs to the value and the next line is taken in. Where the value is the last field nothing marks its
//! end, and only an object with one record can be read.

use memchr::{memchr, memchr_iter, memrchr};

use super::fields::{Bad, number};
use crate::format::Field;

/// Where a record's fields are.
pub(super) enum Split {
    /// The ranges have been written; `lines` is the number of newlines inside the value.
    Whole {
        length: usize,
        newline: bool,
        lines: usize,
    },
    /// The record's end has not come yet.
    Incomplete,
    /// There is no record here.
    None(Bad),
}

/// Finds the record at the start of `input` and writes the range of each of its fields to `ranges`.
///
/// `raw` is the column of the value. With `single` the whole of `input` is one record.
pub(super) fn split(
    input: &[u8],
    end: bool,
    columns: &[Field],
    raw: usize,
    single: bool,
    ranges: &mut Vec<(usize, usize)>,
) -> Split {
    if single {
        if !end {
            return Split::Incomplete;
        }
        let line_start = memrchr(b'\n', input).map_or(0, |at| at + 1);
        let whole = take_apart(input, line_start, columns, raw, ranges);
        return match whole {
            true => Split::Whole {
                length: input.len(),
                newline: false,
                lines: memchr_iter(b'\n', input).count(),
            },
            false => none(columns, end),
        };
    }
    if starts_record(input, end, &columns[..raw]) == Some(false) {
        return none(columns, false);
    }
    let mut lines = 0;
    let mut line_start = 0;
    for stop in memchr_iter(b'\n', input) {
        let fits = take_apart(&input[..stop], line_start, columns, raw, ranges);
        line_start = stop + 1;
        if fits {
            match starts_record(&input[stop + 1..], end, &columns[..raw]) {
                Some(true) => {
                    return Split::Whole {
                        length: stop + 1,
                        newline: true,
                        lines,
                    };
                }
                Some(false) => {}
                None => return Split::Incomplete,
            }
        }
        lines += 1;
    }
    if !end {
        return Split::Incomplete;
    }
    if take_apart(input, line_start, columns, raw, ranges) {
        return Split::Whole {
            length: input.len(),
            newline: false,
            lines,
        };
    }
    none(columns, end)
}

fn none(columns: &[Field], end: bool) -> Split {
    Split::None(Bad {
        at: 0,
        reason: format!(
            "from here on nothing can be taken apart into the fields {} (values unencoded)",
            super::fields::names(columns)
        ),
        cut: end,
    })
}

/// `line_start` is where the last line of `text` begins: the fields behind the value lie in it.
fn take_apart(
    text: &[u8],
    line_start: usize,
    columns: &[Field],
    raw: usize,
    ranges: &mut Vec<(usize, usize)>,
) -> bool {
    ranges.clear();
    let mut start = 0;
    for column in &columns[..raw] {
        let Some(comma) = memchr(b',', &text[start..]) else {
            return false;
        };
        if !fits(*column, &text[start..start + comma]) {
            return false;
        }
        ranges.push((start, start + comma));
        start += comma + 1;
    }
    let left = start.max(line_start);
    let mut stop = text.len();
    ranges.resize(columns.len(), (0, 0));
    for at in (raw + 1..columns.len()).rev() {
        let Some(comma) = text.get(left..stop).and_then(|text| memrchr(b',', text)) else {
            return false;
        };
        let from = left + comma + 1;
        if !fits(columns[at], &text[from..stop]) {
            return false;
        }
        ranges[at] = (from, stop);
        stop = left + comma;
    }
    ranges[raw] = (start, stop);
    true
}

/// Whether a record can start here; nothing where that cannot be told before more bytes come.
fn starts_record(text: &[u8], end: bool, left: &[Field]) -> Option<bool> {
    // Nothing at all behind a final newline: a terminator.
    if text.is_empty() {
        return if end || left.is_empty() { Some(true) } else { None };
    }
    let mut start = 0;
    for column in left {
        let Some(comma) = memchr(b',', &text[start..]) else {
            // A record that was cut still starts with what may stand there.
            return if end || memchr(b'\n', &text[start..]).is_some() {
                Some(false)
            } else {
                None
            };
        };
        if !fits(*column, &text[start..start + comma]) {
            return Some(false);
        }
        start += comma + 1;
    }
    Some(true)
}

/// Whether `text` has the form of the field.
fn fits(field: Field, text: &[u8]) -> bool {
    match field {
        Field::Key => is_base64(text),
        Field::Offset => number(text).is_some_and(|offset| offset >= 0),
        Field::Timestamp => text.is_empty() || text == b"null" || number(text).is_some(),
        Field::Headers => {
            text.is_empty()
                || text.strip_suffix(b";").is_some_and(|text| {
                    text.split(|byte| *byte == b';').all(|header| {
                        memchr(b':', header).is_some_and(|colon| {
                            is_base64(&header[..colon]) && is_base64(&header[colon + 1..])
                        })
                    })
                })
        }
        Field::Value => true,
    }
}

fn is_base64(text: &[u8]) -> bool {
    base64_simd::STANDARD.check(text).is_ok()
}
