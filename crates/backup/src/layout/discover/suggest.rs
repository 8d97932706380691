//! The templates that one key suggests.
//!
//! From the right: an extension, the start offset, the partition (before it, or a folder of its own), the topic
//! (before that, or a folder), and dates among the folders. What is left is literal.

use super::Suggestion;
use crate::layout::{KeyMatch, Layout, is_topic_byte};

/// The templates that one key suggests; some may be none, or not fit.
pub(super) fn suggest(key: &str) -> Vec<Suggestion> {
    let (folders, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(folders, name)| (Some(folders), name));
    let folders = Folders::new(folders);
    let mut found = Vec::new();
    if let KeyMatch::Name(read) = Layout::default_names("").match_key(name) {
        let dated = folders.text(0..folders.names.len(), read.topic());
        if !dated.contains("{{") {
            return vec![Suggestion {
                prefix: dated,
                template: None,
            }];
        }
        let padding = if read.is_exact() { "" } else { ":padding=true" };
        let suffix = &name[extension_start(name)..];
        found.push(format!(
            "{dated}{{{{topic}}}}-{{{{partition}}}}-{{{{start_offset{padding}}}}}{suffix}"
        ));
    } else {
        found.extend(numbered(&folders, name));
        found.extend(keyed(&folders, name));
    }
    let split = |text: String| {
        // What stands before the first variable is the prefix, as far as its last folder.
        let literal = text.find("{{").unwrap_or(0);
        let prefix = text[..literal].rfind('/').map_or(0, |at| at + 1);
        Suggestion {
            prefix: text[..prefix].to_owned(),
            template: Some(text[prefix..].to_owned()),
        }
    };
    found.into_iter().map(split).collect()
}

/// The folders of a key.
struct Folders<'k> {
    names: Vec<&'k str>,
    /// With placeholders, for those that are dates or parts of one.
    dates: Vec<Option<String>>,
}

impl<'k> Folders<'k> {
    fn new(folders: Option<&'k str>) -> Self {
        let names: Vec<_> = folders
            .map(|folders| folders.split('/').collect())
            .unwrap_or_default();
        let mut expected = 0;
        let dates = names
            .iter()
            .map(|name| date_folder(name, &mut expected))
            .collect();
        Self { names, dates }
    }

    /// Some of the folders as a template, with dates, and the topic where a folder is just that.
    fn text(&self, range: std::ops::Range<usize>, topic: Option<&str>) -> String {
        range
            .map(|place| match &self.dates[place] {
                Some(date) => format!("{date}/"),
                None if topic == Some(self.names[place]) => "{{topic}}/".into(),
                None => format!("{}/", self.names[place]),
            })
            .collect()
    }

    /// The folders before `end` as a template, the last one that can be a topic in its place.
    fn text_with_topic(&self, end: usize) -> Option<String> {
        let label = |name: &str| if name.starts_with("topic=") { "topic=" } else { "" };
        let place = (0..end).rev().find(|place| {
            let name = self.names[*place];
            let name = &name[label(name).len()..];
            !name.is_empty() && name.bytes().all(is_topic_byte) && self.dates[*place].is_none()
        })?;
        let label = label(self.names[place]);
        Some(format!(
            "{}{label}{{{{topic}}}}/{}",
            self.text(0..place, None),
            self.text(place + 1..end, None)
        ))
    }

    /// The last folder that can be a partition, perhaps with a label: its place, the label and the digits.
    fn partition(&self) -> Option<(usize, &'k str, &'k str)> {
        (0..self.names.len()).rev().find_map(|place| {
            let name = self.names[place];
            let (label, digits) = name.split_at(name.find('=').map_or(0, |at| at + 1));
            let number = is_digits(digits) && digits.len() <= 10 && self.dates[place].is_none();
            number.then_some((place, label, digits))
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_separator(character: char) -> bool {
    !character.is_alphanumeric()
}

/// A name that ends with a start offset and perhaps an extension.
fn numbered(folders: &Folders<'_>, name: &str) -> Option<String> {
    let (stem, extension) = name.split_at(extension_start(name));
    let (before, offset) = trailing_digits(stem)?;
    if offset.len() >= 30 {
        // Nothing stands between the numbers: ten digits of partition, twenty of offset.
        let topic = stem.split_at(stem.len() - 30).0;
        let numbers = "{{partition:padding=true}}{{start_offset:padding=true}}";
        return Some(with_topic(folders, topic, &format!("{numbers}{extension}")).0);
    }
    let offset = number("start_offset", offset, 20)?;
    let head = before.trim_end_matches(is_separator);
    if let Some((rest, digits)) = trailing_digits(head)
        && digits.len() <= 10
        && !rest.ends_with(char::is_alphanumeric)
    {
        let partition = number("partition", digits, 10)?;
        let separator = &before[head.len()..];
        let (text, has_topic) = with_topic(
            folders,
            rest,
            &format!("{partition}{separator}{offset}{extension}"),
        );
        return has_topic.then_some(text);
    }
    // The partition is a folder of its own, and nothing but a label stands before the offset.
    if !before.is_empty() && !before.ends_with('=') {
        return None;
    }
    let (place, label, digits) = folders.partition()?;
    let partition = number("partition", digits, 10)?;
    let head = folders.text_with_topic(place)?;
    let behind = folders.text(place + 1..folders.names.len(), None);
    Some(format!(
        "{head}{label}{partition}/{behind}{before}{offset}{extension}"
    ))
}

/// The folders, `before` and `tail` as a template, and whether the topic was found: `before` is a topic and one
/// separator, or else the topic is a folder.
fn with_topic(folders: &Folders<'_>, before: &str, tail: &str) -> (String, bool) {
    let end = folders.names.len();
    let mut characters = before.chars();
    let separator = characters
        .next_back()
        .filter(|last| is_separator(*last))
        .map(String::from)
        .unwrap_or_default();
    let topic = &before[..before.len() - separator.len()];
    if !topic.is_empty() && topic.bytes().all(is_topic_byte) {
        return (
            format!(
                "{}{{{{topic}}}}{separator}{tail}",
                folders.text(0..end, Some(topic))
            ),
            true,
        );
    }
    match folders.text_with_topic(end) {
        Some(head) => (format!("{head}{before}{tail}"), true),
        None => (String::new(), false),
    }
}

/// Where the extension of a name starts: at the first dot behind which no part is all digits.
fn extension_start(name: &str) -> usize {
    let mut end = name.len();
    while let Some(dot) = name[..end].rfind('.') {
        let part = &name[dot + 1..end];
        if part.is_empty()
            || !part.starts_with(|c: char| c.is_ascii_alphabetic())
            || part.contains(['-', '+', '_'])
        {
            break;
        }
        end = dot;
    }
    end
}

/// A name with a record key in it.
fn keyed(folders: &Folders<'_>, name: &str) -> Option<String> {
    let all = || folders.text(0..folders.names.len(), None);
    if let Some(at) = name.find("{{start_offset").or_else(|| name.find("{{timestamp")) {
        // Only a key template leaves a placeholder in names.
        let (head, literal) = name.split_at(at);
        let behind = &head[head.trim_end_matches(is_separator).len()..];
        let (topic, rest) = head.split_at(head.find(['-', '/', '+', '=', ' '])?);
        let separator = rest.chars().next().filter(|_| !topic.is_empty())?;
        return Some(format!(
            "{}{{{{topic}}}}{separator}{{{{key}}}}{behind}{literal}",
            all()
        ));
    }
    let parts: Vec<&str> = name.split('-').collect();
    if parts.len() >= 4
        && is_digits(parts[parts.len() - 1])
        && parts[1..parts.len() - 2].iter().any(|part| is_digits(part))
    {
        return Some(format!(
            "{}{{{{topic}}}}-{{{{partition}}}}-{{{{key}}}}-{{{{start_offset}}}}",
            all()
        ));
    }
    if name.starts_with("[B@") {
        return Some(format!("{}{{{{key}}}}", all()));
    }
    let (place, label, digits) = folders
        .partition()
        .filter(|(place, ..)| *place + 1 == folders.names.len())?;
    let partition = number("partition", digits, 10)?;
    Some(format!(
        "{}{label}{partition}/{{{{key}}}}",
        folders.text_with_topic(place)?
    ))
}

/// A text's trailing digits, and what stands before them.
fn trailing_digits(text: &str) -> Option<(&str, &str)> {
    let rest = text.trim_end_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then(|| text.split_at(rest.len()))
}

/// The placeholder of a number as it is padded.
fn number(variable: &str, digits: &str, full: usize) -> Option<String> {
    if digits.len() == full {
        return Some(format!("{{{{{variable}:padding=true}}}}"));
    }
    (digits.len() == 1 || !digits.starts_with('0')).then(|| format!("{{{{{variable}}}}}"))
}

/// A folder that is a date or a part of one, with placeholders. `expected` says which unit may come next: 0 for a
/// year only, 1 to 3 for month, day and hour too.
fn date_folder(folder: &str, expected: &mut usize) -> Option<String> {
    const UNITS: [(&str, std::ops::RangeInclusive<u8>); 3] = [("MM", 1..=12), ("dd", 1..=31), ("HH", 0..=23)];
    let (label, value) = folder.split_at(folder.find('=').map_or(0, |at| at + 1));
    let mut text = label.to_owned();
    let mut unit = *expected;
    let mut rest = value;
    *expected = 0;
    if let Some(year) = value.get(..4)
        && year.parse().is_ok_and(|year: u16| (1970..2200).contains(&year))
    {
        text.push_str("{{timestamp:unit=yyyy}}");
        (rest, unit) = (&value[4..], 1);
        if rest.is_empty() {
            *expected = 1;
            return Some(text);
        }
    } else if unit == 0 {
        return None;
    }
    while !rest.is_empty() {
        if rest.starts_with(['-', '_', '.', 'T']) && rest.len() < value.len() {
            text.push_str(&rest[..1]);
            rest = &rest[1..];
        }
        let (name, range) = UNITS.get(unit.checked_sub(1)?)?;
        let two = rest.get(..2).filter(|two| is_digits(two))?;
        if !range.contains(&two.parse().ok()?) {
            return None;
        }
        text.push_str(&format!("{{{{timestamp:unit={name}}}}}"));
        rest = &rest[2..];
        unit += 1;
    }
    *expected = unit;
    Some(text)
}
