//! What lies in a bucket, on one page.

use std::fmt::Write as _;

use ::restore::inspect::{Content, Inspection, PartitionInspection, TopicInspection};
use ::restore::notes::decoded;
use backup::inventory::NO_PARTITION;
use jiff::Timestamp;

use super::{number, range};
use crate::text::{bytes, count, plural, table};

/// Samples of keys that are shown.
const SHOWN_KEYS: usize = 5;

/// Proposals of templates that are shown.
const SHOWN_PROPOSALS: usize = 4;

/// Damaged places of a partition that are shown.
const SHOWN_DAMAGES: usize = 5;

/// Gaps of a partition that are shown.
const SHOWN_GAPS: usize = 3;

pub(crate) fn inspection(inspection: &Inspection) -> String {
    let mut text = format!("backup: {}\n", inspection.source);
    for (names, tally) in &inspection.names {
        let _ = writeln!(text, "names: {names} ({})", plural(tally.objects, "object"));
    }
    for topic in &inspection.topics {
        topic_page(&mut text, topic, inspection.exact);
    }
    let partitions = || inspection.topics.iter().flat_map(|topic| &topic.partitions);
    let objects = partitions().map(|partition| partition.objects).sum();
    let stored = partitions().map(|partition| partition.stored_bytes).sum();
    let _ = writeln!(text, "\nin all: {}, {}", plural(objects, "object"), bytes(stored));
    if !inspection.exact {
        text.push_str(
            "records are estimated from a sample, gaps are not looked for: --deep reads everything\n",
        );
    }
    for (what, sampled) in [
        ("objects that belong to no topic", &inspection.unmatched),
        ("objects of other tools", &inspection.side_objects),
    ] {
        if sampled.tally.objects > 0 {
            let keys: Vec<_> = sampled
                .samples
                .iter()
                .take(SHOWN_KEYS)
                .map(|key| format!("{key:?}"))
                .collect();
            let number = count(sampled.tally.objects);
            let _ = writeln!(text, "{what}: {number}, for example {}", keys.join(", "));
        }
    }
    if let Some(best) = inspection.proposals.first() {
        text.push_str("templates that explain names that belong to no topic:\n");
        for proposal in inspection.proposals.iter().take(SHOWN_PROPOSALS) {
            let _ = writeln!(text, "  {proposal}");
        }
        let _ = writeln!(text, "try: --template '{}'", best.text());
    }
    if inspection.folder_markers > 0 {
        let _ = writeln!(text, "folder markers: {}", count(inspection.folder_markers));
    }
    if inspection.ambiguous_objects > 0 {
        let number = count(inspection.ambiguous_objects);
        let _ = writeln!(
            text,
            "objects whose names have more than one reading: {number} (the connector's configuration, or all topics by \
             name, tell them apart)"
        );
        for name in inspection.ambiguous_names.iter().take(SHOWN_KEYS) {
            let _ = writeln!(text, "  {:?}: {}", name.key, name.readings.join(", or "));
        }
    }
    text
}

fn topic_page(text: &mut String, topic: &TopicInspection, exact: bool) {
    let formats: Vec<String> = topic
        .content
        .formats
        .iter()
        .map(|(format, _)| {
            serde_json::to_value(format)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
        })
        .map(Option::unwrap_or_default)
        .collect();
    let _ = writeln!(text, "\n{}: {}", topic.topic, formats.join(", "));
    for guess in &topic.content.guesses {
        let _ = writeln!(text, "  {guess}");
    }
    if topic.latest_state {
        text.push_str(
            "  only the latest record of each key: not the topic's history (--latest-state restores it)\n",
        );
    }
    let rows = topic
        .partitions
        .iter()
        .map(|partition| row(partition, exact))
        .collect();
    let header = [
        "partition",
        "objects",
        "stored",
        "records",
        "offsets",
        "gaps",
        "record times (UTC)",
        "modified (UTC)",
    ];
    text.push_str(&table(&header, rows, &[0, 1, 2, 3, 4, 5]));
    for partition in &topic.partitions {
        for line in remarks(partition) {
            let _ = match partition.partition {
                NO_PARTITION => writeln!(text, "  {line}"),
                number => writeln!(text, "  partition {number}: {line}"),
            };
        }
    }
}

fn row(partition: &PartitionInspection, exact: bool) -> Vec<String> {
    let content = &partition.content;
    let about = if exact { "" } else { "~" };
    vec![
        number(partition.partition),
        count(partition.objects),
        bytes(partition.stored_bytes),
        format!("{about}{}", count(content.records)),
        range(content.offsets.or(partition.start_offsets)),
        if exact {
            count(content.gaps)
        } else {
            "?".to_owned()
        },
        times(content.times),
        times(partition.modified),
    ]
}

fn remarks(partition: &PartitionInspection) -> Vec<String> {
    let content = &partition.content;
    let mut lines = Vec::new();
    if let Some(error) = &partition.error {
        lines.push(format!("cannot be read to its end: {error}"));
    }
    if content.missing_offsets > 0 {
        lines.push(format!(
            "{} without a record in {} (compaction, transactions, or loss: the data cannot tell)",
            plural(content.missing_offsets, "offset"),
            plural(content.gaps, "gap"),
        ));
        let mut gaps: Vec<_> = content.gap_list.iter().collect();
        gaps.sort_by_key(|gap| (!gap.suspicious, gap.first));
        for gap in gaps.iter().take(SHOWN_GAPS) {
            lines.push(format!(
                "  {}..{} between {} and {}{}",
                gap.first,
                gap.last,
                gap.object_before.as_deref().unwrap_or("the start"),
                gap.object_behind,
                if gap.suspicious {
                    ": an object here is cut short or empty, records are probably lost"
                } else {
                    ""
                },
            ));
        }
    }
    lines.extend(counted(content));
    let damages = content.damage_list.iter().take(SHOWN_DAMAGES);
    lines.extend(damages.map(|damage| format!("  {damage}")));
    lines.extend(content.suspicions.iter().cloned());
    lines
}

fn counted(content: &Content) -> Vec<String> {
    [
        (
            content.suspicious_gaps,
            "gaps at objects that are cut short or empty: records are probably lost there",
        ),
        (
            content.overlapping_objects,
            "objects overlap with others in their offsets",
        ),
        (
            content.duplicates,
            "records stand more than once; one of each is restored",
        ),
        (
            content.conflicts,
            "offsets have different records in different objects (--on-conflict)",
        ),
        (
            content.damaged,
            "pieces cannot be decoded (--on-bad-record skip leaves them out)",
        ),
        (content.empty_objects, "objects are empty"),
        (
            content.noted.final_newlines,
            "objects end with a newline: sinks before 2021 wrote one behind every record",
        ),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", count(number)))
    .chain(decoded(&content.noted))
    .collect()
}

fn times(times: Option<(i64, i64)>) -> String {
    let moment = |milliseconds: i64| {
        Timestamp::from_millisecond(milliseconds)
            .map(|time| time.strftime("%Y-%m-%d %H:%M").to_string())
            .unwrap_or_else(|_| format!("{milliseconds} ms"))
    };
    times.map_or_else(
        || "-".to_owned(),
        |(first, last)| format!("{} .. {}", moment(first), moment(last)),
    )
}
