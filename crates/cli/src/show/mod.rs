//! Results as people read them on stdout: pure functions from what the library gives to text.

pub(crate) mod groups;
mod inspection;
mod plan;
pub(crate) mod record;
mod report;
pub(crate) mod topics;
mod verdict;

pub(crate) use inspection::inspection;
pub(crate) use plan::{plan, plan_line};
pub(crate) use report::report;
pub(crate) use verdict::verdict;

use ::restore::latest::LatestState;
use backup::inventory::NO_PARTITION;

use crate::text::{plural, signed};

/// An inclusive range of offsets: `17..1 016`, or `-` for none.
fn range(range: Option<(i64, i64)>) -> String {
    range.map_or_else(
        || "-".to_owned(),
        |(first, last)| format!("{}..{}", signed(first), signed(last)),
    )
}

/// The number of a partition, or `-` where names say none.
fn number(partition: i32) -> String {
    match partition {
        NO_PARTITION => "-".to_owned(),
        number => number.to_string(),
    }
}

/// What became of objects that hold the latest record of each key.
fn latest_state(latest: &LatestState) -> String {
    let mut text = format!(
        "the latest record of each key, not the history: {} of {}",
        plural(latest.records, "record"),
        plural(latest.objects, "object")
    );
    for (number, what) in [
        (latest.older, "older than another of the same key and left out"),
        (latest.keyless, "without a key"),
        (latest.named_keys, "with the key from the object's name"),
        (latest.rejected, "not readable and left out as asked"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {what}"));
        }
    }
    text
}
