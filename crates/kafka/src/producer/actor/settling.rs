//! Partitions that stopped: the log end is asked for, judged, compared, and gone on from.

use tokio::time::timeout;

use super::super::settle::{self, Comparison, Landed, LogEnd};
use super::{Actor, Event, Leader};
use crate::error::KafkaError;
use crate::fetch::FetchError;

impl Actor {
    pub(super) fn settle(&mut self) {
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

    pub(super) fn ask_log_end(&mut self, handle: u64, may_land_late: bool) {
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

    pub(super) fn log_end(&mut self, handle: u64, end: LogEnd) {
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

    pub(super) fn compared(&mut self, handle: u64, end: LogEnd, comparison: Comparison) {
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
                    FetchError::Kafka { source, .. } => source,
                    other => KafkaError::protocol("the leader", other.to_string()),
                };
                self.trouble(handle, &source);
                self.ask_log_end(handle, true);
            }
        }
    }
}
