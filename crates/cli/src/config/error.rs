//! What can be wrong with a configuration.

use std::path::PathBuf;

/// A configuration that cannot be used. Nobody's secret is ever part of the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file that cannot be read.
    #[error("the {what} {} cannot be read", path.display())]
    Unreadable {
        /// What the file is: `config file`, `secret file`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Text that is not JSON, YAML or TOML.
    #[error("the config file {} is not valid {format}: {message}", path.display())]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// `JSON`, `YAML` or `TOML`.
        format: &'static str,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key that means nothing.
    #[error("the config file {} has an unknown key {key:?}", path.display())]
    UnknownKey {
        /// The config file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// The known key that looks most like it, or the section in which the key would be known.
        nearest: Option<String>,
        /// All known keys of the section.
        known: Vec<String>,
    },
    /// A value of the wrong type or with the wrong content.
    #[error("the config file {} has a wrong value at {key:?}: {message}", path.display())]
    WrongValue {
        /// The config file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// What was expected.
        message: String,
    },
    /// `${NAME}` of a variable that is not set.
    #[error("the config file {} needs the environment variable {name} at {key:?}, and it is not set", path.display())]
    EnvironmentUnset {
        /// The config file.
        path: PathBuf,
        /// The key with its section.
        key: String,
        /// The variable.
        name: String,
    },
    /// A file that a key names and that is nowhere.
    #[error("{key} names the file {name:?}, which does not exist; looked for {}", tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "))]
    NoSuchFile {
        /// The key with its section, or the option.
        key: String,
        /// The name as it was given.
        name: String,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// A secret that is given as a text and as a file.
    #[error("{key} and {key}_file are both given")]
    SecretTwice {
        /// The key with its section.
        key: String,
    },
    /// Something without which the command cannot start.
    #[error("{what}")]
    Missing {
        /// The whole sentence.
        what: String,
        /// What to do, in full sentences.
        hint: String,
    },
    /// Things that cannot be together.
    #[error("{what}")]
    Contradiction {
        /// The whole sentence.
        what: String,
        /// What to do, in full sentences.
        hint: String,
    },
}
