//! How target offsets relate to source offsets.

use std::time::Duration;

use clap::Args;
use restore::job::{ExactLimit, OffsetMode};

use super::choice::{Choice, choice};
use super::heading;
use crate::value::{duration, size};

/// How target offsets relate to source offsets.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModeArguments {
    /// Which offsets the records get, or got. [default: auto]
    #[arg(long, value_name = "MODE", value_parser = choice(MODES), help_heading = heading::TARGET)]
    pub(crate) offsets: Option<OffsetMode>,
}

/// The same, with what it may cost.
#[derive(Args, Clone, Debug)]
pub(crate) struct OffsetArguments {
    /// Which offsets.
    #[command(flatten)]
    pub(crate) mode: ModeArguments,

    /// How much exact offsets may cost before auto chooses a map: a time and a size on the brokers' disks.
    /// [default: 10m,5GB]
    ///
    /// The plan changes nothing, so it goes by rates measured elsewhere and by this cluster's round trip. From the first
    /// such offsets on the real rate is measured: it is in the time left and in the report, and a line says so where the
    /// restore turns out to take longer than this.
    #[arg(long, value_name = "TIME,SIZE", value_parser = exact_limit, help_heading = heading::TARGET)]
    pub(crate) exact_limit: Option<ExactLimit>,
}

const MODES: &[Choice<OffsetMode>] = &[
    (
        "auto",
        "the original ones where that is possible and cheap enough, else a map",
        OffsetMode::Auto,
    ),
    (
        "exact",
        "the original ones, or refuse before anything is written",
        OffsetMode::Exact,
    ),
    (
        "map",
        "contiguous ones, and a map from source to target offsets",
        OffsetMode::Map,
    ),
];

fn exact_limit(text: &str) -> Result<ExactLimit, String> {
    let (time, bytes) = text
        .split_once(',')
        .ok_or("expected a time and a size, such as 10m,5GB")?;
    let time: Duration = duration::parse(time)?;
    Ok(ExactLimit {
        time,
        bytes: size::parse(bytes)?.as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(exact_limit("10m,5GB"), Ok(ExactLimit::default()));
        for text in ["", "10m", "5GB,10m", "10m,"] {
            assert!(exact_limit(text).is_err(), "{text:?}");
        }
    }
}
