//! Who may do what: the access control lists, for keeping.

use kafka_protocol::messages::DescribeAclsRequest;

use crate::cluster::Cluster;
use crate::error::KafkaError;

/// One entry of the access control lists. Numbers are Kafka's codes (`AclOperation`, `AclPermissionType`,
/// `ResourceType`, `PatternType` in `org.apache.kafka.common`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// What kind of thing it is about: 2 topic, 3 group, 4 cluster, 5 transactional id.
    pub resource_type: i8,
    /// Its name, or the beginning of names.
    pub resource_name: String,
    /// How the name is meant: 3 literally, 4 as a beginning.
    pub pattern_type: i8,
    /// Whom it is about, such as `User:alice`.
    pub principal: String,
    /// From which address, `*` for all.
    pub host: String,
    /// Which operation: 2 all, 3 read, 4 write and so on.
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission: i8,
}

/// A filter's value that lets everything through.
const ANY: i8 = 1;

impl Cluster {
    /// Asks for all access control lists. Needs Describe on the cluster (31 without); a cluster without an authorizer
    /// answers 54 SECURITY_DISABLED.
    pub async fn describe_acls(&self) -> Result<Vec<Acl>, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.try_describe_acls().await {
                Ok(acls) => return Ok(acls),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn try_describe_acls(&self) -> Result<Vec<Acl>, KafkaError> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(ANY)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let response = self.any().await?.call(&request).await?;
        let message = response.error_message.as_deref();
        KafkaError::check(response.error_code, "DescribeAcls", "the cluster", message)?;
        let mut acls: Vec<Acl> = response
            .resources
            .iter()
            .flat_map(|resource| {
                resource.acls.iter().map(|acl| Acl {
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.to_string(),
                    pattern_type: resource.pattern_type,
                    principal: acl.principal.to_string(),
                    host: acl.host.to_string(),
                    operation: acl.operation,
                    permission: acl.permission_type,
                })
            })
            .collect();
        acls.sort();
        Ok(acls)
    }
}
