//! Typed values of Avro and Parquet -> the bytes that were in Kafka.
//!
//! Bytes and strings are taken as they are. A number becomes what Connect's converter of the named width wrote.
//! All else becomes JSON text as Connect's JsonConverter writes it (schemas.enable=false): fields in the order
//! of the schema, bytes as base64, logical types as the plain values under them, numbers that are not finite as
//! strings. Such text is equivalent to what was in Kafka, not identical.
//! Source: `JsonConverter.convertToJson` and the number converters of Apache Kafka's Connect.

use base64_simd::STANDARD;

use super::{Decoding, Field, Interpretation};

/// The name of the record that a sink puts around a record's fields.
///
/// Source: `SinkSchemaBuilder` of Aiven's commons.
pub(super) const ENVELOPE: &str = "connector_records";

/// A value that has no parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    /// Beyond what an [`Integer`](Self::Integer) holds.
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
    String(&'a [u8]),
}

impl Scalar<'_> {
    /// Appends the value's own bytes as `interpretation` says; false where only [`json`](Self::json) can.
    pub(super) fn plain(
        self,
        interpretation: Option<Interpretation>,
        out: &mut Vec<u8>,
    ) -> Result<bool, String> {
        use Interpretation as As;
        match (self, interpretation) {
            (_, Some(As::Json)) => return Ok(false),
            (Scalar::Bytes(bytes) | Scalar::String(bytes), _) => out.extend_from_slice(bytes),
            (Scalar::Integer(number), Some(As::Long)) => out.extend_from_slice(&number.to_be_bytes()),
            (Scalar::Integer(number), Some(As::Integer)) => {
                out.extend_from_slice(&narrow::<i32>(number, "32-bit")?.to_be_bytes());
            }
            (Scalar::Integer(number), Some(As::Short)) => {
                out.extend_from_slice(&narrow::<i16>(number, "16-bit")?.to_be_bytes());
            }
            (Scalar::Double(number), Some(As::Double)) => out.extend_from_slice(&number.to_be_bytes()),
            (Scalar::Float(number), Some(As::Float)) => out.extend_from_slice(&number.to_be_bytes()),
            (Scalar::Float(number), Some(As::Double)) => {
                out.extend_from_slice(&f64::from(number).to_be_bytes());
            }
            (Scalar::Double(number), Some(As::Float)) => {
                let narrow = number as f32;
                if f64::from(narrow) != number && !number.is_nan() {
                    return Err(format!("is the number {number}, which is no 32-bit float"));
                }
                out.extend_from_slice(&narrow.to_be_bytes());
            }
            (_, Some(As::Long | As::Integer | As::Short)) => {
                return Err(format!("should be a whole number and is {}", self.kind()));
            }
            (_, Some(As::Double | As::Float)) => {
                return Err(format!(
                    "should be a floating-point number and is {}",
                    self.kind()
                ));
            }
            (_, None | Some(As::Bytes | As::String)) => return Ok(false),
        }
        Ok(true)
    }

    /// Appends the value as JSON text.
    pub(super) fn json(self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Scalar::Boolean(true) => out.extend_from_slice(b"true"),
            Scalar::Boolean(false) => out.extend_from_slice(b"false"),
            Scalar::Integer(number) => number_text(&number, out),
            Scalar::Unsigned(number) => number_text(&number, out),
            Scalar::Float(number) if number.is_finite() => number_text(&number, out),
            Scalar::Double(number) if number.is_finite() => number_text(&number, out),
            Scalar::Float(number) => not_finite(f64::from(number), out),
            Scalar::Double(number) => not_finite(number, out),
            Scalar::Bytes(bytes) => {
                out.push(b'"');
                STANDARD.encode_append(bytes, out);
                out.push(b'"');
            }
            Scalar::String(bytes) => json_string(bytes, out)?,
        }
        Ok(())
    }

    fn kind(self) -> &'static str {
        match self {
            Scalar::Boolean(_) => "a truth value",
            Scalar::Integer(_) | Scalar::Unsigned(_) => "a whole number",
            Scalar::Float(_) | Scalar::Double(_) => "a floating-point number",
            Scalar::Bytes(_) => "bytes",
            Scalar::String(_) => "a string",
        }
    }
}

/// Appends a string as JSON text. Fails where its bytes are not UTF-8, as they are in every string of Java.
pub(super) fn json_string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "holds a string that is not UTF-8".to_owned())?;
    // Writing to memory and escaping a string cannot fail.
    let _ = serde_json::to_writer(out, text);
    Ok(())
}

fn number_text(number: &impl serde::Serialize, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, number);
}

fn not_finite(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(if number.is_nan() {
        b"\"NaN\""
    } else if number > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    });
}

fn narrow<T: TryFrom<i64>>(number: i64, width: &str) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("is the number {number}, which is no {width} integer"))
}

/// What the rows of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Envelopes, with the field that each column is.
    Envelope(Vec<Field>),
    /// Each row is one bare field.
    Bare(Field),
}

/// Tells what rows of the type `name` with these columns are.
///
/// A sink names its envelope; a value's own record (`format.output.envelope=false`) has the value's name. A map
/// becomes a record of the envelope's name with the map's keys, so the columns must fit, too.
pub(super) fn shape<'a>(name: &str, columns: impl Iterator<Item = &'a str>, decoding: &Decoding) -> Shape {
    let fields: Option<Vec<Field>> = columns
        .map(|column| {
            [
                Field::Key,
                Field::Value,
                Field::Offset,
                Field::Timestamp,
                Field::Headers,
            ]
            .into_iter()
            .find(|field| super::csv::fields::name(*field) == column)
        })
        .collect();
    match fields {
        Some(fields)
            if name == ENVELOPE && !fields.is_empty()
                || decoding.envelope
                    && fields.contains(&Field::Offset)
                    && (fields.contains(&Field::Value) || fields.contains(&Field::Key)) =>
        {
            Shape::Envelope(fields)
        }
        _ => Shape::Bare(match decoding.fields.as_deref() {
            Some([field @ (Field::Key | Field::Value)]) => *field,
            _ => Field::Value,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(scalar: Scalar<'_>) -> String {
        let mut out = Vec::new();
        scalar.json(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn scalars_are_written_as_connect_writes_them() {
        assert_eq!(json(Scalar::Float(0.1)), "0.1");
        assert_eq!(json(Scalar::Double(49.75)), "49.75");
        assert_eq!(json(Scalar::Double(f64::NAN)), "\"NaN\"");
        assert_eq!(json(Scalar::Float(f32::NEG_INFINITY)), "\"-Infinity\"");
        assert_eq!(json(Scalar::Bytes(&[0x30, 0x39])), "\"MDk=\"");
        assert_eq!(json(Scalar::String("a\"\u{1}é".as_bytes())), "\"a\\\"\\u0001é\"");
        assert_eq!(json(Scalar::Integer(i64::MIN)), i64::MIN.to_string());
        assert_eq!(json(Scalar::Unsigned(u64::MAX)), u64::MAX.to_string());
        assert!(Scalar::String(b"\xff").json(&mut Vec::new()).is_err());
    }

    #[test]
    fn numbers_have_the_width_that_is_asked_for() {
        let bytes = |scalar: Scalar<'_>, interpretation| {
            let mut out = Vec::new();
            scalar
                .plain(Some(interpretation), &mut out)
                .map(|plain| plain.then_some(out))
        };
        let big = |bytes: &[u8]| Ok(Some(bytes.to_vec()));
        assert_eq!(
            bytes(Scalar::Integer(258), Interpretation::Long),
            big(&258i64.to_be_bytes())
        );
        assert_eq!(
            bytes(Scalar::Integer(-2), Interpretation::Integer),
            big(&[255, 255, 255, 254])
        );
        assert_eq!(bytes(Scalar::Integer(258), Interpretation::Short), big(&[1, 2]));
        assert!(bytes(Scalar::Integer(40_000), Interpretation::Short).is_err());
        assert_eq!(
            bytes(Scalar::Float(0.5), Interpretation::Double),
            big(&0.5f64.to_be_bytes())
        );
        assert_eq!(
            bytes(Scalar::Double(0.5), Interpretation::Float),
            big(&0.5f32.to_be_bytes())
        );
        assert!(bytes(Scalar::Double(0.1), Interpretation::Float).is_err());
        assert!(bytes(Scalar::Boolean(true), Interpretation::Long).is_err());
        assert_eq!(bytes(Scalar::Integer(1), Interpretation::String), Ok(None));
        assert_eq!(bytes(Scalar::String(b"x"), Interpretation::Json), Ok(None));
        assert_eq!(bytes(Scalar::String(b"x"), Interpretation::Long), big(b"x"));
    }
}
