//! How a key is put together again from what its name says and a short text of its own.

use std::sync::Arc;

use super::pattern::{Pattern, Spelling};

/// A way of spelling keys that many objects share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// The object's own text is the whole key.
    Whole,
    /// The pattern spells the key; the object's own text holds dates and record keys only.
    Pattern {
        pattern: Arc<Pattern>,
        suffix: u8,
        partition_width: u8,
        offset_width: u8,
    },
}

impl KeyForm {
    /// Appends the key to `out`. `text` is what [`Pattern::form_of`] gave, or [`put_text`] of the whole key.
    pub(crate) fn write(
        &self,
        topic: &str,
        partition: i32,
        start_offset: i64,
        text: &str,
        out: &mut String,
    ) -> Option<()> {
        match self {
            KeyForm::Whole => {
                out.push_str(take_text(text)?.0);
                Some(())
            }
            KeyForm::Pattern {
                pattern,
                suffix,
                partition_width,
                offset_width,
            } => {
                let spelling = Spelling {
                    topic,
                    partition,
                    start_offset,
                    suffix: *suffix,
                    partition_width: *partition_width,
                    offset_width: *offset_width,
                    text,
                };
                pattern.spell(&spelling, out)
            }
        }
    }
}

/// Appends `text` with its length before it, so that [`take_text`] finds its end.
pub(crate) fn put_text(text: &str, out: &mut String) {
    out.push_str(&text.len().to_string());
    out.push(':');
    out.push_str(text);
}

/// Takes off what [`put_text`] put, and gives it and what follows it.
pub(crate) fn take_text(from: &str) -> Option<(&str, &str)> {
    let (length, rest) = from.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}
