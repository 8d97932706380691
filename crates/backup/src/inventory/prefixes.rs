//! Which prefixes exist in a bucket: for people who gave a wrong one.

use std::collections::BTreeMap;

/// How deep folders are looked at.
const DEPTH: usize = 2;
/// More folders than this are not told apart.
const MOST_FOLDERS: usize = 1000;

/// Counts objects by the first folders of their keys, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    folders: BTreeMap<String, u64>,
    sample: Option<String>,
    objects: u64,
}

impl Prefixes {
    /// Counts a key.
    pub fn observe(&mut self, key: &str) {
        self.objects += 1;
        if self.sample.is_none() {
            self.sample = Some(key.to_owned());
        }
        let end = key
            .match_indices('/')
            .take(DEPTH)
            .last()
            .map_or(0, |(at, _)| at + 1);
        let folder = &key[..end];
        if let Some(count) = self.folders.get_mut(folder) {
            *count += 1;
        } else if self.folders.len() < MOST_FOLDERS {
            self.folders.insert(folder.to_owned(), 1);
        }
    }

    /// The number of keys that were counted.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// The first key that was seen.
    pub fn sample(&self) -> Option<&str> {
        self.sample.as_deref()
    }

    /// The folders that hold most objects, and how many; `""` stands for keys without a folder.
    pub fn most(&self, number: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self
            .folders
            .iter()
            .map(|(folder, count)| (folder.as_str(), *count))
            .collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(number);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_counted_two_deep() {
        let mut prefixes = Prefixes::default();
        for key in ["a/b/c/d", "a/b/e", "a/x", "top", "a/b/", "/odd"] {
            prefixes.observe(key);
        }
        assert_eq!(prefixes.most(9), [("a/b/", 3), ("", 1), ("/", 1), ("a/", 1)]);
        assert_eq!(prefixes.most(1), [("a/b/", 3)]);
        assert_eq!((prefixes.objects(), prefixes.sample()), (6, Some("a/b/c/d")));
    }
}
