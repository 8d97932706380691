//! What `kafka-consumer-groups --describe` and `kafka-share-groups --describe` print.
//!
//! The columns changed over the years: without GROUP at first, with LEADER-EPOCH where it was asked to be verbose, with
//! START-OFFSET for share groups. The header says which there are. Columns are aligned, so a group id with blanks
//! in it can still be told from the topic behind it; where the alignment was lost, words count.

use super::{GroupOffset, GroupOffsets, SourceError, collect};

/// The columns that matter, as places in the header's list of words.
struct Header {
    group: bool,
    topic: usize,
    partition: usize,
    offset: usize,
    /// Where the columns of topic and partition begin, in characters.
    topic_start: usize,
    partition_start: usize,
    share: bool,
}

impl Header {
    /// The header in a line, if it is one.
    fn find(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = |name: &str| words.iter().position(|word| *word == name);
        let share = place("START-OFFSET");
        let offset = place("CURRENT-OFFSET").or(share)?;
        let start = |name: &str| {
            let byte = line.find(name)?;
            Some(line[..byte].chars().count())
        };
        Some(Self {
            group: place("GROUP") == Some(0),
            topic: place("TOPIC")?,
            partition: place("PARTITION")?,
            offset,
            topic_start: start("TOPIC")?,
            partition_start: start("PARTITION")?,
            share: share == Some(offset),
        })
    }
}

/// Lines that stand between the tables.
fn is_remark(line: &str) -> bool {
    [
        "Consumer group ",
        "Share group ",
        "Warning: ",
        "WARN",
        "Note: ",
        "Error: ",
        "ERROR",
        "[",
        "Option ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// The group in a remark such as `Consumer group 'billing' has no active members.`
fn remarked_group(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("group '")?;
    rest.rsplit_once('\'').map(|(group, _)| group)
}

/// Reads the text. `group` is the group of tables that do not name theirs.
pub fn read(place: &str, text: &str, group: Option<&str>) -> Result<Vec<GroupOffsets>, SourceError> {
    let mut header: Option<Header> = None;
    let mut remarked: Option<&str> = None;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |message: String| SourceError::Line {
            place: place.to_owned(),
            line: number + 1,
            message,
        };
        if line.trim().is_empty() {
            continue;
        }
        if let Some(found) = Header::find(line) {
            header = Some(found);
            continue;
        }
        if is_remark(line.trim_start()) {
            remarked = remarked_group(line).or(remarked);
            continue;
        }
        // Whatever a shell or a log put before the first table.
        let Some(header) = &header else { continue };
        let row = by_words(header, line)
            .or_else(|| by_columns(header, line))
            .ok_or_else(|| {
                wrong(format!(
                    "{:?} has no topic, partition and offset under the header's columns",
                    shortened(line)
                ))
            })?;
        let Some(offset) = row.offset else { continue };
        let id = row.group.or(group).or(remarked).ok_or_else(|| {
            wrong("the table has no GROUP column, and no group is named with --group".to_owned())
        })?;
        let kind = header.share.then_some("share");
        rows.push((
            id.to_owned(),
            kind,
            GroupOffset::new(row.topic, row.partition, offset),
        ));
    }
    match header {
        Some(_) => Ok(collect(rows)),
        None => Err(SourceError::Unknown {
            place: place.to_owned(),
            message: "no line with the columns TOPIC, PARTITION and CURRENT-OFFSET".to_owned(),
        }),
    }
}

struct Row<'a> {
    group: Option<&'a str>,
    topic: &'a str,
    partition: i32,
    offset: Option<i64>,
}

/// `-` stands for nothing committed.
fn offset(word: &str) -> Option<Option<i64>> {
    match word {
        "-" => Some(None),
        word => word.parse().ok().filter(|offset| *offset >= 0).map(Some),
    }
}

fn by_words<'a>(header: &Header, line: &'a str) -> Option<Row<'a>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    row(header, words.first().copied(), &words, header.topic)
}

/// `words` from the place `topic` on are topic, partition and so on.
fn row<'a>(header: &Header, group: Option<&'a str>, words: &[&'a str], topic: usize) -> Option<Row<'a>> {
    let at = |place: usize| words.get(place - header.topic + topic).copied();
    let name = at(header.topic)?;
    // A member without partitions has a line of dashes.
    let partition = match at(header.partition)? {
        "-" => 0,
        word => word.parse().ok().filter(|partition| *partition >= 0)?,
    };
    let offset = offset(at(header.offset)?)?;
    Some(Row {
        group: group.filter(|_| header.group),
        topic: name,
        partition,
        offset: offset.filter(|_| at(header.partition) != Some("-")),
    })
}

fn by_columns<'a>(header: &Header, line: &'a str) -> Option<Row<'a>> {
    let byte = |column: usize| line.char_indices().nth(column).map(|(byte, _)| byte);
    let (topic, partition) = (byte(header.topic_start)?, byte(header.partition_start)?);
    let boundary = |at: usize| at == 0 || line[..at].ends_with(' ');
    if !header.group || topic >= partition || !boundary(topic) || !boundary(partition) {
        return None;
    }
    let group = line[..topic].trim();
    let words: Vec<&str> = line[topic..].split_whitespace().collect();
    row(header, Some(group), &words, 0)
}

fn shortened(line: &str) -> String {
    line.trim().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(groups: &[GroupOffsets]) -> Vec<(String, String, i32, i64)> {
        let rows = groups.iter().flat_map(|group| {
            group.offsets.iter().map(|offset| {
                (
                    group.id.clone(),
                    offset.topic.clone(),
                    offset.partition,
                    offset.offset.unwrap(),
                )
            })
        });
        rows.collect()
    }

    fn row(group: &str, topic: &str, partition: i32, offset: i64) -> (String, String, i32, i64) {
        (group.to_owned(), topic.to_owned(), partition, offset)
    }

    #[test]
    fn without_group_column() {
        let text = "Note: This will not show information about old Zookeeper-based consumers.\n\
            Consumer group 'billing' has no active members.\n\n\
            TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID     HOST            CLIENT-ID\n\
            orders          0          17              20              3          -               -               -\n\
            orders          1          -               5               -          -               -               -\n";
        let expected = [row("billing", "orders", 0, 17)];
        assert_eq!(flat(&read("x", text, None).unwrap()), expected);
        assert_eq!(flat(&read("x", text, Some("other")).unwrap())[0].0, "other");
        let nameless = &text[text.find("TOPIC").unwrap()..];
        let error = read("x", nameless, None).unwrap_err().to_string();
        assert!(error.contains("--group"), "{error}");
    }

    #[test]
    fn with_group_column_several_groups_and_members() {
        let text = "\n\
            GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID                                           HOST            CLIENT-ID\n\
            billing         orders          0          17              20              3               consumer-billing-1-9d2f1d1c-0d5a-4a3c-9a53-000000000000 /127.0.0.1      consumer-billing-1\n\
            billing         orders          1          0               5               5               consumer-billing-1-9d2f1d1c-0d5a-4a3c-9a53-000000000000 /127.0.0.1      consumer-billing-1\n\
            billing         -               -          -               -               -               consumer-billing-2-9d2f1d1c-0d5a-4a3c-9a53-000000000000 /127.0.0.1      consumer-billing-2\n\
            \n\
            Consumer group 'audit' has no active members.\n\n\
            GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID\n\
            audit           payments        7          9223372036854775807 9223372036854775807 0               -               -               -\n";
        let expected = [
            row("audit", "payments", 7, i64::MAX),
            row("billing", "orders", 0, 17),
            row("billing", "orders", 1, 0),
        ];
        assert_eq!(flat(&read("x", text, None).unwrap()), expected);
    }

    #[test]
    fn verbose_with_leader_epoch() {
        let text = "GROUP   TOPIC  PARTITION LEADER-EPOCH CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID\n\
                    billing orders 0         -            17             20             3   -           -    -\n\
                    billing orders 1         4            18             20             2   -           -    -\n";
        let expected = [row("billing", "orders", 0, 17), row("billing", "orders", 1, 18)];
        assert_eq!(flat(&read("x", text, None).unwrap()), expected);
    }

    #[test]
    fn share_groups() {
        let text = "GROUP   TOPIC  PARTITION START-OFFSET LAG\nworkers orders 0         17           3\n";
        let groups = read("x", text, None).unwrap();
        assert_eq!(flat(&groups), [row("workers", "orders", 0, 17)]);
        assert_eq!(groups[0].kind.as_deref(), Some("share"));
    }

    #[test]
    fn blanks_in_a_group_id() {
        let text = "GROUP         TOPIC      PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG\n\
                    my own gröup  orders     0          17              20              3\n\
                    a 5 7         orders     1          18              20              2\n";
        let expected = [
            row("a 5 7", "orders", 1, 18),
            row("my own gröup", "orders", 0, 17),
        ];
        assert_eq!(flat(&read("x", text, None).unwrap()), expected);
    }

    #[test]
    fn what_does_not_fit_names_the_line() {
        let text = "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET\nbilling orders zero 17 20\n";
        let error = read("groups.txt", text, None).unwrap_err().to_string();
        assert!(error.starts_with("groups.txt, line 2: "), "{error}");
        let text = "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET\nbilling orders 0\n";
        assert!(read("x", text, None).is_err());
        let text = "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET\nbilling orders 0 -5 20\n";
        assert!(read("x", text, None).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_makes_it_panic(text in "(GROUP|TOPIC|PARTITION|CURRENT-OFFSET|[a-zé0-9\\- ]{0,9}|\n){0,40}") {
            let _ = read("x", &text, None);
        }
    }
}
