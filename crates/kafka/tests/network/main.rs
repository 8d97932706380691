//! Connections, security and administration, against small servers that misbehave on purpose and against real brokers.

extern crate kafka_restore_kafka as kafka;

mod administration;
mod brokers;
mod fake;
mod frames;
mod oauth;
mod properties;
mod secured;
mod stores;
mod tls;
