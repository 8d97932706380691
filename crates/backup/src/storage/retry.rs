//! How often a request is tried, and how long between two tries.
//!
//! The wait doubles from try to try and is drawn at random from its upper half, so that many tasks that failed
//! together do not come back together.

use std::time::Duration;

/// Bounds for trying a request again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often a request is sent at most, the first time included.
    pub attempts: u32,
    /// The longest wait before the second try; it doubles from then on.
    pub first_delay: Duration,
    /// The longest wait before any try, also where the server names a longer one.
    pub longest_delay: Duration,
    /// How long to wait for the head of an answer, and for the next bytes of a body.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    /// Ten tries over about a minute.
    fn default() -> Self {
        Self {
            attempts: 10,
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(15),
            patience: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the try `attempt` (from 1) failed, where the server asked for `server_wish`.
    pub fn delay(&self, attempt: u32, server_wish: Option<Duration>) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        let longest = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay);
        let drawn = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        server_wish.map_or(drawn, |wish| drawn.max(wish.min(self.longest_delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_bounded() {
        let policy = RetryPolicy::default();
        for attempt in 1..100 {
            let delay = policy.delay(attempt, None);
            let longest = (200u64 << (attempt - 1).min(20)).min(15_000);
            assert!(
                delay <= Duration::from_millis(longest),
                "attempt {attempt}: {delay:?}"
            );
            assert!(
                delay >= Duration::from_millis(longest / 2),
                "attempt {attempt}: {delay:?}"
            );
        }
        assert!(policy.delay(u32::MAX, None) <= policy.longest_delay);
    }

    #[test]
    fn a_server_may_ask_for_more_but_not_for_hours() {
        let policy = RetryPolicy::default();
        assert!(policy.delay(1, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        assert_eq!(
            policy.delay(1, Some(Duration::from_secs(9_000))),
            policy.longest_delay
        );
    }
}
