//! Committed offsets: what a source has, what would be committed, how it went.

use std::fmt::Write as _;

use ::restore::groups::GroupOffsets;
use ::restore::groups::apply::{Applied, GroupsReport};
use ::restore::groups::plan::{GroupPlan, GroupsPlan};

use crate::text::{plural, signed, table};

fn optional(offset: Option<i64>) -> String {
    offset.map_or_else(|| "-".to_owned(), signed)
}

/// What a source has.
pub(crate) fn source(groups: &[GroupOffsets]) -> String {
    let rows = groups.iter().flat_map(|group| {
        group.offsets.iter().map(|offset| {
            vec![
                group.id.clone(),
                group.kind.clone().unwrap_or_else(|| "-".to_owned()),
                offset.topic.clone(),
                offset.partition.to_string(),
                optional(offset.offset),
            ]
        })
    });
    let mut text = table(
        &["group", "kind", "topic", "partition", "offset"],
        rows.collect(),
        &[3, 4],
    );
    let _ = writeln!(text, "\n{}", plural(groups.len() as u64, "group"));
    text
}

fn rows(group: &GroupPlan) -> impl Iterator<Item = Vec<String>> + '_ {
    group.rows.iter().map(|row| {
        vec![
            group.id.clone(),
            row.topic.clone(),
            row.partition.to_string(),
            optional(row.source),
            optional(row.old),
            optional(row.new),
            optional(row.lag),
            row.note.clone().unwrap_or_default(),
        ]
    })
}

fn rows_table<'a>(groups: impl Iterator<Item = &'a GroupPlan>) -> String {
    table(
        &[
            "group",
            "topic",
            "partition",
            "source",
            "old",
            "new",
            "lag",
            "note",
        ],
        groups.flat_map(rows).collect(),
        &[2, 3, 4, 5, 6],
    )
}

/// What would be committed.
pub(crate) fn plan(plan: &GroupsPlan) -> String {
    let mut text = rows_table(plan.groups.iter());
    for group in plan.groups.iter().filter(|group| !group.members.is_empty()) {
        let _ = writeln!(
            text,
            "note: {} is active and would be left alone: {}",
            group.id,
            group.members.join(", ")
        );
    }
    for group in &plan.groups {
        if let Some(trouble) = &group.trouble {
            let _ = writeln!(text, "note: {} would be left alone: {trouble}", group.id);
        }
    }
    for finding in &plan.findings {
        let _ = writeln!(text, "note: {finding}");
    }
    text
}

/// How it went.
pub(crate) fn report(report: &GroupsReport) -> String {
    let mut text = rows_table(report.groups.iter().map(|group| &group.plan));
    let mut done = 0;
    for group in &report.groups {
        let id = &group.plan.id;
        let _ = match &group.applied {
            Applied::Done { .. } => {
                done += 1;
                Ok(())
            }
            Applied::Nothing => Ok(()),
            Applied::Active { members } => writeln!(
                text,
                "{id}: left alone, it has members: {} (stop them, or wait for that with --wait)",
                members.join(", ")
            ),
            Applied::Failed { errors } => writeln!(text, "{id}: failed: {}", errors.join("; ")),
        };
    }
    for finding in &report.findings {
        let _ = writeln!(text, "note: {finding}");
    }
    if !report.to_do.is_empty() {
        let _ = writeln!(text, "left to do by hand:");
        for command in &report.to_do {
            let _ = writeln!(text, "  {command}");
        }
    }
    if let Some(undo) = &report.undo {
        let _ = writeln!(
            text,
            "what stood there before is in {undo}: `kafka-restore groups undo {undo}`"
        );
    }
    let _ = writeln!(text, "{} committed, read back and equal", plural(done, "group"));
    text
}
