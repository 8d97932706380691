//! Two texts joined by an equals sign: renames of topics, settings of topics.

/// A topic's name in the backup and the name it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rename {
    /// The name in the backup.
    pub(crate) old: String,
    /// The name in the target cluster: a legal topic name.
    pub(crate) new: String,
}

/// Reads `OLD=NEW`.
pub(crate) fn parse_rename(text: &str) -> Result<Rename, String> {
    let Some((old, new)) = text
        .split_once('=')
        .filter(|(old, new)| !old.is_empty() && !new.is_empty())
    else {
        return Err("expected OLD=NEW".to_owned());
    };
    topic_name(new)?;
    Ok(Rename {
        old: old.to_owned(),
        new: new.to_owned(),
    })
}

/// A topic's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Kafka's name of it.
    pub(crate) name: String,
    /// Its value; may be empty.
    pub(crate) value: String,
}

/// Reads `K=V`.
pub(crate) fn parse_setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok(Setting {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
        }),
        _ => Err("expected NAME=VALUE, such as cleanup.policy=compact".to_owned()),
    }
}

/// Refuses what no Kafka broker takes for a topic name.
///
/// Source: `org.apache.kafka.common.internals.Topic`: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`.
pub(crate) fn topic_name(name: &str) -> Result<(), String> {
    if name == "." || name == ".." {
        return Err(format!("{name:?} cannot be a topic's name"));
    }
    if name.len() > 249 {
        return Err(format!(
            "a topic's name has at most 249 characters, this one has {}",
            name.len()
        ));
    }
    match name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c)))
    {
        Some(c) => Err(format!(
            "{c:?} is not allowed in a topic's name; allowed are letters, digits, '.', '_' and '-'"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let setting = |name: &str, value: &str| {
            Ok(Setting {
                name: name.into(),
                value: value.into(),
            })
        };
        assert_eq!(
            parse_setting("cleanup.policy=compact"),
            setting("cleanup.policy", "compact")
        );
        assert_eq!(parse_setting("a="), setting("a", ""));
        assert_eq!(parse_setting("a=b=c"), setting("a", "b=c"));
        assert!(parse_setting("a").is_err());
        assert!(parse_setting("=b").is_err());
    }

    #[test]
    fn renames() {
        assert_eq!(
            parse_rename("a=b"),
            Ok(Rename {
                old: "a".into(),
                new: "b".into()
            })
        );
        assert_eq!(
            parse_rename("a.1=b-2"),
            Ok(Rename {
                old: "a.1".into(),
                new: "b-2".into()
            })
        );
        for text in [
            "",
            "a",
            "=b",
            "a=",
            "a=b=c",
            "a=b c",
            "a=..",
            &format!("a={}", "x".repeat(250)),
        ] {
            assert!(parse_rename(text).is_err(), "{text:?}");
        }
    }
}
