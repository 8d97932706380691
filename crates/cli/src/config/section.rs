//! The `backup` and `restore` sections: command-line options written in a file.
//!
//! Their keys are the options' long names (`-` and `_` are the same there), and their values go through the very
//! parsers of the command line. What was given on the command line wins, as does an option that excludes the
//! one in the file. Options that the running command does not have are checked, and otherwise left alone.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use serde_json::{Map, Value};

use super::error::ConfigError;
use super::file::{ConfigFile, unknown_key};
use crate::argument::content::ContentArguments;

/// Options that name files to read: relative ones are looked for beside the config file too.
const FILES: [&str; 2] = ["connector-config", "command-config"];

/// Options that make no sense in a file.
const NOT_IN_A_FILE: [&str; 3] = ["config", "help", "version"];

/// The arguments that the file's sections add to a command line. `restore` is the built command whose options
/// the sections may hold, `running` the one that runs, and `given` what its command line said.
pub(crate) fn arguments(
    file: &ConfigFile,
    restore: &Command,
    running: &Command,
    given: &ArgMatches,
) -> Result<Vec<String>, ConfigError> {
    let content = ContentArguments::augment_args(Command::new("backup"));
    let mut arguments = Vec::new();
    for (section, map, known) in [
        ("backup", &file.sections.backup, &content),
        ("restore", &file.sections.restore, restore),
    ] {
        for (option, words) in read(file, section, map, known, restore)? {
            if let Some(arg) = running
                .get_arguments()
                .find(|arg| arg.get_long() == Some(&option))
                && !overridden(running, arg, given)
            {
                arguments.extend(words);
            }
        }
    }
    Ok(arguments)
}

/// The options of one section, each with the words that a command line would have for it.
fn read(
    file: &ConfigFile,
    section: &str,
    map: &Map<String, Value>,
    known: &Command,
    restore: &Command,
) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let mut options = Vec::new();
    for (key, value) in map {
        let place = format!("{section}.{key}");
        let option = key.replace('_', "-");
        let allowed = || {
            known
                .get_arguments()
                .filter(|arg| !NOT_IN_A_FILE.contains(&arg.get_id().as_str()))
        };
        let Some(arg) = allowed().find(|arg| arg.get_long() == Some(&option)) else {
            let names = allowed()
                .filter_map(Arg::get_long)
                .map(|long| long.replace('-', "_"))
                .collect();
            return Err(unknown_key(
                file.path.clone(),
                &place,
                &key.replace('-', "_"),
                names,
            ));
        };
        let wrong = |message: String| ConfigError::WrongValue {
            path: file.path.clone(),
            key: place.clone(),
            message,
        };
        let mut words = Vec::new();
        for text in texts(arg, value).map_err(wrong)? {
            let text = match text {
                Some(text) if FILES.contains(&option.as_str()) && !text.contains("://") => {
                    Some(file.paths().find(&place, &text)?.to_string_lossy().into_owned())
                }
                text => text,
            };
            words.push(match text {
                Some(text) => format!("--{option}={text}"),
                None => format!("--{option}"),
            });
        }
        let probe = restore.clone().no_binary_name(true).try_get_matches_from(&words);
        probe.map_err(|error| wrong(explain(&error)))?;
        options.push((option, words));
    }
    Ok(options)
}

/// The values that `value` gives to `arg`; `None` for a flag that is on.
fn texts(arg: &Arg, value: &Value) -> Result<Vec<Option<String>>, String> {
    let many = matches!(arg.get_action(), ArgAction::Append);
    match (arg.get_action(), value) {
        (_, Value::Null) | (ArgAction::SetTrue, Value::Bool(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, Value::Bool(true)) => Ok(vec![None]),
        (ArgAction::SetTrue, _) => Err("expected true or false".to_owned()),
        (ArgAction::Count, Value::Number(number)) => {
            Ok(vec![None; number.as_u64().unwrap_or(0).min(3) as usize])
        }
        (ArgAction::Count, _) => Err("expected a number".to_owned()),
        (_, Value::String(text)) => Ok(vec![Some(text.clone())]),
        (_, Value::Number(number)) => Ok(vec![Some(number.to_string())]),
        (_, Value::Array(items)) if many => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(Some(text.clone())),
                Value::Number(number) => Ok(Some(number.to_string())),
                _ => Err("expected a list of texts".to_owned()),
            })
            .collect(),
        _ if many => Err("expected a text or a list of texts".to_owned()),
        _ => Err("expected a text or a number".to_owned()),
    }
}

/// True where the command line says the same option, or one that excludes it.
fn overridden(running: &Command, arg: &Arg, given: &ArgMatches) -> bool {
    running
        .get_arguments()
        .filter(|other| given.value_source(other.get_id().as_str()) == Some(ValueSource::CommandLine))
        .any(|other| {
            other.get_id() == arg.get_id()
                || running
                    .get_arg_conflicts_with(other)
                    .iter()
                    .any(|conflict| conflict.get_id() == arg.get_id())
                || running
                    .get_arg_conflicts_with(arg)
                    .iter()
                    .any(|conflict| conflict.get_id() == other.get_id())
        })
}

/// What clap has against a value, without the words about the command line.
fn explain(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    if error.kind() == ErrorKind::InvalidValue
        && let Some(ContextValue::Strings(words)) = error.get(ContextKind::ValidValue)
    {
        return format!("expected one of {}", words.join(", "));
    }
    error.kind().to_string()
}
