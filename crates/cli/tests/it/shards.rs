//! Several processes that restore a backup together.

use testkit::consumer;

use crate::backups::{Backup, Running, Shape, assert_holds, assert_says, broker};

/// Partitions of different sizes would be split unevenly by number; here by number and by bytes is the same.
const FIVE: Shape = Shape {
    partitions: 5,
    ..Shape::SMALL
};

#[test]
fn two_shares_side_by_side_give_what_one_run_gives() {
    let backup = Backup::new("shared-out", FIVE);
    let bootstrap = broker().bootstrap();
    consumer::create_topic(
        &broker().internal_bootstrap(),
        "shared-out",
        5,
        &[("retention.ms", "-1")],
    )
    .unwrap();
    let share = |index: &str| {
        let more = ["--shard", index, "--offsets", "map"];
        Running::start(
            &backup.environment,
            &index.replace('/', "-"),
            &backup.arguments(&bootstrap, &more),
        )
    };
    let mut shares = [share("0/2"), share("1/2")];
    for running in &mut shares {
        assert_eq!(running.wait(), 0, "{}", running.said());
    }
    let digest = |said: String| -> String {
        let behind = said.split("show the split ").nth(1).map(str::to_owned);
        behind.map_or(said, |text| text.chars().take(8).collect())
    };
    assert_eq!(digest(shares[0].said()), digest(shares[1].said()));
    assert_holds(broker(), "shared-out", &backup.contiguous());
}

#[test]
fn a_share_without_a_place_is_refused_unless_kubernetes_says_it() {
    let mut backup = Backup::new("indexed-job", FIVE);
    let output = backup.restore(&["--shard", "1", "--offsets", "map"]);
    assert_says(&output, 2, &["JOB_COMPLETION_INDEX"]);
    backup.environment.set("JOB_COMPLETION_INDEX", "0");
    let output = backup.restore(&["--shard", "1", "--offsets", "map"]);
    assert_says(&output, 0, &[]);
    assert_holds(broker(), "indexed-job", &backup.contiguous());
}
