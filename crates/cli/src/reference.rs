//! `docs/reference.md`: every command and every key of the config file, made from the code.
//!
//! The test below compares the file with the code; with `UPDATE_DOCS=1` in the environment it writes the file.

use std::fmt::Write as _;
use std::path::Path;

use clap::Command;

use crate::command_line;
use crate::config::file::known_keys;

fn reference() -> String {
    let mut text = String::from(
        "# Reference\n\nThe help of every command, made from the code by a test (`UPDATE_DOCS=1 cargo test -p \
         kafka-restore reference`).\n",
    );
    let definition = command_line::definition().term_width(100);
    put(&mut text, "kafka-restore", definition.clone());
    for command in definition.get_subcommands() {
        let title = format!("kafka-restore {}", command.get_name());
        put(&mut text, &title, command.clone().term_width(100));
    }
    text.push_str("\n## Keys of the config file\n\n");
    for section in ["kafka", "object_storage"] {
        let keys = known_keys(Some(section))
            .into_iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>();
        let _ = writeln!(text, "- `{section}`: {}", keys.join(", "));
    }
    text.push_str(
        "- `backup`: the options under \"How the files were written\", by their long names\n- `restore`: any option of \
         `kafka-restore restore`, by its long name\n",
    );
    text
}

fn put(text: &mut String, title: &str, mut command: Command) {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(
        text,
        "\n## {title}\n\n```text\n{}\n```\n",
        lines.join("\n").trim()
    );
}

#[test]
fn reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md");
    let made = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == written,
        "docs/reference.md is out of date: UPDATE_DOCS=1 cargo test -p kafka-restore reference"
    );
}
