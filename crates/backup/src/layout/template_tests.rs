use super::*;

fn fields<'a>() -> NameFields<'a> {
    NameFields {
        topic: "orders",
        partition: 3,
        start_offset: 42,
        key: "k/1",
        time: (2026, 1, 2, 3),
    }
}

#[test]
fn templates_render_as_the_sink_renders_them() {
    for (template, name) in [
        ("{{topic}}-{{partition}}-{{start_offset}}", "orders-3-42"),
        (
            "{{ topic }}/{{\tpartition:padding=true }}/{{start_offset:padding=false}}",
            "orders/0000000003/42",
        ),
        (
            "{{topic}}{{partition:padding=true}}{{start_offset:padding=true}}",
            "orders000000000300000000000000000042",
        ),
        (
            "y={{timestamp:unit=yyyy}}/{{timestamp:unit=MM}}{{timestamp:unit=dd}}T{{timestamp:unit=HH}}/{{topic}}-{{partition}}-{{start_offset}}.x",
            "y=2026/0102T03/orders-3-42.x",
        ),
        (
            "{{topic}}-{{partition}}-{{key}}-{{start_offset}}",
            "orders-3-k/1-42",
        ),
        ("{{key}}", "k/1"),
        (
            "{{topic}}-{{key}}-{{start_offset}}",
            "orders-k/1-{{start_offset}}",
        ),
        (
            "{{partition:padding=true}}-{{key}}-{{ timestamp:unit=yyyy }}",
            "0000000003-k/1-{{ timestamp:unit=yyyy }}",
        ),
        (
            "{{topic}}-{{topic}}-{{partition}}-{{start_offset}}",
            "orders-orders-3-42",
        ),
        (
            "{{{topic}}}{{a b}}{{partition}}{{start_offset}}}}",
            "{orders}{{a b}}342}}",
        ),
        (
            "{{topic:any=thing}}-{{partition}}-{{start_offset:padding=true=x}}",
            "orders-3-00000000000000000042",
        ),
    ] {
        assert_eq!(
            NameTemplate::new(template).unwrap().render(&fields()),
            name,
            "{template}"
        );
    }
}

#[test]
fn years_beyond_9999_carry_a_plus_sign() {
    let template =
        NameTemplate::new("{{timestamp:unit=yyyy}}-{{topic}}-{{partition}}-{{start_offset}}").unwrap();
    let name = template.render(&NameFields {
        time: (10000, 1, 1, 0),
        ..fields()
    });
    assert_eq!(name, "+10000-orders-3-42");
}

/// All sets of variables: the sinks accept just these.
#[test]
fn sets_of_variables_are_valid_as_for_the_sink() {
    let variables = [
        "{{topic}}",
        "{{partition}}",
        "{{start_offset}}",
        "{{timestamp:unit=dd}}",
        "{{key}}",
    ];
    let mut valid = Vec::new();
    for set in 1_u32..32 {
        let chosen: Vec<&str> = variables
            .iter()
            .enumerate()
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, v)| *v)
            .collect();
        if let Ok(template) = NameTemplate::new(&chosen.join("-")) {
            let names: String = chosen.iter().map(|v| &v[2..4]).collect::<Vec<_>>().join(" ");
            valid.push(format!("{names}: {:?}", template.grouping()));
        }
    }
    assert_eq!(
        valid,
        [
            "to pa st: Partition",
            "to pa st ti: Partition",
            "ke: LatestState",
            "to ke: LatestState",
            "pa ke: LatestState",
            "to pa ke: LatestState",
            "to st ke: LatestState",
            "pa st ke: LatestState",
            "to pa st ke: PartitionAndKey",
            "to ti ke: LatestState",
            "pa ti ke: LatestState",
            "to pa ti ke: LatestState",
            "to st ti ke: LatestState",
            "pa st ti ke: LatestState",
            "to pa st ti ke: PartitionAndKey",
        ]
    );
}

#[test]
fn wrong_templates_are_explained() {
    for (template, reason) in [
        ("", "it has no variables"),
        ("plain", "it has no variables"),
        ("{{topic}}-{{partition}}", "its set of variables"),
        (
            "{{topic}}-{{partition}}-{{start_offset}}-{{foo}}",
            "`foo` is no variable",
        ),
        ("{{}}", "a placeholder has no variable name"),
        ("{{topic:}}", "a parameter is missing"),
        ("{{partition:padding}}", "is not of the form name=value"),
        (
            "{{topic}}-{{partition:padding=yes}}-{{start_offset}}",
            "takes the parameter padding=true",
        ),
        (
            "{{topic}}-{{partition}}-{{start_offset}}{{timestamp}}",
            "needs a parameter",
        ),
        (
            "{{topic}}-{{partition}}-{{start_offset}}{{timestamp:unit=mm}}",
            "not unit=mm",
        ),
        (".well-known/acme-challenge{{key}}", "must not start with"),
    ] {
        let error = NameTemplate::new(template).unwrap_err();
        assert!(error.reason.contains(reason), "{template}: {error}");
    }
    assert!(NameTemplate::new(&"{{key}}".repeat(2000)).is_err());
}

#[test]
fn the_week_based_year_of_old_releases_is_accepted() {
    let template =
        NameTemplate::new("{{topic}}-{{partition}}-{{start_offset}}-{{timestamp:unit=YYYY}}").unwrap();
    assert!(template.has_week_year());
}
