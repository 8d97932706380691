//! Help, version, completions and manual pages.

use crate::environment::TestEnvironment;

#[test]
fn help_and_version_are_results() {
    let environment = TestEnvironment::new();
    for arguments in [
        &["--help"] as &[&str],
        &["-V"],
        &["restore", "--help"],
        &["cat", "-h"],
    ] {
        let output = environment.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_first_page_of_help() {
    insta::assert_snapshot!(TestEnvironment::new().show(&["--help"]));
}

#[test]
fn nothing_at_all_shows_help_as_an_error() {
    let output = TestEnvironment::new().run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("Commands:"));
}

#[test]
fn completions_know_commands_and_options() {
    let environment = TestEnvironment::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = environment.run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["inspect", "bootstrap-server", "on-bad-record"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}

#[test]
fn manual_pages() {
    let environment = TestEnvironment::new();
    let page = String::from_utf8(environment.run(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH kafka-restore 1"), "{page}");
    assert_eq!(environment.run(&["man", "--output", "."]).status.code(), Some(0));
    let mut names: Vec<_> = std::fs::read_dir(environment.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for command in ["", "-restore", "-plan", "-inspect", "-cat"] {
        assert!(names.contains(&format!("kafka-restore{command}.1")), "{names:?}");
    }
    let page = std::fs::read_to_string(environment.folder().join("kafka-restore-restore.1")).unwrap();
    assert!(
        page.contains("kafka\\-restore\\-restore") || page.contains("kafka-restore-restore"),
        "{page}"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    insta::assert_snapshot!(TestEnvironment::new().show(&["man", "--output", "nowhere"]));
}
