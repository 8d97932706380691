//! The journals of a plan's topics: what earlier runs left behind, and where this one keeps its own.
//!
//! Several processes may begin to restore a topic at the same moment. So each writes a journal of its own before it
//! changes anything, and looks at the topic first and at the others' journals then: what another has changed by the
//! time of the first look, its journal tells at the second one.

use std::collections::{BTreeMap, BTreeSet};

use kafka::admin::ProducerIdentity;
use kafka::cluster::Cluster;

use super::commands::put_back_command;
use crate::error::RestoreError;
use crate::job::{Shard, Source};
use crate::journal::{self, Journal, JournalError, JournalFile};
use crate::plan::{RestorePlan, TopicPlan};

/// What earlier runs that were not finished have left behind, by target topic.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    file: Option<JournalFile>,
    /// By the partition that each is kept on. That of the file stands under -1.
    found: BTreeMap<String, BTreeMap<i32, Journal>>,
    /// The partition of each topic that the journal of this process is kept on.
    places: BTreeMap<String, i32>,
    /// True where other processes restore other partitions of the same topics.
    shared: bool,
    /// What a person should know of this.
    pub(crate) findings: Vec<String>,
}

impl Journals {
    /// Reads the journals of all topics of a plan, from the cluster, or else from `file`.
    pub(crate) async fn read(
        cluster: &Cluster,
        plan: &RestorePlan,
        shard: Option<Shard>,
        file: Option<JournalFile>,
    ) -> Result<Self, RestoreError> {
        let mut journals = Self {
            file,
            shared: shard.is_some_and(|shard| shard.count > 1),
            ..Self::default()
        };
        for topic in &plan.topics {
            let first = topic.partitions.iter().map(|partition| partition.partition).min();
            let place = first.filter(|_| journals.shared).unwrap_or(0);
            journals.places.insert(topic.target.clone(), place);
            // What was there before a topic was deleted says nothing about one that is created now.
            if topic.create.is_some() {
                continue;
            }
            let found = Self::of_one(cluster, &topic.target, journals.file.as_ref()).await?;
            let source = source_of(plan, topic);
            let others: BTreeSet<(&str, &str)> = found
                .values()
                .filter(|found| found.is_under_way() && found.source != source)
                .map(|found| (found.source.as_str(), found.started.as_str()))
                .collect();
            journals
                .findings
                .extend(others.into_iter().map(|(source, started)| {
                    format!(
                        "{}: a restore of {source} that began at {started} was not finished; its journal is taken over, \
                         so that the topic gets its own configuration back when this restore is complete",
                        topic.target
                    )
                }));
            if !found.is_empty() {
                journals.found.insert(topic.target.clone(), found);
            }
        }
        Ok(journals)
    }

    /// The journals of one topic, from the cluster, or else from `file`.
    pub(super) async fn of_one(
        cluster: &Cluster,
        topic: &str,
        file: Option<&JournalFile>,
    ) -> Result<BTreeMap<i32, Journal>, RestoreError> {
        let mut found = on_cluster(cluster, topic).await?;
        if let Some(file) = file.filter(|_| found.is_empty()) {
            found.extend(file.read(topic)?.map(|journal| (-1, journal)));
        }
        Ok(found)
    }

    /// Who produced in all the earlier runs of this process's share, where that is one and the same; or else in all
    /// that there were.
    pub(crate) fn producer(&self) -> Option<ProducerIdentity> {
        let same = |journals: Vec<&Journal>| {
            let mut producers = journals
                .into_iter()
                .filter(|journal| journal.is_under_way())
                .map(Journal::producer);
            let first = producers.next()?;
            producers.all(|other| other == first).then_some(first)
        };
        let own = self
            .found
            .iter()
            .filter_map(|(topic, found)| found.get(self.places.get(topic)?));
        let all = self.found.values().flat_map(BTreeMap::values);
        same(own.collect()).or_else(|| same(all.collect()))
    }

    /// What is known of `topic` from earlier runs, and, where the topic was not made by this process alone, from what
    /// other processes have noted until now.
    pub(super) async fn of(
        &self,
        cluster: &Cluster,
        topic: &str,
        made_here: bool,
    ) -> Result<Option<Journal>, RestoreError> {
        let mut found = self.found.get(topic).cloned().unwrap_or_default();
        if self.shared || !made_here {
            found.extend(on_cluster(cluster, topic).await?);
        }
        Ok(Journal::joined(found.into_values()))
    }

    /// Where the journal of this process for `topic` is kept, and whether other processes have others.
    pub(super) fn place(&self, topic: &str) -> (Place, bool) {
        let place = Place {
            topic: topic.to_owned(),
            partition: self.places.get(topic).copied().unwrap_or(0),
            file: self.file.clone(),
        };
        (place, self.shared)
    }
}

/// The journals on the cluster; none where this user may not read them.
async fn on_cluster(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, Journal>, RestoreError> {
    match journal::read_all(cluster, topic).await {
        Err(error) if error.is_missing_right() => Ok(BTreeMap::new()),
        found => Ok(found?),
    }
}

/// How a journal names what is restored.
pub(super) fn source_of(plan: &RestorePlan, topic: &TopicPlan) -> String {
    let mut text = format!("{}: {}", plan.source, topic.source);
    // Deep folders: the journal must fit into an offset's metadata.
    if text.len() > 512 {
        let mut start = text.len() - 511;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text = format!("…{}", &text[start..]);
    }
    text
}

/// Which of the backup's records are restored, in words; empty for all.
pub(super) fn choice_of(source: &Source) -> String {
    let records = &source.records;
    let limits = [
        ("modified since", source.selection.modified_since),
        ("from offset", records.from_offset),
        ("to offset", records.to_offset),
        ("from time", records.from_time),
        ("to time", records.to_time),
    ];
    let said: Vec<String> = limits
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("{name} {}", limit?)))
        .collect();
    said.join(", ")
}

/// Where the journal of a topic is kept.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) file: Option<JournalFile>,
}

impl Place {
    /// Writes the journal to the cluster and to the file. Where neither can be had, the restore goes on, and what is
    /// given back says so.
    pub(super) async fn keep(&self, cluster: &Cluster, journal: &Journal) -> Vec<String> {
        let topic = self.topic.as_str();
        let mut findings = Vec::new();
        let mut on_cluster = journal::write(cluster, topic, self.partition, journal).await;
        if let Err(JournalError::TooLarge { .. }) = on_cluster
            && !journal.append
        {
            // Only the list of log ends can be that long.
            let short = Journal {
                bases: Vec::new(),
                ..journal.clone()
            };
            on_cluster = journal::write(cluster, topic, self.partition, &short).await;
            findings.push(format!(
                "{topic}: where the logs ended before this restore does not fit into the journal on the cluster; after an \
                 interruption, go on with the same --report file, which has it beside it"
            ));
        }
        let in_file = self.file.as_ref().map(|file| file.write(topic, journal));
        let Err(error) = on_cluster else { return findings };
        if let Some(Ok(())) = in_file {
            tracing::info!(topic, %error, "the journal is only in the file beside the report");
            return findings;
        }
        let error = in_file.and_then(Result::err).unwrap_or(error);
        let by_hand = match journal.originals.is_empty() {
            true => String::new(),
            false => format!(
                "; after an interruption that cannot be made good, put its configuration back by hand: {}",
                put_back_command(cluster, topic, &journal.originals)
            ),
        };
        findings.push(format!(
            "{topic}: the journal of the restore cannot be kept ({error}). The restore goes on without it; --report FILE \
             keeps it beside the report{by_hand}"
        ));
        findings
    }

    /// Writes the journal to the cluster or to the file, or gives up: without it, a run that is interrupted could not
    /// tell its own records from those that they come behind, and would add them once more.
    pub(super) async fn keep_bases(&self, cluster: &Cluster, journal: &Journal) -> Result<(), RestoreError> {
        let topic = self.topic.as_str();
        let in_file = self.file.as_ref().map(|file| file.write(topic, journal));
        let Err(error) = journal::write(cluster, topic, self.partition, journal).await else {
            return Ok(());
        };
        if matches!(in_file, Some(Ok(()))) && error.is_missing_right() {
            return Ok(());
        }
        Err(RestoreError::Refused(format!(
            "{topic}: with --append, where the logs end now must be kept somewhere, or an interrupted run would add its \
             records twice, and it cannot be kept in the journal: {error}. Grant Read on the group {}, or say --report \
             FILE, which keeps the journal beside it; of very many partitions take some at a time with --partition",
            journal::group(topic)
        )))
    }

    /// The topic has its own configuration back. The journal is deleted, in both places, unless it tells what was put
    /// behind others: that stays, so that the same restore does not add it again.
    pub(super) async fn rest(&self, cluster: &Cluster, journal: &Journal) -> Result<(), JournalError> {
        let Some(rest) = journal.at_rest() else {
            return self.forget(cluster).await;
        };
        match journal::replace_all(cluster, &self.topic, &rest).await {
            Err(error) if error.is_missing_right() && self.file.is_some() => {}
            other => other?,
        }
        self.file
            .as_ref()
            .map_or(Ok(()), |file| file.write(&self.topic, &rest))
    }

    /// Deletes the journal, in both places.
    pub(super) async fn forget(&self, cluster: &Cluster) -> Result<(), JournalError> {
        match journal::delete(cluster, &self.topic).await {
            Err(error) if error.is_missing_right() => {}
            other => other?,
        }
        self.file.as_ref().map_or(Ok(()), |file| file.delete(&self.topic))
    }
}
