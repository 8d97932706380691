//! OAUTHBEARER: tokens from a small endpoint, shown to real brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka::cluster::Cluster;
use kafka::config::ClientConfig;
use kafka::config::properties::Properties;
use kafka::error::KafkaError;
use testkit::broker::{Broker, KafkaVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::serve;

/// A token without signature, which brokers without further settings take.
fn token(seconds: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = format!("{{\"sub\":\"alice\",\"iat\":{now},\"exp\":{}}}", now + seconds);
    format!("{}.{}.", part("{\"alg\":\"none\"}".to_owned()), part(claims))
}

/// An HTTP server that gives this answer to everybody; counts, and keeps what it was asked.
async fn endpoint(
    status: &'static str,
    body: String,
) -> (String, Arc<AtomicUsize>, Arc<std::sync::Mutex<String>>) {
    let (count, asked) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(std::sync::Mutex::new(String::new())),
    );
    let (counter, keeper) = (count.clone(), asked.clone());
    let address = serve(move |mut stream| {
        let (counter, keeper, body) = (counter.clone(), keeper.clone(), body.clone());
        async move {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"end") {
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
            }
            counter.fetch_add(1, Ordering::SeqCst);
            *keeper.lock().unwrap() = String::from_utf8(request).unwrap();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    (format!("http://{address}/token"), count, asked)
}

async fn connect(broker: &Broker, endpoint: &str) -> Result<Cluster, KafkaError> {
    let properties: Properties = [
        ("bootstrap.servers", broker.bootstrap().as_str()),
        ("security.protocol", broker.security_protocol()),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", endpoint),
        (
            "sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"the client\" \
             clientSecret=\"geheim\" scope=\"a b end\";",
        ),
    ]
    .into_iter()
    .collect();
    let cluster = Cluster::connect(ClientConfig::from_properties(&properties)?.config).await?;
    cluster.describe_cluster().await?;
    Ok(cluster)
}

#[tokio::test]
async fn tokens_are_asked_for_shown_kept_and_refused() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .sasl_user("alice", "x")
        .start()
        .unwrap();
    let (url, count, asked) = endpoint(
        "200 OK",
        format!(
            "{{\"access_token\":\"{}\",\"token_type\":\"Bearer\",\"expires_in\":300}}",
            token(300)
        ),
    )
    .await;
    let cluster = connect(&broker, &url).await.unwrap();
    cluster.dedicated_connection(broker.broker_id(0)).await.unwrap();
    assert_eq!(
        count.load(Ordering::SeqCst),
        1,
        "one token serves all connections"
    );
    let request = asked.lock().unwrap().clone();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(
        request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b+end"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Basic dGhlIGNsaWVudDpnZWhlaW0=\r\n"),
        "{request}"
    );

    let refused = |status, body: &str| {
        let (broker, body) = (&broker, body.to_owned());
        async move {
            let (url, _, _) = endpoint(status, body).await;
            let error = connect(broker, &url).await.unwrap_err();
            assert!(!error.to_string().contains("geheim"), "{error}");
            error
        }
    };
    let error = refused(
        "401 Unauthorized",
        "{\"error\":\"invalid_client\",\"error_description\":\"who?\"}",
    )
    .await;
    assert!(matches!(error, KafkaError::Authentication { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("401 Unauthorized: invalid_client who?"),
        "{error}"
    );
    let error = refused("503 Service Unavailable", "").await;
    assert!(error.is_retriable(), "{error:?}");
    for body in [
        "",
        "{}",
        "{\"access_token\":\"geheim",
        "{\"access_token\":\"a\\u0001b\"}",
    ] {
        let error = refused("200 OK", body).await;
        assert!(
            matches!(error, KafkaError::Authentication { .. }),
            "{body}: {error:?}"
        );
    }
    // Expired, and no token at all: the broker says no in its own way.
    let expired = format!("{{\"access_token\":\"{}\"}}", token(0));
    for body in [expired.as_str(), "{\"access_token\":\"nonsense\"}"] {
        let error = refused("200 OK", body).await;
        assert!(matches!(error, KafkaError::Authentication { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn sessions_are_renewed_with_new_tokens() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .sasl_user("alice", "x")
        .start()
        .unwrap();
    // The endpoint makes its answer once, so that this token runs out on the broker's side and a connection that is not
    // renewed in time would be cut; a new cluster afterwards shows that the broker does refuse it then.
    let (url, count, _) = endpoint(
        "200 OK",
        format!("{{\"access_token\":\"{}\",\"expires_in\":1}}", token(6)),
    )
    .await;
    let cluster = connect(&broker, &url).await.unwrap();
    let connection = cluster.dedicated_connection(broker.broker_id(0)).await.unwrap();
    let first = count.load(Ordering::SeqCst);
    while count.load(Ordering::SeqCst) <= first + 1 {
        let request = kafka_protocol::messages::MetadataRequest::default();
        // Ends with an error when the token is refused at last.
        if connection.call(&request).await.is_err() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(count.load(Ordering::SeqCst) > first, "no new token was asked for");
}
