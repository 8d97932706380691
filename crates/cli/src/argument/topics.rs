//! Topics that are missing in the target, and how they are created.

use clap::Args;
use kafka::config::Address;
use restore::job::Create;

use super::choice::{Choice, choice};
use super::heading;
use crate::settings::target::bootstrap_server;
use crate::value::pair::{Setting, parse_setting};

/// Topics that are missing in the target, and how they are created.
#[derive(Args, Clone, Debug)]
pub(crate) struct CreationArguments {
    /// Whether a topic that is missing in the target is created. [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = choice(CREATE), help_heading = heading::TOPICS)]
    pub(crate) create: Option<Create>,

    /// Partitions of a topic that is created. The backup shows only those that had records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..), help_heading = heading::TOPICS)]
    pub(crate) partitions: Option<i32>,

    /// Replicas of each partition of a topic that is created. [default: the cluster's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..), help_heading = heading::TOPICS)]
    pub(crate) replication_factor: Option<i16>,

    /// A setting of a topic that is created, by Kafka's name, such as cleanup.policy=compact. Repeatable.
    #[arg(long, value_name = "K=V", value_parser = parse_setting, help_heading = heading::TOPICS)]
    pub(crate) topic_config: Vec<Setting>,

    /// Create topics as they are in another cluster, which is reached with the same security settings.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = bootstrap_server, help_heading = heading::TOPICS)]
    pub(crate) topic_config_from: Vec<Address>,

    /// Add partitions to an existing topic that has fewer than the backup.
    #[arg(long, help_heading = heading::TOPICS)]
    pub(crate) add_partitions: bool,

    /// Leave the topic in its restore profile: what would delete or refuse old records stays off.
    #[arg(long, help_heading = heading::TOPICS)]
    pub(crate) keep_profile: bool,
}

const CREATE: &[Choice<Create>] = &[
    ("auto", "it is created", Create::Auto),
    ("never", "it is an error", Create::Never),
];
