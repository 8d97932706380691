//! Questions and orders to the cluster, as methods of [`Cluster`].
//!
//! `topics`: create, delete, grow. `configs`: read and change. `offsets`: where logs begin and end, DeleteRecords.
//! `producers`: producer ids, and what brokers remember of producers. `transactions`: markers and empty transactions.
//! `acls`: who may do what. `description`: the cluster itself.
//!
//! Each item of a list has its own outcome. What may pass by itself (a leader that moves, a controller that changes, a
//! topic that is not known everywhere yet) is tried again for as long as [`Cluster::retry`] allows; the exceptions say
//! so.

mod acls;
mod configs;
mod description;
mod offsets;
mod producers;
mod topics;
mod transactions;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use record::TopicPartition;

use crate::cluster::{Cluster, Leader, may_pass};
use crate::connection::Connection;
use crate::error::KafkaError;

pub use acls::Acl;
pub use configs::{ConfigChange, ConfigEntry, ConfigOperation, ConfigResource, ConfigSource};
pub use description::ClusterDescription;
pub use offsets::OffsetSpec;
pub use producers::{ProducerIdentity, ProducerState};
pub use topics::NewTopic;
pub use transactions::{Marker, marker_errors, write_txn_markers};

/// Items with their outcomes, in the order in which they were given.
pub type Outcomes<I, T> = Vec<(I, Result<T, KafkaError>)>;

/// Time that a broker gets beyond the limit that the request itself carries, so that its own answer comes first.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// An answer that leaves out something it was asked for.
pub(crate) fn left_out(addr: &str, what: &str, resource: &str) -> KafkaError {
    KafkaError::protocol(addr, format!("the answer to {what} says nothing of {resource}"))
}

/// Partitions in the shape that most requests want: by topic, each with whatever goes with it.
pub(crate) fn by_topic<T>(
    items: impl IntoIterator<Item = (TopicPartition, T)>,
) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut topics: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (at, item) in items {
        topics
            .entry(at.topic.to_string())
            .or_default()
            .push((at.partition, item));
    }
    topics
}

/// Outcomes of partitions, as an answer gave them.
type Answers<T> = HashMap<(String, i32), Result<T, KafkaError>>;

impl Cluster {
    /// Tries until every item has either succeeded or failed for good, or patience is over. `attempt` gives one outcome
    /// per item that it is asked about, in their order.
    pub(crate) async fn settle<I, T, F, A>(&self, items: Vec<I>, attempt: F) -> Outcomes<I, T>
    where
        I: Clone,
        F: Fn(Vec<I>) -> A,
        A: Future<Output = Vec<Result<T, KafkaError>>>,
    {
        let mut retry = self.retry();
        let mut outcomes: Vec<Option<Result<T, KafkaError>>> = items.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..items.len()).collect();
        while !open.is_empty() {
            let asked = open.iter().map(|&index| items[index].clone()).collect();
            let answers = attempt(asked).await;
            let mut again = Vec::new();
            let mut last = None;
            for (&index, answer) in open.iter().zip(answers) {
                if let Err(error) = &answer
                    && may_pass(error, &retry)
                {
                    again.push(index);
                    last = Some(error.clone());
                }
                outcomes[index] = Some(answer);
            }
            open = again;
            if let Some(error) = last
                && retry.pause(error).await.is_err()
            {
                break;
            }
        }
        let unanswered = || {
            KafkaError::protocol(
                "the cluster",
                "an answer says nothing of something it was asked for",
            )
        };
        items
            .into_iter()
            .zip(outcomes)
            .map(|(item, outcome)| (item, outcome.unwrap_or_else(|| Err(unanswered()))))
            .collect()
    }

    /// Like [`settle`](Self::settle), asking the leader of each partition: one request per broker, all at the same time.
    /// `at` names an item's partition.
    async fn at_leaders<I, T, F, A>(
        &self,
        items: Vec<I>,
        at: fn(&I) -> &TopicPartition,
        ask: F,
    ) -> Outcomes<I, T>
    where
        I: Clone,
        T: Clone,
        F: Fn(Connection, Vec<(I, Leader)>) -> A,
        A: Future<Output = Result<Answers<T>, KafkaError>>,
    {
        let ask = &ask;
        self.settle(items, |items| async move {
            let partitions: Vec<TopicPartition> = items.iter().map(|item| at(item).clone()).collect();
            let leaders = self.leaders(&partitions).await;
            let mut groups: BTreeMap<i32, Vec<(I, Leader)>> = BTreeMap::new();
            for (item, leader) in items.iter().zip(&leaders) {
                if let Ok(leader) = leader {
                    groups
                        .entry(leader.broker)
                        .or_default()
                        .push((item.clone(), *leader));
                }
            }
            let answers = join_all(groups.into_iter().map(|(broker, group)| async move {
                let answer = match self.connection(broker).await {
                    Ok(connection) => ask(connection, group).await,
                    Err(error) => Err(error),
                };
                (broker, answer)
            }));
            let answers: HashMap<i32, Result<Answers<T>, KafkaError>> = answers.await.into_iter().collect();
            partitions
                .iter()
                .zip(leaders)
                .map(|(partition, leader)| {
                    let outcome = leader.and_then(|leader| match &answers[&leader.broker] {
                        Err(error) => Err(error.clone()),
                        Ok(answers) => answers
                            .get(&(partition.topic.to_string(), partition.partition))
                            .cloned()
                            .unwrap_or_else(|| {
                                let broker = format!("broker {}", leader.broker);
                                Err(left_out(&broker, "a question", &partition.to_string()))
                            }),
                    });
                    if outcome.is_err() {
                        self.forget(partition);
                    }
                    outcome
                })
                .collect()
        })
        .await
    }

    /// Like [`settle`](Self::settle), asking the controller.
    async fn at_controller<I, T, F, A>(&self, items: Vec<I>, ask: F) -> Outcomes<I, T>
    where
        I: Clone,
        F: Fn(Connection, Vec<I>) -> A,
        A: Future<Output = Result<Vec<Result<T, KafkaError>>, KafkaError>>,
    {
        let ask = &ask;
        self.settle(items, |items| async move {
            let count = items.len();
            let answer = match self.controller().await {
                Ok(connection) => ask(connection, items).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(outcomes) => {
                    if outcomes.iter().any(Result::is_err) {
                        self.forget_controller();
                    }
                    outcomes
                }
                Err(error) => {
                    self.forget_controller();
                    (0..count).map(|_| Err(error.clone())).collect()
                }
            }
        })
        .await
    }
}
