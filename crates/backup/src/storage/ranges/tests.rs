use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// How a store understands [`Place::Behind`] and sorts its keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// As documented.
    Honest,
    /// It lists from the start.
    Ignores,
    /// Now and then it lists from the start.
    Forgets,
    /// The key itself is listed too.
    Inclusive,
    /// Behind a key that is not there, nothing is.
    WantsTheKey,
    /// It sorts as a folder tree is walked: by the segments between slashes.
    Tree,
    /// It sorts by the units of UTF-16.
    Utf16,
    /// It does not sort, and goes to some place.
    Shuffled,
}

const HABITS: [Habit; 8] = [
    Habit::Honest,
    Habit::Ignores,
    Habit::Forgets,
    Habit::Inclusive,
    Habit::WantsTheKey,
    Habit::Tree,
    Habit::Utf16,
    Habit::Shuffled,
];

struct Bucket {
    /// In the order of the store.
    keys: Vec<String>,
    habit: Habit,
    random: fastrand::Rng,
    /// The sizes of pages; none is drawn smaller than the first.
    page: std::ops::RangeInclusive<usize>,
    requests: usize,
}

impl Bucket {
    fn new(keys: BTreeSet<String>, habit: Habit, page: std::ops::RangeInclusive<usize>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut keys: Vec<String> = keys.into_iter().collect();
        match habit {
            Habit::Tree => keys.sort_by(|a, b| a.split('/').cmp(b.split('/'))),
            Habit::Utf16 => keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16())),
            Habit::Shuffled => random.shuffle(&mut keys),
            _ => {}
        }
        Self {
            keys,
            habit,
            random,
            page,
            requests: 0,
        }
    }

    fn begin(&mut self, after: &str) -> usize {
        let behind = |is_behind: &dyn Fn(&str) -> bool| {
            let place = self.keys.iter().position(|key| is_behind(key));
            place.unwrap_or(self.keys.len())
        };
        match self.habit {
            Habit::Ignores => 0,
            Habit::Forgets if self.random.u8(..8) == 0 => 0,
            Habit::Honest | Habit::Forgets => self.keys.partition_point(|key| key.as_str() <= after),
            Habit::Inclusive => behind(&|key| key >= after),
            Habit::WantsTheKey => {
                let place = self.keys.iter().position(|key| key == after);
                place.map_or(self.keys.len(), |place| place + 1)
            }
            Habit::Tree => behind(&|key| key.split('/').gt(after.split('/'))),
            Habit::Utf16 => behind(&|key| key.encode_utf16().gt(after.encode_utf16())),
            Habit::Shuffled => after.bytes().map(usize::from).sum::<usize>() % (self.keys.len() + 1),
        }
    }

    fn page(&mut self, place: &Place) -> Page {
        self.requests += 1;
        let begin = match place {
            Place::Start => 0,
            Place::Behind(after) => self.begin(after),
            Place::Token(token) => match token.parse::<usize>() {
                Ok(begin) => begin,
                // Tokens that are keys stay right where keys come and go.
                Err(_) => self.keys.partition_point(|key| key.as_str() < &token[1..]),
            },
        };
        let end = (begin + self.random.usize(self.page.clone())).min(self.keys.len());
        let objects = self.keys[begin..end].iter().map(|key| object(key)).collect();
        let next = (end < self.keys.len()).then(|| match self.habit {
            Habit::Honest => format!("k{}", self.keys[end]),
            _ => end.to_string(),
        });
        Page { objects, next }
    }
}

fn object(key: &str) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        size: 0,
        last_modified: 0,
        version: None,
    }
}

/// Lists everything; the questions are answered in any order, and `meanwhile` is told of every one.
fn list(
    ranges: &mut Ranges,
    bucket: &mut Bucket,
    mut meanwhile: impl FnMut(&mut Bucket),
) -> Result<Vec<String>, Unordered> {
    let (mut under_way, mut found) = (Vec::new(), Vec::new());
    loop {
        while bucket.random.u8(..8) > 0 || under_way.is_empty() {
            let Some(question) = ranges.ask() else {
                if under_way.is_empty() {
                    assert!(ranges.ranges.is_empty(), "{ranges:?}");
                    return Ok(found);
                }
                break;
            };
            // A page is of the moment when it was asked for, or of a later one.
            let page = bucket.random.bool().then(|| bucket.page(&question.place));
            under_way.push((question, page));
        }
        meanwhile(bucket);
        let (question, page) = under_way.swap_remove(bucket.random.usize(..under_way.len()));
        let page = page.unwrap_or_else(|| bucket.page(&question.place));
        found.extend(
            ranges
                .answer(&question, page)?
                .into_iter()
                .map(|object| object.key),
        );
        let bounded = ranges.ranges.len() <= 4 * (MOST_UNDER_WAY + 64);
        assert!(bounded && under_way.len() <= 2 * MOST_UNDER_WAY, "{ranges:?}");
    }
}

fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    let counters =
        (0..3u32, 0..4u32, 0..2_000u32, any::<bool>()).prop_map(|(topic, partition, offset, padded)| {
            match padded {
                true => format!("t{topic}-{partition}-{offset:010}.gz"),
                false => format!("t{topic}-{partition}-{offset}"),
            }
        });
    let texts = prop_oneof![
        4 => counters,
        2 => "[a-cA-C0-3/]{0,6}",
        1 => "[0-9a-f]{2}/[0-9a-f]{6}",
        1 => "20[0-3][0-9]/[01][0-9]/x-[0-9]{1,3}",
        1 => "\\PC{0,5}",
        1 => "[a\u{e9}\u{ffff}\u{10000}/0-]{1,5}",
    ];
    prop::collection::btree_set(texts, 0..300)
}

fn eager(prefix: &str, pages_before_split: u32, most_under_way: usize) -> Ranges {
    Ranges {
        pages_before_split,
        most_under_way,
        ..Ranges::new(prefix)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_key_comes_once_or_the_store_is_found_out(
        keys in keys(), habit in 0..HABITS.len(), largest in 1..12usize, patience in 0..4u32, most in 1..20usize,
        seed: u64,
    ) {
        let habit = HABITS[habit];
        let mut bucket = Bucket::new(keys.clone(), habit, 0..=largest, seed);
        let listed = list(&mut eager("", patience, most), &mut bucket, |_| ());
        match listed {
            Ok(listed) => {
                prop_assert_eq!(listed.len(), keys.len());
                prop_assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), keys);
            }
            Err(unordered) => prop_assert!(habit != Habit::Honest, "{unordered:?}"),
        }
    }

    #[test]
    fn what_stands_all_the_time_is_listed_once(
        keys in keys(), others in keys(), largest in 3..12usize, seed: u64,
    ) {
        let mut bucket = Bucket::new(keys.union(&others).cloned().collect(), Habit::Honest, 1..=largest, seed);
        let others: Vec<String> = others.difference(&keys).cloned().collect();
        let meanwhile = |bucket: &mut Bucket| {
            for _ in 0..bucket.random.usize(..3).min(others.len()) {
                let key = &others[bucket.random.usize(..others.len())];
                match bucket.keys.binary_search(key) {
                    Ok(place) => drop(bucket.keys.remove(place)),
                    Err(place) => bucket.keys.insert(place, key.clone()),
                }
            }
        };
        if let Ok(listed) = list(&mut eager("", 0, 16), &mut bucket, meanwhile) {
            let once: BTreeSet<String> = listed.iter().cloned().collect();
            prop_assert_eq!(listed.len(), once.len());
            prop_assert!(keys.is_subset(&once));
        }
    }

    #[test]
    fn points_ascend_between_the_last_key_and_the_end(first in "[0-9a-c/-]{0,9}", last in "[0-9a-z/\u{e9}-]{0,12}", more in "[0-9a-z]{0,3}") {
        let until = format!("{last}{more}~");
        for until in [None, Some(until.as_str()), Some("5")] {
            let found = points("", &first, &last, until);
            prop_assert!(found.len() <= 64);
            prop_assert!(found.is_sorted_by(|a, b| a < b));
            prop_assert!(found.iter().all(|point| *point > last && until.is_none_or(|until| point.as_str() < until)));
        }
    }
}

/// Pages, requests, and how many answers had to be waited for one after the other.
fn cost(keys: impl Iterator<Item = String>) -> (usize, usize, usize) {
    let keys: BTreeSet<String> = keys.collect();
    let pages = keys.len().div_ceil(10);
    let mut bucket = Bucket::new(keys, Habit::Honest, 10..=10, 0);
    let (mut ranges, mut waits) = (Ranges::new("t"), 0);
    loop {
        let asked: Vec<Question> = std::iter::from_fn(|| ranges.ask()).collect();
        if asked.is_empty() {
            return (pages, bucket.requests, waits);
        }
        waits += 1;
        for question in asked {
            let page = bucket.page(&question.place);
            ranges.answer(&question, page).unwrap();
        }
    }
}

#[test]
fn short_listings_cost_their_pages_and_long_ones_little_more() {
    for count in [0, 1, 10, 11, 40] {
        let (pages, requests, waits) = cost((0..count).map(|offset| format!("t-0-{offset}")));
        assert_eq!((requests, waits), (pages.max(1), pages.max(1)));
    }
    let unpadded = |number| format!("t-{}-{}.gz", number % 7, number / 7 * 3);
    let padded = |number| format!("t-{}-{number:020}", number % 7);
    let dated = |number| format!("t/{}/{:02}/{number}", 2020 + number % 5, number % 12 + 1);
    let mixed = |number: u32| format!("t{:08x}", number.wrapping_mul(2_654_435_761));
    let shapes: [&dyn Fn(u32) -> String; 4] = [&unpadded, &padded, &dated, &mixed];
    for (shape, key) in shapes.iter().enumerate() {
        let (pages, requests, waits) = cost((0..20_000).map(key));
        assert!(
            pages == 2_000 && requests < 3_000 && waits < 250,
            "shape {shape}: {pages} pages, {requests} requests, {waits} waits"
        );
        let (pages, requests, waits) = cost((0..1_000).map(key));
        assert!(
            pages == 100 && requests < 250 && waits < 35,
            "shape {shape}: {pages} pages, {requests} requests, {waits} waits"
        );
    }
}

#[test]
fn points_follow_the_counters_of_a_key() {
    let found = points("t/", "t/o1-0-000417", "t/o1-0-000428", None);
    let expected = [
        // Hundreds; thousands; and no more leading zeros. The tens are smaller than the page.
        "t/o1-0-0005",
        "t/o1-0-0006",
        "t/o1-0-0007",
        "t/o1-0-0008",
        "t/o1-0-0009",
        "t/o1-0-001",
        "t/o1-0-002",
        "t/o1-0-003",
        "t/o1-0-004",
        "t/o1-0-005",
        "t/o1-0-006",
        "t/o1-0-007",
        "t/o1-0-008",
        "t/o1-0-009",
        // Partitions; words.
        "t/o1-1",
        "t/o1-2",
        "t/o1-3",
        "t/o1-4",
        "t/o1-5",
        "t/o1-6",
        "t/o1-7",
        "t/o1-8",
        "t/o1-9",
        "t/o2",
        "t/o3",
        "t/o4",
        "t/o5",
        "t/o6",
        "t/o7",
        "t/o8",
        "t/o9",
        "t/oo",
    ];
    assert_eq!(found, expected);
    assert_eq!(
        points("t/", "t/o1-0-000417", "t/o1-0-000428", Some("t/o1-0-0007")),
        expected[..2]
    );
    assert_eq!(points("t/", "t/a", "t/b", None), [""; 0]);
    assert_eq!(points("other", "t/a", "t/a/b", None), [""; 0]);
}
