//! Numbers of bytes, and bytes per second.

use bytesize::ByteSize;

/// Reads a number of bytes, at least 1: `268435456`, `256MiB` (1024²), `1GB` (1000³).
pub(crate) fn parse(text: &str) -> Result<ByteSize, String> {
    let wanted =
        || "expected a number of bytes, such as 256MiB (1024 x 1024) or 1GB (1000 x 1000 x 1000)".to_owned();
    let size: ByteSize = text.trim().parse().map_err(|_| wanted())?;
    // bytesize reads through floating point and saturates: what is not a real size must not become a huge one.
    if size.as_u64() == 0 || size.as_u64() == u64::MAX {
        return Err(wanted());
    }
    Ok(size)
}

/// Reads a rate in bytes per second, at least 1: `50MB`, `50MB/s`.
pub(crate) fn parse_rate(text: &str) -> Result<ByteSize, String> {
    parse(text.trim().trim_end_matches("/s"))
        .map_err(|_| "expected bytes per second, such as 50MB/s or 100MiB/s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("256MiB", 256 << 20),
            ("256 MiB", 256 << 20),
            ("1GB", 1_000_000_000),
            ("1.5KiB", 1536),
            ("2kb", 2000),
        ] {
            assert_eq!(parse(text).map(|size| size.as_u64()), Ok(bytes), "{text:?}");
        }
        for text in [
            "",
            "0",
            "-1",
            "many",
            "1XB",
            "1e999",
            "99999999999999999999PB",
            "nan",
            "inf",
        ] {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("50MB/s").map(|rate| rate.as_u64()), Ok(50_000_000));
        assert_eq!(parse_rate("1000").map(|rate| rate.as_u64()), Ok(1000));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("/s").is_err());
    }
}
