//! From source offsets to places in the target.
//!
//! A committed offset is the next one to read, so its place is that of the first record at or after it; past the last
//! record it is the end of what was restored. Places come from the offset map of the restore's reports, or of the backup read anew.
//! A difference is never carried across a gap.

use std::collections::{BTreeMap, BTreeSet};

use crate::offsets::OffsetMap;
use crate::report::{Outcome, Report};

/// How the offsets of a partition were restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// Target offsets equal source offsets.
    Exact,
    /// By this map. Records before `known_from` were restored too, by a run whose report is not at hand.
    Mapped {
        /// The map.
        map: OffsetMap,
        /// The first source offset that the map knows of, where it does not know all.
        known_from: Option<i64>,
    },
    /// Nothing is known of it: it had no records in the backup, or was not among what was restored.
    Unlisted,
}

/// A topic that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredTopic {
    /// Its name in the target.
    pub target: String,
    /// True where everything that was selected is there.
    pub complete: bool,
    /// Its partitions; one that is not listed had nothing in the backup, or was not restored.
    pub partitions: BTreeMap<i32, Places>,
}

/// Topics that were restored, by their names in the backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// What is known of each.
    pub topics: BTreeMap<String, RestoredTopic>,
    /// Topics that are not listed have their own names and original offsets.
    pub otherwise_exact: bool,
}

/// Where a consumer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this target offset.
    At(i64),
    /// At this one, the log's end: there is no record at or after the offset.
    End(i64),
    /// At this one, the log's start: everything before it is gone.
    Start(i64),
    /// Not known: the offset lies before what the reports at hand know.
    Unknown,
}

impl Place {
    /// The target offset.
    pub fn offset(self) -> Option<i64> {
        match self {
            Self::At(offset) | Self::End(offset) | Self::Start(offset) => Some(offset),
            Self::Unknown => None,
        }
    }
}

impl Places {
    /// The place of source offset `source` in a log that begins at `start` and ends at `end`.
    pub fn place(&self, source: i64, (start, end): (i64, i64)) -> Place {
        let target = match self {
            Self::Exact => source,
            // What stands in such a log is not from this backup.
            Self::Unlisted if start < end => return Place::Unknown,
            Self::Unlisted => end,
            Self::Mapped { map, known_from } => {
                if known_from.is_some_and(|known| source < known) {
                    return Place::Unknown;
                }
                // What lies behind the last record that was restored, producers have written since: nobody has read it.
                map.translate(source).unwrap_or(0)
            }
        };
        if target >= end {
            Place::End(end)
        } else if target < start {
            Place::Start(start)
        } else {
            Place::At(target)
        }
    }
}

impl Translation {
    /// What the reports of one restore say, first run first: a partition that was restored in several runs has its map
    /// from all of them.
    pub fn of_reports(reports: &[Report]) -> Self {
        let mut topics: BTreeMap<String, RestoredTopic> = BTreeMap::new();
        let mut open: BTreeSet<(&str, i32)> = BTreeSet::new();
        for topic in reports.iter().flat_map(|report| &report.topics) {
            let restored = topics
                .entry(topic.source.clone())
                .or_insert_with(|| RestoredTopic {
                    target: topic.target.clone(),
                    complete: true,
                    partitions: BTreeMap::new(),
                });
            for partition in &topic.partitions {
                // The last run of each partition knows best.
                let at = (topic.source.as_str(), partition.partition);
                match partition.outcome {
                    Outcome::Complete => open.remove(&at),
                    _ => open.insert(at),
                };
                if topic.latest.is_some() {
                    // One record per key, in a partition of its own choice: no offset says anything about another.
                    let nowhere = Places::Mapped {
                        map: OffsetMap::new(),
                        known_from: Some(i64::MAX),
                    };
                    restored.partitions.insert(partition.partition, nowhere);
                    continue;
                }
                if partition.exact {
                    restored.partitions.insert(partition.partition, Places::Exact);
                    continue;
                }
                let earlier = match restored.partitions.remove(&partition.partition) {
                    Some(Places::Mapped { map, known_from }) => Some((map, known_from)),
                    _ => None,
                };
                let places = joined(earlier, &partition.offsets, partition.resumed_at);
                restored.partitions.insert(partition.partition, places);
            }
        }
        for (topic, _) in open {
            if let Some(restored) = topics.get_mut(topic) {
                restored.complete = false;
            }
        }
        Self {
            topics,
            otherwise_exact: false,
        }
    }

    /// What is known of a topic of the backup.
    pub fn topic(&self, source: &str) -> Option<RestoredTopic> {
        match self.topics.get(source) {
            Some(topic) => Some(topic.clone()),
            None => self.otherwise_exact.then(|| RestoredTopic {
                target: source.to_owned(),
                complete: true,
                partitions: BTreeMap::new(),
            }),
        }
    }

    /// The places of a partition. One without records in the backup has an empty log, whose end is its place.
    pub fn places(&self, topic: &RestoredTopic, partition: i32) -> Places {
        match topic.partitions.get(&partition) {
            Some(places) => places.clone(),
            None if self.otherwise_exact => Places::Exact,
            None => Places::Unlisted,
        }
    }
}

/// A map that goes on where an earlier run's ended.
fn joined(earlier: Option<(OffsetMap, Option<i64>)>, later: &OffsetMap, resumed_at: Option<i64>) -> Places {
    // A run that went on and had to look at everything before knows it all.
    let begin = later.runs().first().map_or(i64::MAX, |run| run.target);
    if resumed_at.is_some_and(|resumed_at| begin < resumed_at) {
        return Places::Mapped {
            map: later.clone(),
            known_from: None,
        };
    }
    let (mut map, mut known_from) = earlier.unwrap_or_default();
    let end = map.runs().last().map_or(0, |run| run.target_end());
    // Where the later run went on behind the end of what is known, records between are not known.
    if resumed_at.is_some_and(|resumed_at| resumed_at > end) {
        map = OffsetMap::new();
        known_from = Some(later.runs().first().map_or(i64::MAX, |run| run.source));
    }
    let end = map.runs().last().map_or(i64::MIN, |run| run.target_end());
    for run in later.runs().iter().filter(|run| run.target >= end) {
        map.push(run.source, run.target, run.length);
    }
    Places::Mapped { map, known_from }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(runs: &[(i64, i64, i64)], known_from: Option<i64>) -> Places {
        let mut map = OffsetMap::new();
        for (source, target, length) in runs {
            map.push(*source, *target, *length);
        }
        Places::Mapped { map, known_from }
    }

    #[test]
    fn every_position_of_a_map() {
        let places = mapped(&[(17, 0, 5), (30, 5, 5)], None);
        for (source, place) in [
            (0, Place::At(0)),
            (17, Place::At(0)),
            (21, Place::At(4)),
            (22, Place::At(5)),
            (29, Place::At(5)),
            (34, Place::At(9)),
            (35, Place::End(10)),
            (99, Place::End(10)),
        ] {
            assert_eq!(places.place(source, (0, 10)), place, "{source}");
        }
        // What others have put behind it since is still to be read.
        assert_eq!(places.place(35, (0, 12)), Place::At(10));
        assert_eq!(mapped(&[], None).place(5, (0, 2)), Place::At(0));
        assert_eq!(places.place(17, (3, 10)), Place::Start(3));
        assert_eq!(mapped(&[], None).place(5, (0, 0)), Place::End(0));
        assert_eq!(mapped(&[(30, 5, 5)], Some(30)).place(29, (0, 10)), Place::Unknown);
        assert_eq!(Places::Unlisted.place(5, (0, 0)), Place::End(0));
        assert_eq!(Places::Unlisted.place(5, (0, 2)), Place::Unknown);
    }

    #[test]
    fn exact_offsets_stay_within_the_log() {
        for (source, place) in [
            (0, Place::Start(17)),
            (17, Place::At(17)),
            (25, Place::At(25)),
            (40, Place::End(40)),
            (99, Place::End(40)),
        ] {
            assert_eq!(Places::Exact.place(source, (17, 40)), place, "{source}");
        }
    }

    #[test]
    fn runs_of_several_reports_are_one_map() {
        let report = |resumed_at: Option<i64>, runs: &[(i64, i64, i64)]| -> Report {
            let offsets: Vec<_> = runs
                .iter()
                .map(|(source, target, length)| serde_json::json!({"source": source, "target": target, "length": length}))
                .collect();
            serde_json::from_value(serde_json::json!({
                "version": 1, "started": "", "elapsed_milliseconds": 0, "source": "", "unmatched_objects": 0, "findings": [],
                "stages": {"waiting_for_records_seconds": 0.0, "encode_seconds": 0.0, "waiting_for_brokers_seconds": 0.0,
                           "throttled_seconds": 0.0},
                "topics": [{"source": "a", "target": "b", "partitions": [{
                    "partition": 0, "outcome": {"state": "complete"}, "resumed_at": resumed_at, "records": 0,
                    "payload_bytes": 0, "source_range": null, "target_range": null, "exact": false,
                    "missing_offsets": 0, "gaps": 0, "offsets": offsets, "objects": 0, "duplicates": 0, "conflicts": 0,
                    "rejected": 0, "notes": []}]}]
            }))
            .unwrap()
        };
        let (first, second) = (
            report(None, &[(17, 0, 5)]),
            report(Some(5), &[(22, 5, 3), (40, 8, 1)]),
        );
        let both = Translation::of_reports(&[first, second.clone()]);
        let topic = both.topic("a").unwrap();
        assert_eq!((topic.target.as_str(), topic.complete), ("b", true));
        assert_eq!(topic.partitions[&0], mapped(&[(17, 0, 8), (40, 8, 1)], None));
        let alone = Translation::of_reports(&[second]);
        assert_eq!(
            alone.topic("a").unwrap().partitions[&0],
            mapped(&[(22, 5, 3), (40, 8, 1)], Some(22))
        );
        assert_eq!(both.topic("b"), None);
        // Of two processes, each restored a part: one of them was interrupted.
        let mut other = report(None, &[(17, 0, 5)]);
        other.topics[0].partitions[0].partition = 1;
        other.topics[0].partitions[0].outcome = Outcome::Interrupted;
        let parts = |order: [&Report; 2]| {
            let parts = Translation::of_reports(&order.map(Clone::clone));
            let topic = parts.topic("a").unwrap();
            (topic.complete, topic.partitions.len())
        };
        let whole = report(None, &[(17, 0, 5)]);
        assert_eq!(parts([&other, &whole]), (false, 2));
        assert_eq!(parts([&whole, &other]), (false, 2));
    }
}
