//! A folder as a store: a key is the path of a file below the folder, its parts separated by `/`.
//!
//! Keys that cannot be such a path (`a//b`, `/a`, `a/../b`) do not exist here. Links are followed, to files and to
//! folders, except to a folder that contains them. A name that is not UTF-8 is listed with its odd bytes written as
//! `\xFF`, so that it is seen and counted; no file can be read under such a key. Reads and listings run on tokio's
//! blocking threads; a listing holds one open folder per level, never a folder's whole contents.

use std::fs::{self, File, Metadata, ReadDir};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;

use self::buffers::Buffers;
use super::open::failed;
use super::url::StorageConfig;
use super::{ObjectBody, ObjectMeta, ObjectVersion, StorageError, StorageErrorKind, Store, cut_range};

/// Bytes that a body's chunk has at most.
const CHUNK: u64 = 1 << 20;
/// Bytes that [`OpenFile::read`] gives at most: few enough to be decoded before they leave the processor's cache.
const FILE_CHUNK: u64 = 256 << 10;
/// Reads of bodies at once: a disk gains little from more, and every thread that reads keeps memory to itself.
const READS: usize = 8;
/// Listed files that wait for the reader of the listing at most.
const LISTED_AHEAD: usize = 1_024;
/// Files of an unfinished write begin and end so, and are not listed.
const UNFINISHED: (&str, &str) = (".kafka-restore-", ".part");

/// A folder.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
    location: String,
    reads: Arc<Semaphore>,
    buffers: Buffers,
}

/// Opens a folder. Whether it is there, the first listing or read tells.
///
/// # Errors
///
/// Where the configuration has no path.
pub fn open(config: &StorageConfig) -> Result<Arc<dyn Store>, StorageError> {
    match &config.path {
        Some(path) if !path.as_os_str().is_empty() => Ok(Arc::new(LocalStore::new(path))),
        _ => Err(failed(
            "the object storage",
            "a storage of type local needs a path",
        )),
    }
}

impl LocalStore {
    /// The folder `root`; relative paths count from the current folder as it is now.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let root = std::path::absolute(root.as_ref()).unwrap_or_else(|_| root.as_ref().to_path_buf());
        let location = format!("file://{}", root.display());
        Self {
            root,
            location,
            reads: Arc::new(Semaphore::new(READS)),
            buffers: Buffers::new(FILE_CHUNK as usize),
        }
    }

    /// Opens the file under `key` to be read from its start to its end on this thread. Blocks.
    ///
    /// # Errors
    ///
    /// As [`get`](Store::get).
    pub(crate) fn open(&self, key: &str) -> Result<OpenFile, StorageError> {
        let (meta, range, file) = self.open_file(key, None, None)?;
        Ok(OpenFile {
            store: self.clone(),
            meta,
            file,
            left: range.end,
        })
    }

    fn path_of(&self, key: &str) -> Option<PathBuf> {
        let proper = key
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
        proper.then(|| self.root.join(key))
    }

    fn error(&self, operation: &'static str, key: &str, error: &io::Error) -> StorageError {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                if self.root.is_dir() {
                    StorageErrorKind::NotFound
                } else {
                    StorageErrorKind::NoSuchBucket
                }
            }
            io::ErrorKind::PermissionDenied => StorageErrorKind::PermissionDenied,
            _ => StorageErrorKind::Other,
        };
        let message = match kind {
            StorageErrorKind::NoSuchBucket => format!("{} is no folder: {error}", self.root.display()),
            _ => error.to_string(),
        };
        StorageError::new(operation, &self.location, Some(key), kind, message)
    }

    /// A key that is no path here.
    fn no_path(&self, operation: &'static str, key: &str, kind: StorageErrorKind) -> StorageError {
        let message = "a file of a folder cannot have this name";
        StorageError::new(operation, &self.location, Some(key), kind, message)
    }

    fn open_file(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<(ObjectMeta, Range<u64>, File), StorageError> {
        let path = self
            .path_of(key)
            .ok_or_else(|| self.no_path("read", key, StorageErrorKind::NotFound))?;
        let error = |error: io::Error| self.error("read", key, &error);
        // Opening a named pipe would wait for its writer.
        if !fs::metadata(&path).map_err(error)?.is_file() {
            let message = "this is no file";
            return Err(StorageError::new(
                "read",
                &self.location,
                Some(key),
                StorageErrorKind::NotFound,
                message,
            ));
        }
        let mut file = File::open(&path).map_err(error)?;
        let meta = meta(key.to_owned(), &file.metadata().map_err(error)?);
        if version.is_some_and(|version| Some(version) != meta.version.as_ref()) {
            return Err(self.changed(key));
        }
        let range = cut_range(range, meta.size);
        file.seek(SeekFrom::Start(range.start)).map_err(error)?;
        Ok((meta, range, file))
    }

    fn changed(&self, key: &str) -> StorageError {
        StorageError::new(
            "read",
            &self.location,
            Some(key),
            StorageErrorKind::Changed,
            super::http::CHANGED,
        )
    }

    /// The next bytes of a file in place of those of `chunk`, which has at most the `left` ones that are to come; at the
    /// last byte the file is looked at again: where it was written to meanwhile, what was read may be of two kinds.
    fn read_chunk(
        &self,
        meta: &ObjectMeta,
        file: &mut File,
        left: u64,
        mut chunk: Vec<u8>,
    ) -> Result<Vec<u8>, StorageError> {
        let error = |error: io::Error| self.error("read", &meta.key, &error);
        // Not `read_to_end`, which begins with small pieces and doubles them.
        let mut filled = 0;
        while filled < chunk.len() {
            match file.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(other) => return Err(error(other)),
            }
        }
        chunk.truncate(filled);
        let ended = chunk.len() as u64 == left;
        if chunk.is_empty() || ended {
            let now = self::meta(meta.key.clone(), &file.metadata().map_err(error)?);
            if chunk.is_empty() || now.version != meta.version {
                return Err(self.changed(&meta.key));
            }
        }
        Ok(chunk)
    }

    /// The next bytes of a file as a body's chunk.
    fn body_chunk(&self, meta: &ObjectMeta, file: &mut File, left: u64) -> Result<Bytes, StorageError> {
        let chunk = vec![0; left.min(CHUNK) as usize];
        self.read_chunk(meta, file, left, chunk).map(Bytes::from)
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self
            .path_of(key)
            .ok_or_else(|| self.no_path("write", key, StorageErrorKind::Other))?;
        let error = |error: io::Error| self.error("write", key, &error);
        if !self.root.is_dir() {
            return Err(error(io::ErrorKind::NotFound.into()));
        }
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(error)?;
        let unfinished = folder.join(format!(
            "{}{:016x}{}",
            UNFINISHED.0,
            fastrand::u64(..),
            UNFINISHED.1
        ));
        let written = File::create_new(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        });
        written.map_err(|cause| {
            let _ = fs::remove_file(&unfinished);
            error(cause)
        })
    }

    /// Walks the folder, from the deepest folder that the prefix names, and gives every file to `found` until it
    /// says that nobody listens.
    fn walk(&self, prefix: &str, found: &mut dyn FnMut(Result<ObjectMeta, StorageError>) -> bool) {
        if let Err(error) = self.try_walk(prefix, found) {
            found(Err(error));
        }
    }

    fn try_walk(
        &self,
        prefix: &str,
        found: &mut dyn FnMut(Result<ObjectMeta, StorageError>) -> bool,
    ) -> Result<(), StorageError> {
        let error = |error: io::Error| self.error("list", prefix, &error);
        let start = prefix.rsplit_once('/').map(|(folder, _)| folder);
        let root = match start {
            None => self.root.clone(),
            Some(folder) => match self.path_of(folder) {
                Some(path) => path,
                // No key here begins so.
                None => return fs::read_dir(&self.root).map(|_| ()).map_err(error),
            },
        };
        let first = match Level::open(root, start.map(|folder| format!("{folder}/")).unwrap_or_default()) {
            Ok(level) => level,
            Err(cause) if start.is_some() => {
                let cause = error(cause);
                return if cause.kind == StorageErrorKind::NotFound {
                    Ok(())
                } else {
                    Err(cause)
                };
            }
            Err(cause) => return Err(error(cause)),
        };
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.next() else {
                levels.pop();
                continue;
            };
            let entry = entry.map_err(error)?;
            let key = format!("{}{}", level.key, printable(entry.file_name().as_encoded_bytes()));
            // A folder is entered where its keys may begin with the prefix, or the prefix with its name.
            if !key.starts_with(prefix) && !prefix.starts_with(&format!("{key}/")) {
                continue;
            }
            let path = entry.path();
            let linked = entry.file_type().map_err(error)?.is_symlink();
            let data = match fs::metadata(&path) {
                Ok(data) => data,
                // Deleted since the folder was read.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && !linked => continue,
                Err(cause) => {
                    let cause = format!(
                        "{cause}{}",
                        if linked {
                            " (a link that leads nowhere)"
                        } else {
                            ""
                        }
                    );
                    return Err(self.error("list", &key, &io::Error::other(cause)));
                }
            };
            if data.is_dir() {
                if linked && self.encloses(&levels, &fs::canonicalize(&path).map_err(error)?) {
                    tracing::warn!(%key, "this link leads to a folder that contains it: not followed");
                    continue;
                }
                let level =
                    Level::open(path, format!("{key}/")).map_err(|cause| self.error("list", &key, &cause))?;
                levels.push(level);
            } else if data.is_file() && key.starts_with(prefix) {
                let name = entry.file_name();
                if is_unfinished(name.as_encoded_bytes()) {
                    continue;
                }
                if name.to_str().is_none() {
                    tracing::warn!(%key, "the name of this file is not UTF-8: it cannot be read");
                }
                if !found(Ok(meta(key, &data))) {
                    return Ok(());
                }
            } else if !data.is_file() {
                tracing::debug!(%key, "neither a file nor a folder: left out");
            }
        }
        Ok(())
    }

    /// True where one of the open folders is `real`.
    fn encloses(&self, levels: &[Level], real: &Path) -> bool {
        let same = |path: &Path| fs::canonicalize(path).is_ok_and(|path| path == real);
        same(&self.root) || levels.iter().any(|level| same(&level.path))
    }
}

/// An open file of a folder.
#[derive(Debug)]
pub(crate) struct OpenFile {
    store: LocalStore,
    meta: ObjectMeta,
    file: File,
    /// Bytes that were not read yet.
    left: u64,
}

impl OpenFile {
    /// What the file was when it was opened.
    pub(crate) fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// True where all bytes were read.
    pub(crate) fn has_ended(&self) -> bool {
        self.left == 0
    }

    /// The next bytes, at most [`FILE_CHUNK`]; none at the end. Blocks.
    ///
    /// # Errors
    ///
    /// Where the file was written to since it was opened: what was read may be of two kinds, and cannot be asked for
    /// again. A file that was put in its place does not matter here.
    pub(crate) fn read(&mut self) -> Result<Bytes, StorageError> {
        if self.left == 0 {
            return Ok(Bytes::new());
        }
        let chunk = self.store.buffers.take(self.left.min(FILE_CHUNK) as usize);
        let read = self
            .store
            .read_chunk(&self.meta, &mut self.file, self.left, chunk);
        let chunk = read.map_err(|error| match error.kind {
            StorageErrorKind::Changed => StorageError {
                kind: StorageErrorKind::Other,
                message:
                    "it was written to while it was being read; run the same command again when nothing \
                          writes to it any more"
                        .to_owned(),
                ..error
            },
            _ => error,
        })?;
        self.left -= chunk.len() as u64;
        Ok(self.store.buffers.share(chunk))
    }
}

/// An open folder of a walk.
struct Level {
    entries: ReadDir,
    path: PathBuf,
    /// What the keys of its files begin with; ends in `/`, unless it is the root's.
    key: String,
}

impl Level {
    fn open(path: PathBuf, key: String) -> io::Result<Self> {
        Ok(Self {
            entries: fs::read_dir(&path)?,
            path,
            key,
        })
    }
}

/// A name as text; bytes that are not UTF-8 become `\xFF`.
fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        text.push_str(part.valid());
        for byte in part.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(UNFINISHED.0.as_bytes()) && name.ends_with(UNFINISHED.1.as_bytes())
}

/// The version is the time of the last change in nanoseconds, the size, and where there is one the file's number.
fn meta(key: String, data: &Metadata) -> ObjectMeta {
    let nanoseconds = match data.modified() {
        Ok(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |time| -time),
        },
        Err(_) => 0,
    };
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(data);
    #[cfg(not(unix))]
    let number = 0;
    ObjectMeta {
        key,
        size: data.len(),
        last_modified: i64::try_from(nanoseconds.div_euclid(1_000_000)).unwrap_or_default(),
        version: Some(ObjectVersion(format!("{nanoseconds}-{}-{number}", data.len()))),
    }
}

/// Runs file operations where they may block, a few at a time.
async fn reading<T: Send + 'static>(reads: &Semaphore, work: impl FnOnce() -> T + Send + 'static) -> T {
    // Never closed: the store holds it.
    let _permit = reads.acquire().await;
    blocking(work).await
}

/// Runs file operations where they may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[async_trait]
impl Store for LocalStore {
    fn location(&self) -> &str {
        &self.location
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<ObjectMeta, StorageError>> {
        let start = move || {
            let (sender, receiver) = tokio::sync::mpsc::channel(LISTED_AHEAD);
            let (store, prefix) = (self.clone(), prefix.to_owned());
            tokio::task::spawn_blocking(move || {
                store.walk(&prefix, &mut |item| sender.blocking_send(item).is_ok());
            });
            receiver
        };
        // The walk begins when the stream is first asked.
        stream::unfold(None, move |receiver| async move {
            let mut receiver = receiver.unwrap_or_else(start);
            let item = receiver.recv().await?;
            Some((item, Some(receiver)))
        })
        .boxed()
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&ObjectVersion>,
    ) -> Result<ObjectBody, StorageError> {
        let (store, wanted, pinned) = (self.clone(), key.to_owned(), version.cloned());
        // The first bytes come with the opening: most ranges need no second visit to another thread.
        let open = move || {
            let (meta, range, mut file) = store.open_file(&wanted, range, pinned.as_ref())?;
            let left = range.end - range.start;
            let first = (left > 0).then(|| store.body_chunk(&meta, &mut file, left));
            Ok::<_, StorageError>((meta, range, file, first))
        };
        let (meta, range, file, first) = reading(&self.reads, open).await?;
        let left = range.end - range.start;
        let (store, about) = (self.clone(), meta.clone());
        let chunks = stream::try_unfold((file, left, first), move |(mut file, left, first)| {
            let (store, about) = (store.clone(), about.clone());
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let (chunk, file) = match first {
                    Some(first) => (first, file),
                    None => {
                        let reads = Arc::clone(&store.reads);
                        reading(&reads, move || (store.body_chunk(&about, &mut file, left), file)).await
                    }
                };
                let chunk = chunk?;
                let left = left - chunk.len() as u64;
                Ok(Some((chunk, (file, left, None))))
            }
        });
        Ok(ObjectBody {
            meta,
            range,
            chunks: chunks.boxed(),
        })
    }

    fn folder(&self) -> Option<&LocalStore> {
        Some(self)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || store.write(&key, &bytes)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let Some(path) = self.path_of(key) else {
            return Ok(());
        };
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || match fs::remove_file(path) {
            Ok(()) => Ok(()),
            Err(error) => match store.error("delete", &key, &error) {
                error if error.kind == StorageErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        })
        .await
    }
}

mod buffers;
#[cfg(test)]
mod tests;
