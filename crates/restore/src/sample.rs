//! Which offsets a sample looks at: stretches of equal length, spread evenly over all, the first and the last among them.

use std::ops::Range;

/// The most stretches: each costs a few requests to both sides.
const MOST: i64 = 100;
/// Offsets of a stretch, at least, where the sample is large enough for two.
const LEAST_OFFSETS: i64 = 100;

/// Stretches of `range` that together hold about `share` (0 to 1) of its offsets.
pub(crate) fn stretches(range: Range<i64>, share: f64) -> Vec<Range<i64>> {
    let span = range.end.saturating_sub(range.start);
    if span <= 0 {
        return Vec::new();
    }
    let wanted = ((span as f64 * share).ceil() as i64).clamp(1, span);
    let count = (wanted / LEAST_OFFSETS).clamp(2, MOST);
    let length = wanted.div_euclid(count) + i64::from(wanted % count > 0);
    if length >= span / count {
        return vec![range];
    }
    // The last one ends where the range ends.
    let begin = |number: i64| {
        let place = i128::from(span - length) * i128::from(number) / i128::from(count - 1);
        range.start + i64::try_from(place).unwrap_or(0)
    };
    (0..count)
        .map(|number| begin(number)..begin(number) + length)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_spread_over_everything() {
        assert_eq!(stretches(0..100_000, 0.01).len(), 10);
        assert_eq!(stretches(5..1_000_000_005, 0.01)[99], 999_900_005..1_000_000_005);
        assert_eq!(stretches(7..9, 0.01).first(), Some(&(7..9)));
        assert_eq!(stretches(7..7, 0.5), []);
        assert_eq!(stretches(0..1_000, 1.0).first(), Some(&(0..1_000)));
    }

    proptest! {
        #[test]
        fn they_ascend_and_reach_both_ends(start in 0i64..1_000, span in 1i64..i64::MAX / 2, share in 0.000_1f64..=1.0) {
            let range = start..start + span;
            let found = stretches(range.clone(), share);
            prop_assert_eq!(found.first().map(|first| first.start), Some(range.start));
            prop_assert_eq!(found.last().map(|last| last.end), Some(range.end));
            for pair in found.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start && pair[0].start < pair[0].end);
            }
        }
    }
}
