//! The task behind a producer: takes operations in, packs those that may go into requests (one per partition and
//! request, many partitions in a request), and turns what comes back into events of the partitions' machines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kafka_protocol::messages::{ApiKey, ProduceResponse, WriteTxnMarkersResponse};
use kafka_protocol::protocol::Decodable;
use record::TopicPartition;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};

use super::error::ProduceError;
use super::machine::{Item, Kind, Machine, Outcome};
use super::request::{MARKERS_VERSION, PRODUCE_VERSIONS, markers_request, produce_body};
use super::settle::{self, Comparison, Landed, LogEnd};
use super::{Load, Operation, ProducerOptions, Progress};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::fetch::common_version;

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

/// A broker, and which of its connections.
type LinkKey = (i32, usize);

enum Link {
    Connecting,
    Open {
        connection: Connection,
        generation: u64,
        in_flight: usize,
        /// The broker has asked for silence until then.
        quiet_until: Instant,
    },
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
    throttled_ms: Arc<AtomicU64>,
    partitions: BTreeMap<u64, Partition>,
    links: HashMap<LinkKey, Link>,
    next_generation: u64,
    /// The partition that comes first in the next request.
    turn: u64,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Actor {
    pub(super) fn new(
        cluster: Cluster,
        options: Arc<ProducerOptions>,
        commands: mpsc::UnboundedReceiver<Command>,
        throttled_ms: Arc<AtomicU64>,
    ) -> Self {
        Self {
            cluster,
            options,
            commands,
            throttled_ms,
            partitions: BTreeMap::new(),
            links: HashMap::new(),
            next_generation: 0,
            turn: 0,
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
            Event::Connected(key, Ok(connection)) => {
                self.next_generation += 1;
                let link = Link::Open {
                    connection,
                    generation: self.next_generation,
                    in_flight: 0,
                    quiet_until: Instant::now(),
                };
                self.links.insert(key, link);
            }
            Event::Connected(key, Err(error)) => {
                self.links.remove(&key);
                let handles: Vec<u64> = self.handles_on(key);
                for handle in handles {
                    self.trouble(handle, &error);
                }
            }
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

    // --- Leaders and connections.

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

    fn link_key(&self, handle: u64, broker: i32) -> LinkKey {
        (
            broker,
            handle as usize % self.options.connections_per_broker.max(1),
        )
    }

    fn handles_on(&self, key: LinkKey) -> Vec<u64> {
        let on_it = |handle: &u64, partition: &Partition| match partition.leader {
            Leader::Known(broker) => self.link_key(*handle, broker) == key,
            Leader::Unknown | Leader::Asked => false,
        };
        self.partitions
            .iter()
            .filter(|(handle, partition)| on_it(handle, partition))
            .map(|(h, _)| *h)
            .collect()
    }

    fn connect(&mut self, key: LinkKey) {
        self.links.insert(key, Link::Connecting);
        let cluster = self.cluster.clone();
        self.later(async move { Event::Connected(key, cluster.dedicated_connection(key.0).await) });
    }

    // --- Sending.

    fn send(&mut self) {
        loop {
            let mut ready: BTreeMap<LinkKey, Vec<u64>> = BTreeMap::new();
            let now = Instant::now();
            // From whose turn it is, round and round.
            let order = self
                .partitions
                .range(self.turn..)
                .chain(self.partitions.range(..self.turn));
            for (handle, partition) in order {
                if let Leader::Known(broker) = partition.leader
                    && partition.paused_until <= now
                    && partition.machine.next().is_some()
                {
                    ready
                        .entry(self.link_key(*handle, broker))
                        .or_default()
                        .push(*handle);
                }
            }
            let mut sent = false;
            for (key, handles) in ready {
                match self.links.get(&key) {
                    None => self.connect(key),
                    Some(Link::Connecting) => {}
                    Some(Link::Open {
                        connection,
                        in_flight,
                        quiet_until,
                        generation,
                    }) => {
                        if *in_flight < self.options.max_in_flight.max(1) && *quiet_until <= now {
                            let (connection, generation) = (connection.clone(), *generation);
                            sent |= self.send_request(key, &connection, generation, &handles);
                        }
                    }
                }
            }
            if !sent {
                return;
            }
        }
    }

    /// Sends one request with what is next of these partitions: batches if the first one's is a batch, else markers.
    fn send_request(
        &mut self,
        key: LinkKey,
        connection: &Connection,
        generation: u64,
        handles: &[u64],
    ) -> bool {
        let next = |handle: &u64| {
            self.partitions
                .get(handle)
                .and_then(|partition| partition.machine.next())
        };
        let Some(kind) = handles.first().and_then(next).map(|item| item.kind) else {
            return false;
        };
        let mut sent = Vec::new();
        let mut batches = Vec::new();
        let mut gaps = Vec::new();
        let mut bytes = 0;
        let mut names = BTreeSet::new();
        for handle in handles {
            let Some(partition) = self.partitions.get(handle) else {
                continue;
            };
            let Some(item) = partition.machine.next().filter(|item| item.kind == kind) else {
                continue;
            };
            if !names.insert(&partition.name) {
                continue;
            }
            match &item.payload.operation {
                Operation::Batch(batch) => {
                    if bytes > 0 && bytes + batch.encoded_bytes() > self.options.max_request_bytes {
                        break;
                    }
                    bytes += batch.encoded_bytes();
                    let mut batch = batch.clone();
                    if let Some(identity) = self.options.identity {
                        batch.set_stamp(crate::batch::ProducerStamp {
                            id: identity.id,
                            epoch: identity.epoch,
                            sequence: item.sequence,
                        });
                    }
                    batches.push((partition.name.clone(), batch));
                }
                Operation::Gap { .. } => gaps.push((partition.name.clone(), item.count)),
            }
            let (handle, partition, base) = (*handle, partition.name.clone(), item.base);
            sent.push(Sent {
                handle,
                partition,
                base,
            });
        }
        self.turn = sent.last().map_or(0, |last| last.handle + 1);
        let handles: Vec<u64> = sent.iter().map(|sent| sent.handle).collect();
        let submitted = match kind {
            Kind::Batch => self.submit_batches(key, connection, generation, &batches, sent),
            Kind::Gap => self.submit_gaps(key, connection, generation, &gaps, sent),
        };
        match submitted {
            Ok(event) => {
                self.events.push(event);
                for handle in handles {
                    if let Some(partition) = self.partitions.get_mut(&handle) {
                        partition.machine.sent();
                    }
                }
                if let Some(Link::Open { in_flight, .. }) = self.links.get_mut(&key) {
                    *in_flight += 1;
                }
                true
            }
            // Nothing was sent.
            Err(error) => {
                self.drop_link(key, generation);
                for handle in handles {
                    self.trouble(handle, &error);
                }
                false
            }
        }
    }

    fn submit_batches(
        &self,
        link: LinkKey,
        connection: &Connection,
        generation: u64,
        batches: &[(TopicPartition, crate::batch::EncodedBatch)],
        sent: Vec<Sent>,
    ) -> Result<BoxFuture<'static, Event>, KafkaError> {
        let version = common_version(connection, ApiKey::Produce, PRODUCE_VERSIONS)?;
        let wait = self.options.request_timeout;
        let body = produce_body(version, wait.as_millis().min(i32::MAX as u128) as i32, batches);
        let pending = connection.submit_frame(ApiKey::Produce as i16, version, body, wait + ANSWER_GRACE)?;
        Ok(Box::pin(async move {
            let result = pending.await;
            Event::Produced(Answered {
                link,
                generation,
                version,
                sent,
                result,
            })
        }))
    }

    fn submit_gaps(
        &self,
        link: LinkKey,
        connection: &Connection,
        generation: u64,
        gaps: &[(TopicPartition, i64)],
        sent: Vec<Sent>,
    ) -> Result<BoxFuture<'static, Event>, KafkaError> {
        let version = common_version(
            connection,
            ApiKey::WriteTxnMarkers,
            (MARKERS_VERSION, MARKERS_VERSION),
        )?;
        let identity = self
            .options
            .identity
            .unwrap_or(super::ProducerIdentity { id: -1, epoch: -1 });
        let request = markers_request(identity, gaps);
        let wait = self.options.request_timeout + ANSWER_GRACE;
        let pending = connection.submit_within(&request, version, wait)?;
        Ok(Box::pin(async move {
            let result = pending.await;
            Event::Marked(Answered {
                link,
                generation,
                version,
                sent,
                result,
            })
        }))
    }

    // --- Answers.

    fn produced(&mut self, answered: Answered<Bytes>) {
        let result = answered.result.and_then(|mut body| {
            ProduceResponse::decode(&mut body, answered.version)
                .map_err(|error| KafkaError::protocol("the broker", format!("Produce: {error:#}")))
        });
        let mut outcomes: HashMap<(String, i32), Outcome> = HashMap::new();
        let mut throttle = 0;
        let no_answer = match result {
            Ok(response) => {
                throttle = response.throttle_time_ms;
                for topic in response.responses {
                    for answer in topic.partition_responses {
                        let outcome = match answer.error_code {
                            0 => Outcome::Landed(Some(answer.base_offset)),
                            code => {
                                let of_record = answer.record_errors.into_iter().find_map(|error| {
                                    error.batch_index_error_message.map(|text| {
                                        format!("record {} of the batch: {text}", error.batch_index)
                                    })
                                });
                                let message = answer.error_message.map(|text| text.to_string());
                                Outcome::Code(code, of_record.or(message))
                            }
                        };
                        outcomes.insert((topic.name.to_string(), answer.index), outcome);
                    }
                }
                "the broker's answer does not mention the partition".to_owned()
            }
            Err(error) => {
                self.drop_link(answered.link, answered.generation);
                error.to_string()
            }
        };
        self.answered(answered.link, answered.generation, throttle);
        for Sent {
            handle,
            partition,
            base,
        } in answered.sent
        {
            let key = (partition.topic.to_string(), partition.partition);
            let outcome = outcomes
                .remove(&key)
                .unwrap_or_else(|| Outcome::NoAnswer(no_answer.clone()));
            self.resolve(handle, base, outcome);
        }
    }

    fn marked(&mut self, answered: Answered<WriteTxnMarkersResponse>) {
        let mut codes: HashMap<(String, i32), i16> = HashMap::new();
        let no_answer = match answered.result {
            Ok(response) => {
                for topic in response.markers.into_iter().flat_map(|marker| marker.topics) {
                    for answer in topic.partitions {
                        let code = codes
                            .entry((topic.name.to_string(), answer.partition_index))
                            .or_default();
                        if *code == 0 {
                            *code = answer.error_code;
                        }
                    }
                }
                "the broker's answer does not mention the partition".to_owned()
            }
            Err(error) => {
                self.drop_link(answered.link, answered.generation);
                error.to_string()
            }
        };
        self.answered(answered.link, answered.generation, 0);
        for Sent {
            handle,
            partition,
            base,
        } in answered.sent
        {
            let outcome = match codes.get(&(partition.topic.to_string(), partition.partition)) {
                Some(0) => Outcome::Landed(None),
                Some(code) => Outcome::Code(*code, None),
                None => Outcome::NoAnswer(no_answer.clone()),
            };
            self.resolve(handle, base, outcome);
        }
    }

    fn answered(&mut self, key: LinkKey, of: u64, throttle_ms: i32) {
        let Some(Link::Open {
            in_flight,
            generation,
            quiet_until,
            ..
        }) = self.links.get_mut(&key)
        else {
            return;
        };
        if *generation != of {
            return;
        }
        *in_flight = in_flight.saturating_sub(1);
        let Some(throttle) = u64::try_from(throttle_ms).ok().filter(|throttle| *throttle > 0) else {
            return;
        };
        self.throttled_ms.fetch_add(throttle, Ordering::Relaxed);
        let throttle = Duration::from_millis(throttle);
        *quiet_until = Instant::now() + throttle;
        self.later(async move {
            sleep(throttle).await;
            Event::Wake
        });
    }

    /// Closes a connection that failed; what is in flight on it ends without an answer.
    fn drop_link(&mut self, key: LinkKey, of: u64) {
        if let Some(Link::Open {
            connection,
            generation,
            ..
        }) = self.links.get(&key)
            && *generation == of
        {
            let connection = connection.clone();
            self.links.remove(&key);
            self.later(async move {
                connection.close().await;
                Event::Wake
            });
        }
    }

    fn resolve(&mut self, handle: u64, base: i64, outcome: Outcome) {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return;
        };
        let mut confirmed = Vec::new();
        partition.machine.resolve(base, outcome, &mut confirmed);
        partition.confirmed(confirmed);
    }

    // --- Settling.

    fn settle(&mut self) {
        let wanting: Vec<u64> = self
            .partitions
            .iter()
            .filter(|(_, partition)| partition.machine.wants_settling())
            .map(|(handle, _)| *handle)
            .collect();
        for handle in wanting {
            if let Some(partition) = self.partitions.get_mut(&handle) {
                let may_land_late = partition.machine.begin_settling();
                tracing::debug!(
                    partition = %partition.name,
                    confirmed = partition.machine.confirmed(),
                    trouble = partition.machine.last_trouble(),
                    "asking for the log end"
                );
                partition.progress.send_modify(|progress| progress.settled += 1);
                self.ask_log_end(handle, may_land_late);
            }
        }
    }

    fn ask_log_end(&mut self, handle: u64, may_land_late: bool) {
        let Some(partition) = self
            .partitions
            .get(&handle)
            .filter(|partition| partition.machine.error().is_none())
        else {
            return;
        };
        let cluster = self.cluster.clone();
        let name = partition.name.clone();
        let identity = self.options.identity;
        let quiet = may_land_late.then_some(self.options.quiet_time);
        let previous = match partition.leader {
            Leader::Known(leader) => Some(leader),
            Leader::Unknown | Leader::Asked => None,
        };
        let limit = self.options.delivery_deadline;
        let pause = partition.paused_until;
        self.later(async move {
            tokio::time::sleep_until(pause).await;
            let asking = settle::log_end(&cluster, &name, identity, quiet, previous);
            let result = timeout(limit, asking).await.unwrap_or_else(|_| {
                Err(KafkaError::TimedOut {
                    what: "the question for the log end".to_owned(),
                    addr: "the leader".to_owned(),
                    after: limit,
                })
            });
            Event::LogEnd(handle, result)
        });
    }

    fn log_end(&mut self, handle: u64, end: LogEnd) {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return;
        };
        if partition.machine.error().is_some() {
            return;
        }
        partition.leader = Leader::Known(end.leader);
        let landed = match partition.machine.examine(end.offset, end.last_sequence) {
            Ok(landed) => landed,
            Err(error) => {
                partition.fail(error);
                return;
            }
        };
        let landed: Vec<Landed> = landed
            .into_iter()
            .map(|item| Landed {
                base: item.base,
                operation: item.payload.operation.clone(),
            })
            .collect();
        if landed.is_empty() {
            self.compared(handle, end, Comparison::Equal);
            return;
        }
        let cluster = self.cluster.clone();
        let name = partition.name.clone();
        self.later(async move {
            let comparison = settle::compare(&cluster, &name, &landed, end.offset).await;
            Event::Compared(handle, end, comparison)
        });
    }

    fn compared(&mut self, handle: u64, end: LogEnd, comparison: Comparison) {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return;
        };
        match comparison {
            Comparison::Equal => {
                let before = partition.machine.confirmed();
                let mut confirmed = Vec::new();
                partition.machine.resume(end.offset, &mut confirmed);
                partition.confirmed(confirmed);
                if end.offset == before {
                    self.pause(handle);
                }
            }
            Comparison::Different(error) => partition.fail(error),
            Comparison::Unread(error) => {
                let source = match error {
                    crate::fetch::FetchError::Kafka { source, .. } => source,
                    other => KafkaError::protocol("the leader", other.to_string()),
                };
                self.trouble(handle, &source);
                self.ask_log_end(handle, true);
            }
        }
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
