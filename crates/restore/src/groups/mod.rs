//! Consumer groups: what they had committed, in source offsets, and putting that into the target.
//!
//! [`source`] reads committed offsets from wherever they are left: a snapshot, the text of Kafka's own tool, a backup of
//! `__consumer_offsets`; [`gather`] looks for what is not at hand. [`translate`] gives each the place of the first record
//! at or after it in the target, by the restore's reports or by what [`locate`] finds there. [`plan`](mod@plan) shows what
//! becomes of each group, [`apply`](mod@apply) commits it, to groups without members only, and reads it back, and
//! [`undo`](mod@undo) puts back what stood there before. [`time`] needs no source.

pub mod apply;
pub mod gather;
pub mod locate;
pub mod plan;
pub mod source;
pub mod time;
pub mod translate;
pub mod undo;

use serde::{Deserialize, Serialize};

/// The version of the schema of files with groups.
pub const GROUPS_VERSION: u32 = 1;

/// What `kind` says in files with groups.
pub(crate) const GROUPS_KIND: &str = "kafka-restore groups";

/// A group and what it had committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOffsets {
    /// Its id.
    pub id: String,
    /// `classic`, `consumer` or `share`; none where the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its state when this was read, in Kafka's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its offsets, by topic and partition.
    pub offsets: Vec<GroupOffset>,
}

/// What a group had committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the group reads next; none (in undo files) where it had committed nothing.
    pub offset: Option<i64>,
    /// The leader's epoch of the record before, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// The text that came with the commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

impl GroupOffset {
    /// An offset with nothing beside it.
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset: Some(offset),
            leader_epoch: None,
            metadata: String::new(),
        }
    }
}

/// Groups as they are kept in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupsFile {
    /// [`GROUPS_VERSION`].
    pub version: u32,
    /// Says what the file is: `kafka-restore groups`.
    pub kind: String,
    /// When it was written, RFC 3339.
    pub taken: String,
    /// The groups, by id.
    pub groups: Vec<GroupOffsets>,
}

impl GroupsFile {
    /// A file of now.
    pub fn new(groups: Vec<GroupOffsets>) -> Self {
        Self {
            version: GROUPS_VERSION,
            kind: GROUPS_KIND.to_owned(),
            taken: jiff::Timestamp::now().to_string(),
            groups,
        }
    }
}
