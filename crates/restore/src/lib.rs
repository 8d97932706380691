//! The job: plan, execute, verify, report.
//!
//! [`plan::plan`] reads both sides and changes nothing; [`execute::execute`] does what a plan says. There is
//! one engine, so that a plan cannot lie. This crate reads no environment and prints nothing: what happens is
//! told to a [`progress::Progress`].
//!
//! A partition's way: `partition` takes blocks from the backup's stream, [`cut`] turns them into
//! steps, `encode` makes batches of those on the CPU threads, and the producer of the kafka crate, fed by
//! `writer`, puts them behind each other in the target; `begin` says from where on. `lockstep` compares what stands
//! there with the backup. [`exact`](mod@exact) is what original offsets need beside that.

mod begin;
mod cleaned;
pub mod compare;
mod configure;
pub mod content;
pub mod cut;
pub mod digest;
mod encode;
pub mod error;
pub mod exact;
pub mod execute;
pub mod file;
pub mod forecast;
pub mod groups;
pub mod inspect;
mod interim;
pub mod job;
pub mod journal;
pub mod latest;
mod lockstep;
mod logs;
pub mod notes;
pub mod offsets;
mod pace;
mod pack;
mod partition;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod report;
mod sample;
pub mod shard;
mod shared;
pub mod snapshot;
pub mod stages;
pub mod topics;
pub mod verify;
mod wish;
mod writer;
