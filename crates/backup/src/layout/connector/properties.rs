//! The text in which a sink's configuration comes: Java properties, or JSON as Connect's REST interface has it.

use std::collections::BTreeMap;

use super::ConnectorError;

/// Option names and values as they are written.
pub(super) type Options = BTreeMap<String, String>;

/// Reads JSON (a map of options, or an object with such a map under `config`), or Java properties.
pub(super) fn read(text: &str) -> Result<Options, ConnectorError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[', '"']) {
        json(text)
    } else {
        properties(text)
    }
}

fn json(text: &str) -> Result<Options, ConnectorError> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(text).map_err(|error| ConnectorError::Syntax {
        line: error.line(),
        reason: format!("it is not valid JSON: {error}"),
    })?;
    let shape = |reason: &str| ConnectorError::Syntax {
        line: 1,
        reason: reason.to_owned(),
    };
    let Value::Object(mut map) = value else {
        return Err(shape(
            "a connector's configuration is a JSON object of option names and values",
        ));
    };
    if let (Some(code), Some(message)) = (map.get("error_code"), map.get("message").and_then(Value::as_str)) {
        return Err(shape(&format!(
            "Kafka Connect answered with error {code}: {message}"
        )));
    }
    let connector = map.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut options = Options::new();
    let config = match map.remove("config") {
        Some(Value::Object(config)) => {
            options.extend(connector.map(|name| ("name".to_owned(), name)));
            config
        }
        Some(_) => return Err(shape("\"config\" is not an object of option names and values")),
        None => map,
    };
    for (name, value) in config {
        let value = match value {
            Value::String(value) => value,
            Value::Number(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(shape(&format!(
                    "the option {name:?} is neither text nor a number nor true or false"
                )));
            }
        };
        options.insert(name, value);
    }
    Ok(options)
}

/// Java's properties format.
///
/// Source: the documentation of `java.util.Properties.load`.
fn properties(text: &str) -> Result<Options, ConnectorError> {
    let mut options = Options::new();
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']).enumerate();
    while let Some((number, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut line = first.to_owned();
        while ends_in_continuation(&line) {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next.trim_start_matches(BLANKS));
        }
        let (name, value) = split(&line);
        let unescape = |text| {
            unescape(text).ok_or_else(|| ConnectorError::Syntax {
                line: number + 1,
                reason: format!("{text:?} has a \\u that no four hexadecimal digits follow"),
            })
        };
        options.insert(unescape(name)?, unescape(value)?);
    }
    Ok(options)
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Name and value around the first unescaped `=`, `:` or blank.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, character)| {
            let ends = !escaped && (BLANKS.contains(character) || matches!(character, '=' | ':'));
            escaped = !escaped && *character == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    let mut buffer = [0; 2];
    while let Some(character) = characters.next() {
        let character = match character {
            '\\' => match characters.next() {
                None => break,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let hex = characters.as_str().get(..4)?;
                    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(hex, 16).ok()?);
                    characters = characters.as_str()[4..].chars();
                    continue;
                }
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(character.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> (String, String) {
        let options = properties(text).unwrap();
        assert_eq!(options.len(), 1, "{text:?}: {options:?}");
        options.into_iter().next().unwrap()
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        for (text, name, value) in [
            ("a=b", "a", "b"),
            ("  a : b ", "a", "b "),
            ("a b=c", "a", "b=c"),
            ("a\t=\tb", "a", "b"),
            ("a==b", "a", "=b"),
            ("a\\=b\\:c=d", "a=b:c", "d"),
            ("a", "a", ""),
            ("a=one,\\\n    two", "a", "one,two"),
            ("a=one,\\\r\n    two\r\n", "a", "one,two"),
            ("a=one\\\n\n#b", "a", "one"),
            ("a=x\\\\\n#comment\n!other", "a", "x\\"),
            ("a=\\u00e9\\ud83d\\ude00\\t\\q", "a", "\u{e9}\u{1f600}\tq"),
            ("a=1\na=2", "a", "2"),
            ("a=b\\", "a", "b"),
            (
                "file.name.template={{topic}}-{{ partition:padding=true }}",
                "file.name.template",
                "{{topic}}-{{ partition:padding=true }}",
            ),
        ] {
            assert_eq!(one(text), (name.into(), value.into()), "{text:?}");
        }
        assert!(matches!(
            properties("x=1\na=\\u12"),
            Err(ConnectorError::Syntax { line: 2, .. })
        ));
    }

    #[test]
    fn json_is_read_bare_and_as_connect_answers() {
        let bare = read(r#" {"name": "c", "tasks.max": 1, "x": true, "gone": null}"#).unwrap();
        assert_eq!(
            bare.into_iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect::<Vec<_>>(),
            ["name=c", "tasks.max=1", "x=true"]
        );
        let nested = read(r#"{"name":"c","config":{"topics":"t"},"tasks":[],"type":"sink"}"#).unwrap();
        assert_eq!(nested.len(), 2);
        for (text, reason) in [
            ("[]", "is a JSON object"),
            ("{", "not valid JSON"),
            (
                r#"{"error_code":404,"message":"Connector x not found"}"#,
                "error 404: Connector x not found",
            ),
            (r#"{"topics":["a"]}"#, "\"topics\" is neither text"),
            (r#"{"config":"x"}"#, "\"config\" is not an object"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_text_is_read_or_refused(text in "[a=:\\\\u0# \t\r\n\u{e9}{}\"]{0,40}") {
            let _ = read(&text);
        }
    }
}
