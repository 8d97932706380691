//! Matching of object keys against a name pattern: all readings of a key, in bounded time.
//!
//! Keys are untrusted and patterns may be ambiguous (`{{topic}}{{partition}}`), so nothing here backtracks
//! freely: a table first says which part of the pattern can end the key from which position, in time
//! proportional to parts times bytes; only then readings are walked, and never more than [`MOST_STEPS`] steps.

use std::borrow::Cow;

use super::recognise::{LONGEST_TOPIC, each_end, is_topic_byte};
use super::{KeyForm, digits, put_text};

/// The suffixes that the default template can have: format, then compression.
///
/// Source: `FileNameFragment.getFilename` and `CompressionType.extension` of Aiven's sinks.
pub(crate) const SUFFIXES: [&str; 8] = [
    "",
    ".gz",
    ".snappy",
    ".zst",
    ".avro",
    ".avro.gz",
    ".avro.snappy",
    ".avro.zst",
];

/// More readings than this are not told apart: one is enough to call a name ambiguous, a few to explain it.
const MOST_READINGS: usize = 4;
/// Bounds the walk over readings of one key.
const MOST_STEPS: usize = 50_000;

/// A unit of the `timestamp` variable.
///
/// Source: `FilenameTemplateVariable.TIMESTAMP` of Aiven's sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// `yyyy`: four digits; from year 10000 on a plus sign and more digits.
    Year,
    /// `YYYY`, before November 2020: the week-based year, wrong for days near New Year.
    WeekYear,
    /// `MM`: 01 to 12.
    Month,
    /// `dd`: 01 to 31.
    Day,
    /// `HH`: 00 to 23.
    Hour,
}

/// How a number is spelled in names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// As it is.
    None,
    /// Zeros before it to 10 digits (partition) or 20 (start offset).
    Full,
    /// A start offset of the S3 sink's legacy names: 20 digits, and 10 before version 2.7.
    Legacy,
}

/// One part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Topic,
    Partition(Padding),
    StartOffset(Padding),
    Time(TimeUnit),
    /// `utc_date` of the S3 sink's legacy prefix: `yyyy-MM-dd`.
    UtcDate,
    /// `local_date` of the S3 sink's legacy prefix.
    LocalDate,
    Key,
    /// One of [`SUFFIXES`].
    Suffix,
}

/// The number of kinds of dates: see [`Part::slot`].
const SLOTS: usize = 7;
/// The usual length of each kind of date.
const SLOT_LENGTHS: [usize; SLOTS] = [4, 4, 2, 2, 2, 10, 10];

impl Part {
    fn slot(&self) -> Option<usize> {
        match self {
            Part::Time(unit) => Some(*unit as usize),
            Part::UtcDate => Some(5),
            Part::LocalDate => Some(6),
            _ => None,
        }
    }
}

/// A whole name: prefix, template and suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

/// One way to read a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading<'k> {
    pub(crate) topic: Option<Cow<'k, str>>,
    pub(crate) partition: Option<i32>,
    pub(crate) start_offset: Option<i64>,
    pub(crate) key: Option<Cow<'k, str>>,
    /// True where the digits were those of another script.
    pub(crate) foreign_digits: bool,
    suffix: u8,
    partition_width: u8,
    offset_width: u8,
    slots: [(usize, usize); SLOTS],
}

impl Reading<'_> {
    /// True where both mean the same place in Kafka.
    pub(crate) fn agrees(&self, other: &Reading<'_>) -> bool {
        (&self.topic, self.partition, self.start_offset)
            == (&other.topic, other.partition, other.start_offset)
    }

    fn into_owned(self) -> Reading<'static> {
        Reading {
            topic: self.topic.map(|topic| Cow::Owned(topic.into_owned())),
            key: self.key.map(|key| Cow::Owned(key.into_owned())),
            partition: self.partition,
            start_offset: self.start_offset,
            foreign_digits: self.foreign_digits,
            suffix: self.suffix,
            partition_width: self.partition_width,
            offset_width: self.offset_width,
            slots: self.slots,
        }
    }
}

impl Pattern {
    /// Joins literals that stand next to each other.
    pub(crate) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut joined: Vec<Part> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (_, Part::Literal(text)) if text.is_empty() => {}
                (Some(Part::Literal(before)), Part::Literal(text)) => before.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        Self { parts: joined }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All readings of `key` that differ in topic, partition or start offset, at most [`MOST_READINGS`].
    ///
    /// With `exact`, numbers must be padded just as the pattern says; without, any number of zeros may stand
    /// before them.
    pub(crate) fn readings<'k>(&self, key: &'k str, exact: bool) -> Vec<Reading<'k>> {
        if let Some(Part::Literal(head)) = self.parts.first()
            && !key.starts_with(head.as_str())
        {
            return Vec::new();
        }
        let reach = self.reach(key.as_bytes(), exact);
        if !reach[0] {
            return Vec::new();
        }
        let mut walk = Walk {
            parts: &self.parts,
            key,
            reach: &reach,
            exact,
            steps: 0,
            found: Vec::new(),
        };
        let empty = Reading {
            topic: None,
            partition: None,
            start_offset: None,
            key: None,
            foreign_digits: false,
            suffix: 0,
            partition_width: 0,
            offset_width: 0,
            slots: [(0, 0); SLOTS],
        };
        walk.go(0, 0, &empty);
        walk.found
    }

    /// As [`readings`](Self::readings), for a key whose digits may be those of another script.
    pub(crate) fn readings_of_foreign_digits(&self, key: &str) -> Vec<Reading<'static>> {
        let Some(ascii) = digits::in_ascii(key) else {
            return Vec::new();
        };
        let mut readings = self.readings(&ascii, true);
        if readings.is_empty() {
            readings = self.readings(&ascii, false);
        }
        let mut owned: Vec<_> = readings.into_iter().map(Reading::into_owned).collect();
        for reading in &mut owned {
            reading.foreign_digits = true;
        }
        owned
    }

    /// `reach[part * (length + 1) + at]`: the parts from `part` on can match exactly the bytes from `at` on.
    fn reach(&self, key: &[u8], exact: bool) -> Vec<bool> {
        let row = key.len() + 1;
        let mut reach = vec![false; row * (self.parts.len() + 1)];
        reach[row * self.parts.len() + key.len()] = true;
        for (index, part) in self.parts.iter().enumerate().rev() {
            let (these, next) = reach[row * index..].split_at_mut(row);
            for at in (0..row).rev() {
                these[at] = match part {
                    Part::Topic => {
                        at < key.len() && is_topic_byte(key[at]) && (next[at + 1] || these[at + 1])
                    }
                    Part::Key => next[at] || at < key.len() && these[at + 1],
                    _ => !each_end(part, key, at, exact, &mut |end| !next[end]),
                };
            }
        }
        reach
    }

    /// The form that spells `key`, read as `reading`, and the text of its own that the form needs, appended to
    /// `text`. `None` where the form would not give exactly this key back.
    pub(crate) fn form_of(
        self: &std::sync::Arc<Self>,
        key: &str,
        reading: &Reading<'_>,
        text: &mut String,
    ) -> Option<KeyForm> {
        if reading.foreign_digits {
            return None;
        }
        for (slot, length) in SLOT_LENGTHS.into_iter().enumerate() {
            let (start, end) = reading.slots[slot];
            if end > start {
                if end - start != length {
                    return None;
                }
                text.push_str(key.get(start..end)?);
            }
        }
        if let Some(record_key) = &reading.key {
            put_text(record_key, text);
        }
        Some(KeyForm::Pattern {
            pattern: self.clone(),
            suffix: reading.suffix,
            partition_width: reading.partition_width,
            offset_width: reading.offset_width,
        })
    }

    /// Spells a key; the counterpart of [`form_of`](Self::form_of).
    pub(crate) fn spell(&self, spelling: &Spelling<'_>, out: &mut String) -> Option<()> {
        use std::fmt::Write;
        let mut text = spelling.text;
        let mut slots = [""; SLOTS];
        for (slot, length) in SLOT_LENGTHS.into_iter().enumerate() {
            if self.parts.iter().any(|part| part.slot() == Some(slot)) {
                (slots[slot], text) = text.split_at_checked(length)?;
            }
        }
        let key = if self.parts.contains(&Part::Key) {
            super::take_text(text)?.0
        } else {
            ""
        };
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Topic => out.push_str(spelling.topic),
                Part::Partition(_) => write!(
                    out,
                    "{:0width$}",
                    spelling.partition,
                    width = spelling.partition_width.into()
                )
                .ok()?,
                Part::StartOffset(_) => write!(
                    out,
                    "{:0width$}",
                    spelling.start_offset,
                    width = spelling.offset_width.into()
                )
                .ok()?,
                Part::Key => out.push_str(key),
                Part::Suffix => out.push_str(SUFFIXES.get(usize::from(spelling.suffix))?),
                Part::Time(_) | Part::UtcDate | Part::LocalDate => out.push_str(slots[part.slot()?]),
            }
        }
        Some(())
    }
}

/// All that a pattern needs to spell a key.
pub(crate) struct Spelling<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) start_offset: i64,
    pub(crate) suffix: u8,
    pub(crate) partition_width: u8,
    pub(crate) offset_width: u8,
    /// The dates in the order of their slots, then the record key as [`put_text`] writes it.
    pub(crate) text: &'a str,
}

struct Walk<'p, 'k> {
    parts: &'p [Part],
    key: &'k str,
    reach: &'p [bool],
    exact: bool,
    steps: usize,
    found: Vec<Reading<'k>>,
}

impl<'k> Walk<'_, 'k> {
    fn done(&self) -> bool {
        self.found.len() >= MOST_READINGS || self.steps >= MOST_STEPS
    }

    /// Walks the parts from `index` on over the bytes from `at` on.
    fn go(&mut self, index: usize, at: usize, so_far: &Reading<'k>) {
        self.steps += 1;
        if self.done() {
            return;
        }
        let Some(part) = self.parts.get(index) else {
            if !self.found.iter().any(|reading| reading.agrees(so_far)) {
                self.found.push(so_far.clone());
            }
            return;
        };
        let bytes = self.key.as_bytes();
        let next_row = &self.reach[(bytes.len() + 1) * (index + 1)..];
        let mut ends = Vec::new();
        each_end(part, bytes, at, self.exact, &mut |end| {
            if next_row[end] {
                ends.push(end);
            }
            true
        });
        // The longest first: numbers are then read from the right.
        for end in ends.into_iter().rev() {
            if let Some(reading) = self.extend(part, at, end, so_far) {
                self.go(index + 1, end, &reading);
            }
            if self.done() {
                return;
            }
        }
    }

    /// `so_far` with `part` read from the bytes between `at` and `end`; `None` where that contradicts it.
    fn extend(&self, part: &Part, at: usize, end: usize, so_far: &Reading<'k>) -> Option<Reading<'k>> {
        let text = self.key.get(at..end)?;
        let mut reading = so_far.clone();
        match part {
            Part::Literal(_) => {}
            Part::Topic => {
                let legal = end - at <= LONGEST_TOPIC && text != "." && text != "..";
                let same = reading.topic.as_deref().is_none_or(|topic| topic == text);
                if !legal || !same {
                    return None;
                }
                reading.topic = Some(Cow::Borrowed(text));
            }
            Part::Partition(_) => {
                let partition = text.parse().ok()?;
                if reading.partition.is_some_and(|other| other != partition) {
                    return None;
                }
                reading.partition = Some(partition);
                reading.partition_width = width(text);
            }
            Part::StartOffset(_) => {
                let offset = text.parse().ok()?;
                if reading.start_offset.is_some_and(|other| other != offset) {
                    return None;
                }
                reading.start_offset = Some(offset);
                reading.offset_width = width(text);
            }
            Part::Key => {
                if reading.key.as_deref().is_some_and(|key| key != text) {
                    return None;
                }
                reading.key = Some(Cow::Borrowed(text));
            }
            Part::Suffix => {
                reading.suffix = SUFFIXES.iter().position(|suffix| *suffix == text)? as u8;
            }
            Part::Time(_) | Part::UtcDate | Part::LocalDate => {
                let slot = part.slot()?;
                let (start, stop) = reading.slots[slot];
                if stop > start && self.key.get(start..stop) != Some(text) {
                    return None;
                }
                reading.slots[slot] = (at, end);
            }
        }
        Some(reading)
    }
}

/// The width that `{:0width$}` needs to give `digits` back.
fn width(digits: &str) -> u8 {
    if digits.len() > 1 && digits.starts_with('0') {
        digits.len() as u8
    } else {
        0
    }
}
