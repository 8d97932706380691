//! The fields of csv: base64, numbers and headers, and what is said of those that are none.

use memchr::memchr;
use record::RecordWriter;

use crate::format::{Field, base64_error};

/// The most headers that one record may have; no broker's message limit leaves room for more.
pub(in crate::format) const MAX_HEADERS: usize = 1 << 18;

/// A field that could not be decoded.
pub(in crate::format) struct Bad {
    /// Where, in bytes from the start of the record.
    pub(in crate::format) at: usize,
    pub(in crate::format) reason: String,
    /// True where more bytes behind the end could have made it right.
    pub(in crate::format) cut: bool,
}

impl Bad {
    pub(in crate::format) fn at(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
            cut: false,
        }
    }
}

/// Appends the bytes behind `text` (standard alphabet, padded, nothing else in between) to `buffer`.
#[inline]
pub(in crate::format) fn decode_base64(text: &[u8], buffer: &mut Vec<u8>) -> Result<(), ()> {
    // Ahead of the decoder's own exact reservation, so that a growing buffer doubles.
    buffer.reserve(text.len() / 4 * 3);
    base64_simd::STANDARD.decode_append(text, buffer).map_err(drop)
}

pub(in crate::format) fn base64_bad(what: &str, field: &[u8], start: usize, at_end: bool) -> Bad {
    let (at, reason) = base64_error(field);
    Bad {
        at: start + at,
        reason: format!("the {what} is not base64: {reason}"),
        // Cut text is wrong in its length only.
        cut: at_end && at == field.len(),
    }
}

pub(in crate::format) fn number_bad(what: &str, field: &[u8], at_end: bool) -> Bad {
    let shown = field[..field.len().min(40)].escape_ascii();
    let cut = at_end && (field.is_empty() || field == b"-" || b"null".starts_with(field));
    Bad {
        at: 0,
        reason: if field.is_empty() {
            format!("the {what} is missing")
        } else {
            format!("the {what} is not a number: \"{shown}\"")
        },
        cut,
    }
}

/// A decimal 64-bit number with an optional minus sign and nothing else around it.
#[inline]
pub(in crate::format) fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// `base64(name):base64(value);` for each header.
pub(in crate::format) fn headers(
    field: &[u8],
    at_end: bool,
    writer: &mut RecordWriter<'_>,
) -> Result<(), Bad> {
    let mut start = 0;
    let mut count = 0;
    while start < field.len() {
        let rest = &field[start..];
        let Some(colon) = memchr(b':', rest) else {
            return Err(Bad {
                at: field.len(),
                reason: "a header has no `:` behind its name".into(),
                cut: at_end,
            });
        };
        let Some(semicolon) = memchr(b';', &rest[colon + 1..]) else {
            return Err(Bad {
                at: field.len(),
                reason: "the last header has no `;` behind it: the record is not complete".into(),
                cut: at_end,
            });
        };
        let (name, value) = (&rest[..colon], &rest[colon + 1..][..semicolon]);
        let mut value_fails = false;
        writer
            .header_with(
                |buffer| decode_base64(name, buffer),
                Some(|buffer: &mut Vec<u8>| {
                    decode_base64(value, buffer).inspect_err(|()| value_fails = true)
                }),
            )
            .map_err(|()| {
                if value_fails {
                    base64_bad("header value", value, start + colon + 1, false)
                } else {
                    base64_bad("header name", name, start, false)
                }
            })?;
        count += 1;
        if count > MAX_HEADERS {
            return Err(Bad::at(
                start,
                format!("the record has more than {MAX_HEADERS} headers"),
            ));
        }
        start += colon + 1 + semicolon + 1;
    }
    Ok(())
}

/// The connector's word for a field.
pub(in crate::format) fn name(field: Field) -> &'static str {
    match field {
        Field::Key => "key",
        Field::Value => "value",
        Field::Offset => "offset",
        Field::Timestamp => "timestamp",
        Field::Headers => "headers",
    }
}

pub(in crate::format) fn names(fields: &[Field]) -> String {
    fields
        .iter()
        .map(|field| name(*field))
        .collect::<Vec<_>>()
        .join(",")
}
