//! Runs that die, brokers that die, and others who write: the log ends up as if nothing had happened, or the run stops
//! and says why.
//!
//! Whatever happened, the judge is librdkafka: every record at its offset, none lost, none twice.

use std::time::{Duration, Instant};

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::proxy::Fault;
use testkit::record::TruthRecord;

use crate::backups::{Backup, Running, Shape, assert_holds, broker, ends, record, until};

/// How often the program is killed in each test of this kind; a soak raises it.
const KILLS: u32 = 12;

/// Small batches, so that a run takes long enough to be killed in its middle.
const SLOW_TOPIC: &[(&str, &str)] = &[("max.message.bytes", "4000")];

/// A backup that takes a while.
const LONG: Shape = Shape {
    partitions: 3,
    records: 20_000,
    per_object: 2_000,
    first: 0,
    gap_every: 0,
    value_bytes: 60,
};

/// Random numbers that differ between runs of the tests, and are told where one fails.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .subsec_nanos();
        Self(u64::from(seed) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Kills restores of `backup` at random moments until [`KILLS`] of them were killed, each time going on at once, and
/// compares whenever one gets to its end. Gives how many kills hit a log in the middle of its growth.
///
/// `pace` (payload bytes per second) makes a run long enough to be killed in.
fn kill_and_go_on(broker: &Broker, backup: &Backup, mode: &str, pace: &str, expected: &[TruthRecord]) -> u32 {
    let (bootstrap, topic) = (broker.bootstrap(), backup.topic.as_str());
    let slowly = ["--offsets", mode, "--progress", "none", "--rate-limit", pace];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let records = backup.records.len() as i64;
    let mut dice = Dice::new();
    let (mut kills, mut inside, mut round) = (0, 0, 0);
    loop {
        let target = format!("{topic}-{round}");
        consumer::create_topic(&broker.internal_bootstrap(), &target, LONG.partitions, SLOW_TOPIC).unwrap();
        let rename = format!("{topic}={target}");
        let arguments = [&arguments[..], &["--rename", &rename]].concat();
        loop {
            let mut run = Running::start(&backup.environment, "run.log", &arguments);
            if kills < KILLS {
                // The moment is what is random here: there is nothing to wait for.
                let moment = Instant::now() + Duration::from_millis(50 + dice.below(3_000));
                while run.ended().is_none() && Instant::now() < moment {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            if kills < KILLS && run.ended().is_none() {
                run.kill9();
                kills += 1;
                let sum: i64 = ends(broker, &target).iter().sum();
                inside += u32::from(sum > 0 && sum < records);
                continue;
            }
            assert_eq!(run.wait(), 0, "round {round}, {kills} kills: {}", run.said());
            break;
        }
        let expected = crate::backups::renamed(expected, &target);
        assert_holds(broker, &target, &expected);
        if kills >= KILLS {
            return inside;
        }
        round += 1;
    }
}

#[test]
fn killed_at_any_moment_contiguous_offsets() {
    let backup = Backup::new("killed-map", LONG);
    let inside = kill_and_go_on(broker(), &backup, "map", "1200kB", &backup.contiguous());
    assert!(
        inside >= KILLS / 4,
        "only {inside} of {KILLS} kills came in the middle"
    );
}

#[test]
fn killed_at_any_moment_original_offsets() {
    let backup = Backup::new(
        "killed-exact",
        Shape {
            first: 3_000,
            gap_every: 1_500,
            ..LONG
        },
    );
    let inside = kill_and_go_on(broker(), &backup, "exact", "1200kB", &backup.records);
    assert!(
        inside >= KILLS / 4,
        "only {inside} of {KILLS} kills came in the middle"
    );
}

/// The dead run's last requests arrive while the next one is looking already.
#[test]
fn killed_while_its_requests_are_on_the_wire() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    broker
        .proxy(0)
        .set(Fault::DelayRequests(Duration::from_millis(40)));
    let backup = Backup::new(
        "wire",
        Shape {
            records: 5_000,
            ..LONG
        },
    );
    let inside = kill_and_go_on(&broker, &backup, "map", "300kB", &backup.contiguous());
    assert!(
        inside >= KILLS / 4,
        "only {inside} of {KILLS} kills came in the middle"
    );
}

#[test]
fn a_broker_that_is_killed_and_comes_back() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
    let backup = Backup::new("broker-killed", LONG);
    consumer::create_topic(&broker.internal_bootstrap(), "broker-killed", 3, SLOW_TOPIC).unwrap();
    let bootstrap = broker.bootstrap();
    let arguments = backup.arguments(&bootstrap, &["--offsets", "map", "--progress", "none"]);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    for _ in 0..2 {
        let before: i64 = ends(&broker, "broker-killed").iter().sum();
        until("progress", || {
            ends(&broker, "broker-killed").iter().sum::<i64>() > before || run.ended().is_some()
        });
        broker.kill9(0).unwrap();
        broker.restart(0).unwrap();
    }
    assert_eq!(run.wait(), 0, "{}", run.said());
    assert_holds(&broker, "broker-killed", &backup.contiguous());
}

#[test]
fn leaders_move_and_replicas_are_missing() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).nodes(3).start().unwrap();
    let backup = Backup::new("moving", LONG);
    let configs = [SLOW_TOPIC, &[("min.insync.replicas", "2")]].concat();
    consumer::create_topic(&broker.internal_bootstrap(), "moving", 3, &configs).unwrap();
    let bootstrap = broker.bootstrap();
    let arguments = backup.arguments(&bootstrap, &["--offsets", "map", "--progress", "none"]);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    let grows = |broker: &Broker, run: &mut Running| {
        let before: i64 = ends(broker, "moving").iter().sum();
        until("progress", || {
            ends(broker, "moving").iter().sum::<i64>() > before || run.ended().is_some()
        });
    };
    // Leaders move twice: away from a broker that dies, and away from one that leaves in order.
    grows(&broker, &mut run);
    broker.kill9(0).unwrap();
    grows(&broker, &mut run);
    broker.restart(0).unwrap();
    grows(&broker, &mut run);
    broker.restart(1).unwrap();
    // With two frozen brokers nothing can be confirmed; the quorum waits as well and goes on afterwards.
    broker.pause(1).unwrap();
    broker.pause(2).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    broker.resume(1).unwrap();
    broker.resume(2).unwrap();
    assert_eq!(run.wait(), 0, "{}", run.said());
    assert_holds(&broker, "moving", &backup.contiguous());
}

#[test]
fn another_producer_in_the_middle_is_noticed() {
    let backup = Backup::new("foreign", LONG);
    consumer::create_topic(&broker().internal_bootstrap(), "foreign", 3, SLOW_TOPIC).unwrap();
    let bootstrap = broker().bootstrap();
    // Slow enough for a stranger to come in between.
    let slowly = ["--offsets", "map", "--progress", "none", "--rate-limit", "500kB"];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    until("a beginning", || ends(broker(), "foreign")[1] > 0);
    let stranger = record("foreign", 1, 0, 10);
    consumer::produce(&broker().internal_bootstrap(), std::slice::from_ref(&stranger)).unwrap();
    assert_eq!(run.wait(), 1, "{}", run.said());
    let said = run.said();
    for words in [
        "foreign-1: failed",
        "another program",
        "2 partitions",
        "foreign-1",
    ] {
        assert!(words == "2 partitions" || said.contains(words), "{words}: {said}");
    }
    // The partition holds a beginning of the backup, the stranger, and at most what was in flight behind it.
    let found = consumer::read_topic(&broker().internal_bootstrap(), "foreign").unwrap();
    let of = |partition: i32| -> Vec<TruthRecord> {
        found
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect()
    };
    let (expected, found_there) = (backup.partition(1), of(1));
    let at = found_there
        .iter()
        .position(|record| record.value == stranger.value)
        .unwrap();
    assert!(found_there.len() < expected.len());
    for (index, (found, expected)) in found_there[..at].iter().zip(&expected).enumerate() {
        assert_eq!((&found.value, found.offset), (&expected.value, index as i64));
    }
    assert_eq!(
        (of(0).len(), of(2).len()),
        (20_000, 20_000),
        "the other partitions go on"
    );
    // And the next run sees it before it writes anything.
    let output = backup.restore(&["--offsets", "map", "--progress", "none", "--verify-existing"]);
    crate::backups::assert_says(
        &output,
        1,
        &["foreign-1 does not hold a beginning of this backup"],
    );
    assert_eq!(ends(broker(), "foreign")[1], found_there.len() as i64);
}

#[test]
fn of_two_runs_at_once_one_wins() {
    let backup = Backup::new(
        "twice",
        Shape {
            partitions: 1,
            ..LONG
        },
    );
    consumer::create_topic(&broker().internal_bootstrap(), "twice", 1, SLOW_TOPIC).unwrap();
    let bootstrap = broker().bootstrap();
    let arguments = backup.arguments(&bootstrap, &["--offsets", "map", "--progress", "none"]);
    let mut one = Running::start(&backup.environment, "one.log", &arguments);
    until("a beginning", || ends(broker(), "twice")[0] > 0);
    let mut other = Running::start(&backup.environment, "other.log", &arguments);
    let statuses = [one.wait(), other.wait()];
    let said = format!("{}\n{}", one.said(), other.said());
    // Where both are stopped by each other, nothing is wrong in the log either, and a third run ends it.
    assert!(
        statuses.contains(&1) || statuses == [0, 0],
        "{statuses:?}: {said}"
    );
    if statuses.contains(&1) {
        assert!(
            ["another program", "another run", "a newer run"]
                .iter()
                .any(|words| said.contains(words)),
            "{statuses:?}: {said}"
        );
    }
    if !statuses.contains(&0) {
        let found = consumer::read_topic(&broker().internal_bootstrap(), "twice").unwrap();
        let expected = backup.contiguous();
        assert!(found.len() <= expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(
                (&found.value, found.offset),
                (&expected.value, expected.offset),
                "{said}"
            );
        }
        let output = backup.restore(&["--offsets", "map", "--progress", "none"]);
        assert_eq!(output.status.code(), Some(0), "{}", crate::backups::talk(&output));
    }
    assert_holds(broker(), "twice", &backup.contiguous());
}
