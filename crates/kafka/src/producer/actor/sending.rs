//! From what the machines may send to requests: one operation per partition, many partitions, a few in flight.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, WriteTxnMarkersResponse};
use kafka_protocol::protocol::Decodable;
use record::TopicPartition;
use tokio::time::Instant;

use super::super::machine::Kind;
use super::super::request::{MARKERS_VERSION, PRODUCE_VERSIONS, markers_body, produce_body};
use super::super::{Operation, ProducerIdentity};
use super::{ANSWER_GRACE, Actor, Answered, Event, Leader, Link, LinkKey, Sent};
use crate::batch::{EncodedBatch, ProducerStamp};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::fetch::common_version;

impl Actor {
    pub(super) fn send(&mut self) {
        self.take_places();
        loop {
            let mut ready: BTreeMap<LinkKey, Vec<u64>> = BTreeMap::new();
            let now = Instant::now();
            for (handle, partition) in &self.partitions {
                if matches!(partition.leader, Leader::Known(_))
                    && partition.paused_until <= now
                    && partition.machine.next().is_some()
                    && let Some(place) = partition.place
                {
                    ready.entry(place).or_default().push(*handle);
                }
            }
            let mut sent = false;
            for (key, mut handles) in ready {
                match self.links.get(&key) {
                    None => self.connect(key),
                    Some(Link::Connecting) => {}
                    Some(Link::Open {
                        connection,
                        in_flight,
                        generation,
                        turn,
                    }) => {
                        if *in_flight < self.options.max_in_flight.max(1) && !self.is_quiet(key.0, now) {
                            let (connection, generation) = (connection.clone(), *generation);
                            // From whose turn it is, round and round.
                            let first = handles.partition_point(|handle| handle < turn);
                            handles.rotate_left(first);
                            handles.retain(|handle| {
                                let partition = self.partitions.get(handle);
                                partition.is_some_and(|partition| partition.machine.may_go_over(generation))
                            });
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
                        batch.set_stamp(ProducerStamp {
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
        let next_turn = sent.last().map_or(0, |last| last.handle + 1);
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
                        partition.machine.sent(generation);
                    }
                }
                if let Some(Link::Open { in_flight, turn, .. }) = self.links.get_mut(&key) {
                    *in_flight += 1;
                    *turn = next_turn;
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
        batches: &[(TopicPartition, EncodedBatch)],
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
            .markers
            .unwrap_or(ProducerIdentity { id: -1, epoch: -1 });
        let body = markers_body(identity, gaps);
        let wait = self.options.request_timeout + ANSWER_GRACE;
        let pending = connection.submit_frame(ApiKey::WriteTxnMarkers as i16, version, body, wait)?;
        Ok(Box::pin(async move {
            let result = pending.await.and_then(|mut body| {
                WriteTxnMarkersResponse::decode(&mut body, version).map_err(|error| {
                    KafkaError::protocol("the broker", format!("WriteTxnMarkers: {error:#}"))
                })
            });
            Event::Marked(Answered {
                link,
                generation,
                version,
                sent,
                result,
            })
        }))
    }
}
