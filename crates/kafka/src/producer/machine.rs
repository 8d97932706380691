//! One partition's writing, without any I/O: what may be sent now, what an answer means, when to stop and ask.
//!
//! Every operation has an expected base offset. As long as all answers agree with that, operations go out one after
//! the other, several in flight. At the first answer that does not, or that does not come, nothing more is sent;
//! once nothing is in flight any more, the log end is asked for and decides what landed ([`Machine::examine`]). A
//! batch is never sent again before the log end has said that it is not there.
//!
//! After a start and after every such stop the first batch goes alone: brokers that know nothing of the producer
//! accept any sequence number, so a second batch in flight behind a refused first one would take its place.

use std::collections::VecDeque;

use kafka_protocol::error::ResponseError;
use record::TopicPartition;

use super::codes::{self, Class};
use super::error::ProduceError;

/// How often a limited error may come back for the same batch.
const MAX_STRIKES: u32 = 3;

/// What is written: records, or offsets without records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Batch,
    Gap,
}

/// An operation on its way through the machine.
#[derive(Debug, Clone)]
pub(super) struct Item<T> {
    /// Where it has to go. Names the operation in answers.
    pub(super) base: i64,
    /// Offsets it takes.
    pub(super) count: i64,
    /// Sequence number of its first record; gaps take none.
    pub(super) sequence: i32,
    pub(super) kind: Kind,
    pub(super) payload: T,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Never sent, or known not to be in the log.
    Waiting,
    Sent,
    /// Answered without error at the expected offset; a gap's answer does not say where.
    Landed,
    /// Answered or lost in a way that does not say whether it landed.
    Unresolved,
}

/// What became of a request, for one partition.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// No error; the base offset where the answer has one.
    Landed(Option<i64>),
    /// An error code other than 0, with the broker's words.
    Code(i16, Option<String>),
    /// No answer: the connection broke or was closed for slowness.
    NoAnswer(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Flowing,
    /// Nothing more is sent until everything in flight is resolved.
    Draining,
    /// The log end has been asked for.
    Settling,
    Failed,
}

/// The state of one partition.
pub(super) struct Machine<T> {
    partition: TopicPartition,
    /// Id of the producer, for messages; `None` where sequences are not used.
    producer_id: Option<i64>,
    max_in_flight: usize,
    phase: Phase,
    items: VecDeque<Item<T>>,
    confirmed: i64,
    /// Sequence number that belongs to the confirmed offset.
    confirmed_sequence: i32,
    end: i64,
    end_sequence: i32,
    /// A batch has landed since the last stop.
    proven: bool,
    /// Some request got no answer, so it may still land.
    may_land_late: bool,
    strikes: u32,
    last_trouble: Option<String>,
    error: Option<ProduceError>,
    /// The connection over which the last operation was sent.
    sent_over: Option<u64>,
}

impl<T> Machine<T> {
    /// A machine for a log that ends at `log_end`, where the next record has the sequence number `sequence`.
    pub(super) fn new(
        partition: TopicPartition,
        log_end: i64,
        sequence: i32,
        producer_id: Option<i64>,
        max_in_flight: usize,
    ) -> Self {
        Self {
            partition,
            producer_id,
            // Without sequence numbers nothing keeps a batch from taking the place of a refused one before it.
            max_in_flight: if producer_id.is_some() {
                max_in_flight.max(1)
            } else {
                1
            },
            phase: Phase::Flowing,
            items: VecDeque::new(),
            confirmed: log_end,
            confirmed_sequence: sequence,
            end: log_end,
            end_sequence: sequence,
            proven: false,
            may_land_late: false,
            strikes: 0,
            last_trouble: None,
            error: None,
            sent_over: None,
        }
    }

    /// The offset below which everything is confirmed.
    pub(super) fn confirmed(&self) -> i64 {
        self.confirmed
    }

    /// The error that ended it.
    pub(super) fn error(&self) -> Option<&ProduceError> {
        self.error.as_ref()
    }

    /// True where operations are queued or in flight.
    pub(super) fn is_busy(&self) -> bool {
        !self.items.is_empty()
    }

    fn is_in_flight(&self) -> bool {
        self.items.iter().any(|item| item.state == State::Sent)
    }

    /// True where there is more to send than may be in flight.
    pub(super) fn is_queued(&self) -> bool {
        self.phase == Phase::Flowing && self.items.iter().any(|item| item.state == State::Waiting)
    }

    /// What went wrong last, if anything did.
    pub(super) fn last_trouble(&self) -> Option<&str> {
        self.last_trouble.as_deref()
    }

    /// Queues an operation that takes `count` offsets.
    pub(super) fn push(&mut self, kind: Kind, count: i64, payload: T) {
        self.items.push_back(Item {
            base: self.end,
            count,
            sequence: self.end_sequence,
            kind,
            payload,
            state: State::Waiting,
        });
        self.end += count;
        if kind == Kind::Batch {
            self.end_sequence = advance(self.end_sequence, count);
        }
    }

    /// The operation that may be sent now, if there is one. It counts as sent only after [`sent`](Self::sent).
    pub(super) fn next(&self) -> Option<&Item<T>> {
        if self.phase != Phase::Flowing {
            return None;
        }
        let sent = || self.items.iter().filter(|item| item.state == State::Sent);
        let next = self.items.iter().find(|item| item.state == State::Waiting)?;
        // Gaps are all alike: one that takes the place of a refused one before it changes nothing.
        let only_gaps = next.kind == Kind::Gap && sent().all(|item| item.kind == Kind::Gap);
        let limit = if self.proven || only_gaps {
            self.max_in_flight
        } else {
            1
        };
        (sent().count() < limit).then_some(next)
    }

    /// True where [`next`](Self::next) may be sent over this connection: unless something is in flight over another one,
    /// which may be slower.
    pub(super) fn may_go_over(&self, connection: u64) -> bool {
        self.sent_over == Some(connection) || !self.is_in_flight()
    }

    /// Notes that the operation of [`next`](Self::next) is on its way over this connection.
    pub(super) fn sent(&mut self, connection: u64) {
        self.sent_over = Some(connection);
        if let Some(item) = self.items.iter_mut().find(|item| item.state == State::Waiting) {
            item.state = State::Sent;
        }
    }

    /// Takes what became of the operation at `base`. Confirmed operations are given to `confirmed`.
    pub(super) fn resolve(&mut self, base: i64, outcome: Outcome, confirmed: &mut Vec<Item<T>>) {
        if self.phase == Phase::Failed {
            return;
        }
        let first = self.items.front().is_some_and(|item| item.base == base);
        let Some(item) = self
            .items
            .iter_mut()
            .find(|item| item.base == base && item.state == State::Sent)
        else {
            return;
        };
        match outcome {
            Outcome::Landed(actual) => match actual {
                Some(actual) if actual != base => {
                    let partition = self.partition.clone();
                    self.fail(ProduceError::UnexpectedBase {
                        partition,
                        expected: base,
                        actual,
                    });
                }
                _ => {
                    item.state = State::Landed;
                    self.proven |= item.kind == Kind::Batch;
                    self.confirm(confirmed);
                }
            },
            Outcome::NoAnswer(cause) => {
                item.state = State::Unresolved;
                self.may_land_late = true;
                self.stop(cause);
            }
            Outcome::Code(code, message) => {
                let class = codes::classify(code);
                let refused = |machine: &Self| ProduceError::Refused {
                    partition: machine.partition.clone(),
                    offset: base,
                    code: ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError),
                    message: message.clone(),
                    advice: codes::advice(code),
                };
                item.state = match class {
                    Class::Refused | Class::Final if item.kind == Kind::Batch => State::Waiting,
                    _ => State::Unresolved,
                };
                // An error behind another one may only be its consequence.
                if class == Class::Final && (first || self.phase == Phase::Flowing) {
                    let error = refused(self);
                    self.fail(error);
                    return;
                }
                if class == Class::Limited && first {
                    self.strikes += 1;
                    if self.strikes >= MAX_STRIKES {
                        let error = refused(self);
                        self.fail(error);
                        return;
                    }
                }
                let cause = refused(self).to_string();
                self.stop(cause);
            }
        }
    }

    /// True once the log end must be asked for; the caller does so after [`begin_settling`](Self::begin_settling).
    pub(super) fn wants_settling(&self) -> bool {
        match self.phase {
            Phase::Draining => !self.is_in_flight(),
            // Answers to gaps do not say where they landed: with nothing behind them that does, the log end must.
            Phase::Flowing => {
                !self.items.is_empty() && self.items.iter().all(|item| item.state == State::Landed)
            }
            Phase::Settling | Phase::Failed => false,
        }
    }

    /// Notes that the log end is being asked for. True where a request may still land late, so that the log must be
    /// watched for a while.
    pub(super) fn begin_settling(&mut self) -> bool {
        self.phase = Phase::Settling;
        self.may_land_late
    }

    /// Judges a log end: an error, or the operations that must stand in the log between the confirmed offset and it.
    /// `last_sequence` is what the broker remembers of the producer, if anything.
    pub(super) fn examine(
        &self,
        log_end: i64,
        last_sequence: Option<i32>,
    ) -> Result<Vec<&Item<T>>, ProduceError> {
        let partition = || self.partition.clone();
        if log_end < self.confirmed {
            return Err(ProduceError::ConfirmedLost {
                partition: partition(),
                confirmed: self.confirmed,
                actual: log_end,
            });
        }
        let mut position = self.confirmed;
        let mut sequence = self.confirmed_sequence;
        let mut landed = Vec::new();
        for item in &self.items {
            if position >= log_end || item.state == State::Waiting && item.kind == Kind::Gap {
                break;
            }
            match item.kind {
                Kind::Batch => {
                    position += item.count;
                    sequence = advance(sequence, item.count);
                }
                // Markers land one by one.
                Kind::Gap => position = log_end.min(position + item.count),
            }
            landed.push(item);
        }
        let acknowledged = self
            .items
            .iter()
            .filter(|item| item.state == State::Landed && item.kind == Kind::Batch);
        if let Some(end) = acknowledged.map(|item| item.base + item.count).max()
            && log_end < end
        {
            return Err(ProduceError::ConfirmedLost {
                partition: partition(),
                confirmed: end,
                actual: log_end,
            });
        }
        if position != log_end || landed.iter().any(|item| item.state == State::Waiting) {
            return Err(ProduceError::UnexpectedLogEnd {
                partition: partition(),
                confirmed: self.confirmed,
                actual: log_end,
            });
        }
        if let (Some(producer_id), Some(actual)) = (self.producer_id, last_sequence) {
            let expected = if sequence == 0 { i32::MAX } else { sequence - 1 };
            if actual != expected {
                return Err(ProduceError::SequenceMismatch {
                    partition: partition(),
                    log_end,
                    producer_id,
                    expected,
                    actual,
                });
            }
        }
        Ok(landed)
    }

    /// Goes on at `log_end`, which [`examine`](Self::examine) has found good and whose operations have been compared.
    pub(super) fn resume(&mut self, log_end: i64, confirmed: &mut Vec<Item<T>>) {
        if self.phase != Phase::Settling {
            return;
        }
        while let Some(item) = self.items.front_mut() {
            if item.base + item.count > log_end {
                if item.kind == Kind::Gap && item.base < log_end {
                    item.count -= log_end - item.base;
                    item.base = log_end;
                }
                break;
            }
            if item.kind == Kind::Batch {
                self.confirmed_sequence = advance(self.confirmed_sequence, item.count);
            }
            confirmed.extend(self.items.pop_front());
        }
        for item in &mut self.items {
            item.state = State::Waiting;
        }
        if log_end > self.confirmed {
            self.strikes = 0;
        }
        self.confirmed = log_end;
        self.proven = false;
        self.may_land_late = false;
        self.phase = Phase::Flowing;
    }

    /// Ends it with an error.
    pub(super) fn fail(&mut self, error: ProduceError) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Failed;
            self.error = Some(error);
        }
    }

    /// Forgets what is queued, after an error.
    pub(super) fn discard(&mut self) {
        self.items.clear();
    }

    fn stop(&mut self, cause: String) {
        self.last_trouble = Some(cause);
        if self.phase == Phase::Flowing {
            self.phase = Phase::Draining;
        }
    }

    /// Takes off the front what is surely in the log: batches that landed, and gaps with such a batch behind them.
    fn confirm(&mut self, confirmed: &mut Vec<Item<T>>) {
        if self.phase != Phase::Flowing {
            return;
        }
        let landed = self
            .items
            .iter()
            .take_while(|item| item.state == State::Landed)
            .enumerate();
        let batch = landed.filter(|(_, item)| item.kind == Kind::Batch).last();
        let Some(count) = batch.map(|(index, _)| index + 1) else {
            return;
        };
        for item in self.items.drain(..count) {
            self.confirmed = item.base + item.count;
            if item.kind == Kind::Batch {
                self.confirmed_sequence = advance(self.confirmed_sequence, item.count);
            }
            confirmed.push(item);
        }
        self.strikes = 0;
    }
}

/// The sequence number `count` records after `sequence`: they start again at 0 after 2^31 - 1.
fn advance(sequence: i32, count: i64) -> i32 {
    ((i64::from(sequence) + count) & i64::from(i32::MAX)) as i32
}
