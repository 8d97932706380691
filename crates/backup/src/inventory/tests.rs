use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use proptest::prelude::*;

use super::*;
use crate::layout::{Generation, Layout, NameTemplate};
use crate::storage::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, StorageErrorKind, Store};

/// A store that can only be listed, and remembers with which prefixes.
#[derive(Debug)]
struct Listed {
    objects: Vec<ObjectMeta>,
    asked: Mutex<Vec<String>>,
    /// Listed in any order, it gives some objects and then says that it cannot.
    unordered: bool,
}

impl Listed {
    fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let mut objects: Vec<_> = keys
            .into_iter()
            .enumerate()
            .map(|(number, key)| ObjectMeta {
                key: key.into(),
                size: if key.ends_with('/') { 0 } else { 10 },
                last_modified: number as i64,
                version: None,
            })
            .collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            objects,
            asked: Mutex::default(),
            unordered: false,
        }
    }
}

#[async_trait]
impl Store for Listed {
    fn location(&self) -> &str {
        "mem://test"
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        self.asked.lock().unwrap().push(prefix.into());
        let found = self
            .objects
            .iter()
            .filter(move |object| object.key.starts_with(prefix));
        futures::stream::iter(found.cloned().map(Ok)).boxed()
    }

    fn list_in_any_order<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        let all = self.list(prefix);
        if !self.unordered {
            return all;
        }
        let kind = StorageErrorKind::Unordered;
        let error = StorageError::new("list", self.location(), Some(prefix), kind, "a surprise");
        all.take(2).chain(futures::stream::iter([Err(error)])).boxed()
    }

    async fn get(
        &self,
        _: &str,
        _: Option<Range<u64>>,
        _: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        unreachable!("an inventory reads no object")
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<(), StorageError> {
        unreachable!("an inventory writes no object")
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unreachable!("an inventory deletes no object")
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn take_from(store: &Listed, layout: &Layout, selection: &Selection) -> Result<Inventory, InventoryError> {
    block_on(take(store, layout, selection, |_| {}))
}

/// `topic-partition: key key`, in order, for all that was taken.
fn taken(inventory: &Inventory) -> Vec<String> {
    let mut all = Vec::new();
    for (topic, found) in &inventory.topics {
        for (partition, objects) in &found.partitions {
            let keys: Vec<_> = objects.iter().map(|object| object.key.into_owned()).collect();
            all.push(format!("{topic}-{partition}: {}", keys.join(" ")));
        }
    }
    all
}

const MIXED: [&str; 12] = [
    "orders-0-9",
    "orders-0-100",
    "orders-0-100.gz",
    "orders-2-00000000000000000020.gz",
    "orders-1-0-5",
    "orders-1-0-5.tmp",
    "returns-0-0",
    "b/",
    "_SUCCESS",
    "notes.txt",
    ".indexes/c/x",
    "orders-x-1",
];

#[test]
fn everything_listed_is_taken_or_counted() {
    let store = Listed::new(MIXED);
    let inventory = take_from(&store, &Layout::default_names(""), &Selection::all()).unwrap();
    assert_eq!(
        taken(&inventory),
        [
            "orders-0: orders-0-9 orders-0-100 orders-0-100.gz",
            "orders-2: orders-2-00000000000000000020.gz",
            "orders-1-0: orders-1-0-5",
            "returns-0: returns-0-0",
        ]
    );
    assert_eq!(
        inventory.listed,
        Tally {
            objects: 12,
            bytes: 110
        }
    );
    assert_eq!(inventory.objects(), 6);
    assert_eq!(inventory.folder_markers, 1);
    assert_eq!(inventory.side_objects.samples, [".indexes/c/x", "_SUCCESS"]);
    assert_eq!(
        inventory.unmatched.samples,
        ["notes.txt", "orders-1-0-5.tmp", "orders-x-1"]
    );
    assert_eq!(inventory.padded_otherwise, 1);
    assert_eq!(inventory.seen["orders"].highest_partition, Some(2));
    assert_eq!(inventory.topics["orders"].highest_partition(), Some(2));
    assert_eq!(
        inventory.generations[0].1,
        Tally {
            objects: 6,
            bytes: 60
        }
    );
    assert_eq!(
        inventory.topics["orders"].partitions[&2].get(0).start_offset,
        Some(20)
    );
}

#[test]
fn a_store_without_order_is_listed_anew() {
    let ordered = Listed::new(MIXED);
    let unordered = Listed {
        unordered: true,
        ..Listed::new(MIXED)
    };
    let layout = Layout::default_names("");
    for selection in [Selection::all(), Selection::topics(["orders", "returns"])] {
        let expected = take_from(&ordered, &layout, &selection).unwrap();
        let inventory = take_from(&unordered, &layout, &selection).unwrap();
        assert_eq!(format!("{inventory:?}"), format!("{expected:?}"));
    }
    assert_eq!(unordered.asked.lock().unwrap()[..2], ["", ""]);
}

#[test]
fn a_topic_never_takes_objects_of_its_neighbour() {
    let store = Listed::new(MIXED);
    let layout = Layout::default_names("");
    let inventory = take_from(&store, &layout, &Selection::topics(["orders"])).unwrap();
    assert_eq!(inventory.topics.len(), 1);
    assert_eq!(inventory.topics["orders"].objects(), 4);
    assert_eq!(inventory.topics["orders"].bytes(), 40);
    assert_eq!(*store.asked.lock().unwrap(), ["orders-"]);
    let inventory = take_from(&store, &layout, &Selection::topics(["orders-1"])).unwrap();
    assert_eq!(taken(&inventory), ["orders-1-0: orders-1-0-5"]);
    let inventory = take_from(&store, &layout, &Selection::topics(["*s"])).unwrap();
    assert_eq!(
        inventory.topics.keys().map(|topic| &**topic).collect::<Vec<_>>(),
        ["orders", "returns"]
    );
}

#[test]
fn partitions_and_age_narrow_the_choice() {
    let store = Listed::new(MIXED);
    let selection = Selection {
        partitions: Some([0].into()),
        modified_since: Some(1),
        ..Selection::topics(["orders"])
    };
    let inventory = take_from(&store, &Layout::default_names(""), &selection).unwrap();
    assert_eq!(taken(&inventory), ["orders-0: orders-0-100 orders-0-100.gz"]);
    assert_eq!(
        inventory.older,
        Tally {
            objects: 1,
            bytes: 10
        }
    );
    assert_eq!(inventory.seen["orders"].objects.objects, 4);
}

#[test]
fn a_missing_topic_is_an_error_that_names_the_others() {
    let store = Listed::new(MIXED);
    let error = take_from(&store, &Layout::default_names(""), &Selection::topics(["order"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"no object in mem://test is of topic "order"; did you mean "orders", "orders-1"? Topics found: "orders", "orders-1", "returns""#
    );
    let error = take_from(&store, &Layout::default_names(""), &Selection::topics(["x*"])).unwrap_err();
    assert!(matches!(error, InventoryError::TopicNotFound { missing, .. } if missing[0].near.is_empty()));
}

#[test]
fn a_wrong_prefix_is_an_error_that_names_those_that_exist() {
    let store = Listed::new(["kafka/a/orders-0-0", "kafka/a/orders-0-1", "x"]);
    let error = take_from(&store, &Layout::default_names("kafak/"), &Selection::all()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"no object in mem://test begins with the prefix "kafak/"; objects lie in "kafka/a/" (2 objects), the top level (1 objects); a key that exists is "kafka/a/orders-0-0""#
    );
    let error = take_from(
        &store,
        &Layout::default_names("kafka/"),
        &Selection::topics(["orders"]),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"none of the 2 objects in mem://test under "kafka/" is named kafka/{{topic}}-{{partition}}-{{start_offset}}[suffix]; for example "kafka/a/orders-0-0", "kafka/a/orders-0-1"; objects lie in "kafka/a/" (2 objects), the top level (1 objects); their template is likely a/{{topic}}-{{partition}}-{{start_offset}} (2 of 2 names; topic "orders")"#
    );
    let nothing = take_from(&Listed::new([]), &Layout::default_names(""), &Selection::all()).unwrap_err();
    assert!(
        nothing.to_string().contains("no other object could be listed"),
        "{nothing}"
    );
}

#[test]
fn a_prefix_with_two_meanings_is_not_guessed() {
    let layout = Layout::default_names("backups").or_folder();
    let folder = Listed::new(["backups/orders-0-0", "backups/x/orders-0-0"]);
    let inventory = take_from(&folder, &layout, &Selection::topics(["orders"])).unwrap();
    assert_eq!(taken(&inventory), ["orders-0: backups/orders-0-0"]);
    let literal = Listed::new(["backupsorders-0-0"]);
    assert_eq!(
        take_from(&literal, &layout, &Selection::all()).unwrap().objects(),
        1
    );
    let both = Listed::new(["backups/orders-0-0", "backupsreturns-0-0"]);
    let error = take_from(&both, &layout, &Selection::all()).unwrap_err();
    assert!(
        matches!(
            &error,
            InventoryError::TwoPrefixes {
                literal_objects: 1,
                folder_objects: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn ambiguous_names_are_settled_by_certain_topics_or_reported() {
    let template = NameTemplate::new("{{topic}}-{{partition}}-{{key}}-{{start_offset}}").unwrap();
    let layout = Layout::template("", &template);
    let store = Listed::new(["users-0-ann-5", "users-0-a-1-b-11"]);
    let inventory = take_from(&store, &layout, &Selection::all()).unwrap();
    assert_eq!(taken(&inventory), ["users-0: users-0-ann-5 users-0-a-1-b-11"]);
    assert_eq!(inventory.ambiguous.resolved, 1);
    assert!(inventory.check_ambiguity().is_ok());

    let store = Listed::new(["users-0-ann-5", "users-0-a-0-b-5", "users-0-a-1-b-11"]);
    let inventory = take_from(&store, &layout, &Selection::topics(["users"])).unwrap();
    assert_eq!(inventory.ambiguous.concerned, 0, "{:?}", inventory.ambiguous);

    let store = Listed::new(["users-0-a-1-b-11"]);
    let inventory = take_from(&store, &layout, &Selection::topics(["users"])).unwrap();
    assert_eq!(inventory.ambiguous.concerned, 1);
    assert_eq!(
        inventory.check_ambiguity().unwrap_err().to_string(),
        "1 objects have names with more than one reading, for example \"users-0-a-1-b-11\": topic users-0-a, partition 1, \
         start offset 11, or topic users, partition 0, start offset 11; give the sink's configuration, or the names of \
         all topics in the backup, so that they can be told apart"
    );
}

#[test]
fn latest_state_is_recognised() {
    let layout = Layout::template("", &NameTemplate::new("{{key}}").unwrap());
    let store = Listed::new(["[B@10b5bb47", "null", "a/b", "d/", "_SUCCESS"]);
    let inventory = take_from(&store, &layout, &Selection::all()).unwrap();
    assert_eq!(taken(&inventory), ["--1: [B@10b5bb47 null a/b"]);
    assert!(inventory.has_latest_state());
    assert_eq!((inventory.array_identities, inventory.folder_markers), (1, 1));
    let named = take_from(&store, &layout, &Selection::topics(["users"])).unwrap();
    assert_eq!(named.topics["users"].objects(), 3);
    assert_eq!(named.topics["users"].highest_partition(), None);
}

#[test]
fn keys_come_back_whatever_way_they_were_kept() {
    let dated = "{{timestamp:unit=yyyy}}/{{timestamp:unit=MM}}/{{topic}}/{{key}}/{{partition:padding=true}}-{{start_offset}}.x";
    let layout = Layout::of([
        Generation::default_names(""),
        Generation::s3_legacy("{{utc_date}}/").unwrap(),
        Generation::template("", &NameTemplate::new(dated).unwrap()),
    ]);
    let keys = [
        "t-0-1",
        "t-0-0000000002.gz",
        "t-0-\u{663}",
        "2026-01-02/t-0-00000000000000000004.zst",
        "2026-01-03/t-0-00000000000000000005.zst",
        "2026/01/t/k/\u{e9}//0000000000-6.x",
        "+10000/01/t/k/0000000000-7.x",
        "2026/01/t/12:k/000-8.x",
    ];
    let store = Listed::new(keys);
    let inventory = take_from(&store, &layout, &Selection::all()).unwrap();
    assert_eq!(taken(&inventory), [format!("t-0: {}", keys.join(" "))]);
    assert_eq!(inventory.foreign_digits, 1);
}

#[test]
fn progress_is_told_by_the_page_and_at_the_end() {
    let keys: Vec<String> = (0..2500).map(|offset| format!("t-0-{offset}")).collect();
    let store = Listed::new(keys.iter().map(String::as_str));
    let mut told = Vec::new();
    block_on(take(
        &store,
        &Layout::default_names(""),
        &Selection::all(),
        |progress| {
            told.push((progress.listed.objects, progress.taken));
        },
    ))
    .unwrap();
    assert_eq!(told, [(1000, 1000), (2000, 2000), (2500, 2500)]);
}

/// Numbers that are equal, near, far apart and as large as they can be.
fn numbers(greatest: i64) -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..5_i64,
        4 => (0..10_000_i64).prop_map(|number| number * 1000),
        1 => 0..=greatest,
        1 => Just(greatest),
    ]
}

/// Milliseconds since 1970: some before, some equal or one apart, some as far away as can be.
fn times() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 1_700_000_000_000..1_700_000_000_003_i64,
        2 => (0..1000_i64).prop_map(|second| 1_700_000_000_000 + second * 1000),
        2 => -5..5_i64,
        1 => any::<i64>(),
    ]
}

/// Bytes, also more than 4 GiB.
fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 1..2_000_000_u64,
        2 => (1_u64 << 32) - 1..=(1 << 32) + 1,
        1 => any::<u64>(),
    ]
}

/// A key of topic `t`, of partition 0 or 1, with the start offset in it. Some cannot be given back by a template.
fn key(offset: i64, number: usize, kind: u8) -> String {
    let partition = number % 2;
    let day = number % 28 + 1;
    match kind {
        0..4 => format!("t-{partition}-{offset}.gz"),
        4 => format!("t-{partition}-{offset}"),
        5 => format!("t-{partition}-{offset:020}.zst"),
        6 => format!("2026-01-{day:02}/t-{partition}-{offset:020}.gz"),
        7 => format!("+12026/{day:02}/t/{partition}/{offset}"),
        8 => format!("2026/{day:02}/t/{partition}/{offset}"),
        _ => {
            let digit = |digit: char| char::from_u32(0x660 + u32::from(digit) - 48).unwrap();
            let foreign: String = offset.to_string().chars().map(digit).collect();
            format!("t-{partition}-{foreign}")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_inventory_is_a_sorted_list(
        objects in proptest::collection::vec((numbers(i64::MAX), 0..10_u8, sizes(), times()), 1..2000),
    ) {
        let dated = "{{timestamp:unit=yyyy}}/{{timestamp:unit=dd}}/{{topic}}/{{partition}}/{{start_offset}}";
        let layout = Layout::of([
            Generation::default_names(""),
            Generation::s3_legacy("{{utc_date}}/").unwrap(),
            Generation::template("", &NameTemplate::new(dated).unwrap()),
        ]);
        let mut listed = BTreeMap::new();
        for (number, (offset, kind, size, last_modified)) in objects.into_iter().enumerate() {
            let key = key(offset, number, kind);
            let object = ObjectMeta { key: key.clone(), size, last_modified, version: None };
            listed.insert(key, (number as i32 % 2, offset, object));
        }
        let mut expected: BTreeMap<i32, Vec<(i64, i64, String, u64)>> = BTreeMap::new();
        for (key, (partition, offset, object)) in &listed {
            let object = (*offset, object.last_modified, key.clone(), object.size);
            expected.entry(*partition).or_default().push(object);
        }
        let objects = listed.into_values().map(|(_, _, object)| object).collect();
        let store = Listed { objects, ..Listed::new([]) };
        let inventory = take_from(&store, &layout, &Selection::all()).unwrap();
        prop_assert_eq!(inventory.topics["t"].partitions.len(), expected.len());
        for (partition, mut expected) in expected {
            expected.sort();
            is_the_same(&inventory.topics["t"].partitions[&partition], &expected);
        }
    }

    #[test]
    fn objects_without_offsets_come_first(
        objects in proptest::collection::vec(
            (proptest::option::of(numbers(i64::MAX)), times(), "[a-c/\u{e9}]{0,3}", sizes()),
            0..1500,
        ),
    ) {
        let list = PartitionObjects::from_list(objects.iter().map(|(start_offset, last_modified, key, size)| {
            ObjectEntry {
                key: key.as_str().into(),
                start_offset: *start_offset,
                size: *size,
                last_modified: *last_modified,
            }
        }));
        let found: Vec<_> = list
            .iter()
            .map(|object| (object.start_offset, object.last_modified, object.key.into_owned(), object.size))
            .collect();
        // Keys may be equal here; sizes do not take part in the order.
        let order = |one: &(Option<i64>, i64, String, u64), other: &(Option<i64>, i64, String, u64)| {
            (one.0, one.1, &one.2) <= (other.0, other.1, &other.2)
        };
        prop_assert!(found.is_sorted_by(order), "{:?}", found);
        let (mut found, mut objects) = (found, objects);
        found.sort();
        objects.sort();
        prop_assert_eq!(found, objects);
    }
}

/// Compares all that a list gives with `expected`: start offset, time, key and size.
fn is_the_same(objects: &PartitionObjects, expected: &[(i64, i64, String, u64)]) {
    assert_eq!(objects.len(), expected.len());
    let bytes = expected
        .iter()
        .fold(0, |sum: u64, object| sum.saturating_add(object.3));
    assert_eq!(objects.bytes(), bytes);
    assert_eq!(
        Some(objects.largest()),
        expected.iter().map(|object| object.3).max()
    );
    for (index, (start_offset, last_modified, key, size)) in expected.iter().enumerate() {
        let object = ObjectEntry {
            key: key.as_str().into(),
            start_offset: Some(*start_offset),
            size: *size,
            last_modified: *last_modified,
        };
        assert_eq!(objects.get(index), object);
        assert_eq!(objects.start_offset(index), object.start_offset);
        assert_eq!(objects.size(index), *size);
        assert_eq!(objects.last_modified(index), *last_modified);
    }
}

#[test]
fn many_objects_take_few_bytes() {
    let keys: Vec<String> = (0..50_000)
        .map(|number| format!("t-0-{}.gz", number * 1000))
        .collect();
    let mut store = Listed::new(keys.iter().map(String::as_str));
    for object in &mut store.objects {
        let number: u64 = object.key[4..object.key.len() - 3].parse().unwrap();
        object.size = 1_000_000 + number * 7919 % 500_000;
        object.last_modified = 1_700_000_000_000 + number as i64 * 60 + number as i64 * 7919 % 30_000;
    }
    let inventory = take_from(&store, &Layout::default_names(""), &Selection::all()).unwrap();
    let memory = inventory.topics["t"].partitions[&0].memory();
    assert!(memory < 50_000 * 9, "{memory}");
}
