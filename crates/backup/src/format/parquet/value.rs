//! One value of an Arrow array, as bytes or as JSON text.
//!
//! Arrow's types do not say all that the sink's Avro schema says (it stands in the file's metadata): an enum is
//! mere bytes, and a union a record of its branches. So both are followed side by side.
//! Source: `AvroSchemaConverter` and `AvroWriteSupport` of Apache Parquet's parquet-avro.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, MapArray, StructArray};
use arrow_schema::{DataType, TimeUnit};

use crate::format::Interpretation;
use crate::format::avro::schema::{Node, NodeId, Schema};
use crate::format::typed::{Scalar, json_string};

/// A type in the sink's Avro schema.
pub(super) type Hint<'a> = Option<(&'a Schema, NodeId)>;

/// Appends the value at `row`, which is not null, to `out`: plain where its type and `interpretation` allow it
/// (then true), otherwise as JSON text of at most about `limit` bytes.
pub(super) fn write(
    array: &dyn Array,
    row: usize,
    hint: Hint<'_>,
    interpretation: Option<Interpretation>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<bool, String> {
    let hint = without_null(hint);
    let mut bytes = Vec::new();
    if let Some(scalar) = scalar(array, row, hint, &mut bytes)? {
        if scalar.plain(interpretation, out)? {
            return Ok(true);
        }
        scalar.json(out)?;
        return Ok(false);
    }
    let mut text = Text {
        start: out.len(),
        limit,
        out,
    };
    text.value(array, row, hint)?;
    Ok(false)
}

fn without_null(hint: Hint<'_>) -> Hint<'_> {
    hint.map(|(schema, id)| (schema, schema.without_null(id)))
}

/// The type of a field of a record in the Avro schema.
pub(super) fn field_hint<'a>(hint: Hint<'a>, name: &str) -> Hint<'a> {
    let (schema, id) = without_null(hint)?;
    let Node::Record(record) = schema.node(id) else {
        return None;
    };
    let (_, field) = record.fields.iter().find(|(field, _)| field == name)?;
    Some((schema, *field))
}

/// The type of the values of a map in the Avro schema.
pub(super) fn values_hint(hint: Hint<'_>) -> Hint<'_> {
    let (schema, id) = without_null(hint)?;
    match schema.node(id) {
        Node::Map(values) => Some((schema, *values)),
        _ => None,
    }
}

/// The value of a type without parts; nothing for others. `bytes` is room for those that are not in the array as
/// they are.
fn scalar<'a>(
    array: &'a dyn Array,
    row: usize,
    hint: Hint<'_>,
    bytes: &'a mut Vec<u8>,
) -> Result<Option<Scalar<'a>>, String> {
    let is_text = matches!(
        hint.map(|(schema, id)| schema.node(id)),
        Some(Node::String | Node::Enum(_))
    );
    let binary = |bytes: &'a [u8]| {
        if is_text {
            Scalar::String(bytes)
        } else {
            Scalar::Bytes(bytes)
        }
    };
    fn number<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
        array.as_primitive::<T>().value(row)
    }
    let int = |number: i64| Scalar::Integer(number);
    let small = |number: i32| Scalar::Integer(i64::from(number));
    Ok(Some(match array.data_type() {
        DataType::Boolean => Scalar::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => small(number::<Int8Type>(array, row).into()),
        DataType::Int16 => small(number::<Int16Type>(array, row).into()),
        DataType::Int32 => small(number::<Int32Type>(array, row)),
        DataType::Int64 => int(number::<Int64Type>(array, row)),
        DataType::UInt8 => small(number::<UInt8Type>(array, row).into()),
        DataType::UInt16 => small(number::<UInt16Type>(array, row).into()),
        DataType::UInt32 => int(number::<UInt32Type>(array, row).into()),
        DataType::UInt64 => {
            let number = number::<UInt64Type>(array, row);
            i64::try_from(number).map_or(Scalar::Unsigned(number), Scalar::Integer)
        }
        DataType::Float16 => Scalar::Float(number::<Float16Type>(array, row).into()),
        DataType::Float32 => Scalar::Float(number::<Float32Type>(array, row)),
        DataType::Float64 => Scalar::Double(number::<Float64Type>(array, row)),
        DataType::BinaryView => binary(array.as_binary_view().value(row)),
        DataType::Binary => binary(array.as_binary::<i32>().value(row)),
        DataType::Utf8View => Scalar::String(array.as_string_view().value(row).as_bytes()),
        DataType::Utf8 => Scalar::String(array.as_string::<i32>().value(row).as_bytes()),
        DataType::FixedSizeBinary(_) => Scalar::Bytes(array.as_fixed_size_binary().value(row)),
        // Connect writes a decimal as the bytes of its unscaled number.
        DataType::Decimal32(..) => unscaled(&number::<Decimal32Type>(array, row).to_be_bytes(), bytes),
        DataType::Decimal64(..) => unscaled(&number::<Decimal64Type>(array, row).to_be_bytes(), bytes),
        DataType::Decimal128(..) => unscaled(&number::<Decimal128Type>(array, row).to_be_bytes(), bytes),
        DataType::Decimal256(..) => unscaled(&number::<Decimal256Type>(array, row).to_be_bytes(), bytes),
        // Days, or so many units of the type, as they stand in the file.
        DataType::Date32 => small(number::<Date32Type>(array, row)),
        DataType::Date64 => int(number::<Date64Type>(array, row)),
        DataType::Time32(TimeUnit::Second) => small(number::<Time32SecondType>(array, row)),
        DataType::Time32(_) => small(number::<Time32MillisecondType>(array, row)),
        DataType::Time64(TimeUnit::Microsecond) => int(number::<Time64MicrosecondType>(array, row)),
        DataType::Time64(_) => int(number::<Time64NanosecondType>(array, row)),
        DataType::Timestamp(TimeUnit::Second, _) => int(number::<TimestampSecondType>(array, row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => int(number::<TimestampMillisecondType>(array, row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => int(number::<TimestampMicrosecondType>(array, row)),
        // Among them the old 12-byte timestamps.
        DataType::Timestamp(TimeUnit::Nanosecond, _) => int(number::<TimestampNanosecondType>(array, row)),
        DataType::Duration(TimeUnit::Second) => int(number::<DurationSecondType>(array, row)),
        DataType::Duration(TimeUnit::Millisecond) => int(number::<DurationMillisecondType>(array, row)),
        DataType::Duration(TimeUnit::Microsecond) => int(number::<DurationMicrosecondType>(array, row)),
        DataType::Duration(TimeUnit::Nanosecond) => int(number::<DurationNanosecondType>(array, row)),
        DataType::Null
        | DataType::Struct(_)
        | DataType::Map(..)
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..) => return Ok(None),
        other => return Err(format!("is of the type {other}, which cannot be read")),
    }))
}

/// The shortest bytes that hold the number, as Java's `BigInteger.toByteArray` gives them.
fn unscaled<'a>(number: &[u8], bytes: &'a mut Vec<u8>) -> Scalar<'a> {
    let mut rest = number;
    while let [first, second, ..] = rest {
        if (*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80) {
            rest = &rest[1..];
        } else {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    Scalar::Bytes(bytes)
}

struct Text<'a> {
    start: usize,
    limit: usize,
    out: &'a mut Vec<u8>,
}

impl Text<'_> {
    /// Recursion is as deep as the file's schema, whose depth was checked.
    fn value(&mut self, array: &dyn Array, row: usize, hint: Hint<'_>) -> Result<(), String> {
        if self.out.len() - self.start > self.limit {
            return Err(format!(
                "is longer than {} bytes as JSON text, the largest record that is accepted",
                self.limit
            ));
        }
        if array.is_null(row) {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        let hint = without_null(hint);
        if let Some(scalar) = scalar(array, row, hint, &mut Vec::new())? {
            return scalar.json(self.out);
        }
        match array.data_type() {
            DataType::Struct(_) => self.record(array.as_struct(), row, hint),
            DataType::Map(..) => self.map(array.as_map(), row, hint),
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row), hint),
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row), hint),
            DataType::FixedSizeList(..) => self.list(&array.as_fixed_size_list().value(row), hint),
            _ => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn list(&mut self, items: &ArrayRef, hint: Hint<'_>) -> Result<(), String> {
        let hint = hint.and_then(|(schema, id)| match schema.node(id) {
            Node::Array(items) => Some((schema, *items)),
            _ => None,
        });
        self.out.push(b'[');
        for place in 0..items.len() {
            if place > 0 {
                self.out.push(b',');
            }
            self.value(items, place, hint)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn record(&mut self, record: &StructArray, row: usize, hint: Hint<'_>) -> Result<(), String> {
        match hint.map(|(schema, id)| (schema, schema.node(id))) {
            Some((schema, Node::Union(branches))) => {
                // A field `member0`, `member1`... for each branch but null; one of them is there.
                let branches = branches
                    .iter()
                    .filter(|branch| !matches!(schema.node(**branch), Node::Null));
                for (column, branch) in record.columns().iter().zip(branches) {
                    if column.is_valid(row) {
                        return self.value(column, row, Some((schema, *branch)));
                    }
                }
                self.out.extend_from_slice(b"null");
                return Ok(());
            }
            Some((_, Node::Record(entry))) if entry.map_entry && record.num_columns() == 2 => {
                self.out.push(b'[');
                for (place, (name, column)) in record.column_names().iter().zip(record.columns()).enumerate()
                {
                    if place > 0 {
                        self.out.push(b',');
                    }
                    self.value(column, row, field_hint(hint, name))?;
                }
                self.out.push(b']');
                return Ok(());
            }
            _ => {}
        }
        self.object(record.column_names().into_iter().zip(record.columns()), row, hint)
    }

    fn object<'c>(
        &mut self,
        fields: impl Iterator<Item = (&'c str, &'c ArrayRef)>,
        row: usize,
        hint: Hint<'_>,
    ) -> Result<(), String> {
        self.out.push(b'{');
        for (place, (name, column)) in fields.enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            json_string(name.as_bytes(), self.out)?;
            self.out.push(b':');
            self.value(column, row, field_hint(hint, name))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn map(&mut self, map: &MapArray, row: usize, hint: Hint<'_>) -> Result<(), String> {
        let hint = values_hint(hint);
        let (keys, values) = (map.keys(), map.values());
        let rows = range_of(map, row);
        let text = matches!(keys.data_type(), DataType::Utf8 | DataType::Utf8View);
        self.out.push(if text { b'{' } else { b'[' });
        for place in rows.clone() {
            if place > rows.start {
                self.out.push(b',');
            }
            if !text {
                self.out.push(b'[');
            }
            self.value(keys, place, None)?;
            self.out.push(if text { b':' } else { b',' });
            self.value(values, place, hint)?;
            if !text {
                self.out.push(b']');
            }
        }
        self.out.push(if text { b'}' } else { b']' });
        Ok(())
    }
}

/// Writes a whole row as an object.
pub(super) fn write_row(
    names: &[String],
    columns: &[ArrayRef],
    row: usize,
    hint: Hint<'_>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let mut text = Text {
        start: out.len(),
        limit,
        out,
    };
    text.object(names.iter().map(String::as_str).zip(columns), row, hint)
}

/// The places of a row's entries among all entries of a map.
pub(super) fn range_of(map: &MapArray, row: usize) -> std::ops::Range<usize> {
    let offsets = map.value_offsets();
    let at = |place: usize| usize::try_from(offsets[place]).unwrap_or(0);
    at(row)..at(row + 1)
}
