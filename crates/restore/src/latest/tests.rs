use std::collections::BTreeMap;

use backup::layout::NameTemplate;
use proptest::prelude::*;
use record::NO_TIMESTAMP;

use super::*;

/// Key, timestamp, offset, value.
type Row = (Option<&'static str>, i64, i64, &'static str);

fn block(rows: &[Row]) -> RecordBlock {
    let mut block = RecordBlock::new();
    for (key, timestamp, offset, value) in rows {
        let mut writer = block.append(*offset, *timestamp);
        if let Some(key) = key {
            writer.key(key.as_bytes());
        }
        writer.value(value.as_bytes());
        writer.finish();
    }
    block
}

/// Each row is an object of its own.
fn kept(rows: &[Row], names: &[Option<&str>], count: i32) -> (Vec<Vec<String>>, LatestState) {
    let mut keeper = Keeper::default();
    for (object, record) in block(rows).iter().enumerate() {
        let rank = Rank {
            timestamp: record.timestamp,
            offset: record.offset,
            last_modified: 0,
            object,
            position: 0,
        };
        let named = names.get(object).copied().flatten();
        keeper.keep(record, named.map(|name| name.as_bytes().to_vec()), rank, 10);
    }
    let (partitions, state) = keeper.finish(rows.len() as u64, 0, count);
    let texts = |chosen: &Chosen| {
        (chosen.chosen.records().collect::<Vec<_>>().iter())
            .map(|record| String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned())
            .collect()
    };
    (partitions.iter().map(texts).collect(), state)
}

#[test]
fn the_newest_of_each_key_stays_in_the_order_of_timestamps() {
    let rows = [
        (Some("a"), 30, 9, "a30"),
        (Some("b"), 20, 3, "b20"),
        (Some("a"), 10, 99, "a10"),
        // One timestamp: the offset decides.
        (Some("c"), 25, 1, "c old"),
        (Some("c"), 25, 2, "c25"),
        // No timestamp is older than any.
        (Some("b"), NO_TIMESTAMP, 50, "b none"),
    ];
    let (partitions, state) = kept(&rows, &[], 1);
    assert_eq!(partitions, [["b20", "c25", "a30"]]);
    assert_eq!((state.records, state.older, state.keyless), (3, 3, 0));
}

#[test]
fn records_without_a_key_all_stay_and_go_to_the_first_partition() {
    let (partitions, state) = kept(&[(None, 2, 0, "x"), (None, 1, 0, "y")], &[], 5);
    assert_eq!(partitions[0], ["y", "x"]);
    assert!(partitions[1..].iter().all(Vec::is_empty));
    assert_eq!((state.records, state.keyless), (2, 2));
}

#[test]
fn keys_that_were_not_stored_come_from_the_names() {
    let rows = [(None, 1, 0, "one"), (None, 2, 0, "two"), (None, 3, 0, "three")];
    let names = [Some("user-1"), Some("user-1"), Some("user-2")];
    let (partitions, state) = kept(&rows, &names, 1);
    assert_eq!(partitions, [["two", "three"]]);
    assert_eq!((state.named_keys, state.older, state.keyless), (3, 1, 0));
}

#[test]
fn what_a_name_says_of_a_key() {
    let layout = Layout::template(
        "b/",
        &NameTemplate::new("{{topic}}-{{key}}-{{start_offset}}").unwrap(),
    );
    let key = |name: &str| key_of_name(&layout, name).map(|key| String::from_utf8(key).unwrap());
    assert_eq!(
        key("b/users-user-1-{{start_offset}}").as_deref(),
        None,
        "which part is the topic?"
    );
    let layout = Layout::template("b/", &NameTemplate::new("{{key}}").unwrap());
    let key = |name: &str| key_of_name(&layout, name).map(|key| String::from_utf8(key).unwrap());
    assert_eq!(key("b/user-1").as_deref(), Some("user-1"));
    assert_eq!(key("b/null"), None);
    assert_eq!(key("b/[B@21a947fe"), None);
    assert_eq!(key("elsewhere"), None);
}

#[test]
fn the_memory_that_is_asked_for_is_enough() {
    assert_eq!(needed(100, 10, 1000), 25_000);
    assert_eq!(needed(100, 0, 1000), 250_000);
    assert_eq!(needed(usize::MAX, 1, usize::MAX), usize::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_objects_does_not_matter(
        mut rows in prop::collection::vec((0..6u8, 0..4i64, 0..4i64), 0..40),
        count in 1..5i32,
        turn in 0..40usize,
    ) {
        const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", ""];
        rows.sort_unstable();
        rows.dedup();
        // What is told of the object decides only where all else is equal, which `dedup` has ruled out.
        let of = |rows: &[(u8, i64, i64)]| {
            let mut keeper = Keeper::default();
            for (object, (key, timestamp, offset)) in rows.iter().enumerate() {
                let mut block = RecordBlock::new();
                let mut writer = block.append(*offset, *timestamp);
                writer.key(KEYS[usize::from(*key)].as_bytes());
                writer.finish();
                let rank = Rank { timestamp: *timestamp, offset: *offset, last_modified: 0, object, position: 0 };
                keeper.keep(block.get(0), None, rank, 1);
            }
            let (partitions, state) = keeper.finish(0, 0, count);
            let records: Vec<Vec<_>> = partitions.iter().map(|chosen| {
                chosen.chosen.records().collect::<Vec<_>>().iter()
                    .map(|record| (record.timestamp, record.key.map(<[u8]>::to_vec))).collect()
            }).collect();
            (records, state)
        };
        let expected = of(&rows);
        let mut latest = BTreeMap::new();
        for (key, timestamp, offset) in &rows {
            let newest = latest.entry(KEYS[usize::from(*key)]).or_insert((*timestamp, *offset));
            *newest = (*newest).max((*timestamp, *offset));
        }
        prop_assert_eq!(expected.1.records, latest.len() as u64);
        for (partition, records) in (0..).zip(&expected.0) {
            for (timestamp, key) in records {
                let key = key.clone().unwrap();
                prop_assert_eq!(partition_of_key(&key, count), partition);
                prop_assert_eq!(latest[std::str::from_utf8(&key).unwrap()].0, *timestamp);
            }
        }
        let middle = turn.min(rows.len());
        rows.rotate_left(middle);
        prop_assert_eq!(of(&rows), expected);
    }
}
