//! Which groups there are.

use futures::future::join_all;
use kafka_protocol::messages::ListGroupsRequest;

use super::GroupKind;
use crate::cluster::Cluster;
use crate::error::KafkaError;

/// A group, as its coordinator lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: String,
    /// Its kind; `None` from brokers before 3.8, which do not say.
    pub kind: Option<GroupKind>,
    /// What its members are: `consumer`, `connect`, `share`; empty for a group that only commits.
    pub protocol: String,
    /// Its state in Kafka's words, such as `Empty` or `Stable`; empty from brokers before 2.6.
    pub state: String,
}

/// The groups of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupListing {
    /// Those that this user may see, by id.
    pub groups: Vec<ListedGroup>,
    /// Brokers that did not answer: the groups that they coordinate are missing.
    pub missing: Vec<(i32, KafkaError)>,
}

impl Cluster {
    /// Asks every broker for the groups that it coordinates. Brokers show only groups that this user may describe, and do
    /// not say that there are others.
    pub async fn list_groups(&self) -> Result<GroupListing, KafkaError> {
        self.refresh(Some(&[])).await?;
        let brokers = self.brokers();
        let answers = join_all(brokers.iter().map(|broker| self.list_groups_of(broker.id))).await;
        let mut listing = GroupListing::default();
        for (broker, answer) in brokers.iter().zip(answers) {
            match answer {
                Ok(groups) => listing.groups.extend(groups),
                Err(error) => listing.missing.push((broker.id, error)),
            }
        }
        if listing.groups.is_empty()
            && listing.missing.len() == brokers.len()
            && let Some((_, error)) = listing.missing.pop()
        {
            return Err(error);
        }
        listing.groups.sort_by(|one, other| one.id.cmp(&other.id));
        // A group that moves while this goes on is listed by both brokers.
        listing.groups.dedup_by(|one, other| one.id == other.id);
        Ok(listing)
    }

    async fn list_groups_of(&self, broker: i32) -> Result<Vec<ListedGroup>, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.try_list_groups(broker).await {
                Ok(groups) => return Ok(groups),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn try_list_groups(&self, broker: i32) -> Result<Vec<ListedGroup>, KafkaError> {
        let response = self
            .connection(broker)
            .await?
            .call(&ListGroupsRequest::default())
            .await?;
        KafkaError::check(
            response.error_code,
            "ListGroups",
            format!("broker {broker}"),
            None,
        )?;
        let group = |group: kafka_protocol::messages::list_groups_response::ListedGroup| ListedGroup {
            id: group.group_id.to_string(),
            kind: (!group.group_type.is_empty()).then(|| GroupKind::from_name(&group.group_type)),
            protocol: group.protocol_type.to_string(),
            state: group.group_state.to_string(),
        };
        Ok(response.groups.into_iter().map(group).collect())
    }
}
