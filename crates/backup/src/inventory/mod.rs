//! Listing + layout -> topics, partitions and objects in numeric order.
//!
//! One pass over a listing ([`Store::list`](crate::storage::Store::list)), page by page; what does not match
//! the layout is counted and sampled, never dropped in silence. [`objects`] says how the rest is kept small.

pub mod objects;

pub use objects::{ObjectEntry, PartitionObjects};
