//! Taking an inventory: one pass over the listing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;

use super::objects::PartitionBuilder;
use super::{
    AmbiguousName, Existing, Inventory, InventoryError, ListingProgress, MOST_SAMPLES, MissingTopic,
    NO_PARTITION, NO_TOPIC, Prefixes, Selection, Tally, TopicInventory,
};
use crate::layout::discover::{Discovery, Proposal};
use crate::layout::{Grouping, KeyForm, KeyMatch, Layout, ObjectName, SideObject};
use crate::storage::{ObjectMeta, StorageError, StorageErrorKind, Store};

/// Progress is told each time that many objects have been listed: a page of the big stores.
const PAGE: u64 = 1000;
/// So many names that fit no template are looked at for one; behind them, one of so many.
const OBSERVED: u64 = 10_000;
const OBSERVED_LATER: u64 = 64;
/// More ambiguous names than this are not looked at again at the end.
const MOST_DEFERRED: usize = 100_000;
/// How many objects are listed to tell which prefixes exist.
const MOST_FOR_PREFIXES: usize = 10_000;

/// Lists the store and sorts what it finds by topic, partition and start offset.
///
/// Where `selection` gives full names only, just their part of the store is listed if names allow it. Fails
/// where the listing fails, nothing is found, a topic asked for by its full name has no object, or the prefix
/// has two meanings.
pub async fn take(
    store: &dyn Store,
    layout: &Layout,
    selection: &Selection,
    mut on_page: impl FnMut(ListingProgress),
) -> Result<Inventory, InventoryError> {
    let exact = selection.only_exact_topics();
    let narrow = layout.listing_prefixes(exact.as_ref());
    let wide = layout.listing_prefixes(None);
    let mut taking = Taking::new(layout, selection);
    taking.list(store, &narrow, &mut on_page).await?;
    if taking.missing().next().is_none() && taking.inventory.listed.objects > 0 {
        taking.check_prefix(store.location())?;
        return Ok(taking.finish());
    }
    // Something is wrong: look at everything, to say what is there instead.
    if narrow != wide {
        taking = Taking::new(layout, selection);
        taking.list(store, &wide, &mut on_page).await?;
    }
    taking.check_prefix(store.location())?;
    if taking.missing().next().is_some() || taking.inventory.listed.objects == 0 {
        return Err(explain(store, taking, &wide).await);
    }
    Ok(taking.finish())
}

/// The error that says what there is instead of what was asked for.
async fn explain(store: &dyn Store, taking: Taking<'_>, wide: &[String]) -> InventoryError {
    let location = store.location().to_owned();
    let found: Vec<String> = taking
        .inventory
        .seen
        .keys()
        .map(|topic| topic.to_string())
        .collect();
    if !found.is_empty() {
        let missing = taking
            .missing()
            .map(|topic| MissingTopic {
                topic: topic.to_owned(),
                near: near(topic, &found),
            })
            .collect();
        return InventoryError::TopicNotFound {
            location,
            missing,
            found,
        };
    }
    let prefix = wide.first().cloned().unwrap_or_default();
    let mut existing = Box::new(existing(store).await);
    if taking.inventory.listed.objects == 0 {
        return InventoryError::NothingThere {
            location,
            prefix,
            existing,
        };
    }
    existing.proposals = taking.proposals();
    let mut samples = taking.inventory.unmatched.samples;
    samples.extend(taking.inventory.side_objects.samples);
    InventoryError::NothingMatches {
        location,
        prefix,
        templates: taking
            .inventory
            .generations
            .into_iter()
            .map(|(description, _)| description)
            .collect(),
        objects: taking.inventory.listed.objects,
        samples,
        existing,
    }
}

/// The prefixes among the store's first objects; what cannot be listed is not there.
async fn existing(store: &dyn Store) -> Existing {
    let mut prefixes = Prefixes::default();
    let mut listing = store.list("").take(MOST_FOR_PREFIXES);
    while let Some(Ok(object)) = listing.next().await {
        prefixes.observe(&object.key);
    }
    Existing {
        prefixes: prefixes
            .most(10)
            .into_iter()
            .map(|(prefix, count)| (prefix.to_owned(), count))
            .collect(),
        sample: prefixes.sample().map(str::to_owned),
        proposals: Vec::new(),
    }
}

/// The names among `found` that look most like `topic`, at most three.
fn near(topic: &str, found: &[String]) -> Vec<String> {
    let mut near: Vec<_> = found
        .iter()
        .map(|name| (strsim::jaro_winkler(topic, name), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

/// A topic that is being collected.
#[derive(Default)]
struct TopicBuilder {
    partitions: BTreeMap<i32, PartitionBuilder>,
    groupings: BTreeSet<Grouping>,
}

/// How often the prefix had one meaning, with a key for it.
#[derive(Default)]
struct PrefixUse {
    objects: u64,
    sample: Option<String>,
}

struct Taking<'a> {
    layout: &'a Layout,
    selection: &'a Selection,
    /// The topic of names that have none.
    default_topic: Arc<str>,
    topics: BTreeMap<Arc<str>, TopicBuilder>,
    forms: Vec<KeyForm>,
    deferred: Vec<ObjectMeta>,
    /// Literal, folder.
    prefix_uses: [PrefixUse; 2],
    inventory: Inventory,
    /// Told from names that do not fit.
    discovery: Discovery,
    taken: u64,
    text: String,
    scratch: String,
}

impl<'a> Taking<'a> {
    fn new(layout: &'a Layout, selection: &'a Selection) -> Self {
        let only_topic = selection.only_exact_topics().filter(|topics| topics.len() == 1);
        let only_topic = only_topic.as_ref().and_then(|topics| topics.first());
        let default_topic = layout
            .assumed_topic()
            .or(only_topic.map(String::as_str))
            .unwrap_or(NO_TOPIC);
        let generations = layout.generations().iter();
        Self {
            layout,
            selection,
            default_topic: default_topic.into(),
            topics: BTreeMap::new(),
            forms: vec![KeyForm::Whole],
            deferred: Vec::new(),
            prefix_uses: Default::default(),
            inventory: Inventory {
                generations: generations
                    .map(|generation| (generation.description().to_owned(), Tally::default()))
                    .collect(),
                ..Inventory::default()
            },
            discovery: Discovery::default(),
            taken: 0,
            text: String::new(),
            scratch: String::new(),
        }
    }

    /// Takes in all that begins with one of the prefixes.
    async fn list(
        &mut self,
        store: &dyn Store,
        prefixes: &[String],
        on_page: &mut impl FnMut(ListingProgress),
    ) -> Result<(), InventoryError> {
        let listed = self.list_once(store, prefixes, on_page, true).await;
        match listed {
            Err(error) if error.kind == StorageErrorKind::Unordered => {
                tracing::info!("listing anew, one page after the other: {error}");
                *self = Self::new(self.layout, self.selection);
                self.list_once(store, prefixes, on_page, false).await?;
            }
            listed => listed?,
        }
        self.resolve_ambiguous_names();
        Ok(())
    }

    async fn list_once(
        &mut self,
        store: &dyn Store,
        prefixes: &[String],
        on_page: &mut impl FnMut(ListingProgress),
        in_any_order: bool,
    ) -> Result<(), StorageError> {
        for prefix in prefixes {
            let mut listing = match in_any_order {
                true => store.list_in_any_order(prefix),
                false => store.list(prefix),
            };
            while let Some(object) = listing.next().await {
                self.add(&object?);
                if self.inventory.listed.objects.is_multiple_of(PAGE) {
                    on_page(self.progress());
                }
            }
        }
        on_page(self.progress());
        Ok(())
    }

    fn progress(&self) -> ListingProgress {
        ListingProgress {
            listed: self.inventory.listed,
            taken: self.taken,
        }
    }

    /// The topics asked for, names or globs, that no object is of.
    fn missing(&self) -> impl Iterator<Item = &'a str> {
        let inventory = &self.inventory;
        let unsure = inventory.seen.contains_key(NO_TOPIC) || inventory.ambiguous.concerned > 0;
        let asked = self.selection.topics.iter().filter(move |_| !unsure);
        asked
            .filter(|topic| {
                !inventory
                    .seen
                    .keys()
                    .any(|seen| Selection::topics([topic.as_str()]).has_topic(seen))
            })
            .map(String::as_str)
    }

    /// Takes in one listed object.
    fn add(&mut self, object: &ObjectMeta) {
        self.inventory.listed.add(object.size);
        let layout = self.layout;
        match layout.match_key(&object.key) {
            KeyMatch::No => match SideObject::of(&object.key, object.size) {
                Some(side) => self.add_side(side, object),
                None => self.add_unmatched(object),
            },
            KeyMatch::Name(name) => {
                // A name that may be any text says little; a side object's name says more.
                let vague = name.grouping() == Grouping::LatestState;
                match SideObject::of(&object.key, object.size).filter(|_| vague) {
                    Some(side) => self.add_side(side, object),
                    None => self.add_named(object, &name),
                }
            }
            KeyMatch::Ambiguous(names) => {
                if self.deferred.len() < MOST_DEFERRED {
                    self.deferred.push(object.clone());
                } else {
                    self.add_ambiguous(object, &names);
                }
            }
        }
    }

    fn add_unmatched(&mut self, object: &ObjectMeta) {
        let count = self.inventory.unmatched.tally.objects;
        self.inventory.unmatched.add(&object.key, object.size);
        // In a bucket of millions of other things, a part of them tells as much.
        if count < OBSERVED || count.is_multiple_of(OBSERVED_LATER) {
            self.discovery.observe(&object.key, object.size);
        }
    }

    /// What would explain the names that do not fit, beside the prefix that is known.
    fn proposals(&self) -> Vec<Proposal> {
        if self.inventory.unmatched.tally.objects == 0 {
            return Vec::new();
        }
        let prefixes = self.layout.listing_prefixes(None);
        let known = match prefixes.as_slice() {
            [prefix] => prefix.as_str(),
            _ => "",
        };
        let mut proposals = self.discovery.propose();
        for proposal in &mut proposals {
            if let Some(rest) = proposal.prefix.strip_prefix(known) {
                proposal.prefix = rest.to_owned();
            }
        }
        proposals
    }

    fn add_side(&mut self, side: SideObject, object: &ObjectMeta) {
        match side {
            SideObject::FolderMarker => self.inventory.folder_markers += 1,
            SideObject::OtherTool => self.inventory.side_objects.add(&object.key, object.size),
        }
    }

    fn add_ambiguous(&mut self, object: &ObjectMeta, names: &[ObjectName<'_>]) {
        let ambiguity = &mut self.inventory.ambiguous;
        ambiguity.tally.add(object.size);
        let concerned = names.iter().any(|name| {
            self.selection
                .has_topic(name.topic().unwrap_or(&self.default_topic))
                && self.selection.has_partition(name.partition())
        });
        let sample = || AmbiguousName {
            key: object.key.clone(),
            readings: names.iter().map(ToString::to_string).collect(),
        };
        if concerned {
            if ambiguity.concerned < MOST_SAMPLES as u64 {
                ambiguity.samples.insert(ambiguity.concerned as usize, sample());
                ambiguity.samples.truncate(MOST_SAMPLES);
            }
            ambiguity.concerned += 1;
        } else if ambiguity.samples.len() < MOST_SAMPLES {
            ambiguity.samples.push(sample());
        }
    }

    fn add_named(&mut self, object: &ObjectMeta, name: &ObjectName<'_>) {
        self.note(object, name);
        let topic = match name.topic() {
            Some(topic) => topic,
            None => &*self.default_topic,
        };
        let topic = match self.inventory.seen.get_key_value(topic) {
            Some((topic, _)) => topic.clone(),
            None => Arc::from(topic),
        };
        let seen = self.inventory.seen.entry(topic.clone()).or_default();
        seen.objects.add(object.size);
        seen.highest_partition = seen.highest_partition.max(name.partition());
        if !self.selection.has_topic(&topic) && !topic.is_empty()
            || !self.selection.has_partition(name.partition())
        {
            return;
        }
        if self
            .selection
            .modified_since
            .is_some_and(|since| object.last_modified < since)
        {
            self.inventory.older.add(object.size);
            return;
        }
        self.taken += 1;
        self.text.clear();
        let form = self
            .layout
            .form_of(&object.key, name, &mut self.text, &mut self.scratch)
            .and_then(|form| number_of(&mut self.forms, form));
        let builder = self.topics.entry(topic).or_default();
        builder.groupings.insert(name.grouping());
        let partition = builder
            .partitions
            .entry(name.partition().unwrap_or(NO_PARTITION))
            .or_default();
        let (offset, size, modified) = (name.start_offset(), object.size, object.last_modified);
        match form {
            Some(form) => partition.push(form, &self.text, offset, size, modified),
            None => partition.push_whole(&object.key, offset, size, modified),
        }
    }

    /// Counts what is special about a name.
    fn note(&mut self, object: &ObjectMeta, name: &ObjectName<'_>) {
        if let Some((_, tally)) = self.inventory.generations.get_mut(name.generation()) {
            tally.add(object.size);
        }
        self.inventory.padded_otherwise += u64::from(!name.is_exact() && !name.has_foreign_digits());
        self.inventory.foreign_digits += u64::from(name.has_foreign_digits());
        self.inventory.array_identities += u64::from(name.has_array_identity());
        let prefix_use = &mut self.prefix_uses[usize::from(name.is_in_folder())];
        prefix_use.objects += 1;
        // The first by name: a listing comes in any order.
        if prefix_use
            .sample
            .as_ref()
            .is_none_or(|sample| object.key < *sample)
        {
            prefix_use.sample = Some(object.key.clone());
        }
    }

    /// Looks again at ambiguous names, now that it is known which topics there are beyond doubt.
    fn resolve_ambiguous_names(&mut self) {
        let certain: BTreeSet<Arc<str>> = self.inventory.seen.keys().cloned().collect();
        let layout = self.layout;
        let mut deferred = std::mem::take(&mut self.deferred);
        deferred.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        for object in deferred {
            let KeyMatch::Ambiguous(mut names) = layout.match_key(&object.key) else {
                continue;
            };
            let is_certain =
                |name: &ObjectName<'_>| name.topic().is_some_and(|topic| certain.contains(topic));
            match names.iter().filter(|name| is_certain(name)).count() {
                1 => {
                    names.retain(is_certain);
                    self.inventory.ambiguous.resolved += 1;
                    self.add_named(&object, &names[0]);
                }
                _ => self.add_ambiguous(&object, &names),
            }
        }
    }

    /// An error where the prefix stands both before names and for a folder.
    fn check_prefix(&self, location: &str) -> Result<(), InventoryError> {
        let [literal, folder] = &self.prefix_uses;
        let has_folder = self
            .layout
            .generations()
            .iter()
            .find_map(|generation| generation.folder_prefix());
        match (has_folder, &literal.sample, &folder.sample) {
            (Some(prefix), Some(literal_sample), Some(folder_sample)) => Err(InventoryError::TwoPrefixes {
                location: location.to_owned(),
                prefix: prefix.to_owned(),
                literal: literal_sample.clone(),
                literal_objects: literal.objects,
                folder: folder_sample.clone(),
                folder_objects: folder.objects,
            }),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Inventory {
        let proposals = self.proposals();
        let mut inventory = self.inventory;
        inventory.proposals = proposals;
        let forms: Arc<[KeyForm]> = self.forms.into();
        for (topic, builder) in self.topics {
            let partitions = builder
                .partitions
                .into_iter()
                .map(|(partition, objects)| {
                    (
                        partition,
                        Arc::new(objects.finish(topic.clone(), partition, forms.clone())),
                    )
                })
                .collect();
            let groupings = builder.groupings;
            inventory.topics.insert(
                topic,
                TopicInventory {
                    partitions,
                    groupings,
                },
            );
        }
        inventory
    }
}

/// The number of a form among those known, which it joins if there is room. Where there is none, keys are kept whole.
fn number_of(forms: &mut Vec<KeyForm>, form: KeyForm) -> Option<u8> {
    if let Some(number) = forms.iter().position(|known| *known == form) {
        return u8::try_from(number).ok();
    }
    let number = u8::try_from(forms.len()).ok()?;
    forms.push(form);
    Some(number)
}
