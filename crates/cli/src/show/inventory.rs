//! What a listing found.

use std::fmt::Write as _;

use backup::inventory::{Inventory, Tally};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::range;
use crate::text::{bytes, count, plural, table};

/// One partition's objects, summed up.
struct Row<'a> {
    topic: &'a str,
    partition: i32,
    objects: u64,
    stored_bytes: u64,
    start_offsets: Option<(i64, i64)>,
    modified: Option<(i64, i64)>,
}

fn rows(inventory: &Inventory) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (topic, found) in &inventory.topics {
        for (partition, objects) in &found.partitions {
            let (mut modified, mut start_offsets) = (None::<(i64, i64)>, None::<(i64, i64)>);
            let widen = |range: &mut Option<(i64, i64)>, value: i64| {
                let (low, high) = range.unwrap_or((value, value));
                *range = Some((low.min(value), high.max(value)));
            };
            for object in objects.iter() {
                widen(&mut modified, object.last_modified);
                if let Some(offset) = object.start_offset {
                    widen(&mut start_offsets, offset);
                }
            }
            rows.push(Row {
                topic,
                partition: *partition,
                objects: objects.len() as u64,
                stored_bytes: objects.bytes(),
                start_offsets,
                modified,
            });
        }
    }
    rows
}

/// The version of the JSON schema of `inspect`; it grows with every change that a reader could stumble over.
const VERSION: u32 = 1;

/// For people (`json` false) or for programs.
pub(crate) fn inventory(source: &str, inventory: &Inventory, json: bool) -> String {
    let rows = rows(inventory);
    if json {
        for_programs(source, inventory, &rows)
    } else {
        for_people(source, inventory, &rows)
    }
}

fn for_people(source: &str, inventory: &Inventory, rows: &[Row<'_>]) -> String {
    let mut text = format!("backup: {source}\n");
    for (names, tally) in inventory
        .generations
        .iter()
        .filter(|(_, tally)| tally.objects > 0)
    {
        let _ = writeln!(text, "names: {names} ({})", plural(tally.objects, "object"));
    }
    text.push('\n');
    let day = |modified: i64| {
        time(modified).map_or_else(
            || "?".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
        )
    };
    let cells = rows.iter().map(|row| {
        vec![
            row.topic.to_owned(),
            row.partition.to_string(),
            count(row.objects),
            bytes(row.stored_bytes),
            range(row.start_offsets),
            row.modified.map_or_else(
                || "-".to_owned(),
                |(first, last)| format!("{} .. {}", day(first), day(last)),
            ),
        ]
    });
    text.push_str(&table(
        &[
            "topic",
            "partition",
            "objects",
            "stored",
            "start offsets",
            "modified (UTC)",
        ],
        cells.collect(),
        &[1, 2, 3, 4],
    ));
    let (objects, stored): (u64, u64) = rows.iter().fold((0, 0), |(objects, stored), row| {
        (objects + row.objects, stored + row.stored_bytes)
    });
    let _ = writeln!(text, "\nin all: {}, {}", plural(objects, "object"), bytes(stored));
    if inventory.unmatched.tally.objects > 0 {
        let samples: Vec<_> = inventory
            .unmatched
            .samples
            .iter()
            .take(5)
            .map(|key| format!("{key:?}"))
            .collect();
        let unmatched = count(inventory.unmatched.tally.objects);
        let _ = writeln!(
            text,
            "objects that belong to no topic: {unmatched}, for example {}",
            samples.join(", ")
        );
    }
    text
}

fn for_programs(source: &str, inventory: &Inventory, rows: &[Row<'_>]) -> String {
    let stamp = |modified: i64| time(modified).map(|time| time.to_string());
    let partition = |row: &Row<'_>| {
        json!({
            "topic": row.topic,
            "partition": row.partition,
            "objects": row.objects,
            "stored_bytes": row.stored_bytes,
            "first_start_offset": row.start_offsets.map(|range| range.0),
            "last_start_offset": row.start_offsets.map(|range| range.1),
            "first_modified": row.modified.and_then(|range| stamp(range.0)),
            "last_modified": row.modified.and_then(|range| stamp(range.1)),
        })
    };
    let names = |(names, tally): &(String, Tally)| json!({ "template": names, "objects": tally.objects });
    let value: Value = json!({
        "version": VERSION,
        "source": source,
        "names": inventory.generations.iter().map(names).collect::<Vec<_>>(),
        "partitions": rows.iter().map(partition).collect::<Vec<_>>(),
        "unmatched_objects": inventory.unmatched.tally.objects,
        "unmatched_samples": inventory.unmatched.samples,
        "folder_markers": inventory.folder_markers,
    });
    format!("{value:#}\n")
}

fn time(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}
