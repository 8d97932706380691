//! Parts of a whole, in percent.

/// Reads a share above 0 and up to 100 percent: `1%`, `0.5%`. Gives it as a number up to 1.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    let wanted = || "expected a share in percent, above 0% and up to 100%, such as 1%".to_owned();
    let number = text.trim().strip_suffix('%').ok_or_else(wanted)?;
    let percent: f64 = number.trim_end().parse().map_err(|_| wanted())?;
    match percent > 0.0 && percent <= 100.0 {
        true => Ok(percent / 100.0),
        false => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, share) in [("1%", 0.01), (" 0.5 %", 0.005), ("100%", 1.0)] {
            assert_eq!(parse(text), Ok(share), "{text:?}");
        }
        for text in ["", "1", "%", "0%", "-1%", "101%", "nan%", "inf%", "1%%"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
