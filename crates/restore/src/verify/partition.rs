//! Compares one partition: all of it or a sample, of a topic whose log cleaner may have been there or not.

use std::ops::Range;

use backup::stream::{PartitionStream, StreamContext, StreamOptions};
use kafka::cluster::Cluster;
use kafka::fetch::{Isolation, PartitionFetcher};
use record::TopicPartition;

use super::{Depth, PartitionVerdict, Sample};
use crate::cleaned::{self, Cleaned};
use crate::compare::{Difference, DifferenceKind, Tolerance, difference};
use crate::error::RestoreError;
use crate::exact::stands_exact;
use crate::execute::stream_options;
use crate::job::{Job, OffsetMode};
use crate::lockstep::{Lockstep, Placement, Walk};
use crate::logs;
use crate::plan::{PartitionPlan, RestorePlan, TopicPlan};
use crate::sample::stretches;
use crate::shared::Counters;
use crate::topics;

/// The part of the memory for everything that goes to keys whose newest record is looked for, of all partitions.
const MEMORY_SHARE: usize = 4;
/// The most parts that keys are taken in.
const MOST_PARTS: u32 = 1 << 16;

/// Everything about the comparison of one partition.
pub(super) struct Comparing<'a> {
    pub(super) job: &'a Job,
    pub(super) plan: &'a RestorePlan,
    pub(super) topic: &'a TopicPlan,
    pub(super) partition: &'a PartitionPlan,
    pub(super) is_compacted: bool,
    pub(super) cluster: &'a Cluster,
    pub(super) context: &'a StreamContext,
    pub(super) depth: Depth,
    pub(super) counters: &'a Counters,
}

/// True where the log cleaner may have dropped records of `topic`. Who may not see that gets to see what is missing.
pub(super) async fn is_compacted(cluster: &Cluster, topic: &str) -> bool {
    match topics::configs(cluster, topic).await {
        Ok(configs) => configs
            .get("cleanup.policy")
            .is_some_and(|policy| policy.value.contains("compact")),
        Err(error) => {
            tracing::info!(topic, %error, "whether the topic is compacted is not known");
            false
        }
    }
}

impl Comparing<'_> {
    /// Does it, and puts the result into `verdict`.
    pub(super) async fn compare(&self, verdict: &mut PartitionVerdict) -> Result<(), RestoreError> {
        let log = self.log().await?;
        let tolerance = Tolerance::of(&self.topic.content);
        // Without keys nobody can tell what the cleaner has dropped.
        let is_judged = self.is_compacted && !tolerance.any_key;
        let placement = self.placement(&log, is_judged).await?;
        let mut parts = 1;
        loop {
            let mut found = Found::default();
            for part in 0..parts {
                let most = self.job.resources.memory
                    / MEMORY_SHARE
                    / self.context.budget.partitions_at_once().max(1)
                    / cleaned::ENTRY_BYTES;
                let new = || is_judged.then(|| Cleaned::new(log.end, most, (part, parts), tolerance));
                let pass = match self.depth.sample {
                    None => self.whole(&log, placement, tolerance, new(), part == 0).await?,
                    Some(share) => self.sample(&log, placement, tolerance, share, new).await?,
                };
                found.add(pass, part == 0, self.depth.limit);
                if found.is_overflown {
                    break;
                }
            }
            if found.is_overflown && parts < MOST_PARTS {
                parts *= 4;
                continue;
            }
            return self.put(found, verdict).await;
        }
    }

    /// The target's log as it is now.
    async fn log(&self) -> Result<Range<i64>, RestoreError> {
        let (start, end) = logs::range(self.cluster, &self.target()).await?;
        Ok(start..end)
    }

    /// How target offsets relate to source offsets: as the job says, or as the target shows.
    async fn placement(&self, log: &Range<i64>, is_judged: bool) -> Result<Placement, RestoreError> {
        match self.job.target.offsets {
            // Nobody knows the original offsets of the latest record of each key.
            _ if self.topic.latest.is_some() => return Ok(Placement::From(0)),
            OffsetMode::Exact => return Ok(Placement::Exact),
            OffsetMode::Map => return Ok(Placement::From(0)),
            // The first difference between the two tells, if it is looked at and may not be missing.
            OffsetMode::Auto if !is_judged && self.depth.sample.is_none() => return Ok(Placement::Either(0)),
            OffsetMode::Auto => {}
        }
        let partition = PartitionPlan {
            target_start: log.start,
            target_end: log.end,
            ..self.partition.clone()
        };
        let (plan, topic) = (self.plan, self.topic);
        let stands = stands_exact(
            self.cluster,
            self.context,
            plan,
            topic,
            &partition,
            &self.options(),
        )
        .await?;
        Ok(match stands {
            true => Placement::Exact,
            false => Placement::From(0),
        })
    }

    async fn whole(
        &self,
        log: &Range<i64>,
        placement: Placement,
        tolerance: Tolerance,
        cleaned: Option<Cleaned>,
        is_counted: bool,
    ) -> Result<Found, RestoreError> {
        let backup = self.backup(self.options())?;
        let mut lockstep = Lockstep::new(backup, self.fetch(log.clone()), placement, tolerance);
        if let Some(cleaned) = cleaned {
            lockstep = lockstep.judged_by(cleaned);
        }
        let step = |records| Counters::add(&self.counters.records_done, if is_counted { records } else { 0 });
        // What retention or a person has deleted from the beginning of the target is missing there, so the walk starts
        // at 0 whatever the log start; and records of the backup that the target has no room for are missing too.
        let walk = lockstep.walk(0, i64::MAX, self.depth.limit, step).await?;
        let mut found = Found::default();
        found.walked(walk, lockstep.take_cleaned(), true, self.depth.limit);
        Ok(found)
    }

    async fn sample(
        &self,
        log: &Range<i64>,
        placement: Placement,
        tolerance: Tolerance,
        share: f64,
        cleaned: impl Fn() -> Option<Cleaned>,
    ) -> Result<Found, RestoreError> {
        let objects = self.plan.objects(&self.topic.source, self.partition.partition)?;
        // Where objects do not say what they hold, each stretch would read all of them.
        let jumps = placement == Placement::Exact && objects.have_start_offsets();
        let range = match placement {
            Placement::Exact => {
                let first = self.partition.first_start_offset.unwrap_or(log.start);
                let last = self.partition.last_start_offset.map_or(log.end, |last| last + 1);
                first.min(log.start)..last.max(log.end)
            }
            Placement::From(_) | Placement::Either(_) => 0..log.end,
        };
        let stretches = stretches(range, share);
        if stretches.is_empty() {
            return self.whole(log, placement, tolerance, cleaned(), true).await;
        }
        let mut found = Found {
            stretches: stretches.iter().map(|part| (part.start, part.end - 1)).collect(),
            ..Found::default()
        };
        let nothing = || self.fetch(log.end..log.end);
        let mut lockstep = Lockstep::new(self.backup(self.options())?, nothing(), placement, tolerance);
        let step = |records| Counters::add(&self.counters.records_done, records);
        for (number, part) in stretches.iter().enumerate() {
            let is_last = number + 1 == stretches.len();
            let end = if is_last { i64::MAX } else { part.end };
            let target = self.fetch(part.start.max(log.start)..end.min(log.end));
            lockstep = match jumps {
                true => {
                    let mut options = self.options();
                    options.from_offset = options.from_offset.max(Some(part.start));
                    let last = (!is_last).then_some(end - 1);
                    options.to_offset = match (options.to_offset, last) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                    Lockstep::new(self.backup(options)?, target, placement, tolerance)
                }
                false => lockstep.with_target(target),
            };
            if let Some(cleaned) = cleaned() {
                lockstep = lockstep.judged_by(cleaned);
            }
            let walk = lockstep.walk(part.start, end, self.depth.limit, step).await?;
            found.walked(walk, lockstep.take_cleaned(), is_last, self.depth.limit);
        }
        Ok(found)
    }

    async fn put(&self, found: Found, verdict: &mut PartitionVerdict) -> Result<(), RestoreError> {
        let Found {
            walk,
            cleaned,
            unproven,
            lost,
            stretches,
            ..
        } = found;
        verdict.equal = walk.equal;
        verdict.fillers = walk.fillers;
        verdict.different = walk.different + lost.count;
        verdict.differences = walk.differences;
        for (source, target) in lost.first {
            verdict.differences.push(self.lost(source, target).await?);
        }
        let place = |found: &Difference| found.target_offset.or(found.source_offset);
        verdict.differences.sort_by_key(place);
        verdict.differences.truncate(self.depth.limit);
        verdict.cleaned = cleaned;
        verdict.unproven = unproven;
        verdict.sample = (!stretches.is_empty()).then_some(Sample { stretches });
        Ok(())
    }

    /// Reads a lost record once more, to show it.
    async fn lost(&self, source: i64, target: i64) -> Result<Difference, RestoreError> {
        let mut options = self.options();
        (options.from_offset, options.to_offset) = (Some(source), Some(source));
        let mut backup = self.backup(options)?;
        let block = backup.next().await?;
        let record = block.as_ref().and_then(|block| block.first());
        Ok(Difference {
            source_offset: Some(source),
            target_offset: Some(target),
            ..difference(DifferenceKind::Missing, record, None)
        })
    }

    fn options(&self) -> StreamOptions {
        stream_options(self.job, &self.topic.content.decoding)
    }

    fn backup(&self, options: StreamOptions) -> Result<PartitionStream, RestoreError> {
        let source = TopicPartition::new(self.topic.source.as_str(), self.partition.partition);
        let records = self.plan.records(&self.topic.source, self.partition.partition)?;
        Ok(records.stream(self.context, source, options))
    }

    fn target(&self) -> TopicPartition {
        TopicPartition::new(self.topic.target.as_str(), self.partition.partition)
    }

    fn fetch(&self, range: Range<i64>) -> PartitionFetcher {
        let isolation = Isolation::ReadUncommitted;
        PartitionFetcher::new(
            self.cluster.clone(),
            self.target(),
            range.start,
            range.end,
            isolation,
        )
    }
}

/// Records that are missing although they hold the newest value of their keys.
#[derive(Default)]
struct Lost {
    count: u64,
    /// Some of them: (source offset, target offset).
    first: Vec<(i64, i64)>,
}

/// What the comparison has shown so far.
#[derive(Default)]
struct Found {
    walk: Walk,
    cleaned: u64,
    unproven: u64,
    lost: Lost,
    is_overflown: bool,
    stretches: Vec<(i64, i64)>,
}

impl Found {
    /// Adds a walk, which has reached the backup's end or not.
    fn walked(&mut self, walk: Walk, cleaned: Option<Cleaned>, is_last: bool, limit: usize) {
        self.walk.equal += walk.equal;
        self.walk.fillers += walk.fillers;
        self.walk.different += walk.different;
        self.walk.differences.extend(walk.differences);
        self.walk.differences.truncate(limit);
        let Some(cleaned) = cleaned else { return };
        self.is_overflown |= cleaned.is_overflown();
        self.cleaned += cleaned.dropped();
        let lost = cleaned.into_lost();
        match is_last {
            true => self.lose(lost.len() as u64, lost, limit),
            false => self.unproven += lost.len() as u64,
        }
    }

    fn lose(&mut self, count: u64, mut first: Vec<(i64, i64)>, limit: usize) {
        self.lost.count += count;
        self.lost.first.append(&mut first);
        self.lost.first.sort_unstable();
        self.lost.first.truncate(limit);
    }

    /// Adds what a pass for a part of the keys has shown. Whatever is not about keys shows in each of them.
    fn add(&mut self, pass: Self, is_first: bool, limit: usize) {
        if is_first {
            (self.walk, self.stretches) = (pass.walk, pass.stretches);
        }
        self.cleaned += pass.cleaned;
        self.unproven += pass.unproven;
        self.is_overflown |= pass.is_overflown;
        self.lose(pass.lost.count, pass.lost.first, limit);
    }
}
