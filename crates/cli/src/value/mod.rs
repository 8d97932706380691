//!
//! Every type here is parsed by one plain function that serves the command line and the config file alike, and
//! says in full sentences what it wanted instead.

pub(crate) mod duration;
pub(crate) mod moment;
pub(crate) mod pair;
pub(crate) mod partitions;
pub(crate) mod shard;
pub(crate) mod share;
pub(crate) mod size;
