//! Where to cut the rest of a listing, told from the last page.
//!
//! Keys are names with counters in them: partitions, offsets, dates. Behind the key `t-0-0417` come others that begin
//! with `t-0-05`, `t-0-06` … `t-1`, `t-2` …; cut there, from fine to coarse, the rest falls into disjoint pieces that
//! cover it, whatever the keys really are.

/// Most pieces that a rest is cut into.
const MOST_POINTS: usize = 64;

/// Keys behind `last` and before `until`, ascending: where ranges of their own may begin. `first` and `last` are the
/// ends of the last page.
///
/// Only places before the first difference between the two are used: a step there is longer than a page.
pub(super) fn points(prefix: &str, first: &str, last: &str, until: Option<&str>) -> Vec<String> {
    if !last.starts_with(prefix) {
        return Vec::new();
    }
    let bytes = last.as_bytes();
    let common = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let mut steps: Vec<(usize, u8)> = Vec::new();
    for place in (prefix.len()..common).rev() {
        let byte = bytes[place];
        if !byte.is_ascii_alphanumeric() {
            continue;
        }
        let (start, word) = word_around(bytes, prefix.len(), place);
        let letters = word.iter().any(u8::is_ascii_alphabetic);
        let digits = word.iter().any(u8::is_ascii_digit);
        let leading = word[..place - start + 1].iter().all(|byte| *byte == b'0');
        if !letters && leading && bytes.get(place + 1) == Some(&b'0') {
            // A padded number grows by one place at a time.
            continue;
        }
        let alphabet = (byte + 1..=b'z')
            .filter(|higher| (digits && higher.is_ascii_digit()) || (letters && word.contains(higher)));
        steps.extend(alphabet.map(|higher| (place, higher)));
    }
    let point = |(place, higher): (usize, u8)| {
        let mut point = String::with_capacity(place + 1);
        point.push_str(&last[..place]);
        point.push(char::from(higher));
        point
    };
    if let Some(until) = until {
        steps.truncate(steps.partition_point(|step| point(*step).as_str() < until));
    }
    let stride = steps.len().div_ceil(MOST_POINTS).max(1);
    steps.into_iter().step_by(stride).map(point).collect()
}

/// The letters and digits without a gap around the one at `place`, from `from` on, and where they begin.
fn word_around(bytes: &[u8], from: usize, place: usize) -> (usize, &[u8]) {
    let ends = |byte: &u8| !byte.is_ascii_alphanumeric();
    let start = bytes[from..place].iter().rposition(ends);
    let start = start.map_or(from, |gap| from + gap + 1);
    let end = bytes[place..].iter().position(ends);
    let end = end.map_or(bytes.len(), |gap| place + gap);
    (start, &bytes[start..end])
}
