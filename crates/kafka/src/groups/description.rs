//! Who is in a group.

use kafka_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, DescribeGroupsRequest, ShareGroupDescribeRequest,
};

use super::{GroupKind, group_id};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::{KafkaError, ResponseError};

/// A group, as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: GroupKind,
    /// Its state in Kafka's words, such as `Empty`, `Stable` or `PreparingRebalance`.
    pub state: String,
    /// Who is in it at the moment.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its `client.id`.
    pub client_id: String,
    /// The address that it comes from.
    pub host: String,
}

impl std::fmt::Display for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.client_id, self.host.trim_start_matches('/'))
    }
}

impl Cluster {
    /// Asks for a group's kind, state and members; `None` where there is no such group. Where the kind is known, say it:
    /// it saves questions.
    pub async fn describe_group(
        &self,
        id: &str,
        kind: Option<&GroupKind>,
    ) -> Result<Option<GroupDescription>, KafkaError> {
        self.at_coordinator(id, |connection| async move {
            let offers = |api: ApiKey| connection.version_range(api as i16).is_some();
            let is = |wanted: GroupKind| kind.is_none_or(|kind| *kind == wanted);
            // Each request knows nothing of groups of the other kinds (69 GROUP_ID_NOT_FOUND, or the state Dead).
            if is(GroupKind::Consumer)
                && offers(ApiKey::ConsumerGroupDescribe)
                && let Some(found) = describe_consumer(&connection, id).await?
            {
                return Ok(Some(found));
            }
            if is(GroupKind::Classic)
                && let Some(found) = describe_classic(&connection, id).await?
            {
                return Ok(Some(found));
            }
            if is(GroupKind::Share)
                && offers(ApiKey::ShareGroupDescribe)
                && let Some(found) = describe_share(&connection, id).await?
            {
                return Ok(Some(found));
            }
            Ok(None)
        })
        .await
    }
}

/// `Ok(false)` for the codes that mean that there is no such group of this kind.
fn exists(code: i16, what: &'static str, id: &str, message: Option<&str>) -> Result<bool, KafkaError> {
    match KafkaError::check(code, what, id, message) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.code(),
                // 35: the request is known and its protocol is switched off on this cluster.
                Some(ResponseError::GroupIdNotFound | ResponseError::UnsupportedVersion)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The first group of each kind's answer, in one shape: the fields have the same names in all three.
macro_rules! described {
    ($response:expr, $what:literal, $kind:expr, $id:expr) => {{
        let Some(group) = $response.groups.into_iter().next() else {
            return Ok(None);
        };
        let message = group.error_message.as_deref();
        let there = exists(group.error_code, $what, $id, message)?;
        let members = group.members.iter().map(|member| GroupMember {
            id: member.member_id.to_string(),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
        });
        Ok(
            (there && !group.group_state.eq_ignore_ascii_case("Dead")).then(|| GroupDescription {
                id: $id.to_owned(),
                kind: $kind,
                state: group.group_state.to_string(),
                members: members.collect(),
            }),
        )
    }};
}

async fn describe_classic(connection: &Connection, id: &str) -> Result<Option<GroupDescription>, KafkaError> {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(id)]);
    let response = connection.call(&request).await?;
    described!(response, "DescribeGroups", GroupKind::Classic, id)
}

async fn describe_consumer(
    connection: &Connection,
    id: &str,
) -> Result<Option<GroupDescription>, KafkaError> {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(id)]);
    let response = connection.call(&request).await?;
    described!(response, "ConsumerGroupDescribe", GroupKind::Consumer, id)
}

async fn describe_share(connection: &Connection, id: &str) -> Result<Option<GroupDescription>, KafkaError> {
    let request = ShareGroupDescribeRequest::default().with_group_ids(vec![group_id(id)]);
    let response = connection.call(&request).await?;
    described!(response, "ShareGroupDescribe", GroupKind::Share, id)
}
