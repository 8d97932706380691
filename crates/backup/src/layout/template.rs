//! `file.name.template` of Aiven's sinks: read, checked as the connector checks it, and matched against names.
//!
//! Source: `TemplateParser`, `FilenameTemplateValidator` and `RecordGrouperFactory` of Aiven's sinks. What a
//! placeholder is, and which sets of variables are valid, is theirs exactly; `timestamp:unit=YYYY` is accepted
//! beyond them because releases before November 2020 did.

use std::fmt;

use super::pattern::{Padding, Part, Reading, TimeUnit};

/// The template of a sink for which none is configured (a suffix may follow, see [`Layout`](super::Layout)).
pub const DEFAULT_TEMPLATE: &str = "{{topic}}-{{partition}}-{{start_offset}}";

/// Longer templates are refused: the names they give are at most 1 024 bytes long.
const LONGEST_TEMPLATE: usize = 8192;

/// Which records share an object, as the template's variables decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grouping {
    /// A run of records of one partition.
    Partition,
    /// A run of records of one key of one partition; the objects of a partition interleave in offset.
    PartitionAndKey,
    /// One record, the latest of its key: no log, and whatever was there before is overwritten.
    LatestState,
}

/// A valid name template.
#[derive(Clone, PartialEq, Eq)]
pub struct NameTemplate {
    text: String,
    parts: Vec<Part>,
    grouping: Grouping,
}

/// A template that no sink would accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name template `{template}` is not valid: {reason}")]
pub struct TemplateError {
    /// The template.
    pub template: String,
    /// What is wrong with it, for people.
    pub reason: String,
}

/// What a name is rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFields<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub start_offset: i64,
    /// The record key as text; `null` for a null key.
    pub key: &'a str,
    /// Year, month, day, hour.
    pub time: (i64, u8, u8, u8),
}

impl NameTemplate {
    /// Reads a template and checks that a sink would accept it.
    pub fn new(template: &str) -> Result<Self, TemplateError> {
        let fail = |reason: String| TemplateError {
            template: template.to_owned(),
            reason,
        };
        if template.len() > LONGEST_TEMPLATE {
            return Err(fail(format!("it is longer than {LONGEST_TEMPLATE} bytes")));
        }
        if template.starts_with(".well-known/acme-challenge") {
            return Err(fail("it must not start with .well-known/acme-challenge".into()));
        }
        let placeholders = placeholders(template).map_err(fail)?;
        let grouping = grouping(&placeholders).map_err(fail)?;
        let parts = placeholders
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Ok(Part::Literal(text.to_owned())),
                Piece::Variable(variable) => variable.part(grouping),
            })
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        Ok(Self {
            text: template.to_owned(),
            parts,
            grouping,
        })
    }

    /// The template as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which records share an object.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// True where names say which topic they belong to.
    pub fn has_topic(&self) -> bool {
        self.parts.contains(&Part::Topic)
    }

    /// True where the week-based year is used, which is wrong for days near New Year.
    pub fn has_week_year(&self) -> bool {
        self.parts.contains(&Part::Time(TimeUnit::WeekYear))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The name that the sink would give, without prefix.
    pub fn render(&self, fields: &NameFields<'_>) -> String {
        render(&self.parts, fields)
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// As its text.
impl serde::Serialize for NameTemplate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Debug for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameTemplate({:?})", self.text)
    }
}

/// Renders `parts`; a suffix renders as nothing, a legacy start offset with 20 digits.
pub(crate) fn render(parts: &[Part], fields: &NameFields<'_>) -> String {
    let (year, month, day, hour) = fields.time;
    let year = if year > 9999 {
        format!("+{year}")
    } else {
        format!("{year:04}")
    };
    parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Topic => fields.topic.to_owned(),
            Part::Partition(Padding::None) => fields.partition.to_string(),
            Part::Partition(_) => format!("{:010}", fields.partition),
            Part::StartOffset(Padding::None) => fields.start_offset.to_string(),
            Part::StartOffset(_) => format!("{:020}", fields.start_offset),
            Part::Time(TimeUnit::Year | TimeUnit::WeekYear) => year.clone(),
            Part::Time(TimeUnit::Month) => format!("{month:02}"),
            Part::Time(TimeUnit::Day) => format!("{day:02}"),
            Part::Time(TimeUnit::Hour) => format!("{hour:02}"),
            Part::UtcDate | Part::LocalDate => format!("{year}-{month:02}-{day:02}"),
            Part::Key => fields.key.to_owned(),
            Part::Suffix => String::new(),
        })
        .collect()
}

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Variable(Variable<'t>),
}

/// A placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable<'t> {
    /// The placeholder as written, braces included.
    pub(super) text: &'t str,
    pub(super) name: &'t str,
    pub(super) parameter: Option<(&'t str, &'t str)>,
}

impl<'t> Variable<'t> {
    /// What the placeholder stands for in names of this grouping.
    fn part(&self, grouping: Grouping) -> Result<Part, String> {
        let part = match self.name {
            "topic" => Part::Topic,
            "key" => Part::Key,
            "partition" => Part::Partition(self.padding()?),
            "start_offset" => Part::StartOffset(self.padding()?),
            "timestamp" => Part::Time(self.unit()?),
            other => return Err(unknown(other)),
        };
        // The groupers of key modes bind neither offset nor time; what is not bound stays as it is written.
        let bound =
            grouping != Grouping::LatestState || matches!(part, Part::Topic | Part::Key | Part::Partition(_));
        Ok(if bound {
            part
        } else {
            Part::Literal(self.text.to_owned())
        })
    }

    pub(super) fn padding(&self) -> Result<Padding, String> {
        match self.parameter {
            None | Some(("padding", "false")) => Ok(Padding::None),
            Some(("padding", "true")) => Ok(Padding::Full),
            Some((name, value)) => Err(format!(
                "`{}` takes the parameter padding=true or padding=false, not {name}={value}",
                self.name
            )),
        }
    }

    pub(super) fn unit(&self) -> Result<TimeUnit, String> {
        match self.parameter {
            Some(("unit", "yyyy")) => Ok(TimeUnit::Year),
            Some(("unit", "YYYY")) => Ok(TimeUnit::WeekYear),
            Some(("unit", "MM")) => Ok(TimeUnit::Month),
            Some(("unit", "dd")) => Ok(TimeUnit::Day),
            Some(("unit", "HH")) => Ok(TimeUnit::Hour),
            None => Err("`timestamp` needs a parameter: unit=yyyy, unit=MM, unit=dd or unit=HH".into()),
            Some((name, value)) => Err(format!(
                "`timestamp` takes unit=yyyy, unit=MM, unit=dd or unit=HH, not {name}={value}"
            )),
        }
    }
}

fn unknown(name: &str) -> String {
    format!("`{name}` is no variable; there are topic, partition, start_offset, timestamp and key")
}

/// Which grouper the sink would choose.
///
/// Source: `RecordGrouperFactory.resolveRecordGrouperType`.
fn grouping(pieces: &[Piece<'_>]) -> Result<Grouping, String> {
    let names = || {
        pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable.name),
            Piece::Text(_) => None,
        })
    };
    let variables = ["topic", "partition", "start_offset", "timestamp", "key"];
    if let Some(name) = names().find(|name| !variables.contains(name)) {
        return Err(unknown(name));
    }
    let [topic, partition, start_offset, timestamp, key] =
        variables.map(|variable| names().any(|name| name == variable));
    match (topic && partition && start_offset, key) {
        (true, false) => Ok(Grouping::Partition),
        (true, true) => Ok(Grouping::PartitionAndKey),
        (false, true) if topic || partition || !(start_offset || timestamp) => Ok(Grouping::LatestState),
        _ if names().next().is_none() => Err(format!(
            "it has no variables; the usual template is {DEFAULT_TEMPLATE}"
        )),
        _ => Err("its set of variables is none that a sink accepts; valid are: topic, partition and start_offset, with \
                  or without timestamp and key; key alone; key with topic or partition or both"
            .into()),
    }
}

/// Splits a template into text and placeholders.
///
/// A placeholder is two braces, blanks, a name, perhaps a colon and a parameter, blanks and two braces; braces
/// around anything else are text. Source: `TemplateParser.VARIABLE_PATTERN`.
pub(super) fn placeholders(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut text_start = 0;
    let mut search = 0;
    while let Some(found) = template[search..].find("{{") {
        let start = search + found;
        let Some((length, name, colon, parameter)) = placeholder(&template[start..]) else {
            search = start + 1;
            continue;
        };
        if name.is_empty() {
            return Err("a placeholder has no variable name".into());
        }
        if colon && parameter.is_empty() {
            return Err(format!("a parameter is missing behind the colon of `{name}`"));
        }
        let parameter = match parameter {
            "" => None,
            text => Some(name_and_value(text).ok_or_else(|| {
                format!("the parameter `{text}` of `{name}` is not of the form name=value")
            })?),
        };
        if start > text_start {
            pieces.push(Piece::Text(&template[text_start..start]));
        }
        let text = &template[start..start + length];
        pieces.push(Piece::Variable(Variable {
            text,
            name,
            parameter,
        }));
        text_start = start + length;
        search = text_start;
    }
    if text_start < template.len() {
        pieces.push(Piece::Text(&template[text_start..]));
    }
    Ok(pieces)
}

/// The placeholder at the start of `text`: its length, name, whether a colon follows it, and the parameter.
fn placeholder(text: &str) -> Option<(usize, &str, bool, &str)> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = text.strip_prefix("{{")?.trim_start_matches(blank);
    let (name, rest) = split_while(rest, word);
    let (colon, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (parameter, rest) = split_while(rest, |c| word(c) || c == '=');
    let rest = rest.trim_start_matches(blank).strip_prefix("}}")?;
    Some((text.len() - rest.len(), name, colon, parameter))
}

fn split_while(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !accept(c)).unwrap_or(text.len()))
}

/// `a=b`; more behind it is ignored, as the connector ignores it.
fn name_and_value(parameter: &str) -> Option<(&str, &str)> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.split('=').next()?;
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// The topic, partition and start offset of a reading, for messages.
pub(super) fn describe(reading: &Reading<'_>) -> String {
    let number = |number: Option<String>| number.unwrap_or_else(|| "none".into());
    format!(
        "topic {}, partition {}, start offset {}",
        reading.topic.as_deref().unwrap_or("none"),
        number(reading.partition.map(|partition| partition.to_string())),
        number(reading.start_offset.map(|offset| offset.to_string())),
    )
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
