//! The quick way through a record of csv: nothing is explained, and no error is made.
//!
//! Takes whole records as sinks write them nearly always, with every field in its place and a separator behind the last
//! one. For every other record it gives nothing, and the record goes to [`super`], which is slower, takes all that
//! may be and says what is wrong. What this takes, that takes too, with the same result; a property test holds the two
//! together.

use memchr::memchr2;
use record::RecordWriter;

use super::fields::{decode_base64, headers};
use crate::format::{EmptyField, Field};

/// What the quick way found beside the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes of the record, its newline included.
    pub(super) length: usize,
    /// True where the key is empty.
    pub(super) empty_key: bool,
    /// True where the value is empty.
    pub(super) empty_value: bool,
    /// The digits of the timestamp.
    pub(super) timestamp_digits: usize,
}

/// Writes the record at the start of `input`, with values in base64; nothing where it must go the slow way.
#[inline]
pub(super) fn record(
    columns: &[Field],
    empty_key: EmptyField,
    empty_value: EmptyField,
    input: &[u8],
    writer: &mut RecordWriter<'_>,
) -> Option<Found> {
    let mut found = Found::default();
    let mut rest = input;
    let mut delimiter = b',';
    for column in columns {
        if delimiter != b',' {
            return None;
        }
        let stop = match column {
            Field::Key => {
                let stop = field_end(rest)?;
                if stop == 0 {
                    found.empty_key = true;
                    if empty_key == EmptyField::Empty {
                        writer.key(b"");
                    }
                } else {
                    writer
                        .key_with(|buffer| decode_base64(&rest[..stop], buffer))
                        .ok()?;
                }
                stop
            }
            Field::Value => {
                let stop = field_end(rest)?;
                if stop == 0 {
                    found.empty_value = true;
                    if empty_value == EmptyField::Empty {
                        writer.value(b"");
                    }
                } else {
                    writer
                        .value_with(|buffer| decode_base64(&rest[..stop], buffer))
                        .ok()?;
                }
                stop
            }
            Field::Offset => {
                let (offset, digits) = number(rest)?;
                writer.offset(offset);
                digits
            }
            Field::Timestamp => {
                let (timestamp, digits) = number(rest)?;
                writer.timestamp(timestamp);
                found.timestamp_digits = digits;
                digits
            }
            Field::Headers => {
                let stop = field_end(rest)?;
                if stop > 0 {
                    headers(&rest[..stop], false, writer).ok()?;
                }
                stop
            }
        };
        delimiter = *rest.get(stop)?;
        rest = &rest[stop + 1..];
    }
    found.length = input.len() - rest.len();
    (delimiter == b'\n').then_some(found)
}

/// Where the field at the start of `rest` ends.
#[inline]
fn field_end(rest: &[u8]) -> Option<usize> {
    match rest.first() {
        Some(b',' | b'\n') => Some(0),
        _ => memchr2(b',', b'\n', rest),
    }
}

/// The number of at most 16 digits at the start of `text`, and how many they are; nothing for other numbers, and too
/// near to the end.
#[inline]
fn number(text: &[u8]) -> Option<(i64, usize)> {
    const POWERS: [u64; 9] = [
        1,
        10,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
    ];
    let (first, rest) = text.split_first_chunk::<8>()?;
    let (mut value, mut length) = leading_digits(*first);
    if length == 8 {
        let (more, digits) = leading_digits(*rest.first_chunk::<8>()?);
        value = value * POWERS[digits] + more;
        length += digits;
    }
    (length > 0 && matches!(text.get(length), Some(b',' | b'\n'))).then_some((value as i64, length))
}

/// The number that the digits at the start of `text` are, and how many they are. All eight at once, in one word:
/// neighbours become numbers of two digits, those numbers of four, those the one of eight.
#[inline]
fn leading_digits(text: [u8; 8]) -> (u64, usize) {
    let word = u64::from_le_bytes(text);
    // A byte is a digit where its high half is 3, and still is when 6 is added.
    let halves = 0xf0f0_f0f0_f0f0_f0f0;
    let threes = 0x3030_3030_3030_3030;
    let other = ((word & halves) ^ threes) | ((word.wrapping_add(0x0606_0606_0606_0606) & halves) ^ threes);
    let digits = other.trailing_zeros() as usize / 8;
    if digits == 0 {
        return (0, 0);
    }
    // The first digit is in the lowest byte; zeros come before it.
    let ones = (word << (64 - 8 * digits)) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use record::RecordBlock;

    use super::*;
    use crate::format::{CsvDecoder, Decoding, FormatDecoder, ObjectHints};

    /// Decodes all of `text` with and without the quick way, which must come to the same.
    fn compare(fields: &[Field], empty: EmptyField, text: &[u8]) -> Result<(), TestCaseError> {
        let decoding = Decoding {
            fields: Some(fields.to_vec()),
            csv_empty_key: empty,
            csv_empty_value: empty,
            max_record_bytes: 100,
            ..Decoding::default()
        };
        let hints = ObjectHints {
            key: "t-0-0".to_owned(),
            start_offset: Some(i64::MAX - 2),
            next_start_offset: None,
        };
        let [quick, slow] = [true, false].map(|quick| {
            let mut decoder = CsvDecoder::new(&decoding, &hints).expect("a decoder");
            // Never where a field is there twice.
            decoder.quick &= quick;
            let mut block = RecordBlock::new();
            let result = decoder.decode(text, true, usize::MAX, &mut block);
            (result, block, decoder.notes())
        });
        prop_assert_eq!(quick, slow);
        Ok(())
    }

    #[test]
    fn the_sinks_records_go_the_quick_way() {
        use Field::{Headers, Key, Offset, Timestamp, Value};
        let all = [Key, Value, Offset, Timestamp, Headers];
        let lines: [(&[u8], &[Field]); 4] = [
            (b"a2V5,dmFsdWU=,0,1700000000123,aA==:eA==;\n", &all),
            (b",,12345678,1,\nand more behind it", &all),
            (b"1234567890123456,dg==\n", &[Offset, Value]),
            (b"dg==\n", &[Value]),
        ];
        for (line, fields) in lines {
            let mut block = RecordBlock::new();
            let mut writer = block.append(0, 0);
            let found = record(fields, EmptyField::Null, EmptyField::Null, line, &mut writer);
            let end = memchr::memchr(b'\n', line).expect("a newline") + 1;
            assert_eq!(
                found.map(|found| found.length),
                Some(end),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn digits_are_read_as_by_the_library() {
        for text in [
            "0",
            "7",
            "10",
            "1234567",
            "12345678",
            "123456789",
            "9999999999999999",
        ] {
            let line = format!("{text},0123456789");
            assert_eq!(number(line.as_bytes()), Some((text.parse().unwrap(), text.len())));
        }
        for text in [
            "",
            "-1",
            "12345678901234567",
            "1a",
            "1/",
            "1:",
            "12345678\u{7f}",
            "\u{ff}1",
        ] {
            assert_eq!(number(format!("{text},0123456789").as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn both_ways_agree(
            fields in proptest::collection::vec(
                prop::sample::select(vec![Field::Key, Field::Value, Field::Offset, Field::Timestamp, Field::Headers]),
                1..6,
            ),
            parts in proptest::collection::vec(prop::sample::select(vec![
                ",", ",", ",", "\n", "\n", "a2V5", "dg==", "dh==", "dmE=", "abc", "aA==:eA==;", "aA==:;", ":", "0", "12", "-3",
                "12345678", "1700000000123", "1234567890123456", "99999999999999999999", "null", "\u{ff}",
            ]), 0..40),
            empty: bool,
        ) {
            let empty = if empty { EmptyField::Empty } else { EmptyField::Null };
            compare(&fields, empty, parts.concat().as_bytes())?;
        }

        #[test]
        fn both_ways_agree_on_near_misses(at in 0usize..200, byte: u8, remove: bool) {
            let mut text = b"a2V5,dmFsdWU=,0,1700000000123,aA==:eA==;\n,,12345678,,\na2V5,dmFsdWU=,1,1700000000124,\n                a2V5,,2,17,aA==:eA==;\na2V5,dmFsdWU=,3,18,".to_vec();
            let at = at % text.len();
            if remove {
                text.remove(at);
            } else {
                text[at] = byte;
            }
            use Field::{Headers, Key, Offset, Timestamp, Value};
            compare(&[Key, Value, Offset, Timestamp, Headers], EmptyField::Null, &text)?;
        }
    }
}
