//! What a journal keeps when a restore behind other records is complete: the proof that they are there.
//!
//! The target's log end tells how far a restore is, but not whether what stands behind others was put there before. So
//! the same command, run again after a crash that came late or by mistake, would add everything once more. It finds
//! here where its records begin and end, whoever has written behind them since, and compares instead of adding.

use serde::{Deserialize, Serialize};

use super::Journal;

/// Records of one backup that were put behind others, complete in the partitions that are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// As [`Journal::source`].
    #[serde(rename = "from")]
    pub source: String,
    /// Which of the backup's records, in words; empty for all.
    #[serde(rename = "of", default, skip_serializing_if = "String::is_empty")]
    pub choice: String,
    /// When the last of them was complete, RFC 3339.
    #[serde(rename = "at")]
    pub completed: String,
    /// (partition, target offset of the first record, the one behind the last), ascending by partition.
    #[serde(rename = "logs")]
    pub ranges: Vec<(i32, i64, i64)>,
}

impl Appended {
    /// Where the records stand in a partition: from the first offset up to, and without, the second.
    pub fn range(&self, partition: i32) -> Option<(i64, i64)> {
        let found = self.ranges.iter().find(|(number, ..)| *number == partition);
        found.map(|(_, start, end)| (*start, *end))
    }

    fn is_of(&self, source: &str, choice: &str) -> bool {
        self.source == source && self.choice == choice
    }
}

impl Journal {
    /// What was put behind others from `source`, of the same `choice`.
    pub fn appended(&self, source: &str, choice: &str) -> Option<&Appended> {
        self.appended
            .iter()
            .find(|appended| appended.is_of(source, choice))
    }

    /// Adds to what is complete.
    pub fn add_appended(&mut self, more: Appended) {
        let known = self
            .appended
            .iter()
            .position(|appended| appended.is_of(&more.source, &more.choice));
        let mut ranges = match known {
            Some(index) => self.appended.remove(index).ranges,
            None => Vec::new(),
        };
        ranges.retain(|(number, ..)| more.range(*number).is_none());
        ranges.extend(&more.ranges);
        ranges.sort_unstable();
        self.appended.push(Appended { ranges, ..more });
    }

    /// Notes that the restore under way is complete in some partitions: (partition, start, end).
    pub fn complete(&mut self, choice: &str, ranges: Vec<(i32, i64, i64)>) {
        if ranges.is_empty() {
            return;
        }
        for (partition, ..) in &ranges {
            self.remove_base(*partition);
        }
        self.add_appended(Appended {
            source: self.source.clone(),
            choice: choice.to_owned(),
            completed: jiff::Timestamp::now().to_string(),
            ranges,
        });
    }

    /// Takes a partition for incomplete again: more records come behind those that were complete.
    pub fn reopen(&mut self, choice: &str, partition: i32) {
        let source = self.source.clone();
        for appended in &mut self.appended {
            if appended.is_of(&source, choice)
                && let Some((start, _)) = appended.range(partition)
            {
                appended.ranges.retain(|(number, ..)| *number != partition);
                self.append = true;
                self.set_base(partition, start);
                return;
            }
        }
    }

    /// The journal of a topic that has its own configuration back: what is complete, or not yet. `None` where nothing
    /// is worth to be kept.
    pub fn at_rest(&self) -> Option<Self> {
        let waits = self.append && !self.bases.is_empty();
        let mut rest = Self {
            originals: std::collections::BTreeMap::new(),
            ..self.clone()
        };
        if !waits {
            (rest.source, rest.append) = (String::new(), false);
            rest.bases.clear();
        }
        (waits || !rest.appended.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::journal;
    use super::*;

    #[test]
    fn what_is_complete_stays_and_the_rest_waits() {
        let mut under_way = journal();
        assert_eq!(
            under_way.at_rest(),
            None,
            "contiguous offsets from 0 need no proof"
        );
        under_way.append = true;
        under_way.set_bases([(0, 70), (1, 70), (2, 5)]);
        under_way.complete("", vec![(2, 5, 25), (0, 70, 90)]);
        assert_eq!(
            (under_way.base(0), under_way.base(1), under_way.base(2)),
            (None, Some(70), None)
        );
        let rest = under_way.at_rest().unwrap();
        assert!(rest.is_under_way() && rest.originals.is_empty(), "{rest:?}");

        under_way.complete("", vec![(1, 70, 80)]);
        let rest = under_way.at_rest().unwrap();
        assert!(!rest.is_under_way() && !rest.append, "{rest:?}");
        let appended = rest.appended("gs://bucket: orders", "").unwrap();
        assert_eq!(appended.ranges, [(0, 70, 90), (1, 70, 80), (2, 5, 25)]);
        assert_eq!(appended.range(1), Some((70, 80)));
        assert_eq!(rest.appended("gs://bucket: orders", "from offset 5"), None);

        let mut text = rest.to_text("orders").unwrap();
        assert_eq!(Journal::from_text("orders", &text).unwrap(), rest);
        text.truncate(text.len() - 1);
        assert!(Journal::from_text("orders", &text).is_err());
    }

    #[test]
    fn a_partition_that_goes_on_is_under_way_again() {
        let mut journal = journal();
        journal.append = true;
        journal.complete("to offset 9", vec![(0, 7, 17), (1, 8, 18)]);
        journal.reopen("", 0);
        assert_eq!(journal.base(0), None, "another choice of records");
        journal.reopen("to offset 9", 0);
        assert_eq!(journal.base(0), Some(7));
        let source = journal.source.clone();
        let left = journal.appended(&source, "to offset 9").unwrap();
        assert_eq!((left.range(0), left.range(1)), (None, Some((8, 18))));
    }

    #[test]
    fn a_journal_at_rest_does_not_hide_one_that_is_under_way() {
        let mut done = journal();
        done.append = true;
        done.complete("", vec![(0, 7, 17)]);
        let rest = done.at_rest().unwrap();
        let mut later = journal();
        later.started = "2026-11-24T00:00:00Z".to_owned();
        later.source = "gs://bucket: others".to_owned();
        later.set_bases([(3, 4)]);
        let joined = Journal::joined([rest, later]).unwrap();
        assert_eq!(joined.source, "gs://bucket: others");
        assert_eq!((joined.base(3), joined.appended.len()), (Some(4), 1));
    }
}
