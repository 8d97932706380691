//! A record as it stood in Kafka, in the form in which golden backups and read-backs are compared.

/// Who gave a record its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker, when it appended the record.
    LogAppendTime,
}

/// One record of a topic, owned. Null and empty keys, values and header values are kept apart.
#[derive(Clone, PartialEq, Eq)]
pub struct TruthRecord {
    /// The topic's name.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 where there is none.
    pub timestamp: i64,
    /// Who gave the timestamp.
    pub timestamp_type: TimestampType,
    /// The key, or null.
    pub key: Option<Vec<u8>>,
    /// The value, or null.
    pub value: Option<Vec<u8>>,
    /// The headers in order, duplicates included. Kafka's header names are UTF-8.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl std::fmt::Debug for TruthRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TruthRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("timestamp_type", &self.timestamp_type)
            .field("key", &show(self.key.as_deref()))
            .field("value", &show(self.value.as_deref()))
            .field(
                "headers",
                &self
                    .headers
                    .iter()
                    .map(|(name, value)| (name, show(value.as_deref())))
                    .collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// Bytes for people: printable where they are, cut where they are long, null spelled out.
pub(crate) fn show(bytes: Option<&[u8]>) -> String {
    const LIMIT: usize = 120;
    match bytes {
        None => "null".into(),
        Some(bytes) if bytes.len() > LIMIT => {
            format!("\"{}\"… ({} bytes)", bytes[..LIMIT].escape_ascii(), bytes.len())
        }
        Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
    }
}
