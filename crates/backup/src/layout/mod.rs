//! Object key <-> topic, partition, start offset.

mod form;

pub(crate) use form::{KeyForm, put_text, take_text};
