//! Timestamps as the JSON formats have them: Java's `DateTimeFormatter.ISO_INSTANT`.

/// Milliseconds since 1970 of an instant such as `2019-04-02T13:14:55.120Z`.
///
/// Strict: UTC, no fraction or exactly three digits, four digits of year or a sign and more; the forms in
/// which Java writes any `long` of milliseconds. Nothing for anything else.
pub(super) fn milliseconds(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let signed = rest.len() != text.len();
    if !(4..=9).contains(&digits) || (!signed && digits != 4) || (text[0] == b'+' && digits == 4) {
        return None;
    }
    let year = sign * value(&rest[..digits])?;
    let rest = &rest[digits..];
    let [
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        fraction @ ..,
    ] = rest
    else {
        return None;
    };
    let (month, day) = (value(&[*m1, *m2])?, value(&[*d1, *d2])?);
    let (hour, minute, second) = (value(&[*h1, *h2])?, value(&[*n1, *n2])?, value(&[*s1, *s2])?);
    let millisecond = match fraction {
        [b'Z'] => 0,
        [b'.', a, b, c, b'Z'] => value(&[*a, *b, *c])?,
        _ => return None,
    };
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // At most nine digits of year: a sum in 128 bits cannot overflow.
    let seconds = i128::from(days_from_civil(year, month, day)) * 86_400
        + i128::from(hour * 3600 + minute * 60 + second);
    i64::try_from(seconds * 1000 + i128::from(millisecond)).ok()
}

fn value(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, which Java's instants use.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let leap_this_year = i64::from(month > 2 && is_leap(year));
    let in_year = BEFORE_MONTH[(month - 1) as usize] + leap_this_year + day - 1;
    // 719 162 days lie before 1970.
    before * 365 + leap_days + in_year - 719_162
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn javas_own_instants() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2019-04-02T13:14:55.120Z", 1554210895120),
            ("1969-12-31T23:59:59.999Z", -1),
            ("+10000-01-01T00:00:00Z", 253402300800000),
            ("0000-01-01T00:00:00Z", -62167219200000),
            ("-0001-12-31T23:59:59Z", -62167219201000),
            ("+292278994-08-17T07:12:55.807Z", i64::MAX),
            ("-292275055-05-16T16:47:04.192Z", i64::MIN),
            ("2024-02-29T00:00:00Z", 1709164800000),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "Z",
            "2019-04-02T13:14:55",
            "2019-04-02T13:14:55.12Z",
            "2019-04-02T13:14:55.120000Z",
            "2019-04-02 13:14:55Z",
            "2019-04-02T13:14:55+00:00",
            "2019-13-02T13:14:55Z",
            "2019-02-29T13:14:55Z",
            "2019-04-02T24:00:00Z",
            "2019-04-02T13:14:60Z",
            "10000-01-01T00:00:00Z",
            "+2019-04-02T13:14:55Z",
            "+292278994-08-17T07:12:55.808Z",
            "-292275055-05-16T16:47:04.191Z",
            "2019-04-02T13:14:55.120Zx",
        ] {
            assert_eq!(milliseconds(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn agrees_with_a_calendar_library(at in -62_167_219_200_000i64..=253_402_207_200_999) {
            let text = jiff::Timestamp::from_millisecond(at).expect("in range");
            let text = if at % 1000 == 0 { format!("{text:.0}") } else { format!("{text:.3}") };
            prop_assert_eq!(milliseconds(text.as_bytes()), Some(at), "{}", text);
        }
    }
}
