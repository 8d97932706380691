//! Benchmarks: how close the program is to what the machine, the codecs and the brokers can do.
//!
//! [`dataset`] says which backups there are, [`generate`] writes them, always the same bytes. [`floor`] measures what
//! cannot be avoided (inflating, decoding, encoding, a codec), [`replay`] what brokers can take at most, and
//! [`librdkafka`] does the whole job with the usual client. [`harness`] runs the program and those beside it in turns
//! and prints a table, [`peers`] other tools; every participant is a process of its own, so that CPU time and memory can be told apart.
//! [`limits`] runs the program against servers that stand for an ideal outside world: a [`sink`] in place of brokers, a
//! [`store`] in place of a cloud's. [`listing`] takes inventories of keys that are made up
//! on the way. [`instructions`] counts what a record costs where wall and CPU time are too noisy.

pub mod binary;
pub mod dataset;
pub mod floor;
pub mod generate;
pub mod harness;
pub mod instructions;
pub mod librdkafka;
pub mod limits;
pub mod listing;
pub mod measure;
pub mod peers;
pub mod read;
pub mod replay;
pub mod server;
pub mod sink;
pub mod store;
pub mod table;
