use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers kept for another use: enough for the batches that are usually queued and in flight.
const MAX_KEPT: usize = 64;

/// Buffers of finished batches, used again once the network is done with them.
///
/// Cheap to clone; encoders that share one pool share the buffers. At most 64 free buffers are kept, and none
/// larger than twice what the encoders ask for.
#[derive(Clone, Default, Debug)]
pub struct BufferPool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BufferPool {
    /// A pool without buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory in free buffers.
    pub fn memory_bytes(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter().map(Vec::capacity).sum()
    }

    /// An empty buffer, with whatever capacity it had before.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_default()
    }

    /// Gives a buffer out as shared bytes; it comes back when the last of them is dropped, unless its capacity
    /// is above `max_kept_capacity`.
    pub(super) fn share(&self, buffer: Vec<u8>, max_kept_capacity: usize) -> Bytes {
        let pool = (buffer.capacity() <= max_kept_capacity).then(|| self.clone());
        Bytes::from_owner(Pooled { buffer, pool })
    }
}

struct Pooled {
    buffer: Vec<u8>,
    pool: Option<BufferPool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(pool) = &self.pool else { return };
        let mut free = pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_KEPT {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_user_is_gone() {
        let pool = BufferPool::new();
        let shared = pool.share(vec![1; 1000], 4096);
        let slice = shared.slice(10..20);
        drop(shared);
        assert_eq!(pool.memory_bytes(), 0);
        drop(slice);
        assert_eq!(pool.memory_bytes(), 1000);
        assert!(pool.take().is_empty());
        assert_eq!(pool.memory_bytes(), 0);
    }

    #[test]
    fn large_buffers_and_too_many_are_not_kept() {
        let pool = BufferPool::new();
        drop(pool.share(vec![0; 5000], 4096));
        assert_eq!(pool.memory_bytes(), 0);
        let shared: Vec<_> = (0..100).map(|_| pool.share(vec![0; 10], 4096)).collect();
        drop(shared);
        assert_eq!(pool.memory_bytes(), 640);
    }
}
