//! The job: plan, execute, verify, report.
//!
//! [`plan::plan`] reads both sides and changes nothing; [`execute::execute`] does what a plan says. There is
//! one engine, so that a plan cannot lie. This crate reads no environment and prints nothing: what happens is
//! told to a [`progress::Progress`].
//!
//! A partition's way: [`partition`](mod@partition) takes blocks from the backup's stream, [`cut`] turns them into
//! steps, [`encode`](mod@encode) makes batches of those on the CPU threads, and the producer of the kafka crate puts
//! them behind each other in the target. [`lockstep`](mod@lockstep) compares what stands there with the backup.

pub mod compare;
pub mod content;
pub mod cut;
mod encode;
pub mod error;
pub mod execute;
pub mod inspect;
pub mod job;
mod lockstep;
pub mod offsets;
mod partition;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod report;
mod shared;
mod topics;
pub mod verify;
