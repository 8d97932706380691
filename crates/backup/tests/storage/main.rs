//! Storage: one conformance suite over every store, and faults on real sockets.

mod canned;
mod conformance;
mod network;
mod stores;
