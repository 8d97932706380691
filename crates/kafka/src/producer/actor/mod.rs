//! The task behind a producer: takes operations in, packs those that may go into requests (one per partition and
//! request, many partitions in a request), and turns what comes back into events of the partitions' machines.

mod answers;
mod connections;
mod links;
mod sending;
mod settling;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kafka_protocol::messages::WriteTxnMarkersResponse;
use record::TopicPartition;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep};

use super::error::ProduceError;
use super::machine::{Item, Kind, Machine};
use super::settle::{Comparison, LogEnd};
use super::{Figures, Load, Operation, ProducerOptions, Progress};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::KafkaError;
use links::{Broker, Link, LinkKey};

/// What a broker gets beyond the time it may wait for its followers, before its connection is closed.
const ANSWER_GRACE: Duration = Duration::from_secs(15);
/// Pauses after trouble: doubled from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(500);

/// What the handles ask for.
pub(super) enum Command {
    Open {
        handle: u64,
        partition: TopicPartition,
        log_end: i64,
        sequence: i32,
        progress: watch::Sender<Progress>,
    },
    Append {
        handle: u64,
        count: i64,
        load: Load,
    },
    Close {
        handle: u64,
    },
}

/// What has happened.
enum Event {
    Leaders(Vec<(u64, TopicPartition, Result<i32, KafkaError>)>),
    Connected(LinkKey, Result<Connection, KafkaError>),
    Produced(Answered<Bytes>),
    Marked(Answered<WriteTxnMarkersResponse>),
    LogEnd(u64, Result<LogEnd, KafkaError>),
    Compared(u64, LogEnd, Comparison),
    /// A pause is over.
    Wake,
}

/// The answer to a request, and what was in it.
struct Answered<T> {
    link: LinkKey,
    generation: u64,
    version: i16,
    sent: Vec<Sent>,
    result: Result<T, KafkaError>,
}

/// One partition's part of a request.
struct Sent {
    handle: u64,
    partition: TopicPartition,
    base: i64,
}

enum Leader {
    Unknown,
    Asked,
    Known(i32),
}

struct Partition {
    name: TopicPartition,
    machine: Machine<Load>,
    progress: watch::Sender<Progress>,
    leader: Leader,
    /// The connection over which it goes.
    place: Option<LinkKey>,
    /// Nothing is sent before.
    paused_until: Instant,
    pause: Duration,
    /// Since when nothing was confirmed although there is something to confirm.
    standing_since: Instant,
    trouble: Option<String>,
}

pub(super) struct Actor {
    cluster: Cluster,
    options: Arc<ProducerOptions>,
    commands: mpsc::UnboundedReceiver<Command>,
    figures: Arc<Figures>,
    partitions: BTreeMap<u64, Partition>,
    brokers: HashMap<i32, Broker>,
    links: HashMap<LinkKey, Link>,
    next_generation: u64,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Actor {
    pub(super) fn new(
        cluster: Cluster,
        options: Arc<ProducerOptions>,
        commands: mpsc::UnboundedReceiver<Command>,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            cluster,
            options,
            commands,
            figures,
            partitions: BTreeMap::new(),
            brokers: HashMap::new(),
            links: HashMap::new(),
            next_generation: 0,
            events: FuturesUnordered::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    self.command(command);
                    while let Ok(command) = self.commands.try_recv() {
                        self.command(command);
                    }
                }
                Some(event) = self.events.next() => self.event(event),
                _ = tick.tick() => self.check_deadlines(),
            }
            self.settle();
            self.find_leaders();
            self.send();
            self.seek_connections();
        }
    }

    fn later(&self, event: impl Future<Output = Event> + Send + 'static) {
        self.events.push(Box::pin(event));
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open {
                handle,
                partition,
                log_end,
                sequence,
                progress,
            } => {
                let producer_id = self.options.identity.map(|identity| identity.id);
                let machine = Machine::new(
                    partition.clone(),
                    log_end,
                    sequence,
                    producer_id,
                    self.options.max_in_flight,
                );
                let partition = Partition {
                    name: partition,
                    machine,
                    progress,
                    leader: Leader::Unknown,
                    place: None,
                    paused_until: Instant::now(),
                    pause: FIRST_PAUSE,
                    standing_since: Instant::now(),
                    trouble: None,
                };
                self.partitions.insert(handle, partition);
            }
            Command::Append { handle, count, load } => {
                let Some(partition) = self.partitions.get_mut(&handle) else {
                    return;
                };
                if partition.machine.error().is_some() {
                    return;
                }
                if !partition.machine.is_busy() {
                    partition.standing_since = Instant::now();
                }
                let kind = match load.operation {
                    Operation::Batch(_) => Kind::Batch,
                    Operation::Gap { .. } => Kind::Gap,
                };
                partition.machine.push(kind, count, load);
            }
            Command::Close { handle } => {
                self.partitions.remove(&handle);
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Wake => {}
            Event::Leaders(answers) => {
                for (handle, name, answer) in answers {
                    self.leader_found(handle, &name, answer);
                }
            }
            Event::Connected(key, result) => self.connected(key, result),
            Event::Produced(answered) => self.produced(answered),
            Event::Marked(answered) => self.marked(answered),
            Event::LogEnd(handle, Ok(end)) => self.log_end(handle, end),
            Event::LogEnd(handle, Err(error)) => {
                self.trouble(handle, &error);
                self.ask_log_end(handle, true);
            }
            Event::Compared(handle, end, comparison) => self.compared(handle, end, comparison),
        }
    }

    /// Asks for the leaders of the partitions that have something to send and none known, all in one request.
    fn find_leaders(&mut self) {
        let now = Instant::now();
        let mut names = Vec::new();
        let mut handles = Vec::new();
        for (handle, partition) in &mut self.partitions {
            let waits = partition.machine.next().is_some() && partition.paused_until <= now;
            if waits && matches!(partition.leader, Leader::Unknown) {
                partition.leader = Leader::Asked;
                names.push(partition.name.clone());
                handles.push(*handle);
            }
        }
        if handles.is_empty() {
            return;
        }
        let cluster = self.cluster.clone();
        self.later(async move {
            let answers = cluster.leaders(&names).await;
            let answers = answers
                .into_iter()
                .map(|answer| answer.map(|leader| leader.broker));
            Event::Leaders(
                handles
                    .into_iter()
                    .zip(names)
                    .zip(answers)
                    .map(|((h, n), a)| (h, n, a))
                    .collect(),
            )
        });
    }

    fn leader_found(&mut self, handle: u64, name: &TopicPartition, answer: Result<i32, KafkaError>) {
        let Some(partition) = self
            .partitions
            .get_mut(&handle)
            .filter(|partition| partition.name == *name)
        else {
            return;
        };
        match answer {
            Ok(leader) => partition.leader = Leader::Known(leader),
            Err(error) => self.trouble(handle, &error),
        }
    }

    /// Something that has nothing to do with a batch's outcome went wrong: wait, then look for the leader again.
    fn trouble(&mut self, handle: u64, error: &KafkaError) {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return;
        };
        // A topic that is not known yet may be on its way.
        let passes = error.is_retriable() || error.code().is_some_and(|code| code.is_retriable());
        if !passes {
            let error = ProduceError::Cluster {
                partition: partition.name.clone(),
                confirmed: partition.machine.confirmed(),
                source: Box::new(error.clone()),
            };
            partition.fail(error);
            return;
        }
        partition.trouble = Some(error.to_string());
        partition.leader = Leader::Unknown;
        self.cluster.forget(&partition.name);
        self.pause(handle);
    }

    fn pause(&mut self, handle: u64) {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return;
        };
        let pause = partition.pause;
        partition.pause = (pause * 2).min(LONGEST_PAUSE);
        partition.paused_until = Instant::now() + pause;
        self.later(async move {
            sleep(pause).await;
            Event::Wake
        });
    }

    fn check_deadlines(&mut self) {
        for partition in self.partitions.values_mut() {
            let waited = partition.standing_since.elapsed();
            if partition.machine.is_busy()
                && partition.machine.error().is_none()
                && waited >= self.options.delivery_deadline
            {
                let trouble = partition.trouble.as_deref().or(partition.machine.last_trouble());
                let error = ProduceError::GaveUp {
                    partition: partition.name.clone(),
                    confirmed: partition.machine.confirmed(),
                    waited,
                    cause: trouble.unwrap_or("the broker does not answer").to_owned(),
                };
                partition.fail(error);
            }
        }
    }
}

impl Partition {
    /// Publishes what is confirmed (or failed) and frees its room.
    fn confirmed(&mut self, items: Vec<Item<Load>>) {
        let position = self.machine.confirmed();
        if position > self.progress.borrow().confirmed {
            self.standing_since = Instant::now();
            self.pause = FIRST_PAUSE;
            self.trouble = None;
        }
        let error = self.machine.error().cloned();
        self.progress.send_if_modified(|progress| {
            let changed = progress.confirmed != position || error.is_some();
            progress.confirmed = position;
            for item in &items {
                if let Operation::Batch(batch) = &item.payload.operation {
                    progress.records += batch.record_count() as u64;
                    progress.encoded_bytes += batch.encoded_bytes() as u64;
                    progress.uncompressed_bytes += batch.uncompressed_bytes() as u64;
                    progress.last_source_offset = Some(batch.last_source_offset());
                }
            }
            progress.error = error;
            changed
        });
        if self.machine.error().is_some() {
            self.machine.discard();
        }
    }

    fn fail(&mut self, error: ProduceError) {
        tracing::debug!(partition = %self.name, %error, "stopped");
        self.machine.fail(error);
        self.confirmed(Vec::new());
    }
}
