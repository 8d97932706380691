//! `${NAME}` in the texts of a config file.

use serde_json::Value;

/// How environment variables are looked up; tests bring their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that is not set, and the key whose text needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unset {
    /// The key with its section.
    pub(crate) key: String,
    /// The variable.
    pub(crate) name: String,
}

/// Puts the variables' values into every text of `value`; `$${` stays as a plain `${`. What is put in is not
/// read again, so a password may hold anything.
pub(crate) fn substitute(value: &mut Value, key: &str, environment: Environment<'_>) -> Result<(), Unset> {
    match value {
        Value::String(text) => {
            *text = expand(text, environment).map_err(|name| Unset {
                key: key.to_owned(),
                name,
            })?;
        }
        Value::Array(items) => {
            for item in items {
                substitute(item, key, environment)?;
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                substitute(item, &key, environment)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            expanded.push_str(&rest[..start - 1]);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start + 2..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + 2 + length];
        expanded.push_str(&rest[..start]);
        expanded.push_str(&environment(name).ok_or_else(|| name.to_owned())?);
        rest = &rest[start + 2 + length + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "USER" => Some("ann".to_owned()),
            "PASSWORD" => Some("${USER}$$}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables() {
        for (text, meaning) in [
            ("", ""),
            ("plain $ text }", "plain $ text }"),
            ("${USER}", "ann"),
            ("a ${USER} b${USER}", "a ann bann"),
            ("${PASSWORD}", "${USER}$$}"),
            ("$${USER}", "${USER}"),
            ("x$${USER} ${USER}", "x${USER} ann"),
            ("open ${USER", "open ${USER"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(meaning), "{text:?}");
        }
    }

    #[test]
    fn an_unset_variable_is_named_with_its_key() {
        let mut tree = serde_json::json!({"kafka": {"list": ["x", "${NONE}"]}});
        let unset = substitute(&mut tree, "", &environment).unwrap_err();
        assert_eq!(
            unset,
            Unset {
                key: "kafka.list".to_owned(),
                name: "NONE".to_owned()
            }
        );
    }
}
