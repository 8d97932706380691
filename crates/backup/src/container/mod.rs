//! Containers around a file's bytes: gzip, xerial snappy, zstd, or none; told by magic bytes, streaming.

/// Unwraps one layer of compression, sans I/O.
pub trait Unwrap: Send {
    /// Unwraps from `input` (which starts where the last call stopped using it) and appends to `output`
    /// until `input` is used up or `output.len()` has reached `output_limit`. Gives the bytes used.
    fn unwrap(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<usize, ContainerError>;

    /// Says that the input has ended: an error where the container is not complete.
    fn finish(&mut self) -> Result<(), ContainerError>;
}

/// A container that is damaged or stops early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ContainerError {
    /// What is wrong, for people.
    pub reason: String,
    /// Where, in bytes from the start of the stored object.
    pub byte_offset: u64,
    /// True where the content simply stops early.
    pub truncated: bool,
}
