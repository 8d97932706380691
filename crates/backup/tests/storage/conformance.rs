//! What every store must do, whatever it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use kafka_restore_backup::storage::reader::ObjectReader;
use kafka_restore_backup::storage::{ObjectMeta, StorageErrorKind, Store};

/// Keys that every store can hold, a folder too.
const PATHS: &[&str] = &[
    "plain",
    "ab",
    "abc",
    "abcd/e",
    "a/b",
    "with blank",
    " blanks at both ends ",
    "two  blanks",
    "per%cent",
    "%2F",
    "a%2Fb",
    "plus+sign",
    "ünïcödé/日本語/🎈",
    "quotes\"'<>&amp;",
    "question?x=y&z#fragment",
    "semi;colon,comma=equals",
    "a:b@c$d!e*f(g)[h]{i}|j^k`l~m",
    "dots../.../..x",
    "topic+0+0000000042.json.gz",
];

/// Keys that no file can have.
const BEYOND_PATHS: &[&str] = &[
    "a//b",
    "a///b",
    "/leading",
    "//two leading",
    "/",
    "trailing/",
    "trailing//",
    "prefix//topic-0-7.gz",
];

/// What a store can do.
pub(crate) struct Abilities {
    pub(crate) keys_beyond_paths: bool,
    /// Bytes of the long object.
    pub(crate) long_object: u64,
}

/// Runs everything on an empty store.
pub(crate) async fn check(store: Arc<dyn Store>, abilities: &Abilities) {
    an_empty_store(&*store).await;
    keys(&*store, abilities).await;
    prefixes(&*store).await;
    ranges(&*store).await;
    versions(&store).await;
    pages(&*store).await;
    long_object(&store, abilities.long_object).await;
    assert!(list(&*store, "").await.len() > 1_000);
}

/// Checks a bucket or folder that does not exist.
pub(crate) async fn check_missing_bucket(store: &dyn Store) {
    let error = store.list("p").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NoSuchBucket, "{error}");
    assert!(!error.retryable);
    assert!(
        error
            .to_string()
            .starts_with(&format!("could not list {}/p: ", store.location())),
        "{error}"
    );
    let error = store.get("key", None, None).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NoSuchBucket, "{error}");
    assert!(store.put("key", Bytes::new()).await.is_err());
}

async fn list(store: &dyn Store, prefix: &str) -> Vec<ObjectMeta> {
    store.list(prefix).try_collect().await.unwrap()
}

async fn keys_of(store: &dyn Store, prefix: &str) -> BTreeSet<String> {
    let listed = list(store, prefix).await;
    let mut in_any_order: Vec<ObjectMeta> = store.list_in_any_order(prefix).try_collect().await.unwrap();
    let mut in_order = listed.clone();
    in_order.sort_by(|a, b| a.key.cmp(&b.key));
    in_any_order.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(in_any_order, in_order, "{prefix:?}");
    let keys: BTreeSet<String> = listed.iter().map(|meta| meta.key.clone()).collect();
    assert_eq!(keys.len(), listed.len(), "a key is listed twice under {prefix:?}");
    keys
}

async fn read(store: &dyn Store, key: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let body = store.get(key, range, None).await.unwrap();
    let length = body.range.end - body.range.start;
    let bytes = body
        .chunks
        .try_fold(Vec::new(), |mut bytes, chunk| async move {
            bytes.extend_from_slice(&chunk);
            Ok(bytes)
        })
        .await
        .unwrap();
    assert_eq!(bytes.len() as u64, length, "{key:?}");
    bytes
}

async fn an_empty_store(store: &dyn Store) {
    assert_eq!(list(store, "").await, []);
    assert_eq!(list(store, "any").await, []);
    let error = store.get("missing", None, None).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NotFound, "{error}");
    assert!(!error.retryable);
    assert!(
        error
            .to_string()
            .starts_with(&format!("could not read {}/missing: ", store.location())),
        "{error}"
    );
    store.delete("missing").await.unwrap();
}

async fn keys(store: &dyn Store, abilities: &Abilities) {
    let beyond = if abilities.keys_beyond_paths {
        BEYOND_PATHS
    } else {
        &[]
    };
    let keys: Vec<&str> = PATHS.iter().chain(beyond).copied().collect();
    let before = jiff::Timestamp::now().as_millisecond();
    for key in &keys {
        store
            .put(key, Bytes::from(format!("contents of {key}")))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    }
    let listed = list(store, "").await;
    let found: BTreeSet<&str> = listed.iter().map(|meta| meta.key.as_str()).collect();
    assert_eq!(found, keys.iter().copied().collect::<BTreeSet<_>>());
    for meta in listed {
        let contents = format!("contents of {}", meta.key);
        assert_eq!(read(store, &meta.key, None).await, contents.as_bytes());
        assert_eq!(meta.size, contents.len() as u64, "{}", meta.key);
        let age = meta.last_modified - before;
        assert!((-2_000..600_000).contains(&age), "{} is {age} ms old", meta.key);
        let answered = store.get(&meta.key, None, None).await.unwrap().meta;
        assert_eq!((&answered.key, answered.size), (&meta.key, meta.size));
        assert_eq!(
            answered.last_modified / 1_000,
            meta.last_modified / 1_000,
            "{}",
            meta.key
        );
        assert_eq!(answered.version, meta.version, "{}", meta.key);
        assert!(answered.version.is_some());
    }
    if !abilities.keys_beyond_paths {
        for key in BEYOND_PATHS.iter().chain(&["a/../b", ".", "./a"]) {
            let error = store.get(key, None, None).await.unwrap_err();
            assert_eq!(error.kind, StorageErrorKind::NotFound, "{key}: {error}");
            assert!(store.put(key, Bytes::new()).await.is_err(), "{key}");
        }
    }
    for key in keys.iter().skip(5) {
        assert_eq!(
            keys_of(store, key).await.len(),
            keys.iter().filter(|other| other.starts_with(key)).count(),
            "{key}"
        );
    }
    for key in beyond.iter().chain(&["per%cent", "plus+sign"]) {
        store.delete(key).await.unwrap();
        assert_eq!(
            store.get(key, None, None).await.unwrap_err().kind,
            StorageErrorKind::NotFound,
            "{key}"
        );
    }
    assert_eq!(list(store, "").await.len(), PATHS.len() - 2);
}

async fn prefixes(store: &dyn Store) {
    let expected = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(keys_of(store, "ab").await, expected(&["ab", "abc", "abcd/e"]));
    assert_eq!(keys_of(store, "abc").await, expected(&["abc", "abcd/e"]));
    assert_eq!(keys_of(store, "abcd/").await, expected(&["abcd/e"]));
    assert_eq!(keys_of(store, "a/").await, expected(&["a/b"]));
    assert_eq!(keys_of(store, "ünï").await, expected(&["ünïcödé/日本語/🎈"]));
    for none in ["/", "b", "abc/", "abcd/e/", "AB", "a//"] {
        assert_eq!(keys_of(store, none).await, BTreeSet::new(), "{none}");
    }
}

async fn ranges(store: &dyn Store) {
    store.put("ranges/zero", Bytes::new()).await.unwrap();
    assert_eq!(read(store, "ranges/zero", None).await, b"");
    assert_eq!(read(store, "ranges/zero", Some(0..10)).await, b"");
    assert_eq!(list(store, "ranges/zero").await[0].size, 0);
    store
        .put("ranges/ten", Bytes::from_static(b"0123456789"))
        .await
        .unwrap();
    for (range, expected) in [
        (0..1, "0"),
        (0..10, "0123456789"),
        (3..7, "3456"),
        (9..10, "9"),
        (8..100, "89"),
        (8..u64::MAX, "89"),
        (5..5, ""),
        (10..11, ""),
        (1_000..2_000, ""),
    ] {
        assert_eq!(
            read(store, "ranges/ten", Some(range.clone())).await,
            expected.as_bytes(),
            "{range:?}"
        );
        assert_eq!(
            store
                .get("ranges/ten", Some(range), None)
                .await
                .unwrap()
                .meta
                .size,
            10
        );
    }
    let error = store.get("ranges/missing", Some(3..3), None).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NotFound, "{error}");
}

async fn versions(store: &Arc<dyn Store>) {
    let old = Bytes::from(vec![b'o'; 600_000]);
    store.put("version", old.clone()).await.unwrap();
    let first = store.get("version", None, None).await.unwrap().meta;
    for range in [None, Some(0..5), Some(7..7)] {
        let meta = store
            .get("version", range, first.version.as_ref())
            .await
            .unwrap()
            .meta;
        assert_eq!(meta.version, first.version);
    }
    let mut reader = ObjectReader::new(Arc::clone(store), "version").listed(first.size, first.last_modified);
    assert_eq!(reader.read_range(10..20).await.unwrap(), vec![b'o'; 10]);
    assert!(!reader.replaced_since_listing());
    store
        .put("version", Bytes::from(vec![b'n'; 600_000]))
        .await
        .unwrap();
    for range in [None, Some(0..5), Some(7..7)] {
        let error = store
            .get("version", range.clone(), first.version.as_ref())
            .await
            .unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Changed, "{range:?} {error}");
        assert!(!error.retryable);
    }
    for range in [0..5, 599_990..600_000] {
        assert_eq!(
            reader.read_range(range).await.unwrap_err().kind,
            StorageErrorKind::Changed
        );
    }
    reader.restart();
    let mut length = 0;
    while let Some(chunk) = reader.next_chunk().await.unwrap() {
        assert!(chunk.iter().all(|&byte| byte == b'n'));
        length += chunk.len();
    }
    assert_eq!(length, 600_000);
    assert_eq!(
        list(&**store, "version").await[0].version,
        reader.meta().unwrap().version
    );
}

/// Objects in so many partitions are listed, all of them and once, however many requests that takes.
pub(crate) async fn check_pages(store: &dyn Store, objects: usize, partitions: usize) {
    let keys: BTreeSet<String> = (0..objects)
        .map(|number| format!("pages/topic-{}-{}", number % partitions, number / partitions))
        .collect();
    futures::stream::iter(&keys)
        .for_each_concurrent(8, |key| async {
            store.put(key, Bytes::from_static(b"x")).await.unwrap()
        })
        .await;
    assert_eq!(keys_of(store, "pages/").await, keys);
}

async fn pages(store: &dyn Store) {
    check_pages(store, 1_001, 1).await;
    assert_eq!(keys_of(store, "pages/topic-0-99").await.len(), 11);
    // A listing that is not read to its end is simply dropped.
    let few: Vec<ObjectMeta> = store.list("pages/").take(3).try_collect().await.unwrap();
    assert_eq!(few.len(), 3);
}

const BLOCK: u64 = 1 << 16;

/// Block `number` of the long object.
fn block(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK as usize / 8)
}

async fn long_object(store: &Arc<dyn Store>, length: u64) {
    let blocks = length / BLOCK;
    let mut bytes = Vec::with_capacity(length as usize);
    (0..blocks).for_each(|number| bytes.extend_from_slice(&block(number)));
    store.put("long", bytes.into()).await.unwrap();
    let mut reader = ObjectReader::new(Arc::clone(store), "long");
    for number in [blocks - 1, 0, blocks / 2, blocks / 3, 1] {
        let start = number * BLOCK;
        assert!(
            reader.read_range(start..start + BLOCK).await.unwrap() == block(number),
            "block {number}"
        );
        let part = reader.read_range(start + 9..start + 17).await.unwrap();
        assert_eq!(part[..], block(number)[9..17], "block {number}");
    }
    assert_eq!(reader.position(), 0);
    let (mut buffer, mut number) = (Vec::new(), 0);
    while let Some(chunk) = reader.next_chunk().await.unwrap() {
        buffer.extend_from_slice(&chunk);
        while buffer.len() as u64 >= BLOCK {
            assert!(buffer[..BLOCK as usize] == block(number), "block {number}");
            buffer.drain(..BLOCK as usize);
            number += 1;
        }
    }
    assert_eq!((number, buffer.len()), (blocks, 0));
    store.delete("long").await.unwrap();
}
