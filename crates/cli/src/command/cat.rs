//! `cat`: records of a backup as JSON lines.

use std::sync::Arc;

use ::restore::content::largest_record;
use ::restore::job::{Resources, Source};
use backup::format::Decoding;
use backup::inventory::{self, NO_PARTITION, ObjectEntry, PartitionObjects};
use backup::stream::{
    CpuPool, DEFAULT_REQUESTS, MemoryBudget, PartitionStream, RejectSink, StreamContext, StreamOptions,
};
use clap::Args;
use record::TopicPartition;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::heading;
use crate::argument::limit::LimitArguments;
use crate::argument::safety::TroubleArguments;
use crate::argument::selection::{TopicArguments, WindowArguments};
use crate::argument::source::SourceArguments;
use crate::error::{CommandError, Outcome};
use crate::rejects::RejectFile;
use crate::settings::job::{self, Backup};
use crate::settings::selection;
use crate::show;

/// Lines are written when they have grown to this.
const FLUSH_BYTES: usize = 1 << 16;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore cat -c restore.json -t orders --partition 0 --from-offset 1000 --limit 10
  kafka-restore cat --from ./backup -t orders | jq -r .value

Each line is an object with topic, partition, offset, timestamp, key, value and headers. Bytes that are UTF-8
are texts; others are in key_base64, value_base64 and each header's value_base64.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which topics and partitions.
    #[command(flatten)]
    pub(crate) topics: TopicArguments,
    /// Which of their records.
    #[command(flatten)]
    pub(crate) window: WindowArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// How its files were written.
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// What to do with broken content.
    #[command(flatten)]
    pub(crate) trouble: TroubleArguments,
    /// How much of the machine to use.
    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Stop after N records.
    #[arg(long, value_name = "N", help_heading = heading::OUTPUT)]
    pub(crate) limit: Option<u64>,
}

/// Prints the chosen records, topic by topic and partition by partition, in the order of their offsets.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let rejects = Arc::new(RejectFile::new(None, jiff::Timestamp::now()));
    context.announce(&arguments.topics);
    let backup = Backup {
        selection: selection::chosen(&arguments.topics)?,
        records: selection::records(&arguments.window)?,
        ..Backup::resolve(
            &arguments.source,
            &arguments.content,
            Some(&arguments.trouble),
            context.file,
        )?
    };
    let source = backup
        .open(Some(Arc::clone(&rejects) as Arc<dyn RejectSink>))
        .await?;
    let resources = job::resources(&arguments.limits)?;
    let printed = context
        .unless_stopped(print(&source, &resources, arguments.limit, context))
        .await;
    let rejected = rejects.written();
    if let Some(path) = rejected {
        context
            .printer
            .warn(&format!("what could not be read is kept in {}", path.display()));
    }
    match printed {
        None => Ok(Outcome::Interrupted),
        Some(result) => {
            result?;
            Ok(if rejected.is_some() {
                Outcome::Findings
            } else {
                Outcome::Done
            })
        }
    }
}

async fn print(
    source: &Source,
    resources: &Resources,
    limit: Option<u64>,
    context: &Context<'_>,
) -> anyhow::Result<()> {
    let inventory = inventory::take(source.store.as_ref(), &source.layout, &source.selection, |_| {}).await?;
    inventory.check_ambiguity()?;
    let cpu = resources.jobs.map_or_else(CpuPool::per_core, CpuPool::new)?;
    let budget = MemoryBudget::new(resources.memory);
    let stream = StreamContext::new(Arc::clone(&source.store), cpu, budget, DEFAULT_REQUESTS);
    let decoding = Decoding {
        max_record_bytes: largest_record(source.decoding.max_record_bytes, resources.memory),
        ..source.decoding.clone()
    };
    let options = StreamOptions {
        from_offset: source.records.from_offset,
        to_offset: source.records.to_offset,
        from_time: source.records.from_time,
        to_time: source.records.to_time,
        on_conflict: source.on_conflict,
        on_bad_record: source.on_bad_record,
        rejected: source.rejected.clone(),
        ..StreamOptions::new(Arc::new(decoding))
    };
    let mut left = limit.unwrap_or(u64::MAX);
    let mut lines = Vec::new();
    for (topic, found) in &inventory.topics {
        for (partition, objects) in &found.partitions {
            // Objects that name no partition hold records of any, whose offsets are not of one row.
            let alone = *partition == NO_PARTITION;
            let parts: Box<dyn Iterator<Item = Arc<PartitionObjects>> + Send> = match alone {
                true => Box::new(
                    (0..objects.len())
                        .map(|index| ObjectEntry {
                            start_offset: objects.start_offset(index).or(Some(0)),
                            ..objects.get(index)
                        })
                        .map(|object| Arc::new(PartitionObjects::from_list([object]))),
                ),
                false => Box::new(std::iter::once(Arc::clone(objects))),
            };
            for part in parts {
                let name = TopicPartition::new(Arc::clone(topic), *partition);
                let mut records = PartitionStream::new(&stream, name, part, options.clone());
                while left > 0
                    && let Some(block) = records.next().await?
                {
                    for record in block.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                        show::record::put_line(&mut lines, topic, *partition, record)?;
                        left -= 1;
                        // A block of tiny records makes far more text than it has bytes.
                        if lines.len() >= FLUSH_BYTES {
                            context.printer.result_bytes(&lines)?;
                            lines.clear();
                        }
                    }
                    context.printer.result_bytes(&lines)?;
                    lines.clear();
                }
                if left == 0 {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
