//! Groups of options that several commands share, each with the help that a person learns it from.
//!
//! A command's `Arguments` are a choice of these groups. The same definitions read the `restore` and `backup`
//! sections of the config file (see [`crate::config::section`]), so an option is described in one place.

pub(crate) mod choice;
pub(crate) mod content;
pub(crate) mod global;
pub(crate) mod groups;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod offsets;
pub(crate) mod safety;
pub(crate) mod selection;
pub(crate) mod source;
pub(crate) mod target;
pub(crate) mod topics;

/// Headings under which `--help` lists options.
pub(crate) mod heading {
    /// Where the backup is.
    pub(crate) const SOURCE: &str = "Source";
    /// Which cluster.
    pub(crate) const TARGET: &str = "Target cluster";
    /// Topics that do not exist yet.
    pub(crate) const TOPICS: &str = "Topic creation and settings";
    /// Which records.
    pub(crate) const SELECTION: &str = "Which records";
    /// How the connector wrote the files.
    pub(crate) const CONTENT: &str = "How the files were written";
    /// What is refused unless asked for.
    pub(crate) const SAFETY: &str = "Safety";
    /// Speed and memory.
    pub(crate) const LIMITS: &str = "Speed and memory";
    /// What is printed and where.
    pub(crate) const OUTPUT: &str = "Output";
}
