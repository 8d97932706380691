//! The ways to move a log's end over offsets that have no record.

use std::sync::Arc;

use kafka::cluster::Cluster;
use serde::{Deserialize, Serialize};

use super::transactions::{Transactions, transactional_id};
use crate::error::RestoreError;

/// How offsets between records that have none in the backup are stepped over. The choice is found out from the
/// cluster, never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapMethod {
    /// Transaction markers written directly: one offset each, a thousand in a request, never seen by a consumer. Needs
    /// Alter (or ClusterAction) on the cluster.
    Markers,
    /// Transactions without data: one offset each in every partition that takes part. Needs Write on the transactional
    /// ids `kafka-restore-<topic>-<n>`.
    Transactions,
    /// Null records between the records of a compacted topic, which the log cleaner removes afterwards.
    Cleaner,
    /// Records that consumers pass over, where a person asked for them: needs nothing but Write on the topic, and no
    /// contract covers it.
    Hidden,
    /// Not at all: this user may do none of it.
    None,
}

impl GapMethod {
    /// In words, after "offsets without records: ".
    pub fn describe(self) -> &'static str {
        match self {
            Self::Markers => "transaction markers",
            Self::Transactions => "empty transactions",
            Self::Cleaner => "null records that the log cleaner removes at the end",
            Self::Hidden => "hidden records (--hidden-records), which no contract covers",
            Self::None => "not possible with this user's rights",
        }
    }
}

/// Finds out how gaps in `topic` can be closed without the log cleaner; with hidden records only where a person `hides`
/// and nothing else is permitted. Changes nothing.
pub(crate) async fn probe(cluster: &Cluster, topic: &str, hides: bool) -> Result<GapMethod, RestoreError> {
    if cluster.may_write_markers().await {
        return Ok(GapMethod::Markers);
    }
    let id = transactional_id(topic, 0);
    Ok(match cluster.may_use_transactional_id(&id).await? {
        true => GapMethod::Transactions,
        false if hides => GapMethod::Hidden,
        false => GapMethod::None,
    })
}

/// A [`GapMethod`] at work.
pub(crate) enum GapFiller {
    /// The producer writes markers between its batches.
    Markers,
    /// Shared by the partitions of a topic, which go together.
    Transactions(Arc<Transactions>),
    /// A gap is an error.
    None,
}

impl GapFiller {
    /// What `method` needs for `topic`; transactions of an earlier run are ended by this.
    pub(crate) async fn open(
        method: GapMethod,
        cluster: &Cluster,
        topic: &str,
    ) -> Result<Self, RestoreError> {
        Ok(match method {
            GapMethod::Markers => Self::Markers,
            GapMethod::Transactions => {
                Self::Transactions(Arc::new(Transactions::start(cluster, topic).await?))
            }
            GapMethod::Cleaner | GapMethod::Hidden | GapMethod::None => Self::None,
        })
    }

    /// Another handle to the same.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Markers => Self::Markers,
            Self::Transactions(transactions) => Self::Transactions(Arc::clone(transactions)),
            Self::None => Self::None,
        }
    }
}
