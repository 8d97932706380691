//! The program killed at random moments, some two hundred times, and started again at once: the log ends up as if
//! nothing had happened.
//!
//! Several restores at once, each with a backup and topics of its own: most of a kill is waiting. The judge is librdkafka:
//! every record at its offset, none lost, none twice.

use std::ops::Range;
use std::time::{Duration, Instant};

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::proxy::Fault;

use crate::backups::{Backup, Running, Shape, assert_holds, broker, ends};

/// How often the program is killed in each test. `cargo xtask soak` says a larger number in TEST_KILLS.
fn kills(usual: u32) -> u32 {
    std::env::var("TEST_KILLS").map_or(usual, |text| text.parse().expect("TEST_KILLS is a number"))
}

/// Restores at the same time.
const LANES: u32 = 4;

/// Small batches, so that a run takes long enough to be killed in its middle.
const SLOW_TOPIC: &[(&str, &str)] = &[("max.message.bytes", "4000")];

/// A backup that takes a while at the pace of the tests.
const SHAPE: Shape = Shape {
    partitions: 2,
    records: 6_000,
    per_object: 1_000,
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

/// What is restored, and when it is killed.
struct Way {
    shape: Shape,
    /// Of offsets.
    mode: &'static str,
    /// Payload bytes per second, so that a run is long enough to be killed in.
    pace: &'static str,
    /// Milliseconds from a run's start to its end.
    moments: Range<u64>,
}

/// Kills restores of a backup at random moments until `most` of them were killed, each time going on at once, and
/// compares whenever one gets to its end. Gives how many kills hit a log in the middle of its growth.
fn kill_and_go_on(broker: &Broker, topic: &str, way: &Way, most: u32) -> u32 {
    let Way {
        shape,
        mode,
        pace,
        moments,
    } = way;
    let backup = Backup::new(topic, *shape);
    let expected = if *mode == "map" {
        backup.contiguous()
    } else {
        backup.records.clone()
    };
    let last: i64 = (0..shape.partitions)
        .filter_map(|partition| {
            let of = expected.iter().rfind(|record| record.partition == partition);
            of.map(|record| record.offset + 1)
        })
        .sum();
    let bootstrap = broker.bootstrap();
    let slowly = ["--offsets", mode, "--progress", "none", "--rate-limit", pace];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let mut dice = Dice::new();
    let (mut kills, mut inside, mut round) = (0, 0, 0);
    loop {
        let target = format!("{topic}-{round}");
        consumer::create_topic(
            &broker.internal_bootstrap(),
            &target,
            shape.partitions,
            SLOW_TOPIC,
        )
        .unwrap();
        let rename = format!("{topic}={target}");
        let arguments = [&arguments[..], &["--rename", &rename]].concat();
        loop {
            let mut run = Running::start(&backup.environment, "run.log", &arguments);
            if kills < most {
                // The moment is what is random here: there is nothing to wait for.
                let moment = Instant::now()
                    + Duration::from_millis(moments.start + dice.below(moments.end - moments.start));
                while run.ended().is_none() && Instant::now() < moment {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            if kills < most && run.ended().is_none() {
                run.kill9();
                kills += 1;
                let sum: i64 = ends(broker, &target).iter().sum();
                inside += u32::from(sum > 0 && sum < last);
                continue;
            }
            assert_eq!(run.wait(), 0, "round {round}, {kills} kills: {}", run.said());
            break;
        }
        assert_holds(broker, &target, &crate::backups::renamed(&expected, &target));
        if kills >= most {
            return inside;
        }
        round += 1;
    }
}

/// The same in several lanes at once.
fn kill_in_lanes(broker: &Broker, topic: &str, way: &Way, usual: u32) {
    let kills = kills(usual);
    let each = kills.div_ceil(LANES);
    let inside: u32 = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let topic = format!("{topic}-{lane}");
                scope.spawn(move || kill_and_go_on(broker, &topic, way, each))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert!(
        inside >= kills / 4,
        "only {inside} of {kills} kills came in the middle"
    );
}

#[test]
fn killed_at_any_moment_contiguous_offsets() {
    let way = Way {
        shape: SHAPE,
        mode: "map",
        pace: "300kB",
        moments: 50..3_000,
    };
    kill_in_lanes(broker(), "killed-map", &way, 72);
}

#[test]
fn killed_at_any_moment_original_offsets() {
    let way = Way {
        shape: Shape {
            first: 3_000,
            gap_every: 500,
            ..SHAPE
        },
        mode: "exact",
        pace: "300kB",
        moments: 50..3_000,
    };
    kill_in_lanes(broker(), "killed-exact", &way, 72);
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
    let way = Way {
        shape: Shape {
            gap_every: 700,
            ..SHAPE
        },
        mode: "exact",
        pace: "150kB",
        // Every question takes its time, and a run asks many before it writes.
        moments: 1_000..7_000,
    };
    kill_in_lanes(&broker, "wire", &way, 56);
}
