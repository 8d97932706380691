//! Object key <-> topic, partition, start offset.
