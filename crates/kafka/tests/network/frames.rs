//! Frames: order, cuts, lies about lengths, silence.

use std::time::Duration;

use bytes::Bytes;
use kafka::connection::{Connection, MAX_RESPONSE_BYTES};
use kafka::error::KafkaError;
use kafka_protocol::messages::{ApiKey, MetadataRequest};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fake::{answer, config, connector, greet, listen_on, offer, read_request, serve};

const LONG: Duration = Duration::from_secs(60);

/// Metadata 1: the last version whose answer has the oldest header.
const API: i16 = ApiKey::Metadata as i16;
const VERSION: i16 = 1;

async fn open(address: &kafka::config::Address) -> Connection {
    connector(config(address)).connect(address).await.unwrap()
}

#[tokio::test]
async fn answers_come_back_in_the_order_of_the_requests_whatever_their_size() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        while let Some(request) = read_request(&mut stream).await {
            // The client id, whose length is two bytes, is what remains of the header.
            let header = 2 + usize::from(u16::from_be_bytes([request.rest[0], request.rest[1]]));
            stream
                .write_all(&answer(request.id, &request.rest[header..]))
                .await
                .unwrap();
        }
    })
    .await;
    let connection = open(&address).await;
    let body = |number: usize| {
        let big = if number % 50 == 7 { 3_000_000 } else { number };
        vec![
            Bytes::from(format!("request {number} ")),
            Bytes::new(),
            Bytes::from(vec![number as u8; big]),
        ]
    };
    let pending: Vec<_> = (0..200)
        .map(|number| connection.submit_frame(API, VERSION, body(number), LONG).unwrap())
        .collect();
    for (number, pending) in pending.into_iter().enumerate() {
        assert!(
            pending.await.unwrap() == body(number).concat(),
            "answer {number} differs"
        );
    }
}

#[tokio::test]
async fn a_connection_cut_anywhere_in_an_answer_ends_everything_in_flight() {
    let whole = answer(1, b"some answer");
    for cut in 0..whole.len() {
        let part = whole[..cut].to_vec();
        let address = serve(move |mut stream: TcpStream| {
            let part = part.clone();
            async move {
                greet(&mut stream).await;
                read_request(&mut stream).await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream.write_all(&part).await.unwrap();
            }
        })
        .await;
        let connection = open(&address).await;
        let first = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
        let second = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
        for pending in [first, second] {
            let error = pending.await.unwrap_err();
            assert!(
                matches!(error, KafkaError::Disconnected { .. }),
                "cut at {cut}: {error:?}"
            );
            assert!(error.is_retriable());
        }
        connection.close().await;
        assert!(connection.is_closed());
        let refused = connection.submit_frame(API, VERSION, Vec::new(), LONG);
        assert!(matches!(refused, Err(KafkaError::Disconnected { .. })));
    }
}

/// What a request gets that is answered with these bytes, with the connection left open.
async fn answered_with(bytes: Vec<u8>) -> KafkaError {
    let address = serve(move |mut stream: TcpStream| {
        let bytes = bytes.clone();
        async move {
            greet(&mut stream).await;
            read_request(&mut stream).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            listen_on(stream).await;
        }
    })
    .await;
    let connection = open(&address).await;
    let pending = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
    let error = pending.await.unwrap_err();
    connection.close().await;
    error
}

#[tokio::test]
async fn lengths_that_cannot_be_are_refused_at_once() {
    for length in [-1, 0, 3, i32::MIN, i32::MAX, MAX_RESPONSE_BYTES as i32 + 1] {
        let error = answered_with(length.to_be_bytes().to_vec()).await;
        assert!(
            matches!(error, KafkaError::Protocol { .. }),
            "{length}: {error:?}"
        );
        assert!(!error.is_retriable());
    }
}

#[tokio::test]
async fn other_protocols_are_told_by_their_first_bytes() {
    let alert = answered_with(vec![0x15, 3, 3, 0, 2, 2, 70]).await;
    assert!(matches!(alert, KafkaError::Tls { .. }), "{alert:?}");
    assert!(
        alert.to_string().contains("security.protocol must be SSL"),
        "{alert}"
    );
    let http = answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    assert!(http.to_string().contains("web server"), "{http}");
}

#[tokio::test]
async fn an_answer_to_another_request_ends_the_connection() {
    for id in [0, 2, -1] {
        let error = answered_with(answer(id, b"x")).await;
        assert!(matches!(error, KafkaError::Protocol { .. }), "{id}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_to_no_request_ends_the_connection() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        stream.write_all(&answer(1, b"x")).await.unwrap();
        listen_on(stream).await;
    })
    .await;
    // Nothing is sent, so the end is noticed by itself; a request that comes too late or too early gets an error.
    let connection = open(&address).await;
    while !connection.is_closed() {
        tokio::task::yield_now().await;
    }
    let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(error, KafkaError::Disconnected { .. }), "{error:?}");
}

#[tokio::test]
async fn silence_ends_the_connection_and_leaves_the_outcome_open() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        listen_on(stream).await;
    })
    .await;
    let connection = open(&address).await;
    let short = Duration::from_millis(20);
    let first = connection.submit_frame(API, VERSION, Vec::new(), short).unwrap();
    let second = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
    let error = first.await.unwrap_err();
    assert!(
        matches!(&error, KafkaError::TimedOut { what, .. } if what == "Metadata"),
        "{error:?}"
    );
    assert!(error.is_retriable());
    let error = second.await.unwrap_err();
    assert!(matches!(error, KafkaError::Disconnected { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_does_not_read_is_silent_too() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let connection = open(&address).await;
    let short = Duration::from_millis(50);
    let body = vec![Bytes::from(vec![0; 64 << 20])];
    let pending = connection.submit_frame(API, VERSION, body, short).unwrap();
    let error = pending.await.unwrap_err();
    assert!(matches!(error, KafkaError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_byte_by_byte_is_an_answer() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        let request = read_request(&mut stream).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in answer(request.id, b"slow") {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        listen_on(stream).await;
    })
    .await;
    let connection = open(&address).await;
    let pending = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
    assert_eq!(pending.await.unwrap(), "slow");
}

#[tokio::test]
async fn closing_ends_what_is_in_flight_and_dropping_does_not() {
    let address = serve(|mut stream| async move {
        greet(&mut stream).await;
        let first = read_request(&mut stream).await.unwrap();
        if first.rest.ends_with(b"answer me") {
            stream.write_all(&answer(first.id, b"late")).await.unwrap();
        }
        listen_on(stream).await;
    })
    .await;
    let connection = open(&address).await;
    let pending = connection.submit_frame(API, VERSION, Vec::new(), LONG).unwrap();
    connection.close().await;
    assert!(matches!(pending.await, Err(KafkaError::Disconnected { .. })));

    let connection = open(&address).await;
    let body = vec![Bytes::from_static(b"answer me")];
    let pending = connection.submit_frame(API, VERSION, body, LONG).unwrap();
    drop(connection);
    assert_eq!(pending.await.unwrap(), "late");
}

#[tokio::test]
async fn a_broker_that_knows_only_old_versions_is_asked_again_in_one_it_names() {
    for named in [Some((0, 0)), Some((0, 2)), Some((0, 99)), None] {
        let address = serve(move |mut stream| async move {
            let request = read_request(&mut stream).await.unwrap();
            assert_eq!(request.version, 3);
            let mut refusal = 35_i16.to_be_bytes().to_vec();
            match named {
                Some((min, max)) => refusal.extend_from_slice(&offer(min, max, 0)[2..]),
                None => refusal.extend_from_slice(&[0, 0, 0, 0]),
            }
            stream.write_all(&answer(request.id, &refusal)).await.unwrap();
            let request = read_request(&mut stream).await.unwrap();
            assert_eq!(request.version, named.map_or(0, |(_, max)| max.min(2)));
            let body = offer(2, 5, request.version);
            stream.write_all(&answer(request.id, &body)).await.unwrap();
            listen_on(stream).await;
        })
        .await;
        let connection = open(&address).await;
        assert_eq!(connection.version_range(ApiKey::ListOffsets as i16), Some((2, 5)));
        assert_eq!(connection.version_range(ApiKey::Produce as i16), None);
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let error = connector(config(&address)).connect(&address).await.unwrap_err();
    assert!(matches!(error, KafkaError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()));
    let nowhere = "no-such-host.invalid:9092".parse().unwrap();
    let error = connector(config(&nowhere)).connect(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("cannot be resolved"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_on_the_first_request_gets_a_hint() {
    let address = serve(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
    })
    .await;
    let error = connector(config(&address)).connect(&address).await.unwrap_err();
    assert!(matches!(error, KafkaError::Disconnected { .. }), "{error:?}");
    assert!(error.to_string().contains("if this is a TLS port"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_instead_of_an_answer_end_in_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = serve(move |mut stream: TcpStream| {
                let bytes = bytes.clone();
                async move {
                    read_request(&mut stream).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            })
            .await;
            let outcome = connector(config(&address)).connect(&address).await;
            prop_assert!(outcome.is_err());
            Ok(())
        })?;
    }

    #[test]
    fn any_list_of_versions_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = serve(move |mut stream: TcpStream| {
                let bytes = bytes.clone();
                async move {
                    while let Some(request) = read_request(&mut stream).await {
                        // A client that is content, and hangs up, is fine.
                        let _ = stream.write_all(&answer(request.id, &bytes)).await;
                    }
                }
            })
            .await;
            let mut config = config(&address);
            config.request_timeout = Duration::from_secs(10);
            let _ = connector(config).connect(&address).await;
        });
    }
}
