//! Faults on real sockets: refusals, broken and stuck bodies, servers that ignore what they are asked.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kafka_restore_backup::storage::reader::ObjectReader;
use kafka_restore_backup::storage::url::{StorageConfig, StoreKind};
use kafka_restore_backup::storage::{RetryPolicy, StorageError, StorageErrorKind, Store, azure, gcs, s3};

use crate::canned::{CannedServer, Then, answer, object, object_headers, refusal};

fn hasty() -> RetryPolicy {
    RetryPolicy {
        attempts: 4,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_millis(5),
        patience: Duration::from_millis(300),
    }
}

fn open(kind: StoreKind, endpoint: &str) -> Arc<dyn Store> {
    open_with(kind, endpoint, hasty())
}

fn open_with(kind: StoreKind, endpoint: &str, policy: RetryPolicy) -> Arc<dyn Store> {
    let mut config = StorageConfig::new(kind);
    config.bucket = Some("bucket".to_owned());
    config.endpoint = Some(endpoint.to_owned());
    match kind {
        StoreKind::S3 => {
            config.access_key_id = Some("key-id".to_owned());
            config.secret_access_key = Some("HUSH".to_owned().into());
            s3::open(&config, policy)
        }
        StoreKind::Azure => {
            config.account = Some("account".to_owned());
            config.account_key = Some("SFVTSA==".to_owned().into());
            azure::open(&config, policy)
        }
        _ => {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), r#"{"disable_oauth":true}"#).unwrap();
            config.credentials_file = Some(file.path().to_path_buf());
            gcs::open(&config, policy)
        }
    }
    .unwrap()
}

const REMOTE: [StoreKind; 3] = [StoreKind::S3, StoreKind::Gcs, StoreKind::Azure];

async fn read_all(reader: &mut ObjectReader) -> Result<Vec<u8>, StorageError> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The first `length` bytes of a longer body.
fn begun(etag: &str, whole: &[u8], length: usize) -> Vec<u8> {
    answer("200 OK", &object_headers(etag), whole.len(), &whole[..length])
}

/// The bytes from `start` on.
fn rest(etag: &str, whole: &[u8], start: usize) -> Vec<u8> {
    let range = format!(
        "{}\nContent-Range: bytes {start}-{}/{}",
        object_headers(etag),
        whole.len() - 1,
        whole.len()
    );
    answer(
        "206 Partial Content",
        &range,
        whole.len() - start,
        &whole[start..],
    )
}

#[tokio::test]
async fn refusals_have_kinds_and_the_providers_words() {
    for kind in REMOTE {
        for (status, code, expected) in [
            (
                "403 Forbidden",
                "AccessDenied",
                StorageErrorKind::PermissionDenied,
            ),
            (
                "403 Forbidden",
                "AuthenticationFailed",
                StorageErrorKind::Unauthenticated,
            ),
            (
                "401 Unauthorized",
                "AuthenticationRequired",
                StorageErrorKind::Unauthenticated,
            ),
            ("404 Not Found", "NoSuchBucket", StorageErrorKind::NoSuchBucket),
            ("404 Not Found", "NoSuchKey", StorageErrorKind::NotFound),
            ("400 Bad Request", "WhoKnows", StorageErrorKind::Other),
        ] {
            let server = CannedServer::start(vec![(refusal(status, code), Then::Close)]).await;
            let store = open(kind, &server.endpoint);
            let error = store.get("key", None, None).await.unwrap_err();
            assert_eq!(
                (error.kind, error.retryable),
                (expected, false),
                "{kind:?} {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains(&format!("{code}: Words of the provider. ({status})")),
                "{text}"
            );
            assert!(!text.contains("HUSH"));
            assert_eq!((server.heads().len(), store.retries()), (1, 0), "{kind:?} {code}");
        }
    }
}

#[tokio::test]
async fn passing_refusals_are_tried_again_and_lasting_ones_end() {
    for kind in REMOTE {
        let slow = || (refusal("503 Slow Down", "SlowDown"), Then::Close);
        let cut = (answer("200 OK", "", 500, b"<ListBucketResult>"), Then::Close);
        let root = if kind == StoreKind::Azure {
            "EnumerationResults"
        } else {
            "ListBucketResult"
        };
        let page = format!("<{root}></{root}>");
        let page = (answer("200 OK", "", page.len(), page.as_bytes()), Then::Close);
        let server = CannedServer::start(vec![slow(), cut, slow(), page]).await;
        let store = open(kind, &server.endpoint);
        assert_eq!(store.list("p").try_collect::<Vec<_>>().await.unwrap(), []);
        assert_eq!((server.heads().len(), store.retries()), (4, 3));

        let server = CannedServer::start(vec![slow()]).await;
        let store = open(kind, &server.endpoint);
        let error = store.list("p").try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.retryable && error.message.contains("SlowDown"), "{error}");
        assert_eq!((server.heads().len(), store.retries()), (4, 3));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for endpoint in [endpoint.as_str(), "http://no-such-host.invalid"] {
        for kind in REMOTE {
            let store = open(kind, endpoint);
            let error = store.list("").try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(
                (error.kind, error.retryable),
                (StorageErrorKind::Unreachable, true),
                "{error}"
            );
            let words = error.message.contains("refused") || error.message.contains("dns");
            assert!(words, "{error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let server = CannedServer::start(vec![(Vec::new(), Then::Hang)]).await;
    let error = open(StoreKind::S3, &server.endpoint)
        .get("key", None, None)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.retryable),
        (StorageErrorKind::Unreachable, true)
    );
    assert!(error.message.contains("has sent nothing for 0.3 s"), "{error}");
    assert_eq!(server.heads().len(), 4);
}

#[tokio::test]
async fn broken_and_stuck_bodies_are_resumed_with_the_version() {
    let whole: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    for kind in REMOTE {
        for then in [Then::Close, Then::Hang] {
            let answers = vec![
                (begun("v1", &whole, 70_001), then),
                (rest("v1", &whole, 70_001)[..9_000].to_vec(), then),
                // What was left cannot be known: it is asked for again from the place that was reached.
                (refusal("503 Slow Down", "SlowDown"), Then::Close),
            ];
            let server = CannedServer::start(answers).await;
            let mut reader = ObjectReader::new(open(kind, &server.endpoint), "a//b").policy(hasty());
            let error = read_all(&mut reader).await.unwrap_err();
            assert!(error.retryable && error.message.contains("SlowDown"), "{error}");
            let reached = reader.position() as usize;
            assert!(reached > 70_001 && reached < 80_000, "{reached}");

            let server = CannedServer::start(vec![
                (begun("v1", &whole, 70_001), then),
                (rest("v1", &whole, 70_001), Then::Close),
            ])
            .await;
            let store = open(kind, &server.endpoint);
            let mut reader = ObjectReader::new(store, "a//b").policy(hasty());
            assert_eq!(read_all(&mut reader).await.unwrap(), whole);
            assert_eq!(reader.resumptions(), 1);
            let heads = server.heads();
            assert!(!heads[0].contains("if-match"), "{}", heads[0]);
            assert!(heads[1].contains("if-match: \"v1\"\r\n"), "{}", heads[1]);
            assert!(heads[1].contains("range: bytes=70001-399999\r\n"), "{}", heads[1]);
            let path = if kind == StoreKind::Gcs {
                "a%2f%2fb"
            } else {
                "/a//b"
            };
            assert!(heads[1].lines().next().unwrap().contains(path), "{}", heads[1]);
            let raw = heads[0].contains("accept-encoding: gzip\r\n");
            assert_eq!(raw, kind == StoreKind::Gcs, "{}", heads[0]);
        }
    }
}

#[tokio::test]
async fn a_resumed_object_of_another_version_is_refused_whatever_the_server_does() {
    let whole = vec![7; 1_000];
    let other_tag = rest("v2", &whole, 500);
    let unmoved_tag_but_size = rest("v1", &[7; 1_001], 500);
    for second in [
        refusal("412 Precondition Failed", "PreconditionFailed"),
        other_tag,
        unmoved_tag_but_size,
    ] {
        let server = CannedServer::start(vec![
            (begun("v1", &whole, 500), Then::Close),
            (second, Then::Close),
        ])
        .await;
        let mut reader = ObjectReader::new(open(StoreKind::S3, &server.endpoint), "key").policy(hasty());
        let error = read_all(&mut reader).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retryable),
            (StorageErrorKind::Changed, false),
            "{error}"
        );
        assert_eq!(reader.position(), 500);
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_understood() {
    let whole: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let server = CannedServer::start(vec![(object("v1", &whole), Then::Close)]).await;
    let store = open(StoreKind::S3, &server.endpoint);
    let body = store.get("key", Some(1_000..1_500), None).await.unwrap();
    assert_eq!((body.meta.size, body.range), (5_000, 1_000..1_500));
    let chunks: Vec<_> = body.chunks.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), whole[1_000..1_500]);
}

#[tokio::test]
async fn answers_that_cannot_be_right_are_refused() {
    let part = |range: &str| {
        let headers = format!("{}\nContent-Range: {range}", object_headers("v1"));
        answer("206 Partial Content", &headers, 10, &[1; 10])
    };
    for (reply, words) in [
        (part("bytes 5-14/100"), "the server gives 5..15"),
        (part("nonsense"), "without saying which"),
        (
            answer("206 Partial Content", &object_headers("v1"), 10, &[1; 10]),
            "without saying which",
        ),
        (answer("200 OK", "ETag: \"v1\"", 10, &[1; 10]), "no Last-Modified"),
    ] {
        let server = CannedServer::start(vec![(reply, Then::Close)]).await;
        let error = open(StoreKind::S3, &server.endpoint)
            .get("key", Some(0..10), None)
            .await
            .unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
    let again = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
    for (page, words) in [
        (
            "<html>Please sign in</html>",
            "the answer is no listing: it begins with <html>",
        ),
        ("<ListBucketResult>", "ends in the middle"),
        (again, "the same page comes again"),
    ] {
        let server = CannedServer::start(vec![(
            answer("200 OK", "", page.len(), page.as_bytes()),
            Then::Close,
        )])
        .await;
        let store = open(StoreKind::S3, &server.endpoint);
        let error = store.list("").try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

/// A page of a listing of `t-0-000000` to `t-0-000499`, from this number on.
fn page_from(begin: usize) -> (Vec<u8>, Then) {
    let mut body = "<ListBucketResult>".to_owned();
    let end = (begin + 10).min(500);
    for number in begin..end {
        body.push_str(&format!(
            "<Contents><Key>t-0-{number:06}</Key><LastModified>2026-11-22T10:00:00Z</LastModified>\
             <Size>1</Size></Contents>"
        ));
    }
    if end < 500 {
        body.push_str(&format!("<NextContinuationToken>{end}</NextContinuationToken>"));
    }
    body.push_str("</ListBucketResult>");
    (answer("200 OK", "", body.len(), body.as_bytes()), Then::Close)
}

fn parameter<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let query = head.split(['?', ' ']).nth(2)?;
    query
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn asked_page(head: &str) -> (Vec<u8>, Then) {
    let token = parameter(head, "continuation-token").map(|token| token.parse().unwrap());
    let after = parameter(head, "start-after").map(|after| {
        (0..500)
            .filter(|number| *format!("t-0-{number:06}") <= *after)
            .count()
    });
    page_from(token.or(after).unwrap_or(0))
}

#[tokio::test]
async fn a_long_listing_is_split_and_survives_refusals() {
    let refused = std::sync::atomic::AtomicU32::new(0);
    let server = CannedServer::answering(move |head| {
        // Every third request is refused.
        let number = refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match number % 3 {
            2 => (refusal("503 Slow Down", "SlowDown"), Then::Close),
            _ => asked_page(head),
        }
    })
    .await;
    let policy = RetryPolicy {
        attempts: 30,
        ..hasty()
    };
    let store = open_with(StoreKind::S3, &server.endpoint, policy);
    let mut listed: Vec<_> = store.list_in_any_order("t").try_collect().await.unwrap();
    listed.sort_by(|a, b| a.key.cmp(&b.key));
    assert!(listed == store.list("t").try_collect::<Vec<_>>().await.unwrap());
    assert_eq!(listed.len(), 500);
    let heads = server.heads();
    let behind = |head: &String| parameter(head, "start-after").is_some();
    assert!(!heads[..4].iter().any(behind) && heads.iter().filter(|head| behind(head)).count() > 4);
}

#[tokio::test]
async fn a_store_that_cannot_list_behind_a_key_is_found_out() {
    for (others, words) in [
        (page_from(0), "is listed behind"),
        (page_from(500), "is not listed where it should be"),
        (
            (refusal("501 Not Implemented", "NotImplemented"), Then::Close),
            "NotImplemented",
        ),
    ] {
        let server = CannedServer::answering(move |head| match parameter(head, "start-after") {
            Some(_) => others.clone(),
            None => asked_page(head),
        })
        .await;
        let store = open(StoreKind::S3, &server.endpoint);
        let listed: Vec<_> = store.list_in_any_order("t").collect().await;
        let error = listed.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Unordered, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert_eq!(store.list("t").try_collect::<Vec<_>>().await.unwrap().len(), 500);
    }
}

#[tokio::test]
async fn azure_is_listed_one_page_after_the_other() {
    let page = |text: &str| (answer("200 OK", "", text.len(), text.as_bytes()), Then::Close);
    let server = CannedServer::start(vec![
        page("<EnumerationResults><NextMarker>m</NextMarker></EnumerationResults>"),
        page("<EnumerationResults></EnumerationResults>"),
    ])
    .await;
    let store = open(StoreKind::Azure, &server.endpoint);
    let listed: Vec<_> = store.list_in_any_order("t").try_collect().await.unwrap();
    assert_eq!((listed.len(), server.heads().len()), (0, 2));
}

#[tokio::test]
async fn keys_that_urls_would_change_are_refused_before_anything_is_sent() {
    let server = CannedServer::start(vec![(object("v1", b"x"), Then::Close)]).await;
    for kind in REMOTE {
        for key in ["..", "a/../b", "a/./b", "."] {
            let error = open(kind, &server.endpoint)
                .get(key, None, None)
                .await
                .unwrap_err();
            assert!(error.message.contains("segment . or .."), "{error}");
        }
    }
    assert_eq!(server.heads(), Vec::<String>::new());
}

#[cfg(feature = "google-cloud-auth")]
#[tokio::test]
async fn an_external_account_exchanges_its_token_for_googles() {
    let token =
        br#"{"access_token":"federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token",
        "token_type":"Bearer","expires_in":3600}"#;
    let exchange = CannedServer::start(vec![(
        answer("200 OK", "Content-Type: application/json", token.len(), token),
        Then::Close,
    )])
    .await;
    let server = CannedServer::start(vec![(object("v1", b"x"), Then::Close)]).await;
    let folder = tempfile::tempdir().unwrap();
    let subject = folder.path().join("subject");
    std::fs::write(&subject, "a workload's own token").unwrap();
    let file = folder.path().join("credentials.json");
    let text = serde_json::json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/v1/token", exchange.endpoint),
        "credential_source": {"file": subject},
    });
    std::fs::write(&file, text.to_string()).unwrap();
    let mut config = StorageConfig::new(StoreKind::Gcs);
    config.bucket = Some("bucket".to_owned());
    config.endpoint = Some(server.endpoint.clone());
    config.credentials_file = Some(file);
    let store = gcs::open(&config, hasty()).unwrap();
    for _ in 0..2 {
        store.get("key", None, None).await.unwrap();
    }
    assert_eq!(exchange.heads().len(), 1, "a token is kept");
    let heads = server.heads();
    assert!(
        heads
            .iter()
            .all(|head| head.contains("authorization: bearer federated\r\n")),
        "{heads:?}"
    );

    std::fs::remove_file(subject).unwrap();
    let error = gcs::open(&config, hasty())
        .unwrap()
        .get("key", None, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error}");
}
