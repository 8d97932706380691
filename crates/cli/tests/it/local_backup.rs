//! `inspect` and `cat` on a small backup in a folder.

use crate::environment::TestEnvironment;

/// Two partitions of `orders` in the connector's default form, and files that belong to nothing.
fn environment() -> TestEnvironment {
    let environment = TestEnvironment::new();
    // key,value,offset,timestamp with key and value in base64: k0/v0, k1/v1 and a null key with bytes ff 00.
    environment.write(
        "backup/orders-0-17",
        "azA=,djA=,17,1600000000000\nazE=,djE=,18,1600000000001\n",
    );
    environment.write("backup/orders-0-20", "azI=,djI=,20,1600000000002\n");
    environment.write("backup/orders-1-0", ",/wA=,0,1600000000003\n");
    environment.write("backup/README", "not a backup");
    environment
}

#[test]
fn inspect_shows_what_is_there() {
    let output = environment().run(&["inspect", "--from", "backup", "--json", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["unmatched"]["samples"], serde_json::json!(["README"]));
    assert_eq!(found["topics"][0]["topic"], "orders");
    let partitions = found["topics"][0]["partitions"].as_array().unwrap();
    let rows: Vec<_> = partitions
        .iter()
        .map(|row| {
            (
                row["partition"].as_i64(),
                row["objects"].as_u64(),
                row["content"]["offsets"].clone(),
            )
        })
        .collect();
    let offsets = |first: i64, last: i64| serde_json::json!([first, last]);
    assert_eq!(
        rows,
        [
            (Some(0), Some(2), offsets(17, 20)),
            (Some(1), Some(1), offsets(0, 0))
        ]
    );
}

#[test]
fn inspect_for_people_names_topics_and_strangers() {
    let shown = environment().show(&["inspect", "--from", "backup", "-q"]);
    for words in [
        "exit status: 0",
        "orders",
        "17..20",
        "belong to no topic: 1",
        "\"README\"",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn a_date_is_said_as_it_was_understood() {
    let shown = environment().show(&["inspect", "--from", "backup", "--since", "9 Jun 2020"]);
    assert!(
        shown.contains("only objects modified at or after 2020-06-09T00:00:00Z"),
        "{shown}"
    );
}

#[test]
fn cat_prints_records_in_order() {
    insta::assert_snapshot!(environment().show(&["cat", "--from", "backup", "-t", "orders", "-q"]));
}

#[test]
fn cat_stops_where_it_is_told_to() {
    let environment = environment();
    let lines = |arguments: &[&str]| {
        let output = environment.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(
        lines(&["cat", "--from", "backup", "-t", "orders", "--limit", "2"]),
        2
    );
    assert_eq!(
        lines(&["cat", "--from", "backup", "-t", "orders", "--limit", "0"]),
        0
    );
    assert_eq!(
        lines(&[
            "cat",
            "--from",
            "backup",
            "-t",
            "orders",
            "--partition",
            "0",
            "--from-offset",
            "18"
        ]),
        2
    );
    assert_eq!(
        lines(&[
            "cat",
            "--from",
            "backup",
            "-t",
            "orders",
            "--to-time",
            "2020-09-13T12:26:40.001Z"
        ]),
        2
    );
}

#[test]
fn a_topic_that_is_not_there_lists_those_that_are() {
    insta::assert_snapshot!(environment().show(&["cat", "--from", "backup", "-t", "order", "-q"]));
}

#[test]
fn a_bad_record_stops_or_is_kept() {
    let environment = environment();
    environment.write("backup/orders-2-0", "azA=,djA=,0,1\nazE=,**,1,2\nazI=,djI=,2,3\n");
    let fields = "key,value,offset,timestamp";
    let cat = [
        "cat",
        "--from",
        "backup",
        "-t",
        "orders",
        "--partition",
        "2",
        "--fields",
        fields,
    ];
    let output = environment.run(&cat);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("orders-2-0") && talk.contains("line 2"), "{talk}");
    let output = environment.run(&[&cat[..], &["--on-bad-record", "skip"]].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    let kept = std::fs::read_dir(environment.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept
        .filter(|path| path.to_string_lossy().ends_with(".rejected.jsonl"))
        .collect();
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&kept[0]).unwrap()).unwrap();
    assert_eq!(line["line"], 2);
}

#[test]
fn inspect_names_what_is_damaged_and_where() {
    let environment = TestEnvironment::new();
    environment.write(
        "backup/orders-0-0",
        "YQ==,Yg==,0,1000\nYQ==,!!!!,1,1001\nYQ==,Yg==,2,1002",
    );
    let mut cut = include_bytes!("../../../../fixtures/goldens/derived-gzip-truncated/meta.json").to_vec();
    cut.splice(0..4, [0x1f, 0x8b, 8, 0]);
    environment.write("backup/orders-1-0.gz", cut);
    let fields = ["--fields", "key,value,offset,timestamp"];
    let output = environment.run(&[&["inspect", "--deep", "--from", "backup"][..], &fields].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("orders-0-0, line 2 (byte"), "{said}");
    assert!(said.contains("orders-1-0.gz, byte"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn an_object_that_unwraps_to_far_more_than_memory_is_refused() {
    let environment = TestEnvironment::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b'A'; 1 << 20];
    (0..80).for_each(|_| std::io::Write::write_all(&mut encoder, &zeros).unwrap());
    environment.write("backup/orders-0-0.gz", encoder.finish().unwrap());
    let small = ["--memory", "16MiB", "--fields", "key,value,offset,timestamp"];
    let output = environment.run(&[&["cat", "--from", "backup", "-t", "orders"][..], &small].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("orders-0-0.gz") && said.contains("16777216 bytes"),
        "{said}"
    );
}
