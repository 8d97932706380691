//! Buffers that are used again: fresh memory costs more than reading a file from the cache, since the system has to
//! clear it first.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Free buffers that are kept.
const KEPT: usize = 8;

/// Buffers of one size. Cheap to clone; clones share the buffers.
#[derive(Clone, Debug)]
pub(super) struct Buffers {
    size: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// No buffers yet, of `size` bytes each.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            free: Arc::default(),
        }
    }

    /// A buffer of `length` bytes, whatever they are. Only full-sized ones are used again: a smaller piece of data must not
    /// hold on to more memory than it has bytes.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        if length != self.size {
            return vec![0; length];
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = free.pop();
        drop(free);
        match buffer {
            Some(mut buffer) => {
                // Only what was cut off has to be filled.
                buffer.resize(length, 0);
                buffer
            }
            None => vec![0; length],
        }
    }

    /// Gives a buffer out as shared bytes; it comes back when the last of them is dropped.
    pub(super) fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() != self.size {
            return buffer.into();
        }
        Bytes::from_owner(Lent {
            buffer,
            home: self.clone(),
        })
    }
}

/// A buffer on its way.
struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_sized_buffer_comes_back_and_others_do_not() {
        let buffers = Buffers::new(100);
        let mut buffer = buffers.take(100);
        buffer.truncate(60);
        buffer.fill(7);
        let address = buffer.as_ptr();
        let bytes = buffers.share(buffer);
        let part = bytes.slice(10..20);
        drop(bytes);
        let other = buffers.take(100);
        assert_ne!(other.as_ptr(), address);
        assert_eq!(part[..], [7; 10]);
        drop(part);
        let again = buffers.take(100);
        assert!(again.len() == 100 && again.as_ptr() == address);
        drop(buffers.share(buffers.take(99)));
        assert!(buffers.free.lock().unwrap().is_empty());
    }

    #[test]
    fn only_some_are_kept() {
        let buffers = Buffers::new(10);
        let all: Vec<Bytes> = (0..3 * KEPT).map(|_| buffers.share(buffers.take(10))).collect();
        drop(all);
        assert_eq!(buffers.free.lock().unwrap().len(), KEPT);
    }
}
