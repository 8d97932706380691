//! The cluster itself.

use kafka_protocol::messages::DescribeClusterRequest;

use crate::cluster::{Broker, Cluster, Rights};
use crate::config::Address;
use crate::error::KafkaError;

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub id: String,
    /// The controller, if there is one at the moment.
    pub controller: Option<i32>,
    /// Its brokers, by id.
    pub brokers: Vec<Broker>,
    /// What this user may do with the cluster as a whole, where the broker says.
    pub rights: Option<Rights>,
}

impl Cluster {
    /// Asks for the cluster's id, its brokers and this user's rights on it.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.try_describe_cluster().await {
                Ok(description) => return Ok(description),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn try_describe_cluster(&self) -> Result<ClusterDescription, KafkaError> {
        let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        let response = self.any().await?.call(&request).await?;
        let message = response.error_message.as_deref();
        KafkaError::check(response.error_code, "DescribeCluster", "the cluster", message)?;
        let mut brokers: Vec<Broker> = response
            .brokers
            .iter()
            .filter_map(|broker| {
                Some(Broker {
                    id: broker.broker_id.0,
                    address: Address {
                        host: broker.host.to_string(),
                        port: u16::try_from(broker.port).ok()?,
                    },
                    rack: broker.rack.as_ref().map(|rack| rack.to_string()),
                })
            })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            id: response.cluster_id.to_string(),
            controller: (response.controller_id.0 >= 0).then_some(response.controller_id.0),
            brokers,
            rights: Rights::from_bits(response.cluster_authorized_operations),
        })
    }
}
