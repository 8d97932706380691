//! What a run is to do: command line, environment and config file merged once, every value typed.
//!
//! Commands work on these and never on raw arguments. Secrets are `SecretString`s, so that no Debug shows them.

pub(crate) mod connector;
pub(crate) mod content;
pub(crate) mod job;
pub(crate) mod selection;
pub(crate) mod source;
pub(crate) mod target;
