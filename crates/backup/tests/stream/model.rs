//! Any set of overlapping, interleaved, duplicated, conflicting and backward objects against an oracle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kafka_restore_backup::stream::{OnConflict, StreamErrorKind};
use proptest::prelude::*;

use crate::support::{Backup, Boxing, Choppy, Outcome, Record, csv, options, record};

/// One object of the model.
#[derive(Clone, Debug)]
struct Object {
    /// How far its name's offset lies below its first one.
    lower: i64,
    last_modified: i64,
    /// Offsets and variants in the order of the file.
    records: Vec<(i64, u8)>,
}

fn start(object: &Object) -> i64 {
    let lowest = object
        .records
        .iter()
        .map(|(offset, _)| *offset)
        .min()
        .unwrap_or(0);
    (lowest - object.lower).max(0)
}

/// Records in any order, with repeats and now and then another content.
fn any_order() -> impl Strategy<Value = Vec<(i64, u8)>> {
    let variant = prop_oneof![60 => Just(0u8), 1 => Just(1u8)];
    (
        0..80i64,
        prop::collection::vec((0..30i64, variant), 1..25),
        any::<bool>(),
    )
        .prop_map(|(base, mut records, sorted)| {
            if sorted {
                records.sort();
            }
            records.iter_mut().for_each(|(offset, _)| *offset += base);
            records
        })
}

/// Ascending records, and perhaps one or two tries at writing a batch again behind them, each going on where
/// the one before ended.
fn replayed() -> impl Strategy<Value = Vec<(i64, u8)>> {
    let replays = prop::collection::vec((any::<prop::sample::Index>(), 0..12usize), 0..3);
    (
        0..80i64,
        prop::collection::vec(prop_oneof![4 => Just(1i64), 1 => 1..4i64], 2..30),
        replays,
    )
        .prop_map(|(base, steps, replays)| {
            let offsets: Vec<i64> = steps
                .iter()
                .scan(base, |offset, step| {
                    *offset += step;
                    Some(*offset)
                })
                .collect();
            let mut until = offsets.len() / 2 + 1;
            let mut records: Vec<(i64, u8)> = offsets[..until].iter().map(|offset| (*offset, 0)).collect();
            for (from, more) in replays {
                let from = from.index(until);
                until = (until + more).min(offsets.len());
                records.extend(offsets[from..until].iter().map(|offset| (*offset, 0)));
            }
            records
        })
}

fn backup_of(records: impl Strategy<Value = Vec<(i64, u8)>>) -> impl Strategy<Value = Vec<Object>> {
    let object = (0..6i64, 0..5i64, records).prop_map(|(lower, last_modified, records)| Object {
        lower,
        last_modified,
        records,
    });
    prop::collection::vec(object, 1..8)
}

/// What has to come out.
struct Expected {
    records: Vec<Record>,
    conflict_at: Option<i64>,
    /// Records that fall away for another of the same offset.
    dropped: u64,
    gaps: u64,
}

fn expected(objects: &[Object], policy: OnConflict, from: Option<i64>, to: Option<i64>) -> Expected {
    // The order of the list: start offset, time, key; the key ends in the number of the object.
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|number| (start(&objects[*number]), objects[*number].last_modified, *number));
    let mut by_offset: BTreeMap<i64, Vec<(i64, usize, usize, u8)>> = BTreeMap::new();
    for (index, number) in order.iter().enumerate() {
        for (place, (offset, variant)) in objects[*number].records.iter().enumerate() {
            if from.is_none_or(|from| *offset >= from) && to.is_none_or(|to| *offset <= to) {
                let seen = (objects[*number].last_modified, index, place, *variant);
                by_offset.entry(*offset).or_default().push(seen);
            }
        }
    }
    let mut expected = Expected {
        records: Vec::new(),
        conflict_at: None,
        dropped: 0,
        gaps: 0,
    };
    let mut last = from.map(|from| from - 1);
    for (offset, seen) in by_offset {
        let differ = seen.iter().any(|(.., variant)| *variant != seen[0].3);
        if differ && policy == OnConflict::Fail {
            expected.conflict_at = Some(offset);
            break;
        }
        let chosen = match policy {
            OnConflict::Newest => {
                let (newest, object, ..) = seen
                    .iter()
                    .max_by_key(|(time, index, ..)| (*time, *index))
                    .unwrap();
                seen.iter()
                    .find(|(time, index, ..)| (time, index) == (newest, object))
            }
            _ => seen.iter().min(),
        };
        expected.records.push(record(offset, chosen.unwrap().3));
        expected.dropped += seen.len() as u64 - 1;
        expected.gaps += u64::from(last.is_some_and(|last| offset > last + 1));
        last = Some(offset);
    }
    expected
}

#[derive(Clone, Debug)]
struct Reading {
    policy: OnConflict,
    from: Option<i64>,
    to: Option<i64>,
    block_bytes: usize,
    /// Records are packed into boxes of so many bytes; those of another content are not, or are.
    packing: Option<(usize, bool)>,
    seed: u64,
}

fn reading(block_bytes: impl Strategy<Value = usize>) -> impl Strategy<Value = Reading> {
    let policy = prop_oneof![
        Just(OnConflict::Fail),
        Just(OnConflict::Newest),
        Just(OnConflict::First)
    ];
    (
        policy,
        prop::option::of(0..120i64),
        prop::option::of(0..120i64),
        block_bytes,
        prop::option::of((1..400usize, any::<bool>())),
        any::<u64>(),
    )
        .prop_map(|(policy, from, to, block_bytes, packing, seed)| Reading {
            policy,
            from,
            to,
            block_bytes,
            packing,
            seed,
        })
}

fn read(objects: &[Object], reading: &Reading) -> Outcome {
    let mut backup = Backup::default();
    for (number, object) in objects.iter().enumerate() {
        let records: Vec<Record> = object
            .records
            .iter()
            .map(|(offset, variant)| record(*offset, *variant))
            .collect();
        backup.add(
            start(object),
            &format!("-{number}"),
            csv(&records),
            object.last_modified,
        );
    }
    let mut options = options();
    options.on_conflict = reading.policy;
    options.from_offset = reading.from;
    options.to_offset = reading.to;
    options.block_bytes = reading.block_bytes;
    if let Some((bytes, refuses)) = reading.packing {
        options.packing = Some(Arc::new(Boxing {
            bytes,
            refused: refuses.then_some(b'1'),
        }));
    }
    let store = Arc::new(Choppy {
        inner: backup.store.clone(),
        random: Mutex::new(fastrand::Rng::with_seed(reading.seed)),
        breaks: 10,
        longest_chunk: 40,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(backup.read_through(store, options, 8 << 20))
}

fn compare(objects: &[Object], reading: &Reading) -> Result<(), TestCaseError> {
    let expected = expected(objects, reading.policy, reading.from, reading.to);
    let outcome = read(objects, reading);
    prop_assert_eq!(&outcome.records, &expected.records);
    match (&outcome.error, expected.conflict_at) {
        (None, None) => {
            let statistics = &outcome.statistics;
            if reading.to.is_none() {
                prop_assert_eq!(
                    statistics.duplicates + statistics.conflicting_records,
                    expected.dropped
                );
            }
            prop_assert_eq!(statistics.gaps.count, expected.gaps);
        }
        (Some(error), Some(offset)) => match &error.kind {
            StreamErrorKind::Conflict(conflict) => prop_assert_eq!(conflict.offset, offset),
            _ => prop_assert!(false, "{}", error),
        },
        (error, conflict) => prop_assert!(false, "{:?} instead of {:?}", error, conflict),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Objects that fit into one block each may hold anything in any order.
    #[test]
    fn objects_in_any_order(objects in backup_of(any_order()), reading in reading(Just(1 << 20))) {
        compare(&objects, &reading)?;
    }

    /// Blocks of a few records: replays inside an object lie across blocks.
    #[test]
    fn replays_across_blocks(objects in backup_of(replayed()), reading in reading(1..600usize)) {
        compare(&objects, &reading)?;
    }
}
