//! Decimal digits of other scripts, as a JVM with such a default locale writes them into names.

/// The zero of every Unicode block of decimal digits (category Nd) but ASCII's; its nine others follow it.
///
/// Source: Unicode Character Database, `DerivedNumericType.txt`.
const ZEROS: [u32; 65] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0de6,
    0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0,
    0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30,
    0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0,
    0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec,
    0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// `text` with every decimal digit of another script written in ASCII; `None` where there is none.
pub(super) fn in_ascii(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut changed = false;
    let ascii = text
        .chars()
        .map(|character| match digit(character) {
            Some(digit) => {
                changed = true;
                char::from(b'0' + digit)
            }
            None => character,
        })
        .collect();
    changed.then_some(ascii)
}

fn digit(character: char) -> Option<u8> {
    let code = u32::from(character);
    let block = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    let digit = code - ZEROS[block];
    u8::try_from(digit).ok().filter(|digit| *digit < 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_other_scripts_become_ascii() {
        assert_eq!(
            in_ascii("orders-\u{661}-\u{660}\u{664}\u{662}").as_deref(),
            Some("orders-1-042")
        );
        assert_eq!(in_ascii("\u{1fbf9}\u{ff10}").as_deref(), Some("90"));
        assert_eq!(in_ascii("orders-1-042"), None);
        assert_eq!(in_ascii("caf\u{e9}-\u{bd}"), None);
    }
}
