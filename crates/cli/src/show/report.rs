//! What a restore did.

use std::fmt::Write as _;
use std::time::Duration;

use ::restore::report::{Outcome, PartitionReport, Report};

use super::topics::put_expirations;
use super::{latest_state, range};
use crate::text::{bytes, count, duration, plural, signed, table};

/// More offset differences than this are only counted.
const SHOWN_DIFFERENCES: usize = 3;

/// The report in one line.
fn line(report: &Report) -> String {
    let payload: u64 = report
        .partitions()
        .map(|(_, partition)| partition.payload_bytes)
        .sum();
    let elapsed = Duration::from_millis(report.elapsed_milliseconds);
    let mut line = format!(
        "{} restored, {} of payload, in {}",
        plural(report.records(), "record"),
        bytes(payload),
        duration(elapsed)
    );
    let resumed = report
        .partitions()
        .filter(|(_, partition)| partition.resumed_at.is_some())
        .count();
    if resumed > 0 {
        let _ = write!(
            line,
            "; {} went on from where an earlier run ended",
            plural(resumed as u64, "partition")
        );
    }
    if report.partitions().next().is_some()
        && report
            .partitions()
            .all(|(_, partition)| partition.verified.as_ref().is_some_and(|verified| verified.equal))
    {
        line.push_str("; read back and equal");
    }
    line
}

/// The whole report.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    for topic in &report.topics {
        let name = match topic.source == topic.target {
            true => topic.source.clone(),
            false => format!("{} -> {}", topic.source, topic.target),
        };
        let _ = writeln!(text, "{name}");
        let rows = topic.partitions.iter().map(|partition| {
            vec![
                partition.partition.to_string(),
                match partition.outcome {
                    Outcome::Complete => "complete".to_owned(),
                    Outcome::Failed { .. } => "failed".to_owned(),
                    Outcome::Interrupted => "interrupted".to_owned(),
                },
                count(partition.records),
                range(partition.source_range),
                range(partition.target_range),
                count(partition.gaps),
                differences(partition),
            ]
        });
        text.push_str(&table(
            &[
                "partition",
                "state",
                "records",
                "source offsets",
                "target offsets",
                "gaps",
                "target - source",
            ],
            rows.collect(),
            &[0, 2, 3, 4, 5, 6],
        ));
        if let Some(latest) = &topic.latest {
            let _ = writeln!(text, "{}: {}", topic.target, latest_state(latest));
        }
        for partition in &topic.partitions {
            put_remarks(&mut text, &topic.target, partition);
        }
        text.push('\n');
    }
    for finding in &report.findings {
        let _ = writeln!(text, "note: {finding}");
    }
    put_expirations(&mut text, &report.expirations);
    if !report.to_do.is_empty() {
        let _ = writeln!(text, "left to do by hand:");
        for command in &report.to_do {
            let _ = writeln!(text, "  {command}");
        }
    }
    if report.unmatched_objects > 0 {
        let _ = writeln!(
            text,
            "note: objects in the backup that belong to no topic: {}",
            count(report.unmatched_objects)
        );
    }
    let _ = writeln!(text, "{}", line(report));
    if let Some(cost) = report.exact.filter(|cost| cost.offsets > 0) {
        let _ = writeln!(
            text,
            "original offsets: {} without records were filled in {:.1} s (the plan expected {} in {:.1} s)",
            count(cost.offsets),
            cost.seconds,
            count(cost.expected_offsets),
            cost.expected_seconds
        );
    }
    if let Some(limit) = report.stages.shares.limit() {
        let parts = report.stages.shares.all().into_iter();
        let parts: Vec<String> = parts
            .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
            .collect();
        let _ = writeln!(
            text,
            "where the time went: {}; the limit was: {limit}",
            parts.join(", ")
        );
    }
    text
}

/// What added to a source offset gives its target offset: one number, or where it changes.
fn differences(partition: &PartitionReport) -> String {
    let differences = partition.differences();
    let mut parts = differences.iter().take(SHOWN_DIFFERENCES).enumerate().map(
        |(index, (from, difference))| match index {
            0 => signed(*difference),
            _ => format!("{} from {}", signed(*difference), signed(*from)),
        },
    );
    let mut text = parts.next().unwrap_or_else(|| "-".to_owned());
    for part in parts {
        let _ = write!(text, ", {part}");
    }
    if differences.len() > SHOWN_DIFFERENCES {
        let _ = write!(text, ", {} more changes", differences.len() - SHOWN_DIFFERENCES);
    }
    text
}

fn put_remarks(text: &mut String, topic: &str, partition: &PartitionReport) {
    let place = format!("{topic}-{}", partition.partition);
    if let Outcome::Failed { error, .. } = &partition.outcome {
        let _ = writeln!(text, "{place}: failed: {error}");
    }
    for (what, number) in [
        (
            "equal records that stood in more than one object, restored once",
            partition.duplicates,
        ),
        (
            "offsets with different records in different objects, settled as asked",
            partition.conflicts,
        ),
        (
            "records that could not be read, left out as asked",
            partition.rejected,
        ),
        (
            "source offsets inside the range without a record in the backup",
            partition.missing_offsets,
        ),
    ] {
        if number > 0 {
            let _ = writeln!(text, "{place}: {what}: {}", count(number));
        }
    }
    for note in &partition.notes {
        let _ = writeln!(text, "{place}: {note}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report() {
        let partition = |number: i32, outcome: serde_json::Value, runs: &[(i64, i64, i64)]| {
            let records: i64 = runs.iter().map(|run| run.2).sum();
            let first = runs.first().map(|run| (run.0, run.1));
            let last = runs.last().map(|run| (run.0 + run.2 - 1, run.1 + run.2 - 1));
            let range = |first: Option<i64>, last: Option<i64>| first.zip(last);
            serde_json::json!({
                "partition": number, "outcome": outcome, "resumed_at": null, "records": records,
                "payload_bytes": records * 100,
                "source_range": range(first.map(|f| f.0), last.map(|l| l.0)),
                "target_range": range(first.map(|f| f.1), last.map(|l| l.1)),
                "exact": false, "missing_offsets": runs.len().saturating_sub(1), "gaps": runs.len().saturating_sub(1),
                "offsets": runs.iter().map(|(source, target, length)|
                    serde_json::json!({"source": source, "target": target, "length": length})).collect::<Vec<_>>(),
                "objects": 3, "duplicates": 0, "conflicts": 0, "rejected": number, "notes": []
            })
        };
        let complete = serde_json::json!({"state": "complete"});
        let failed = serde_json::json!({"state": "failed", "error": "orders-0-17.gz, line 12: bad base64", "retriable": false});
        let whole: Report = serde_json::from_value(serde_json::json!({
            "version": 1, "started": "2026-11-22T00:00:00Z", "elapsed_milliseconds": 61_000, "source": "gs://bucket",
            "topics": [{"source": "orders", "target": "orders-restored", "partitions": [
                partition(0, complete.clone(), &[(0, 0, 1_234_567)]),
                partition(1, failed, &[(17, 0, 3), (30, 3, 5), (40, 8, 5), (60, 13, 5), (80, 18, 1)]),
                partition(2, complete, &[]),
            ]}],
            "unmatched_objects": 1, "findings": ["orders may have had more partitions"],
            "stages": {"shares": {"list": 0.01, "fetch": 0.1, "unwrap": 0.2, "decode": 0.05, "encode": 0.04,
                                  "broker": 0.6}}
        }))
        .unwrap();
        insta::assert_snapshot!(report(&whole));
    }
}
