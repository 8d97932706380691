//! The machine against a small model of a broker: any interleaving of lost answers, late landings, refusals,
//! forgotten producers and foreign writers must end in the right log or in an error.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use record::TopicPartition;

use super::error::ProduceError;
use super::machine::{Item, Kind, Machine, Outcome};

const MARKER: u32 = u32::MAX;
const FOREIGN: u32 = u32::MAX - 1;
const CONNECTIONS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Send,
    /// The broker carries out the next request and answers.
    Process,
    /// It refuses the next request with this code.
    Refuse(i16),
    /// It carries out the next request and answers with this code all the same.
    AppendThen(i16),
    /// It carries out the next request (of a gap: part of it), then the connection breaks; what is behind it on the
    /// way may still arrive.
    ProcessThenBreak(usize),
    Break,
    /// A request of a broken connection arrives.
    Late,
    /// A request of a broken connection is lost.
    LateLost,
    /// The broker forgets the producer.
    Forget,
    Foreign,
    Settle,
    /// What comes next is to go over this connection.
    Move(usize),
}

fn steps(foreign: bool, forget: bool) -> impl Strategy<Value = Vec<Step>> {
    let mut choices = vec![
        (12, Just(Step::Send).boxed()),
        (8, Just(Step::Process).boxed()),
        (
            2,
            proptest::sample::select(&[19_i16, 6, 3, 89][..])
                .prop_map(Step::Refuse)
                .boxed(),
        ),
        (
            2,
            proptest::sample::select(&[7_i16, 20, 6][..])
                .prop_map(Step::AppendThen)
                .boxed(),
        ),
        (2, (0_usize..4).prop_map(Step::ProcessThenBreak).boxed()),
        (2, Just(Step::Break).boxed()),
        (2, Just(Step::Late).boxed()),
        (1, Just(Step::LateLost).boxed()),
        (4, Just(Step::Settle).boxed()),
        (2, (0..CONNECTIONS).prop_map(Step::Move).boxed()),
    ];
    if forget {
        choices.push((1, Just(Step::Forget).boxed()));
    }
    if foreign {
        choices.push((1, Just(Step::Foreign).boxed()));
    }
    let step = proptest::strategy::Union::new_weighted(choices);
    vec(step, 0..80)
}

/// Steps of a world without trouble.
fn moves() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send),
        2 => Just(Step::Process),
        1 => Just(Step::Settle),
        2 => (0..CONNECTIONS).prop_map(Step::Move),
    ];
    vec(step, 0..80)
}

#[derive(Clone)]
struct Request {
    base: i64,
    sequence: i32,
    kind: Kind,
    contents: Vec<u32>,
}

struct World {
    machine: Machine<Vec<u32>>,
    idempotent: bool,
    log: Vec<u32>,
    last_sequence: Option<i32>,
    connections: [VecDeque<Request>; CONNECTIONS],
    /// The connection over which the next operation is to go.
    place: usize,
    late: VecDeque<Request>,
}

impl World {
    fn new(operations: &[(Kind, usize)], idempotent: bool) -> (Self, Vec<u32>) {
        let producer = idempotent.then_some(1);
        let mut machine = Machine::new(TopicPartition::new("t", 0), 0, 0, producer, 5);
        let mut wanted = Vec::new();
        for (index, (kind, count)) in operations.iter().enumerate() {
            let contents = match kind {
                Kind::Batch => (0..*count).map(|record| (index * 100 + record) as u32).collect(),
                Kind::Gap => vec![MARKER; *count],
            };
            wanted.extend_from_slice(&contents);
            machine.push(*kind, *count as i64, contents);
        }
        let world = Self {
            machine,
            idempotent,
            log: Vec::new(),
            last_sequence: None,
            connections: Default::default(),
            place: 0,
            late: VecDeque::new(),
        };
        (world, wanted)
    }

    /// What a broker does with a request: the code 45, or the base offset.
    fn append(&mut self, request: &Request, most: usize) -> Result<i64, i16> {
        if request.kind == Kind::Batch && self.idempotent {
            if self
                .last_sequence
                .is_some_and(|last| request.sequence != last + 1)
            {
                return Err(45);
            }
            self.last_sequence = Some(request.sequence + request.contents.len() as i32 - 1);
        }
        let base = self.log.len() as i64;
        self.log.extend(request.contents.iter().take(most));
        Ok(base)
    }

    fn resolve(&mut self, base: i64, outcome: Outcome) {
        self.machine.resolve(base, outcome, &mut Vec::new());
    }

    fn answer(&mut self, request: &Request, result: Result<i64, i16>) {
        let outcome = match (result, request.kind) {
            (Ok(base), Kind::Batch) => Outcome::Landed(Some(base)),
            (Ok(_), Kind::Gap) => Outcome::Landed(None),
            (Err(code), _) => Outcome::Code(code, None),
        };
        self.resolve(request.base, outcome);
    }

    /// The next request that the broker sees. Of several connections the last one is the fastest.
    fn arrive(&mut self) -> Option<Request> {
        self.connections.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    fn break_connection(&mut self) {
        for request in std::mem::take(&mut self.connections).into_iter().flatten() {
            self.resolve(request.base, Outcome::NoAnswer("broken".to_owned()));
            self.late.push_back(request);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send => {
                if let Some(Item {
                    base,
                    sequence,
                    kind,
                    payload,
                    count,
                    ..
                }) = self
                    .machine
                    .next()
                    .filter(|_| self.machine.may_go_over(self.place as u64))
                {
                    let request = Request {
                        base: *base,
                        sequence: *sequence,
                        kind: *kind,
                        contents: payload[..*count as usize].to_vec(),
                    };
                    self.connections[self.place].push_back(request);
                    self.machine.sent(self.place as u64);
                }
            }
            Step::Process => {
                if let Some(request) = self.arrive() {
                    let result = self.append(&request, usize::MAX);
                    self.answer(&request, result);
                }
            }
            Step::Refuse(code) => {
                if let Some(request) = self.arrive() {
                    self.answer(&request, Err(*code));
                }
            }
            Step::AppendThen(code) => {
                if let Some(request) = self.arrive() {
                    let result = self.append(&request, usize::MAX).and(Err(*code));
                    self.answer(&request, result);
                }
            }
            Step::ProcessThenBreak(most) => {
                if let Some(request) = self.arrive() {
                    let most = if request.kind == Kind::Gap {
                        *most
                    } else {
                        usize::MAX
                    };
                    let _ = self.append(&request, most);
                    self.resolve(request.base, Outcome::NoAnswer("cut".to_owned()));
                    self.break_connection();
                }
            }
            Step::Break => self.break_connection(),
            Step::Late => {
                if let Some(request) = self.late.pop_front() {
                    let _ = self.append(&request, usize::MAX);
                }
            }
            Step::LateLost => {
                self.late.pop_front();
            }
            Step::Forget => self.last_sequence = None,
            Step::Foreign => self.log.push(FOREIGN),
            Step::Settle => self.settle(),
            Step::Move(place) => self.place = *place,
        }
    }

    fn settle(&mut self) {
        if !self.machine.wants_settling() {
            return;
        }
        if self.machine.begin_settling() {
            // The quiet time: what is under way arrives, and only then is the log end believed.
            while !self.late.is_empty() {
                self.step(&Step::Late);
            }
        }
        let log_end = self.log.len() as i64;
        let mut position = self.machine.confirmed() as usize;
        let verdict = self
            .machine
            .examine(log_end, self.last_sequence.filter(|_| self.idempotent))
            .and_then(|items| {
                for item in items {
                    for content in &item.payload[..item.count as usize] {
                        match self.log.get(position) {
                            Some(there) if there == content => position += 1,
                            None if item.kind == Kind::Gap => {}
                            _ => {
                                return Err(ProduceError::ForeignRecord {
                                    partition: TopicPartition::new("t", 0),
                                    offset: position as i64,
                                });
                            }
                        }
                    }
                }
                Ok(())
            });
        match verdict {
            Ok(()) => self.machine.resume(log_end, &mut Vec::new()),
            Err(error) => self.machine.fail(error),
        }
    }

    /// Without any more trouble, until there is nothing left to do.
    fn run_to_the_end(&mut self) {
        for _ in 0..1000 {
            if self.machine.error().is_some() || !self.machine.is_busy() {
                return;
            }
            self.step(&Step::Send);
            self.step(&Step::Process);
            self.step(&Step::Settle);
        }
        panic!("the machine hangs");
    }
}

fn operations() -> impl Strategy<Value = Vec<(Kind, usize)>> {
    vec(
        (
            prop_oneof![3 => Just(Kind::Batch), 1 => Just(Kind::Gap)],
            1_usize..4,
        ),
        1..12,
    )
}

fn batches_only() -> impl Strategy<Value = Vec<(Kind, usize)>> {
    vec((Just(Kind::Batch), 1_usize..4), 1..12)
}

fn run(operations: &[(Kind, usize)], steps: &[Step], idempotent: bool) -> (World, Vec<u32>) {
    let (mut world, wanted) = World::new(operations, idempotent);
    for step in steps {
        world.step(step);
        check_confirmed(&world, &wanted);
    }
    world.run_to_the_end();
    check_confirmed(&world, &wanted);
    (world, wanted)
}

/// What is called confirmed is in the log, at its place.
fn check_confirmed(world: &World, wanted: &[u32]) {
    let confirmed = world.machine.confirmed() as usize;
    assert_eq!(world.log.get(..confirmed), wanted.get(..confirmed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Where nobody else writes and brokers remember the producer, every trouble is overcome.
    #[test]
    fn trouble_alone_never_stops_it(operations in batches_only(), steps in steps(false, false)) {
        let (world, wanted) = run(&operations, &steps, true);
        prop_assert_eq!(world.machine.error(), None);
        prop_assert_eq!(world.log, wanted);
    }

    /// A partition that changes its connection meets no trouble by that, however much is in flight.
    #[test]
    fn moving_is_no_trouble(operations in operations(), steps in moves()) {
        let (world, wanted) = run(&operations, &steps, true);
        prop_assert_eq!(world.machine.error(), None);
        prop_assert_eq!(world.machine.last_trouble(), None);
        prop_assert_eq!(world.log, wanted);
    }

    /// Without sequence numbers too: then one batch is in flight at a time.
    #[test]
    fn no_identity_needs_no_luck(operations in batches_only(), steps in steps(false, false)) {
        let (world, wanted) = run(&operations, &steps, false);
        prop_assert_eq!(world.machine.error(), None);
        prop_assert_eq!(world.log, wanted);
    }

    /// With everything at once: the right log or an error, never a wrong log in silence.
    #[test]
    fn never_wrong_in_silence(operations in operations(), steps in steps(true, true), idempotent: bool) {
        let (world, wanted) = run(&operations, &steps, idempotent);
        if world.machine.error().is_none() {
            // What a foreign writer put behind the end after the last confirmation is not ours to see.
            prop_assert_eq!(&world.log[..wanted.len()], &wanted[..]);
        }
    }
}

#[test]
fn a_second_batch_never_takes_the_place_of_a_refused_first_one() {
    let steps = [Step::Send, Step::Send, Step::Refuse(3), Step::Process];
    let (world, wanted) = run(&[(Kind::Batch, 2), (Kind::Batch, 2)], &steps, true);
    assert_eq!(world.machine.error(), None);
    assert_eq!(world.log, wanted);
}

#[test]
fn a_foreign_record_behind_a_lost_answer_is_found() {
    let steps = [
        Step::Send,
        Step::Break,
        Step::LateLost,
        Step::Foreign,
        Step::Foreign,
        Step::Settle,
    ];
    let (world, _) = run(&[(Kind::Batch, 2)], &steps, true);
    assert!(matches!(
        world.machine.error(),
        Some(ProduceError::ForeignRecord { offset: 0, .. })
    ));
}

#[test]
fn a_foreign_record_between_batches_is_an_unexpected_base() {
    let steps = [
        Step::Send,
        Step::Process,
        Step::Foreign,
        Step::Send,
        Step::Process,
    ];
    let (world, _) = run(&[(Kind::Batch, 2), (Kind::Batch, 1)], &steps, true);
    assert!(matches!(
        world.machine.error(),
        Some(ProduceError::UnexpectedBase {
            expected: 2,
            actual: 3,
            ..
        })
    ));
    assert_eq!(world.machine.confirmed(), 2);
}

#[test]
fn a_dead_programs_batch_is_noticed_by_the_log_end() {
    // The first batch is refused with 45, as the broker knows a later sequence: something landed in between.
    let (mut world, _) = World::new(&[(Kind::Batch, 2)], true);
    world.last_sequence = Some(7);
    world.log.push(FOREIGN);
    world.run_to_the_end();
    assert!(matches!(
        world.machine.error(),
        Some(ProduceError::UnexpectedLogEnd {
            confirmed: 0,
            actual: 1,
            ..
        })
    ));
}

#[test]
fn a_batch_that_the_broker_cannot_take_ends_after_three_tries() {
    let (mut world, _) = World::new(&[(Kind::Batch, 2), (Kind::Batch, 2)], true);
    for _ in 0..3 {
        world.step(&Step::Send);
        world.step(&Step::Refuse(-1));
        world.settle();
    }
    assert!(matches!(
        world.machine.error(),
        Some(ProduceError::Refused { offset: 0, .. })
    ));
}

#[test]
fn sequences_start_again_after_the_largest_number() {
    let mut machine = Machine::new(TopicPartition::new("t", 0), 10, i32::MAX - 1, Some(1), 5);
    for _ in 0..3 {
        machine.push(Kind::Batch, 2, ());
    }
    let mut seen = Vec::new();
    while let Some(item) = machine.next() {
        seen.push((item.base, item.sequence));
        let base = item.base;
        machine.sent(0);
        machine.resolve(base, Outcome::Landed(Some(base)), &mut Vec::new());
    }
    assert_eq!(seen, [(10, i32::MAX - 1), (12, 0), (14, 2)]);
    assert_eq!(machine.confirmed(), 16);
}

#[test]
fn lost_records_are_told_from_foreign_ones() {
    let mut machine = Machine::new(TopicPartition::new("t", 0), 10, 0, None, 5);
    machine.push(Kind::Batch, 2, ());
    machine.sent(0);
    machine.resolve(10, Outcome::NoAnswer(String::new()), &mut Vec::new());
    assert!(machine.wants_settling());
    assert!(machine.begin_settling());
    assert!(matches!(
        machine.examine(9, None),
        Err(ProduceError::ConfirmedLost { actual: 9, .. })
    ));
    assert!(matches!(
        machine.examine(11, None),
        Err(ProduceError::UnexpectedLogEnd { .. })
    ));
    assert!(matches!(
        machine.examine(13, None),
        Err(ProduceError::UnexpectedLogEnd { .. })
    ));
    assert_eq!(machine.examine(10, None).unwrap().len(), 0);
    assert_eq!(machine.examine(12, None).unwrap().len(), 1);
}
