//! Trying again: how long, and with which pauses.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::ClientConfig;
use crate::error::KafkaError;

/// Patience for one operation: a deadline, and pauses that double up to a limit, each with a fifth of chance in it so
/// that many clients do not knock together.
#[derive(Debug)]
pub struct Retry {
    started: Instant,
    deadline: Instant,
    next: Duration,
    longest: Duration,
}

impl Retry {
    /// Patience until `limit` from now, with the pauses of the settings.
    pub fn new(config: &ClientConfig, limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            // A limit beyond all clocks is a day.
            deadline: now
                .checked_add(limit)
                .unwrap_or(now + Duration::from_secs(24 * 60 * 60)),
            next: config.retry_backoff,
            longest: config.retry_backoff_max.max(config.retry_backoff),
        }
    }

    /// The time since the operation began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the next attempt.
    ///
    /// # Errors
    ///
    /// `error` itself, at once, where trying again cannot help, or where the next attempt would come after the deadline.
    pub async fn pause(&mut self, error: KafkaError) -> Result<(), KafkaError> {
        if !error.is_retriable() {
            return Err(error);
        }
        let pause = jitter(self.next);
        if Instant::now() + pause > self.deadline {
            return Err(error);
        }
        tracing::debug!(%error, ?pause, "trying again");
        self.next = (self.next * 2).min(self.longest);
        sleep(pause).await;
        Ok(())
    }
}

/// Between 80 % and 120 %.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.8 + random(401) as f64 / 1000.0)
}

/// A number below `bound`, or 0 where that is 0. Chance enough for pauses and first choices: the keys of a hash map are
/// drawn from the system's random numbers.
pub(super) fn random(bound: usize) -> usize {
    let number = RandomState::new().hash_one(0_u8);
    number.checked_rem(bound as u64).unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> KafkaError {
        KafkaError::Disconnected {
            addr: "b:1".to_owned(),
            message: "x".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_at_the_deadline() {
        let config = ClientConfig::new(Vec::new());
        let mut retry = Retry::new(&config, Duration::from_secs(10));
        let mut pauses = 0;
        while retry.pause(lost()).await.is_ok() {
            pauses += 1;
        }
        // 0.1, 0.2, 0.4, 0.8, then 1 s each, all within a fifth.
        assert!((10..=15).contains(&pauses), "{pauses}");
        assert!(retry.elapsed() <= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_help_is_not_waited_for() {
        let config = ClientConfig::new(Vec::new());
        let mut retry = Retry::new(&config, Duration::from_secs(10));
        let error = KafkaError::config("a", "b");
        assert_eq!(retry.pause(error.clone()).await, Err(error));
        assert_eq!(retry.elapsed(), Duration::ZERO);
    }

    #[test]
    fn random_numbers_stay_below_the_bound() {
        assert_eq!(random(0), 0);
        assert_eq!(random(1), 0);
        let drawn: std::collections::BTreeSet<usize> = (0..200).map(|_| random(4)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
