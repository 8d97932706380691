//! The cluster behind a list of addresses: who is there, who leads what, and connections to them.
//!
//! [`Cluster`] is a cheap handle. It keeps what the last Metadata answers said (`metadata`) and one shared connection per
//! broker, opened when it is needed and opened anew after it broke. Whoever gets an error that says "not here" calls
//! [`Cluster::forget`] and asks again; [`Retry`] is how long that may go on.

mod metadata;
mod retry;
mod rights;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use record::TopicPartition;

use crate::config::{Address, ClientConfig};
use crate::connection::{Connection, Connector};
use crate::error::{KafkaError, ResponseError};
use metadata::Metadata;

pub use metadata::{Broker, Leader, PartitionMetadata, TopicMetadata};
pub use retry::Retry;
pub use rights::{Operation, Rights};

/// How long a topic that brokers do not know is asked for again: news of a creation takes this long to spread, at most.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_secs(10);

/// A cluster. Clones share its connections and what is known of it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    metadata: Mutex<Metadata>,
    /// One place per broker, so that only one task at a time opens a connection to it.
    connections: Mutex<HashMap<i32, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<(Address, Connection)>>>;

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// A consumer group; the key is its id.
    Group,
    /// Transactions; the key is the transactional id.
    Transaction,
}

impl Cluster {
    /// Reads the certificates that the settings name, connects to the first bootstrap server that answers, and asks it
    /// for the cluster's brokers.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings, at once. Otherwise the error of the last server tried, if none answers: this does
    /// not wait for servers to come up.
    pub async fn connect(config: ClientConfig) -> Result<Self, KafkaError> {
        if config.bootstrap.is_empty() {
            return Err(KafkaError::config("bootstrap.servers", "no broker is given"));
        }
        let cluster = Self {
            inner: Arc::new(Inner {
                connector: Connector::new(config)?,
                metadata: Mutex::default(),
                connections: Mutex::default(),
            }),
        };
        let connection = cluster.bootstrap().await?;
        match cluster.ask_metadata(&connection, Some(&[]), false).await {
            Ok(_) => Ok(cluster),
            Err(KafkaError::Disconnected { addr, message }) if cluster.config().security.sasl.is_none() => {
                Err(KafkaError::Disconnected {
                    addr,
                    message: format!(
                        "{message} at the first question; if this port wants SASL, security.protocol \
                                      must be SASL_PLAINTEXT or SASL_SSL"
                    ),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        self.inner.connector.config()
    }

    /// Patience for one operation: the settings' `api_timeout` from now, with growing pauses.
    pub fn retry(&self) -> Retry {
        Retry::new(self.config(), self.config().api_timeout)
    }

    /// The brokers, as of the last Metadata answer, by id.
    pub fn brokers(&self) -> Vec<Broker> {
        self.metadata().brokers()
    }

    /// The cluster's id, where brokers say one.
    pub fn cluster_id(&self) -> Option<String> {
        self.metadata().cluster_id.clone()
    }

    /// Asks for topics (`None`: all of them) with their partitions and with this user's rights on them.
    ///
    /// Each topic has its own outcome in [`TopicMetadata::error`]; an unknown one is there at once, without waiting for
    /// it to come. Topics are not created by this.
    pub async fn topics(&self, names: Option<&[&str]>) -> Result<Vec<TopicMetadata>, KafkaError> {
        let response = self.retry_metadata(names, true).await?;
        Ok(response.topics.iter().map(TopicMetadata::from_response).collect())
    }

    /// Asks for brokers and for the leaders of topics (`None`: of all of them), and keeps the answer.
    pub async fn refresh(&self, names: Option<&[&str]>) -> Result<(), KafkaError> {
        self.retry_metadata(names, false).await.map(drop)
    }

    /// Forgets who leads a partition, after it turned out to be wrong.
    pub fn forget(&self, partition: &TopicPartition) {
        self.metadata().forget(partition);
    }

    /// Which brokers lead these partitions, in their order: as known, or else asked for, once.
    pub async fn leaders(&self, partitions: &[TopicPartition]) -> Vec<Result<Leader, KafkaError>> {
        let known: Vec<Option<Leader>> = {
            let metadata = self.metadata();
            partitions
                .iter()
                .map(|partition| metadata.leader(partition))
                .collect()
        };
        let unknown = partitions.iter().zip(&known).filter(|(_, known)| known.is_none());
        let mut topics: Vec<&str> = unknown.map(|(partition, _)| &*partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let response = match topics.is_empty() {
            true => Ok(MetadataResponse::default()),
            false => self.try_metadata(Some(&topics), false).await,
        };
        partitions
            .iter()
            .zip(known)
            .map(|(partition, known)| match (known, &response) {
                (Some(leader), _) => Ok(leader),
                (None, Ok(response)) => metadata::leader_in(response, partition),
                (None, Err(error)) => Err(error.clone()),
            })
            .collect()
    }

    /// The id of the broker that leads a partition: as known, or else asked for, again and again while there is none.
    pub async fn leader_id(&self, partition: &TopicPartition) -> Result<i32, KafkaError> {
        self.leader_id_within(partition, &mut self.retry()).await
    }

    async fn leader_id_within(
        &self,
        partition: &TopicPartition,
        retry: &mut Retry,
    ) -> Result<i32, KafkaError> {
        loop {
            match self.leaders(std::slice::from_ref(partition)).await.pop() {
                Some(Ok(leader)) => return Ok(leader.broker),
                Some(Err(error)) if may_pass(&error, retry) => retry.pause(error).await?,
                Some(Err(error)) => return Err(error),
                None => return Err(KafkaError::config("partition", "none was given")),
            }
        }
    }

    /// The shared connection to the broker that leads a partition. Waits for leaders and brokers that are away, for as
    /// long as [`retry`](Self::retry) allows.
    pub async fn leader(&self, partition: &TopicPartition) -> Result<Connection, KafkaError> {
        let mut retry = self.retry();
        loop {
            let id = self.leader_id_within(partition, &mut retry).await?;
            match self.connection(id).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    self.forget(partition);
                    retry.pause(error).await?;
                }
            }
        }
    }

    /// The shared connection to a broker. One attempt: a broker that is away is an error at once.
    pub async fn connection(&self, broker_id: i32) -> Result<Connection, KafkaError> {
        let address = self.address(broker_id).await?;
        self.open(broker_id, address).await
    }

    async fn open(&self, broker_id: i32, address: Address) -> Result<Connection, KafkaError> {
        let slot = lock(&self.inner.connections)
            .entry(broker_id)
            .or_default()
            .clone();
        let mut slot = slot.lock().await;
        if let Some((at, connection)) = &*slot
            && *at == address
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = self.dial(broker_id, &address).await?;
        *slot = Some((address, connection.clone()));
        Ok(connection)
    }

    /// A connection to a broker that nobody else uses. One attempt.
    pub async fn dedicated_connection(&self, broker_id: i32) -> Result<Connection, KafkaError> {
        let address = self.address(broker_id).await?;
        self.dial(broker_id, &address).await
    }

    async fn dial(&self, broker_id: i32, address: &Address) -> Result<Connection, KafkaError> {
        match self.inner.connector.connect(address).await {
            // The most common trap of a new cluster: it answers, and then sends clients elsewhere.
            Err(KafkaError::Unreachable { addr, message }) if !self.config().bootstrap.contains(address) => {
                Err(KafkaError::Unreachable {
                    addr,
                    message: format!(
                        "{message}; the cluster gives this address for broker {broker_id} (advertised.listeners)"
                    ),
                })
            }
            other => other,
        }
    }

    /// The shared connection to the controller (with KRaft: to a broker that passes requests on to it). One attempt.
    pub async fn controller(&self) -> Result<Connection, KafkaError> {
        let known = self.metadata().controller;
        let id = match known {
            Some(id) => id,
            None => {
                self.try_metadata(Some(&[]), false).await?;
                self.metadata().controller.ok_or_else(|| KafkaError::Broker {
                    code: ResponseError::NotController,
                    what: "Metadata",
                    resource: "the cluster".to_owned(),
                    message: Some("there is no controller at the moment".to_owned()),
                })?
            }
        };
        self.connection(id).await
    }

    /// Forgets who the controller is, after it turned out to be another.
    pub fn forget_controller(&self) {
        self.metadata().controller = None;
    }

    /// Asks for the broker that coordinates a group or a transactional id, and gives the shared connection to it. Waits
    /// while there is none, for as long as [`retry`](Self::retry) allows.
    pub async fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<Connection, KafkaError> {
        let mut retry = self.retry();
        loop {
            let found = match self.find_coordinator(kind, key).await {
                Ok(id) => self.connection(id).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(connection) => return Ok(connection),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn find_coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<i32, KafkaError> {
        const WHAT: &str = "FindCoordinator";
        let connection = self.any().await?;
        let text = StrBytes::from_string(key.to_owned());
        let key_type = match kind {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        };
        let request = FindCoordinatorRequest::default().with_key_type(key_type);
        // From version 4 on the request takes several keys (KIP-699).
        let api_key = kafka_protocol::messages::ApiKey::FindCoordinator as i16;
        let many = connection.version_range(api_key).is_some_and(|(_, max)| max >= 4);
        let request = match many {
            true => request.with_coordinator_keys(vec![text]),
            false => request.with_key(text),
        };
        let response = connection.call(&request).await?;
        if !many {
            let message = response.error_message.as_deref();
            KafkaError::check(response.error_code, WHAT, key, message)?;
            return Ok(response.node_id.0);
        }
        let found = response.coordinators.first().ok_or_else(|| {
            KafkaError::protocol(
                connection.addr(),
                "an answer to FindCoordinator names no coordinator",
            )
        })?;
        KafkaError::check(found.error_code, WHAT, key, found.error_message.as_deref())?;
        Ok(found.node_id.0)
    }

    /// A connection to some broker: an open one if there is any, else the first that can be opened.
    pub async fn any(&self) -> Result<Connection, KafkaError> {
        let slots: Vec<Slot> = lock(&self.inner.connections).values().cloned().collect();
        for slot in slots {
            // A slot that is locked is being opened right now, and may take long.
            if let Ok(slot) = slot.try_lock()
                && let Some((_, connection)) = &*slot
                && !connection.is_closed()
            {
                return Ok(connection.clone());
            }
        }
        let mut brokers = self.brokers();
        let start = retry::random(brokers.len());
        brokers.rotate_left(start);
        for broker in brokers {
            match self.open(broker.id, broker.address).await {
                Ok(connection) => return Ok(connection),
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => tracing::debug!(broker = broker.id, %error, "broker passed over"),
            }
        }
        self.bootstrap().await
    }

    /// A new connection to the first bootstrap server that answers.
    async fn bootstrap(&self) -> Result<Connection, KafkaError> {
        let servers = &self.config().bootstrap;
        let mut reasons = Vec::new();
        let mut last = None;
        for address in servers {
            match self.inner.connector.connect(address).await {
                Ok(connection) => return Ok(connection),
                // The others would say the same.
                Err(error @ KafkaError::Authentication { .. }) => return Err(error),
                Err(error) => {
                    reasons.push(error.to_string());
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if servers.len() == 1 || !error.is_retriable() => Err(error),
            _ => Err(KafkaError::Unreachable {
                addr: servers
                    .iter()
                    .map(Address::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
                message: reasons.join("; "),
            }),
        }
    }

    async fn address(&self, broker_id: i32) -> Result<Address, KafkaError> {
        let known = self.metadata().address(broker_id);
        if let Some(address) = known {
            return Ok(address);
        }
        self.try_metadata(Some(&[]), false).await?;
        self.metadata()
            .address(broker_id)
            .ok_or_else(|| KafkaError::Unreachable {
                addr: format!("broker {broker_id}"),
                message: "the cluster does not list it at the moment".to_owned(),
            })
    }

    async fn retry_metadata(
        &self,
        names: Option<&[&str]>,
        rights: bool,
    ) -> Result<MetadataResponse, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.try_metadata(names, rights).await {
                Ok(response) => return Ok(response),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn try_metadata(
        &self,
        names: Option<&[&str]>,
        rights: bool,
    ) -> Result<MetadataResponse, KafkaError> {
        let connection = self.any().await?;
        self.ask_metadata(&connection, names, rights).await
    }

    async fn ask_metadata(
        &self,
        connection: &Connection,
        names: Option<&[&str]>,
        rights: bool,
    ) -> Result<MetadataResponse, KafkaError> {
        let request = MetadataRequest::default()
            .with_topics(names.map(metadata::request_topics))
            .with_allow_auto_topic_creation(false)
            .with_include_topic_authorized_operations(rights);
        let response = connection.call(&request).await?;
        KafkaError::check(response.error_code, "Metadata", "the cluster", None)?;
        self.metadata().update(&response);
        Ok(response)
    }

    fn metadata(&self) -> MutexGuard<'_, Metadata> {
        lock(&self.inner.metadata)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("bootstrap", &self.config().bootstrap)
            .field("brokers", &self.brokers())
            .finish_non_exhaustive()
    }
}

/// Whether an operation that failed so may succeed later. Brokers do not know a topic for a moment after its creation; one
/// that they still do not know after that does not exist.
pub(crate) fn may_pass(error: &KafkaError, retry: &Retry) -> bool {
    let unknown = error.code() == Some(ResponseError::UnknownTopicOrPartition);
    error.is_retriable() && !(unknown && retry.elapsed() > UNKNOWN_TOPIC_PATIENCE)
}

/// What is kept under these locks is never half changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
