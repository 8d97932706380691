//! Splits the partitions of a plan between processes that know nothing of each other.
//!
//! Each of them lists the same backup and comes to the same split: the largest partition goes to the share that has
//! the fewest bytes so far, and so on. Shares so differ by one partition at most, and no partition is in two of them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::plan::{Finding, RestorePlan, Severity};

/// One of several shares of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, from 0.
    pub index: usize,
    /// How many there are, at least 1.
    pub count: usize,
}

/// Leaves only the partitions of one share in the plan, and the topics that have any of them.
pub(crate) fn keep(plan: &mut RestorePlan, shard: Shard) {
    if shard.count <= 1 {
        return;
    }
    let partitions = plan.topics.iter().flat_map(|topic| {
        let name = topic.source.as_str();
        topic
            .partitions
            .iter()
            .map(move |partition| (name, partition.partition, partition.stored_bytes))
    });
    let all: Vec<(&str, i32, u64)> = partitions.collect();
    let (number, digest) = (all.len(), digest(&all));
    let own: BTreeSet<(String, i32)> = share(&all, shard)
        .into_iter()
        .map(|index| (all[index].0.to_owned(), all[index].1))
        .collect();
    plan.findings.push(Finding {
        severity: Severity::Warning,
        message: format!(
            "this is share {} of {} (counted from 0): {} of {number} partitions. All shares must show the split \
             {digest:08x}, else the backup changed between their listings. The topics keep their restore profile: when \
             all shares are done, end it with `kafka-restore topics finish`",
            shard.index,
            shard.count,
            own.len()
        ),
    });
    for topic in &mut plan.topics {
        let source = &topic.source;
        topic
            .partitions
            .retain(|partition| own.contains(&(source.clone(), partition.partition)));
    }
    plan.topics.retain(|topic| !topic.partitions.is_empty());
}

/// The places of those partitions (topic, number, bytes) that belong to a share.
fn share(partitions: &[(&str, i32, u64)], shard: Shard) -> Vec<usize> {
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|index| {
        let (topic, partition, bytes) = partitions[*index];
        (Reverse(bytes), topic, partition)
    });
    // Bytes and partitions of each share so far: partitions of equal weight are spread as well.
    let mut shares = vec![(0u64, 0usize); shard.count.max(1)];
    let mut own = Vec::new();
    for index in order {
        let Some(least) = (0..shares.len()).min_by_key(|share| shares[*share]) else {
            continue;
        };
        shares[least].0 = shares[least].0.saturating_add(partitions[index].2);
        shares[least].1 += 1;
        if least == shard.index {
            own.push(index);
        }
    }
    own.sort_unstable();
    own
}

/// Tells two different listings apart.
fn digest(partitions: &[(&str, i32, u64)]) -> u32 {
    // FNV-1a, 32 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let mut state = 0x811c_9dc5_u32;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    for (topic, partition, bytes) in partitions {
        add(topic.as_bytes());
        add(&partition.to_be_bytes());
        add(&bytes.to_be_bytes());
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn each_partition_is_in_one_share_and_shares_are_even(
            bytes in prop::collection::vec(0u64..1000, 0..60),
            count in 1usize..8,
        ) {
            let partitions: Vec<(&str, i32, u64)> = bytes.iter().enumerate().map(|(number, bytes)| ("t", number as i32, *bytes)).collect();
            let shares: Vec<Vec<usize>> = (0..count).map(|index| share(&partitions, Shard { index, count })).collect();
            let mut all: Vec<usize> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..bytes.len()).collect::<Vec<_>>());
            let sums: Vec<u64> = shares.iter().map(|share| share.iter().map(|index| bytes[*index]).sum()).collect();
            let largest = bytes.iter().max().copied().unwrap_or(0);
            prop_assert!(sums.iter().max().unwrap() - sums.iter().min().unwrap() <= largest);
        }
    }

    #[test]
    fn the_split_does_not_depend_on_the_order_of_the_list_and_empty_partitions_are_spread() {
        let one = [("a", 0, 5), ("a", 1, 0), ("b", 0, 9), ("b", 1, 0), ("b", 2, 4)];
        let mut other = one;
        other.reverse();
        for index in 0..2 {
            let names = |list: &[(&'static str, i32, u64)]| {
                let own = share(list, Shard { index, count: 2 });
                own.into_iter().map(|place| list[place]).collect::<BTreeSet<_>>()
            };
            assert_eq!(names(&one), names(&other));
            assert!(names(&one).len() >= 2);
        }
        assert_ne!(digest(&one), digest(&other));
        assert_ne!(digest(&one), digest(&one[1..]));
    }
}
