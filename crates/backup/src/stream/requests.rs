//! How many requests to the store are under way at once: more, where its answers are slow.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many times as many they become where answers are slow and objects small. With 50 ms for an answer 256 requests
/// bring about 5 000 objects per second, which is what S3 gives below one prefix (5 500).
const MOST_GROWTH: usize = 4;

/// Places for requests to the store, shared by all objects of a run.
pub(super) struct Requests {
    places: Semaphore,
    /// How many places there are now.
    most: AtomicUsize,
    /// How many there can be.
    limit: usize,
}

impl Requests {
    /// So many places, at least one.
    pub(super) fn new(requests: usize) -> Self {
        let requests = requests.clamp(1, Semaphore::MAX_PERMITS / MOST_GROWTH);
        Self {
            places: Semaphore::new(requests),
            most: AtomicUsize::new(requests),
            limit: requests * MOST_GROWTH,
        }
    }

    /// How many places there are now.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Twice as many as now, up to the limit.
    pub(super) fn grow(&self) {
        let grown = |most: usize| (most < self.limit).then(|| (2 * most).min(self.limit));
        if let Ok(before) = self
            .most
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
        {
            self.places.add_permits((2 * before).min(self.limit) - before);
        }
    }

    /// A place, given back when it is dropped.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so there always is one.
        self.places.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_grow_up_to_a_limit() {
        let requests = Requests::new(3);
        for most in [3, 6, 12, 12] {
            let mut taken = Vec::new();
            for _ in 0..most {
                taken.push(requests.place().await);
            }
            assert_eq!((requests.most(), requests.places.available_permits()), (most, 0));
            drop(taken);
            requests.grow();
        }
        assert_eq!(Requests::new(0).most(), 1);
    }
}
