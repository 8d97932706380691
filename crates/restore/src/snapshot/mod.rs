//! What sinks never store: topic configurations, partition counts, committed offsets of groups, access control lists.
//!
//! [`take`](fn@take) reads a live cluster, [`keep`] puts the result into a file or the bucket and finds it again. The schema
//! is versioned; a file of another version, or one that is cut short, is an error and never half believed.

pub mod keep;
mod take;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::groups::GroupOffsets;

pub(crate) use take::read_group;
pub use take::{live_groups, take};

/// The version of the snapshot's schema.
pub const SNAPSHOT_VERSION: u32 = 1;

const KIND: &str = "kafka-restore snapshot";

/// A cluster at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// Says what the file is: `kafka-restore snapshot`.
    pub kind: String,
    /// When it was taken, RFC 3339.
    pub taken: String,
    /// The cluster's id.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Topics, by name, without Kafka's own.
    pub topics: Vec<TopicSnapshot>,
    /// Groups, by id.
    pub groups: Vec<GroupOffsets>,
    /// Access control lists; none where the user may not see them or the cluster has none.
    #[serde(default)]
    pub acls: Option<Vec<AclSnapshot>>,
    /// What could not be read, in full sentences.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// A topic at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSnapshot {
    /// Its name.
    pub name: String,
    /// Its id, 32 hexadecimal digits.
    #[serde(default)]
    pub id: Option<String>,
    /// The number of replicas of its first partition.
    pub replication_factor: i16,
    /// Its own configuration; everything else was the brokers' default.
    pub configs: BTreeMap<String, String>,
    /// Log start and log end of each partition, by number; none where a partition had no leader.
    pub partitions: Vec<Option<(i64, i64)>>,
}

/// An entry of the access control lists, in Kafka's codes (see [`kafka::admin::Acl`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclSnapshot {
    /// What kind of thing it is about.
    pub resource_type: i8,
    /// Its name, or the beginning of names.
    pub resource_name: String,
    /// How the name is meant.
    pub pattern_type: i8,
    /// Whom it is about.
    pub principal: String,
    /// From which address.
    pub host: String,
    /// Which operation.
    pub operation: i8,
    /// Deny or allow.
    pub permission: i8,
}

/// Why a text is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is no JSON, or ends too early.
    #[error("{place} is cut short or is no JSON: {message}")]
    Syntax {
        /// Where it came from.
        place: String,
        /// What the parser said, with line and column.
        message: String,
    },
    /// It is something else.
    #[error("{place} is no snapshot of kafka-restore: {message}")]
    Foreign {
        /// Where it came from.
        place: String,
        /// What is missing.
        message: String,
    },
    /// A newer program wrote it.
    #[error("{place} has schema version {found}, and this program knows version {SNAPSHOT_VERSION}")]
    Version {
        /// Where it came from.
        place: String,
        /// The version found.
        found: u64,
    },
}

impl Snapshot {
    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `place` names it in errors.
    pub fn from_bytes(place: &str, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| SnapshotError::Syntax {
                place: place.to_owned(),
                message: error.to_string(),
            })?;
        let foreign = |message: String| SnapshotError::Foreign {
            place: place.to_owned(),
            message,
        };
        if value.get("kind").and_then(serde_json::Value::as_str) != Some(KIND) {
            return Err(foreign(format!("its \"kind\" is not {KIND:?}")));
        }
        match value.get("version").and_then(serde_json::Value::as_u64) {
            None => return Err(foreign("it has no version".to_owned())),
            Some(version) if version != u64::from(SNAPSHOT_VERSION) => {
                return Err(SnapshotError::Version {
                    place: place.to_owned(),
                    found: version,
                });
            }
            Some(_) => {}
        }
        serde_json::from_value(value).map_err(|error| foreign(error.to_string()))
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&TopicSnapshot> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// When it was taken, in milliseconds since 1970.
    pub fn taken_at(&self) -> Option<i64> {
        let taken: jiff::Timestamp = self.taken.parse().ok()?;
        Some(taken.as_millisecond())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::groups::GroupOffset;

    pub(crate) fn small() -> Snapshot {
        Snapshot {
            version: SNAPSHOT_VERSION,
            kind: KIND.to_owned(),
            taken: "2026-11-23T01:02:03Z".to_owned(),
            cluster: Some("abc".to_owned()),
            topics: vec![TopicSnapshot {
                name: "orders".to_owned(),
                id: None,
                replication_factor: 3,
                configs: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
                partitions: vec![Some((17, 20)), None],
            }],
            groups: vec![GroupOffsets {
                id: "billing".to_owned(),
                kind: Some("consumer".to_owned()),
                state: Some("Empty".to_owned()),
                offsets: vec![GroupOffset::new("orders", 0, 18)],
            }],
            acls: None,
            missing: Vec::new(),
        }
    }

    #[test]
    fn it_comes_back() {
        let bytes = small().to_bytes();
        assert_eq!(Snapshot::from_bytes("x", &bytes), Ok(small()));
        assert_eq!(small().taken_at(), Some(1_795_395_723_000));
        assert_eq!(
            small().topic("orders").map(|topic| topic.partitions.len()),
            Some(2)
        );
    }

    #[test]
    fn what_it_is_not_is_an_error() {
        let whole = String::from_utf8(small().to_bytes()).unwrap();
        for length in 0..whole.len() - 2 {
            let error = Snapshot::from_bytes("x", &whole.as_bytes()[..length]).unwrap_err();
            assert!(matches!(error, SnapshotError::Syntax { .. }), "{length}: {error}");
        }
        let newer = whole.replace("\"version\": 1", "\"version\": 2");
        let error = Snapshot::from_bytes("gs://b/s.json", newer.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "gs://b/s.json has schema version 2, and this program knows version 1"
        );
        let other = whole.replace("kafka-restore snapshot", "grocery list");
        for text in [
            other.as_str(),
            "{}",
            "[]",
            "1",
            "{\"kind\":\"kafka-restore snapshot\"}",
        ] {
            let error = Snapshot::from_bytes("x", text.as_bytes()).unwrap_err();
            assert!(matches!(error, SnapshotError::Foreign { .. }), "{text}: {error}");
        }
    }
}
