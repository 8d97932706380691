//! Batches, producer and fetcher against real brokers, read back with librdkafka; connections that break.

extern crate kafka_restore_kafka as kafka;

mod connections;
mod faults;
mod leaders;
mod refusals;
mod round_trip;
mod support;
