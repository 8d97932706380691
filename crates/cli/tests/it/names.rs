//! Names that do not say enough by themselves: what explains them is proposed, and what has two meanings is refused.

use crate::backups::{assert_says, talk};
use crate::environment::TestEnvironment;

#[test]
fn names_that_nobody_explained_get_a_template_proposed() {
    let environment = TestEnvironment::new();
    for partition in 0..3 {
        for offset in [0, 10, 20] {
            environment.write(
                &format!("backup/2026/orders/{partition:010}/{offset:020}.csv"),
                format!("YQ==,Yg==,{offset},1000"),
            );
        }
    }
    let output = environment.run(&["inspect", "--from", "backup"]);
    let template = "orders/{{partition:padding=true}}/{{start_offset:padding=true}}.csv";
    assert_says(&output, 0, &["9 of 9 names", "try: --template"]);
    let said = talk(&output);
    let proposed = said
        .split("try: --template '")
        .nth(1)
        .and_then(|rest| rest.split('\'').next());
    let proposed = proposed.unwrap();
    assert!(
        proposed.contains("{{start_offset:padding=true}}"),
        "{proposed} instead of {template}"
    );
    let output = environment.run(&["inspect", "--from", "backup", "--template", proposed]);
    assert_says(&output, 0, &["(9 objects)"]);
    let output = environment.run(&["cat", "--from", "backup", "-t", "orders"]);
    assert_says(&output, 1, &["--template", "9 of 9 names"]);
}

#[test]
fn a_name_with_two_readings_is_an_error_that_shows_both() {
    let environment = TestEnvironment::new();
    environment.write("backup/orders123", "YQ==,Yg==,3,1000");
    let template = ["--template", "{{topic}}{{partition}}{{start_offset}}"];
    let readings = [
        "topic orders, partition 1, start offset 23",
        "topic orders, partition 12, start offset 3",
    ];
    for command in [&["inspect"][..], &["cat", "-t", "orders"]] {
        let output = environment.run(&[command, &["--from", "backup"], &template].concat());
        let status = i32::from(command[0] == "cat");
        assert_says(&output, status, &["more than one reading", "orders123"]);
        let said = talk(&output);
        assert!(readings.iter().all(|reading| said.contains(reading)), "{said}");
    }
}
