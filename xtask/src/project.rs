//! The program under the tasks: where it is built, how it is run, and the topics it restores into.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use testkit::consumer;
use testkit::jars::workspace_folder;

/// Builds a package of one program for release, showing cargo's own progress, and returns the program's path.
pub(crate) fn build_release(package: &str) -> Result<PathBuf> {
    let status = cargo(["build", "--release", "--package", package]).status();
    if !status.context("cannot run cargo")?.success() {
        bail!("the release build failed");
    }
    // This program lies in <target>/<profile>/, whatever the target folder is.
    let own = std::env::current_exe().context("cannot find this program's own path")?;
    let target = own
        .ancestors()
        .nth(2)
        .context("this program lies outside a target folder")?;
    let binary = target
        .join("release")
        .join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    match binary.is_file() {
        true => Ok(binary),
        false => bail!("{} is not there after the build", binary.display()),
    }
}

/// The cargo that runs this task, in the workspace's root.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace_folder());
    command
}

/// Runs the program and collects what it prints. Its own settings from the environment are kept away from it.
pub(crate) fn kafka_restore<A: AsRef<OsStr>>(
    binary: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Output> {
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAFKA_RESTORE_") {
            command.env_remove(name);
        }
    }
    command
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))
}

/// Creates a topic that takes any record of a backup: of any time, up to 2 MiB, kept for ever.
pub(crate) fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    consumer::create_topic(
        bootstrap,
        topic,
        partitions,
        &[
            ("retention.ms", "-1"),
            ("max.message.bytes", "2097152"),
            ("message.timestamp.before.max.ms", "9223372036854775807"),
            ("message.timestamp.after.max.ms", "9223372036854775807"),
        ],
    )
}

/// A config file in the original tool's JSON form, for a broker in plain text.
pub(crate) fn config(bootstrap: &str, object_storage: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "kafka": { "kafka_url": bootstrap },
        "object_storage": object_storage,
    })
}
