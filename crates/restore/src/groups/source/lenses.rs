//! Offset objects of the consumer group sink of Lenses (Stream Reactor): `<prefix><group>/<topic>/<partition>`, whose
//! content is the committed offset as 8 bytes, big-endian.

use super::SourceError;

/// The size of each object.
pub const BYTES: u64 = 8;

/// Group, topic and partition in a key; none where it is another object.
pub fn place(prefix: &str, key: &str) -> Option<(String, String, i32)> {
    let rest = key.strip_prefix(prefix)?.trim_start_matches('/');
    let mut parts = rest.rsplitn(3, '/');
    let partition = parts.next()?.parse().ok().filter(|partition| *partition >= 0)?;
    let topic = parts.next().filter(|topic| !topic.is_empty())?;
    let group = parts.next().filter(|group| !group.is_empty())?;
    Some((group.to_owned(), topic.to_owned(), partition))
}

/// The offset in an object; `place` is for errors.
pub fn offset(place: String, bytes: &[u8]) -> Result<i64, SourceError> {
    let Ok(bytes) = <[u8; 8]>::try_from(bytes) else {
        return Err(wrong(place, bytes.len() as u64));
    };
    match i64::from_be_bytes(bytes) {
        offset @ 0.. => Ok(offset),
        other => Err(SourceError::Unknown {
            place,
            message: format!("its 8 bytes say the offset {other}"),
        }),
    }
}

/// The error of an object with another size.
pub fn wrong(place: String, bytes: u64) -> SourceError {
    SourceError::Unknown {
        place,
        message: format!("it has {bytes} bytes, and an offset of Lenses has {BYTES}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_contents() {
        let found = |group: &str| Some((group.to_owned(), "orders".to_owned(), 3));
        assert_eq!(place("offsets/", "offsets/billing/orders/3"), found("billing"));
        assert_eq!(place("offsets", "offsets/billing/orders/3"), found("billing"));
        // A group may have slashes in its name; a topic may not.
        assert_eq!(place("", "my/group/orders/3"), found("my/group"));
        for other in [
            "offsets/orders/3",
            "offsets/billing/orders/x",
            "else/billing/orders/3",
        ] {
            assert_eq!(place("offsets/", other), None, "{other}");
        }
        let read = |bytes: &[u8]| offset("x".to_owned(), bytes);
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert!(read(&[0; 7]).unwrap_err().to_string().contains("7 bytes"));
        assert!(read(&[0xff; 8]).unwrap_err().to_string().contains("offset -1"));
    }
}
