//! Which objects to begin and end with, where only a part of a partition is wanted.
//!
//! A name's start offset is never higher than the first offset inside, so objects that start behind the last
//! wanted offset are not needed. How far an object reaches its name does not say: usually to the next one, but
//! after a replay an object may reach far over its successors. What the listing does tell is its size.

use crate::inventory::PartitionObjects;

/// How many times the offsets that its size lets expect an object may hold: compression and record sizes vary.
const GENEROSITY: i128 = 8;

/// So many objects before the one that should hold the offset are read in any case, up to [`NEAR_BYTES`].
const NEAR_OBJECTS: usize = 16;

/// See [`NEAR_OBJECTS`].
const NEAR_BYTES: u64 = 32 << 20;

/// The objects that may hold offsets from `from` to `to` (inclusive), as a range of places in the list.
pub(super) fn needed(
    objects: &PartitionObjects,
    from: Option<i64>,
    to: Option<i64>,
) -> std::ops::Range<usize> {
    let end = match to {
        Some(to) => partition_point(objects, |start| start <= to),
        None => objects.len(),
    };
    let begin = match from {
        Some(from) => begin(objects, from).min(end),
        None => 0,
    };
    begin..end
}

/// The first object that may hold `from`.
///
/// The last object that starts at or below `from`, with all of the same start offset (one flush by event time
/// writes several); a few before them; and every object so large for its distance to `from` that it may reach
/// there.
fn begin(objects: &PartitionObjects, from: i64) -> usize {
    let behind = partition_point(objects, |start| start <= from);
    let Some(last) = behind.checked_sub(1).and_then(|last| objects.start_offset(last)) else {
        return 0;
    };
    let begin = partition_point(objects, |start| start < last);
    if !objects.have_start_offsets() {
        return 0;
    }
    let (Some(first), Some(highest)) = (
        objects.start_offset(0),
        objects
            .len()
            .checked_sub(1)
            .and_then(|last| objects.start_offset(last)),
    ) else {
        return 0;
    };
    let offsets = i128::from(highest) - i128::from(first);
    let bytes = i128::from(objects.bytes());
    // An object reaches `from` where size / (bytes / offsets) * GENEROSITY >= from - start.
    let reaches = |start: i64, size: u64| {
        let distance = i128::from(from) - i128::from(start);
        i128::from(size) * offsets * GENEROSITY >= distance.saturating_mul(bytes)
    };
    let near = near(objects, begin);
    // Of millions of objects only those are looked at from where the largest of them would reach.
    let far = partition_point(objects, |start| !reaches(start, objects.largest()));
    (far..near)
        .find(|index| {
            let start = objects.start_offset(*index).unwrap_or(i64::MIN);
            reaches(start, objects.size(*index))
        })
        .unwrap_or(near)
}

/// The objects directly before `begin` cost little, and what a replay leaves lies close together.
fn near(objects: &PartitionObjects, begin: usize) -> usize {
    let mut bytes = 0u64;
    let mut near = begin;
    while near > 0 && begin - near < NEAR_OBJECTS {
        bytes = bytes.saturating_add(objects.size(near - 1));
        if bytes > NEAR_BYTES {
            break;
        }
        near -= 1;
    }
    near
}

/// The number of objects at the front of the list whose start offset fulfils `test`; no offset counts as the
/// lowest.
fn partition_point(objects: &PartitionObjects, test: impl Fn(i64) -> bool) -> usize {
    let (mut low, mut high) = (0, objects.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if test(objects.start_offset(middle).unwrap_or(i64::MIN)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::ObjectEntry;

    fn objects(list: &[(i64, u64)]) -> PartitionObjects {
        let keys: Vec<String> = list
            .iter()
            .map(|(start, size)| format!("t-0-{start}-{size}"))
            .collect();
        PartitionObjects::from_list(list.iter().zip(&keys).map(|((start, size), key)| ObjectEntry {
            key: key.into(),
            start_offset: Some(*start),
            size: *size,
            last_modified: 0,
        }))
    }

    #[test]
    fn equal_objects_begin_a_few_before_and_never_far_before() {
        let list: Vec<(i64, u64)> = (0..1000).map(|number| (number * 100, 5_000)).collect();
        let small = objects(&list);
        assert_eq!(needed(&small, Some(50_050), None), 484..1000);
        let list: Vec<(i64, u64)> = (0..1000).map(|number| (number * 100, 50_000_000)).collect();
        let objects = objects(&list);
        assert_eq!(needed(&objects, None, None), 0..1000);
        assert_eq!(needed(&objects, Some(50_050), Some(50_350)), 493..504);
        assert_eq!(needed(&objects, Some(0), Some(0)), 0..1);
        assert_eq!(needed(&objects, Some(i64::MAX), None).end, 1000);
        assert!(needed(&objects, None, Some(-1)).is_empty());
    }

    #[test]
    fn an_object_that_is_large_enough_to_reach_over_others_is_read() {
        // Written by a replay from 0: as large as all others together.
        let mut list: Vec<(i64, u64)> = (1..100).map(|number| (number * 100, 50_000_000)).collect();
        list.push((0, 5_000_000_000));
        let objects = objects(&list);
        assert_eq!(needed(&objects, Some(9_000), None).start, 0);
    }

    proptest! {
        #[test]
        fn the_first_object_that_reaches_is_found(
            list in proptest::collection::vec((0..10_000_i64, prop_oneof![9 => 1..1000_u64, 1 => 1..100_000_u64]), 1..100),
            from in 0..11_000_i64,
        ) {
            let all = objects(&list);
            // Objects of one start offset are in an order of their own.
            let list: Vec<(i64, u64)> = (0..all.len())
                .map(|index| (all.start_offset(index).unwrap(), all.size(index)))
                .collect();
            let (first, last) = (list[0].0, list[list.len() - 1].0);
            let reaches = |(start, size): &(i64, u64)| {
                i128::from(*size) * i128::from(last - first) * GENEROSITY
                    >= i128::from(from - start) * i128::from(all.bytes())
            };
            let behind = list.partition_point(|(start, _)| *start <= from);
            let together = list.partition_point(|(start, _)| behind > 0 && *start < list[behind - 1].0);
            let near = near(&all, together);
            let expected = list[..near].iter().position(reaches).unwrap_or(near);
            prop_assert_eq!(needed(&all, Some(from), None).start, expected);
        }
    }

    #[test]
    fn objects_of_one_start_offset_are_taken_together() {
        let objects = objects(&[
            (0, 10),
            (1_000_000, 1),
            (1_000_000, 2),
            (1_000_000, 3),
            (2_000_000, 10),
        ]);
        assert_eq!(needed(&objects, Some(1_500_000), None), 0..5);
        assert_eq!(needed(&objects, Some(1_500_000), Some(1)), 0..1);
    }
}
