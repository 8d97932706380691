//! What Metadata answers say, and what is kept of them.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use record::TopicPartition;

use super::Rights;
use crate::config::Address;
use crate::error::{KafkaError, ResponseError};

const WHAT: &str = "Metadata";

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Where clients reach it.
    pub address: Address,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// A topic, as brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id (KIP-516), 16 bytes; `None` from brokers before 2.8.
    pub id: Option<[u8; 16]>,
    /// Why nothing is known of it: unknown (3), not authorised (29), an invalid name (17).
    pub error: Option<KafkaError>,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionMetadata>,
    /// What this user may do with it, where the broker says.
    pub rights: Option<Rights>,
}

/// A partition, as brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number, from 0.
    pub partition: i32,
    /// The broker that leads it, if there is one at the moment.
    pub leader: Option<i32>,
    /// How often its leader has changed; -1 where the broker does not say.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
    /// Those of them that are away.
    pub offline: Vec<i32>,
}

impl TopicMetadata {
    /// Its partitions by name and number.
    pub fn topic_partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let numbers = self.partitions.iter().map(|partition| partition.partition);
        numbers.map(|number| TopicPartition::new(self.name.as_str(), number))
    }

    pub(super) fn from_response(topic: &MetadataResponseTopic) -> Self {
        let name = topic
            .name
            .as_ref()
            .map_or_else(String::new, |name| name.to_string());
        let mut partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(PartitionMetadata::from_response)
            .collect();
        partitions.sort_by_key(|partition| partition.partition);
        Self {
            id: (!topic.topic_id.is_nil()).then_some(*topic.topic_id.as_bytes()),
            error: KafkaError::check(topic.error_code, WHAT, &name, None).err(),
            is_internal: topic.is_internal,
            partitions,
            rights: Rights::from_bits(topic.topic_authorized_operations),
            name,
        }
    }
}

impl PartitionMetadata {
    fn from_response(partition: &MetadataResponsePartition) -> Self {
        let ids = |nodes: &[kafka_protocol::messages::BrokerId]| nodes.iter().map(|id| id.0).collect();
        Self {
            partition: partition.partition_index,
            leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replica_nodes),
            in_sync: ids(&partition.isr_nodes),
            offline: ids(&partition.offline_replicas),
        }
    }
}

pub(super) fn request_topics(names: &[&str]) -> Vec<MetadataRequestTopic> {
    names
        .iter()
        .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))))
        .collect()
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The leader of a partition in an answer, or why there is none.
pub(super) fn leader_in(response: &MetadataResponse, wanted: &TopicPartition) -> Result<Leader, KafkaError> {
    let missing = |code: ResponseError| KafkaError::Broker {
        code,
        what: WHAT,
        resource: wanted.to_string(),
        message: None,
    };
    let unknown = || missing(ResponseError::UnknownTopicOrPartition);
    let topic = response
        .topics
        .iter()
        .find(|topic| topic.name.as_ref().is_some_and(|name| **name == *wanted.topic))
        .ok_or_else(unknown)?;
    KafkaError::check(topic.error_code, WHAT, wanted.to_string(), None)?;
    let partition = topic
        .partitions
        .iter()
        .find(|partition| partition.partition_index == wanted.partition)
        .ok_or_else(unknown)?;
    if partition.leader_id.0 >= 0 {
        return Ok(Leader {
            broker: partition.leader_id.0,
            epoch: partition.leader_epoch,
        });
    }
    KafkaError::check(partition.error_code, WHAT, wanted.to_string(), None)?;
    Err(missing(ResponseError::LeaderNotAvailable))
}

/// Who leads a partition, and since which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The broker's id.
    pub broker: i32,
    /// How often the leader has changed; -1 where the broker does not say.
    pub epoch: i32,
}

/// What is known of the cluster.
#[derive(Default)]
pub(super) struct Metadata {
    brokers: BTreeMap<i32, Broker>,
    pub(super) cluster_id: Option<String>,
    pub(super) controller: Option<i32>,
    topics: HashMap<String, Topic>,
}

#[derive(Default)]
struct Topic {
    id: [u8; 16],
    leaders: HashMap<i32, Known>,
}

struct Known {
    /// `None` after it was forgotten.
    broker: Option<i32>,
    epoch: i32,
}

impl Metadata {
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.brokers.values().cloned().collect()
    }

    pub(super) fn address(&self, broker_id: i32) -> Option<Address> {
        self.brokers.get(&broker_id).map(|broker| broker.address.clone())
    }

    pub(super) fn leader(&self, partition: &TopicPartition) -> Option<Leader> {
        let known = self
            .topics
            .get(&*partition.topic)?
            .leaders
            .get(&partition.partition)?;
        Some(Leader {
            broker: known.broker?,
            epoch: known.epoch,
        })
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        if let Some(topic) = self.topics.get_mut(&*partition.topic)
            && let Some(leader) = topic.leaders.get_mut(&partition.partition)
        {
            leader.broker = None;
        }
    }

    pub(super) fn update(&mut self, response: &MetadataResponse) {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let address = Address {
                host: broker.host.to_string(),
                port: u16::try_from(broker.port).ok()?,
            };
            let broker = Broker {
                id: broker.node_id.0,
                address,
                rack: broker.rack.as_ref().map(|rack| rack.to_string()),
            };
            Some((broker.id, broker))
        });
        self.brokers = brokers.collect();
        self.cluster_id = response.cluster_id.as_ref().map(|id| id.to_string());
        self.controller = (response.controller_id.0 >= 0).then_some(response.controller_id.0);
        for topic in &response.topics {
            if let Some(name) = &topic.name {
                self.update_topic(name, topic);
            }
        }
    }

    fn update_topic(&mut self, name: &str, found: &MetadataResponseTopic) {
        if found.error_code != 0 {
            self.topics.remove(name);
            return;
        }
        let topic = self.topics.entry(name.to_owned()).or_default();
        if topic.id != *found.topic_id.as_bytes() {
            // Deleted and created anew: epochs begin again.
            topic.id = *found.topic_id.as_bytes();
            topic.leaders.clear();
        }
        for partition in &found.partitions {
            let leader = Known {
                broker: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                epoch: partition.leader_epoch,
            };
            // A broker that lags behind must not bring an old leader back.
            let known = topic.leaders.get(&partition.partition_index);
            if leader.epoch < 0 || known.is_none_or(|known| known.epoch <= leader.epoch) {
                topic.leaders.insert(partition.partition_index, leader);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;

    use super::*;

    fn response(leader: i32, epoch: i32, error: i16) -> MetadataResponse {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(0)
            .with_leader_id(leader.into())
            .with_leader_epoch(epoch);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(topic_name("t")))
            .with_error_code(error)
            .with_partitions(if error == 0 { vec![partition] } else { Vec::new() });
        let broker = MetadataResponseBroker::default()
            .with_node_id(1.into())
            .with_host(StrBytes::from_static_str("::1"))
            .with_port(9092);
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(vec![topic])
    }

    #[test]
    fn an_older_leader_epoch_does_not_come_back() {
        let partition = TopicPartition::new("t", 0);
        let mut metadata = Metadata::default();
        metadata.update(&response(1, 5, 0));
        assert_eq!(metadata.leader(&partition).map(|leader| leader.broker), Some(1));
        metadata.update(&response(2, 6, 0));
        metadata.update(&response(1, 5, 0));
        assert_eq!(metadata.leader(&partition).map(|leader| leader.broker), Some(2));
        metadata.forget(&partition);
        assert_eq!(metadata.leader(&partition), None);
        metadata.update(&response(1, 5, 0));
        assert_eq!(metadata.leader(&partition), None);
        metadata.update(&response(2, 6, 0));
        assert_eq!(metadata.leader(&partition).map(|leader| leader.broker), Some(2));
        metadata.update(&response(-1, 7, 0));
        assert_eq!(metadata.leader(&partition), None);
        metadata.update(&response(0, 0, 3));
        metadata.update(&response(1, 1, 0));
        assert_eq!(
            metadata.leader(&partition).map(|leader| leader.broker),
            Some(1),
            "the topic was away, so epochs begin again"
        );
        assert_eq!(metadata.address(1).unwrap().to_string(), "[::1]:9092");
    }

    #[test]
    fn a_missing_leader_has_a_reason() {
        let find = |response: &MetadataResponse, partition| {
            leader_in(response, &TopicPartition::new("t", partition))
                .map(|leader| leader.broker)
                .map_err(|error| error.code().unwrap())
        };
        assert_eq!(find(&response(7, 1, 0), 0), Ok(7));
        assert_eq!(
            find(&response(-1, 1, 0), 0),
            Err(ResponseError::LeaderNotAvailable)
        );
        assert_eq!(
            find(&response(7, 1, 0), 1),
            Err(ResponseError::UnknownTopicOrPartition)
        );
        assert_eq!(
            find(&response(7, 1, 29), 0),
            Err(ResponseError::TopicAuthorizationFailed)
        );
        assert_eq!(
            find(&MetadataResponse::default(), 0),
            Err(ResponseError::UnknownTopicOrPartition)
        );
    }
}
