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

use crate::text::signed;

/// An inclusive range of offsets: `17..1 016`, or `-` for none.
fn range(range: Option<(i64, i64)>) -> String {
    range.map_or_else(
        || "-".to_owned(),
        |(first, last)| format!("{}..{}", signed(first), signed(last)),
    )
}
