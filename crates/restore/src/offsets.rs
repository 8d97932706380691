//! The offset map: which target offset each source offset has, as runs.
//!
//! Between two gaps a restore keeps the distance between source and target offsets, so the map is a short
//! list of runs however many records there are. It answers where a consumer that stood at a source offset has
//! to go on, exactly, and never by adding a difference across a gap.

use serde::{Deserialize, Serialize};

/// Consecutive source offsets that became consecutive target offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Source offset of the first record.
    pub source: i64,
    /// Target offset of the first record.
    pub target: i64,
    /// Number of records, at least 1.
    pub length: i64,
}

impl Run {
    /// The source offset behind the run's last record.
    pub fn source_end(&self) -> i64 {
        self.source + self.length
    }

    /// The target offset behind the run's last record.
    pub fn target_end(&self) -> i64 {
        self.target + self.length
    }

    /// Target offset minus source offset, the same for every record of the run.
    pub fn difference(&self) -> i64 {
        self.target - self.source
    }
}

/// The runs of one partition, ascending in both source and target offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OffsetMap {
    runs: Vec<Run>,
}

impl OffsetMap {
    /// A map without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// The map of a restore that kept every offset from `start` to below `end`, gaps included.
    pub fn identity(start: i64, end: i64) -> Self {
        let mut map = Self::new();
        map.push(start, start, (end - start).max(0));
        map
    }

    /// The runs, ascending.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The number of records in all runs.
    pub fn records(&self) -> i64 {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Notes that the records `source .. source + length` went to `target .. target + length`.
    ///
    /// # Panics
    ///
    /// Where that lies before what was noted last: restores only go forward.
    pub fn push(&mut self, source: i64, target: i64, length: i64) {
        if length == 0 {
            return;
        }
        if let Some(last) = self.runs.last_mut() {
            assert!(
                source >= last.source_end() && target >= last.target_end(),
                "offset maps only grow forward"
            );
            if source == last.source_end() && target == last.target_end() {
                last.length += length;
                return;
            }
        }
        self.runs.push(Run {
            source,
            target,
            length,
        });
    }

    /// The target position of a consumer whose next offset to read was `source`: that of the first record at
    /// or after it, or the end of the last run where there is none. `None` for an empty map.
    pub fn translate(&self, source: i64) -> Option<i64> {
        let index = self.runs.partition_point(|run| run.source_end() <= source);
        match self.runs.get(index) {
            Some(run) => Some(run.target + (source - run.source).max(0)),
            None => self.runs.last().map(Run::target_end),
        }
    }

    /// The source offset of the record at target offset `target`, if a record went there.
    pub fn source_of(&self, target: i64) -> Option<i64> {
        let index = self.runs.partition_point(|run| run.target_end() <= target);
        let run = self.runs.get(index)?;
        (target >= run.target).then(|| run.source + (target - run.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map() -> OffsetMap {
        let mut map = OffsetMap::new();
        map.push(17, 0, 3);
        map.push(20, 3, 2);
        map.push(30, 5, 5);
        map
    }

    #[test]
    fn runs_join_where_nothing_lies_between() {
        assert_eq!(
            map().runs(),
            [
                Run {
                    source: 17,
                    target: 0,
                    length: 5
                },
                Run {
                    source: 30,
                    target: 5,
                    length: 5
                }
            ]
        );
        assert_eq!(map().records(), 10);
    }

    #[test]
    fn a_position_goes_to_the_first_record_at_or_after_it() {
        for (source, target) in [
            (0, 0),
            (17, 0),
            (21, 4),
            (22, 5),
            (29, 5),
            (30, 5),
            (34, 9),
            (35, 10),
            (99, 10),
        ] {
            assert_eq!(map().translate(source), Some(target), "source offset {source}");
        }
        assert_eq!(OffsetMap::new().translate(3), None);
    }

    #[test]
    fn the_way_back() {
        assert_eq!(map().source_of(4), Some(21));
        assert_eq!(map().source_of(5), Some(30));
        assert_eq!(map().source_of(10), None);
    }

    proptest! {
        #[test]
        fn translating_equals_looking_at_every_record(steps in prop::collection::vec((0i64..4, 0i64..3, 1i64..5), 1..20)) {
            let (mut map, mut pairs, mut source, mut target) = (OffsetMap::new(), Vec::new(), 3, 0);
            for (source_gap, target_gap, length) in steps {
                source += source_gap;
                target += target_gap;
                map.push(source, target, length);
                pairs.extend((0..length).map(|i| (source + i, target + i)));
                source += length;
                target += length;
            }
            for asked in 0..source + 3 {
                let expected = pairs.iter().find(|(source, _)| *source >= asked).map_or(target, |(_, target)| *target);
                prop_assert_eq!(map.translate(asked), Some(expected));
            }
            for (source, target) in pairs {
                prop_assert_eq!(map.source_of(target), Some(source));
            }
        }
    }
}
