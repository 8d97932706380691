//! Objects that are read by seeking: Parquet, whose directory stands at its end.
//!
//! [`read`] is where such an object's reading goes on after its first bytes have shown what it is.

use super::object::{Failure, Reader};
use crate::format::{ObjectError, Stage};

/// Reads the whole object and hands its blocks to the consumer.
pub(super) async fn read(reader: &mut Reader) -> Result<(), Failure> {
    let error = ObjectError {
        object: reader.key().to_owned(),
        stage: Stage::Format,
        reason: "Parquet objects cannot be read by this version".to_owned(),
        byte_offset: 0,
        unwrapped: false,
        line: None,
        truncated: false,
        can_skip: false,
    };
    reader.damage(error, None);
    Ok(())
}
