//! The config file: JSON as the original tool had it, or YAML, or TOML.
//!
//! - [`tree`]: text -> a tree of values; no key may stand twice.
//! - [`environment`]: `${NAME}` in texts.
//! - [`mod@file`]: the sections and their keys; an unknown key is an error that names the nearest known one.
//! - [`section`]: the `backup` and `restore` sections are command-line options written in a file.
//!
//! Relative paths are looked for beside the config file, then in the current folder. Errors name the file and
//! the key, and never show a value of a key that may hold a secret.

pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod paths;
pub(crate) mod secret;
pub(crate) mod section;
pub(crate) mod tree;

pub(crate) use error::ConfigError;
pub(crate) use file::ConfigFile;
