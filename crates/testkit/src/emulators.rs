//! Emulators of object stores on loopback: moto for S3 and for the XML API of GCS, azurite for Azure Blob Storage, and
//! where a Go toolchain is there fake-gcs-server for the JSON API of GCS.
//!
//! Each is installed once into `<workspace>/target/testkit/emulators/` (with Python's pip, npm, `go install`) and works
//! offline from then on. Parallel test processes do not race: a file lock lets one of them install. An emulator dies
//! with its value, and with this process however that ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use crate::jars::cache_folder;
use crate::ports::free_port;
use crate::process::GuardedChild;

const MOTO: &str = "moto[server,s3]==5.2.5";
const AZURITE: &str = "azurite@3.35.0";
const FAKE_GCS: &str = "github.com/fsouza/fake-gcs-server@v1.56.1";

/// How long an emulator may take until it answers; a loaded machine is slow.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long one request of this module may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// A server process and its port.
#[derive(Debug)]
struct Server {
    // Dropped before the folder that holds its log.
    _child: GuardedChild,
    _folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts a program on a free port and waits until it answers HTTP.
    fn start(program: &Path, arguments: impl Fn(u16) -> Vec<String>) -> Result<Self> {
        let mut last = String::new();
        // Between the choice of the port and its use another process may take it.
        for _ in 0..3 {
            let port = free_port();
            let folder = tempfile::tempdir()?;
            let log = folder.path().join("log");
            let mut child = GuardedChild::start(program, &arguments(port), &log, Some(folder.path()))?;
            let deadline = Instant::now() + START_LIMIT;
            loop {
                if request(port, "GET", "/", &[], b"").is_ok() {
                    return Ok(Self {
                        _child: child,
                        _folder: folder,
                        port,
                    });
                }
                let ended = child.ended()?;
                if ended.is_some() || Instant::now() > deadline {
                    let why = ended.map_or("does not answer".to_owned(), |status| {
                        format!("ended with {status}")
                    });
                    let log = fs::read(&log).unwrap_or_default();
                    last = format!("{} {why}:\n{}", program.display(), text(&log));
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        bail!(last)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a request that must succeed.
    fn expect(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>> {
        let (status, answer) = request(self.port, method, path, headers, body)?;
        ensure!(
            (200..300).contains(&status),
            "{method} {path}: {status} {}",
            text(&answer)
        );
        Ok(answer)
    }
}

/// moto as S3: path style, any credentials.
#[derive(Debug)]
pub struct S3Emulator {
    server: Server,
}

impl S3Emulator {
    /// An access key that the emulator takes; it takes any.
    pub const ACCESS_KEY_ID: &'static str = "testkit";
    /// The secret that belongs to it.
    pub const SECRET_ACCESS_KEY: &'static str = "testkit-secret";
    /// The region that buckets are made in.
    pub const REGION: &'static str = "us-east-1";

    /// Installs moto where it is missing, and starts it.
    ///
    /// # Errors
    ///
    /// Where Python 3 is missing, the installation fails, or the server does not start.
    pub fn start() -> Result<Self> {
        Ok(Self {
            server: start_moto()?,
        })
    }

    /// The URL to give to clients: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        self.server
            .expect("PUT", &format!("/{name}"), &[self.authorization()], b"")
            .map(|_| ())
    }

    /// Writes an object; `content_encoding` goes into its header as it is.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8], content_encoding: Option<&str>) -> Result<()> {
        let mut headers = vec![self.authorization()];
        headers.extend(content_encoding.map(|encoding| ("Content-Encoding", encoding)));
        let path = format!("/{bucket}/{}", encode(key, true));
        self.server.expect("PUT", &path, &headers, bytes).map(|_| ())
    }

    /// An object's bytes; nothing where there is no such object.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("/{bucket}/{}", encode(key, true));
        let (status, answer) = request(self.server.port, "GET", &path, &[self.authorization()], b"")?;
        match status {
            200 => Ok(Some(answer)),
            404 => Ok(None),
            _ => bail!("GET {path}: {status} {}", text(&answer)),
        }
    }

    /// From now on the emulator checks credentials and permissions (of everything it serves) or stops doing so.
    /// While it checks, requests with [`ACCESS_KEY_ID`](Self::ACCESS_KEY_ID) are refused as unknown.
    pub fn check_permissions(&self, on: bool) -> Result<()> {
        let free_requests: &[u8] = if on { b"0" } else { b"inf" };
        self.server
            .expect("POST", "/moto-api/reset-auth", &[], free_requests)
            .map(|_| ())
    }

    /// Makes a user without any permission and gives the id and the secret of an access key of it.
    pub fn create_powerless_user(&self, name: &str) -> Result<(String, String)> {
        let credential = "AWS4-HMAC-SHA256 Credential=testkit/20260101/us-east-1/iam/aws4_request, \
                          SignedHeaders=host, Signature=0";
        let headers = [
            ("Authorization", credential),
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ];
        let ask = |action: &str| {
            let body = format!("Action={action}&Version=2010-05-08&UserName={name}");
            self.server.expect("POST", "/", &headers, body.as_bytes())
        };
        ask("CreateUser")?;
        let answer = String::from_utf8(ask("CreateAccessKey")?)?;
        let field = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        field("AccessKeyId")
            .zip(field("SecretAccessKey"))
            .with_context(|| format!("no access key in {answer}"))
    }

    fn authorization(&self) -> (&'static str, &'static str) {
        (
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=testkit/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        )
    }
}

/// moto as GCS, over the XML API.
#[derive(Debug)]
pub struct GcsEmulator {
    server: Server,
}

impl GcsEmulator {
    /// Installs moto where it is missing, and starts it.
    ///
    /// # Errors
    ///
    /// As [`S3Emulator::start`].
    pub fn start() -> Result<Self> {
        Ok(Self {
            server: start_moto()?,
        })
    }

    /// The URL to give to clients: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The text of a service account's file that leads to this emulator, and not to Google's sign-in.
    pub fn credentials_file(&self) -> String {
        service_account(&self.endpoint())
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        self.server
            .expect("PUT", &format!("/{name}"), &[BEARER], b"")
            .map(|_| ())
    }

    /// Writes an object; `content_encoding` goes into its header as it is. moto stores and gives the bytes as they
    /// are, whatever the encoding says.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8], content_encoding: Option<&str>) -> Result<()> {
        let mut headers = vec![BEARER];
        headers.extend(content_encoding.map(|encoding| ("Content-Encoding", encoding)));
        let path = format!("/{bucket}/{}", encode(key, false));
        self.server.expect("PUT", &path, &headers, bytes).map(|_| ())
    }
}

/// fake-gcs-server: the JSON API of GCS. It decompresses as Google does, and has no listing in the XML API.
#[derive(Debug)]
pub struct FakeGcsServer {
    server: Server,
}

impl FakeGcsServer {
    /// Installs and starts it; None where there is no Go toolchain on this machine.
    ///
    /// # Errors
    ///
    /// Where the installation fails, or the server does not start.
    pub fn start() -> Result<Option<Self>> {
        let installed = install("fake-gcs-server", FAKE_GCS, |folder| {
            let mut command = Command::new("go");
            command.args(["install", FAKE_GCS]).env("GOBIN", folder);
            run(
                &mut command,
                "install Go, or do without: only tests of transcoding need it",
            )
        });
        let has_go = Command::new("go")
            .arg("version")
            .stdout(Stdio::null())
            .status()
            .is_ok();
        let folder = match installed {
            Ok(folder) => folder,
            Err(_) if !has_go => return Ok(None),
            Err(error) => return Err(error),
        };
        let server = Server::start(&folder.join("fake-gcs-server"), |port| {
            let url = format!("http://127.0.0.1:{port}");
            let host = format!("127.0.0.1:{port}");
            let port = port.to_string();
            [
                "-scheme",
                "http",
                "-host",
                "127.0.0.1",
                "-port",
                &port,
                "-backend",
                "memory",
            ]
            .into_iter()
            .chain(["-external-url", &url, "-public-host", &host, "-log-level", "warn"])
            .map(str::to_owned)
            .collect()
        })?;
        Ok(Some(Self { server }))
    }

    /// The URL to give to clients: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// As [`GcsEmulator::credentials_file`].
    pub fn credentials_file(&self) -> String {
        service_account(&self.endpoint())
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let body = format!("{{\"name\":\"{name}\"}}");
        let headers = [("Content-Type", "application/json")];
        self.server
            .expect("POST", "/storage/v1/b?project=testkit", &headers, body.as_bytes())
            .map(|_| ())
    }

    /// Writes an object; `content_encoding` becomes its metadata.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8], content_encoding: Option<&str>) -> Result<()> {
        let encoding = content_encoding
            .map(|encoding| format!("&contentEncoding={encoding}"))
            .unwrap_or_default();
        let path = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=media&name={}{encoding}",
            encode(key, false)
        );
        let headers = [("Content-Type", "application/octet-stream")];
        self.server.expect("POST", &path, &headers, bytes).map(|_| ())
    }
}

/// azurite as Azure Blob Storage.
#[derive(Debug)]
pub struct AzureEmulator {
    server: Server,
}

impl AzureEmulator {
    /// The account that every azurite has.
    pub const ACCOUNT: &'static str = "devstoreaccount1";
    /// Its key, published in azurite's documentation.
    pub const ACCOUNT_KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Installs azurite where it is missing, and starts it.
    ///
    /// # Errors
    ///
    /// Where Node is missing, the installation fails, or the server does not start.
    pub fn start() -> Result<Self> {
        let folder = install("azurite", AZURITE, |folder| {
            let mut command = Command::new("npm");
            command
                .args(["install", "--no-audit", "--no-fund", "--prefix"])
                .arg(folder)
                .arg(AZURITE);
            run(
                &mut command,
                "install Node 18 or newer with npm (Debian: apt-get install npm)",
            )
        })?;
        let script = folder.join("node_modules").join(".bin").join("azurite-blob");
        let server = Server::start(Path::new("node"), |port| {
            let fixed = "--blobHost 127.0.0.1 --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent";
            let mut arguments = vec![
                script.display().to_string(),
                "--blobPort".to_owned(),
                port.to_string(),
            ];
            arguments.extend(fixed.split(' ').map(str::to_owned));
            arguments
        })?;
        Ok(Self { server })
    }

    /// The URL to give to clients, without the account: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Makes an empty container.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let path = format!("/{}/{name}?restype=container", Self::ACCOUNT);
        self.signed_put(&path, &[], b"")
    }

    /// Writes an object; `content_encoding` becomes its property.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8], content_encoding: Option<&str>) -> Result<()> {
        let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
        headers.extend(content_encoding.map(|encoding| ("x-ms-blob-content-encoding", encoding)));
        self.signed_put(
            &format!("/{}/{bucket}/{}", Self::ACCOUNT, encode(key, true)),
            &headers,
            bytes,
        )
    }

    /// A PUT under Azure's Shared Key authorization (Microsoft's "Authorize with Shared Key", version 2015-02-21 and
    /// later: no length is signed where it is 0). `path` may have one query parameter.
    fn signed_put(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let date = jiff::Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        let mut headers = headers.to_vec();
        headers.extend([("x-ms-date", date.as_str()), ("x-ms-version", "2023-11-03")]);
        headers.sort_unstable();
        let length = if body.is_empty() {
            String::new()
        } else {
            body.len().to_string()
        };
        let canonical: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (resource, query) = path.split_once('?').unwrap_or((path, ""));
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("\n{}", query.replacen('=', ":", 1))
        };
        let text = format!(
            "PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{canonical}/{}{resource}{query}",
            Self::ACCOUNT
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(Self::ACCOUNT_KEY)?);
        let signature = BASE64.encode(hmac::sign(&key, text.as_bytes()));
        let authorization = format!("SharedKey {}:{signature}", Self::ACCOUNT);
        headers.push(("Authorization", &authorization));
        self.server.expect("PUT", path, &headers, body).map(|_| ())
    }
}

const BEARER: (&str, &str) = ("Authorization", "Bearer testkit");

fn service_account(endpoint: &str) -> String {
    format!(
        "{{\"gcs_base_url\":\"{endpoint}\",\"disable_oauth\":true,\"client_email\":\"\",\"private_key\":\"\",\
         \"private_key_id\":\"\"}}"
    )
}

fn start_moto() -> Result<Server> {
    let folder = install("moto", MOTO, |folder| {
        let advice = "install Python 3 with venv (Debian: apt-get install python3-venv)";
        run(Command::new("python3").args(["-m", "venv"]).arg(folder), advice)?;
        let mut command = Command::new(folder.join("bin").join("python"));
        run(
            command.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                MOTO,
            ]),
            advice,
        )
    })?;
    Server::start(&folder.join("bin").join("python"), |port| {
        let script = folder.join("bin").join("moto_server").display().to_string();
        [
            script,
            "-H".to_owned(),
            "127.0.0.1".to_owned(),
            "-p".to_owned(),
            port.to_string(),
        ]
        .into()
    })
}

/// Installs what `package` names into a folder of the cache, unless a marker there says that it is done. What an
/// interrupted installation left is removed first.
fn install(name: &str, package: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let emulators = cache_folder().join("emulators");
    fs::create_dir_all(&emulators).with_context(|| format!("cannot create {}", emulators.display()))?;
    let lock = File::create(emulators.join(format!("{name}.lock")))?;
    lock.lock()
        .with_context(|| format!("cannot lock the folder of {name}"))?;
    let folder = emulators.join(name);
    let marker = folder.join("installed");
    if !fs::read_to_string(&marker).is_ok_and(|text| text == package) {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        make(&folder).with_context(|| format!("cannot install {package}"))?;
        fs::write(&marker, package)?;
    }
    Ok(folder)
}

fn run(command: &mut Command, advice: &str) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}: {advice}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}); {advice}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(())
}

/// What a program printed, for a message.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Percent-encodes all but letters, digits and `-._~`; slashes only where they are not kept.
fn encode(key: &str, keep_slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// One request on a connection of its own: the status and everything after the head.
fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    stream.set_write_timeout(Some(REQUEST_LIMIT))?;
    let length = body.len();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    head.push_str(&format!("Content-Length: {length}\r\n"));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| answer.strip_prefix(b"HTTP/1.0 "))
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .with_context(|| format!("the answer to {method} {path} is no HTTP"))?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    Ok((status, answer.split_off(end)))
}
