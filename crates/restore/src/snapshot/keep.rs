//! Where snapshots are kept: a file, or `_kafka-restore/snapshots/<UTC time>.json` in the bucket, beside the backup: under
//! its prefix, since another prefix of the same bucket may be another cluster's.
//!
//! Times in names sort like texts, so the newest one before a moment is found from the listing alone.

use std::path::Path;
use std::sync::Arc;

use backup::storage::reader::ObjectReader;
use backup::storage::{StorageError, Store};
use bytes::Bytes;
use futures::StreamExt;

use super::{Snapshot, SnapshotError};
use crate::file::write_whole;

/// What the keys of snapshots begin with, behind the prefix of the backup.
const FOLDER: &str = "_kafka-restore/snapshots/";

/// The place of the snapshots that belong to the backup whose objects begin with `prefix`. A prefix that does not end like
/// a folder's name is taken for one.
pub fn folder(prefix: &str) -> String {
    match prefix.is_empty() || prefix.ends_with('/') {
        true => format!("{prefix}{FOLDER}"),
        false => format!("{prefix}/{FOLDER}"),
    }
}

/// The largest snapshot that is read: no cluster fills this, and a wrong key must not fill the memory.
const MAX_BYTES: u64 = 1 << 30;

/// Why a snapshot could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The object storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is there and cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// There is none in the bucket.
    #[error("{location} has no snapshot under {folder}: `kafka-restore snapshot` takes one")]
    NoneThere {
        /// The bucket.
        location: String,
        /// The place of snapshots in it.
        folder: String,
    },
    /// It is far too large to be one.
    #[error("{key} has {bytes} bytes, which no snapshot has")]
    TooLarge {
        /// The object.
        key: String,
        /// Its size.
        bytes: u64,
    },
}

/// The key of a snapshot taken at a moment, without characters that parts of object names are split at.
fn key(folder: &str, taken: jiff::Timestamp) -> String {
    format!("{folder}{}.json", taken.strftime("%Y%m%dT%H%M%SZ"))
}

/// The moment in a key, in milliseconds since 1970.
fn moment(folder: &str, key: &str) -> Option<i64> {
    let text = key.strip_prefix(folder)?.strip_suffix(".json")?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_millisecond(),
    )
}

/// Writes a snapshot to a file, whole or not at all.
pub fn write_file(path: &Path, snapshot: &Snapshot) -> Result<(), KeepError> {
    write_whole(path, &snapshot.to_bytes()).map_err(|source| KeepError::File {
        path: path.display().to_string(),
        source,
    })
}

/// Reads a snapshot from a file.
pub fn read_file(path: &Path) -> Result<Snapshot, KeepError> {
    let place = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| KeepError::File {
        path: place.clone(),
        source,
    })?;
    Ok(Snapshot::from_bytes(&place, &bytes)?)
}

/// Puts a snapshot into a [`folder`] of the bucket, then deletes all but the newest `keep` ones there. Gives its key, and
/// those deleted.
pub async fn put(
    store: &dyn Store,
    folder: &str,
    snapshot: &Snapshot,
    keep: Option<usize>,
) -> Result<(String, Vec<String>), KeepError> {
    let taken = snapshot.taken.parse().unwrap_or_else(|_| jiff::Timestamp::now());
    let key = key(folder, taken);
    store.put(&key, Bytes::from(snapshot.to_bytes())).await?;
    let mut deleted = Vec::new();
    if let Some(keep) = keep {
        let there = list(store, folder).await?;
        let surplus = there.len().saturating_sub(keep.max(1));
        for (_, old) in there.into_iter().take(surplus) {
            store.delete(&old).await?;
            deleted.push(old);
        }
    }
    Ok((key, deleted))
}

/// Moments and keys of the snapshots in a [`folder`], oldest first. Anything else in the folder is left alone.
pub async fn list(store: &dyn Store, folder: &str) -> Result<Vec<(i64, String)>, KeepError> {
    let mut found = Vec::new();
    let mut listing = store.list(folder);
    while let Some(object) = listing.next().await {
        let object = object?;
        if let Some(moment) = moment(folder, &object.key) {
            found.push((moment, object.key));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The newest snapshot taken at or before `end` (milliseconds since 1970), or the oldest one where all are later; with
/// its place. `None` where the [`folder`] has none.
pub async fn newest_before(
    store: &Arc<dyn Store>,
    folder: &str,
    end: i64,
) -> Result<Option<(String, Snapshot)>, KeepError> {
    let found = list(store.as_ref(), folder).await?;
    let newest = found.iter().rev().find(|(moment, _)| *moment <= end);
    let Some((_, key)) = newest.or(found.first()) else {
        return Ok(None);
    };
    let place = format!("{}/{key}", store.location());
    let snapshot = Snapshot::from_bytes(&place, &read_object(store, key).await?)?;
    Ok(Some((place, snapshot)))
}

/// Reads a small object.
pub(crate) async fn read_object(store: &Arc<dyn Store>, key: &str) -> Result<Vec<u8>, KeepError> {
    let mut reader = ObjectReader::new(Arc::clone(store), key);
    let size = reader.open().await?.size;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        if size > MAX_BYTES || bytes.len() as u64 > MAX_BYTES {
            return Err(KeepError::TooLarge {
                key: key.to_owned(),
                bytes: size,
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use backup::storage::memory::MemoryStore;

    use super::*;
    use crate::snapshot::tests::small;

    #[test]
    fn each_prefix_has_a_folder() {
        assert_eq!(folder(""), FOLDER);
        assert_eq!(folder("kafka/"), "kafka/_kafka-restore/snapshots/");
        assert_eq!(folder("kafka"), folder("kafka/"));
    }

    #[test]
    fn keys_and_moments() {
        let taken: jiff::Timestamp = "2026-11-23T01:02:03.9Z".parse().unwrap();
        assert_eq!(
            key(FOLDER, taken),
            "_kafka-restore/snapshots/20261123T010203Z.json"
        );
        assert_eq!(moment(FOLDER, &key(FOLDER, taken)), Some(1_795_395_723_000));
        for other in [
            "_kafka-restore/snapshots/x.json",
            "_kafka-restore/snapshots/20261323T010203Z.json",
            "_kafka-restore/snapshots/20261123T010203Z.json.part",
            "orders-0-17",
        ] {
            assert_eq!(moment(FOLDER, other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_newest_before_the_end_is_found_and_old_ones_go() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        assert!(
            newest_before(&store, "b/_kafka-restore/snapshots/", i64::MAX)
                .await
                .unwrap()
                .is_none()
        );
        let folder = folder("b");
        let at = |hour: i64| jiff::Timestamp::from_second(1_795_392_000 + hour * 3600).unwrap();
        for hour in 0..5 {
            let snapshot = Snapshot {
                taken: at(hour).to_string(),
                ..small()
            };
            put(store.as_ref(), &folder, &snapshot, None).await.unwrap();
        }
        store
            .put("b/_kafka-restore/snapshots/README", Bytes::from_static(b"hello"))
            .await
            .unwrap();
        let found = |end: i64| {
            let (store, folder) = (&store, folder.clone());
            async move { newest_before(store, &folder, end).await.unwrap().unwrap().1.taken }
        };
        assert_eq!(found(at(2).as_millisecond()).await, at(2).to_string());
        assert_eq!(found(at(3).as_millisecond() - 1).await, at(2).to_string());
        assert_eq!(found(i64::MAX).await, at(4).to_string());
        assert_eq!(found(0).await, at(0).to_string());
        let newest = Snapshot {
            taken: at(5).to_string(),
            ..small()
        };
        let (key, deleted) = put(store.as_ref(), &folder, &newest, Some(2)).await.unwrap();
        assert_eq!(deleted.len(), 4);
        let left: Vec<_> = list(store.as_ref(), &folder)
            .await
            .unwrap()
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        assert_eq!(left.len(), 2);
        assert_eq!(left[1], key);
    }
}
