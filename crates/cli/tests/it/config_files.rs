//! Every sample of a config file: the valid ones are taken, the invalid ones refused in clear words.
//!
//! `cat` on a topic that is not there reads the whole file and needs no cluster; the `kafka` section is
//! checked by `restore`, which is stopped by a broker that cannot be reached.

use std::path::PathBuf;

use crate::environment::{TestEnvironment, fixtures};

fn samples(kind: &str) -> Vec<PathBuf> {
    let extensions = ["json", "yaml", "toml"];
    let not_configs = ["example-gcs-credentials.json", "connector.json"];
    let folder = fixtures().join("configs").join(kind);
    let mut samples: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extensions.iter().any(|known| extension == *known))
        })
        .filter(|path| !not_configs.iter().any(|other| path.ends_with(other)))
        .collect();
    samples.sort();
    samples
}

#[test]
fn valid_files_are_taken() {
    let samples = samples("valid");
    assert!(samples.len() >= 6, "{samples:?}");
    for sample in samples {
        let mut environment = TestEnvironment::new();
        environment.set("EXAMPLE_SECRET", "hunter2");
        // A broker that refuses connections at once: nothing is restored, and the file was fine.
        std::fs::create_dir(environment.folder().join("empty")).unwrap();
        let file = sample.to_string_lossy();
        let output = environment.run(&[
            "-c",
            &file,
            "-t",
            "orders",
            "--from",
            "empty",
            "--bootstrap-server",
            "localhost:1",
        ]);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {talk}");
        assert!(!talk.contains("config file"), "{file}: {talk}");
        assert!(!talk.contains("hunter2"), "{file}: {talk}");
    }
}

#[test]
fn invalid_files_are_refused_in_clear_words() {
    let environment = TestEnvironment::new();
    let mut text = String::new();
    for sample in samples("invalid") {
        let file = sample.to_string_lossy();
        let shown = environment.show(&["-c", &file, "-t", "orders"]);
        let name = sample.file_name().unwrap().to_string_lossy();
        assert!(
            shown.starts_with("exit status: 2\n--- stdout\n--- stderr\nerror: "),
            "{name}: {shown}"
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("48151623"),
            "{name}: {shown}"
        );
        text.push_str(&format!("{name}\n{}\n", shown.split_once("stderr\n").unwrap().1));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn options_win_over_the_file() {
    let environment = TestEnvironment::new();
    environment.write("inside/orders-0-0", "");
    environment.write(
        "restore.yaml",
        "object_storage: {type: local, path: inside}\nrestore: {topic: payments, json: true, progress: none}\n",
    );
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = environment.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let found = json(&["inspect", "-c", "restore.yaml", "-t", "orders"]);
    assert_eq!(found["topics"][0]["topic"], "orders");
    let found = json(&["inspect", "-c", "restore.yaml", "--all-topics"]);
    assert_eq!(found["topics"][0]["topic"], "orders");
    let output = environment.run(&["inspect", "-c", "restore.yaml"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "the file's topic is not in the backup: {output:?}"
    );
}
