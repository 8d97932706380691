//! A limit on payload bytes per second, for a whole run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets bytes go one after another at a steady rate, or without a limit.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    /// When everything that was let go so far has had its time.
    free: Mutex<Instant>,
}

impl Pace {
    /// At most `bytes_per_second`; `None` is no limit. 0 counts as 1.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second,
            free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until it is the turn of `bytes` more. Nothing is saved up while nobody asks, so there are no bursts; those
    /// who wait are served in the order in which they came.
    pub(crate) async fn turn(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let turn = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free).max(Instant::now());
            *free = turn + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn many_who_send_keep_the_rate_together() {
        let pace = Arc::new(Pace::new(Some(1000)));
        let started = Instant::now();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let pace = Arc::clone(&pace);
                tokio::spawn(async move {
                    for _ in 0..5 {
                        pace.turn(500).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // 20 times 500 bytes; the first goes at once.
        assert_eq!(started.elapsed().as_millis(), 9500);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_saved_up_and_no_limit_is_no_wait() {
        let pace = Pace::new(Some(1000));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        pace.turn(1000).await;
        pace.turn(1000).await;
        assert_eq!(started.elapsed().as_millis(), 1000);
        Pace::new(None).turn(u64::MAX).await;
        assert_eq!(started.elapsed().as_millis(), 1000);
    }
}
