//! What it takes to list a topic of many objects: a store that makes up its keys on the way, in the order in which S3
//! lists them, and the inventory that keeps them.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use backup::inventory::{self, PartitionObjects, Selection};
use backup::layout::{Layout, NameTemplate};
use backup::storage::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, StorageErrorKind, Store};
use bytes::Bytes;
use clap::ValueEnum;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};

use crate::dataset::TOPIC;
use crate::harness::{Settings, note, say};
use crate::measure;

/// Objects of a listing at full scale.
const OBJECTS: f64 = 10_000_000.0;

/// Objects of one partition and one day.
const OBJECTS_PER_DAY: u64 = 1440;

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// When the first object was stored: 2023-11-15, in milliseconds since 1970.
const FIRST_DAY: u64 = 1_700_006_400_000;

/// Objects that are asked for one by one, when all are listed.
const LOOKS: u64 = 1_000_000;

const DATED: &str = "{{topic}}/{{timestamp:unit=yyyy}}/{{timestamp:unit=MM}}/{{timestamp:unit=dd}}/{{partition}}-{{start_offset}}.gz";

/// How objects are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Names {
    /// As sinks do by default.
    Default,
    /// In a folder for each day.
    Dated,
}

/// The objects of a listing.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Keys {
    /// How they are named.
    #[arg(long)]
    pub names: Names,
    /// How many partitions they are of.
    #[arg(long)]
    pub partitions: u64,
    /// How many objects each of these has.
    #[arg(long)]
    pub objects: u64,
}

/// What a listing took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Seconds to make up the keys, without any inventory.
    pub made_up: f64,
    /// Seconds from the first key to the inventory.
    pub seconds: f64,
    /// Bytes of memory that hold the objects at the end.
    pub held: usize,
    /// Nanoseconds to get any one of the objects.
    pub get: f64,
    /// Nanoseconds to get the start offset of any one of them.
    pub start_offset: f64,
}

/// Lists many objects, and prints what that takes.
///
/// # Errors
///
/// Where objects are missing.
pub fn compare(settings: &Settings) -> Result<()> {
    say("\n### a listing, without a network\n\n\
         | names | partitions | objects | wall s | of it for the keys themselves s | bytes per object held | peak bytes per object | \
         peak MiB | ns to get one | ns to get a start offset |\n\
         |---|---|---|---|---|---|---|---|---|---|");
    for names in Names::value_variants() {
        for partitions in [1, 6, 1000] {
            let keys = Keys {
                names: *names,
                partitions,
                objects: ((OBJECTS * settings.scale) as u64 / partitions).max(1),
            };
            let name = names.to_possible_value().context("names without a name")?;
            let name = name.get_name();
            note(&format!("listing {keys:?}"));
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(["child", "listing", "--names", name])
                .args(["--partitions", &keys.partitions.to_string()])
                .args(["--objects", &keys.objects.to_string()]);
            let (cost, output) = measure::child(&mut command)?;
            let listed: Listed = serde_json::from_str(&output)?;
            let objects = (keys.partitions * keys.objects) as f64;
            say(&format!(
                "| {name} | {partitions} | {objects} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.0} | {:.0} |",
                listed.seconds,
                listed.made_up,
                listed.held as f64 / objects,
                cost.memory as f64 / objects,
                cost.memory >> 20,
                listed.get,
                listed.start_offset
            ));
        }
    }
    Ok(())
}

/// Lists once.
///
/// # Errors
///
/// Where objects are missing.
pub fn run(keys: Keys) -> Result<Listed> {
    let layout = match keys.names {
        Names::Default => Layout::default_names(""),
        Names::Dated => Layout::template("", &NameTemplate::new(DATED)?),
    };
    let started = Instant::now();
    let bytes: u64 = keys.all().map(|object| object.size).sum();
    let made_up = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let inventory = runtime.block_on(inventory::take(&keys, &layout, &Selection::all(), |_| {}))?;
    let seconds = started.elapsed().as_secs_f64();
    let topic = inventory.topics.get(TOPIC).context("the topic is missing")?;
    ensure!(
        (topic.objects(), topic.bytes()) == (keys.partitions * keys.objects, bytes),
        "objects are missing"
    );
    let first = topic.partitions.values().next().context("no partition")?;
    Ok(Listed {
        made_up,
        seconds,
        held: topic.partitions.values().map(|objects| objects.memory()).sum(),
        get: look(first, |index| first.get(index).key.len() as u64),
        start_offset: look(first, |index| {
            first.start_offset(index).unwrap_or(0).unsigned_abs()
        }),
    })
}

/// Nanoseconds of one look at any object.
fn look(objects: &Arc<PartitionObjects>, look: impl Fn(usize) -> u64) -> f64 {
    let started = Instant::now();
    let sum: u64 = (0..LOOKS)
        .map(|number| look((scattered(number) % objects.len() as u64) as usize))
        .fold(0, u64::wrapping_add);
    std::hint::black_box(sum);
    started.elapsed().as_secs_f64() * 1e9 / LOOKS as f64
}

/// The same number for the same number, and a very different one for the next.
fn scattered(number: u64) -> u64 {
    let mixed = (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}

impl Keys {
    /// All objects in the order of their keys.
    fn all(self) -> impl Iterator<Item = ObjectMeta> + Send {
        let days = match self.names {
            Names::Default => 1,
            Names::Dated => self.objects.div_ceil(OBJECTS_PER_DAY),
        };
        (0..days).flat_map(move |day| {
            let numbers = match self.names {
                Names::Default => 0..self.objects,
                Names::Dated => day * OBJECTS_PER_DAY..((day + 1) * OBJECTS_PER_DAY).min(self.objects),
            };
            let mut partitions: Vec<String> = (0..self.partitions)
                .map(|partition| format!("{partition}-"))
                .collect();
            partitions.sort();
            let folder = self.folder(day);
            partitions
                .into_iter()
                .flat_map(move |partition| in_order(&format!("{folder}{partition}"), numbers.clone()))
        })
    }

    fn folder(self, day: u64) -> String {
        match self.names {
            Names::Default => format!("{TOPIC}-"),
            Names::Dated => {
                let milliseconds = (FIRST_DAY + day * DAY_MILLISECONDS) as i64;
                let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
                format!("{TOPIC}/{}/", time.strftime("%Y/%m/%d"))
            }
        }
    }
}

/// The objects with these numbers, in the order of their keys: those with as many digits are in order by themselves.
fn in_order(head: &str, numbers: Range<u64>) -> impl Iterator<Item = ObjectMeta> + Send + use<> {
    let mut rows: Vec<(ObjectMeta, Range<u64>)> = Vec::new();
    let mut from = numbers.start;
    while from < numbers.end {
        let digits = start_offset(from).to_string().len() as u32;
        let end = numbers.end.min((10_u64.pow(digits) / 1000).max(from + 1));
        rows.push((object(head, from), from + 1..end));
        from = end;
    }
    let head = head.to_owned();
    std::iter::from_fn(move || {
        let rows_with_number = rows.iter().enumerate();
        let (row, _) = rows_with_number.min_by(|(_, one), (_, other)| one.0.key.cmp(&other.0.key))?;
        Some(match rows[row].1.next() {
            Some(number) => std::mem::replace(&mut rows[row].0, object(&head, number)),
            None => rows.swap_remove(row).0,
        })
    })
}

/// About a thousand records in each object.
fn start_offset(number: u64) -> u64 {
    match number {
        0 => 0,
        _ => number * 1000 + scattered(number) % 1000,
    }
}

/// The object with this number in its partition: about one a minute, of one to one and a half megabytes.
fn object(head: &str, number: u64) -> ObjectMeta {
    let noise = scattered(number);
    ObjectMeta {
        key: format!("{head}{}.gz", start_offset(number)),
        size: 1_000_000 + noise % 500_000,
        last_modified: (FIRST_DAY + number * DAY_MILLISECONDS / OBJECTS_PER_DAY + noise % 30_000) as i64,
        version: None,
    }
}

#[async_trait]
impl Store for Keys {
    fn location(&self) -> &str {
        "made-up"
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        stream::iter(self.all().map(Ok)).boxed()
    }

    async fn get(
        &self,
        key: &str,
        _: Option<Range<u64>>,
        _: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        Err(self.only_listed("read", key))
    }

    async fn put(&self, key: &str, _: Bytes) -> Result<(), StorageError> {
        Err(self.only_listed("write", key))
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        Err(self.only_listed("delete", key))
    }
}

impl Keys {
    fn only_listed(&self, operation: &'static str, key: &str) -> StorageError {
        let kind = StorageErrorKind::Other;
        StorageError::new(
            operation,
            self.location(),
            Some(key),
            kind,
            "it can only be listed",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_all_are_taken() {
        for names in [Names::Default, Names::Dated] {
            let keys = Keys {
                names,
                partitions: 12,
                objects: 3000,
            };
            let listed: Vec<String> = keys.all().map(|object| object.key).collect();
            assert_eq!(listed.len(), 36_000);
            assert!(listed.is_sorted_by(|one, other| one < other));
            assert!(run(keys).unwrap().held > 0);
        }
    }
}
