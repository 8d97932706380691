//! Partial, damaged and empty objects.

use std::io;
use std::sync::{Arc, Mutex};

use kafka_restore_backup::stream::{OnBadRecord, RejectSink, RejectedRecord, StreamErrorKind};

use crate::support::{Backup, csv, options, records};

/// Object, bytes, and the offset of the record before.
type Kept = (String, Option<Vec<u8>>, Option<i64>);

/// Keeps what was rejected.
#[derive(Default)]
struct Rejects(Mutex<Vec<Kept>>);

impl RejectSink for Rejects {
    fn reject(&self, rejected: RejectedRecord<'_>) -> io::Result<()> {
        self.0.lock().unwrap().push((
            rejected.object.to_owned(),
            rejected.rejected.map(|rejected| rejected.bytes.clone()),
            rejected.after_offset,
        ));
        Ok(())
    }
}

/// Refuses to keep anything.
struct Full;

impl RejectSink for Full {
    fn reject(&self, _: RejectedRecord<'_>) -> io::Result<()> {
        Err(io::Error::other("the disk is full"))
    }
}

/// Records whose last one is cut.
fn cut(range: std::ops::Range<i64>) -> Vec<u8> {
    let mut bytes = csv(&records(range));
    bytes.extend_from_slice(b"\n99,10");
    bytes
}

#[tokio::test]
async fn a_partial_object_stops_the_partition_where_nobody_else_has_the_rest() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    backup.add(10, "", cut(10..15), 0);
    backup.add(20, "", csv(&records(20..30)), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..15));
    let error = outcome.error.unwrap();
    assert!(
        matches!(error.kind, StreamErrorKind::Partial { missing_from: 15, .. }),
        "{error}"
    );
    assert_eq!(
        (error.object.as_str(), error.line, error.last_offset),
        ("t-0-10", Some(6), Some(14))
    );

    let rejects = Arc::new(Rejects::default());
    let mut skipping = options();
    skipping.on_bad_record = OnBadRecord::Skip;
    skipping.rejected = Some(rejects.clone());
    let outcome = backup.read(skipping).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter((0..15).chain(20..30)));
    assert_eq!(outcome.statistics.rejected, 1);
    assert_eq!(outcome.statistics.gaps.list.len(), 1);
    assert!(outcome.statistics.gaps.list[0].suspicious);
    let kept = rejects.0.lock().unwrap();
    assert_eq!(
        (kept.len(), kept[0].0.as_str(), kept[0].2),
        (1, "t-0-10", Some(14))
    );
}

#[tokio::test]
async fn a_partial_object_is_salvaged_where_others_have_the_rest() {
    // The rest stands directly behind it, or in an object that reaches over its end.
    for other in [15..30, 12..30, 0..30] {
        let mut backup = Backup::default();
        backup.add(10, "-cut", cut(10..15), 0);
        backup.add(other.start, "", csv(&records(other.clone())), 1);
        let outcome = backup.read(options()).await.complete();
        assert_eq!(
            outcome.offsets(),
            Vec::from_iter(other.start.min(10)..30),
            "{other:?}"
        );
        assert_eq!(outcome.statistics.salvaged_objects, 1);
        assert_eq!(outcome.statistics.rejected, 0);
    }
    // An object that reaches over its end and has a gap of its own there has nothing to hide.
    let mut backup = Backup::default();
    backup.add(10, "-cut", cut(10..15), 0);
    backup.add(12, "", csv(&records((12..15).chain(17..30))), 1);
    let outcome = backup.read(options()).await.complete();
    assert_eq!(outcome.statistics.salvaged_objects, 1);
    assert!(outcome.statistics.gaps.list[0].suspicious);
}

/// jsonl with a newline between records, and one at the end where a record was to follow.
fn jsonl(range: std::ops::Range<i64>, partial: bool) -> Vec<u8> {
    let lines: Vec<String> = range
        .map(|offset| format!("{{\"key\":null,\"value\":\"AAAA\",\"offset\":{offset}}}"))
        .collect();
    let end = if partial { "\n" } else { "" };
    format!("{}{end}", lines.join("\n")).into_bytes()
}

#[tokio::test]
async fn a_newline_at_the_end_of_jsonl_marks_a_partial_object() {
    let mut options = options();
    options.decoding = std::sync::Arc::new(kafka_restore_backup::format::Decoding {
        format: Some(kafka_restore_backup::format::Format::Jsonl),
        ..Default::default()
    });
    let mut backup = Backup::default();
    backup.add(0, "", jsonl(0..10, false), 0);
    backup.add(10, "", jsonl(10..15, true), 0);
    let outcome = backup.read(options.clone()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..15));
    let error = outcome.error.unwrap();
    assert!(
        matches!(error.kind, StreamErrorKind::Partial { missing_from: 15, .. }) && error.object == "t-0-10",
        "{error}"
    );

    backup.add(15, "", jsonl(15..20, false), 0);
    let outcome = backup.read(options).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter(0..20));
    assert_eq!(outcome.statistics.salvaged_objects, 1);
    assert!(!outcome.statistics.gaps.suggest_loss());
}

#[tokio::test]
async fn a_partial_object_at_the_end_is_not_taken_for_the_end() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    backup.add(10, "", cut(10..15), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..15));
    assert!(matches!(
        outcome.error.unwrap().kind,
        StreamErrorKind::Partial { missing_from: 15, .. }
    ));
    // Behind what is wanted it does not matter.
    let mut wanted = options();
    wanted.to_offset = Some(14);
    assert_eq!(
        backup.read(wanted).await.complete().offsets(),
        Vec::from_iter(0..15)
    );
}

#[tokio::test]
async fn a_bad_record_stops_the_partition_or_is_stepped_over() {
    let mut bytes = csv(&records(10..15));
    bytes.extend_from_slice(b"\n15,100,**\n");
    bytes.extend_from_slice(&csv(&records(16..20)));
    let mut backup = Backup::default();
    backup.add(10, "", bytes, 0);
    backup.add(20, "", csv(&records(20..30)), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(10..15));
    let error = outcome.error.unwrap();
    assert!(matches!(error.kind, StreamErrorKind::Decode { .. }), "{error}");
    assert_eq!(
        (error.line, error.last_offset, error.retryable),
        (Some(6), Some(14), false)
    );

    let rejects = Arc::new(Rejects::default());
    let mut skipping = options();
    skipping.on_bad_record = OnBadRecord::Skip;
    skipping.rejected = Some(rejects.clone());
    let outcome = backup.read(skipping.clone()).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter((10..15).chain(16..30)));
    assert!(outcome.statistics.gaps.list[0].suspicious);
    let expected = ("t-0-10".to_owned(), Some(b"15,100,**\n".to_vec()), Some(14));
    assert_eq!(*rejects.0.lock().unwrap(), [expected]);

    skipping.rejected = Some(Arc::new(Full));
    let error = backup.read(skipping).await.error.unwrap();
    assert!(matches!(error.kind, StreamErrorKind::Reject(_)));
    assert!(error.to_string().contains("the disk is full"));
}

#[tokio::test]
async fn the_rest_of_an_object_that_cannot_be_read_on_is_counted_as_given_up() {
    // The magic of gzip and nothing sensible behind it.
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    backup.add(10, "", b"\x1f\x8b\x08\x00garbage garbage garbage".to_vec(), 0);
    backup.add(20, "", csv(&records(20..30)), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..10));
    let error = outcome.error.unwrap();
    let damaged = matches!(
        error.kind,
        StreamErrorKind::Container { .. } | StreamErrorKind::Partial { .. }
    );
    assert!(damaged && error.object == "t-0-10", "{error}");
    let mut skipping = options();
    skipping.on_bad_record = OnBadRecord::Skip;
    let outcome = backup.read(skipping).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter((0..10).chain(20..30)));
    assert_eq!(outcome.statistics.rejected, 1);
    assert!(outcome.statistics.gaps.list[0].suspicious);
}

#[tokio::test]
async fn empty_objects_are_counted_and_make_a_gap_suspicious() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    backup.add(10, "", Vec::new(), 0);
    backup.add(20, "", csv(&records(20..30)), 0);
    backup.add(30, "", csv(&records(32..40)), 0);
    let outcome = backup.read(options()).await.complete();
    let statistics = outcome.statistics;
    assert_eq!((statistics.empty_objects, statistics.objects_done), (1, 4));
    let suspicious: Vec<bool> = statistics.gaps.list.iter().map(|gap| gap.suspicious).collect();
    assert_eq!(suspicious, [true, false]);
}
