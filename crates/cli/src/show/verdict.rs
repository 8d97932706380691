//! What a comparison found.

use std::fmt::Write as _;
use std::time::Duration;

use ::restore::verify::VerifyReport;

use crate::text::{count, duration, plural, signed, table};

/// The whole comparison.
pub(crate) fn verdict(report: &VerifyReport) -> String {
    let rows = report.partitions.iter().map(|partition| {
        let state = match (&partition.error, partition.different, partition.fillers) {
            (Some(_), ..) => "not compared",
            (None, 0, 0) => "equal",
            (None, 0, _) => "equal, with fillers",
            (None, ..) => "different",
        };
        vec![
            partition.target.clone(),
            partition.partition.to_string(),
            state.to_owned(),
            count(partition.equal),
            count(partition.different),
        ]
    });
    let mut text = table(
        &["topic", "partition", "state", "equal records", "differences"],
        rows.collect(),
        &[1, 3, 4],
    );
    for partition in &report.partitions {
        let place = format!("{}-{}", partition.target, partition.partition);
        for difference in &partition.differences {
            let _ = writeln!(text, "{place}: {difference}");
        }
        let unshown = partition
            .different
            .saturating_sub(partition.differences.len() as u64);
        if unshown > 0 {
            let _ = writeln!(text, "{place}: more differences, not shown: {}", count(unshown));
        }
        if let Some(sample) = &partition.sample {
            let range = sample.stretches.first().zip(sample.stretches.last());
            let (first, last) = range.map_or((0, 0), |((first, _), (_, last))| (*first, *last));
            let _ = writeln!(
                text,
                "{place}: a sample: {} in {}, spread from {} to {}",
                plural(sample.offsets(), "offset"),
                plural(sample.stretches.len() as u64, "part"),
                signed(first),
                signed(last)
            );
        }
        if partition.cleaned > 0 {
            let _ = writeln!(
                text,
                "{place}: {} cleaned away, as a compacted topic may: newer ones of the same keys lie behind them, or they \
                 were tombstones or had no key",
                plural(partition.cleaned, "record")
            );
        }
        if partition.unproven > 0 {
            let _ = writeln!(
                text,
                "{place}: {} of the sample not there: the log cleaner may have dropped them or not; only a comparison \
                 without --sample tells",
                plural(partition.unproven, "record")
            );
        }
        if partition.fillers > 0 {
            let _ = writeln!(
                text,
                "{place}: {} that fill missing offsets are still to be seen: where they lie before the first record, the \
                 same restore command makes the log begin there again; where they lie between records, the log cleaner \
                 has not been there yet",
                plural(partition.fillers, "null record")
            );
        }
        if let Some(error) = &partition.error {
            let _ = writeln!(text, "{place}: not compared to its end: {error}");
        }
    }
    let equal = report.partitions.iter().map(|partition| partition.equal).sum();
    let elapsed = duration(Duration::from_millis(report.elapsed_milliseconds));
    let is_sample = report
        .partitions
        .iter()
        .any(|partition| partition.sample.is_some());
    let state = match (report.is_equal(), is_sample) {
        (true, false) => "all equal",
        (true, true) => "no difference in the sample",
        (false, _) => "NOT equal",
    };
    let _ = writeln!(
        text,
        "\n{state}: {} compared and equal, in {elapsed}",
        plural(equal, "record")
    );
    text
}

#[cfg(test)]
mod tests {
    use ::restore::compare::{Difference, DifferenceKind};
    use ::restore::verify::PartitionVerdict;

    use super::*;

    #[test]
    fn a_verdict() {
        let partition = |partition, different, error: Option<&str>| PartitionVerdict {
            source: "orders".into(),
            target: "orders-restored".into(),
            partition,
            equal: 1_234_567,
            different,
            differences: (0..different.min(1))
                .map(|_| Difference {
                    source_offset: Some(17),
                    target_offset: Some(3),
                    kind: DifferenceKind::Value,
                    backup: "\"a\"".into(),
                    target: "\"b\"".into(),
                })
                .collect(),
            fillers: 0,
            cleaned: 0,
            unproven: 0,
            sample: None,
            error: error.map(str::to_owned),
        };
        let report = VerifyReport {
            version: 1,
            source: "gs://bucket".into(),
            elapsed_milliseconds: 61_000,
            partitions: vec![
                partition(0, 0, None),
                partition(1, 3, None),
                partition(2, 0, Some("the broker is gone")),
            ],
        };
        insta::assert_snapshot!(verdict(&report));
    }
}
