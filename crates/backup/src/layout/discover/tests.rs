use proptest::prelude::*;

use super::*;

fn best(keys: &[&str]) -> String {
    let mut discovery = Discovery::default();
    for key in keys {
        discovery.observe(key, 10);
    }
    let proposals = discovery.propose();
    let short = |proposal: &Proposal| {
        let template = proposal.template.as_ref().map_or("default", NameTemplate::as_str);
        format!("{}|{template} {}", proposal.prefix, proposal.added)
    };
    proposals.iter().map(short).collect::<Vec<_>>().join("; ")
}

#[test]
fn templates_are_found_from_names() {
    for (keys, expected) in [
        (&["orders-0-0", "orders-1-5.gz", "foo-1-2-300"][..], "|default 3"),
        (
            &["backups/kafka/orders-0-116", "backups/kafka/orders-0-5"],
            "backups/kafka/|default 2",
        ),
        (
            &[
                "orders-0-00000000000000000017.gz",
                "orders-0-0000000064.gz",
                "stock-0-3",
            ],
            "|default 3",
        ),
        (
            &["orders/1970-01-01/00/0000000000-00000000000000000017.csv.gz"],
            "|{{topic}}/{{timestamp:unit=yyyy}}-{{timestamp:unit=MM}}-{{timestamp:unit=dd}}/{{timestamp:unit=HH}}/{{partition:padding=true}}-{{start_offset:padding=true}}.csv.gz 1",
        ),
        (
            &[
                "raw/orders/p=0/y=1970/m=01/00000000000000000029.jsonl.gz",
                "raw/orders/p=2/y=2031/m=01/00000000000000000062.jsonl.gz",
            ],
            "raw/|{{topic}}/p={{partition}}/y={{timestamp:unit=yyyy}}/m={{timestamp:unit=MM}}/{{start_offset:padding=true}}.jsonl.gz 2",
        ),
        (
            &["2026/11/22/orders+0+118.json", "2026/11/22/orders+2+70.json"],
            "|{{timestamp:unit=yyyy}}/{{timestamp:unit=MM}}/{{timestamp:unit=dd}}/{{topic}}+{{partition}}+{{start_offset}}.json 2",
        ),
        (
            &["2026/11/app.events_v1+0+118.json", "2026/11/22x+2+70.json"],
            "|{{timestamp:unit=yyyy}}/{{timestamp:unit=MM}}/{{topic}}+{{partition}}+{{start_offset}}.json 2",
        ),
        (
            &[
                "v2/returns/2/00000000000000000053.jsonl.gz",
                "returns-0-105.gz",
                "returns-0-5.gz",
            ],
            "|default 2; v2/|{{topic}}/{{partition}}/{{start_offset:padding=true}}.jsonl.gz 1",
        ),
        (
            &["returns/19700101/0-00000000000000000017.jsonl"],
            "|{{topic}}/{{timestamp:unit=yyyy}}{{timestamp:unit=MM}}{{timestamp:unit=dd}}/{{partition}}-{{start_offset:padding=true}}.jsonl 1",
        ),
        (
            &[
                "orders-1-2000000000000000000000000000000",
                "metrics-lat000000000000000000000000000000",
            ],
            "|{{topic}}{{partition:padding=true}}{{start_offset:padding=true}} 2",
        ),
        (
            &["legacy/orders/orders-0-00000000000000000017.gz"],
            "legacy/|{{topic}}/{{topic}}-{{partition}}-{{start_offset:padding=true}}.gz 1",
        ),
        (
            &["2026-11-22/orders-0-00000000000000000017.gz"],
            "|{{timestamp:unit=yyyy}}-{{timestamp:unit=MM}}-{{timestamp:unit=dd}}/{{topic}}-{{partition}}-{{start_offset:padding=true}}.gz 1",
        ),
        (
            &["fresh/1970/0-17", "fresh/2031/2-0"],
            "|{{topic}}/{{timestamp:unit=yyyy}}/{{partition}}-{{start_offset}} 2",
        ),
        (
            &["users-0-null-11", "users-1-ann-78", "users-1-bob-9"],
            "|{{topic}}-{{partition}}-{{key}}-{{start_offset}} 3",
        ),
        (
            &["users-null-{{start_offset}}", "users-ann-{{start_offset}}"],
            "|{{topic}}-{{key}}-{{start_offset}} 2",
        ),
        (
            &["users/0/null", "users/1/user-9"],
            "|{{topic}}/{{partition}}/{{key}} 2",
        ),
        (&["[B@10b5bb47", "[B@12900b4d"], "|{{key}} 2"),
        (&["readme.txt", "x/unrelated.bin"], ""),
    ] {
        assert_eq!(best(keys), expected, "{keys:?}");
    }
}

#[test]
fn proposals_say_how_surely_and_why() {
    let mut discovery = Discovery::default();
    for topic in ["bk-orders", "bk-returns"] {
        for offset in 0..5 {
            discovery.observe(&format!("{topic}-0-{offset}"), 10);
        }
    }
    discovery.observe("_SUCCESS", 0);
    let proposals = discovery.propose();
    assert_eq!(proposals.len(), 1);
    assert_eq!((proposals[0].matched, proposals[0].sample), (10, 10));
    assert_eq!(proposals[0].confidence, Confidence::Sure);
    assert_eq!(proposals[0].topics, ["bk-orders", "bk-returns"]);
    assert_eq!(
        proposals[0].notes,
        ["All topics begin with \"bk-\": it may belong to the prefix and not to their names."]
    );
    assert_eq!(
        proposals[0].generation().description(),
        "{{topic}}-{{partition}}-{{start_offset}}[suffix]"
    );
}

#[test]
fn a_proposal_is_doubted_where_a_wider_one_fits() {
    let mut discovery = Discovery::default();
    for offset in 0..9 {
        discovery.observe(&format!("users-0-user-1-{offset}"), 10);
        discovery.observe(&format!("users-0-null-{}", offset * 7), 10);
    }
    for offset in 0..10 {
        discovery.observe(&format!("users-0-user-2-{offset}"), 10);
    }
    let proposals = discovery.propose();
    let keyed = "{{topic}}-{{partition}}-{{key}}-{{start_offset}}";
    assert!(
        proposals
            .iter()
            .any(|proposal| proposal.generation().description() == keyed && proposal.matched == 28)
    );
    for proposal in proposals.iter().filter(|proposal| proposal.template.is_none()) {
        assert_eq!(proposal.confidence, Confidence::Weak);
        assert!(
            proposal.notes.iter().any(|note| note.contains(keyed)),
            "{:?}",
            proposal.notes
        );
    }
}

#[test]
fn memory_is_bounded_and_the_sample_even() {
    let mut discovery = Discovery::default();
    for number in 0..20_000 {
        discovery.observe(&format!("folder{number}/orders-0-{number}"), 10);
    }
    assert!(discovery.sample.len() <= SAMPLE && discovery.sample.len() >= SAMPLE / 2);
    assert_eq!(discovery.suggestions.len(), MOST_SUGGESTIONS);
    assert!(discovery.sample.last().is_some_and(|key| key.contains("-199")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_keys_are_looked_at(keys in prop::collection::vec("(\\PC|[a-z0-9/=.+{}-]){0,24}|(2026|/|-|01|\u{e9}|=|\\.|x|\\{\\{start_offset){0,9}", 1..6)) {
        let mut discovery = Discovery::default();
        for key in &keys {
            discovery.observe(key, 1);
        }
        let proposals = discovery.propose();
        prop_assert!(proposals.iter().all(|proposal| proposal.added > 0 && proposal.matched >= proposal.added));
        let added: usize = proposals.iter().map(|proposal| proposal.added).sum();
        prop_assert!(added <= keys.len());
    }
}
