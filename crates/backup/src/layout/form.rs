//! How a key is put together again from what its name says and a short text of its own.

/// A way of spelling keys that many objects share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// The object's own text is the whole key.
    Whole,
}

impl KeyForm {
    /// Appends the key to `out`.
    pub(crate) fn write(
        &self,
        _topic: &str,
        _partition: i32,
        _start_offset: i64,
        text: &str,
        out: &mut String,
    ) {
        match self {
            KeyForm::Whole => out.push_str(take_text(text).map_or("", |(key, _)| key)),
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
