//! What original offsets need beside the records: a log that begins where the source's did, and offsets without
//! records that nobody sees.
//!
//! - [`gaps`]: the ways to step over offsets between records, and which of them this user may go.
//! - `transactions`: one of those ways, empty transactions.
//! - `roll`: what the log cleaner needs in order to get at the fillers of compacted topics.
//! - `finish`: where logs begin, and compacted topics' own policy, once the records are there.
//! - [`survey`], [`cost`], `decide`: what the backup holds, what exact offsets of it cost, and whether they are taken.
//! - [`measured`]: what they cost really, once the restore has begun.
//! - `rights`: what the user may not do and would have to.

pub mod cost;
mod decide;
mod finish;
pub mod gaps;
pub mod measured;
mod rights;
mod roll;
pub mod survey;
mod transactions;

pub(crate) use decide::{decide, stands_exact};
pub(crate) use finish::{begin_logs, clean, trim};
pub(crate) use gaps::GapFiller;
pub(crate) use rights::check;
pub(crate) use roll::{SmallSegments, last_run, segment_filler};
