//! Objects that are files: read by the threads that decode them, with the same outcome as from a bucket.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use kafka_restore_backup::storage::Store;
use kafka_restore_backup::storage::local::LocalStore;
use kafka_restore_backup::storage::memory::MemoryStore;
use kafka_restore_backup::stream::{OnBadRecord, OnConflict};

use crate::support::{Backup, csv, options, record, records};

/// The backup's objects as the files of a folder.
async fn files(backup: &Backup) -> (tempfile::TempDir, Arc<LocalStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(folder.path()));
    for entry in backup.objects().iter() {
        let body = backup.store.get(&entry.key, None, None).await.unwrap();
        let chunks: Vec<_> = futures::TryStreamExt::try_collect(body.chunks).await.unwrap();
        store.put(&entry.key, chunks.concat().into()).await.unwrap();
    }
    (folder, store)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn files_give_what_objects_of_a_bucket_give() {
    let mut backup = Backup::default();
    // Longer than several chunks of a file and several blocks, with a neighbour that overlaps, and small and empty ones.
    backup.add(0, "", csv(&records(0..60_000)), 0);
    backup.add(30_000, "", gzip(&csv(&records(30_000..90_000))), 0);
    backup.add(90_000, "", Vec::new(), 0);
    backup.add(90_001, "", csv(&records([90_001])), 0);
    backup.add(90_002, "", b"what is this,1,".to_vec(), 0);
    backup.add(90_003, "", csv(&[record(90_003, 0), record(90_003, 0)]), 0);
    let mut wanted = options();
    wanted.block_bytes = 100 << 10;
    wanted.on_bad_record = OnBadRecord::Skip;
    wanted.on_conflict = OnConflict::Newest;
    let bucket = backup.read(wanted.clone()).await.complete();
    let (_folder, store) = files(&backup).await;
    let folder = backup.read_through(store, wanted, 8 << 20).await.complete();
    assert_eq!(folder.records, bucket.records);
    let (one, other) = (&folder.statistics, &bucket.statistics);
    assert_eq!(folder.records.len(), 90_002);
    assert_eq!((one.duplicates, one.rejected), (other.duplicates, other.rejected));
    assert_eq!(
        (one.stored_bytes, one.objects_done),
        (other.stored_bytes, other.objects_done)
    );
    assert_eq!(one.rejected, 1);
}

#[tokio::test]
async fn a_file_replaced_before_it_is_opened_is_read_as_it_is_now_and_a_missing_one_is_named() {
    let mut backup = Backup::default();
    let first = backup.add(0, "", csv(&records(0..10)), 0);
    let second = backup.add(10, "", csv(&records(10..20)), 0);
    let (_folder, store) = files(&backup).await;
    store.put(&first, csv(&records(0..9)).into()).await.unwrap();
    store.delete(&second).await.unwrap();
    let outcome = backup.read_through(store, options(), 8 << 20).await;
    assert_eq!(outcome.offsets(), Vec::from_iter(0..9));
    assert!(outcome.statistics.replaced_objects > 0);
    let error = outcome.error.unwrap();
    assert_eq!(error.object, second);
    assert!(error.to_string().contains("is gone now"), "{error}");
}

#[test]
fn only_a_folder_has_files() {
    assert!(MemoryStore::new().folder().is_none());
    assert!(LocalStore::new("/").folder().is_some());
}
