//! Records behind those of others: the same command again, at any moment, adds nothing twice.

use testkit::consumer;
use testkit::record::TruthRecord;

use crate::backups::{Backup, Running, Shape, assert_says, broker, ends, record, until};

/// Creates the backup's topic with three partitions and `count` records of somebody else in each.
fn with_strangers(topic: &str, count: i64, configs: &[(&str, &str)]) {
    consumer::create_topic(&broker().internal_bootstrap(), topic, 3, configs).unwrap();
    strangers_write(topic, count);
}

fn strangers_write(topic: &str, count: i64) {
    let strangers: Vec<TruthRecord> = (0..3)
        .flat_map(|partition| (0..count).map(move |number| record(topic, partition, 5_000_000 + number, 10)))
        .collect();
    consumer::produce(&broker().internal_bootstrap(), &strangers).unwrap();
}

/// The backup's records behind `before` others in each partition.
fn behind(backup: &Backup, before: i64) -> Vec<TruthRecord> {
    let mut expected = backup.contiguous();
    for record in &mut expected {
        record.offset += before;
    }
    expected
}

/// What stands in a topic at the offsets `from .. to` of each partition.
fn between(topic: &str, from: i64, to: i64) -> Vec<TruthRecord> {
    let found = consumer::read_topic(&broker().internal_bootstrap(), topic).unwrap();
    found
        .into_iter()
        .filter(|record| (from..to).contains(&record.offset))
        .collect()
}

/// What is said where everything is there already.
const AGAIN: &[&str] = &["are not added again", "topics finish -t", "--forget"];

#[test]
fn a_complete_run_is_not_repeated() {
    let backup = Backup::new("once", Shape::SMALL);
    with_strangers("once", 7, &[]);
    let append = ["--append", "--progress", "none"];
    assert_says(&backup.restore(&append), 0, &["120 records restored"]);
    assert_eq!(ends(broker(), "once"), [47; 3]);
    assert_eq!(between("once", 7, 47), behind(&backup, 7));

    for more in [&[][..], &["--verify"]] {
        let output = backup.restore(&[&append[..], more].concat());
        assert_says(&output, 0, AGAIN);
        assert_eq!(ends(broker(), "once"), [47; 3]);
    }
    // Whatever is written behind them, and whether --append is said again or not.
    strangers_write("once", 3);
    for again in [&append[..], &["--offsets", "map", "--progress", "none"]] {
        assert_says(&backup.restore(again), 0, AGAIN);
        assert_eq!(ends(broker(), "once"), [50; 3]);
    }
    let bootstrap = broker().bootstrap();
    let plan = [&["plan"], &backup.places(&bootstrap)[..], &["--append"]].concat();
    assert_says(&backup.environment.run(&plan), 0, AGAIN);

    // Putting configurations back is no reason to forget; only --forget is.
    let finish = ["topics", "finish", "--bootstrap-server", &bootstrap, "-t", "once"];
    assert_says(&backup.environment.run(&finish), 0, &["its own already"]);
    assert_says(&backup.restore(&append), 0, AGAIN);
    assert_eq!(ends(broker(), "once"), [50; 3]);
    let forget = [&finish[..], &["--forget"]].concat();
    assert_says(&backup.environment.run(&forget), 0, &["forgotten"]);
    assert_says(&backup.restore(&append), 0, &["120 records restored"]);
    assert_eq!(ends(broker(), "once"), [90; 3]);
    assert_eq!(between("once", 50, 90), behind(&backup, 50));
    assert_says(&backup.restore(&append), 0, AGAIN);
    assert_eq!(ends(broker(), "once"), [90; 3]);
}

/// A crash behind the last confirmed record, before anybody is told.
#[test]
fn killed_when_everything_is_there() {
    let shape = Shape {
        records: 2_000,
        per_object: 500,
        ..Shape::SMALL
    };
    let backup = Backup::new("late-crash", shape);
    let bootstrap = broker().bootstrap();
    for round in 0..6 {
        let target = format!("late-crash-{round}");
        with_strangers(&target, 5, &[("max.message.bytes", "4000")]);
        let rename = format!("late-crash={target}");
        let more = ["--append", "--progress", "none", "--rename", &rename];
        let arguments = backup.arguments(&bootstrap, &more);
        let mut run = Running::start(&backup.environment, "run.log", &arguments);
        until("every record", || {
            ends(broker(), &target) == [2_005; 3] || run.ended().is_some()
        });
        // From the last record on, a little later each time.
        std::thread::sleep(std::time::Duration::from_millis(20 * round));
        run.kill9();
        for _ in 0..2 {
            assert_says(&backup.restore(&more), 0, &[]);
            assert_eq!(ends(broker(), &target), [2_005; 3], "round {round}");
        }
        let expected = crate::backups::renamed(&behind(&backup, 5), &target);
        assert_eq!(between(&target, 5, i64::MAX), expected);
    }
}

/// Somebody ends the restore in the middle with `topics finish`, and goes on the next day.
#[test]
fn ended_in_the_middle_and_gone_on() {
    let shape = Shape {
        records: 6_000,
        per_object: 1_000,
        ..Shape::SMALL
    };
    let backup = Backup::new("ended", shape);
    with_strangers(
        "ended",
        9,
        &[("max.message.bytes", "4000"), ("retention.bytes", "1000000000")],
    );
    let bootstrap = broker().bootstrap();
    let slowly = ["--append", "--progress", "none", "--rate-limit", "200kB"];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    until("progress", || {
        ends(broker(), "ended").iter().sum::<i64>() > 200 || run.ended().is_some()
    });
    assert_eq!(run.ended(), None, "{}", run.said());
    run.kill9();
    let finish = ["topics", "finish", "--bootstrap-server", &bootstrap];
    let output = backup.environment.run(&[&finish[..], &["-t", "ended"]].concat());
    assert_says(
        &output,
        0,
        &["has its own configuration back", "retention.bytes=1000000000"],
    );
    // Another restore does not come in between.
    let other = Backup::new("other", Shape::SMALL);
    let output = other.restore(&["--append", "--rename", "other=ended"]);
    assert_says(&output, 1, &["was not finished", "--forget"]);
    // A part of the partitions does not forget the others.
    let append = ["--append", "--progress", "none"];
    assert_says(
        &backup.restore(&[&append[..], &["--partition", "0"]].concat()),
        0,
        &[],
    );
    assert_says(&backup.restore(&append), 0, &[]);
    assert_eq!(ends(broker(), "ended"), [6_009; 3]);
    assert_eq!(between("ended", 9, i64::MAX), behind(&backup, 9));
    assert_says(&backup.restore(&append), 0, AGAIN);
    assert_says(
        &other.restore(&["--append", "--rename", "other=ended"]),
        0,
        &["120 records restored"],
    );
    assert_says(&backup.restore(&append), 0, AGAIN);
    assert_says(&other.restore(&["--append", "--rename", "other=ended"]), 0, AGAIN);
    assert_eq!(ends(broker(), "ended"), [6_049; 3]);
}

/// Two choices of one backup are two restores, each done once.
#[test]
fn parts_of_a_backup() {
    let backup = Backup::new("parts", Shape::SMALL);
    with_strangers("parts", 2, &[]);
    let first = ["--append", "--progress", "none", "--to-offset", "24"];
    let second = ["--append", "--progress", "none", "--from-offset", "25"];
    for _ in 0..2 {
        assert_says(&backup.restore(&first), 0, &[]);
        assert_says(&backup.restore(&second), 0, &[]);
        assert_eq!(ends(broker(), "parts"), [42; 3]);
    }
    assert_eq!(between("parts", 2, i64::MAX), behind(&backup, 2));
}

/// What the backup has got since comes behind, as long as nobody else's records stand in the way.
#[test]
fn a_backup_that_grows() {
    let backup = Backup::new("grows", Shape::SMALL);
    with_strangers("grows", 4, &[]);
    let append = ["--append", "--progress", "none"];
    assert_says(&backup.restore(&append), 0, &["120 records restored"]);
    let add = |first: i64| {
        let more: Vec<TruthRecord> = (first..first + 10)
            .map(|offset| record("grows", 1, offset, 10))
            .collect();
        let lines: String = more.iter().map(crate::backups::csv_line).collect();
        backup
            .environment
            .write(&format!("backup/grows-1-{first}"), &lines);
    };
    add(40);
    assert_says(&backup.restore(&append), 0, &["10 records restored"]);
    assert_says(&backup.restore(&append), 0, AGAIN);
    assert_eq!(ends(broker(), "grows"), [44, 54, 44]);
    strangers_write("grows", 1);
    assert_says(&backup.restore(&append), 0, AGAIN);
    add(50);
    let output = backup.restore(&append);
    assert_says(&output, 1, &["--append --partition 1 --from-offset 50"]);
    assert_eq!(ends(broker(), "grows"), [45, 55, 45]);
    let rest = [&append[..], &["--partition", "1", "--from-offset", "50"]].concat();
    for _ in 0..2 {
        assert_says(&backup.restore(&rest), 0, &[]);
        assert_eq!(ends(broker(), "grows"), [45, 65, 45]);
    }
}
