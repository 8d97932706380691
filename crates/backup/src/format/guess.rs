//! What a file's content says of settings that the file does not hold: only as far as it can.
//!
//! csv columns are told by their form: numbers, strictly increasing, from the start offset on are the offset;
//! numbers of 12 to 14 digits the timestamp; `base64:base64;` headers. Which of two base64 columns is the key
//! nothing can tell: the order `key,value` of the connector's documentation is taken and said so. A guess is
//! never silent: its words are for the plan and the report.

use memchr::memchr_iter;

use super::csv::fields::{name, number};
use super::{Field, Interpretation};

/// How far a guess can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The content leaves more than one reading; the connector's usual one was taken.
    Assumed,
    /// The content fits and no other reading is plausible.
    Likely,
}

/// The fields of a csv file, as guessed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Guess {
    /// One for each column.
    pub fields: Vec<Field>,
    /// The certainty of the least certain column.
    pub certainty: Certainty,
    /// Why, for people.
    pub words: String,
}

/// What the strings or values of one field were taken for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct InterpretationGuess {
    /// Key, value or headers (that is, header values).
    pub field: Field,
    /// What they were taken for.
    pub interpretation: Interpretation,
    /// Why, for people.
    pub words: String,
    /// What was seen. The objects of one topic were written by one converter, but each alone may look like
    /// another: add up what several of them show before deciding.
    pub samples: Samples,
}

/// Lines that are looked at.
const MAX_LINES: usize = 1000;

/// More columns than any sink writes, even with fields listed twice.
const MAX_COLUMNS: usize = 16;

/// Guesses the fields of a csv file from its first bytes. `whole` says that `sample` is all of it.
///
/// # Errors
///
/// Text for people, where the content does not look like csv with base64 values, or leaves the fields open.
pub fn fields(sample: &[u8], whole: bool, start_offset: Option<i64>) -> Result<Guess, String> {
    let advice = "say what the fields are (the connector's format.output.fields)";
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut start = 0;
    for stop in memchr_iter(b'\n', sample).take(MAX_LINES) {
        lines.push(&sample[start..stop]);
        start = stop + 1;
    }
    // The last line is as good as any where nothing is missing behind it, except for a cut record.
    if whole
        && start < sample.len()
        && lines.len() < MAX_LINES
        && (lines.is_empty() || columns_of(&sample[start..]) == columns_of(lines[0]))
    {
        lines.push(&sample[start..]);
    }
    let Some(first) = lines.first() else {
        return Err(format!(
            "the csv fields cannot be guessed: no line ends within the first {} bytes; {advice}",
            sample.len()
        ));
    };
    let count = columns_of(first);
    if let Some(at) = lines.iter().position(|line| columns_of(line) != count) {
        return Err(format!(
            "the csv fields cannot be guessed: line 1 has {count} columns and line {} has {}; {advice}",
            at + 1,
            columns_of(lines[at])
        ));
    }
    if count > MAX_COLUMNS {
        return Err(format!(
            "the csv fields cannot be guessed: there are {count} columns; {advice}"
        ));
    }
    let columns: Vec<Column> = (0..count)
        .map(|at| Column::of(&lines, at, start_offset))
        .collect();
    assign(&columns, start_offset.is_some())
        .map_err(|reason| format!("the csv fields cannot be guessed: {reason}; {advice}"))
}

fn columns_of(line: &[u8]) -> usize {
    memchr_iter(b',', line).count() + 1
}

struct Column {
    empty: bool,
    base64: bool,
    headers: bool,
    numbers: bool,
    any_empty: bool,
    increasing: bool,
    starts_at_start: bool,
    long: bool,
    /// The text of the first lines, to see columns that are listed twice.
    first: Vec<Vec<u8>>,
}

impl Column {
    fn of(lines: &[&[u8]], at: usize, start_offset: Option<i64>) -> Self {
        let texts: Vec<&[u8]> = lines
            .iter()
            .map(|line| line.split(|byte| *byte == b',').nth(at).unwrap_or_default())
            .collect();
        let filled: Vec<&[u8]> = texts
            .iter()
            .copied()
            .filter(|text| !text.is_empty() && *text != b"null")
            .collect();
        let parsed: Vec<Option<i64>> = filled.iter().map(|text| number(text)).collect();
        let numbers = !filled.is_empty() && parsed.iter().all(Option::is_some);
        let values: Vec<i64> = parsed.into_iter().flatten().collect();
        Self {
            empty: filled.is_empty(),
            base64: filled
                .iter()
                .all(|text| base64_simd::STANDARD.check(text).is_ok()),
            headers: !filled.is_empty()
                && filled
                    .iter()
                    .all(|text| text.ends_with(b";") && text.contains(&b':')),
            numbers,
            any_empty: filled.len() < texts.len(),
            increasing: values.windows(2).all(|pair| pair[0] < pair[1])
                && values.first().is_some_and(|first| *first >= 0),
            starts_at_start: numbers && start_offset.is_some() && values.first().copied() == start_offset,
            // Milliseconds from 1973 to 2286.
            long: filled
                .iter()
                .filter(|text| (12..=14).contains(&text.len()))
                .count()
                * 2
                > filled.len(),
            first: texts.iter().take(64).map(|text| text.to_vec()).collect(),
        }
    }

    fn could_be_offset(&self) -> bool {
        self.numbers && !self.any_empty && self.increasing
    }
}

fn assign(columns: &[Column], start_known: bool) -> Result<Guess, String> {
    let mut fields: Vec<Option<Field>> = vec![None; columns.len()];
    let mut certainty = Certainty::Likely;
    let mut words = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        if column.headers {
            fields[at] = Some(Field::Headers);
            words.push(format!("column {} is headers (name:value; pairs)", at + 1));
        }
    }
    let by_start = columns
        .iter()
        .position(|column| column.could_be_offset() && column.starts_at_start);
    let by_form = || {
        let mut found = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.could_be_offset() && !column.long);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            (Some((at, first)), Some((_, second))) if first.first == second.first => Some(at),
            _ => None,
        }
    };
    if let Some(at) = by_start.or_else(by_form) {
        // One line shows no pattern: an equal number beside the offset may be a timestamp.
        let pattern = columns[at].first.len() > 1;
        let twins = (0..columns.len()).filter(|other| columns[*other].first == columns[at].first);
        for twin in twins.filter(|twin| *twin == at || (pattern && columns[*twin].numbers)) {
            fields[twin] = Some(Field::Offset);
            words.push(match by_start.is_some() {
                true => format!(
                    "column {} is the offset (increasing from the start offset on)",
                    twin + 1
                ),
                false => format!("column {} is the offset (increasing numbers)", twin + 1),
            });
        }
        if by_start.is_none() && start_known {
            certainty = Certainty::Assumed;
        }
    }
    for (at, column) in columns.iter().enumerate() {
        if fields[at].is_none() && column.numbers && (column.long || !column.base64) {
            fields[at] = Some(Field::Timestamp);
            words.push(format!("column {} is the timestamp (milliseconds)", at + 1));
        }
    }
    let open: Vec<usize> = (0..columns.len()).filter(|at| fields[*at].is_none()).collect();
    if let Some(at) = open.iter().find(|at| !columns[**at].base64) {
        return Err(format!(
            "column {} is neither base64 nor numbers nor headers (perhaps values were written unencoded)",
            at + 1
        ));
    }
    let taken = |field: Field, fields: &[Option<Field>]| fields.contains(&Some(field));
    match open.as_slice() {
        [] => {}
        [only] => {
            fields[*only] = Some(Field::Value);
            certainty = Certainty::Assumed;
            words.push(format!(
                "column {} is taken for the value, though it could be the key",
                only + 1
            ));
        }
        [key, value] => {
            fields[*key] = Some(Field::Key);
            fields[*value] = Some(Field::Value);
            certainty = Certainty::Assumed;
            words.push(format!(
                "columns {} and {} are taken for key and value in this order, which the content cannot prove",
                key + 1,
                value + 1
            ));
        }
        [key, value, headers] if columns[*headers].empty && !taken(Field::Headers, &fields) => {
            fields[*key] = Some(Field::Key);
            fields[*value] = Some(Field::Value);
            fields[*headers] = Some(Field::Headers);
            certainty = Certainty::Assumed;
            words.push(format!(
                "columns {}, {} and {} are taken for key, value and (empty) headers, which the content cannot prove",
                key + 1,
                value + 1,
                headers + 1
            ));
        }
        _ => return Err(format!("{} columns could be key, value or headers", open.len())),
    }
    let fields: Vec<Field> = fields.into_iter().flatten().collect();
    if let Some(at) = (0..fields.len()).find(|at| {
        let first = fields
            .iter()
            .position(|field| *field == fields[*at])
            .unwrap_or(*at);
        columns[first].first != columns[*at].first
    }) {
        return Err(format!(
            "two different columns look like the {}",
            name(fields[at])
        ));
    }
    Ok(Guess {
        fields,
        certainty,
        words: words.join("; "),
    })
}

/// What has been seen of one field of a json or jsonl file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Samples {
    strings: u64,
    base64: u64,
    nulls: u64,
    others: u64,
    numbers: u64,
}

impl Samples {
    /// Takes in the JSON text of one value.
    pub fn add(&mut self, raw: &str) {
        match raw.as_bytes().first() {
            Some(b'"') => {
                let inside = raw.as_bytes().get(1..raw.len() - 1).unwrap_or_default();
                self.strings += 1;
                self.base64 += u64::from(base64_simd::STANDARD.check(inside).is_ok());
            }
            Some(b'n') => self.nulls += 1,
            Some(b'-' | b'0'..=b'9') => self.numbers += 1,
            _ => self.others += 1,
        }
    }

    /// Takes in what another object's values showed.
    pub fn merge(&mut self, other: &Samples) {
        self.strings += other.strings;
        self.base64 += other.base64;
        self.nulls += other.nulls;
        self.others += other.others;
        self.numbers += other.numbers;
    }

    /// True where the field was there at all, be it null.
    pub fn any_field(&self) -> bool {
        self.strings + self.nulls + self.others + self.numbers > 0
    }

    /// What the values are taken for, and why.
    pub fn interpretation(&self) -> (Interpretation, String) {
        let seen = self.strings + self.others + self.numbers;
        if seen == 0 {
            (
                Interpretation::Bytes,
                "all values seen are null; base64 strings are expected if others come".into(),
            )
        } else if self.others > 0 {
            (
                Interpretation::Json,
                format!(
                    "{} of {seen} values seen are JSON objects, lists or truth values",
                    self.others
                ),
            )
        } else if self.numbers > 0 {
            (
                Interpretation::Json,
                format!(
                    "{} of {seen} values seen are numbers, taken as JSON text; a Long, Integer, Short, Double or Float \
                     converter cannot be told from it",
                    self.numbers
                ),
            )
        } else if self.base64 == self.strings {
            (
                Interpretation::Bytes,
                format!(
                    "all {seen} values seen are strings of padded base64; that they are not plain text cannot be proved"
                ),
            )
        } else {
            (
                Interpretation::String,
                format!(
                    "{} of {seen} strings seen are not base64",
                    self.strings - self.base64
                ),
            )
        }
    }
}

/// What the values of one field are, told from the JSON texts of some of them.
///
/// Base64 is never more than likely: `"abcd"` is base64 and may be text all the same.
pub fn interpretation<'a>(samples: impl IntoIterator<Item = &'a str>) -> (Interpretation, String) {
    let mut seen = Samples::default();
    samples.into_iter().for_each(|raw| seen.add(raw));
    seen.interpretation()
}
