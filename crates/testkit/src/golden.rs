//! Golden backups: what real connectors left in a bucket, with what was in Kafka before.
//!
//! A set is a folder: `objects/` holds the stored bytes under their keys (`objects-odd/` those whose key cannot be a
//! path), `objects.json` says what the store knew of each, `connector*.properties` are the sink's own configurations,
//! `meta.json` names topics, partitions, offsets and losses, and `truth.jsonl` is a raw read-back of the source topics.
//! Sets that were written from the same topics share one truth: then `meta.json` names it under `truth`, and it lies
//! compressed in `../../truth/`. A set that was cut down names the source offsets it still covers under `windows`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde::Deserialize;

use crate::jars::workspace_folder;
use crate::record::{TimestampType, TruthRecord};

/// One golden backup.
#[derive(Clone, Debug)]
pub struct GoldenSet {
    /// The set's name, which is its folder's.
    pub name: String,
    /// The set's folder.
    pub folder: PathBuf,
    /// `gcs`, `s3` or `azure`: the store that the connector wrote to.
    pub provider: String,
    /// The objects in the order of their keys.
    pub objects: Vec<GoldenObject>,
    /// `meta.json` as it is.
    pub meta: serde_json::Value,
    /// The sink's configuration (the last one where it was changed between runs). Secrets are left out.
    pub connector: BTreeMap<String, String>,
}

/// One object of a backup.
#[derive(Clone, Debug)]
pub struct GoldenObject {
    /// The raw key in the bucket.
    pub key: String,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// The object's `Content-Encoding`, where it has one.
    pub content_encoding: Option<String>,
    /// When the object was written, RFC 3339, as the store said.
    pub last_modified: String,
}

#[derive(Deserialize)]
struct ObjectEntry {
    key: String,
    size: u64,
    content_encoding: Option<String>,
    last_modified: String,
    /// Where the bytes lie: absent for `objects/<key>`, null where only the key matters (zero bytes).
    #[serde(default, deserialize_with = "present")]
    file: Option<Option<String>>,
}

/// Tells a field that is null from one that is absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct TruthLine {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
    timestamp_type: String,
    key_b64: Option<String>,
    value_b64: Option<String>,
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
}

impl GoldenSet {
    /// Reads a set with all its objects.
    ///
    /// # Errors
    ///
    /// Where a file is missing or does not say what it should, or an object has another size than listed.
    pub fn load(folder: &Path) -> Result<Self> {
        let name = folder
            .file_name()
            .context("a golden set is a named folder")?
            .to_string_lossy()
            .into_owned();
        Self::load_named(folder, name).with_context(|| format!("golden set {}", folder.display()))
    }

    fn load_named(folder: &Path, name: String) -> Result<Self> {
        let meta: serde_json::Value = serde_json::from_slice(&read(&folder.join("meta.json"))?)?;
        let entries: Vec<ObjectEntry> = serde_json::from_slice(&read(&folder.join("objects.json"))?)?;
        let mut objects = Vec::new();
        for entry in entries {
            let bytes = match &entry.file {
                Some(None) => Vec::new(),
                Some(Some(file)) => read(&folder.join(file))?,
                None => read(&folder.join("objects").join(&entry.key))?,
            };
            if bytes.len() as u64 != entry.size {
                bail!(
                    "object {} has {} bytes instead of {}",
                    entry.key,
                    bytes.len(),
                    entry.size
                );
            }
            objects.push(GoldenObject {
                key: entry.key,
                bytes,
                content_encoding: entry.content_encoding,
                last_modified: entry.last_modified,
            });
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let provider = meta["provider"]
            .as_str()
            .context("meta.json has no provider")?
            .to_string();
        let connector = properties(&String::from_utf8(read(&folder.join("connector.properties"))?)?);
        Ok(Self {
            name,
            folder: folder.to_path_buf(),
            provider,
            objects,
            meta,
            connector,
        })
    }

    /// All sets in a folder, in the order of their names.
    pub fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut folders: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        folders.retain(|folder| folder.join("meta.json").is_file());
        folders.sort();
        folders.iter().map(|folder| Self::load(folder)).collect()
    }

    /// A set of the project's own `fixtures/goldens/`.
    pub fn fixture(name: &str) -> Result<Self> {
        Self::load(&fixtures_folder().join(name))
    }

    /// What was in Kafka: every record of every topic of the set, aborted ones too, by topic, partition and offset.
    pub fn truth(&self) -> Result<Vec<TruthRecord>> {
        let own = self.folder.join("truth.jsonl");
        let (path, packed) = match self.meta["truth"].as_str() {
            Some(shared) => (self.folder.join("../../truth").join(shared), true),
            None => (own, false),
        };
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let reader: Box<dyn Read> = match packed {
            true => Box::new(flate2::read::MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut records = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(reader).lines()) {
            let record = line
                .map_err(anyhow::Error::from)
                .and_then(|line| truth_record(&line));
            let record = record.with_context(|| format!("{}, line {number}", path.display()))?;
            if self.holds(&record) {
                records.push(record);
            }
        }
        records.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
        Ok(records)
    }

    /// True where a set that was cut down to `windows` of source offsets still covers the record.
    fn holds(&self, record: &TruthRecord) -> bool {
        let Some(windows) = self.meta.get("windows") else {
            return true;
        };
        let window = &windows[&record.topic][record.partition.to_string()];
        let (from, to) = (window[0].as_i64().unwrap_or(0), window[1].as_i64().unwrap_or(0));
        (from..to).contains(&record.offset)
    }

    /// The topics of the set with their numbers of partitions.
    pub fn topics(&self) -> Vec<(String, i32)> {
        let topics = self.meta["topics"].as_object();
        topics
            .into_iter()
            .flatten()
            .map(|(topic, about)| (topic.clone(), about["partitions"].as_i64().unwrap_or(1) as i32))
            .collect()
    }

    /// True where the record belongs to a transaction that was aborted.
    pub fn aborted(&self, record: &TruthRecord) -> bool {
        let partitions = self.meta["topics"][&record.topic]["partition_info"].as_array();
        partitions.into_iter().flatten().any(|about| {
            about["partition"].as_i64() == Some(i64::from(record.partition))
                && about["aborted_offsets"].as_array().is_some_and(|offsets| {
                    offsets
                        .iter()
                        .any(|offset| offset.as_i64() == Some(record.offset))
                })
        })
    }

    /// The configuration file that belongs to the set, as a path.
    pub fn connector_file(&self) -> PathBuf {
        self.folder.join("connector.properties")
    }

    /// The configurations of all runs, later ones behind earlier ones.
    pub fn connector_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "properties")
            {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes the objects under `folder`, with their times of writing. Keys that end in `/` are left out: a plain
    /// folder cannot hold them.
    ///
    /// # Errors
    ///
    /// Where a key is no relative path.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        for object in self.objects.iter().filter(|object| !object.key.ends_with('/')) {
            let relative = Path::new(&object.key);
            if relative
                .components()
                .any(|part| !matches!(part, Component::Normal(_)))
                || object.key.contains("//")
            {
                bail!("the key {:?} cannot be a path", object.key);
            }
            let path = folder.join(relative);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, &object.bytes).with_context(|| format!("cannot write {}", path.display()))?;
            let time: jiff::Timestamp = object.last_modified.parse().context("last_modified")?;
            File::options()
                .write(true)
                .open(&path)?
                .set_modified(time.into())?;
        }
        Ok(())
    }
}

/// The folder of the project's own golden sets.
pub fn fixtures_folder() -> PathBuf {
    workspace_folder().join("fixtures").join("goldens")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn truth_record(line: &str) -> Result<TruthRecord> {
    let line: TruthLine = serde_json::from_str(line)?;
    let bytes = |text: Option<String>| -> Result<Option<Vec<u8>>> {
        text.map(|text| Ok(base64::engine::general_purpose::STANDARD.decode(text)?))
            .transpose()
    };
    Ok(TruthRecord {
        topic: line.topic,
        partition: line.partition,
        offset: line.offset,
        timestamp: line.timestamp,
        timestamp_type: match line.timestamp_type.as_str() {
            "CreateTime" => TimestampType::CreateTime,
            "LogAppendTime" => TimestampType::LogAppendTime,
            other => bail!("unknown timestamp type {other}"),
        },
        key: bytes(line.key_b64)?,
        value: bytes(line.value_b64)?,
        headers: line
            .headers
            .into_iter()
            .map(|(name, value)| Ok((name, bytes(value)?)))
            .collect::<Result<_>>()?,
    })
}

/// The plain subset of Java's property files that the sets use: `key=value` lines and comments.
fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_string(), value.trim_start().to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_loads_and_holds_the_truth_that_it_declares() {
        let sets = GoldenSet::load_all(&fixtures_folder()).expect("fixtures");
        assert!(sets.len() > 90, "{} sets", sets.len());
        for set in &sets {
            let truth = set.truth().expect("truth");
            assert_eq!(
                Some(truth.len() as u64),
                set.meta["truth_records"].as_u64(),
                "{}",
                set.name
            );
            assert_eq!(
                Some(set.objects.len() as u64),
                set.meta["objects"].as_u64(),
                "{}",
                set.name
            );
            let topics = set.topics();
            for record in &truth {
                let topic = topics.iter().find(|(topic, _)| *topic == record.topic);
                let (_, partitions) = topic.expect("every record's topic is declared");
                assert!((0..*partitions).contains(&record.partition), "{}", set.name);
            }
            assert!(set.connector.contains_key("connector.class"), "{}", set.name);
        }
    }

    #[test]
    fn truth_keeps_null_empty_and_duplicate_headers_apart() {
        let line = r#"{"topic":"t","partition":1,"offset":5,"timestamp":-1,"timestamp_type":"LogAppendTime",
            "key_b64":null,"value_b64":"","headers":[["h",null],["h","AA=="]]}"#;
        let record = truth_record(line).expect("a line");
        assert_eq!((record.key, record.value), (None, Some(Vec::new())));
        assert_eq!(
            record.headers,
            [("h".to_string(), None), ("h".to_string(), Some(vec![0]))]
        );
        assert_eq!(record.timestamp_type, TimestampType::LogAppendTime);
    }

    #[test]
    fn a_set_is_written_to_a_folder_with_its_times() {
        let set = GoldenSet::fixture("gcs-csv-clutter").expect("a fixture");
        let folder = tempfile::tempdir().expect("a folder");
        set.write_to(folder.path()).expect("write");
        for object in set.objects.iter().filter(|object| !object.key.ends_with('/')) {
            let path = folder.path().join(&object.key);
            assert_eq!(fs::read(&path).expect("an object"), object.bytes);
            let modified = fs::metadata(&path).expect("metadata").modified().expect("a time");
            let modified = jiff::Timestamp::try_from(modified).expect("a time");
            assert_eq!(modified, object.last_modified.parse().expect("a time"));
        }
    }
}
