//! Why there is no inventory, in full sentences.

use crate::layout::discover::Proposal;
use crate::storage::StorageError;

/// An inventory that could not be taken, or not as asked.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The listing failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No object lies under the prefix.
    #[error(
        "no object in {location} begins with the prefix {prefix:?}; {}", existing.in_words(true)
    )]
    NothingThere {
        /// The store.
        location: String,
        /// The prefix that was asked for.
        prefix: String,
        /// What there is instead.
        existing: Box<Existing>,
    },
    /// There are objects, and none is named as the layout says.
    #[error(
        "none of the {objects} objects in {location} under {prefix:?} is named {}; for example {}; {}{}",
        templates.join(" or "),
        quoted(samples, 3),
        existing.in_words(false),
        explained(&existing.proposals)
    )]
    NothingMatches {
        /// The store.
        location: String,
        /// The prefix that was asked for.
        prefix: String,
        /// The ways of naming that were tried.
        templates: Vec<String>,
        /// The number of objects that were listed.
        objects: u64,
        /// Some of their keys.
        samples: Vec<String>,
        /// What there is besides.
        existing: Box<Existing>,
    },
    /// There is no object of a topic that was asked for by name.
    #[error("no object in {location} is of topic {}; {}", quoted(&missing.iter().map(|topic| topic.topic.clone()).collect::<Vec<_>>(), 10), found_topics(missing, found))]
    TopicNotFound {
        /// The store.
        location: String,
        /// The topics that were not found.
        missing: Vec<MissingTopic>,
        /// All topics that were found, in order.
        found: Vec<String>,
    },
    /// The prefix stands both before names and for a folder.
    #[error(
        "the prefix {prefix:?} can be read in two ways in {location}: {literal_objects} objects such as {literal:?} begin \
         with it, and {folder_objects} objects such as {folder:?} lie in a folder of that name; say which is meant: \
         {:?} for the folder, or the whole beginning of the names",
        format!("{prefix}/")
    )]
    TwoPrefixes {
        /// The store.
        location: String,
        /// The prefix that was asked for.
        prefix: String,
        /// A key for which it is the literal beginning.
        literal: String,
        /// How many there are of these.
        literal_objects: u64,
        /// A key in the folder.
        folder: String,
        /// How many there are of these.
        folder_objects: u64,
    },
    /// Names of topics that are asked for have more than one reading.
    #[error(
        "{objects} objects have names with more than one reading, for example {}; give the sink's configuration, or the \
         names of all topics in the backup, so that they can be told apart",
        samples.iter().take(3).map(|sample| format!("{:?}: {}", sample.key, sample.readings.join(", or "))).collect::<Vec<_>>().join("; ")
    )]
    Ambiguous {
        /// How many there are.
        objects: u64,
        /// Some of them.
        samples: Vec<AmbiguousName>,
    },
}

/// What there is in a store, told from its first objects.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// Folders that hold most objects, with their numbers of objects; `""` for keys without a folder.
    pub prefixes: Vec<(String, u64)>,
    /// A key.
    pub sample: Option<String>,
    /// Templates that would explain the names of objects that fit none, best first.
    pub proposals: Vec<Proposal>,
}

/// A topic that was asked for and not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTopic {
    /// Its name.
    pub topic: String,
    /// Topics that were found and are spelled nearly so.
    pub near: Vec<String>,
}

/// A key with more than one reading.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AmbiguousName {
    /// The key.
    pub key: String,
    /// What it can mean, in words.
    pub readings: Vec<String>,
}

fn quoted(texts: &[String], most: usize) -> String {
    let mut text = texts
        .iter()
        .take(most)
        .map(|text| format!("{text:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if texts.len() > most {
        text.push_str(&format!(" and {} more", texts.len() - most));
    }
    text
}

impl Existing {
    fn in_words(&self, with_sample: bool) -> String {
        if self.prefixes.is_empty() {
            return "no other object could be listed either".into();
        }
        let list: Vec<_> = self
            .prefixes
            .iter()
            .map(|(prefix, count)| match prefix.as_str() {
                "" => format!("the top level ({count} objects)"),
                prefix => format!("{prefix:?} ({count} objects)"),
            })
            .collect();
        let sample = self.sample.as_ref().filter(|_| with_sample);
        let sample = sample
            .map(|key| format!("; a key that exists is {key:?}"))
            .unwrap_or_default();
        format!("objects lie in {}{sample}", list.join(", "))
    }
}

/// What would explain the names, at most three proposals.
fn explained(proposals: &[Proposal]) -> String {
    let words: Vec<_> = proposals.iter().take(3).map(Proposal::to_string).collect();
    match words.is_empty() {
        true => String::new(),
        false => format!("; their template is {}", words.join(", or ")),
    }
}

fn found_topics(missing: &[MissingTopic], found: &[String]) -> String {
    let near: Vec<String> = missing
        .iter()
        .flat_map(|topic| topic.near.iter().cloned())
        .collect();
    let hint = match near.as_slice() {
        [] => String::new(),
        near => format!("did you mean {}? ", quoted(near, 3)),
    };
    format!("{hint}Topics found: {}", quoted(found, 20))
}
