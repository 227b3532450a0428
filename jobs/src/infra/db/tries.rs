//! Running a transaction again: the number of tries, and the time for all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::deadlines::TRANSACTION;
use crate::infra::db::Transient;

/// Most runs of a transaction that lost a deadlock.
const MOST: u32 = 10;

/// The tries of one transaction.
///
/// None begins once the first began [`TRANSACTION`] ago: a lock that could not be had in time is waited for again, and
/// each of these waits may be long. So the whole ends within twice that time.
pub(crate) struct Tries {
    began: Instant,
    made: u32,
}

impl Tries {
    /// The first one begins.
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            made: 1,
        }
    }

    /// Whether another try may help after this error, and is to be made. It waits a little and at random before that, so
    /// that two transactions do not meet again.
    pub(crate) async fn again(&mut self, error: &impl Transient) -> bool {
        let begins = self.made < MOST && self.began.elapsed() < TRANSACTION;
        if !begins || !error.is_transient() {
            return false;
        }
        let most = 5u64 << self.made.min(6);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=most))).await;
        self.made += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Error(bool);

    impl Transient for Error {
        fn is_transient(&self) -> bool {
            self.0
        }
    }

    #[tokio::test]
    async fn they_are_bounded_by_number() {
        let mut tries = Tries::begin();
        assert!(!tries.again(&Error(false)).await);
        for _ in 1..MOST {
            assert!(tries.again(&Error(true)).await);
        }
        assert!(!tries.again(&Error(true)).await);
    }

    #[tokio::test]
    async fn they_are_bounded_by_time() {
        // Each waits ten seconds for a row.
        let after = |seconds| Tries {
            began: Instant::now()
                .checked_sub(Duration::from_secs(seconds))
                .unwrap(),
            made: 1,
        };
        assert!(after(10).again(&Error(true)).await);
        assert!(!after(20).again(&Error(true)).await);
    }
}
