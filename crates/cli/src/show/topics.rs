//! Topics that got their own configuration back.

use std::fmt::Write as _;

use ::restore::forecast::Expiration;
use ::restore::topics::Finished;

/// What was put back, and what goes then.
pub(crate) fn finished(topics: &[Finished]) -> String {
    let mut text = String::new();
    if topics.is_empty() {
        text.push_str("no topic was left behind by an interrupted restore\n");
    }
    for topic in topics {
        if topic.forgotten {
            let _ = writeln!(
                text,
                "{}: forgotten what was put behind other records; a restore with --append adds it again",
                topic.topic
            );
        }
        let Some(originals) = &topic.originals else {
            let _ = writeln!(
                text,
                "{}: its configuration is its own already, nothing was changed",
                topic.topic
            );
            continue;
        };
        if let Some(failed) = &topic.failed {
            let _ = writeln!(
                text,
                "{}: cannot be given its own configuration back: {}\nleft to do by hand:\n  {}",
                topic.topic, failed.error, failed.to_do
            );
            continue;
        }
        let _ = writeln!(text, "{}: has its own configuration back", topic.topic);
        for (name, value) in originals {
            let _ = match value {
                Some(value) => writeln!(text, "  {name}={value}"),
                None => writeln!(text, "  {name}: the brokers' default"),
            };
        }
        put_expirations(&mut text, &topic.expirations);
    }
    text
}

/// What brokers will delete or compact.
pub(crate) fn put_expirations(text: &mut String, expirations: &[Expiration]) {
    for expiration in expirations {
        let _ = writeln!(text, "will expire: {}", expiration.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_journal() {
        let done = |topic: &str, originals: Option<&[(&str, Option<&str>)]>| Finished {
            topic: topic.to_owned(),
            forgotten: false,
            originals: originals.map(|originals| {
                let own = |(name, value): &(&str, Option<&str>)| (name.to_string(), value.map(str::to_owned));
                originals.iter().map(own).collect()
            }),
            expirations: Vec::new(),
            failed: None,
        };
        let text = finished(&[
            done(
                "orders",
                Some(&[("retention.ms", Some("5")), ("segment.ms", None)]),
            ),
            done("payments", None),
        ]);
        assert_eq!(
            text,
            "orders: has its own configuration back\n  retention.ms=5\n  segment.ms: the brokers' default\n\
             payments: its configuration is its own already, nothing was changed\n"
        );
        assert!(finished(&[]).starts_with("no topic"));
    }
}
