//! Lengths of time.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads a length of time: `90s`, `10m`, `1h30m`, `500ms`, `10 minutes`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || "expected a length of time with its unit, such as 90s, 10m or 1h30m".to_owned();
    let duration: SignedDuration = text.trim().parse().map_err(|_| wanted())?;
    Duration::try_from(duration).map_err(|_| wanted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("10 minutes", 600_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse(text).map(|duration| duration.as_millis()),
                Ok(milliseconds),
                "{text:?}"
            );
        }
        for text in ["", "10", "-5s", "soon", "1x"] {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }
}
