//! Benchmarks: how close the program is to what the machine, the codecs and the brokers can do.
//!
//! [`dataset`] says which backups there are, [`generate`] writes them, always the same bytes. [`floor`] measures what
//! cannot be avoided (inflating, decoding, encoding, a codec), [`replay`] what brokers can take at most, and
//! [`librdkafka`] does the whole job with the usual client. [`harness`] runs the program and those beside it in turns
//! and prints a table; every participant is a process of its own, so that CPU time and memory can be told apart.

pub mod binary;
pub mod dataset;
pub mod floor;
pub mod generate;
pub mod harness;
pub mod librdkafka;
pub mod measure;
pub mod read;
pub mod replay;
pub mod table;
