//! What `kafka-consumer-groups --reset-offsets ... --export` prints, and `--from-file` takes: csv.
//!
//! `topic,partition,offset` where the command was about one group, `group,topic,partition,offset` where it was about
//! several. Fields may be in quotes, with quotes doubled inside.

use super::{GroupOffset, GroupOffsets, SourceError, collect};

/// True for a line of such a file.
pub(super) fn is_row(line: &str) -> bool {
    parse(line).is_some()
}

struct Row {
    group: Option<String>,
    topic: String,
    partition: i32,
    offset: i64,
}

fn parse(line: &str) -> Option<Row> {
    let mut fields = fields(line.trim_end_matches('\r'))?;
    let offset = fields.pop()?.parse().ok().filter(|offset| *offset >= 0)?;
    let partition = fields.pop()?.parse().ok().filter(|partition| *partition >= 0)?;
    let topic = fields.pop().filter(|topic| !topic.is_empty())?;
    let group = fields.pop();
    fields.is_empty().then_some(Row {
        group,
        topic,
        partition,
        offset,
    })
}

/// The fields of one line; `None` where quotes do not match or there are more than four fields.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        if fields.len() == 4 {
            return None;
        }
        let (field, behind) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
            Some(quoted) => {
                let mut field = String::new();
                let mut quoted = quoted;
                loop {
                    let end = quoted.find('"')?;
                    field.push_str(&quoted[..end]);
                    quoted = &quoted[end + 1..];
                    match quoted.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => break (field, quoted),
                    }
                }
            }
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None if behind.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// Reads the text. `group` is the group where the lines do not name theirs.
pub fn read(place: &str, text: &str, group: Option<&str>) -> Result<Vec<GroupOffsets>, SourceError> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |message: &str| SourceError::Line {
            place: place.to_owned(),
            line: number + 1,
            message: message.to_owned(),
        };
        let row = parse(line)
            .ok_or_else(|| wrong("expected topic,partition,offset or group,topic,partition,offset"))?;
        let id = row.group.or_else(|| group.map(str::to_owned));
        let id = id.ok_or_else(|| wrong("the line names no group: say it with --group"))?;
        rows.push((id, None, GroupOffset::new(row.topic, row.partition, row.offset)));
    }
    Ok(collect(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let one = read("x", "orders,0,17\r\n\norders,1,0\n", Some("billing")).unwrap();
        assert_eq!(
            one[0].offsets,
            [
                GroupOffset::new("orders", 0, 17),
                GroupOffset::new("orders", 1, 0)
            ]
        );
        let many = read("x", "\"a,\"\"b\",orders,0,17\nc,\"orders\",2,5\n", None).unwrap();
        let ids: Vec<_> = many.iter().map(|group| group.id.as_str()).collect();
        assert_eq!(ids, ["a,\"b", "c"]);
        assert!(
            read("x", "orders,0,17\n", None)
                .unwrap_err()
                .to_string()
                .contains("--group")
        );
    }

    #[test]
    fn what_is_no_row() {
        for line in [
            "",
            "orders",
            "orders,0",
            "orders,x,1",
            "orders,0,-1",
            "a,b,c,0,1",
            "\"orders,0,1",
            "\"o\"x,0,1",
            ",0,1",
        ] {
            assert!(!is_row(line), "{line:?}");
        }
        let error = read("x", "orders,0,1\norders;0;1\n", Some("g"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("x, line 2: "), "{error}");
    }
}
