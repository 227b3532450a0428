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
        let doublings = u32::try_from(attempt.saturating_sub(1))
            .unwrap_or(0)
            .min(30);
        let most = self
            .base_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        most.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
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

    proptest! {
        #[test]
        fn never_more_than_the_most(attempt in i32::MIN..i32::MAX, random: u32) {
            prop_assert!(settings().delay(attempt, random) <= Duration::from_mins(5));
        }
    }
}
