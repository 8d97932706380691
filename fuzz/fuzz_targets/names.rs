//! Any text as a template and any text as an object's key: no panic, what is read is in the key, and a key that a
//! template wrote is read back as what was written, or said to be ambiguous.
#![no_main]

use backup::layout::discover::Discovery;
use backup::layout::{Grouping, KeyMatch, Layout, NameFields, NameTemplate, ObjectName};
use libfuzzer_sys::fuzz_target;

/// Templates that sinks have; the fuzzer need not find them.
const TEMPLATES: [&str; 5] = [
    "{{topic}}-{{partition}}-{{start_offset}}",
    "{{topic}}/{{partition:padding=true}}/{{start_offset:padding=true}}.gz",
    "{{topic}}{{partition}}{{start_offset}}",
    "{{topic}}-{{partition}}-{{key}}-{{start_offset}}",
    "{{timestamp:unit=yyyy}}/{{topic}}-{{partition}}-{{start_offset}}-{{topic}}",
];

fuzz_target!(|input: (u8, &str, &str, &str, i32, i64)| {
    let (choice, template, prefix, key, partition, offset) = input;
    let mut discovery = Discovery::default();
    key.split('\n').for_each(|key| discovery.observe(key, 1));
    discovery.propose();
    check(&Layout::default_names(prefix).or_folder(), key);

    let text = TEMPLATES
        .get(usize::from(choice % 8))
        .copied()
        .unwrap_or(template);
    let Ok(template) = NameTemplate::new(text) else {
        return;
    };
    let layout = Layout::template(prefix, &template);
    check(&layout, key);
    if template.grouping() != Grouping::Partition || !template.has_topic() || partition < 0 || offset < 0 {
        return;
    }
    let written = template.render(&NameFields {
        topic: "orders-1",
        partition,
        start_offset: offset,
        key: "",
        time: (2026, 2, 28, 23),
    });
    let written = format!("{prefix}{written}");
    let is_it = |name: &ObjectName<'_>| {
        (name.topic(), name.partition(), name.start_offset())
            == (Some("orders-1"), Some(partition), Some(offset))
    };
    match layout.match_key(&written) {
        KeyMatch::Name(name) => assert!(is_it(&name), "{written:?} as {name:?}"),
        KeyMatch::Ambiguous(names) => assert!(names.len() > 1),
        KeyMatch::No => panic!("{written:?} is not recognised"),
    }
});

/// What is read stands in the key, and is where it is looked for.
fn check(layout: &Layout, key: &str) {
    let names = match layout.match_key(key) {
        KeyMatch::No => return,
        KeyMatch::Name(name) => vec![name],
        KeyMatch::Ambiguous(names) => names,
    };
    let prefixes = layout.listing_prefixes(None);
    assert!(prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())));
    for name in names {
        assert!(name.topic().is_none_or(|topic| key.contains(topic)));
        assert!(name.partition().is_none_or(|partition| partition >= 0));
        assert!(name.start_offset().is_none_or(|offset| offset >= 0));
    }
}
