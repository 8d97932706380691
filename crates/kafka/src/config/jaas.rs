//! The value of `sasl.jaas.config`: `LoginModuleClass required name="value" ...;`.
//!
//! Source: the format of Java's `javax.security.auth.login.Configuration` files, one entry of it, as Kafka's clients
//! read it: values may be in double or single quotes, with backslash escapes inside.

use super::properties::Properties;

/// The login module's class and its options.
pub(super) struct Jaas {
    pub(super) module: String,
    pub(super) options: Properties,
}

/// The reason is given without any of the text, which holds secrets.
pub(super) fn parse(text: &str) -> Result<Jaas, &'static str> {
    let mut tokens = Tokens { rest: text };
    let module = tokens.word().ok_or("the login module's class is missing")?;
    let flag = tokens.word().unwrap_or_default();
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_lowercase().as_str()) {
        return Err("\"required\" is missing after the login module's class");
    }
    let mut options = Properties::default();
    loop {
        if tokens.take(';') {
            break;
        }
        let name = tokens.word().ok_or("a semicolon is missing at the end")?;
        if !tokens.take('=') {
            return Err("an option has no = after its name");
        }
        let value = tokens.value().ok_or("a quoted value does not end")?;
        options.set(name, value);
    }
    if !tokens.rest.trim().is_empty() {
        return Err("something follows the semicolon; one login module can be given");
    }
    Ok(Jaas { module, options })
}

struct Tokens<'a> {
    rest: &'a str,
}

impl Tokens<'_> {
    fn take(&mut self, expected: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | ';' | '"' | '\''))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let quote = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => {
                let end = self
                    .rest
                    .find(|c: char| c.is_whitespace() || c == ';')
                    .unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(word.to_owned());
            }
        };
        let mut value = String::new();
        let mut chars = self.rest[1..].chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                c if c == quote => {
                    self.rest = chars.as_str();
                    return Some(value);
                }
                other => value.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_quoted_and_bare() {
        let jaas =
            parse("a.b.PlainLoginModule required\n  username=\"al\\\"ice\" password='p;=\\\\' x=1 ;\n")
                .unwrap();
        assert_eq!(jaas.module, "a.b.PlainLoginModule");
        let expected = [("password", "p;=\\"), ("username", "al\"ice"), ("x", "1")];
        assert_eq!(jaas.options, expected.into_iter().collect());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("", "class is missing"),
            ("a.B username=x;", "\"required\" is missing"),
            ("a.B required username=\"x\"", "semicolon is missing"),
            ("a.B required username;", "no ="),
            ("a.B required username=\"x;", "does not end"),
            ("a.B required; c.D required;", "follows the semicolon"),
        ] {
            let message = parse(text).err().unwrap_or_default();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_quoted_value_comes_back(value in any::<String>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let jaas = parse(&format!("M required v=\"{escaped}\";")).unwrap();
            prop_assert_eq!(jaas.options.get("v"), Some(value.as_str()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
