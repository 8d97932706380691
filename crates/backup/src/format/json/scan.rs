//! The quick way through a line of json or jsonl: the fields of an envelope, found without a JSON library.
//!
//! Takes only what Java's writer makes of records whose key and value are strings, numbers or null: no blanks,
//! no name twice, no unknown name. For every other line it gives nothing, and the line goes to
//! [`super::row::envelope`], which is slower, takes all of JSON and says what is wrong. What this
//! takes, that takes too, with the same result; a property test holds the two together.

use memchr::memchr2;

use super::row::Envelope;
use crate::format::Field;

/// The spans of a header's name (inside its quotes) and of its value (as JSON text) in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderSpans {
    pub(super) name: (usize, usize),
    pub(super) value: (usize, usize),
}

/// The fields of the envelope that `line` is, its headers written to `headers`; nothing where the line must
/// go the slow way.
pub(super) fn envelope<'a>(line: &'a str, headers: &mut Vec<HeaderSpans>) -> Option<Envelope<'a>> {
    headers.clear();
    // Control characters are not allowed in JSON, except for blanks, which the writer does not use.
    // All bytes are looked at, without a stop at the first one, so that the compiler can take many at once.
    let control = line.bytes().fold(false, |found, byte| found | (byte < 0x20));
    if control {
        return None;
    }
    let mut scan = Scan {
        text: line.as_bytes(),
        at: 0,
    };
    let mut envelope = Envelope::default();
    scan.expect(b'{')?;
    loop {
        let field = scan.name()?;
        let start = scan.at;
        if field == Field::Headers && scan.peek() == Some(b'[') {
            scan.headers(headers)?;
        } else {
            scan.value()?;
        }
        let raw = line.get(start..scan.at)?;
        if envelope.of(field).replace(raw).is_some() {
            return None;
        }
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    (scan.at == line.len()).then_some(envelope)
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn literal(&mut self, text: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// A field's name and the colon behind it.
    fn name(&mut self) -> Option<Field> {
        Some(if self.literal(b"\"key\":") {
            Field::Key
        } else if self.literal(b"\"value\":") {
            Field::Value
        } else if self.literal(b"\"offset\":") {
            Field::Offset
        } else if self.literal(b"\"headers\":") {
            Field::Headers
        } else if self.literal(b"\"timestamp\":") {
            Field::Timestamp
        } else {
            return None;
        })
    }

    /// A string, a whole number or null.
    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'n' => self.literal(b"null").then_some(()),
            b'-' | b'0'..=b'9' => {
                self.literal(b"-");
                let start = self.at;
                while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
                let digits = self.at - start;
                let whole = digits == 1 || (digits > 1 && self.text[start] != b'0');
                // A fraction or an exponent goes the slow way.
                (whole && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))).then_some(())
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += memchr2(b'"', b'\\', &self.text[self.at..])?;
            if self.next()? == b'"' {
                return Some(());
            }
            match self.next()? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => {
                    let digits = self.text.get(self.at..self.at + 4)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    self.at += 4;
                }
                _ => return None,
            }
        }
    }

    fn headers(&mut self, headers: &mut Vec<HeaderSpans>) -> Option<()> {
        self.at += 1;
        if self.literal(b"]") {
            return Some(());
        }
        loop {
            self.literal(b"{\"key\":").then_some(())?;
            let name = self.at;
            if self.peek()? != b'"' {
                return None;
            }
            self.string()?;
            let name = (name + 1, self.at - 1);
            self.literal(b",\"value\":").then_some(())?;
            let value = self.at;
            self.value()?;
            headers.push(HeaderSpans {
                name,
                value: (value, self.at),
            });
            if headers.len() > crate::format::csv::fields::MAX_HEADERS {
                return None;
            }
            self.expect(b'}')?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row;
    use super::*;

    /// What both ways find, in one form.
    fn found(envelope: &Envelope<'_>) -> [Option<String>; 5] {
        [
            envelope.key,
            envelope.value,
            envelope.offset,
            envelope.timestamp,
            envelope.headers,
        ]
        .map(|raw| raw.map(str::to_owned))
    }

    fn compare(line: &str) -> Result<bool, TestCaseError> {
        let mut spans = Vec::new();
        let Some(quick) = envelope(line, &mut spans) else {
            return Ok(false);
        };
        let slow = row::envelope(line).map_err(|refused| TestCaseError::fail(refused.reason))?;
        prop_assert_eq!(found(&quick), found(&slow));
        let mut slow_spans = Vec::new();
        if let Some(raw) = row::not_null(slow.headers) {
            row::header_spans(line, raw, &mut slow_spans)
                .map_err(|refused| TestCaseError::fail(refused.reason))?;
        }
        prop_assert_eq!(spans, slow_spans);
        Ok(true)
    }

    #[test]
    fn the_writers_lines_go_the_quick_way() {
        for line in [
            r#"{"headers":[{"key":"h","value":null},{"key":"","value":"eQ=="}],"offset":100,"value":"a\"\ud800\\","key":null,"timestamp":"2019-04-02T13:14:55Z"}"#,
            r#"{"headers":[],"offset":105,"value":-7,"key":"azQ=","timestamp":null}"#,
        ] {
            assert!(compare(line).expect("both ways agree"), "{line}");
        }
    }

    #[test]
    fn anything_else_goes_the_slow_way() {
        for line in [
            r#"{"offset": 1}"#,
            r#"{"offset":01}"#,
            r#"{"offset":1,"offset":2}"#,
            r#"{"offset":1,"value":{}}"#,
            r#"{"offset":1,"other":2}"#,
            r#"{"offset":1.5}"#,
            r#"{"offset":-}"#,
            r#"{"offset":1}x"#,
            r#"{"value":"\x"}"#,
            r#"{"value":"\u12g4"}"#,
            "{\"value\":\"\t\"}",
            r#"{"value":""#,
            "",
        ] {
            assert!(envelope(line, &mut Vec::new()).is_none(), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn both_ways_agree(
            parts in proptest::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"key\":", "\"value\":", "\"offset\":", "\"headers\":", "\"timestamp\":",
                "null", "1", "-20", "0", "\"a\"", "\"\\n\"", "\"\\u00e9\"", "\"", "\\", "{\"key\":\"a\",\"value\":", "[]", " ", "1.5",
            ]), 0..12),
        ) {
            compare(&parts.concat())?;
        }

        #[test]
        fn both_ways_agree_on_near_misses(at in 0usize..140, byte in 0x20u8..0x7f, remove: bool) {
            let line = r#"{"headers":[{"key":"h","value":null},{"key":"","value":"eQ=="}],"offset":100,"value":"a\"\ud800","key":null,"timestamp":"x"}"#;
            let mut bytes = line.as_bytes().to_vec();
            let at = at % bytes.len();
            if remove {
                bytes.remove(at);
            } else {
                bytes[at] = byte;
            }
            if let Ok(line) = String::from_utf8(bytes) {
                compare(&line)?;
            }
        }
    }
}
