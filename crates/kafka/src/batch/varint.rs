//! Kafka's variable-length integers: zig-zag, then seven bits per byte, lowest first (as in protocol buffers).

/// Zig-zag: small numbers of either sign become small unsigned numbers.
#[inline]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Bytes that `value` takes, 1 to 10.
#[inline]
pub(super) fn length(value: u64) -> usize {
    ((64 + 6 - (value | 1).leading_zeros()) / 7) as usize
}

/// Bytes that the length of a field takes; null is written as -1.
#[inline]
pub(super) fn length_of_length(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| length(zigzag(bytes.len() as i64)))
}

/// Writes `value` at `at` and returns the position behind it. `buffer` must have 10 bytes left.
#[inline]
pub(super) fn put(buffer: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        buffer[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    buffer[at] = value as u8;
    at + 1
}

/// Appends `value`.
#[inline]
pub(super) fn push(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// What reading an integer from the start of some bytes gave.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Read {
    /// The value and the bytes it took.
    Value(i64, usize),
    /// The bytes end inside the integer.
    NeedMore,
    /// More than 10 bytes, or more than 64 bits.
    Invalid,
}

/// Reads a signed integer from the start of `bytes`.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Read {
    if let Some(&first) = bytes.first()
        && first < 0x80
    {
        return Read::Value(unzigzag(u64::from(first)), 1);
    }
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        if index == 9 && byte > 1 {
            return Read::Invalid;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Read::Value(unzigzag(value), index + 1);
        }
    }
    if bytes.len() >= 10 {
        Read::Invalid
    } else {
        Read::NeedMore
    }
}

/// Takes a signed integer off the front of `bytes`.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<i64> {
    match read(bytes) {
        Read::Value(value, used) => {
            *bytes = &bytes[used..];
            Some(value)
        }
        Read::NeedMore | Read::Invalid => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        let cases: [(i64, &[u8]); 6] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (
                i64::MIN,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ),
        ];
        for (value, bytes) in cases {
            let mut buffer = Vec::new();
            push(&mut buffer, zigzag(value));
            assert_eq!(buffer, bytes, "{value}");
            assert_eq!(read(bytes), Read::Value(value, bytes.len()));
        }
    }

    #[test]
    fn broken_integers_are_refused() {
        assert_eq!(read(&[]), Read::NeedMore);
        assert_eq!(read(&[0x80]), Read::NeedMore);
        assert_eq!(read(&[0xff; 12]), Read::Invalid);
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            Read::Invalid
        );
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, shift in 0_u32..64) {
            let value = value >> shift;
            let mut buffer = Vec::new();
            push(&mut buffer, zigzag(value));
            prop_assert_eq!(buffer.len(), length(zigzag(value)));
            let mut fixed = [0; 16];
            let end = put(&mut fixed, 3, zigzag(value));
            prop_assert_eq!(&fixed[3..end], &buffer[..]);
            prop_assert_eq!(read(&buffer), Read::Value(value, buffer.len()));
            prop_assert_eq!(read(&buffer[..buffer.len() - 1]), Read::NeedMore);
        }
    }
}
