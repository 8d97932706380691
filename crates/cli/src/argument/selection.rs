//! Which topics, partitions and records.

use clap::Args;
use jiff::Timestamp;

use super::heading;
use crate::value::moment;
use crate::value::pair::{Rename, parse_rename};
use crate::value::partitions::{self, Partitions};

/// Which topics and partitions.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicArguments {
    /// A topic, by the name it has in the backup. Repeatable; * and ? stand for any characters.
    #[arg(short, long, value_name = "NAME", help_heading = heading::SELECTION)]
    pub(crate) topic: Vec<String>,

    /// Every topic of the backup.
    #[arg(long, conflicts_with = "topic", help_heading = heading::SELECTION)]
    pub(crate) all_topics: bool,

    /// Only these partitions, such as 0,3-5.
    #[arg(long, value_name = "LIST", value_parser = partitions::parse, help_heading = heading::SELECTION)]
    pub(crate) partition: Option<Partitions>,

    /// Only objects modified at or after TS: a date (2020-06-09), or a date and time (2020-06-09 12:00+00:00).
    ///
    /// UTC where TS has no zone. This looks at when the object was stored, not at its records: where the bucket
    /// holds years, it is the fast way to the last days.
    #[arg(long, value_name = "TS", value_parser = moment::parse, help_heading = heading::SELECTION)]
    pub(crate) since: Option<Timestamp>,
}

/// Which of the partitions' records.
#[derive(Args, Clone, Debug)]
pub(crate) struct WindowArguments {
    /// Only records whose timestamp is TS or later.
    #[arg(long, value_name = "TS", value_parser = moment::parse, help_heading = heading::SELECTION)]
    pub(crate) from_time: Option<Timestamp>,

    /// Only records whose timestamp is TS or earlier. A date alone is its midnight.
    #[arg(long, value_name = "TS", value_parser = moment::parse, help_heading = heading::SELECTION)]
    pub(crate) to_time: Option<Timestamp>,

    /// Only records whose source offset is N or higher, in every chosen partition.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), help_heading = heading::SELECTION)]
    pub(crate) from_offset: Option<i64>,

    /// Only records whose source offset is N or lower, in every chosen partition.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), help_heading = heading::SELECTION)]
    pub(crate) to_offset: Option<i64>,
}

/// Other names in the target cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct RenameArguments {
    /// Another name for a topic in the target cluster. Repeatable.
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_rename, help_heading = heading::TARGET)]
    pub(crate) rename: Vec<Rename>,
}
