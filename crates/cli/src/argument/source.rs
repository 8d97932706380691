//! Where the backup is.

use backup::storage::url::Location;
use clap::Args;

use super::heading;

/// Where the backup is.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceArguments {
    /// Where the backup is: gs://BUCKET/PREFIX, s3://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX,
    /// file:///FOLDER or a folder's path.
    ///
    /// PREFIX is what the connector put before each name, literally; "backups" also finds "backups/NAME".
    /// Credentials come from the config file, or from the provider's usual places: environment variables,
    /// instance or workload identity.
    #[arg(long, value_name = "URL", value_parser = location, help_heading = heading::SOURCE)]
    pub(crate) from: Option<Location>,
}

/// The reason alone: clap says what the text was.
fn location(text: &str) -> Result<Location, String> {
    Location::parse(text).map_err(|error| error.reason)
}
