//! The plan of a restore.

use std::fmt::Write as _;
use std::time::Duration;

use ::restore::plan::{Finding, PartitionPlan, RestorePlan, Severity, TopicPlan};
use backup::format::Format;
use serde_json::Value;

use super::{latest_state, number, range};
use crate::text::{bytes, count, duration, plural, signed, table};

/// The plan in one line, for the person who watches it being carried out.
pub(crate) fn plan_line(plan: &RestorePlan) -> String {
    let (objects, stored_bytes, partitions) = plan.totals();
    format!(
        "restoring {} in {} ({}) from {}",
        plural(partitions, "partition"),
        plural(objects, "object"),
        bytes(stored_bytes),
        plan.source
    )
}

/// The whole plan.
pub(crate) fn plan(plan: &RestorePlan) -> String {
    let mut text = format!("backup: {}, names: {}\n", plan.source, plan.layout);
    for topic in &plan.topics {
        text.push('\n');
        put_topic(&mut text, topic);
    }
    if plan.unmatched_objects > 0 {
        let _ = writeln!(
            text,
            "\nobjects that belong to no topic: {}, for example {}",
            count(plan.unmatched_objects),
            plan.unmatched_samples
                .iter()
                .take(3)
                .map(|key| format!("{key:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    if !plan.findings.is_empty() {
        text.push('\n');
    }
    for Finding { severity, message } in &plan.findings {
        let label = match severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let _ = writeln!(text, "{label}: {message}");
    }
    let (objects, stored_bytes, partitions) = plan.totals();
    let _ = writeln!(
        text,
        "\nin all: {}, {}, {}",
        plural(partitions, "partition"),
        plural(objects, "object"),
        bytes(stored_bytes)
    );
    text
}

fn put_topic(text: &mut String, topic: &TopicPlan) {
    let name = match topic.source == topic.target {
        true => topic.source.clone(),
        false => format!("{} -> {}", topic.source, topic.target),
    };
    let offsets = match (&topic.latest, topic.exact) {
        (Some(_), _) => "latest state, new offsets",
        (None, true) => "original offsets",
        (None, false) => "contiguous offsets and a map",
    };
    let _ = writeln!(text, "{name}: {offsets} ({})", topic.offsets_reason);
    let format = |(format, objects): &(Format, u64)| match serde_json::to_value(format) {
        Ok(Value::String(name)) => format!("{name} ({})", plural(*objects, "object")),
        _ => format!("{format:?}"),
    };
    if !topic.content.formats.is_empty() {
        let formats: Vec<_> = topic.content.formats.iter().map(format).collect();
        let _ = writeln!(text, "  format, from a sample: {}", formats.join(", "));
    }
    for guess in &topic.content.guesses {
        let _ = writeln!(text, "  told from the content: {guess}");
    }
    if let Some(new) = &topic.create {
        let mut wishes = vec![plural(new.partitions.unsigned_abs().into(), "partition")];
        wishes.extend(
            new.replication_factor
                .map(|factor| format!("replication factor {factor}")),
        );
        wishes.extend(new.configs.iter().map(|(name, value)| format!("{name}={value}")));
        let _ = writeln!(text, "  will be created: {}", wishes.join(", "));
    }
    if let Some(partitions) = topic.add_partitions {
        let _ = writeln!(text, "  will get more partitions: {partitions}");
    }
    for change in &topic.profile {
        let _ = writeln!(
            text,
            "  while restoring {}={} instead of {}: {}",
            change.name,
            change.during,
            change.original.as_deref().unwrap_or("the default"),
            change.reason
        );
    }
    if let Some(latest) = topic.latest.as_ref().filter(|latest| latest.objects > 0) {
        let _ = writeln!(text, "  {}", latest_state(latest));
    }
    if let Some(gaps) = topic.gaps.filter(|_| topic.exact) {
        let _ = writeln!(text, "  offsets without records: {}", gaps.describe());
    }
    if let Some(basis) = topic.cost_basis.as_ref().filter(|_| topic.exact) {
        let _ = writeln!(text, "  time and disk are estimated from {basis}");
    }
    let is_estimated = topic.exact && topic.partitions.iter().any(|partition| partition.cost.is_some());
    let rows = topic.partitions.iter().map(|partition| {
        let mut row = vec![
            number(partition.partition),
            count(partition.objects),
            bytes(partition.stored_bytes),
            range(partition.first_start_offset.zip(partition.last_start_offset)),
            match partition.target_end - partition.target_start {
                0 if partition.target_end == 0 => "empty".to_owned(),
                0 => format!("empty, ends at {}", signed(partition.target_end)),
                _ => range(Some((partition.target_start, partition.target_end - 1))),
            },
        ];
        if topic.exact && partition.objects == 0 {
            row[3] = "none".to_owned();
        }
        if is_estimated {
            row.extend(estimate(partition));
        }
        row
    });
    let mut columns = vec!["partition", "objects", "stored", "start offsets", "target holds"];
    if is_estimated {
        columns.extend(["records", "no record", "takes", "on disk"]);
    }
    let numbers: Vec<usize> = (0..columns.len()).collect();
    text.push_str(&table(&columns, rows.collect(), &numbers));
}

/// Records, offsets without one, and what the latter cost in time and disk; "about" where not every record was seen.
fn estimate(partition: &PartitionPlan) -> [String; 4] {
    let (Some(survey), Some(cost)) = (&partition.survey, partition.cost) else {
        return ["", "", "", ""].map(str::to_owned);
    };
    let about = if survey.is_complete { "" } else { "~" };
    let some = if survey.is_open_ended { ">" } else { about };
    let before = survey.first_offset.unwrap_or(0).unsigned_abs();
    [
        format!("{some}{}", count(survey.records)),
        format!("{about}{}", count(before.saturating_add(survey.missing_offsets))),
        duration(Duration::from_secs_f64(cost.seconds.clamp(0.0, 1e9))),
        bytes(cost.disk_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::restore::content::TopicContent;
    use ::restore::exact::cost::ExactCost;
    use ::restore::exact::gaps::GapMethod;
    use ::restore::exact::survey::Survey;
    use ::restore::latest::LatestRecords;
    use ::restore::plan::NewTopic;
    use ::restore::profile::ConfigChange;

    use super::*;

    #[test]
    fn a_plan() {
        let partition = |partition, target_start, target_end| PartitionPlan {
            partition,
            objects: 12,
            stored_bytes: 1_234_567,
            first_start_offset: Some(17),
            last_start_offset: Some(55_000),
            target_start,
            target_end,
            log_start: None,
            log_end: None,
            survey: None,
            cost: None,
        };
        let topic = |source: &str, target: &str| TopicPlan {
            source: source.into(),
            target: target.into(),
            content: TopicContent {
                formats: vec![(Format::Csv, 3), (Format::Jsonl, 1)],
                guesses: vec!["the csv fields are key,value,offset,timestamp".into()],
                lacks_timestamps: false,
                decoding: Arc::default(),
            },
            create: None,
            add_partitions: None,
            profile: Vec::new(),
            exact: false,
            offsets_reason: "as asked".into(),
            latest: None,
            gaps: None,
            cost_basis: None,
            partitions: vec![partition(0, 0, 0), partition(1, 17, 1000), partition(10, 5, 5)],
        };
        let mut made = topic("orders", "orders");
        made.exact = true;
        made.gaps = Some(GapMethod::Markers);
        made.cost_basis = Some("a round trip of 0.4 ms, measured on this cluster just now".into());
        made.partitions[1].survey = Some(Survey {
            first_offset: Some(17),
            end_offset: Some(56_000),
            records: 50_000,
            missing_offsets: 5_983,
            ..Survey::default()
        });
        made.partitions[1].cost = Some(ExactCost {
            seconds: 61.0,
            disk_bytes: 1_200_000,
            requests: 12,
        });
        made.create = Some(NewTopic {
            partitions: 11,
            replication_factor: Some(3),
            configs: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
        });
        made.profile.push(ConfigChange {
            name: "retention.ms".into(),
            original: Some("604800000".into()),
            during: "-1".into(),
            reason: "retention would delete old records".into(),
        });
        let whole = RestorePlan {
            version: 1,
            source: "gs://bucket".into(),
            layout: "kafka/{{topic}}-{{partition}}-{{start_offset}}".into(),
            topics: vec![made, topic("payments", "payments-restored")],
            unmatched_objects: 2,
            unmatched_samples: vec!["kafka/README".into(), "kafka/x".into()],
            findings: vec![
                Finding {
                    severity: Severity::Warning,
                    message: "orders may have had more partitions".into(),
                },
                Finding {
                    severity: Severity::Error,
                    message: "payments-restored has 2 partitions".into(),
                },
            ],
            listing: std::time::Duration::ZERO,
            inventory: Arc::default(),
            latest: LatestRecords::default(),
        };
        insta::assert_snapshot!(plan(&whole));
        assert_eq!(
            plan_line(&whole),
            "restoring 6 partitions in 72 objects (7.4 MB) from gs://bucket"
        );
    }
}
