use proptest::prelude::*;

use super::*;

fn template(text: &str) -> Layout {
    Layout::template("", &NameTemplate::new(text).unwrap())
}

/// The one reading of a key in short, `-` for none, `?` with all readings for several.
fn read(layout: &Layout, key: &str) -> String {
    let short = |name: &ObjectName<'_>| {
        format!(
            "{}/{}/{}",
            name.topic().unwrap_or("-"),
            name.partition()
                .map_or("-".into(), |partition| partition.to_string()),
            name.start_offset()
                .map_or("-".into(), |offset| offset.to_string()),
        )
    };
    match layout.match_key(key) {
        KeyMatch::No => "-".into(),
        KeyMatch::Name(name) => short(&name),
        KeyMatch::Ambiguous(names) => {
            let mut all: Vec<_> = names.iter().map(short).collect();
            all.sort();
            format!("?{}", all.join(" "))
        }
    }
}

#[test]
fn default_names_are_read_from_end_to_end() {
    let layout = Layout::default_names("");
    for (key, expected) in [
        ("orders-0-0", "orders/0/0"),
        ("foo-1-2-300", "foo-1/2/300"),
        ("app.events_v1-10-7.avro.zst", "app.events_v1/10/7"),
        ("orders-0-17.gz", "orders/0/17"),
        ("orders-0-17.snappy", "orders/0/17"),
        ("orders-0-0000000017", "orders/0/17"),
        ("orders-0-00000000000000000017.gz", "orders/0/17"),
        ("orders-0-9223372036854775807", "orders/0/9223372036854775807"),
        ("orders-0-9223372036854775808", "-"),
        ("orders-2147483648-0", "-"),
        ("orders-0-0.tmp", "-"),
        ("orders-0-0.gz.avro", "-"),
        ("orders-x-5", "-"),
        ("b/orders-0-0", "-"),
        ("-0-0", "-"),
        ("..-0-0", "-"),
        ("", "-"),
        ("orders--1-0", "orders-/1/0"),
        ("orders-\u{661}-\u{660}\u{664}", "orders/1/4"),
    ] {
        assert_eq!(read(&layout, key), expected, "{key}");
    }
    assert_eq!(
        read(&layout, &format!("{}-0-0", "t".repeat(249))),
        format!("{}/0/0", "t".repeat(249))
    );
    assert_eq!(read(&layout, &format!("{}-0-0", "t".repeat(250))), "-");
}

#[test]
fn a_prefix_is_literal() {
    let layout = Layout::default_names("orders-");
    assert_eq!(read(&layout, "orders-orders-1-2-0"), "orders-1/2/0");
    assert_eq!(read(&layout, "orders-1-2"), "-");
    assert_eq!(read(&Layout::default_names("b.ckup"), "backuporders-0-0"), "-");
    assert_eq!(read(&Layout::default_names("{{x}}/"), "{{x}}/t-0-0"), "t/0/0");
}

#[test]
fn templates_without_separators_are_read_where_padding_separates() {
    let padded = template("{{topic}}{{partition:padding=true}}{{start_offset:padding=true}}");
    assert_eq!(
        read(&padded, "orders-1-2000000000000000000000000000007"),
        "orders-1-2/0/7"
    );
    let plain = template("{{topic}}{{partition}}{{start_offset}}");
    assert_eq!(read(&plain, "t39"), "t/3/9");
    assert_eq!(read(&plain, "t123"), "?t/1/23 t/12/3 t1/2/3");
    assert_eq!(
        read(&plain.clone().with_known_topics(["t1".into()]), "t123"),
        "t1/2/3"
    );
    assert_eq!(
        read(&plain.with_known_topics(["t".into()]), "t123"),
        "?t/1/23 t/12/3"
    );
}

#[test]
fn keys_in_names_may_hold_anything() {
    let layout = template("{{topic}}-{{partition}}-{{key}}-{{start_offset}}");
    assert_eq!(read(&layout, "users-0-null-11"), "users/0/11");
    assert_eq!(read(&layout, "users-0-a b/\u{e9}-\"x-11"), "users/0/11");
    assert_eq!(read(&layout, "users-0-user-1-11"), "users/0/11");
    assert_eq!(read(&layout, "users-0-a-1-b-11"), "?users-0-a/1/11 users/0/11");
    assert_eq!(
        read(&layout.with_known_topics(["users".into()]), "users-0-a-1-b-11"),
        "users/0/11"
    );
    let KeyMatch::Name(name) = template("{{key}}").match_key("[B@21a947fe") else {
        panic!()
    };
    assert!(name.has_array_identity());
    assert_eq!(name.grouping(), Grouping::LatestState);
    assert_eq!(
        read(
            &template("{{topic}}-{{key}}-{{start_offset}}"),
            "t-K-{{start_offset}}"
        ),
        "t/-/-"
    );
}

#[test]
fn repeated_variables_must_agree() {
    let layout = template(
        "{{topic}}/{{timestamp:unit=yyyy}}/{{topic}}-{{partition}}-{{start_offset}}-{{timestamp:unit=yyyy}}",
    );
    assert_eq!(read(&layout, "a-1/2026/a-1-0-5-2026"), "a-1/0/5");
    assert_eq!(read(&layout, "a-1/2026/a-2-0-5-2026"), "-");
    assert_eq!(read(&layout, "a-1/2026/a-1-0-5-2027"), "-");
    assert_eq!(read(&layout, "a-1/+10000/a-1-0-5-+10000"), "a-1/0/5");
}

#[test]
fn legacy_names_of_the_s3_sink() {
    let layout = |prefix| Layout::of([Generation::s3_legacy(prefix).unwrap()]);
    for (prefix, key, expected) in [
        ("", "orders-0-00000000000000000017.gz", "orders/0/17"),
        ("aiven/", "aiven/orders-0-0000000017", "orders/0/17"),
        ("p-", "p-orders-0-0000000017.avro.gz", "orders/0/17"),
        (
            "{{utc_date}}/",
            "2026-11-22/orders-0-00000000000000000017.gz",
            "orders/0/17",
        ),
        (
            "{{local_date}}/",
            "2026-13-22/orders-0-00000000000000000017.gz",
            "-",
        ),
        (
            "legacy/{{topic}}/",
            "legacy/orders/orders-0-00000000000000000017.gz",
            "orders/0/17",
        ),
        (
            "legacy/{{topic}}/",
            "legacy/orders/returns-0-00000000000000000017.gz",
            "-",
        ),
        (
            "{{ timestamp:unit=YYYY }}/{{other}}/",
            "2026/{{other}}/o-1-00000000000000000017",
            "o/1/17",
        ),
        (
            "{{start_offset:padding=true}}{{partition}}",
            "000000000000000000171o-1-00000000000000000017",
            "o/1/17",
        ),
    ] {
        assert_eq!(read(&layout(prefix), key), expected, "{prefix} {key}");
    }
    assert!(Generation::s3_legacy("{{timestamp}}").is_err());
}

#[test]
fn generations_are_told_apart_by_the_closest_fit() {
    let layout = Layout::of([
        Generation::default_names(""),
        Generation::s3_legacy("p-").unwrap(),
    ]);
    assert_eq!(read(&layout, "p-stock-0-00000000000000000082.gz"), "stock/0/82");
    assert_eq!(read(&layout, "stock-2-33"), "stock/2/33");
    assert_eq!(read(&layout, "p-stock-0-82.gz"), "p-stock/0/82");
    assert_eq!(
        read(&layout, "p-stock-0-12345678901.gz"),
        "?p-stock/0/12345678901 stock/0/12345678901"
    );
    let known = layout.with_known_topics(["stock".into()]);
    assert_eq!(read(&known, "p-stock-0-12345678901.gz"), "stock/0/12345678901");
}

#[test]
fn a_prefix_may_be_a_folder_too() {
    let layout = Layout::default_names("backups").or_folder();
    let folder = |key| match layout.match_key(key) {
        KeyMatch::Name(name) => Some(name.is_in_folder()),
        _ => None,
    };
    assert_eq!(folder("backupsorders-0-0"), Some(false));
    assert_eq!(folder("backups/orders-0-0"), Some(true));
    assert_eq!(folder("backups/kafka/orders-0-0"), None);
    assert_eq!(Layout::default_names("b/").or_folder().generations().len(), 1);
    assert_eq!(Layout::default_names("").or_folder().generations().len(), 1);
    assert_eq!(
        layout.generations()[1].description(),
        "backups/{{topic}}-{{partition}}-{{start_offset}}[suffix]"
    );
}

#[test]
fn listings_are_narrowed_as_far_as_names_allow() {
    let topics: BTreeSet<String> = ["orders".to_owned(), "orders-1".to_owned()].into();
    let one: BTreeSet<String> = ["orders".to_owned()].into();
    let list = |layout: &Layout, topics: Option<&BTreeSet<String>>| layout.listing_prefixes(topics).join(" ");
    let default = Layout::default_names("b").or_folder();
    assert_eq!(list(&default, Some(&one)), "b/orders- borders-");
    assert_eq!(list(&default, Some(&topics)), "b/orders- borders-");
    assert_eq!(list(&default, None), "b");
    let dated = template("raw/{{timestamp:unit=yyyy}}/{{topic}}-{{partition}}-{{start_offset}}");
    assert_eq!(list(&dated, Some(&one)), "raw/");
    assert_eq!(
        list(
            &template("v2/{{topic}}/{{partition}}/{{start_offset}}").and(dated),
            Some(&one)
        ),
        "raw/ v2/orders/"
    );
    assert_eq!(
        list(&template("{{topic}}{{partition}}{{start_offset}}"), Some(&topics)),
        "orders"
    );
}

#[test]
fn objects_of_other_tools_are_known() {
    for (key, size, expected) in [
        ("b/", 0, Some(SideObject::FolderMarker)),
        ("b/", 5, None),
        ("b_$folder$", 0, Some(SideObject::FolderMarker)),
        ("x/_SUCCESS", 0, Some(SideObject::OtherTool)),
        (".indexes/c/.locks/t/0.lock", 9, Some(SideObject::OtherTool)),
        (
            "_kafka-restore/snapshots/20261123T010203Z.json",
            9,
            Some(SideObject::OtherTool),
        ),
        ("topics/_metadata/schemas/1.avsc", 9, Some(SideObject::OtherTool)),
        ("tombstone", 9, None),
        ("unrelated.bin", 9, None),
    ] {
        assert_eq!(SideObject::of(key, size), expected, "{key}");
    }
}

#[test]
fn hostile_keys_take_bounded_time() {
    let digits = "1".repeat(1024);
    let dashes = "1-".repeat(512);
    let many = "{{key}}{{topic}}{{partition}}{{start_offset}}{{key}}{{topic}}{{partition}}{{start_offset}}";
    for text in [
        many,
        "{{topic}}{{partition}}{{start_offset}}{{topic}}",
        "{{key}}-{{key}}-{{topic}}-{{partition}}-{{start_offset}}",
    ] {
        for key in [&digits, &dashes] {
            read(&template(text), key);
        }
    }
}

fn any_template() -> impl Strategy<Value = String> {
    let separator = "[-_/+=.a-z]{0,3}";
    let variable = prop_oneof![
        Just("{{topic}}"),
        Just("{{partition}}"),
        Just("{{ partition:padding=true }}"),
        Just("{{start_offset}}"),
        Just("{{start_offset:padding=true}}"),
        Just("{{timestamp:unit=yyyy}}"),
        Just("{{timestamp:unit=MM}}"),
        Just("{{timestamp:unit=dd}}"),
        Just("{{timestamp:unit=HH}}"),
        Just("{{key}}"),
    ];
    prop::collection::vec((separator, variable), 0..7).prop_map(|parts| {
        parts
            .iter()
            .map(|(text, variable)| format!("{text}{variable}"))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What a sink named is read back, or reported with the right reading among others, and its key comes back
    /// from its form.
    #[test]
    fn names_come_back(
        text in any_template(),
        prefix in "[a-z/-]{0,4}",
        topic in "[a-z0-9._-]{1,12}",
        partition in 0_i32..=i32::MAX,
        start_offset in 0_i64..=i64::MAX,
        key in "\\PC{0,6}",
        time in (1970_i64..10010, 1_u8..=12, 1_u8..=31, 0_u8..=23),
    ) {
        prop_assume!(topic != "." && topic != "..");
        let text = match NameTemplate::new(&text) {
            Ok(_) => text,
            Err(_) => format!("{{{{topic}}}}/{text}-{{{{partition}}}}-{{{{start_offset}}}}"),
        };
        let Ok(template) = NameTemplate::new(&text) else { return Ok(()) };
        let fields = NameFields { topic: &topic, partition, start_offset, key: &key, time };
        let layout = Layout::template(&prefix, &template);
        let name = format!("{prefix}{}", template.render(&fields));
        let holds = |read: &ObjectName<'_>| {
            let parts = template.parts();
            let has = |wanted: fn(&Part) -> bool| parts.iter().any(wanted);
            (!has(|p| *p == Part::Topic) || read.topic() == Some(&topic))
                && (!has(|p| matches!(p, Part::Partition(_))) || read.partition() == Some(partition))
                && (!has(|p| matches!(p, Part::StartOffset(_))) || read.start_offset() == Some(start_offset))
        };
        match layout.match_key(&name) {
            KeyMatch::Name(read) => {
                prop_assert!(holds(&read), "{} as {:?}", name, read);
                let (mut text, mut scratch) = (String::new(), String::new());
                if layout.form_of(&name, &read, &mut text, &mut scratch).is_some() {
                    prop_assert_eq!(&scratch, &name);
                } else {
                    prop_assert!(time.0 > 9999 || !name.is_ascii() || read.has_foreign_digits() || parts_repeat(&template));
                }
            }
            KeyMatch::Ambiguous(all) => prop_assert!(all.iter().any(holds) || all.len() >= 4, "{} as {:?}", name, all),
            KeyMatch::No => prop_assert!(false, "{} has no reading", name),
        }
    }

    #[test]
    fn default_names_always_have_one_reading(
        topic in "[a-zA-Z0-9._-]{1,30}", partition in 0_i32..=i32::MAX, start_offset in 0_i64..=i64::MAX,
        suffix in 0_usize..8, width in 1_usize..=20,
    ) {
        prop_assume!(topic != "." && topic != "..");
        let suffix = pattern::SUFFIXES[suffix];
        let key = format!("{topic}-{partition}-{start_offset:0width$}{suffix}");
        prop_assert_eq!(read(&Layout::default_names(""), &key), format!("{topic}/{partition}/{start_offset}"));
    }

    #[test]
    fn nothing_panics(text in "([{}a-z:= /-]|\\{\\{|\\}\\}|topic|partition|start_offset|key|padding=true){0,12}", key in "\\PC{0,40}") {
        let _ = Generation::s3_legacy(&text).map(|generation| Layout::of([generation]).match_key(&key) == KeyMatch::No);
        if let Ok(template) = NameTemplate::new(&text) {
            Layout::template("", &template).or_folder().match_key(&key);
        }
        Layout::default_names(&text).or_folder().match_key(&key);
    }
}

/// True where a variable stands twice, perhaps spelled in two ways.
fn parts_repeat(template: &NameTemplate) -> bool {
    let parts = template.parts();
    parts.iter().enumerate().any(|(index, part)| {
        parts[..index]
            .iter()
            .any(|other| std::mem::discriminant(other) == std::mem::discriminant(part))
            && !matches!(part, Part::Literal(_))
    })
}
