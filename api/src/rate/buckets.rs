//! Token buckets by key, with a bound on how many are kept.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota as Pace, RateLimiter};

use crate::http::{ErrorCode, Quota, Refusal};

/// The bucket holds what there may be in this many seconds.
const WINDOW: u32 = 2;

/// Buckets that are kept at most, but for those that come between two looks.
const MOST: usize = 100_000;

/// Requests between two looks at how many there are.
const LOOK_AFTER: usize = 1024;

type Limiter<K, C> = RateLimiter<K, States<K>, C, StateInformationMiddleware>;

/// The states of the buckets, which a limiter keeps to itself: shared, so that a key can be looked for without making it one.
struct States<K: Hash + Eq + Clone>(Arc<DashMapStateStore<K>>);

impl<K: Hash + Eq + Clone> StateStore for States<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, measure)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for States<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One bucket for each key.
pub(super) struct Buckets<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    policy: &'static str,
    rate: NonZeroU32,
    /// `None` is the bucket that all new keys share while there are too many.
    limiter: Limiter<Option<K>, C>,
    states: Arc<DashMapStateStore<Option<K>>>,
    clock: C,
    most: usize,
    counted: AtomicUsize,
    full: AtomicBool,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets that take so many in a second.
    pub(super) fn new(policy: &'static str, rate: NonZeroU32) -> Self {
        Self::with_clock(policy, rate, DefaultClock::default(), MOST)
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Buckets<K, C> {
    fn with_clock(policy: &'static str, rate: NonZeroU32, clock: C, most: usize) -> Self {
        let burst = rate.saturating_mul(NonZeroU32::new(WINDOW).unwrap_or(NonZeroU32::MIN));
        let pace = Pace::per_second(rate).allow_burst(burst);
        let states = Arc::new(DashMapStateStore::default());
        Self {
            policy,
            rate,
            limiter: RateLimiter::new(pace, States(Arc::clone(&states)), clock.clone()),
            states,
            clock,
            most,
            counted: AtomicUsize::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Takes one from the key's bucket, or refuses.
    pub(super) fn take(&self, key: K) -> Result<Quota, Refusal> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % LOOK_AFTER == LOOK_AFTER - 1 {
            self.tidy();
        }
        let mut key = Some(key);
        if self.full.load(Ordering::Relaxed) && !self.states.contains_key(&key) {
            key = None;
        }
        match self.limiter.check_key(&key) {
            Ok(state) => Ok(self.quota(state.remaining_burst_capacity())),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let rate = self.rate;
                let message = format!(
                    "more than {rate} requests a second (limits.requests_per_second): send the next after {} ms",
                    wait.as_millis() + 1
                );
                let refusal = Refusal::new(ErrorCode::RateLimited, message);
                Err(refusal.retry_after(wait).with_quota(self.quota(0)))
            }
        }
    }

    fn quota(&self, remaining: u32) -> Quota {
        let rate = self.rate.get();
        let limit = rate.saturating_mul(WINDOW);
        let missing = limit.saturating_sub(remaining);
        Quota {
            policy: self.policy,
            limit,
            window: Duration::from_secs(WINDOW.into()),
            remaining,
            reset: Duration::from_secs_f64(f64::from(missing) / f64::from(rate)),
        }
    }

    /// Forgets buckets that are full again, which is to say after two seconds: as if they had never been.
    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.full
            .store(self.limiter.len() >= self.most, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn buckets(rate: u32, most: usize) -> (Buckets<usize, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = NonZeroU32::new(rate).unwrap();
        (
            Buckets::with_clock("test", rate, clock.clone(), most),
            clock,
        )
    }

    #[test]
    fn a_bucket_holds_two_seconds_and_fills_at_its_rate() {
        let (buckets, clock) = buckets(50, MOST);
        for left in (0..100).rev() {
            assert_eq!(buckets.take(1).unwrap().remaining, left);
        }
        let refusal = buckets.take(1).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(20)));
        let quota = refusal.quota.unwrap();
        assert_eq!((quota.limit, quota.remaining), (100, 0));
        assert_eq!(
            (quota.window, quota.reset),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
        assert!(buckets.take(2).is_ok(), "another key has its own");
        clock.advance(Duration::from_secs(1));
        let let_in = (0..100).take_while(|_| buckets.take(1).is_ok()).count();
        assert_eq!(let_in, 50);
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (buckets, clock) = buckets(50, MOST);
        for key in 0..LOOK_AFTER {
            buckets.take(key).unwrap();
        }
        assert_eq!(buckets.limiter.len(), LOOK_AFTER);
        clock.advance(Duration::from_secs(2));
        for _ in 0..LOOK_AFTER {
            let _ = buckets.take(0);
        }
        assert_eq!(buckets.limiter.len(), 1);
    }

    #[test]
    fn the_number_of_buckets_has_a_bound_beyond_which_new_keys_share_one() {
        let (buckets, clock) = buckets(50, 100);
        let let_in = (0..10 * LOOK_AFTER).filter(|key| buckets.take(*key).is_ok());
        assert_eq!(let_in.count(), LOOK_AFTER - 1 + 100);
        assert_eq!(buckets.limiter.len(), LOOK_AFTER);
        clock.advance(Duration::from_secs(2));
        for _ in 0..LOOK_AFTER {
            let _ = buckets.take(0);
        }
        assert!(!buckets.full.load(Ordering::Relaxed));
    }

    #[test]
    fn a_key_with_a_bucket_keeps_it_while_new_ones_share() {
        let (buckets, clock) = buckets(50, 100);
        for key in 0..LOOK_AFTER {
            buckets.take(key).unwrap();
        }
        assert!(buckets.full.load(Ordering::Relaxed));
        let shared = (LOOK_AFTER..2 * LOOK_AFTER - 1).filter(|key| buckets.take(*key).is_ok());
        assert_eq!(shared.count(), 99, "the last of the others took one");
        assert_eq!(buckets.take(0).unwrap().remaining, 98);
        clock.advance(Duration::from_millis(20));
        assert_eq!(buckets.take(0).unwrap().remaining, 98, "at its own rate");
    }
}
