//! Brokers that go away for good: the run ends after its patience, and tells what was confirmed.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup::format::Decoding;
use backup::inventory::Selection;
use backup::layout::Layout;
use backup::storage::url::{StorageConfig, StoreKind};
use backup::stream::{OnBadRecord, OnConflict};
use kafka::config::ClientConfig;
use kafka_restore_restore::job::{Job, OffsetMode, RecordSelection, Resources, Source, Target};
use kafka_restore_restore::progress::Silent;
use kafka_restore_restore::report::Outcome;
use kafka_restore_restore::{execute, plan};
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use tokio_util::sync::CancellationToken;

/// Shorter than by default, so that nobody has to wait for it.
const PATIENCE: Duration = Duration::from_secs(4);
const RECORDS: i64 = 40_000;

/// csv objects of one partition, with a gap of one offset in the middle, the first record at offset 1 000.
fn write_backup(folder: &Path, topic: &str) {
    for object in 0..20 {
        let (mut lines, start) = (String::new(), 1_000 + object * RECORDS / 20);
        for offset in start..start + RECORDS / 20 {
            if offset != RECORDS / 2 {
                let _ = writeln!(
                    lines,
                    "a2V5,dmFsdWUgdmFsdWUgdmFsdWUgdmFsdWU=,{offset},{}",
                    1_425_427_200_000 + offset
                );
            }
        }
        std::fs::write(folder.join(format!("{topic}-0-{start}")), lines).unwrap();
    }
}

fn job(folder: &Path, bootstrap: &str, offsets: OffsetMode) -> Job {
    let mut storage = StorageConfig::new(StoreKind::Local);
    storage.path = Some(folder.to_path_buf());
    let mut cluster = ClientConfig::new(
        bootstrap
            .split(',')
            .map(|address| address.parse().unwrap())
            .collect(),
    );
    cluster.api_timeout = PATIENCE;
    let mut target = Target::new(cluster);
    target.offsets = offsets;
    target.patience = PATIENCE;
    Job {
        source: Source {
            store: backup::storage::open(&storage).unwrap(),
            layout: Layout::default_names(""),
            decoding: Decoding::default(),
            selection: Selection::all(),
            snapshots: String::new(),
            latest_state: false,
            records: RecordSelection::default(),
            on_conflict: OnConflict::Fail,
            on_bad_record: OnBadRecord::Fail,
            rejected: None,
        },
        target,
        resources: Resources::default(),
    }
}

fn log_end(broker: &Broker, topic: &str) -> i64 {
    consumer::watermarks(&broker.internal_bootstrap(), topic).unwrap()[0].1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_tells_what_was_confirmed() {
    for (topic, mode, first) in [
        ("gone-map", OffsetMode::Map, 0),
        ("gone-exact", OffsetMode::Exact, 1_000),
    ] {
        let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_backup(folder.path(), topic);
        // Small batches: the run lasts long enough to be caught in its middle.
        consumer::create_topic(
            &broker.internal_bootstrap(),
            topic,
            1,
            &[("max.message.bytes", "2000")],
        )
        .unwrap();
        let job = job(folder.path(), &broker.bootstrap(), mode);
        let plan = plan::plan(&job, &Silent).await.unwrap();
        let running = {
            let (job, plan) = (job.clone(), plan.clone());
            tokio::spawn(async move {
                execute::execute(&job, &plan, Arc::new(Silent), CancellationToken::new()).await
            })
        };
        // More than can be on its way at once: then some of it is confirmed.
        while log_end(&broker, topic) <= first + 2_000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        broker.kill9(0).unwrap();
        let report = running.await.unwrap().expect("a report, whatever happened");
        let partition = &report.topics[0].partitions[0];
        let Outcome::Failed { error, retriable } = &partition.outcome else {
            panic!("{mode:?}: {:?}", partition.outcome);
        };
        // What was being asked when the broker died differs, and so do the words.
        let words = ["nothing could be written", "cannot be reached", "did not answer"];
        let said = words.iter().any(|words| error.contains(words));
        assert!(*retriable && said, "{mode:?}: {error}");
        // What is reported stands in the log, and what may be more was never confirmed.
        broker.restart(0).unwrap();
        let end = log_end(&broker, topic);
        let told = partition.target_range.map_or(first, |(_, last)| last + 1);
        assert!(
            first < told && told <= end && end < RECORDS,
            "{mode:?}: told {told}, log end {end}"
        );

        let plan = plan::plan(&job, &Silent).await.unwrap();
        let report = execute::execute(&job, &plan, Arc::new(Silent), CancellationToken::new());
        let report = report.await.unwrap();
        assert!(report.is_complete(), "{mode:?}: {report:?}");
        let found = consumer::read_topic(&broker.internal_bootstrap(), topic).unwrap();
        let offsets: Vec<i64> = found
            .iter()
            .map(|record| record.timestamp - 1_425_427_200_000)
            .collect();
        let expected: Vec<i64> = (1_000..1_000 + RECORDS)
            .filter(|offset| *offset != RECORDS / 2)
            .collect();
        assert_eq!(offsets, expected, "{mode:?}");
        if mode == OffsetMode::Exact {
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(record, offset)| record.offset == offset)
            );
        }
    }
}
