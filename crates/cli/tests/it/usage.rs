//! Wrong command lines: status 2, and words that help.

use crate::environment::TestEnvironment;

/// All wrong command lines in one text, so that their words can be read side by side.
#[test]
fn wrong_command_lines() {
    let environment = TestEnvironment::new();
    environment.write("backup/orders-0-0", "");
    environment.write("client.properties", "security.protocol=MAGIC\n");
    let mut text = String::new();
    for arguments in [
        "restroe",
        "restore --topc orders",
        "restore -t orders",
        "restore --from backup",
        "restore --from backup -t orders",
        "restore --from ftp://x -t orders",
        "restore --from backup -t orders --bootstrap-server host:port",
        "restore --from backup -t orders --since yesterday",
        "restore --from backup -t orders --partition 3-1",
        "restore --from backup -t orders --rename orders",
        "restore --from backup -t orders --rename a=x --rename b=x --bootstrap-server localhost:1",
        "restore --from backup -t orders --memory lots",
        "restore --from backup -t orders --rate-limit 0",
        "restore --from backup -t orders --format xml",
        "restore --from backup -t orders --fields key,vaule",
        "restore --from backup -t orders --template {{nothing}}",
        "restore --from backup -t orders --from-offset 9 --to-offset 3 --bootstrap-server localhost:1",
        "restore --from backup -t orders --exact-limit 5GB",
        "restore --from backup -t orders --command-config nowhere.properties",
        "restore --from backup -t orders --bootstrap-server localhost:1 --command-config client.properties",
        "restore --from backup -t orders --all-topics",
        "-c nowhere.json -t orders",
        "inspect",
        "cat --from backup",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let shown = environment.show(&words);
        assert!(
            shown.starts_with("exit status: 2\n--- stdout\n--- stderr\n"),
            "{arguments}: {shown}"
        );
        text.push_str(&format!(
            "$ kafka-restore {arguments}\n{}\n",
            shown.split_once("stderr\n").unwrap().1
        ));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn colors_only_for_terminals() {
    let output = TestEnvironment::new().run(&["inspect"]);
    assert!(!output.stderr.contains(&0x1b));
}
