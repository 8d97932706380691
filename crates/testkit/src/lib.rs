//! What tests of this project run against: real brokers, object-store emulators, golden backups, faults.
//!
//! Nothing here uses the project's own code to speak to Kafka: topics are made, filled and read back with librdkafka, so
//! that a mistake of ours cannot hide itself. Start with [`broker::Broker`], read back with [`consumer`] (and [`java`]), compare with
//! [`fidelity`], take real backups from [`golden`], and break connections with [`proxy`].

pub mod broker;
pub mod certificates;
pub mod consumer;
pub mod cpu;
pub mod emulators;
pub mod expectation;
pub mod fidelity;
pub mod golden;
pub mod groups;
pub mod jars;
pub mod java;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod record;
