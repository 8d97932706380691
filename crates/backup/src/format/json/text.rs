//! JSON text -> the bytes that were in Kafka: the inverses of Connect's converters.
//!
//! Strings are unescaped here and not by a JSON library, because Java writes strings that strict libraries
//! refuse: half of a surrogate pair stays `\ud800`. Java's own `getBytes` makes `?` of it, and so do we.

use memchr::memchr;

use crate::format::csv::fields::decode_base64;
use crate::format::{Interpretation, base64_error};

/// The inside of a JSON string, or nothing where `raw` is another value.
pub(super) fn string_inside(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// Appends the UTF-8 bytes of the JSON string whose inside is `inside`. Gives the number of lone surrogates.
pub(super) fn unescape(inside: &str, out: &mut Vec<u8>) -> Result<u64, String> {
    let text = inside.as_bytes();
    let mut start = 0;
    let mut lone = 0;
    while let Some(at) = memchr(b'\\', &text[start..]) {
        let at = start + at;
        out.extend_from_slice(&text[start..at]);
        let Some(escape) = text.get(at + 1) else {
            return Err("a string ends inside an escape".into());
        };
        start = at + 2;
        out.push(match escape {
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'"' | b'\\' | b'/' => *escape,
            b'u' => {
                let unit = hex(text, start)?;
                start += 4;
                let mut code = u32::from(unit);
                let pair = text.get(start..start + 2) == Some(b"\\u");
                if (0xd800..0xdc00).contains(&unit) && pair {
                    let low = hex(text, start + 2)?;
                    if (0xdc00..0xe000).contains(&low) {
                        start += 6;
                        code = 0x10000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00);
                    }
                }
                match char::from_u32(code) {
                    Some(character) => {
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        continue;
                    }
                    None => {
                        lone += 1;
                        b'?'
                    }
                }
            }
            other => {
                return Err(format!(
                    "a string holds the unknown escape \\{}",
                    other.escape_ascii()
                ));
            }
        });
    }
    out.extend_from_slice(&text[start..]);
    Ok(lone)
}

fn hex(text: &[u8], at: usize) -> Result<u16, String> {
    text.get(at..at + 4)
        .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u16::from_str_radix(digits, 16).ok())
        .ok_or_else(|| "a string holds an escape \\u without four hexadecimal digits".into())
}

/// Appends the bytes that `raw`, a JSON value other than `null`, stands for. Gives the number of lone
/// surrogates. `scratch` is working space.
pub(super) fn write(
    raw: &str,
    interpretation: Interpretation,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<u64, String> {
    match interpretation {
        Interpretation::Bytes => {
            let Some(inside) = string_inside(raw) else {
                return Err(format!("should be a base64 string and is {}", describe(raw)));
            };
            let text = if memchr(b'\\', inside.as_bytes()).is_some() {
                scratch.clear();
                unescape(inside, scratch)?;
                scratch.as_slice()
            } else {
                inside.as_bytes()
            };
            decode_base64(text, out).map_err(|()| format!("is not base64: {}", base64_error(text).1))?;
            Ok(0)
        }
        Interpretation::String => match string_inside(raw) {
            Some(inside) => unescape(inside, out),
            None => Err(format!("should be a string and is {}", describe(raw))),
        },
        Interpretation::Json => {
            out.extend_from_slice(raw.as_bytes());
            Ok(0)
        }
        Interpretation::Long => {
            out.extend_from_slice(&parse::<i64>(raw, "64-bit integer")?.to_be_bytes());
            Ok(0)
        }
        Interpretation::Integer => {
            out.extend_from_slice(&parse::<i32>(raw, "32-bit integer")?.to_be_bytes());
            Ok(0)
        }
        Interpretation::Short => {
            out.extend_from_slice(&parse::<i16>(raw, "16-bit integer")?.to_be_bytes());
            Ok(0)
        }
        Interpretation::Double => {
            let number = match not_finite(raw) {
                Some(number) => number,
                None => parse::<f64>(raw, "number")?,
            };
            out.extend_from_slice(&number.to_be_bytes());
            Ok(0)
        }
        Interpretation::Float => {
            let number = match not_finite(raw) {
                Some(number) => number as f32,
                None => parse::<f32>(raw, "number")?,
            };
            out.extend_from_slice(&number.to_be_bytes());
            Ok(0)
        }
    }
}

/// JSON has no such numbers; the sinks' library writes them as strings.
fn not_finite(raw: &str) -> Option<f64> {
    match raw {
        // Java's canonical bits, the sign clear.
        "\"NaN\"" => Some(f64::from_bits(0x7ff8_0000_0000_0000)),
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn parse<T: std::str::FromStr>(raw: &str, what: &str) -> Result<T, String> {
    let number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    number
        .then(|| raw.parse().ok())
        .flatten()
        .ok_or_else(|| format!("should be a {what} and is {}", describe(raw)))
}

/// A JSON value in a few words.
pub(super) fn describe(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'{') => "an object".into(),
        Some(b'[') => "an array".into(),
        Some(b'"') => "a string".into(),
        Some(b'n') => "null".into(),
        Some(b't' | b'f') => format!("the truth value {raw}"),
        _ => {
            let shown: String = raw.chars().take(40).collect();
            format!("the number {shown}")
        }
    }
}
