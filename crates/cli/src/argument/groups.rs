//! Committed offsets: where they come from, and how they are put into the target.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::heading;
use crate::value::{duration, moment};

/// Where committed offsets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupsSource {
    /// The newest snapshot in the bucket before the end of the backup.
    Snapshot,
    /// The backup of `__consumer_offsets`.
    ConsumerOffsets,
    /// The backup of a topic of MirrorMaker's checkpoints.
    Checkpoints(String),
    /// The offset objects of Lenses under this prefix in the bucket.
    Lenses(String),
    /// The first record at or after a moment.
    Time(Timestamp),
    /// A file, whatever its form.
    File(PathBuf),
}

/// Reads the word for a source.
pub(crate) fn groups_source(text: &str) -> Result<GroupsSource, String> {
    Ok(match (text, text.split_once(':')) {
        ("", _) => {
            return Err(
                "expected a file, snapshot, consumer-offsets, checkpoints:TOPIC, lenses:PREFIX or time:TS"
                    .to_owned(),
            );
        }
        ("snapshot", _) => GroupsSource::Snapshot,
        ("consumer-offsets", _) => GroupsSource::ConsumerOffsets,
        (_, Some(("checkpoints", topic))) if !topic.is_empty() => GroupsSource::Checkpoints(topic.to_owned()),
        (_, Some(("lenses", prefix))) => GroupsSource::Lenses(prefix.to_owned()),
        (_, Some(("time", time))) => GroupsSource::Time(moment::parse(time)?),
        _ => GroupsSource::File(text.into()),
    })
}

/// Which committed offsets a restore puts back at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RestoredGroups {
    /// None.
    None,
    /// Those of the newest snapshot in the bucket before the end of the backup.
    Snapshot,
    /// Those of a file, whatever its form.
    File(PathBuf),
}

/// Reads the word for them.
pub(crate) fn restored_groups(text: &str) -> Result<RestoredGroups, String> {
    match text {
        "" => Err("expected a file, snapshot or none".to_owned()),
        "none" => Ok(RestoredGroups::None),
        "snapshot" => Ok(RestoredGroups::Snapshot),
        file => Ok(RestoredGroups::File(file.into())),
    }
}

/// Which groups.
#[derive(Args, Clone, Debug)]
pub(crate) struct GroupArguments {
    /// Only this group. Repeatable. Names the group where the source does not say it.
    #[arg(long, value_name = "ID", help_heading = heading::SELECTION)]
    pub(crate) group: Vec<String>,
}

/// How carefully.
#[derive(Args, Clone, Debug)]
pub(crate) struct CareArguments {
    /// Wait so long for active groups to lose their members; those that still have some then are left alone.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "0s", help_heading = heading::SAFETY)]
    pub(crate) wait: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for (text, source) in [
            ("snapshot", GroupsSource::Snapshot),
            ("consumer-offsets", GroupsSource::ConsumerOffsets),
            (
                "checkpoints:a.checkpoints.internal",
                GroupsSource::Checkpoints("a.checkpoints.internal".into()),
            ),
            ("lenses:offsets/", GroupsSource::Lenses("offsets/".into())),
            (
                "time:2020-06-09",
                GroupsSource::Time("2020-06-09T00:00:00Z".parse().unwrap()),
            ),
            ("./snapshot", GroupsSource::File("./snapshot".into())),
            ("C:\\groups.txt", GroupsSource::File("C:\\groups.txt".into())),
        ] {
            assert_eq!(groups_source(text), Ok(source), "{text}");
        }
        assert!(groups_source("time:soon").is_err());
        assert!(groups_source("").is_err());
    }
}
