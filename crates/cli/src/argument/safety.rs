//! What is refused unless somebody asks for it.

use backup::stream::{OnBadRecord, OnConflict};
use clap::Args;

use super::choice::{Choice, choice};
use super::heading;

/// What to do with content that is wrong or contradicts itself.
#[derive(Args, Clone, Debug)]
pub(crate) struct TroubleArguments {
    /// Two objects hold different records for one offset. [default: fail]
    #[arg(long, value_name = "HOW", value_parser = choice(ON_CONFLICT), help_heading = heading::SAFETY)]
    pub(crate) on_conflict: Option<OnConflict>,

    /// A record cannot be read. [default: fail]
    #[arg(long, value_name = "HOW", value_parser = choice(ON_BAD_RECORD), help_heading = heading::SAFETY)]
    pub(crate) on_bad_record: Option<OnBadRecord>,

    /// Restore a backup that holds only the latest record of each key (object names made of keys) as what it is.
    /// Without this such a backup is refused: it is not the topic's history.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) latest_state: bool,
}

/// What may be done to a target that is not empty.
#[derive(Args, Clone, Debug)]
pub(crate) struct SafetyArguments {
    /// The target may hold other records: restored ones come behind them. Without this, a target that holds
    /// anything but an earlier part of the same restore is refused.
    ///
    /// The journal on the cluster knows for 7 days (by default) what was put where, and for longer beside a --report: the
    /// same command goes on where an interrupted run was, and adds nothing after a complete one but what the backup has
    /// got since. To add everything once more on purpose, say `topics finish --topic NAME --forget` first.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) append: bool,

    /// Compare all that stands in the target with the backup before anything is added, not only its end.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) verify_existing: bool,

    /// Read everything back at the end and compare it with the backup.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) verify: bool,

    /// Where this user may neither write transaction markers nor use transactional ids, fill gaps between records
    /// with records that consumers pass over.
    ///
    /// A trick that no contract covers: such records say of themselves that they lie far before their batch. The Java
    /// client, librdkafka, franz-go, sarama and aiokafka never show them; kafka-python does. Whatever compresses
    /// batches anew (a mirror, another compression.type) makes them visible as null records, and a later broker may
    /// refuse them. They take 11 bytes each on disk for as long as the records around them stay.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) hidden_records: bool,
}

const ON_CONFLICT: &[Choice<OnConflict>] = &[
    (
        "fail",
        "stop this partition and say what differs",
        OnConflict::Fail,
    ),
    (
        "newest",
        "take the record of the object modified last",
        OnConflict::Newest,
    ),
    (
        "first",
        "take the record of the object that comes first",
        OnConflict::First,
    ),
];

const ON_BAD_RECORD: &[Choice<OnBadRecord>] = &[
    ("fail", "stop this partition there", OnBadRecord::Fail),
    (
        "skip",
        "leave it out, and write its bytes and their place to a file",
        OnBadRecord::Skip,
    ),
];
