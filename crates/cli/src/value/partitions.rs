//! Lists of partition numbers.

use std::collections::BTreeSet;

/// More partitions than any cluster has; a longer list is a slip of the hand, and must not cost memory.
const MOST: usize = 1_000_000;

/// Partition numbers, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partitions(pub(crate) BTreeSet<i32>);

/// Reads partition numbers and ranges (both ends included) joined by commas: `0,3-5`.
pub(crate) fn parse(text: &str) -> Result<Partitions, String> {
    let mut partitions = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range {first}-{last} runs backwards"));
        }
        let length = (last - first) as usize;
        if length >= MOST || partitions.len() + length >= MOST {
            return Err(format!("more than {MOST} partitions"));
        }
        partitions.extend(first..=last);
    }
    Ok(Partitions(partitions))
}

fn number(text: &str) -> Result<i32, String> {
    let text = text.trim();
    match text.parse::<i32>() {
        Ok(number) if number >= 0 && !text.starts_with('+') => Ok(number),
        _ => Err(format!(
            "expected partition numbers and ranges such as 0,3-5, found {text:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Result<Vec<i32>, String> {
        parse(text).map(|partitions| partitions.0.into_iter().collect())
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(numbers("0"), Ok(vec![0]));
        assert_eq!(numbers("0,3-5"), Ok(vec![0, 3, 4, 5]));
        assert_eq!(numbers("5, 3 - 4,3"), Ok(vec![3, 4, 5]));
        assert_eq!(numbers("2147483647"), Ok(vec![i32::MAX]));
    }

    #[test]
    fn broken_lists() {
        for text in [
            "",
            ",",
            "1,",
            "5-3",
            "-1",
            "1-",
            "a",
            "1-2-3",
            "+1",
            "0-2147483647",
            "2147483648",
        ] {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }
}
