//! Containers around a file's bytes: gzip, xerial snappy, zstd, or none; told by magic bytes, streaming.
//!
//! Every [`Unwrap`] is a push-style state machine: it takes slices of stored bytes and appends unwrapped
//! bytes to a vector up to a limit, so a small object that unwraps to a huge one costs time and no memory.
//! What a container can prove it proves (gzip: CRC-32 and length), and a container that stops early is told
//! apart from one that is damaged. [`Chain`] stacks containers that lie in one another.
//!
//! The file's suffix is never asked: sinks write gzip without `.gz` and parquet with it.

mod chain;
mod gzip;
mod inflate;
mod xerial;
mod zstandard;

pub use chain::{Chain, StoredBytes};
pub use gzip::Gzip;
pub(crate) use inflate::Inflate;
pub use xerial::XerialSnappy;
pub use zstandard::Zstandard;

/// Bytes that are enough for [`sniff`] to tell every container.
pub const SNIFF_BYTES: usize = 8;

/// A container, as its first bytes tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// RFC 1952: `1f 8b`.
    Gzip,
    /// snappy-java's stream: `82 53 4e 41 50 50 59 00`, two versions, then blocks with a length each.
    XerialSnappy,
    /// RFC 8878: `28 b5 2f fd`.
    Zstd,
    /// No container that we know.
    None,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Container::Gzip => "gzip",
            Container::XerialSnappy => "snappy",
            Container::Zstd => "zstd",
            Container::None => "none",
        })
    }
}

/// Tells the container from the first bytes of a file; [`SNIFF_BYTES`] of them, or the whole file, are
/// enough.
pub fn sniff(first_bytes: &[u8]) -> Container {
    if first_bytes.starts_with(&gzip::MAGIC) {
        Container::Gzip
    } else if first_bytes.starts_with(&xerial::MAGIC) {
        Container::XerialSnappy
    } else if first_bytes.starts_with(&zstandard::MAGIC) {
        Container::Zstd
    } else {
        Container::None
    }
}

/// The unwrapper of a container, or nothing for [`Container::None`].
pub fn unwrapper(container: Container) -> Option<Box<dyn Unwrap>> {
    match container {
        Container::Gzip => Some(Box::new(Gzip::new())),
        Container::XerialSnappy => Some(Box::new(XerialSnappy::new())),
        Container::Zstd => Some(Box::new(Zstandard::new())),
        Container::None => None,
    }
}

/// Unwraps one layer of compression, sans I/O.
pub trait Unwrap: Send {
    /// Unwraps from `input` (which starts where the last call stopped using it) and appends to `output`
    /// until `input` is used up or `output.len()` has reached `output_limit`. Gives the bytes used.
    ///
    /// Spare capacity that `output` has beyond the limit may be filled too. A call with empty `input` gives what is still pending inside. Where an error comes back,
    /// what was unwrapped before it is in `output`.
    fn unwrap(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<usize, ContainerError>;

    /// Says that the input has ended: an error where the container is not complete.
    fn finish(&mut self) -> Result<(), ContainerError>;

    /// Bytes of memory that it holds beside a few tens of KiB: for budgets.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Bytes behind the end of the container that mean nothing and were passed over: gzip allows zeros, as
    /// tapes and block stores leave them.
    fn padding_bytes(&self) -> u64 {
        0
    }
}

/// A container that is damaged or stops early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ContainerError {
    /// What is wrong, for people.
    pub reason: String,
    /// Where, in bytes from the start of the container's own input: the stored object, or what the
    /// container around this one holds.
    pub byte_offset: u64,
    /// True where the content simply stops early.
    pub truncated: bool,
}

/// Makes room for up to `limit` bytes in `output`, at most `piece` at once, without touching the memory.
fn make_room(output: &mut Vec<u8>, limit: usize, piece: usize) {
    if output.capacity() == output.len() {
        output.reserve(limit.saturating_sub(output.len()).min(piece));
    }
}

#[cfg(test)]
mod tests;
