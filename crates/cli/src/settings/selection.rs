//! Which topics, partitions and records, checked for what cannot be meant.

use ::restore::job::RecordSelection;
use backup::inventory::Selection;
use jiff::Timestamp;

use crate::argument::selection::{RenameArguments, TopicArguments, WindowArguments};
use crate::config::ConfigError;
use crate::value::pair::Rename;

/// For a command that must not take every topic unasked.
pub(crate) fn chosen(arguments: &TopicArguments) -> Result<Selection, ConfigError> {
    if arguments.topic.is_empty() && !arguments.all_topics {
        return Err(ConfigError::Missing {
            what: "no topic was chosen".to_owned(),
            hint: "Give --topic NAME (repeatable, * and ? stand for any characters) or --all-topics; \
                   `kafka-restore inspect` shows which topics the backup has."
                .to_owned(),
        });
    }
    Ok(any(arguments))
}

/// For a command that looks at every topic unless told otherwise.
pub(crate) fn any(arguments: &TopicArguments) -> Selection {
    Selection {
        topics: arguments.topic.clone(),
        partitions: arguments
            .partition
            .as_ref()
            .map(|partitions| partitions.0.clone()),
        // Stores tell milliseconds or seconds: rounding down never leaves out an object that is wanted.
        modified_since: arguments.since.map(milliseconds),
    }
}

/// Refuses bounds that leave nothing between them.
pub(crate) fn records(arguments: &WindowArguments) -> Result<RecordSelection, ConfigError> {
    let WindowArguments {
        from_time,
        to_time,
        from_offset,
        to_offset,
    } = arguments.clone();
    let empty = |bounds: &str| ConfigError::Contradiction {
        what: format!("{bounds} leave no record between them"),
        hint: "Both bounds are included; the lower one comes first.".to_owned(),
    };
    if from_time.zip(to_time).is_some_and(|(from, to)| from > to) {
        return Err(empty("--from-time and --to-time"));
    }
    if from_offset.zip(to_offset).is_some_and(|(from, to)| from > to) {
        return Err(empty("--from-offset and --to-offset"));
    }
    // A record's time is whole milliseconds: the first one at or after the lower bound.
    let from_time =
        from_time.map(|time| milliseconds(time) + i64::from(time.as_nanosecond().rem_euclid(1_000_000) > 0));
    Ok(RecordSelection {
        from_offset,
        to_offset,
        from_time,
        to_time: to_time.map(milliseconds),
    })
}

/// The millisecond in which `time` lies, also before 1970.
fn milliseconds(time: Timestamp) -> i64 {
    // A Timestamp's range in milliseconds is far inside that of an i64.
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

/// Refuses two new names for one topic and one new name for two.
pub(crate) fn renames(arguments: &RenameArguments) -> Result<Vec<Rename>, ConfigError> {
    let renames = &arguments.rename;
    for (index, rename) in renames.iter().enumerate() {
        if let Some(other) = renames[..index]
            .iter()
            .find(|other| other.old == rename.old || other.new == rename.new)
        {
            return Err(ConfigError::Contradiction {
                what: format!(
                    "--rename {}={} and --rename {}={} cannot be together",
                    other.old, other.new, rename.old, rename.new
                ),
                hint: "Every topic has one new name, and every new name one topic.".to_owned(),
            });
        }
    }
    Ok(renames.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::pair::parse_rename;

    #[test]
    fn renames_are_one_to_one() {
        let arguments = |texts: &[&str]| RenameArguments {
            rename: texts.iter().map(|text| parse_rename(text).unwrap()).collect(),
        };
        assert_eq!(renames(&arguments(&["a=b", "b=a"])).unwrap().len(), 2);
        assert!(renames(&arguments(&["a=b", "a=c"])).is_err());
        assert!(renames(&arguments(&["a=c", "b=c"])).is_err());
    }

    #[test]
    fn empty_windows_are_refused() {
        let window = |from_offset, to_offset, from_time: Option<&str>, to_time: Option<&str>| {
            records(&WindowArguments {
                from_offset,
                to_offset,
                from_time: from_time.map(|text| text.parse().unwrap()),
                to_time: to_time.map(|text| text.parse().unwrap()),
            })
        };
        assert!(window(Some(5), Some(5), None, None).is_ok());
        assert!(window(Some(6), Some(5), None, None).is_err());
        let (early, late) = (Some("2020-01-01T00:00:00Z"), Some("2021-01-01T00:00:00Z"));
        assert!(window(None, None, early, late).is_ok());
        assert!(window(None, None, late, early).is_err());
        let inside = window(
            None,
            None,
            Some("1969-12-31T23:59:59.9991Z"),
            Some("2020-01-01T00:00:00.0019Z"),
        )
        .unwrap();
        assert_eq!(
            (inside.from_time, inside.to_time),
            (Some(0), Some(1_577_836_800_001))
        );
    }
}
