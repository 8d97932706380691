//! A server that gives prepared answers, one after the other or by what is asked, and keeps the requests' heads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens after an answer's bytes are written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// The connection is closed.
    Close,
    /// Nothing, as long as the client waits.
    Hang,
}

/// The answer to a request, by its head.
type Answers = dyn Fn(&str) -> (Vec<u8>, Then) + Send + Sync;

pub(crate) struct CannedServer {
    pub(crate) endpoint: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl CannedServer {
    /// The last answer is given again and again.
    pub(crate) async fn start(answers: Vec<(Vec<u8>, Then)>) -> Self {
        let answers = Mutex::new(VecDeque::from(answers));
        Self::answering(move |_| {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 {
                answers.pop_front().unwrap()
            } else {
                answers[0].clone()
            }
        })
        .await
    }

    /// `answers` is given the head of a request in small letters.
    pub(crate) async fn answering(answers: impl Fn(&str) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let answers: Arc<Answers> = Arc::new(answers);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&kept), Arc::clone(&answers)));
            }
        });
        Self {
            endpoint,
            heads,
            task,
        }
    }

    /// The requests so far: their first lines and headers, in small letters.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for CannedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, answers: Arc<Answers>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    heads.lock().unwrap().push(head.clone());
    let (bytes, then) = answers(&head);
    let _ = stream.write_all(&bytes).await;
    if then == Then::Hang {
        std::future::pending::<()>().await;
    }
}

/// An answer's bytes; each header on a line of its own. The length is `length`, whatever the body is.
pub(crate) fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for header in headers.lines() {
        head.push_str(header.trim());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A whole object.
pub(crate) fn object(etag: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", &object_headers(etag), body.len(), body)
}

pub(crate) fn object_headers(etag: &str) -> String {
    format!("ETag: \"{etag}\"\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT")
}

/// A refusal in the providers' XML.
pub(crate) fn refusal(status: &str, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Words of the provider.</Message></Error>"
    );
    answer(
        status,
        "Content-Type: application/xml",
        body.len(),
        body.as_bytes(),
    )
}
