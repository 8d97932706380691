//! The rules one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kafka_restore_backup::format::{Decoding, Field, MissingTimestamp};
use kafka_restore_backup::storage::faults::{Fault, Faulty, Occasion};
use kafka_restore_backup::storage::{StorageErrorKind, Store};
use kafka_restore_backup::stream::packing::Packing;
use kafka_restore_backup::stream::{OnConflict, PartitionStream, StreamErrorKind, Suspicion};

use crate::support::{
    Backup, Boxing, all_given_back, context, csv, options, partition, read_all, record, records,
};

#[tokio::test]
async fn objects_that_do_not_overlap_pass_through_as_they_are() {
    let mut backup = Backup::default();
    for number in 0..20 {
        backup.add(
            number * 500,
            "",
            csv(&records(number * 500..number * 500 + 500)),
            0,
        );
    }
    let mut options = options();
    options.block_bytes = 8 << 10;
    let outcome = backup.read(options).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter(0..10_000));
    let statistics = outcome.statistics;
    assert_eq!((statistics.objects_total, statistics.objects_done), (20, 20));
    assert_eq!((statistics.duplicates, statistics.overlapping_objects), (0, 0));
    assert_eq!(statistics.gaps.count, 0);
    assert_eq!(
        (statistics.first_offset, statistics.last_offset),
        (Some(0), Some(9_999))
    );
    assert_eq!(
        (statistics.first_time, statistics.last_time),
        (Some(1_000_000), Some(1_009_999))
    );
    assert_eq!(statistics.requests, 20);
    assert_eq!(statistics.stored_bytes, backup.objects().bytes());
}

#[tokio::test]
async fn records_are_packed_where_objects_do_not_overlap_and_offsets_are_consecutive() {
    let packed = async |from: Option<i64>, offsets: &dyn Fn(i64) -> Vec<i64>| {
        let mut backup = Backup::default();
        for number in 0..4 {
            backup.add(number * 500, "", csv(&records(offsets(number * 500))), 0);
        }
        let mut options = options();
        options.block_bytes = 1 << 10;
        options.from_offset = from;
        let boxing = Boxing {
            bytes: 1 << 10,
            refused: None,
        };
        options.packing = Some(Arc::new(boxing));
        let outcome = backup.read(options).await.complete();
        let expected = (0..4).flat_map(|number| offsets(number * 500));
        let expected: Vec<i64> = expected
            .filter(|offset| from.is_none_or(|from| *offset >= from))
            .collect();
        assert_eq!(outcome.offsets(), expected);
        outcome.packed
    };
    let whole = |start: i64| Vec::from_iter(start..start + 500);
    assert_eq!(packed(None, &whole).await, 2_000);
    // One pack is opened, as the records begin in its middle.
    let from = packed(Some(777), &whole).await;
    assert!((1_100..1_223).contains(&from), "{from}");
    // An object is packed up to its first gap.
    let gap = |start: i64| {
        (start..start + 500)
            .filter(|offset| offset % 500 != 250)
            .collect()
    };
    let before = packed(None, &gap).await;
    assert!((800..1_000).contains(&before), "{before}");
}

#[tokio::test]
async fn tiny_objects_are_put_together_into_blocks() {
    let mut backup = Backup::default();
    for number in 0..300 {
        backup.add(number * 2, "", csv(&records([number * 2, number * 2 + 1])), 0);
    }
    let outcome = backup.read(options()).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter(0..600));
    assert!(outcome.blocks <= 300);
}

#[tokio::test]
async fn gaps_name_their_neighbours() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records([0, 1, 4])), 0);
    backup.add(10, "", csv(&records([12, 13])), 0);
    let mut wanted = options();
    wanted.block_bytes = 1;
    for options in [options(), wanted] {
        let gaps = backup.read(options).await.complete().statistics.gaps;
        assert_eq!((gaps.count, gaps.offsets, gaps.suspicious), (2, 9, 0));
        assert_eq!((gaps.list[0].first, gaps.list[0].last), (2, 3));
        assert_eq!((gaps.list[1].first, gaps.list[1].last), (5, 11));
        assert_eq!(gaps.list[1].object_before.as_deref(), Some("t-0-0"));
        assert_eq!(gaps.list[1].object_behind, "t-0-10");
    }
    let mut from = options();
    from.from_offset = Some(8);
    let gaps = backup.read(from).await.complete().statistics.gaps;
    assert_eq!((gaps.list[0].first, gaps.list[0].last), (8, 11));
    assert_eq!(gaps.list[0].object_before, None);
}

#[tokio::test]
async fn offsets_and_times_are_cut_out() {
    let mut backup = Backup::default();
    for number in 0..10 {
        backup.add(
            number * 100,
            "",
            csv(&records(number * 100..number * 100 + 100)),
            0,
        );
    }
    let mut wanted = options();
    wanted.from_offset = Some(250);
    wanted.to_offset = Some(449);
    wanted.from_time = Some(1_000_300);
    wanted.to_time = Some(1_000_420);
    let outcome = backup.read(wanted).await.complete();
    assert_eq!(outcome.offsets(), Vec::from_iter(300..=420));
    assert_eq!(outcome.statistics.outside_times, 50 + 29);
    assert_eq!(outcome.statistics.gaps.count, 0, "what was left out is no gap");
    assert_eq!(outcome.statistics.objects_not_needed, 5);
}

#[tokio::test]
async fn a_conflict_stops_the_partition_and_describes_both_sides() {
    let mut backup = Backup::default();
    backup.add(0, "-a", csv(&records(0..10)), 1_000);
    let mut other = records(5..15);
    other[2] = record(7, 9);
    other[2].timestamp = 77;
    backup.add(5, "-b", csv(&other), 2_000);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..7));
    let error = outcome.error.unwrap();
    assert!(!error.retryable);
    assert_eq!(error.last_offset, Some(6));
    assert_eq!(
        error.to_string(),
        "t-0: two different records with offset 7: one with timestamp 1000007, key null, value 4 bytes, headers 0, in \
         t-0-0-a modified at 1000; the other with timestamp 77, key null, value 4 bytes, headers 0, in t-0-5-b modified \
         at 2000; the last record before has offset 6"
    );
    for (policy, variant) in [(OnConflict::Newest, 9), (OnConflict::First, 0)] {
        let mut wanted = options();
        wanted.on_conflict = policy;
        let outcome = backup.read(wanted).await.complete();
        assert_eq!(outcome.offsets(), Vec::from_iter(0..15));
        assert_eq!(outcome.records[7].value, record(7, variant).value);
        let statistics = outcome.statistics;
        assert_eq!(
            (
                statistics.conflicts,
                statistics.conflicting_records,
                statistics.duplicates
            ),
            (1, 1, 4)
        );
        assert!(matches!(
            statistics.suspicions.list[0],
            Suspicion::Conflict { offset: 7, .. }
        ));
    }
}

#[tokio::test]
async fn records_of_two_topics_under_one_name_are_refused() {
    // As a router leaves them: one file, one offset space, two histories.
    let mixed = [record(5, 0), record(2, 1), record(6, 1), record(5, 1)];
    let mut backup = Backup::default();
    backup.add(2, "", csv(&mixed), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), [2]);
    assert!(
        matches!(outcome.error.unwrap().kind, StreamErrorKind::Conflict(conflict) if conflict.offset == 5)
    );
    assert!(matches!(
        outcome.statistics.suspicions.list[0],
        Suspicion::OffsetsGoBack { .. }
    ));
}

#[tokio::test]
async fn a_late_record_that_was_never_given_is_an_error_and_stays_one_when_tried_again() {
    // 3 comes blocks behind 9 and nobody had it before.
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records([0, 1, 2, 4, 5, 6, 7, 8, 9, 3, 10])), 0);
    for from in [None, Some(9)] {
        let mut wanted = options();
        wanted.block_bytes = 1;
        wanted.from_offset = from;
        let outcome = backup.read(wanted).await;
        assert_eq!(outcome.records.last().unwrap().offset, 9);
        assert!(matches!(
            outcome.error.unwrap().kind,
            StreamErrorKind::OutOfOrder { offset: 3 }
        ));
    }
}

#[tokio::test]
async fn a_name_above_its_content_is_an_error_rather_than_a_loss() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    backup.add(20, "", csv(&records(8..30)), 0);
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..10));
    assert!(matches!(
        outcome.error.unwrap().kind,
        StreamErrorKind::OutOfOrder { offset: 8 }
    ));
}

#[tokio::test]
async fn a_replayed_batch_with_other_content_is_found_when_the_object_is_read_a_second_time() {
    let mut content = records(0..50);
    content.extend(records(20..60));
    content[60] = record(30, 5);
    let mut backup = Backup::default();
    backup.add(0, "", csv(&content), 0);
    let mut wanted = options();
    wanted.block_bytes = 100;
    let outcome = backup.read(wanted.clone()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..50));
    assert!(
        matches!(outcome.error.unwrap().kind, StreamErrorKind::Conflict(conflict) if conflict.offset == 30)
    );
    wanted.on_conflict = OnConflict::Newest;
    let outcome = backup.read(wanted).await.complete();
    assert_eq!(outcome.records, records(0..60));
    assert_eq!(
        (outcome.statistics.duplicates, outcome.statistics.conflicts),
        (29, 1)
    );
}

#[tokio::test]
async fn a_recreated_topic_shows_in_times() {
    let mut backup = Backup::default();
    let mut new = records(0..10);
    new.iter_mut().for_each(|record| record.timestamp += 1_000_000);
    backup.add(0, "", csv(&new), 9_000);
    backup.add(10, "", csv(&records(10..20)), 1_000);
    let outcome = backup.read(options()).await.complete();
    let expected = Suspicion::OlderBehind {
        before: "t-0-0".into(),
        behind: "t-0-10".into(),
    };
    assert_eq!(outcome.statistics.suspicions.list, [expected]);
}

#[tokio::test]
async fn a_vanished_object_is_named_after_the_records_before_it() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    let gone = backup.add(10, "", csv(&records(10..20)), 0);
    backup.add(20, "", csv(&records(20..30)), 0);
    backup.store.delete(&gone).await.unwrap();
    let outcome = backup.read(options()).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..10));
    let error = outcome.error.unwrap();
    assert!(matches!(error.kind, StreamErrorKind::Vanished) && error.object == gone);
    assert!(
        error.to_string().contains("t-0-10 was listed and is gone now"),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_that_refuses_is_an_error_that_says_whether_to_try_again() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..10)), 0);
    for retryable in [true, false] {
        let store = Faulty::new(backup.store.clone(), move |_| {
            let kind = StorageErrorKind::PermissionDenied;
            Some(Fault::Refuse { kind, retryable })
        });
        let outcome = backup.read_through(Arc::new(store), options(), 8 << 20).await;
        let error = outcome.error.unwrap();
        assert_eq!((error.retryable, outcome.records.len()), (retryable, 0));
        assert!(matches!(error.kind, StreamErrorKind::Storage(_)));
    }
}

/// An object of several ranges that is replaced before the range number `at` is asked for.
async fn replaced_by(new: Vec<u8>, at: u64, boxes: Option<usize>) -> crate::support::Outcome {
    let mut old = records(0..3_000);
    old.iter_mut().for_each(|record| record.value.resize(60, b'v'));
    let mut backup = Backup::default();
    let key = backup.add(0, "", csv(&old), 1_000);
    let beneath = backup.store.clone();
    let asked = AtomicU64::new(0);
    let store = Faulty::new(backup.store.clone(), move |occasion| {
        if matches!(occasion, Occasion::Get { .. }) && asked.fetch_add(1, Ordering::Relaxed) == at {
            beneath.insert(&key, new.clone(), 5_000);
        }
        None
    });
    let mut wanted = options();
    wanted.block_bytes = 2_000;
    wanted.packing = boxes.map(|bytes| Arc::new(Boxing { bytes, refused: None }) as Arc<dyn Packing>);
    // Ranges of 16 KiB.
    backup.read_through(Arc::new(store), wanted, 4 << 20).await
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_read_again_where_it_begins_the_same() {
    let mut same = records(0..3_500);
    same.iter_mut().for_each(|record| record.value.resize(60, b'v'));
    for at in [0, 1, 4] {
        // Boxes of several ranges: one is half full when the object turns out to be another.
        for boxes in [None, Some(3_000), Some(40_000)] {
            let outcome = replaced_by(csv(&same), at, boxes).await.complete();
            assert!(outcome.records == same, "replaced before request {at}, {boxes:?}");
            assert_eq!(
                (outcome.statistics.replaced_objects, outcome.statistics.duplicates),
                (1, 0)
            );
        }
    }
    let mut other = same.clone();
    other[3].value[0] = b'w';
    let outcome = replaced_by(csv(&other), 4, None).await;
    let error = outcome.error.unwrap();
    assert!(matches!(error.kind, StreamErrorKind::Replaced), "{error}");
    assert!(!outcome.records.is_empty() && outcome.records[..] == same[..outcome.records.len()]);
    // Shorter than what was read: also not the same.
    let outcome = replaced_by(csv(&same[..10]), 4, None).await;
    assert!(matches!(outcome.error.unwrap().kind, StreamErrorKind::Replaced));
}

#[tokio::test]
async fn a_stream_can_be_dropped_and_cancelled_at_any_time() {
    let mut backup = Backup::default();
    for number in 0..30 {
        backup.add(number * 50, "", csv(&records(number * 50..number * 50 + 80)), 0);
    }
    let context = context(backup.store.clone(), 4 << 20);
    let mut wanted = options();
    wanted.block_bytes = 500;
    // Polled once and dropped, again and again: nothing is lost.
    let mut stream = PartitionStream::new(&context, partition(), backup.objects(), wanted.clone());
    let mut offsets = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = stream.next() => next,
            () = tokio::task::yield_now() => continue,
        };
        match next.unwrap() {
            Some(block) => offsets.extend(block.iter().map(|record| record.offset)),
            None => break,
        }
    }
    assert_eq!(offsets, Vec::from_iter(0..1_530));
    drop(stream);
    let mut stream = PartitionStream::new(&context, partition(), backup.objects(), wanted.clone());
    let block = stream.next().await.unwrap().unwrap();
    drop(stream);
    drop(block);
    all_given_back(&context).await;
    let stream = PartitionStream::new(&context, partition(), backup.objects(), wanted);
    assert_eq!(read_all(stream).await.offsets(), Vec::from_iter(0..1_530));
}

#[tokio::test]
async fn records_without_a_timestamp_get_the_one_that_is_asked_for() {
    let lines = |offsets: std::ops::Range<i64>| {
        let lines: Vec<String> = offsets.map(|offset| format!("{offset},AAAA")).collect();
        lines.join("\n").into_bytes()
    };
    let mut backup = Backup::default();
    // The two share records: what they get must not make them differ.
    backup.add(0, "", lines(0..2_000), 7_000);
    backup.add(1_990, "", lines(1_990..2_005), 9_000);
    for (missing_timestamp, first, last) in [
        (MissingTimestamp::None, -1, -1),
        (MissingTimestamp::Object, 7_000, 9_000),
        (MissingTimestamp::At(5), 5, 5),
    ] {
        let mut options = options();
        options.decoding = Arc::new(Decoding {
            fields: Some(vec![Field::Offset, Field::Value]),
            missing_timestamp,
            ..Decoding::default()
        });
        let outcome = backup.read(options).await.complete();
        assert_eq!(outcome.offsets(), Vec::from_iter(0..2_005));
        let time = |index: usize| outcome.records[index].timestamp;
        assert_eq!((time(0), time(1_989), time(2_004)), (first, first, last));
        assert_eq!(outcome.statistics.duplicates, 10);
    }

    // Records that have one keep it.
    let mut backup = Backup::default();
    backup.add(0, "", csv(&records(0..5)), 7_000);
    let mut options = options();
    options.decoding = Arc::new(Decoding {
        missing_timestamp: MissingTimestamp::At(5),
        ..(*options.decoding).clone()
    });
    assert_eq!(backup.read(options).await.complete().records, records(0..5));
}
