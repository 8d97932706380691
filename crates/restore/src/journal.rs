//! What an interrupted restore leaves behind for the next run: a topic's own configuration, and who produced.
//!
//! The journal of a topic is the metadata text of an offset that the tool's own group, `kafka-restore.<topic>`, commits on
//! the topic's partition 0; each of several processes that share a topic has one of its own, on the first partition of
//! its share, so that none overwrites what another has noted. It needs no storage of its own, any machine can read it, with any Kafka tool, and it goes
//! with the topic when that is deleted. It is written before the first change and before the first record, and
//! deleted when everything is back; what was put behind others' records (`appended`) stays in it as a proof. A file beside
//! the report (`twin`) is the same, for users without rights on groups and for jobs that rest for longer than brokers
//! keep the offsets of an empty group (7 days by default).

mod appended;
mod twin;

use std::collections::BTreeMap;

use kafka::admin::ProducerIdentity;
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use kafka::groups::CommittedOffset;
use record::TopicPartition;
use serde::{Deserialize, Serialize};

pub use appended::Appended;
pub use twin::JournalFile;

/// The version of the journal's schema.
pub const JOURNAL_VERSION: u32 = 1;

/// Bytes of metadata that brokers take by default (`offset.metadata.max.bytes`).
const MAX_BYTES: usize = 4096;

/// What has to be known to bring a topic to its proper state. The short names keep it within 4096 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_VERSION`].
    #[serde(rename = "v")]
    pub version: u32,
    /// When the restore began, RFC 3339.
    #[serde(rename = "at")]
    pub started: String,
    /// What is restored: where the backup lies, and the topic's name there. Empty where nothing is under way any more.
    #[serde(rename = "from")]
    pub source: String,
    /// The producer id of the job.
    #[serde(rename = "pid")]
    pub producer_id: i64,
    /// Its epoch.
    #[serde(rename = "ep")]
    pub producer_epoch: i16,
    /// The original value of everything that is other while restoring; none where the brokers' default held.
    #[serde(rename = "cfg", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, Option<String>>,
    /// Where the log ended before the first record of this restore, by partition, where that is known.
    #[serde(rename = "base", default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<Base>,
    /// The records come behind others. What is complete goes to `appended` and stays.
    #[serde(rename = "app", default, skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
    /// What was put behind others before, complete; the newest last.
    #[serde(rename = "did", default, skip_serializing_if = "Vec::is_empty")]
    pub appended: Vec<Appended>,
}

/// Partitions `first .. first + count` whose logs ended at `offset`: one entry of [`Journal::bases`], written as
/// `[first, count, offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i32, i32, i64)", into = "(i32, i32, i64)")]
pub struct Base {
    /// The first partition.
    pub first: i32,
    /// How many.
    pub count: i32,
    /// Their log ends.
    pub offset: i64,
}

impl From<(i32, i32, i64)> for Base {
    fn from((first, count, offset): (i32, i32, i64)) -> Self {
        Self { first, count, offset }
    }
}

impl From<Base> for (i32, i32, i64) {
    fn from(base: Base) -> Self {
        (base.first, base.count, base.offset)
    }
}

/// Why a journal could not be read or kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The cluster refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A newer program wrote it.
    #[error(
        "the journal of {topic} has version {found}, and this program knows version {JOURNAL_VERSION}: finish the \
         restore with the program that began it"
    )]
    Version {
        /// The topic.
        topic: String,
        /// The version found.
        found: u64,
    },
    /// It is not what this program writes.
    #[error("the journal of {topic} (metadata of an offset of group {group}) cannot be read: {message}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// What is wrong with it.
        message: String,
    },
    /// It does not fit into an offset's metadata.
    #[error("the journal of {topic} takes {bytes} bytes, and brokers keep {MAX_BYTES}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Its size.
        bytes: usize,
    },
    /// The file beside the report.
    #[error("the journal file {path}: {message}")]
    File {
        /// Where.
        path: String,
        /// What went wrong.
        message: String,
    },
}

impl JournalError {
    /// True where this user lacks the rights on the group.
    pub fn is_missing_right(&self) -> bool {
        let Self::Kafka(error) = self else { return false };
        matches!(
            error.code(),
            Some(ResponseError::GroupAuthorizationFailed | ResponseError::TopicAuthorizationFailed)
        )
    }
}

impl Journal {
    /// A journal without any change yet.
    pub fn new(source: String, producer: ProducerIdentity) -> Self {
        Self {
            version: JOURNAL_VERSION,
            started: jiff::Timestamp::now().to_string(),
            source,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            originals: BTreeMap::new(),
            bases: Vec::new(),
            append: false,
            appended: Vec::new(),
        }
    }

    /// True while a restore is not finished.
    pub fn is_under_way(&self) -> bool {
        !self.source.is_empty()
    }

    /// What several journals of a topic say together: the originals and log ends of all of them. Where two tell different
    /// originals, the one that began first saw the topic before anybody changed it.
    pub fn joined(journals: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut journals: Vec<Self> = journals.into_iter().collect();
        // One that only tells what was done before says nothing about the restore that is under way.
        journals.sort_by_key(|journal| {
            let started = journal.started.parse::<jiff::Timestamp>().ok();
            (!journal.is_under_way(), started)
        });
        let mut journals = journals.into_iter();
        let mut joined = journals.next()?;
        for journal in journals {
            for (name, original) in journal.originals {
                joined.originals.entry(name).or_insert(original);
            }
            joined.bases.extend(journal.bases);
            joined.append |= journal.append;
            for appended in journal.appended {
                joined.add_appended(appended);
            }
        }
        Some(joined)
    }

    /// Who produced, and shall go on.
    pub fn producer(&self) -> ProducerIdentity {
        ProducerIdentity {
            id: self.producer_id,
            epoch: self.producer_epoch,
        }
    }

    /// Where the partition's log ended before the first record of this restore; `None` where it held something then,
    /// and nobody said that records may come behind it.
    pub fn base(&self, partition: i32) -> Option<i64> {
        let found = self
            .bases
            .iter()
            .find(|base| partition >= base.first && partition < base.first.saturating_add(base.count));
        found.map(|base| base.offset)
    }

    /// Adds what is known of one more partition, or replaces it.
    pub fn set_base(&mut self, partition: i32, offset: i64) {
        self.remove_base(partition);
        self.bases.push(Base {
            first: partition,
            count: 1,
            offset,
        });
        self.bases.sort_unstable_by_key(|base| base.first);
        self.bases.dedup_by(|next, base| {
            let follows = base.offset == next.offset && base.first.saturating_add(base.count) == next.first;
            base.count = base.count.saturating_add(if follows { next.count } else { 0 });
            follows
        });
    }

    fn remove_base(&mut self, partition: i32) {
        let mut bases = Vec::with_capacity(self.bases.len() + 1);
        for base in self.bases.drain(..) {
            let end = base.first.saturating_add(base.count);
            for (first, end) in [
                (base.first, end.min(partition)),
                (base.first.max(partition.saturating_add(1)), end),
            ] {
                if first < end {
                    bases.push(Base {
                        first,
                        count: end - first,
                        ..base
                    });
                }
            }
        }
        self.bases = bases;
    }

    /// Notes where the logs of some partitions, in ascending order, end before the first record.
    pub fn set_bases(&mut self, ends: impl IntoIterator<Item = (i32, i64)>) {
        self.bases.clear();
        for (partition, offset) in ends {
            match self.bases.last_mut() {
                Some(last) if last.offset == offset && last.first + last.count == partition => {
                    last.count += 1
                }
                _ => self.bases.push(Base {
                    first: partition,
                    count: 1,
                    offset,
                }),
            }
        }
    }

    /// As it stands in the metadata of an offset.
    fn to_text(&self, topic: &str) -> Result<String, JournalError> {
        let text = serde_json::to_string(self).map_err(|error| unreadable(topic, error.to_string()))?;
        match text.len() > MAX_BYTES {
            true => Err(JournalError::TooLarge {
                topic: topic.to_owned(),
                bytes: text.len(),
            }),
            false => Ok(text),
        }
    }

    fn from_text(topic: &str, text: &str) -> Result<Self, JournalError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| unreadable(topic, error.to_string()))?;
        match value.get("v").and_then(serde_json::Value::as_u64) {
            None => return Err(unreadable(topic, "it has no version".to_owned())),
            Some(version) if version != u64::from(JOURNAL_VERSION) => {
                return Err(JournalError::Version {
                    topic: topic.to_owned(),
                    found: version,
                });
            }
            Some(_) => {}
        }
        serde_json::from_value(value).map_err(|error| unreadable(topic, error.to_string()))
    }
}

fn unreadable(topic: &str, message: String) -> JournalError {
    JournalError::Unreadable {
        topic: topic.to_owned(),
        group: group(topic),
        message,
    }
}

/// What the names of the tool's own groups begin with.
pub const GROUP_PREFIX: &str = "kafka-restore.";

/// The group that keeps the journal of `topic`.
pub fn group(topic: &str) -> String {
    format!("{GROUP_PREFIX}{topic}")
}

/// The journals that stand on the cluster for `topic`, by the partition that each is kept on.
pub async fn read_all(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, Journal>, JournalError> {
    let texts = texts(cluster, topic).await?.into_iter();
    texts
        .map(|(partition, text)| Ok((partition, Journal::from_text(topic, &text)?)))
        .collect()
}

/// What all journals of `topic` on the cluster say together, if there are any.
pub async fn read(cluster: &Cluster, topic: &str) -> Result<Option<Journal>, JournalError> {
    Ok(Journal::joined(read_all(cluster, topic).await?.into_values()))
}

/// The texts of journals by partition. One that is empty could not be deleted.
async fn texts(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, String>, JournalError> {
    let offsets = cluster.committed_offsets(&group(topic)).await?.into_iter();
    let own = offsets.filter(|(at, committed)| *at.topic == *topic && !committed.metadata.is_empty());
    Ok(own
        .map(|(at, committed)| (at.partition, committed.metadata))
        .collect())
}

/// Writes a journal of `topic` on `partition`, in place of one that is there.
pub async fn write(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    journal: &Journal,
) -> Result<(), JournalError> {
    put(cluster, topic, [(partition, journal.to_text(topic)?)]).await
}

async fn put(
    cluster: &Cluster,
    topic: &str,
    texts: impl IntoIterator<Item = (i32, String)>,
) -> Result<(), JournalError> {
    let commit = |(partition, metadata): (i32, String)| {
        let committed = CommittedOffset {
            offset: 0,
            leader_epoch: None,
            metadata,
        };
        (TopicPartition::new(topic, partition), committed)
    };
    let commits: Vec<_> = texts.into_iter().map(commit).collect();
    for (_, outcome) in cluster.commit_offsets(&group(topic), &commits).await {
        outcome?;
    }
    Ok(())
}

/// Puts `journal` on partition 0 in place of all journals of `topic`, in one request.
pub async fn replace_all(cluster: &Cluster, topic: &str, journal: &Journal) -> Result<(), JournalError> {
    let text = journal.to_text(topic)?;
    let others = texts(cluster, topic).await?.into_keys().filter(|at| *at != 0);
    let empty = others.map(|partition| (partition, String::new()));
    put(cluster, topic, empty.chain([(0, text)])).await
}

/// Deletes all journals of `topic`; that there are none is no error.
pub async fn delete(cluster: &Cluster, topic: &str) -> Result<(), JournalError> {
    let gone = |error: &KafkaError| error.code() == Some(ResponseError::GroupIdNotFound);
    match cluster.delete_group(&group(topic)).await {
        Ok(()) => return Ok(()),
        Err(error) if gone(&error) => return Ok(()),
        // Deleting a group needs Delete on it. Without that empty journals must do.
        Err(error) if error.code() == Some(ResponseError::GroupAuthorizationFailed) => {}
        Err(error) => return Err(error.into()),
    }
    let there = texts(cluster, topic).await?.into_keys();
    put(cluster, topic, there.map(|partition| (partition, String::new()))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn journal() -> Journal {
        let producer = ProducerIdentity { id: 4711, epoch: 3 };
        let mut journal = Journal::new("gs://bucket: orders".to_owned(), producer);
        journal.started = "2026-11-23T01:02:03Z".to_owned();
        journal
            .originals
            .insert("retention.ms".to_owned(), Some("604800000".to_owned()));
        journal.originals.insert("retention.bytes".to_owned(), None);
        journal
    }

    #[test]
    fn it_is_compact_and_comes_back() {
        let mut journal = journal();
        journal.set_bases([(0, 0), (1, 7), (2, 7), (4, 8), (6, 8)]);
        journal.set_base(3, 7);
        let text = journal.to_text("orders").unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"at":"2026-11-23T01:02:03Z","from":"gs://bucket: orders","pid":4711,"ep":3,"cfg":{"retention.bytes":null,"retention.ms":"604800000"},"base":[[0,1,0],[1,3,7],[4,1,8],[6,1,8]]}"#
        );
        assert_eq!(Journal::from_text("orders", &text).unwrap(), journal);
        let bases: Vec<i64> = (0..8)
            .map(|partition| journal.base(partition).unwrap_or(-1))
            .collect();
        assert_eq!(bases, [0, 7, 7, 7, 8, -1, 8, -1]);
    }

    #[test]
    fn several_journals_know_what_each_knows() {
        let mut later = journal();
        later.started = "2026-11-23T01:02:04.5Z".to_owned();
        later.originals = [
            ("retention.ms".to_owned(), Some("-1".to_owned())),
            ("segment.ms".to_owned(), None),
        ]
        .into();
        later.set_bases([(5, 9)]);
        let mut first = journal();
        first.set_bases([(0, 7)]);
        let joined = Journal::joined([later, first.clone()]).unwrap();
        let own = Some("604800000".to_owned());
        assert_eq!(joined.originals["retention.ms"], own);
        assert_eq!(
            joined.originals.keys().collect::<Vec<_>>(),
            ["retention.bytes", "retention.ms", "segment.ms"]
        );
        assert_eq!(
            (joined.base(0), joined.base(5), joined.base(1)),
            (Some(7), Some(9), None)
        );
        assert_eq!(joined.started, first.started);
        assert_eq!(Journal::joined([]), None);
    }

    #[test]
    fn what_it_is_not_is_an_error() {
        let other = Journal::from_text("orders", r#"{"v":2,"new":true}"#).unwrap_err();
        assert!(matches!(other, JournalError::Version { found: 2, .. }), "{other}");
        for text in ["", "{}", "[1]", r#"{"v":1}"#, r#"{"v":"1"}"#, "\u{0}"] {
            let error = Journal::from_text("orders", text).unwrap_err();
            assert!(error.to_string().contains("kafka-restore.orders"), "{error}");
        }
        let mut large = journal();
        large.set_bases((0..5000).map(|partition| (partition, i64::from(partition) + 1)));
        assert!(matches!(large.to_text("t"), Err(JournalError::TooLarge { .. })));
    }
}
