//! Object key <-> topic, partition, start offset.
//!
//! A [`Layout`] is a literal prefix and one or several ways of naming ([`Generation`]), since the names of one
//! topic change over the years: templates are edited, suffixes come and go, the S3 sink changed its padding
//! twice. Keys are matched from end to end, never in part, so `orders` cannot take an object of `orders-1`; a
//! key with more than one reading is [`KeyMatch::Ambiguous`], not guessed. [`connector`] makes a layout of a
//! sink's own configuration, [`discover`] proposes one from keys alone.

pub mod connector;
mod digits;
pub mod discover;
mod form;
mod legacy;
mod pattern;
mod recognise;
mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(crate) use form::{KeyForm, put_text, take_text};
use pattern::{Padding, Part, Pattern, Reading};
use recognise::is_topic_byte;

pub use pattern::TimeUnit;
pub use template::{DEFAULT_TEMPLATE, Grouping, NameFields, NameTemplate, TemplateError};

/// Everything that is known about how a bucket's objects are named.
#[derive(Clone, Debug)]
pub struct Layout {
    generations: Vec<Generation>,
    known_topics: BTreeSet<String>,
    assumed_topic: Option<String>,
}

/// One way of naming objects.
#[derive(Clone, Debug)]
pub struct Generation {
    description: String,
    prefix: String,
    grouping: Grouping,
    pattern: Arc<Pattern>,
    /// Set where the prefix is read as a folder's name; see [`Layout::or_folder`].
    folder: bool,
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMatch<'k> {
    /// Nothing: no way of naming fits.
    No,
    /// One reading.
    Name(ObjectName<'k>),
    /// Two readings or more (at most a few are listed), each of which fits.
    Ambiguous(Vec<ObjectName<'k>>),
}

/// One reading of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName<'k> {
    reading: Reading<'k>,
    generation: usize,
    grouping: Grouping,
    folder: bool,
    exact: bool,
}

impl<'k> ObjectName<'k> {
    /// The topic, where names have it.
    pub fn topic(&self) -> Option<&str> {
        self.reading.topic.as_deref()
    }

    /// The partition, where names have it.
    pub fn partition(&self) -> Option<i32> {
        self.reading.partition
    }

    /// The start offset, where names have it.
    pub fn start_offset(&self) -> Option<i64> {
        self.reading.start_offset
    }

    /// The record key as the sink put it into the name, where it did: `null` may be a null key or that word.
    pub fn record_key(&self) -> Option<&str> {
        self.reading.key.as_deref()
    }

    /// Which of [`Layout::generations`] this is.
    pub fn generation(&self) -> usize {
        self.generation
    }

    /// Which records the object holds.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// False where numbers are padded otherwise than the template says.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// True where the numbers were written with digits of another script.
    pub fn has_foreign_digits(&self) -> bool {
        self.reading.foreign_digits
    }

    /// True where the record key in the name is a Java array's identity, `[B@21a947fe`: the key was bytes, each
    /// flush made another object, and names may collide.
    pub fn has_array_identity(&self) -> bool {
        self.record_key().is_some_and(|key| {
            key.strip_prefix("[B@").is_some_and(|hash| {
                (1..=8).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        })
    }

    /// True where the prefix was read as a folder's name (see [`Layout::or_folder`]).
    pub(crate) fn is_in_folder(&self) -> bool {
        self.folder
    }
}

/// Says what the name means, for messages.
impl fmt::Display for ObjectName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&template::describe(&self.reading))
    }
}

impl Generation {
    fn new(
        description: String,
        prefix: &str,
        grouping: Grouping,
        parts: impl IntoIterator<Item = Part>,
    ) -> Self {
        let literal = Part::Literal(prefix.to_owned());
        Self {
            description,
            prefix: prefix.to_owned(),
            grouping,
            pattern: Arc::new(Pattern::new([literal].into_iter().chain(parts))),
            folder: false,
        }
    }

    /// The names of a sink without a configured template: [`DEFAULT_TEMPLATE`] with any of its suffixes.
    pub fn default_names(prefix: &str) -> Self {
        let parts = [
            Part::Topic,
            Part::Literal("-".into()),
            Part::Partition(Padding::None),
            Part::Literal("-".into()),
            Part::StartOffset(Padding::None),
            Part::Suffix,
        ];
        Self::new(
            format!("{prefix}{DEFAULT_TEMPLATE}[suffix]"),
            prefix,
            Grouping::Partition,
            parts,
        )
    }

    /// The names that a configured template gives: just those, no suffix is added.
    pub fn template(prefix: &str, template: &NameTemplate) -> Self {
        let parts = template.parts().iter().cloned();
        Self::new(format!("{prefix}{template}"), prefix, template.grouping(), parts)
    }

    /// The names of the S3 sink with the given `aws.s3.prefix`.
    pub fn s3_legacy(prefix: &str) -> Result<Self, TemplateError> {
        let description =
            format!("{prefix}{{{{topic}}}}-{{{{partition}}}}-{{{{start_offset:padding=true}}}}[suffix]");
        Ok(Self::new(
            description,
            "",
            Grouping::Partition,
            legacy::parts(prefix)?,
        ))
    }

    /// The names in words: prefix and template.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Which records share an object.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// True where names say which topic they belong to.
    pub fn has_topic(&self) -> bool {
        self.pattern.parts().contains(&Part::Topic)
    }

    /// The prefix whose folder this is, where [`Layout::or_folder`] made it.
    pub(crate) fn folder_prefix(&self) -> Option<&str> {
        self.folder.then(|| self.prefix.trim_end_matches('/'))
    }

    /// The same names in the folder that the prefix names.
    fn in_folder(&self) -> Option<Self> {
        if self.prefix.is_empty() || self.prefix.ends_with('/') {
            return None;
        }
        let (Part::Literal(head), rest) = self.pattern.parts().split_first()? else {
            return None;
        };
        let behind = head.strip_prefix(&self.prefix)?;
        let parts = [Part::Literal(format!("{}/{behind}", self.prefix))];
        let behind_prefix = self.description.strip_prefix(&self.prefix)?;
        Some(Self {
            description: format!("{}/{behind_prefix}", self.prefix),
            prefix: format!("{}/", self.prefix),
            grouping: self.grouping,
            pattern: Arc::new(Pattern::new(parts.into_iter().chain(rest.iter().cloned()))),
            folder: true,
        })
    }

    /// The longest text that all keys of these topics begin with, for each topic; of all topics for none.
    fn listing_prefixes(&self, topics: Option<&BTreeSet<String>>) -> Vec<String> {
        let mut head = String::new();
        let mut parts = self.pattern.parts().iter();
        for part in parts.by_ref() {
            match (part, topics) {
                (Part::Literal(text), _) => head.push_str(text),
                (Part::Topic, Some(topics)) => {
                    let mut behind = parts.clone().map_while(|part| match part {
                        Part::Literal(text) => Some(text.as_str()),
                        _ => None,
                    });
                    let behind = behind.next().unwrap_or_default();
                    return topics
                        .iter()
                        .map(|topic| format!("{head}{topic}{behind}"))
                        .collect();
                }
                _ => break,
            }
        }
        vec![head]
    }
}

impl Layout {
    /// The names of a sink that has no template configured, behind the literal `prefix`; the padded names of
    /// older S3 sinks too.
    pub fn default_names(prefix: &str) -> Self {
        Self::of([Generation::default_names(prefix)])
    }

    /// The names that `template` gives behind the literal `prefix`.
    pub fn template(prefix: &str, template: &NameTemplate) -> Self {
        Self::of([Generation::template(prefix, template)])
    }

    /// Any of several ways of naming.
    pub fn of(generations: impl IntoIterator<Item = Generation>) -> Self {
        Self {
            generations: generations.into_iter().collect(),
            known_topics: BTreeSet::new(),
            assumed_topic: None,
        }
    }

    /// Also everything that `other` accepts and knows.
    pub fn and(mut self, other: Layout) -> Self {
        for generation in other.generations {
            if !self
                .generations
                .iter()
                .any(|known| known.pattern == generation.pattern)
            {
                self.generations.push(generation);
            }
        }
        self.known_topics.extend(other.known_topics);
        self.assumed_topic = match (self.assumed_topic, other.assumed_topic) {
            (Some(one), Some(two)) => Some(one).filter(|one| *one == two),
            (one, two) => one.or(two),
        };
        self
    }

    /// Also finds the same names in the folder that the prefix names: with the prefix `backups`, both
    /// `backupsorders-0-0` and `backups/orders-0-0`. Where both exist, taking an inventory fails and asks.
    pub fn or_folder(mut self) -> Self {
        let folders: Vec<_> = self
            .generations
            .iter()
            .filter_map(Generation::in_folder)
            .collect();
        self.generations.extend(folders);
        self
    }

    /// Topics that are known to be in the backup (the sink's `topics`): a name with several readings is then
    /// taken as the one that names a known topic.
    pub fn with_known_topics(mut self, topics: impl IntoIterator<Item = String>) -> Self {
        self.known_topics.extend(topics);
        self
    }

    /// The topic of objects whose names have none (`{{key}}`).
    pub fn with_assumed_topic(mut self, topic: Option<String>) -> Self {
        self.assumed_topic = topic;
        self
    }

    /// The topic of objects whose names have none, where it is known.
    pub fn assumed_topic(&self) -> Option<&str> {
        self.assumed_topic.as_deref()
    }

    /// The ways of naming, in the order in which they were added.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The topics that are known to be in the backup.
    pub fn known_topics(&self) -> &BTreeSet<String> {
        &self.known_topics
    }

    /// Reads a key.
    ///
    /// Readings that follow a template to the letter are preferred to those with other padding, and those to
    /// names with digits of other scripts.
    pub fn match_key<'k>(&self, key: &'k str) -> KeyMatch<'k> {
        let exact = self.readings(true, |generation| generation.pattern.readings(key, true));
        let found = if !exact.is_empty() {
            exact
        } else {
            let loose = self.readings(false, |generation| generation.pattern.readings(key, false));
            if loose.is_empty() && !key.is_ascii() {
                self.readings(false, |generation| {
                    generation.pattern.readings_of_foreign_digits(key)
                })
            } else {
                loose
            }
        };
        self.choose(found)
    }

    fn readings<'k>(
        &self,
        exact: bool,
        read: impl Fn(&Generation) -> Vec<Reading<'k>>,
    ) -> Vec<ObjectName<'k>> {
        let mut names: Vec<ObjectName<'k>> = Vec::new();
        for (index, generation) in self.generations.iter().enumerate() {
            for reading in read(generation) {
                if !names.iter().any(|name| name.reading.agrees(&reading)) {
                    names.push(ObjectName {
                        reading,
                        generation: index,
                        grouping: generation.grouping,
                        folder: generation.folder,
                        exact,
                    });
                }
            }
        }
        names
    }

    fn choose<'k>(&self, mut names: Vec<ObjectName<'k>>) -> KeyMatch<'k> {
        if names.len() > 1 {
            let known = |name: &ObjectName<'_>| {
                name.topic()
                    .is_some_and(|topic| self.known_topics.contains(topic))
            };
            if names.iter().any(known) {
                names.retain(known);
            }
        }
        match names.len() {
            0 => KeyMatch::No,
            1 => names.pop().map_or(KeyMatch::No, KeyMatch::Name),
            _ => KeyMatch::Ambiguous(names),
        }
    }

    /// The prefixes under which all keys of `topics` (of any topic for none) lie; none begins with another.
    pub fn listing_prefixes(&self, topics: Option<&BTreeSet<String>>) -> Vec<String> {
        let all: BTreeSet<String> = self
            .generations
            .iter()
            .flat_map(|generation| generation.listing_prefixes(topics))
            .collect();
        let mut shortest: Vec<String> = Vec::new();
        for prefix in all {
            if !shortest
                .last()
                .is_some_and(|last| prefix.starts_with(last.as_str()))
            {
                shortest.push(prefix);
            }
        }
        shortest
    }

    /// How to keep `key` small: a form, and the text (appended to `text`) from which the form spells the key.
    /// `None` where it must be kept whole.
    pub(crate) fn form_of(
        &self,
        key: &str,
        name: &ObjectName<'_>,
        text: &mut String,
        scratch: &mut String,
    ) -> Option<KeyForm> {
        let generation = self.generations.get(name.generation)?;
        let form = generation.pattern.form_of(key, &name.reading, text)?;
        scratch.clear();
        form.write(
            name.topic().unwrap_or_default(),
            name.partition().unwrap_or_default(),
            name.start_offset().unwrap_or_default(),
            text,
            scratch,
        )?;
        (scratch == key).then_some(form)
    }
}

/// A plain key that does not come from a sink but from the tools around buckets, and may be passed over.
///
/// Folder markers (`name/` or Hadoop's `_$folder$`), and the side objects of other sinks and of Spark and
/// Hadoop: indexes, locks, temporary uploads, schemas, success flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideObject {
    /// A folder that some console or tool created.
    FolderMarker,
    /// An object that another tool keeps beside its data.
    OtherTool,
}

impl SideObject {
    /// What the key is known to be, if anything.
    pub fn of(key: &str, size: u64) -> Option<Self> {
        let last = key.rsplit('/').next().unwrap_or_default();
        if size == 0 && (last.is_empty() || key.ends_with("_$folder$")) {
            return Some(SideObject::FolderMarker);
        }
        let files = [
            "_SUCCESS",
            "_committed",
            "_started",
            "sweep-marker.json",
            ".DS_Store",
        ];
        let folders = [
            ".indexes",
            ".temp-upload",
            "_metadata",
            "tombstone",
            "_temporary",
            // Snapshots of clusters, by this program itself.
            "_kafka-restore",
        ];
        let known = files.contains(&last)
            || key
                .split('/')
                .rev()
                .skip(1)
                .any(|segment| folders.contains(&segment));
        known.then_some(SideObject::OtherTool)
    }
}

#[cfg(test)]
mod tests;
