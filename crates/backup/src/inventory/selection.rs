//! Which objects of a backup are wanted.

use std::collections::BTreeSet;

/// Which topics, partitions and objects an inventory is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names, or globs with `*` and `?`; all topics where this is empty.
    pub topics: Vec<String>,
    /// Partitions; all for none. Objects whose names have no partition are then left out.
    pub partitions: Option<BTreeSet<i32>>,
    /// Only objects modified at or after this moment, in milliseconds since 1970.
    pub modified_since: Option<i64>,
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// These topics: names or globs.
    pub fn topics<S: Into<String>>(topics: impl IntoIterator<Item = S>) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// True where the topic is wanted.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|pattern| glob_matches(pattern, topic))
    }

    /// True where the partition is wanted; `None` for an object whose name has none.
    pub fn has_partition(&self, partition: Option<i32>) -> bool {
        match (&self.partitions, partition) {
            (None, _) => true,
            (Some(wanted), Some(partition)) => wanted.contains(&partition),
            (Some(_), None) => false,
        }
    }

    /// The topics, where all are asked for by their full names.
    pub(super) fn only_exact_topics(&self) -> Option<BTreeSet<String>> {
        let exact = !self.topics.is_empty() && !self.topics.iter().any(|topic| is_glob(topic));
        exact.then(|| self.topics.iter().cloned().collect())
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// `*` stands for any text, `?` for one character. Takes time proportional to both lengths multiplied.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_chosen_by_name_or_glob() {
        for (patterns, topic, wanted) in [
            (&[][..], "anything", true),
            (&["orders"], "orders", true),
            (&["orders"], "orders-1", false),
            (&["orders*"], "orders-1", true),
            (&["*-1", "x"], "orders-1", true),
            (&["orders-?"], "orders-12", false),
            (&["a*b*c"], "aXbYbc", true),
            (&["a*b*c"], "aXbYb", false),
            (&["[a-z]*"], "orders", false),
        ] {
            assert_eq!(
                Selection::topics(patterns.iter().copied()).has_topic(topic),
                wanted,
                "{patterns:?} {topic}"
            );
        }
    }

    #[test]
    fn only_full_names_narrow_the_listing() {
        assert_eq!(Selection::all().only_exact_topics(), None);
        assert_eq!(Selection::topics(["a", "b*"]).only_exact_topics(), None);
        assert!(Selection::topics(["a", "b"]).only_exact_topics().is_some());
    }
}
