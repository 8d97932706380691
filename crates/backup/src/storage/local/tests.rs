//! A folder as a store: prefixes, links, odd names, changes under the reader.

use futures::TryStreamExt;

use super::*;

async fn keys(store: &LocalStore, prefix: &str) -> Result<Vec<String>, StorageError> {
    let mut keys: Vec<String> = store.list(prefix).map_ok(|meta| meta.key).try_collect().await?;
    keys.sort();
    Ok(keys)
}

fn folder(files: &[&str]) -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let store = LocalStore::new(folder.path());
    (folder, store)
}

#[tokio::test]
async fn prefixes_cross_folders() {
    let (_folder, store) = folder(&["a", "ab", "abc/d", "abc/e/f", "b/abc"]);
    assert_eq!(
        keys(&store, "").await.unwrap(),
        ["a", "ab", "abc/d", "abc/e/f", "b/abc"]
    );
    assert_eq!(keys(&store, "ab").await.unwrap(), ["ab", "abc/d", "abc/e/f"]);
    assert_eq!(keys(&store, "abc/").await.unwrap(), ["abc/d", "abc/e/f"]);
    assert_eq!(keys(&store, "abc/e").await.unwrap(), ["abc/e/f"]);
    for none in ["abc/e/f/g", "x/y", "/a", "abc//e", "../", "b/abc/"] {
        assert_eq!(keys(&store, none).await.unwrap(), Vec::<String>::new(), "{none}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_no_empty_folder() {
    let (folder, _) = folder(&["file"]);
    for path in ["missing", "file"] {
        let store = LocalStore::new(folder.path().join(path));
        for prefix in ["", "a/b", "/a"] {
            let error = keys(&store, prefix).await.unwrap_err();
            assert_eq!(
                error.kind,
                StorageErrorKind::NoSuchBucket,
                "{path} {prefix}: {error}"
            );
        }
        assert_eq!(
            store.get("k", None, None).await.unwrap_err().kind,
            StorageErrorKind::NoSuchBucket
        );
        let error = store.put("k", Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::NoSuchBucket);
    }
}

#[tokio::test]
async fn unfinished_writes_are_not_listed_and_folders_are_no_objects() {
    let (folder, store) = folder(&["a/.kafka-restore-1.part", "a/b"]);
    assert_eq!(keys(&store, "").await.unwrap(), ["a/b"]);
    assert_eq!(
        store.get("a", None, None).await.unwrap_err().kind,
        StorageErrorKind::NotFound
    );
    assert!(store.put("a", Bytes::from_static(b"x")).await.is_err());
    store.put("a/b", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let (folder, store) = folder(&["real/file"]);
    symlink(folder.path(), folder.path().join("real/up")).unwrap();
    symlink("..", folder.path().join("real/parent")).unwrap();
    symlink("real", folder.path().join("other")).unwrap();
    symlink("file", folder.path().join("real/again")).unwrap();
    assert_eq!(
        keys(&store, "").await.unwrap(),
        ["other/again", "other/file", "real/again", "real/file"]
    );
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    let error = keys(&store, "").await.unwrap_err();
    assert!(
        error.to_string().contains("/dangling: ") && error.to_string().contains("leads nowhere"),
        "{error}"
    );
    assert_eq!(keys(&store, "real").await.unwrap().len(), 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn names_that_are_not_text_are_seen() {
    use std::os::unix::ffi::OsStrExt;
    let (folder, store) = folder(&[]);
    fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"t-0-\xff")), "x").unwrap();
    assert_eq!(keys(&store, "").await.unwrap(), ["t-0-\\xFF"]);
    assert_eq!(
        store.get("t-0-\\xFF", None, None).await.unwrap_err().kind,
        StorageErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_file_that_grows_or_shrinks_under_the_reader_is_an_error() {
    let (folder, store) = folder(&[]);
    let path = folder.path().join("k");
    // More than one chunk, so that something is still to be read after the change.
    for change in [b"longer".repeat(1_000_000), b"short".to_vec()] {
        fs::write(&path, vec![7; 4 << 20]).unwrap();
        let mut body = store.get("k", None, None).await.unwrap();
        body.chunks.next().await.unwrap().unwrap();
        fs::write(&path, change).unwrap();
        let error = body
            .chunks
            .try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len()) })
            .await
            .unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Changed, "{error}");
    }
}

#[test]
fn an_open_file_stays_what_it_was_unless_it_is_written_to() {
    let (folder, store) = folder(&[]);
    let path = folder.path().join("k");
    let long = 3 * FILE_CHUNK as usize + 1;
    let rest = |mut file: OpenFile| {
        let mut read = 0;
        while !file.has_ended() {
            read += file.read()?.len();
        }
        assert!(file.read()?.is_empty());
        Ok::<_, StorageError>(read)
    };

    fs::write(&path, vec![7; long]).unwrap();
    let mut file = store.open("k").unwrap();
    assert_eq!(file.read().unwrap().len(), FILE_CHUNK as usize);
    fs::rename(&path, folder.path().join("before")).unwrap();
    fs::write(&path, b"another").unwrap();
    assert_eq!(rest(file).unwrap(), long - FILE_CHUNK as usize);
    assert_eq!(rest(store.open("k").unwrap()).unwrap(), b"another".len());

    for change in [vec![8; long + 1], b"short".to_vec()] {
        fs::write(&path, vec![7; long]).unwrap();
        let mut file = store.open("k").unwrap();
        file.read().unwrap();
        fs::write(&path, change).unwrap();
        let error = rest(file).unwrap_err();
        // Not one that means: read it again from its start.
        assert_eq!(error.kind, StorageErrorKind::Other);
        assert!(
            error.to_string().contains("written to while it was being read"),
            "{error}"
        );
    }
    assert_eq!(
        store.open("missing").unwrap_err().kind,
        StorageErrorKind::NotFound
    );
}
