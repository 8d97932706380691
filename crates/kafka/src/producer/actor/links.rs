//! The connections to the brokers: opened when there is something to send, one more or one less as `connections` finds
//! it, closed when they fail.
//!
//! A partition's order is kept by its connection, so nothing of it is sent over another one before everything that went
//! over the last is answered (`Machine::may_go_over`). What a broken connection leaves unanswered is settled by the
//! partitions' machines, whichever connection they go on with.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connections::{Decision, Search, distribute};
use super::{Actor, Event, Leader};
use crate::connection::Connection;
use crate::error::KafkaError;

/// A broker, and which of its connections.
pub(super) type LinkKey = (i32, usize);

pub(super) enum Link {
    Connecting,
    Open {
        connection: Connection,
        /// No two connections have the same.
        generation: u64,
        in_flight: usize,
        /// The partition that comes first in the next request.
        turn: u64,
    },
}

/// A broker that was sent to.
pub(super) struct Broker {
    pub(super) search: Search,
    /// The broker has asked for silence until then. It says so over one connection, and means the client.
    quiet_until: Instant,
}

impl Actor {
    pub(super) fn broker(&mut self, id: i32) -> &mut Broker {
        let options = &self.options;
        self.brokers.entry(id).or_insert_with(|| {
            let now = Instant::now();
            Broker {
                search: Search::new(
                    options.connections,
                    options.most_connections,
                    options.connections_window,
                    now,
                ),
                quiet_until: now,
            }
        })
    }

    pub(super) fn is_quiet(&self, broker: i32, now: Instant) -> bool {
        self.brokers
            .get(&broker)
            .is_some_and(|broker| broker.quiet_until > now)
    }

    /// Gives every partition whose leader is known its connection.
    pub(super) fn take_places(&mut self) {
        let mut places: HashMap<i32, Vec<&mut Option<LinkKey>>> = HashMap::new();
        for partition in self.partitions.values_mut() {
            if let Leader::Known(broker) = partition.leader {
                places.entry(broker).or_default().push(&mut partition.place);
            }
        }
        for (broker, mut places) in places {
            let number = self
                .brokers
                .get(&broker)
                .map_or(self.options.connections, |broker| broker.search.number());
            distribute(broker, number, &mut places);
        }
    }

    pub(super) fn connect(&mut self, key: LinkKey) {
        self.links.insert(key, Link::Connecting);
        let cluster = self.cluster.clone();
        self.later(async move { Event::Connected(key, cluster.dedicated_connection(key.0).await) });
    }

    pub(super) fn connected(&mut self, key: LinkKey, result: Result<Connection, KafkaError>) {
        let (id, index) = key;
        let now = Instant::now();
        match result {
            Ok(connection) => {
                self.next_generation += 1;
                let link = Link::Open {
                    connection,
                    generation: self.next_generation,
                    in_flight: 0,
                    turn: 0,
                };
                self.links.insert(key, link);
                let search = &mut self.broker(id).search;
                // What is tried counts once it has brought something.
                let counted = (index + 1).min(search.number());
                search.opened(index, now);
                self.figures.connections.fetch_max(counted, Ordering::Relaxed);
            }
            // The broker can be sent to without it, so nobody gets into trouble.
            Err(error) if index > 0 => {
                tracing::debug!(broker = id, index, %error, "no further connection");
                self.links.remove(&key);
                self.broker(id).search.lost(index, now);
            }
            Err(error) => {
                self.links.remove(&key);
                let waiting: Vec<u64> = self
                    .partitions
                    .iter()
                    .filter(|(_, partition)| {
                        matches!(partition.leader, Leader::Known(_)) && partition.place == Some(key)
                    })
                    .map(|(handle, _)| *handle)
                    .collect();
                for handle in waiting {
                    self.trouble(handle, &error);
                }
            }
        }
    }

    /// A request of the connection `of` is over, with an answer or without one.
    pub(super) fn answered(&mut self, key: LinkKey, of: u64, throttle_ms: i32) {
        if let Some(Link::Open {
            in_flight,
            generation,
            ..
        }) = self.links.get_mut(&key)
            && *generation == of
        {
            *in_flight = in_flight.saturating_sub(1);
        }
        let Some(throttle) = u64::try_from(throttle_ms).ok().filter(|throttle| *throttle > 0) else {
            return;
        };
        self.figures.throttled_ms.fetch_add(throttle, Ordering::Relaxed);
        let throttle = Duration::from_millis(throttle);
        let broker = self.broker(key.0);
        broker.search.throttled();
        broker.quiet_until = broker.quiet_until.max(Instant::now() + throttle);
        self.later(async move {
            sleep(throttle).await;
            Event::Wake
        });
    }

    /// Closes a connection that failed or is not used any more; what is in flight on it ends without an answer.
    pub(super) fn drop_link(&mut self, key: LinkKey, of: u64) {
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

    /// Looks how busy each broker is, after everything was sent that may be, and goes after what that says about its
    /// number of connections.
    pub(super) fn seek_connections(&mut self) {
        let now = Instant::now();
        let full = self.options.max_in_flight.max(1);
        // Of each broker's partitions: how many have something to send, and whether one has more than may be in flight.
        let mut waiting: HashMap<i32, (usize, bool)> = HashMap::new();
        for partition in self.partitions.values() {
            if let Leader::Known(leader) = partition.leader {
                let (sending, is_queued) = waiting.entry(leader).or_default();
                *sending += usize::from(partition.machine.is_busy());
                *is_queued |= partition.machine.is_queued() && partition.paused_until <= now;
            }
        }
        let mut in_flight: HashMap<i32, usize> = HashMap::new();
        for (key, link) in &self.links {
            if let Link::Open { in_flight: here, .. } = link {
                let most = in_flight.entry(key.0).or_default();
                *most = (*most).max(*here);
            }
        }
        let mut decisions = Vec::new();
        for (id, broker) in &mut self.brokers {
            let (sending, is_queued) = waiting.get(id).copied().unwrap_or_default();
            let in_flight = in_flight.get(id).copied().unwrap_or(0);
            let is_busy = in_flight >= full || in_flight > 0 && is_queued;
            if let Some(decision) = broker.search.look(now, is_busy, sending) {
                decisions.push((*id, decision, broker.search.number()));
            }
        }
        for (id, decision, connections) in decisions {
            match decision {
                Decision::Open(index) => {
                    tracing::debug!(broker = id, connections, "trying one more connection");
                    self.connect((id, index));
                }
                Decision::Keep { before, after } => {
                    tracing::debug!(
                        broker = id,
                        connections,
                        before,
                        after,
                        "one more connection was worth it"
                    );
                    self.figures.connections.fetch_max(connections, Ordering::Relaxed);
                }
                Decision::GoBack { before, after } => {
                    tracing::debug!(
                        broker = id,
                        connections,
                        before,
                        after,
                        "one more connection brought nothing"
                    );
                }
            }
        }
        self.close_unused();
    }

    fn close_unused(&mut self) {
        let is_unused = |(id, index): &LinkKey| {
            let broker = self.brokers.get(id);
            broker.is_some_and(|broker| *index >= broker.search.number())
        };
        let unused: Vec<(LinkKey, u64)> = self
            .links
            .iter()
            .filter_map(|(key, link)| match link {
                Link::Open {
                    in_flight: 0,
                    generation,
                    ..
                } if is_unused(key) => Some((*key, *generation)),
                _ => None,
            })
            .collect();
        for (key, generation) in unused {
            self.drop_link(key, generation);
        }
    }
}
