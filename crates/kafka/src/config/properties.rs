//! Java's `.properties` format.
//!
//! Source: `java.util.Properties.load(InputStream)`: ISO 8859-1, `#` and `!` comments, `=`, `:` or blanks between key and
//! value, a backslash at the end of a line joins the next, `\t \n \f \r \\ \uXXXX`, and a backslash before anything
//! else is dropped. The same file means the same here as to Kafka's own tools.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::KafkaError;

/// The entries of a properties file. `Debug` shows keys only, since values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, String>,
}

impl Properties {
    /// Reads a file's bytes. The last of several entries with the same key counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, KafkaError> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        let mut entries = BTreeMap::new();
        for (number, line) in logical_lines(&text) {
            let (key, value) = split(&line);
            let decode = |part: &str| {
                unescape(part).ok_or_else(|| {
                    // Not the line itself: it may hold a secret.
                    KafkaError::config(
                        format!("line {number}"),
                        "\\u must be followed by four hexadecimal digits",
                    )
                })
            };
            entries.insert(decode(key)?, decode(value)?);
        }
        Ok(Self { entries })
    }

    /// The value of `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    /// Sets `key`; a value that was there is replaced.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.entries.insert(key.into(), value.into());
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// Lines with their continuations joined, without comments, with the number of their first line from 1.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    // "\r\n" makes an empty line more, which is passed over; it is not counted.
    let mut lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .flat_map(|(number, line)| line.split('\r').map(move |line| (number + 1, line)));
    let mut logical = Vec::new();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut joined = line.to_owned();
        while ends_in_odd_backslashes(&joined) {
            joined.pop();
            match lines.next() {
                Some((_, next)) => joined.push_str(next.trim_start_matches(BLANK)),
                None => break,
            }
        }
        logical.push((number, joined));
    }
    logical
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (c == '=' || c == ':' || BLANK.contains(&c));
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(index, _)| index);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(BLANK))
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next() {
                Some('u') => {
                    let digits = rest.as_str().get(..4)?;
                    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(digits, 16).ok()?);
                    rest = rest.as_str()[4..].chars();
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    // Characters outside the basic plane are written as two \u escapes.
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<(String, String)> {
        Properties::parse(text.as_bytes())
            .unwrap()
            .entries
            .into_iter()
            .collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_comments_and_continuations() {
        assert_eq!(
            parse(
                "# c\n ! c\n\na=1\nb:2\nc 3\n  d \t=  4 \ne\nf = \\\n   5\\\r\n  6\ng=a\\\\\nh==x\ni = # no comment\r"
            ),
            [
                pair("a", "1"),
                pair("b", "2"),
                pair("c", "3"),
                pair("d", "4 "),
                pair("e", ""),
                pair("f", "56"),
                pair("g", "a\\"),
                pair("h", "=x"),
                pair("i", "# no comment"),
            ]
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(
            parse(r"a\=\ b = \ttab \u00e9 \uD83D\uDE00 \q C:\\x\"),
            [pair("a= b", "\ttab é 😀 q C:\\x")]
        );
        assert_eq!(parse("p=\u{e9}"), [pair("p", "Ã©")], "the file is ISO 8859-1");
    }

    #[test]
    fn a_broken_escape_names_the_line_and_not_its_text() {
        let error = Properties::parse(b"a=1\nsasl.password=geheim\\u00g0\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: \\u must be followed by four hexadecimal digits"
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let properties = Properties::parse(b"sasl.jaas.config=geheim").unwrap();
        assert_eq!(format!("{properties:?}"), "{\"sasl.jaas.config\"}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Properties::parse(&bytes);
        }

        #[test]
        fn what_is_escaped_comes_back(key in "[a-z.]{1,10}", value in any::<String>()) {
            let mut escaped = String::new();
            for unit in value.encode_utf16() {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
            let parsed = parse(&format!("{key}={escaped}"));
            prop_assert_eq!(parsed, [(key, value)]);
        }
    }
}
