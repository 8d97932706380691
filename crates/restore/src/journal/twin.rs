//! The journals' twin: a file beside the report, for users without rights on groups.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{JOURNAL_VERSION, Journal, JournalError};
use crate::file::write_whole;

/// The file beside the report: journals by topic.
#[derive(Clone, Debug)]
pub struct JournalFile {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    version: u32,
    topics: BTreeMap<String, Journal>,
}

impl JournalFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The journal of `topic` in the file, if there is one.
    pub fn read(&self, topic: &str) -> Result<Option<Journal>, JournalError> {
        Ok(self.load()?.topics.remove(topic))
    }

    /// The topics that the file has journals of.
    pub fn topics(&self) -> Result<Vec<String>, JournalError> {
        Ok(self.load()?.topics.into_keys().collect())
    }

    /// Puts the journal of `topic` into the file.
    pub fn write(&self, topic: &str, journal: &Journal) -> Result<(), JournalError> {
        let mut content = self.load()?;
        content.topics.insert(topic.to_owned(), journal.clone());
        self.store(&content)
    }

    /// Takes the journal of `topic` out of the file, and the file away when it was the last one.
    pub fn delete(&self, topic: &str) -> Result<(), JournalError> {
        let mut content = self.load()?;
        if content.topics.remove(topic).is_none() {
            return Ok(());
        }
        match content.topics.is_empty() {
            true => std::fs::remove_file(&self.path).map_err(|error| self.error(error.to_string())),
            false => self.store(&content),
        }
    }

    fn load(&self) -> Result<Content, JournalError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(error) => return Err(self.error(error.to_string())),
        };
        let content: Content = serde_json::from_slice(&bytes)
            .map_err(|error| self.error(format!("it is no journal of this program: {error}")))?;
        match content.version {
            JOURNAL_VERSION => Ok(content),
            other => Err(self.error(format!(
                "it has version {other}, and this program knows version {JOURNAL_VERSION}"
            ))),
        }
    }

    fn store(&self, content: &Content) -> Result<(), JournalError> {
        let content = Content {
            version: JOURNAL_VERSION,
            topics: content.topics.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&content).map_err(|error| self.error(error.to_string()))?;
        write_whole(&self.path, &bytes).map_err(|error| self.error(error.to_string()))
    }

    fn error(&self, message: String) -> JournalError {
        JournalError::File {
            path: self.path.display().to_string(),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::journal;
    use super::*;

    #[test]
    fn the_twin_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json.journal");
        let file = JournalFile::new(path.clone());
        assert_eq!(file.read("orders").unwrap(), None);
        file.delete("orders").unwrap();
        file.write("orders", &journal()).unwrap();
        file.write("other", &journal()).unwrap();
        assert_eq!(file.read("orders").unwrap(), Some(journal()));
        assert_eq!(file.topics().unwrap(), ["orders", "other"]);
        file.delete("orders").unwrap();
        assert_eq!(file.read("orders").unwrap(), None);
        file.delete("other").unwrap();
        assert!(!path.exists());
        std::fs::write(&path, b"{\"version\":1,\"top").unwrap();
        assert!(file.read("orders").is_err());
        std::fs::write(&path, b"{\"version\":9,\"topics\":{}}").unwrap();
        let error = file.read("orders").unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
