//! Text -> a tree of values.
//!
//! All three formats are read into one kind of tree, in which no key may stand twice: a second `bucket` that
//! silently won over the first would restore from the wrong place.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ConfigError;

/// Under this key the `toml` crate hands over a date as a map.
const TOML_DATE: &str = "$__toml_private_datetime";

/// Reads `text` in the format that the extension of `path` says; JSON where it says nothing.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (format, tree) = match extension.as_str() {
        "yaml" | "yml" => ("YAML", yaml(text)),
        "toml" => ("TOML", toml(text)),
        _ => (
            "JSON",
            serde_json::from_str::<Tree>(text).map_err(|error| error.to_string()),
        ),
    };
    let syntax = |message: String| ConfigError::Syntax {
        path: path.to_owned(),
        format,
        message,
    };
    match tree.map_err(syntax)?.0 {
        Value::Object(map) => Ok(map),
        Value::Null => Err(syntax("it is empty".to_owned())),
        _ => Err(syntax("the outermost value must be a map of sections".to_owned())),
    }
}

fn yaml(text: &str) -> Result<Tree, String> {
    // A snippet of the source in the error could show a secret.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn toml(text: &str) -> Result<Tree, String> {
    toml::from_str(text).map_err(|error| {
        // The error's own Display shows the line of the source, which could hold a secret.
        let Some(span) = error.span() else {
            return error.message().to_owned();
        };
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{} at line {line} column {column}", error.message())
    })
}

/// A value in which no key stands twice.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let Tree(value) = access.next_value()?;
            if key == TOML_DATE {
                return Ok(value);
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<String, String> {
        match parse(Path::new(name), text) {
            Ok(map) => Ok(Value::Object(map).to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn three_formats_one_tree() {
        let tree = r#"{"a":{"b":["x",1,true]},"c":"2020-06-09"}"#;
        assert_eq!(
            read("f.json", r#"{"a": {"b": ["x", 1, true]}, "c": "2020-06-09"}"#).as_deref(),
            Ok(tree)
        );
        assert_eq!(
            read(
                "f",
                "\u{feff}{\"a\": {\"b\": [\"x\", 1, true]}, \"c\": \"2020-06-09\"}"
            )
            .as_deref(),
            Ok(tree)
        );
        assert_eq!(
            read("f.yml", "a:\n  b: [x, 1, true]\nc: 2020-06-09\n").as_deref(),
            Ok(tree)
        );
        assert_eq!(
            read("f.toml", "c = 2020-06-09\na.b = ['x', 1, true]\n").as_deref(),
            Ok(tree)
        );
    }

    #[test]
    fn a_key_stands_once() {
        for (name, text) in [
            ("f.json", r#"{"a":1,"a":2}"#),
            ("f.yaml", "a: 1\na: 2\n"),
            ("f.toml", "a = 1\na = 2\n"),
        ] {
            assert!(read(name, text).is_err(), "{name}");
        }
    }

    #[test]
    fn broken_text_is_placed_but_not_shown() {
        for (name, text) in [
            ("f.json", "{\"password\": \"hunter2\",\n \"x\": hunter2}"),
            ("f.yaml", "password: \"hunter2\nx: [hunter2\n"),
            ("f.toml", "password = 'hunter2'\nx = hunter2\n"),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains("line"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        assert!(read("f.json", &"[".repeat(100_000)).is_err());
        assert!(read("f.yaml", &"[".repeat(100_000)).is_err());
        assert!(read("f.toml", &format!("a = {}", "[".repeat(100_000))).is_err());
    }
}
