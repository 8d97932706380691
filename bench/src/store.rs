//! An object store that takes its time: a generated backup behind as much of S3 as a restore needs (listing by pages,
//! from any key on, reading by ranges), each answer late by a fixed time, as from far away.
//!
//! It counts how many requests are under way at once. With `requests under way / latency` as the most that any client
//! can reach, that tells how much of a slow store's time the program hides.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::server;

/// Objects of one page of a listing, as of S3.
const PAGE_OBJECTS: usize = 1000;

/// What clients have asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Pages of listings.
    pub pages: u64,
    /// Seconds from the first of them to the end of the last.
    pub listing: f64,
    /// Reads of objects.
    pub reads: u64,
    /// Seconds from the first of them to the end of the last.
    pub reading: f64,
    /// The most reads that were under way at the same time.
    pub most: u64,
    /// The sum of all reads' times in seconds, as seen here.
    pub under_way: f64,
}

impl Asked {
    /// Reads per second.
    pub fn rate(&self) -> f64 {
        self.reads as f64 / self.reading
    }
}

#[derive(Default)]
struct State {
    asked: Asked,
    now: u64,
    first_page: Option<Instant>,
    first_read: Option<Instant>,
}

struct Store {
    folder: PathBuf,
    /// Names and sizes, by name.
    objects: Vec<(String, u64)>,
    latency: Duration,
    state: Mutex<State>,
}

/// A request's first line and the one header that matters.
struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<(u64, u64)>,
}

/// Serves a folder as the bucket `bench` on a free port until standard input ends; `announce` gets the port.
///
/// # Errors
///
/// Where the folder cannot be read or no port can be had.
pub fn serve(folder: &Path, latency: Duration, announce: impl FnOnce(u16) -> Result<()>) -> Result<Asked> {
    let (store, port) = start(folder, latency)?;
    server::serve_until_told(port, announce)?;
    let asked = store.lock().asked;
    Ok(asked)
}

fn start(folder: &Path, latency: Duration) -> Result<(Arc<Store>, u16)> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .context("a name that is no text")?;
        objects.push((name, entry.metadata()?.len()));
    }
    objects.sort();
    let store = Arc::new(Store {
        folder: folder.to_owned(),
        objects,
        latency,
        state: Mutex::default(),
    });
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let serving = Arc::clone(&store);
    server::accept(listener, move |stream| serving.connection(stream));
    Ok((store, port))
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut output = stream.try_clone()?;
        let mut input = BufReader::with_capacity(8 << 10, stream);
        while let Some(request) = read_request(&mut input)? {
            let started = Instant::now();
            let is_page = request.query.contains("list-type=2");
            if !is_page {
                let mut state = self.lock();
                state.now += 1;
                state.asked.most = state.asked.most.max(state.now);
                state.first_read.get_or_insert(started);
            }
            thread::sleep(self.latency);
            let answer = match is_page {
                true => self.page(&request.query),
                false => self.object(&request),
            };
            // Counted before the answer goes out: the next request may be here before this thread goes on.
            let mut state = self.lock();
            let now = Instant::now();
            if is_page {
                let first = *state.first_page.get_or_insert(started);
                state.asked.pages += 1;
                state.asked.listing = (now - first).as_secs_f64();
            } else {
                let first = state.first_read.unwrap_or(started);
                state.now -= 1;
                state.asked.reads += 1;
                state.asked.reading = (now - first).as_secs_f64();
                state.asked.under_way += (now - started).as_secs_f64();
            }
            drop(state);
            output.write_all(&answer?)?;
        }
        Ok(())
    }

    fn page(&self, query: &str) -> Result<Vec<u8>> {
        let parameter = |name: &str| {
            let mut all = query.split('&').filter_map(|part| part.split_once('='));
            all.find_map(|(key, value)| (key == name).then_some(value))
        };
        let prefix = parameter("prefix").unwrap_or_default();
        let behind = parameter("continuation-token").or_else(|| parameter("start-after"));
        let behind = behind.unwrap_or_default();
        let from = self.objects.partition_point(|(name, _)| name.as_str() <= behind);
        let mut found = self.objects[from..]
            .iter()
            .filter(|(name, _)| name.starts_with(prefix));
        let mut body = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
        let mut last = None;
        for (name, size) in found.by_ref().take(PAGE_OBJECTS) {
            body.push_str(&format!(
                "<Contents><Key>{name}</Key><LastModified>2023-11-15T00:00:00.000Z</LastModified>\
                 <ETag>\"{size:x}\"</ETag><Size>{size}</Size></Contents>"
            ));
            last = Some(name);
        }
        match (found.next(), last) {
            (Some(_), Some(last)) => body.push_str(&format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
            )),
            _ => body.push_str("<IsTruncated>false</IsTruncated>"),
        }
        body.push_str("</ListBucketResult>");
        let mut answer = head("200 OK", body.len() as u64, "");
        answer.extend_from_slice(body.as_bytes());
        Ok(answer)
    }

    fn object(&self, request: &Request) -> Result<Vec<u8>> {
        let name = request.path.trim_start_matches("/bench/");
        let place = self
            .objects
            .binary_search_by(|(found, _)| found.as_str().cmp(name));
        let Ok(place) = place else {
            return Ok(head("404 Not Found", 0, ""));
        };
        let size = self.objects[place].1;
        let about = format!("ETag: \"{size:x}\"\r\nLast-Modified: Wed, 15 Nov 2023 00:00:00 GMT\r\n");
        if request.method == "HEAD" {
            return Ok(head("200 OK", size, &about));
        }
        let (start, end) = match request.range {
            Some((first, last)) => (first, last.saturating_add(1).min(size)),
            None => (0, size),
        };
        if start >= end {
            return Ok(head("416 Range Not Satisfiable", 0, &about));
        }
        let (status, about) = match request.range {
            Some(_) => {
                let range = format!("Content-Range: bytes {start}-{}/{size}\r\n", end - 1);
                ("206 Partial Content", about + &range)
            }
            None => ("200 OK", about),
        };
        let mut answer = head(status, end - start, &about);
        let behind_head = answer.len();
        answer.resize(behind_head + usize::try_from(end - start)?, 0);
        File::open(self.folder.join(name))?.read_exact_at(&mut answer[behind_head..], start)?;
        Ok(answer)
    }
}

fn head(status: &str, length: u64, about: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{about}\r\n").into_bytes()
}

/// None where the client has hung up between two requests.
fn read_request(input: &mut impl BufRead) -> Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().context("a request without a target")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut range = None;
    loop {
        line.clear();
        ensure!(input.read_line(&mut line)? > 0, "the request ends early");
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("range") {
            let bytes = value.trim().trim_start_matches("bytes=");
            let (first, last) = bytes.split_once('-').context("a range without a dash")?;
            range = Some((first.parse()?, last.parse().unwrap_or(u64::MAX - 1)));
        }
    }
    Ok(Some(Request {
        method,
        path,
        query,
        range,
    }))
}

#[cfg(test)]
mod tests {
    use backup::storage::open;
    use backup::storage::url::{StorageConfig, StoreKind};
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn objects_are_listed_by_pages_and_read_by_ranges() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9500 {
            std::fs::write(
                folder.path().join(format!("bench-{}-{number}", number % 7)),
                format!("bytes of {number}"),
            )
            .unwrap();
        }
        let (serving, port) = start(folder.path(), Duration::from_millis(1)).unwrap();
        let config = StorageConfig {
            bucket: Some("bench".to_owned()),
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            access_key_id: Some("id".to_owned()),
            secret_access_key: Some("secret".to_owned().into()),
            ..StorageConfig::new(StoreKind::S3)
        };
        let store = open(&config).unwrap();
        let listed: Vec<_> = store.list("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 9500);
        assert_eq!(serving.lock().asked.pages, 10);
        let mut again: Vec<_> = store.list_in_any_order("").try_collect().await.unwrap();
        again.sort_by(|a, b| a.key.cmp(&b.key));
        assert!(again == listed);
        let read = async |range| {
            let body = store.get("bench-0-7", range, None).await.unwrap();
            let chunks: Vec<bytes::Bytes> = body.chunks.try_collect().await.unwrap();
            chunks.concat()
        };
        assert_eq!(read(None).await, b"bytes of 7");
        assert_eq!(read(Some(6..100)).await, b"of 7");
        let asked = serving.lock().asked;
        // Ranges were listed side by side: where two meet, a page is asked for twice.
        assert!((21..35).contains(&asked.pages), "{}", asked.pages);
        assert_eq!((asked.reads, asked.most), (2, 1));
    }
}
