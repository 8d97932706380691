//! What exact offsets cost: time, disk, requests. The rates were measured on Apache Kafka 3.9 and 4.1 (one broker on
//! two busy cores), which makes them cautious; the way to and from the brokers is measured on the cluster itself.

use std::time::Duration;

use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use record::TopicPartition;
use serde::Serialize;
use tokio::time::Instant;

use super::gaps::GapMethod;
use super::survey::Survey;

/// Seconds that a million fillers take in batches of 100 000, zstd: measured with a broker that had the cores to itself. On
/// a busy machine 0.38 was seen (`bench/README.md`); what it is here, a restore measures itself once it has begun.
const FILLER_SECONDS_PER_MILLION: f64 = 0.12;
/// Bytes that they take on one replica: 422 MB were seen for a thousand millions.
const FILLER_BYTES_PER_MILLION: f64 = 420_000.0;
/// A transaction marker's seconds and bytes on disk.
const MARKER_SECONDS: f64 = 1.0 / 75_000.0;
const MARKER_BYTES: f64 = 78.0;
/// What a batch that a gap ends early costs beside the markers.
const GAP_SECONDS: f64 = 0.0005;
/// Requests under way at once.
const IN_FLIGHT: f64 = 5.0;
/// Empty transactions per second with 16 transactional ids, for one partition.
const TRANSACTIONS_PER_SECOND: f64 = 1_500.0;
/// Round trips of a gap that is closed by transactions: the batch before it, the transactions, the log's end.
const TRANSACTION_ROUND_TRIPS: f64 = 6.0;
/// A hidden record's seconds and bytes on disk.
const HIDDEN_SECONDS: f64 = 0.08e-6;
const HIDDEN_BYTES: f64 = 12.0;
/// What the log cleaner takes until it begins, and for a million offsets.
const CLEANER_SECONDS: f64 = 20.0;
const CLEANER_SECONDS_PER_MILLION: f64 = 0.15;
/// A log takes so many times its size while it is cleaned.
const CLEANING_FACTOR: f64 = 3.0;
/// Markers of one request, and offsets of one batch of fillers.
const MARKERS: u64 = 1_000;
const FILLERS: u64 = 100_000;

/// What exact offsets of a partition cost beyond its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ExactCost {
    /// Seconds, if the partition were alone.
    pub seconds: f64,
    /// Bytes on the brokers' disks at the peak, all replicas.
    pub disk_bytes: u64,
    /// Requests.
    pub requests: u64,
}

impl ExactCost {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

/// The time of a round trip to the brokers: the shortest of a few, of a question that changes nothing.
pub(crate) async fn round_trip(cluster: &Cluster, partition: Option<&TopicPartition>) -> Duration {
    let mut shortest = Duration::from_secs(1);
    for _ in 0..5 {
        let asked = Instant::now();
        let answered = match partition {
            Some(partition) => {
                let answers = cluster
                    .list_offsets(std::slice::from_ref(partition), OffsetSpec::Latest)
                    .await;
                answers.iter().all(|(_, answer)| answer.is_ok())
            }
            None => cluster.refresh(Some(&[])).await.is_ok(),
        };
        if answered {
            shortest = shortest.min(asked.elapsed());
        }
    }
    shortest
}

/// Where an estimate's rates come from, in words.
pub(crate) fn basis(method: GapMethod, round_trip: Duration) -> String {
    let way = match method {
        GapMethod::Markers => format!(
            ", {:.0} markers a second and {MARKER_BYTES} bytes for each",
            1.0 / MARKER_SECONDS
        ),
        GapMethod::Transactions => {
            format!(
                ", {TRANSACTIONS_PER_SECOND} empty transactions a second and {MARKER_BYTES} bytes for each"
            )
        }
        GapMethod::Cleaner => format!(
            ", a log cleaner that begins within {CLEANER_SECONDS} s and takes {CLEANER_SECONDS_PER_MILLION} s for a million"
        ),
        GapMethod::Hidden => format!(", {HIDDEN_BYTES} bytes for each hidden record"),
        GapMethod::None => String::new(),
    };
    format!(
        "a round trip of {:.1} ms, measured on this cluster just now; {FILLER_SECONDS_PER_MILLION} s and {:.1} MB for a \
         million fillers{way}, measured on Apache Kafka 3.9 and 4.1 on two busy cores",
        round_trip.as_secs_f64() * 1e3,
        FILLER_BYTES_PER_MILLION / 1e6
    )
}

/// Of a restore that goes on, the part that is left.
fn part_left(first: i64, end: i64, target_end: i64) -> f64 {
    let span = (end - first).max(1) as f64;
    ((end - target_end.max(first)).max(0) as f64 / span).min(1.0)
}

/// Offsets between records that have none, behind `target_end`.
pub(crate) fn missing_left(survey: &Survey, target_end: i64) -> f64 {
    match (survey.first_offset, survey.end_offset) {
        (Some(first), Some(end)) => survey.missing_offsets as f64 * part_left(first, end, target_end),
        _ => 0.0,
    }
}

/// What so many fillers before the first record take, in seconds.
pub(crate) fn prefix_seconds(offsets: u64) -> f64 {
    offsets as f64 / 1e6 * FILLER_SECONDS_PER_MILLION
}

/// What exact offsets cost for a partition whose log ends at `target_end` now.
pub(crate) fn estimate(
    survey: &Survey,
    method: GapMethod,
    target_end: i64,
    replicas: u32,
    round_trip: Duration,
) -> ExactCost {
    let (Some(first), Some(end)) = (survey.first_offset, survey.end_offset) else {
        return ExactCost::default();
    };
    let prefix = (first - target_end).max(0) as u64;
    let left = part_left(first, end, target_end);
    let missing = survey.missing_offsets as f64 * left;
    let gaps = survey.gaps as f64 * left;
    let millions = |offsets: f64| offsets / 1e6;
    let round_trip = round_trip.as_secs_f64();

    let mut seconds = prefix_seconds(prefix);
    let mut disk = millions(prefix as f64) * FILLER_BYTES_PER_MILLION;
    let mut requests = prefix.div_ceil(FILLERS) as f64;
    match method {
        GapMethod::Markers => {
            seconds += missing * MARKER_SECONDS + gaps * (GAP_SECONDS + 2.0 * round_trip / IN_FLIGHT);
            disk += missing * MARKER_BYTES;
            requests += gaps + missing / MARKERS as f64;
        }
        GapMethod::Transactions => {
            seconds +=
                missing / TRANSACTIONS_PER_SECOND + gaps * TRANSACTION_ROUND_TRIPS * round_trip.max(0.0005);
            disk += missing * MARKER_BYTES;
            requests += 3.0 * missing + 2.0 * gaps;
        }
        GapMethod::Cleaner if missing > 0.0 => {
            let filled = millions(missing) * FILLER_BYTES_PER_MILLION;
            seconds += millions(missing) * (FILLER_SECONDS_PER_MILLION + CLEANER_SECONDS_PER_MILLION)
                + CLEANER_SECONDS;
            disk += (filled + survey.payload_bytes as f64) * CLEANING_FACTOR;
            requests += missing / FILLERS as f64 + 8.0;
        }
        GapMethod::Hidden => {
            seconds += missing * HIDDEN_SECONDS;
            disk += missing * HIDDEN_BYTES;
            requests += missing * HIDDEN_BYTES / 1e6;
        }
        GapMethod::Cleaner | GapMethod::None => {}
    }
    ExactCost {
        seconds,
        disk_bytes: (disk * f64::from(replicas.max(1))) as u64,
        requests: requests as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(first: i64, end: i64, missing: u64, gaps: u64) -> Survey {
        Survey {
            first_offset: Some(first),
            end_offset: Some(end),
            missing_offsets: missing,
            gaps,
            ..Survey::default()
        }
    }

    #[test]
    fn a_billion_fillers_take_about_two_minutes() {
        let survey = survey(1_000_000_000, 1_000_000_100, 0, 0);
        let cost = estimate(&survey, GapMethod::Markers, 0, 3, Duration::from_millis(1));
        assert!((100.0..150.0).contains(&cost.seconds), "{cost:?}");
        assert!(
            (1_200_000_000..1_300_000_000).contains(&cost.disk_bytes),
            "{cost:?}"
        );
        assert_eq!(cost.requests, 10_000);
    }

    #[test]
    fn what_is_done_costs_nothing_more() {
        let all = survey(1_000, 2_000_000, 1_000_000, 10);
        let cost = |target_end| estimate(&all, GapMethod::Markers, target_end, 1, Duration::from_millis(1));
        assert!(cost(0).seconds > cost(1_000_000).seconds);
        assert_eq!(cost(2_000_000).requests, 0);
        assert_eq!(
            estimate(&Survey::default(), GapMethod::Markers, 0, 1, Duration::ZERO),
            ExactCost::default()
        );
    }

    #[test]
    fn the_basis_says_what_was_measured_where() {
        assert_eq!(
            basis(GapMethod::Markers, Duration::from_micros(420)),
            "a round trip of 0.4 ms, measured on this cluster just now; 0.12 s and 0.4 MB for a million fillers, 75000 \
             markers a second and 78 bytes for each, measured on Apache Kafka 3.9 and 4.1 on two busy cores"
        );
    }

    #[test]
    fn transactions_cost_more_than_markers() {
        let all = survey(0, 2_000_000, 1_000_000, 1_000);
        let cost = |method| estimate(&all, method, 0, 1, Duration::from_millis(1)).seconds;
        assert!(cost(GapMethod::Transactions) > 10.0 * cost(GapMethod::Markers));
    }
}
