//! Which cluster to write to or compare with.

use std::path::PathBuf;

use clap::Args;
use kafka::config::Address;

use super::heading;
use crate::settings::target::bootstrap_server;

/// Which cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    /// A broker to start from; the others are learned from it. Several: joined by commas.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = bootstrap_server,
          help_heading = heading::TARGET)]
    pub(crate) bootstrap_server: Vec<Address>,

    /// Security settings under the names that Kafka's Java clients use (security.protocol, sasl.jaas.config,
    /// ssl.truststore.location, ...), as every Kafka tool takes them.
    #[arg(long, value_name = "FILE", help_heading = heading::TARGET)]
    pub(crate) command_config: Option<PathBuf>,
}
