//! When a failed attempt is followed by another: exponential back-off with full jitter.

use std::time::Duration;

use crate::settings::RetrySettings;

impl RetrySettings {
    /// Attempts of one acceptance, as the database counts them.
    pub(crate) fn attempts(&self) -> i32 {
        i32::try_from(self.max_attempts).unwrap_or(i32::MAX)
    }

    /// The wait after attempt `attempt` (1 is the first): a random part of `base_delay` doubled with each attempt, at
    /// most `max_delay`. `random` is any number, evenly distributed. Full jitter spreads those that failed together
    /// (Brooker, "Exponential Backoff And Jitter", 2015).
    pub(crate) fn delay(&self, attempt: i32, random: u32) -> Duration {
        part(self.longest(attempt), random)
    }

    /// The wait after an attempt that uses up none, the `in_a_row`th one: at least `least`, which is what the fault asks for, and
    /// at least half of what `base_delay` comes to, doubled with each. A random time up to the other half is added. So a registry
    /// that asks for no patience at all, and an engine that comes and goes, are asked ever more seldom.
    pub(crate) fn free_delay(&self, in_a_row: i32, least: Duration, random: u32) -> Duration {
        let half = self.longest(in_a_row) / 2;
        least.max(half) + part(half, random)
    }

    /// `base_delay` doubled with each attempt but the first, at most `max_delay`.
    fn longest(&self, attempt: i32) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(0)
            .min(30);
        self.base_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay)
    }
}

/// A random part of a time. `random` is any number, evenly distributed.
fn part(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> RetrySettings {
        RetrySettings {
            max_attempts: 5,
            base_delay: Duration::from_secs(2),
            max_delay: Duration::from_mins(5),
            rate_limit_patience: Duration::from_hours(6),
        }
    }

    #[test]
    fn it_doubles_up_to_the_most() {
        let longest: Vec<u64> = (1..=9)
            .map(|attempt| settings().delay(attempt, u32::MAX).as_secs())
            .collect();
        assert_eq!(longest, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(settings().delay(1, 0), Duration::ZERO);
    }

    #[test]
    fn a_free_attempt_is_never_followed_at_once() {
        let shortest = |in_a_row| settings().free_delay(in_a_row, Duration::ZERO, 0);
        let seconds: Vec<u64> = (1..=9).map(|n| shortest(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 150]);
        let asked = Duration::from_mins(10);
        assert_eq!(settings().free_delay(1, asked, 0), asked);
        let longest = settings().free_delay(1, asked, u32::MAX);
        assert_eq!(longest, asked + Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn never_more_than_the_most(attempt in i32::MIN..i32::MAX, random: u32) {
            prop_assert!(settings().delay(attempt, random) <= Duration::from_mins(5));
        }
    }
}
