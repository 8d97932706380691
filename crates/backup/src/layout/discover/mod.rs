//! Which templates made the names in a bucket, told from the names alone: proposals for a person, no more.
//!
//! Each key suggests a template of its own (its last number is the start offset, the one before it the
//! partition, and so on); the suggestions are then tried on a sample of all keys, and the fewest that explain
//! most of them are proposed. Memory is bounded whatever the number of keys.

mod suggest;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::{Generation, Grouping, KeyMatch, Layout, NameTemplate, SideObject};
use suggest::suggest;

/// More suggestions than this are not told apart.
const MOST_SUGGESTIONS: usize = 500;
/// How many keys are kept to try the suggestions on.
const SAMPLE: usize = 4096;
/// How many proposals are made at most.
const MOST_PROPOSALS: usize = 8;

/// Collects keys, and proposes templates for them.
#[derive(Clone, Debug)]
pub struct Discovery {
    suggestions: HashMap<Suggestion, u64>,
    sample: Vec<String>,
    stride: u64,
    keys: u64,
}

/// How surely a proposal is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// It fits, and so do others, or few names speak for it.
    Weak,
    /// It fits many names in one way only.
    Likely,
    /// Padding or many partitions and offsets leave hardly any doubt.
    Sure,
}

/// A template that explains names.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Proposal {
    /// The literal prefix.
    pub prefix: String,
    /// The template; none for the default names with any suffix.
    pub template: Option<NameTemplate>,
    /// Keys of the sample that it explains.
    pub matched: usize,
    /// Those of them that no better proposal explains.
    pub added: usize,
    /// Those of them that it can read in several ways.
    pub ambiguous: usize,
    /// The number of keys in the sample.
    pub sample: usize,
    /// Some of the topics that it finds, at most 20.
    pub topics: Vec<String>,
    /// Keys that it explains and better proposals do not, at most 3.
    pub examples: Vec<String>,
    /// How surely it is right.
    pub confidence: Confidence,
    /// What there is to say about it, in full sentences.
    pub notes: Vec<String>,
}

impl Proposal {
    /// The way of naming that is proposed.
    pub fn generation(&self) -> Generation {
        generation(&self.prefix, self.template.as_ref())
    }

    /// The template with its prefix, as the command line takes it.
    pub fn text(&self) -> String {
        let template = self
            .template
            .as_ref()
            .map_or(DEFAULT_TEMPLATE, NameTemplate::as_str);
        format!("{}{template}", self.prefix)
    }
}

/// For a person: the template, how many names it explains, and what makes it doubtful.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sureness = match self.confidence {
            Confidence::Weak => "perhaps",
            Confidence::Likely => "likely",
            Confidence::Sure => "surely",
        };
        write!(
            f,
            "{sureness} {} ({} of {} names",
            self.text(),
            self.matched,
            self.sample
        )?;
        if self.ambiguous > 0 {
            write!(f, ", {} of them in more than one way", self.ambiguous)?;
        }
        if let Some((first, others)) = self.topics.split_first() {
            write!(f, "; topic {first:?}")?;
            if !others.is_empty() {
                write!(f, " and {} more", others.len())?;
            }
        }
        f.write_str(")")?;
        self.notes.iter().try_for_each(|note| write!(f, " {note}"))
    }
}

/// The template of default names, without a suffix.
const DEFAULT_TEMPLATE: &str = "{{topic}}-{{partition}}-{{start_offset}}";

/// A prefix, and a template if the names are not the default ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Suggestion {
    prefix: String,
    template: Option<String>,
}

impl Suggestion {
    /// False where the template is none, or does not even read the key that suggests it.
    fn fits(&self, key: &str) -> bool {
        let Ok(template) = self.template.as_deref().map(NameTemplate::new).transpose() else {
            return false;
        };
        Layout::of([generation(&self.prefix, template.as_ref())]).match_key(key) != KeyMatch::No
    }
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            suggestions: HashMap::new(),
            sample: Vec::new(),
            stride: 1,
            keys: 0,
        }
    }
}

impl Discovery {
    /// Takes in a key and the size of its object. Markers and objects of other tools are passed over.
    pub fn observe(&mut self, key: &str, size: u64) {
        if SideObject::of(key, size).is_some() {
            return;
        }
        if self.keys.is_multiple_of(self.stride) {
            if self.sample.len() == SAMPLE {
                // Every second key of what is there, and half as many from now on: evenly spread to the end.
                let mut number = 0;
                self.sample.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.stride *= 2;
            }
            if self.keys.is_multiple_of(self.stride) {
                self.sample.push(key.to_owned());
            }
        }
        self.keys += 1;
        for suggestion in suggest(key) {
            if let Some(count) = self.suggestions.get_mut(&suggestion) {
                *count += 1;
            } else if self.suggestions.len() < MOST_SUGGESTIONS && suggestion.fits(key) {
                self.suggestions.insert(suggestion, 1);
            }
        }
    }

    /// The proposals, best first. Keys of the sample that none explains are those that `added` does not count.
    pub fn propose(&self) -> Vec<Proposal> {
        let mut tried: Vec<_> = self
            .suggestions
            .iter()
            .filter_map(|(suggestion, count)| {
                let template = suggestion
                    .template
                    .as_deref()
                    .map(NameTemplate::new)
                    .transpose()
                    .ok()?;
                let layout = Layout::of([generation(&suggestion.prefix, template.as_ref())]);
                let fits: Vec<bool> = self
                    .sample
                    .iter()
                    .map(|key| layout.match_key(key) != KeyMatch::No)
                    .collect();
                Some(Tried {
                    suggestion,
                    count: *count,
                    template,
                    layout,
                    fits,
                })
            })
            .collect();
        tried.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.suggestion.cmp(b.suggestion)));
        let mut open = vec![true; self.sample.len()];
        let mut proposals = Vec::new();
        while proposals.len() < MOST_PROPOSALS {
            // The first of equals: the one that more keys suggest.
            let mut best: Option<(f64, usize)> = None;
            for (index, one) in tried.iter().enumerate() {
                let worth = one.worth(&open);
                if worth > best.map_or(0.0, |(worth, _)| worth) {
                    best = Some((worth, index));
                }
            }
            let Some((_, best)) = best else { break };
            let chosen = tried.remove(best);
            let mut proposal = chosen.propose(&self.sample, &open);
            if let Some(wider) = tried.iter().find(|other| other.is_wider_than(&chosen)) {
                proposal.confidence = Confidence::Weak;
                proposal.notes.push(format!(
                    "{} explains all of these names and {} more.",
                    generation(&wider.suggestion.prefix, wider.template.as_ref()).description(),
                    wider.matched() - proposal.matched,
                ));
            }
            proposals.push(proposal);
            for (open, fits) in open.iter_mut().zip(&chosen.fits) {
                *open &= !fits;
            }
        }
        proposals
    }
}

fn generation(prefix: &str, template: Option<&NameTemplate>) -> Generation {
    match template {
        Some(template) => Generation::template(prefix, template),
        None => Generation::default_names(prefix),
    }
}

/// A suggestion and the keys of the sample that it fits.
struct Tried<'a> {
    suggestion: &'a Suggestion,
    count: u64,
    template: Option<NameTemplate>,
    layout: Layout,
    fits: Vec<bool>,
}

impl Tried<'_> {
    fn grouping(&self) -> Grouping {
        self.template
            .as_ref()
            .map_or(Grouping::Partition, NameTemplate::grouping)
    }

    /// How much it explains of what is open; a record key explains anything, so it counts for less.
    fn worth(&self, open: &[bool]) -> f64 {
        let weight = match self.grouping() {
            Grouping::Partition => 1.0,
            Grouping::PartitionAndKey => 0.8,
            Grouping::LatestState => 0.4,
        };
        self.fits
            .iter()
            .zip(open)
            .filter(|(fits, open)| **fits && **open)
            .count() as f64
            * weight
    }

    fn matched(&self) -> usize {
        self.fits.iter().filter(|fits| **fits).count()
    }

    /// True where this fits all that `other` fits, and so much more that this is no chance.
    fn is_wider_than(&self, other: &Self) -> bool {
        self.fits
            .iter()
            .zip(&other.fits)
            .all(|(this, other)| *this || !*other)
            && self.matched() >= other.matched() + 3.max(other.matched() / 50)
    }

    fn propose(&self, sample: &[String], open: &[bool]) -> Proposal {
        let mut topics = BTreeSet::new();
        let mut partitions = BTreeSet::new();
        let mut offsets = BTreeSet::new();
        let (mut ambiguous, mut arrays) = (0, 0);
        for (key, _) in sample.iter().zip(&self.fits).filter(|(_, fits)| **fits) {
            match self.layout.match_key(key) {
                KeyMatch::Name(name) => {
                    topics.extend(name.topic().map(str::to_owned));
                    partitions.insert(name.partition());
                    offsets.insert(name.start_offset());
                    arrays += usize::from(name.has_array_identity());
                }
                KeyMatch::Ambiguous(_) => ambiguous += 1,
                KeyMatch::No => {}
            }
        }
        let matched = self.matched();
        let added = || {
            sample
                .iter()
                .zip(self.fits.iter().zip(open))
                .filter(|(_, (fits, open))| **fits && **open)
        };
        let padded = self
            .suggestion
            .template
            .as_ref()
            .is_some_and(|text| text.contains("start_offset:padding=true"));
        let confidence = match self.grouping() {
            _ if added().count() == 1 && sample.len() > 3 => Confidence::Weak,
            Grouping::Partition if ambiguous == 0 && (padded || offsets.len() >= 3) => Confidence::Sure,
            Grouping::Partition if ambiguous == 0 => Confidence::Likely,
            Grouping::PartitionAndKey if ambiguous * 10 < matched && offsets.len() >= 3 => Confidence::Likely,
            Grouping::LatestState if arrays * 2 > matched => Confidence::Likely,
            _ => Confidence::Weak,
        };
        let mut notes = Vec::new();
        if let Some(common) = common_beginning(&topics) {
            notes.push(format!(
                "All topics begin with {common:?}: it may belong to the prefix and not to their names."
            ));
        }
        if self.grouping() == Grouping::LatestState {
            notes.push("Such objects hold only the latest record of each key.".into());
        }
        Proposal {
            prefix: self.suggestion.prefix.clone(),
            template: self.template.clone(),
            matched,
            added: added().count(),
            ambiguous,
            sample: sample.len(),
            topics: topics.into_iter().take(20).collect(),
            examples: added().take(3).map(|(key, _)| key.clone()).collect(),
            confidence,
            notes,
        }
    }
}

/// What several topics begin with, up to and with a separator.
fn common_beginning(topics: &BTreeSet<String>) -> Option<&str> {
    // In order, so what the first and the last share is shared by all.
    let (first, last) = (topics.first()?, topics.last()?);
    let shared = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let end = first.get(..shared)?.rfind(['-', '_', '.'])? + 1;
    (topics.len() > 1).then(|| &first[..end])
}

#[cfg(test)]
mod tests;
