//! Batches into partitions: in order, each at the offset known beforehand, never twice.

mod codes;
mod error;
#[allow(dead_code)]
mod machine;
#[cfg(test)]
mod model_tests;

pub use error::ProduceError;
