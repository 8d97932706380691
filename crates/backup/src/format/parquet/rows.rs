//! The rows of a Parquet file, as records: which column is what, found once from the schema.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, MapArray, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, FieldRef, Schema as ArrowSchema, TimeUnit};
use record::{NO_TIMESTAMP, RecordBlock, RecordWriter};

use super::value::{Hint, field_hint, range_of, values_hint, write, write_row};
use crate::format::avro::schema::{Node, Schema};
use crate::format::csv::fields::{MAX_HEADERS, name};
use crate::format::typed::{Shape, shape};
use crate::format::{Decoding, Field, Interpretation, Notes, is_full};

/// How rows become records.
pub(super) struct Rows {
    shape: Shape,
    names: Vec<String>,
    /// The sink's own schema, where the file has it.
    avro: Option<Schema>,
    interpretations: [Option<Interpretation>; 3],
    start_offset: Option<i64>,
    has_offset: bool,
    text_limit: usize,
}

/// A record that cannot be made, with what is wrong.
pub(super) type Refused = String;

impl Rows {
    /// Finds out what rows of the schema are. `avro` is the text under `parquet.avro.schema` in the file's
    /// metadata.
    pub(super) fn new(
        schema: &ArrowSchema,
        message: &str,
        avro: Option<&str>,
        decoding: &Decoding,
        start_offset: Option<i64>,
        notes: &mut Notes,
    ) -> Result<Self, String> {
        let avro = avro.and_then(|text| Schema::parse(text.as_bytes()).ok());
        let record = avro.as_ref().and_then(|schema| match schema.node(schema.root()) {
            Node::Record(record) => Some(record),
            _ => None,
        });
        let message = record.map_or(message.rsplit('.').next().unwrap_or_default(), |record| {
            &record.name
        });
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let shape = shape(message, names.iter().map(String::as_str), decoding);
        // A column of the type null cannot exist in Parquet; the sink's schema has it.
        let null_headers = matches!(shape, Shape::Envelope(_))
            && record.is_some_and(|record| {
                record
                    .fields
                    .iter()
                    .any(|(field, _)| field == name(Field::Headers))
            });
        let mut has_offset = false;
        let mut with_headers = false;
        if let Shape::Envelope(fields) = &shape {
            for (field, column) in fields.iter().zip(schema.fields()) {
                match (field, column.data_type()) {
                    (Field::Offset, DataType::Int64 | DataType::Int32) => has_offset = true,
                    (Field::Timestamp, DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _))
                    | (Field::Key | Field::Value, _) => {}
                    (Field::Headers, DataType::Map(entries, _)) if matches!(entries.data_type(), DataType::Struct(parts) if parts.len() == 2 && is_bytes(&parts[0])) =>
                    {
                        with_headers = true;
                    }
                    (Field::Headers, _) => {
                        return Err("the column headers is no map of names and values".into());
                    }
                    (field, _) => return Err(format!("the column {} is no whole number", name(*field))),
                }
            }
        }
        let asked = decoding
            .fields
            .as_ref()
            .is_some_and(|fields| fields.contains(&Field::Headers));
        notes.headers_absent = !with_headers && (null_headers || asked);
        notes.numbered = !has_offset;
        Ok(Self {
            shape,
            names,
            avro,
            interpretations: [decoding.key_as, decoding.value_as, decoding.header_as],
            start_offset,
            has_offset,
            text_limit: decoding.record_limit(),
        })
    }

    fn hint(&self) -> Hint<'_> {
        self.avro.as_ref().map(|schema| (schema, schema.root()))
    }

    /// Appends rows of the batch from `start` until `block` is full. Gives the row to go on with.
    ///
    /// # Errors
    ///
    /// With the row that is no record and what is wrong with it.
    pub(super) fn append(
        &self,
        batch: &RecordBatch,
        start: usize,
        block_bytes: usize,
        block: &mut RecordBlock,
        notes: &mut Notes,
    ) -> Result<usize, (usize, Refused)> {
        let columns: Vec<Column<'_>> = match &self.shape {
            Shape::Envelope(fields) => fields
                .iter()
                .zip(batch.columns())
                .map(|(field, array)| self.column(*field, array))
                .collect(),
            Shape::Bare(_) => Vec::new(),
        };
        let mut row = start;
        while row < batch.num_rows() && !is_full(block, block_bytes) {
            let index = notes.records;
            notes.records += 1;
            let offset = self
                .start_offset
                .and_then(|start| start.checked_add_unsigned(index));
            if !self.has_offset && offset.is_none() {
                let reason = "the record has no offset, and the object's name gives no start offset: its offset \
                              cannot be known";
                return Err((row, reason.into()));
            }
            let mut writer = block.append(offset.unwrap_or(0), NO_TIMESTAMP);
            let result = match &self.shape {
                Shape::Envelope(_) => columns
                    .iter()
                    .try_for_each(|column| self.field(column, row, &mut writer, notes)),
                Shape::Bare(field) => {
                    let write = |out: &mut Vec<u8>| {
                        write_row(
                            &self.names,
                            batch.columns(),
                            row,
                            self.hint(),
                            self.text_limit,
                            out,
                        )
                    };
                    notes.json_texts += 1;
                    match field {
                        Field::Key => writer.key_with(write),
                        _ => writer.value_with(write),
                    }
                    .map_err(|reason: String| format!("the row {reason}"))
                }
            };
            match result {
                Ok(()) => writer.finish(),
                Err(reason) => return Err((row, reason)),
            }
            row += 1;
        }
        Ok(row)
    }

    fn column<'a>(&self, field: Field, array: &'a ArrayRef) -> Column<'a> {
        let plain = |interpretation: Option<Interpretation>| match interpretation {
            Some(Interpretation::Json) => Values::Any(array),
            _ => Values::of(array),
        };
        match field {
            Field::Key => Column::Key(plain(self.interpretations[0])),
            Field::Value => Column::Value(plain(self.interpretations[1])),
            Field::Offset => Column::Offset(array),
            Field::Timestamp => Column::Timestamp(array),
            Field::Headers => {
                let map = array.as_map();
                Column::Headers {
                    map,
                    keys: Values::of(map.keys()),
                    values: match self.interpretations[2] {
                        Some(Interpretation::Json) => Values::Any(map.values()),
                        _ => Values::of(map.values()),
                    },
                }
            }
        }
    }

    fn field(
        &self,
        column: &Column<'_>,
        row: usize,
        writer: &mut RecordWriter<'_>,
        notes: &mut Notes,
    ) -> Result<(), Refused> {
        match column {
            Column::Key(values) if values.is_null(row) => {}
            Column::Value(values) if values.is_null(row) => {}
            Column::Key(values) => match values.bytes(row) {
                Some(bytes) => writer.key(bytes),
                None => writer
                    .key_with(|out| self.any(Field::Key, values, row, self.hint(), out, notes))
                    .map_err(|reason| format!("the key {reason}"))?,
            },
            Column::Value(values) => match values.bytes(row) {
                Some(bytes) => writer.value(bytes),
                None => writer
                    .value_with(|out| self.any(Field::Value, values, row, self.hint(), out, notes))
                    .map_err(|reason| format!("the value {reason}"))?,
            },
            Column::Offset(array) => match whole(array, row) {
                Some(offset) if offset >= 0 => writer.offset(offset),
                Some(offset) => return Err(format!("the offset is negative: {offset}")),
                None => return Err("the offset is null".into()),
            },
            Column::Timestamp(array) => {
                if let Some(timestamp) = whole(array, row) {
                    writer.timestamp(timestamp);
                }
            }
            Column::Headers { map, .. } if map.is_null(row) => {}
            Column::Headers { map, keys, values } => {
                let rows = range_of(map, row);
                if rows.len() > MAX_HEADERS {
                    return Err(format!("the record has more than {MAX_HEADERS} headers"));
                }
                notes.map_headers += u64::from(!rows.is_empty());
                for place in rows {
                    let header = keys.bytes(place).unwrap_or_default();
                    if values.is_null(place) {
                        writer.header(header, None);
                    } else if let Some(bytes) = values.bytes(place) {
                        writer.header(header, Some(bytes));
                    } else {
                        let hint = values_hint(field_hint(self.hint(), name(Field::Headers)));
                        let mut out = Vec::new();
                        self.any(Field::Headers, values, place, hint, &mut out, notes)
                            .map_err(|reason| {
                                format!("the value of the header \"{}\" {reason}", header.escape_ascii())
                            })?;
                        writer.header(header, Some(&out));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a value that is more than bytes. `hint` is the row's type for keys and values, and the value's own
    /// for headers.
    fn any(
        &self,
        field: Field,
        values: &Values<'_>,
        row: usize,
        hint: Hint<'_>,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), Refused> {
        let (interpretation, hint) = match field {
            Field::Key => (self.interpretations[0], field_hint(hint, name(field))),
            Field::Value => (self.interpretations[1], field_hint(hint, name(field))),
            _ => (self.interpretations[2], hint),
        };
        if !write(values.array(), row, hint, interpretation, self.text_limit, out)? {
            notes.json_texts += 1;
        }
        Ok(())
    }
}

/// A column of a batch, ready to be read row by row.
enum Column<'a> {
    Key(Values<'a>),
    Value(Values<'a>),
    Offset(&'a ArrayRef),
    Timestamp(&'a ArrayRef),
    Headers {
        map: &'a MapArray,
        keys: Values<'a>,
        values: Values<'a>,
    },
}

/// A column of bytes, strings or anything.
enum Values<'a> {
    Bytes(&'a arrow_array::BinaryViewArray),
    Text(&'a arrow_array::StringViewArray),
    Any(&'a ArrayRef),
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::BinaryView => Values::Bytes(array.as_binary_view()),
            DataType::Utf8View => Values::Text(array.as_string_view()),
            _ => Values::Any(array),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Values::Bytes(array) => array,
            Values::Text(array) => array,
            Values::Any(array) => array,
        }
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Values::Bytes(array) => array.is_null(row),
            Values::Text(array) => array.is_null(row),
            // An array of the type null has no list of what is null.
            Values::Any(array) => array.is_null(row) || *array.data_type() == DataType::Null,
        }
    }

    #[inline]
    fn bytes(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Values::Bytes(array) => Some(array.value(row)),
            Values::Text(array) => Some(array.value(row).as_bytes()),
            Values::Any(_) => None,
        }
    }
}

fn whole(array: &ArrayRef, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Some(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Some(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        _ => None,
    }
}

fn is_bytes(field: &FieldRef) -> bool {
    matches!(field.data_type(), DataType::BinaryView | DataType::Utf8View)
}

/// The same schema with bytes and strings as views, which are not copied out of their pages: a value that a
/// dictionary holds once may stand in thousands of rows.
pub(super) fn with_views(schema: &ArrowSchema) -> ArrowSchema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(view).collect();
    ArrowSchema::new_with_metadata(fields, schema.metadata().clone())
}

fn view(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Binary => DataType::BinaryView,
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(inner) => DataType::List(view(inner)),
        DataType::Map(inner, sorted) => DataType::Map(view(inner), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(view).collect()),
        _ => return field.clone(),
    };
    ArrowField::clone(field).with_data_type(kind).into()
}
