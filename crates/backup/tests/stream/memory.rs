//! The budget holds whatever the objects look like.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use kafka_restore_backup::stream::{PartitionStream, StreamErrorKind};

use crate::support::{Backup, Choppy, Record, all_given_back, context, csv, options, partition, read_all};

/// Records with values of `length` bytes.
fn large(offsets: impl IntoIterator<Item = i64>, length: usize) -> Vec<Record> {
    offsets
        .into_iter()
        .map(|offset| Record {
            offset,
            timestamp: offset,
            value: [offset.to_string().into_bytes(), vec![b'v'; length]].concat(),
        })
        .collect()
}

fn gzip(bytes: Vec<u8>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads without keeping anything; gives the number of records and the most memory used.
async fn measure(backup: &Backup, memory: usize) -> (u64, usize) {
    let context = context(backup.store.clone(), memory);
    let mut stream = PartitionStream::new(&context, partition(), backup.objects(), options());
    let mut last = -1;
    while let Some(block) = stream.next().await.unwrap() {
        for record in block.iter() {
            assert_eq!(record.offset, last + 1);
            last = record.offset;
        }
    }
    let records = stream.statistics().records;
    drop(stream);
    all_given_back(&context).await;
    (records, context.budget.high_water())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_interleaved_objects() {
    // 40 objects of 500 KiB that all start at 0, each with every fortieth record: 20 MB in a budget of 16 MiB,
    // which a block of the usual size for each would not fit.
    let memory = 16 << 20;
    for wrap in [|bytes| bytes, gzip] {
        let mut backup = Backup::default();
        for object in 0..40 {
            let records = large((0..400).map(|n| n * 40 + object), 1_000);
            backup.add(0, &format!("-{object}"), wrap(csv(&records)), 0);
        }
        let (records, most) = measure(&backup, memory).await;
        assert_eq!(records, 16_000);
        assert!(most <= memory, "{most} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_large_object_and_many_tiny_ones() {
    let memory = 4 << 20;
    let mut backup = Backup::default();
    backup.add(0, "", csv(&large(0..10_000, 1_500)), 0);
    let (records, most) = measure(&backup, memory).await;
    assert_eq!(records, 10_000);
    assert!(most <= memory, "{most} bytes");

    let mut backup = Backup::default();
    for object in 0..3_000 {
        backup.add(object * 5, "", csv(&large(object * 5..object * 5 + 5, 50)), 0);
    }
    let (records, most) = measure(&backup, memory).await;
    assert_eq!(records, 15_000);
    assert!(most <= memory, "{most} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_partitions_that_all_read_ahead() {
    let memory = 16 << 20;
    let mut backup = Backup::default();
    for object in 0..8 {
        backup.add(
            object * 200,
            "",
            csv(&large(object * 200..object * 200 + 200, 1_000)),
            0,
        );
    }
    let context = context(backup.store.clone(), memory);
    assert_eq!(context.budget.partitions_at_once(), 32);
    let streams: Vec<_> = (0..32)
        .map(|_| PartitionStream::new(&context, partition(), backup.objects(), options()))
        .map(|mut stream| {
            tokio::spawn(async move {
                let mut records = 0;
                while let Some(block) = stream.next().await.unwrap() {
                    records += block.len();
                }
                records
            })
        })
        .collect();
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 1_600);
    }
    assert!(
        context.budget.high_water() <= memory,
        "{}",
        context.budget.high_water()
    );
    all_given_back(&context).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_large_merges_take_turns() {
    let memory = 8 << 20;
    let mut backup = Backup::default();
    for object in 0..24 {
        backup.add(
            0,
            &format!("-{object}"),
            csv(&large((0..300).map(|n| n * 24 + object), 1_000)),
            0,
        );
    }
    let context = context(backup.store.clone(), memory);
    let streams: Vec<_> = (0..3)
        .map(|_| PartitionStream::new(&context, partition(), backup.objects(), options()))
        .map(|stream| tokio::spawn(read_all(stream)))
        .collect();
    for stream in streams {
        assert_eq!(stream.await.unwrap().complete().records.len(), 7_200);
    }
    assert!(
        context.budget.high_water() <= memory,
        "{}",
        context.budget.high_water()
    );
}

#[tokio::test]
async fn a_merge_that_can_never_fit_says_so() {
    let mut backup = Backup::default();
    for object in 0..60 {
        backup.add(
            0,
            &format!("-{object}"),
            csv(&large((0..100).map(|n| n * 60 + object), 1_000)),
            0,
        );
    }
    let outcome = backup
        .read_through(backup.store.clone(), options(), 4 << 20)
        .await;
    let error = outcome.error.unwrap();
    assert!(
        matches!(error.kind, StreamErrorKind::Memory { objects: 60, .. }),
        "{error}"
    );
    assert!(outcome.records.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_larger_than_the_whole_budget_costs_memory_and_no_standstill() {
    let mut backup = Backup::default();
    backup.add(0, "", csv(&large(0..3, 9 << 20)), 0);
    backup.add(3, "", csv(&large(3..100, 10)), 0);
    let (records, _) = measure(&backup, 4 << 20).await;
    assert_eq!(records, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_break_at_any_place_change_nothing() {
    let mut backup = Backup::default();
    for object in 0..6 {
        backup.add(
            object * 300,
            "",
            csv(&large(object * 300..object * 300 + 400, 700)),
            0,
        );
    }
    let expected = backup.read(options()).await.complete();
    for seed in 0..4 {
        let store = Choppy {
            inner: backup.store.clone(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            breaks: 25,
            longest_chunk: 9_000,
        };
        let outcome = backup
            .read_through(Arc::new(store), options(), 4 << 20)
            .await
            .complete();
        assert_eq!(outcome.records, expected.records);
        assert!(outcome.statistics.requests > expected.statistics.requests);
        assert_eq!(outcome.statistics.duplicates, expected.statistics.duplicates);
    }
}

#[tokio::test]
async fn blocks_of_a_few_records_take_little_memory_while_their_user_waits_for_more() {
    let mut backup = Backup::default();
    for object in 0..2_000 {
        backup.add(object * 5, "", csv(&large(object * 5..object * 5 + 5, 100)), 0);
    }
    let context = context(backup.store.clone(), 64 << 20);
    let mut stream = PartitionStream::new(&context, partition(), backup.objects(), options());
    let mut kept = Vec::new();
    while let Some(block) = stream.next().await.unwrap() {
        kept.push(block);
    }
    drop(stream);
    let records: usize = kept.iter().map(|block| block.len()).sum();
    let held: usize = kept.iter().map(|block| block.memory_bytes()).sum();
    let used: usize = kept.iter().map(|block| block.used_bytes()).sum();
    assert_eq!(records, 10_000);
    assert!(
        held <= 4 * used,
        "{} blocks hold {held} bytes for {used}",
        kept.len()
    );
    drop(kept);
    all_given_back(&context).await;
}
