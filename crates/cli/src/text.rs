//! Numbers, sizes, durations and tables as people read them.

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};

/// A count with blanks between groups of three digits: `1 234 567`.
pub(crate) fn count(number: u64) -> String {
    group(&number.to_string())
}

/// The same for numbers that may be negative.
pub(crate) fn signed(number: i64) -> String {
    match number < 0 {
        true => format!("-{}", count(number.unsigned_abs())),
        false => count(number.unsigned_abs()),
    }
}

fn group(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in powers of 1000: `1.2 GB`.
pub(crate) fn bytes(number: u64) -> String {
    ByteSize::b(number).display().si().to_string()
}

/// A length of time to the second, of its two largest units: `2h 05m`, `14s`.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d {hours:02}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// `1 record`, `2 records`.
pub(crate) fn plural(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A table without lines: a header and rows; columns whose index is in `numbers` are right-aligned. Ends with a
/// newline.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(signed(-1234), "-1 234");
        assert_eq!(signed(i64::MIN), "-9 223 372 036 854 775 808");
        assert_eq!(plural(1, "record"), "1 record");
        assert_eq!(plural(0, "record"), "0 records");
    }

    #[test]
    fn sizes_and_durations() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_234_567_890, "1.2 GB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 01s"),
            (7_500, "2h 05m"),
            (90_000, "1d 01h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn tables() {
        let rows = vec![
            vec!["orders".to_owned(), "5".to_owned()],
            vec!["x".to_owned(), "1 000".to_owned()],
        ];
        assert_eq!(
            table(&["topic", "records"], rows, &[1]),
            "topic   records\norders        5\nx         1 000\n"
        );
    }
}
