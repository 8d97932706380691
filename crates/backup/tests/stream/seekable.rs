//! Parquet objects in a stream: whole or by ranges, among others, damaged, and within the budget.

use std::sync::Arc;

use kafka_restore_backup::format::Decoding;
use kafka_restore_backup::stream::{OnBadRecord, StreamErrorKind, StreamOptions};

use crate::support::{Backup, Choppy, Record, csv, options, records};

/// Offsets, timestamps and values as Parquet, so many rows in a group.
fn parquet(records: &[Record], rows_in_group: usize) -> Vec<u8> {
    use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    let columns: [(&str, ArrayRef); 3] = [
        (
            "offset",
            Arc::new(Int64Array::from_iter_values(
                records.iter().map(|record| record.offset),
            )),
        ),
        (
            "timestamp",
            Arc::new(Int64Array::from_iter_values(
                records.iter().map(|record| record.timestamp),
            )),
        ),
        (
            "value",
            Arc::new(BinaryArray::from_iter_values(
                records.iter().map(|record| &record.value),
            )),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows_in_group))
        .set_dictionary_enabled(false)
        .build();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn any_format() -> StreamOptions {
    StreamOptions::new(Arc::new(Decoding {
        format: None,
        ..(*options().decoding).clone()
    }))
}

/// Records with values that do not shrink.
fn large(offsets: std::ops::Range<i64>, bytes: usize) -> Vec<Record> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut list = records(offsets);
    for record in &mut list {
        record.value = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
    }
    list
}

#[tokio::test]
async fn small_and_large_objects_among_others() {
    let small = records(0..50);
    let other = records(50..60);
    let big = large(60..3000, 2000);
    let mut backup = Backup::default();
    backup.add(0, "", parquet(&small, 20), 1);
    backup.add(50, "", csv(&other), 2);
    let bytes = parquet(&big, 500);
    assert!(bytes.len() > 4 << 20);
    backup.add(60, "", bytes, 3);
    let outcome = backup.read(any_format()).await.complete();
    assert_eq!(outcome.records, [small, other, big].concat());
    assert!(outcome.statistics.requests >= 10, "{:?}", outcome.statistics);
    let formats = &outcome.statistics.notes.formats;
    assert_eq!(formats.iter().map(|(_, objects)| objects).sum::<u64>(), 3);
}

#[tokio::test]
async fn bodies_that_break_are_asked_for_again() {
    let big = large(0..2000, 1500);
    let mut backup = Backup::default();
    backup.add(0, "", parquet(&big, 300), 1);
    let store = Arc::new(Choppy {
        inner: backup.store.clone(),
        random: fastrand::Rng::with_seed(3).into(),
        breaks: 5,
        longest_chunk: 100_000,
    });
    let outcome = backup.read_through(store, any_format(), 8 << 20).await.complete();
    assert_eq!(outcome.records, big);
}

#[tokio::test]
async fn overlapping_objects_are_merged() {
    let mut backup = Backup::default();
    backup.add(0, "", parquet(&records(0..400), 100), 1);
    backup.add(200, "", parquet(&records(200..600), 150), 2);
    let outcome = backup.read(any_format()).await.complete();
    assert_eq!(outcome.records, records(0..600));
    assert_eq!(outcome.statistics.duplicates, 200);
}

#[tokio::test]
async fn damage_names_the_object() {
    let mut backup = Backup::default();
    backup.add(0, "", parquet(&records(0..10), 100), 1);
    let mut cut = parquet(&records(10..20), 100);
    cut.truncate(cut.len() - 1);
    let key = backup.add(10, "", cut, 2);
    backup.add(20, "", parquet(&records(20..30), 100), 3);
    let outcome = backup.read(any_format()).await;
    assert_eq!(outcome.records, records(0..10));
    let error = outcome.error.expect("an error");
    assert!(matches!(error.kind, StreamErrorKind::Partial { .. }), "{error:?}");
    assert!(error.to_string().contains(&key), "{error}");
    let skipping = StreamOptions {
        on_bad_record: OnBadRecord::Skip,
        ..any_format()
    };
    let outcome = backup.read(skipping).await.complete();
    assert_eq!(outcome.records, [records(0..10), records(20..30)].concat());
}

#[tokio::test]
async fn a_row_group_beyond_the_budget_is_an_error_that_says_what_to_do() {
    let mut backup = Backup::default();
    backup.add(0, "", parquet(&large(0..6000, 1000), 10_000), 1);
    let outcome = backup
        .read_through(backup.store.clone(), any_format(), 4 << 20)
        .await;
    let error = outcome.error.expect("an error").to_string();
    assert!(error.contains("allow more memory"), "{error}");
}
