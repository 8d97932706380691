//! Groups and their committed offsets, as methods of [`Cluster`].
//!
//! `listing`: which groups there are. `description`: who is in them. `offsets`: what classic and consumer groups have
//! committed, and changing that from outside. `share`: the same for share groups (KIP-932), which have requests of
//! their own.
//!
//! A group's coordinator is asked for with every attempt, since it moves; what may pass by itself (14, 15, 16) is tried
//! again for as long as [`Cluster::retry`] allows.

mod description;
mod listing;
mod offsets;
mod share;

use std::future::Future;

use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;

use crate::cluster::{Cluster, CoordinatorKind};
use crate::connection::Connection;
use crate::error::KafkaError;

pub use description::{GroupDescription, GroupMember};
pub use listing::{GroupListing, ListedGroup};
pub use offsets::CommittedOffset;
pub use share::ShareStart;

/// By which protocol a group's members work together; each kind has requests of its own.
///
/// Source: `org.apache.kafka.common.GroupType`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// The protocol of old, with a leader among the members; also groups that only commit.
    Classic,
    /// The protocol of KIP-848.
    Consumer,
    /// Several members may read one partition (KIP-932).
    Share,
    /// Something newer, by the name that brokers give it.
    Other(String),
}

impl GroupKind {
    /// The kind with this name, in any case. An empty name is a broker that does not say: groups of such are classic.
    pub fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "" | "classic" => Self::Classic,
            "consumer" => Self::Consumer,
            "share" => Self::Share,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name that brokers give it, in lower case.
    pub fn name(&self) -> &str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Other(name) => name,
        }
    }
}

fn group_id(id: &str) -> GroupId {
    GroupId(StrBytes::from_string(id.to_owned()))
}

impl Cluster {
    /// Asks a group's coordinator, again while it moves or loads.
    async fn at_coordinator<T, F, A>(&self, group: &str, ask: F) -> Result<T, KafkaError>
    where
        F: Fn(Connection) -> A,
        A: Future<Output = Result<T, KafkaError>>,
    {
        let mut retry = self.retry();
        loop {
            let answer = match self.coordinator(CoordinatorKind::Group, group).await {
                Ok(connection) => ask(connection).await,
                Err(error) => return Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.pause(error).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        for (name, kind) in [
            ("", GroupKind::Classic),
            ("classic", GroupKind::Classic),
            ("Consumer", GroupKind::Consumer),
            ("Share", GroupKind::Share),
            ("streams", GroupKind::Other("streams".to_owned())),
        ] {
            assert_eq!(GroupKind::from_name(name), kind, "{name}");
        }
        assert_eq!(GroupKind::from_name("Streams").name(), "streams");
    }
}
