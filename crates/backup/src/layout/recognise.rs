//! How far one part of a name can reach from a position of a key.

use super::pattern::{Padding, Part, SUFFIXES, TimeUnit};

/// The longest topic name that Kafka allows.
pub(super) const LONGEST_TOPIC: usize = 249;

/// Calls `visit` with every position where `part` can end when it starts at `at`, shortest first, until it
/// answers false. Gives false where it did.
pub(super) fn each_end(
    part: &Part,
    key: &[u8],
    at: usize,
    exact: bool,
    visit: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let rest = &key[at..];
    match part {
        Part::Literal(text) => !rest.starts_with(text.as_bytes()) || visit(at + text.len()),
        Part::Topic => {
            let run = rest
                .iter()
                .take(LONGEST_TOPIC)
                .take_while(|byte| is_topic_byte(**byte))
                .count();
            (1..=run).all(|length| visit(at + length))
        }
        Part::Key => (0..=rest.len()).all(|length| visit(at + length)),
        Part::Partition(padding) => numbers(rest, *padding, 10, exact, &mut |length| visit(at + length)),
        Part::StartOffset(padding) => numbers(rest, *padding, 20, exact, &mut |length| visit(at + length)),
        Part::Time(TimeUnit::Year | TimeUnit::WeekYear) => years(rest, &mut |length| visit(at + length)),
        Part::Time(TimeUnit::Month) => !two_digits(rest, 1..=12) || visit(at + 2),
        Part::Time(TimeUnit::Day) => !two_digits(rest, 1..=31) || visit(at + 2),
        Part::Time(TimeUnit::Hour) => !two_digits(rest, 0..=23) || visit(at + 2),
        Part::UtcDate | Part::LocalDate => !is_date(rest) || visit(at + 10),
        Part::Suffix => SUFFIXES
            .iter()
            .filter(|suffix| rest == suffix.as_bytes())
            .all(|suffix| visit(at + suffix.len())),
    }
}

/// The lengths of numbers at the start of `rest`. `full` is the padded width.
fn numbers(
    rest: &[u8],
    padding: Padding,
    full: usize,
    exact: bool,
    visit: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let run = rest
        .iter()
        .take(full)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let zero_first = rest.first() == Some(&b'0');
    (1..=run).all(|length| {
        let spelled = !exact
            || match padding {
                Padding::None => !zero_first || length == 1,
                Padding::Full => length == full,
                Padding::Legacy => length == full || length == 10 || length > 10 && !zero_first,
            };
        !spelled || visit(length)
    })
}

/// `yyyy` of Java's `DateTimeFormatter`: four digits, or a plus sign and five to ten.
fn years(rest: &[u8], visit: &mut dyn FnMut(usize) -> bool) -> bool {
    let digits = |from: usize| {
        rest.iter()
            .skip(from)
            .take(10)
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    if rest.first() == Some(&b'+') {
        let run = digits(1);
        return (5..=run).all(|length| visit(1 + length));
    }
    digits(0) < 4 || visit(4)
}

fn two_digits(rest: &[u8], range: std::ops::RangeInclusive<u8>) -> bool {
    match rest {
        [tens, ones, ..] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            range.contains(&((tens - b'0') * 10 + (ones - b'0')))
        }
        _ => false,
    }
}

/// An ISO date, `yyyy-MM-dd`.
fn is_date(rest: &[u8]) -> bool {
    rest.len() >= 10
        && rest[..4].iter().all(u8::is_ascii_digit)
        && rest[4] == b'-'
        && two_digits(&rest[5..], 1..=12)
        && rest[7] == b'-'
        && two_digits(&rest[8..], 1..=31)
}

/// What Kafka allows in topic names.
pub(super) fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}
