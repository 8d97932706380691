//! Walks a backup and a target together and finds where they differ.

use backup::stream::PartitionStream;
use kafka::fetch::PartitionFetcher;
use record::RecordRef;

use crate::cleaned::Cleaned;
use crate::compare::{
    BlockSource, Cursor, Difference, DifferenceKind, Tolerance, content_difference, difference, is_filler,
};
use crate::error::RestoreError;
use crate::offsets::OffsetMap;

/// Where a record of the backup belongs in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// At its source offset.
    Exact,
    /// At this offset plus the number of records before it.
    From(i64),
    /// One of the two: which one, the first record tells for which they differ.
    Either(i64),
}

/// A place in both logs; see the module's documentation.
pub(crate) struct Lockstep<B: BlockSource = PartitionStream, T: BlockSource = PartitionFetcher> {
    backup: Cursor<B>,
    target: Cursor<T>,
    placement: Placement,
    tolerance: Tolerance,
    /// Records of the backup that were passed.
    passed: i64,
    /// Where those went, for [`Placement::From`].
    offsets: OffsetMap,
    missing: Missing,
}

/// What it means that the target lacks a record of the backup.
enum Missing {
    /// A difference.
    Difference,
    /// The log cleaner has dropped it.
    Cleaned,
    /// That depends on the records behind it.
    Judged(Cleaned),
}

/// What a walk saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    /// Records that were compared and found equal.
    pub(crate) equal: u64,
    /// Records that fill offsets which have none in the backup, where offsets are exact.
    pub(crate) fillers: u64,
    /// All differences, counted.
    pub(crate) different: u64,
    /// The first differences.
    pub(crate) differences: Vec<Difference>,
}

impl<B: BlockSource, T: BlockSource> Lockstep<B, T> {
    /// Starts before the first record of each side.
    pub(crate) fn new(backup: B, target: T, placement: Placement, tolerance: Tolerance) -> Self {
        Self {
            backup: Cursor::new(backup),
            target: Cursor::new(target),
            placement,
            tolerance,
            passed: 0,
            offsets: OffsetMap::new(),
            missing: Missing::Difference,
        }
    }

    /// Takes records that the target lacks for dropped by its log cleaner, rather than as differences.
    pub(crate) fn with_cleaned_target(self) -> Self {
        Self {
            missing: Missing::Cleaned,
            ..self
        }
    }

    /// Asks `cleaned` about records that the target lacks.
    pub(crate) fn judged_by(self, cleaned: Cleaned) -> Self {
        Self {
            missing: Missing::Judged(cleaned),
            ..self
        }
    }

    /// What the log cleaner has dropped, and what is lost, where that was asked.
    pub(crate) fn take_cleaned(&mut self) -> Option<Cleaned> {
        match std::mem::replace(&mut self.missing, Missing::Difference) {
            Missing::Judged(cleaned) => Some(cleaned),
            Missing::Difference | Missing::Cleaned => None,
        }
    }

    /// Goes on with another part of the target, which lies behind the one so far.
    pub(crate) fn with_target(self, target: T) -> Self {
        Self {
            target: Cursor::new(target),
            ..self
        }
    }

    /// Walks through the target offsets `start .. end`; records of either side that belong before `start`
    /// are passed unseen. Keeps the first `limit` differences; `on_step` is told the records passed now and then.
    pub(crate) async fn walk(
        &mut self,
        start: i64,
        end: i64,
        limit: usize,
        mut on_step: impl FnMut(u64),
    ) -> Result<Walk, RestoreError> {
        const STEP: u64 = 8192;
        let mut walk = Walk::default();
        let mut unreported = 0;
        loop {
            let expected = if self.backup.fill().await? {
                self.settle_placement().await?;
                self.expected().filter(|at| *at < end)
            } else {
                None
            };
            if expected.is_some_and(|at| at < start) {
                self.pass();
                continue;
            }
            while self.target.fill().await?
                && self.target.current().is_some_and(|record| record.offset < start)
            {
                self.target.advance();
            }
            let found = if self.target.fill().await? {
                self.target
                    .current()
                    .map(|record| record.offset)
                    .filter(|at| *at < end)
            } else {
                None
            };
            let found_difference = match (expected, found) {
                (None, None) => break,
                (Some(expected), Some(found)) if expected == found => {
                    if let (Missing::Judged(cleaned), Some(record)) =
                        (&mut self.missing, self.backup.current())
                    {
                        let _ = cleaned.see(record, expected, false);
                    }
                    let found = match (self.backup.current(), self.target.current()) {
                        (Some(backup), Some(target)) => content_difference(backup, target, self.tolerance),
                        _ => None,
                    };
                    self.pass();
                    self.target.advance();
                    walk.equal += u64::from(found.is_none());
                    found
                }
                (Some(expected), found) if found.is_none_or(|found| found > expected) => {
                    let found = self.is_difference(expected).then(|| Difference {
                        target_offset: Some(expected),
                        ..difference(DifferenceKind::Missing, self.backup.current(), None)
                    });
                    self.pass();
                    if self.is_overflown() {
                        return Ok(walk);
                    }
                    found
                }
                _ => {
                    let target = self.target.current();
                    let filler = self.placement == Placement::Exact && target.is_some_and(is_filler);
                    walk.fillers += u64::from(filler);
                    let found = (!filler).then(|| difference(DifferenceKind::Extra, None, target));
                    self.target.advance();
                    found
                }
            };
            if let Some(found) = found_difference {
                walk.different += 1;
                if walk.differences.len() < limit {
                    walk.differences.push(found);
                }
            }
            unreported += 1;
            if unreported == STEP {
                on_step(unreported);
                unreported = 0;
            }
        }
        on_step(unreported);
        Ok(walk)
    }

    /// True where it is a difference that the target lacks the current record of the backup.
    fn is_difference(&mut self, expected: i64) -> bool {
        match (&mut self.missing, self.backup.current()) {
            (Missing::Difference, _) => true,
            (Missing::Judged(cleaned), Some(record)) => !cleaned.see(record, expected, true),
            (Missing::Cleaned | Missing::Judged(_), _) => false,
        }
    }

    fn is_overflown(&self) -> bool {
        matches!(&self.missing, Missing::Judged(cleaned) if cleaned.is_overflown())
    }

    /// Records of the backup that were passed.
    pub(crate) fn passed(&self) -> i64 {
        self.passed
    }

    /// Where the records of the backup that were passed went; empty where offsets are exact.
    pub(crate) fn take_offsets(&mut self) -> OffsetMap {
        std::mem::take(&mut self.offsets)
    }

    /// The backup's side, to go on from where the walk ended.
    pub(crate) fn into_backup(self) -> Cursor<B> {
        self.backup
    }

    fn expected(&self) -> Option<i64> {
        let record = self.backup.current()?;
        Some(match self.placement {
            Placement::Exact => record.offset,
            Placement::From(base) | Placement::Either(base) => base + self.passed,
        })
    }

    /// Decides between the placements where they differ for the first time.
    async fn settle_placement(&mut self) -> Result<(), RestoreError> {
        let (Placement::Either(base), Some(record)) = (self.placement, self.backup.current()) else {
            return Ok(());
        };
        let exact = record.offset;
        if exact != base + self.passed {
            self.target.fill().await?;
            // Fillers before it say the same as the record itself.
            let stands =
                |record: RecordRef<'_>| record.offset == exact || record.offset < exact && is_filler(record);
            self.placement = if self.target.current().is_some_and(stands) {
                Placement::Exact
            } else {
                Placement::From(base)
            };
        }
        Ok(())
    }

    fn pass(&mut self) {
        if let (Placement::From(base), Some(record)) = (self.placement, self.backup.current()) {
            self.offsets.push(record.offset, base + self.passed, 1);
        }
        self.backup.advance();
        self.passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use record::RecordBlock;

    use super::*;

    struct Blocks(VecDeque<RecordBlock>);

    impl BlockSource for Blocks {
        type Block = Box<RecordBlock>;

        async fn next_block(&mut self) -> Result<Option<Box<RecordBlock>>, RestoreError> {
            Ok(self.0.pop_front().map(Box::new))
        }
    }

    /// One block per record: (offset, value); a filler where the value is none.
    fn blocks(records: &[(i64, Option<&str>)]) -> Blocks {
        let block = |(offset, value): &(i64, Option<&str>)| {
            let mut block = RecordBlock::new();
            let mut writer = block.append(*offset, if value.is_some() { 9 } else { 0 });
            value.inspect(|value| writer.value(value.as_bytes()));
            writer.finish();
            block
        };
        Blocks(records.iter().map(block).collect())
    }

    async fn kinds(
        backup: &[(i64, Option<&str>)],
        target: &[(i64, Option<&str>)],
        placement: Placement,
        range: std::ops::Range<i64>,
    ) -> Vec<(DifferenceKind, Option<i64>)> {
        let mut lockstep = Lockstep::new(blocks(backup), blocks(target), placement, Tolerance::default());
        let walk = lockstep.walk(range.start, range.end, 10, |_| {}).await.unwrap();
        assert_eq!(walk.different as usize, walk.differences.len());
        walk.differences
            .into_iter()
            .map(|found| (found.kind, found.target_offset))
            .collect()
    }

    #[tokio::test]
    async fn equal_logs_are_equal() {
        let records = [(3, Some("a")), (5, Some("b"))];
        assert_eq!(kinds(&records, &records, Placement::Exact, 0..9).await, []);
        let moved = [(10, Some("a")), (11, Some("b"))];
        assert_eq!(kinds(&records, &moved, Placement::From(10), 10..12).await, []);
    }

    #[tokio::test]
    async fn each_kind_of_difference_is_found() {
        let backup = [(3, Some("a")), (4, Some("b")), (5, Some("c"))];
        let missing = [(3, Some("a")), (5, Some("c"))];
        let changed = [(3, Some("a")), (4, Some("x")), (5, Some("c"))];
        let extra = [(3, Some("a")), (4, Some("b")), (5, Some("c")), (6, Some("d"))];
        let exact = Placement::Exact;
        assert_eq!(
            kinds(&backup, &missing, exact, 0..9).await,
            [(DifferenceKind::Missing, Some(4))]
        );
        assert_eq!(
            kinds(&backup, &changed, exact, 0..9).await,
            [(DifferenceKind::Value, Some(4))]
        );
        assert_eq!(
            kinds(&backup, &extra, exact, 0..9).await,
            [(DifferenceKind::Extra, Some(6))]
        );
        assert_eq!(kinds(&backup, &extra, exact, 0..6).await, []);
        assert_eq!(kinds(&backup, &changed, exact, 5..9).await, []);
    }

    #[tokio::test]
    async fn fillers_are_no_difference_where_offsets_are_exact() {
        let backup = [(3, Some("a"))];
        let target = [(0, None), (1, None), (2, None), (3, Some("a"))];
        assert_eq!(kinds(&backup, &target, Placement::Exact, 0..4).await, []);
        assert_eq!(kinds(&backup, &target, Placement::From(0), 0..4).await.len(), 4);
    }

    #[tokio::test]
    async fn the_placement_shows_itself() {
        let backup = [(3, Some("a")), (5, Some("b"))];
        let either = Placement::Either(0);
        assert_eq!(
            kinds(
                &backup,
                &[(0, None), (3, Some("a")), (5, Some("b"))],
                either,
                0..9
            )
            .await,
            []
        );
        assert_eq!(
            kinds(&backup, &[(0, Some("a")), (1, Some("b"))], either, 0..9).await,
            []
        );
        let backup = [(0, Some("a")), (2, Some("b"))];
        assert_eq!(
            kinds(&backup, &[(0, Some("a")), (2, Some("b"))], either, 0..9).await,
            []
        );
        assert_eq!(
            kinds(&backup, &[(0, Some("a")), (1, Some("b"))], either, 0..9).await,
            []
        );
    }

    #[tokio::test]
    async fn what_the_log_cleaner_drops_is_no_difference_where_that_is_said() {
        let backup = [(3, Some("a")), (4, Some("b")), (5, Some("c"))];
        let target = [(3, Some("a")), (5, Some("c"))];
        let lockstep = Lockstep::new(
            blocks(&backup),
            blocks(&target),
            Placement::Exact,
            Tolerance::default(),
        );
        let mut lockstep = lockstep.with_cleaned_target();
        assert_eq!(lockstep.walk(0, 9, 10, |_| {}).await.unwrap().different, 0);
    }

    #[tokio::test]
    async fn the_way_of_what_is_there_is_noted() {
        let backup = [(3, Some("a")), (4, Some("b")), (7, Some("c"))];
        let target = [(0, Some("a")), (1, Some("b")), (2, Some("c"))];
        let mut lockstep = Lockstep::new(
            blocks(&backup),
            blocks(&target),
            Placement::From(0),
            Tolerance::default(),
        );
        lockstep.walk(0, 3, 10, |_| {}).await.unwrap();
        let runs: Vec<_> = lockstep
            .take_offsets()
            .runs()
            .iter()
            .map(|run| (run.source, run.target, run.length))
            .collect();
        assert_eq!(runs, [(3, 0, 2), (7, 2, 1)]);
    }

    #[tokio::test]
    async fn the_backup_goes_on_behind_the_walk() {
        let backup = [(3, Some("a")), (4, Some("b")), (5, Some("c"))];
        let mut lockstep = Lockstep::new(
            blocks(&backup),
            blocks(&backup[..2]),
            Placement::From(0),
            Tolerance::default(),
        );
        // The target has the first two records, at 3 and 4 instead of 0 and 1.
        assert_eq!(lockstep.walk(0, 2, 10, |_| {}).await.unwrap().different, 2);
        assert_eq!(lockstep.passed(), 2);
        let cursor = lockstep.into_backup();
        assert_eq!(cursor.current().map(|record| record.offset), Some(5));
    }
}
