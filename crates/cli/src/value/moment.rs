//! Dates, and dates with a time, as the original tool took them.
//!
//! The original read `--since` with Python's dateutil and took a moment without a zone for UTC. The forms that
//! leave no doubt are read here in the same way; forms in which day and month could be exchanged are refused.

use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Forms with the month's name, each also accepted with a time behind it.
const NAMED_MONTHS: [&str; 6] = [
    "%d %b %Y",
    "%d %B %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
];

/// Reads a moment: `2020-06-09`, `2020-06-09 12:00+00:00`, `2020-06-09T12:00:00.5Z`, `20200609T1200`,
/// `2020/06/09`, `9 Jun 2020 12:00`, `Tue, 9 Jun 2020 12:00:00 +0200`. No zone is UTC, no time is midnight.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let text = tidy(text);
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Ok(zoned.timestamp());
    }
    if !text.contains('[')
        && let Some(moment) = text.parse::<DateTime>().ok().and_then(in_utc)
    {
        return Ok(moment);
    }
    if let Ok(zoned) = rfc2822::parse(&text) {
        return Ok(zoned.timestamp());
    }
    named_month(&text).ok_or_else(|| {
        "expected a date or a date and time, such as 2020-06-09, 2020-06-09T12:00 or \"2020-06-09 12:00+02:00\" \
         (UTC where no zone is given)"
            .to_owned()
    })
}

/// How a moment is shown: in UTC, to the second where it has no fraction.
pub(crate) fn show(moment: Timestamp) -> String {
    moment.to_string()
}

fn in_utc(moment: DateTime) -> Option<Timestamp> {
    moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// One blank between words, none before a numeric zone, `Z` for `UTC` and `GMT`, dashes for the slashes of
/// `2020/06/09`.
fn tidy(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for zone in ["UTC", "GMT", "utc", "gmt"] {
        if let Some(front) = text.strip_suffix(zone) {
            text = format!("{}Z", front.trim_end());
        }
    }
    let bytes = text.as_bytes();
    if bytes.len() >= 10 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'/' && bytes[7] == b'/'
    {
        text = text.replacen('/', "-", 2);
    }
    for sign in [" +", " -"] {
        if let Some((front, zone)) = text.rsplit_once(sign)
            && front.contains(':')
            && front.starts_with(|first: char| first.is_ascii_digit())
            && zone.starts_with(|first: char| first.is_ascii_digit())
        {
            text = format!("{front}{}{zone}", &sign[1..]);
        }
    }
    text
}

fn named_month(text: &str) -> Option<Timestamp> {
    for date in NAMED_MONTHS {
        for time in ["", " %H:%M", " %H:%M:%S"] {
            let Ok(parsed) = strtime::parse(format!("{date}{time}"), text.trim_end_matches('Z')) else {
                continue;
            };
            let date = parsed.to_date().ok()?;
            let moment = match time {
                "" => date.at(0, 0, 0, 0),
                _ => parsed.to_datetime().ok()?,
            };
            return in_utc(moment);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_the_original_took() {
        for (text, meaning) in [
            ("2020-06-09", "2020-06-09T00:00:00Z"),
            ("2020-06-09 12:00+00:00", "2020-06-09T12:00:00Z"),
            ("2020-06-09 12:00", "2020-06-09T12:00:00Z"),
            ("2020-06-09T12:00", "2020-06-09T12:00:00Z"),
            ("2020-06-09T12:00:01", "2020-06-09T12:00:01Z"),
            ("2020-06-09T12:00:01Z", "2020-06-09T12:00:01Z"),
            ("2020-06-09t12:00:01z", "2020-06-09T12:00:01Z"),
            ("2020-06-09 12:00:01.25", "2020-06-09T12:00:01.25Z"),
            ("2020-06-09 12:00:01 UTC", "2020-06-09T12:00:01Z"),
            ("2020-06-09 12:00 +02:00", "2020-06-09T10:00:00Z"),
            ("2020-06-09 12:00 -0530", "2020-06-09T17:30:00Z"),
            ("2020-06-09T12:00:00+02", "2020-06-09T10:00:00Z"),
            ("20200609", "2020-06-09T00:00:00Z"),
            ("20200609T120001", "2020-06-09T12:00:01Z"),
            ("2020/06/09", "2020-06-09T00:00:00Z"),
            ("2020/06/09 12:00", "2020-06-09T12:00:00Z"),
            ("9 Jun 2020", "2020-06-09T00:00:00Z"),
            ("09 June 2020 12:00", "2020-06-09T12:00:00Z"),
            ("Jun 9, 2020", "2020-06-09T00:00:00Z"),
            ("Jun 9 2020 12:00:01", "2020-06-09T12:00:01Z"),
            ("Tue, 9 Jun 2020 12:00:00 +0200", "2020-06-09T10:00:00Z"),
            ("2020-06-09T12:00[Europe/Helsinki]", "2020-06-09T09:00:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text).map(show).as_deref(), Ok(meaning), "{text:?}");
        }
    }

    #[test]
    fn doubtful_and_broken_forms_are_refused() {
        for text in [
            "",
            "yesterday",
            "06/09/2020",
            "2020-13-01",
            "2020-06-31",
            "12:00",
            "1591704000000",
            "2020-06-09 25:00",
        ] {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }
}
