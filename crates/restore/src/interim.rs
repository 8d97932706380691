//! The report while the restore goes on: a machine that dies leaves a file that says what is confirmed, offset maps
//! included.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use record::TopicPartition;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::file::write_whole;
use crate::report::{Outcome, PartitionReport, Report};

/// How often it is written at most, and how often a partition tells where it is.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
/// Writing may take one part in so many of the time.
const SHARE: u32 = 20;

type Partitions = BTreeMap<TopicPartition, PartitionReport>;

/// Where partitions tell how far they are.
#[derive(Clone, Default)]
pub(crate) struct Interim(Option<Arc<Mutex<Partitions>>>);

impl Interim {
    /// Somebody listens where `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        Self(wanted.then(Arc::default))
    }

    /// True where somebody listens.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Tells how far a partition of the target is.
    pub(crate) fn note(&self, partition: &TopicPartition, report: &PartitionReport) {
        if let Some(partitions) = &self.0 {
            let mut partitions = partitions.lock().unwrap_or_else(PoisonError::into_inner);
            partitions.insert(partition.clone(), report.clone());
        }
    }

    fn partitions(&self) -> Partitions {
        let Some(partitions) = &self.0 else {
            return Partitions::new();
        };
        partitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes the report now and then until it is stopped.
pub(crate) struct Writing {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Writing {
    /// Writes `report`, with what the partitions of its topics tell, to `path`.
    pub(crate) fn start(path: PathBuf, report: Report, interim: Interim) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let started = Instant::now();
        let task = tokio::spawn(async move {
            let mut pause = INTERVAL;
            loop {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stopped.cancelled() => return,
                }
                let begun = Instant::now();
                let (path, mut report, interim) = (path.clone(), report.clone(), interim.clone());
                let written = tokio::task::spawn_blocking(move || {
                    report.elapsed_milliseconds =
                        u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    fill(&mut report, interim.partitions());
                    let text = serde_json::to_vec_pretty(&report).map_err(std::io::Error::from)?;
                    write_whole(&path, &text)
                });
                if let Ok(Err(error)) = written.await {
                    tracing::warn!(%error, "the report cannot be written while the restore goes on");
                }
                pause = INTERVAL.max(begun.elapsed() * SHARE);
            }
        });
        Self { stop, task }
    }

    /// Ends it; nothing is written after that.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Puts what is known of partitions into the report; those that nothing is known of have restored nothing yet.
fn fill(report: &mut Report, mut partitions: Partitions) {
    for topic in &mut report.topics {
        for partition in &mut topic.partitions {
            let at = TopicPartition::new(topic.target.as_str(), partition.partition);
            if let Some(known) = partitions.remove(&at) {
                *partition = known;
            }
        }
    }
}

/// The report of a partition that has not begun.
pub(crate) fn not_begun(partition: i32, exact: bool) -> PartitionReport {
    PartitionReport {
        outcome: Outcome::Interrupted,
        ..PartitionReport::new(partition, exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{REPORT_VERSION, Stages, TopicReport};

    fn report() -> Report {
        Report {
            version: REPORT_VERSION,
            started: String::new(),
            elapsed_milliseconds: 0,
            source: "file:///b".to_owned(),
            topics: vec![TopicReport {
                source: "t".to_owned(),
                target: "u".to_owned(),
                latest: None,
                partitions: vec![not_begun(0, false), not_begun(1, false)],
            }],
            unmatched_objects: 0,
            findings: Vec::new(),
            expirations: Vec::new(),
            to_do: Vec::new(),
            unfinished: None,
            exact: None,
            stages: Stages::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_says_how_far_each_partition_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let interim = Interim::new(true);
        let mut first = PartitionReport::new(1, false);
        first.offsets.push(17, 0, 5);
        interim.note(&TopicPartition::new("u", 1), &first);
        let writing = Writing::start(path.clone(), report(), interim);
        while !path.exists() {
            sleep(INTERVAL).await;
            tokio::task::yield_now().await;
        }
        writing.stop().await;
        let found: Report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let partitions = &found.topics[0].partitions;
        assert_eq!(partitions[0].outcome, Outcome::Interrupted);
        assert_eq!(partitions[1].offsets, first.offsets);
        // Nobody is told where nobody listens.
        let deaf = Interim::default();
        deaf.note(&TopicPartition::new("u", 1), &first);
        assert!(deaf.partitions().is_empty());
    }
}
