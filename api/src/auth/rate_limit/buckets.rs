//! Token buckets by key, with a bound on the number of keys.
//!
//! A bucket is stored as the time at which it will be full again (the generic cell rate algorithm). That time may lie
//! further ahead than an empty bucket takes to fill: a charge after the fact is owed, for a bounded time. Rate limiters on
//! crates.io cannot owe (ADR 0047).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::lock;
use crate::http::{ErrorCode, Quota, Refusal};

/// A bucket holds the requests of this time.
const WINDOW: Duration = Duration::from_secs(2);

/// Longest time for which a key owes charges beyond an empty bucket.
const DEBT: Duration = Duration::from_secs(3);

/// How many of the least recently used buckets are examined for a full one, which can be dropped.
const LOOKS: usize = 8;

/// One bucket for each key.
pub(crate) struct Buckets<K: Hash + Eq + Clone> {
    policy: &'static str,
    rate: NonZeroU32,
    /// When each bucket is full again. `None` is the bucket that all new keys share while there are too many.
    full_at: Mutex<LruCache<Option<K>, Instant>>,
    most: usize,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets for `most` keys that fill at `rate` requests a second. `policy` names them in `RateLimit` headers.
    pub(crate) fn new(policy: &'static str, rate: NonZeroU32, most: usize) -> Self {
        Self {
            policy,
            rate,
            full_at: Mutex::new(LruCache::unbounded()),
            most,
        }
    }

    /// Takes a request from the key's bucket, and returns the rest. Fails with `RATE_LIMITED` where it is empty.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<Quota, Refusal> {
        let mut full_at = lock(&self.full_at);
        let (key, full) = self.bucket(&mut full_at, key, now);
        let then = self.admit(full, now)?;
        full_at.put(key, then);
        Ok(self.quota(then, now))
    }

    /// Fails like [`Self::take`], but takes nothing.
    pub(crate) fn check(&self, key: K, now: Instant) -> Result<(), Refusal> {
        let (_, full) = self.bucket(&mut lock(&self.full_at), key, now);
        self.admit(full, now).map(drop)
    }

    /// Takes a request, even from an empty bucket: the key then owes it, and is refused until the bucket has made up for it,
    /// for [`DEBT`] at most. The shared bucket owes nothing.
    pub(crate) fn charge(&self, key: K, now: Instant) {
        let mut full_at = lock(&self.full_at);
        let (key, full) = self.bucket(&mut full_at, key, now);
        let most = match key {
            Some(_) => WINDOW + DEBT.max(self.interval()),
            None => WINDOW,
        };
        full_at.put(key, (full + self.interval()).min(now + most));
    }

    /// Puts a request back.
    pub(crate) fn refund(&self, key: K, now: Instant) {
        let mut full_at = lock(&self.full_at);
        let (key, full) = self.bucket(&mut full_at, key, now);
        let then = full.checked_sub(self.interval()).unwrap_or(now);
        full_at.put(key, then.max(now));
    }

    /// Returns the bucket of a key, and when it is full again. A full bucket need not be stored, so that a full one among the
    /// least recently used makes room for a new key.
    fn bucket(
        &self,
        full_at: &mut LruCache<Option<K>, Instant>,
        key: K,
        now: Instant,
    ) -> (Option<K>, Instant) {
        let mut key = Some(key);
        if full_at.len() >= self.most && !full_at.contains(&key) && !make_room(full_at, now) {
            key = None;
        }
        let full = full_at.get(&key).copied();
        (key, full.map_or(now, |full| full.max(now)))
    }

    /// Returns when a bucket is full again after one more request. Fails with `RATE_LIMITED` where it is empty.
    fn admit(&self, full: Instant, now: Instant) -> Result<Instant, Refusal> {
        let then = full + self.interval();
        let wait = then.duration_since(now).saturating_sub(WINDOW);
        if wait.is_zero() {
            return Ok(then);
        }
        let rate = self.rate;
        let message = format!(
            "more than {rate} requests a second (limits.requests_per_second): send the next after {} ms",
            wait.as_millis() + 1
        );
        Err(Refusal {
            quota: Some(self.quota(full, now)),
            ..Refusal::new(ErrorCode::RateLimited, message).retry_after(wait)
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.get()
    }

    fn quota(&self, full: Instant, now: Instant) -> Quota {
        let reset = full.duration_since(now);
        let left = WINDOW.saturating_sub(reset);
        let seconds = u32::try_from(WINDOW.as_secs()).unwrap_or(u32::MAX);
        let limit = self.rate.get().saturating_mul(seconds);
        let remaining = left.as_nanos() / self.interval().as_nanos().max(1);
        Quota {
            policy: self.policy,
            limit,
            window: WINDOW,
            remaining: u32::try_from(remaining).map_or(limit, |remaining| remaining.min(limit)),
            reset,
        }
    }
}

/// Drops a full bucket, if there is one among the least recently used, and returns whether there was. The others become the
/// most recently used, so that the next call examines different ones.
fn make_room<K: Hash + Eq + Clone>(
    full_at: &mut LruCache<Option<K>, Instant>,
    now: Instant,
) -> bool {
    for _ in 0..LOOKS {
        match full_at.peek_lru() {
            Some((Some(_), oldest)) if *oldest <= now => {
                full_at.pop_lru();
                return true;
            }
            Some((key, _)) => {
                let key = key.clone();
                full_at.promote(&key);
            }
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(rate: u32, most: usize) -> (Buckets<usize>, Instant) {
        let rate = NonZeroU32::new(rate).unwrap();
        (Buckets::new("test", rate, most), Instant::now())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_holds_two_seconds_and_fills_at_its_rate() {
        let (buckets, now) = buckets(50, 10);
        for left in (0..100).rev() {
            assert_eq!(buckets.take(1, now).unwrap().remaining, left);
        }
        let refusal = buckets.take(1, now).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(20)));
        let quota = refusal.quota.unwrap();
        assert_eq!((quota.limit, quota.remaining), (100, 0));
        assert_eq!((quota.window, quota.reset), (WINDOW, WINDOW));
        assert!(buckets.take(2, now).is_ok(), "another key has its own");
        let let_in = (0..100).take_while(|_| buckets.take(1, now + SECOND).is_ok());
        assert_eq!(let_in.count(), 50);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_is_kept_too() {
        for rate in [1, 3, 7, 999, 10_000] {
            let (buckets, now) = buckets(rate, 10);
            let let_in = (0..).take_while(|_| buckets.take(1, now).is_ok());
            assert_eq!(let_in.count(), 2 * rate as usize);
        }
    }

    #[test]
    fn checking_takes_nothing() {
        let (buckets, now) = buckets(1, 10);
        for _ in 0..10 {
            buckets.check(1, now).unwrap();
        }
        buckets.charge(1, now);
        buckets.charge(1, now);
        assert_eq!(buckets.check(1, now).unwrap_err().retry_after, Some(SECOND));
    }

    #[test]
    fn charges_beyond_an_empty_bucket_are_owed() {
        let (buckets, now) = buckets(50, 10);
        for _ in 0..1000 {
            buckets.charge(1, now);
        }
        let refusal = buckets.check(1, now).unwrap_err();
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(3020)));
        assert!(buckets.take(1, now + 3 * SECOND).is_err());
        assert!(buckets.take(1, now + 4 * SECOND).is_ok());
        assert!(buckets.take(2, now).is_ok());
    }

    #[test]
    fn a_refund_can_be_taken_again() {
        let (buckets, now) = buckets(1, 10);
        buckets.take(1, now).unwrap();
        buckets.take(1, now).unwrap();
        buckets.refund(1, now);
        assert_eq!(buckets.take(1, now).unwrap().remaining, 0);
        for _ in 0..5 {
            buckets.refund(1, now);
        }
        let remaining = buckets.take(1, now).unwrap().remaining;
        assert_eq!(remaining, 1, "no more than it holds");
    }

    #[test]
    fn the_number_of_buckets_has_a_bound_beyond_which_new_keys_share_one() {
        let (buckets, now) = buckets(50, 100);
        let let_in = (0..1000).filter(|key| buckets.take(*key, now).is_ok());
        assert_eq!(let_in.count(), 200);
        let remaining = buckets.take(0, now).unwrap().remaining;
        assert_eq!(remaining, 98, "it keeps its own");
        assert_eq!(lock(&buckets.full_at).len(), 101);
        // What all new ones share is not charged beyond what it holds.
        for key in 1000..2000 {
            buckets.charge(key, now);
        }
        assert!(buckets.take(2000, now + SECOND).is_ok());
    }

    #[test]
    fn one_that_owes_for_long_keeps_no_place_from_the_others() {
        let (buckets, now) = buckets(50, 100);
        for _ in 0..10_000 {
            buckets.charge(0, now);
        }
        for key in 1..100 {
            buckets.take(key, now).unwrap();
        }
        let taken = buckets.take(1000, now + 2 * SECOND).unwrap();
        assert_eq!(taken.remaining, 99);
        assert_eq!(buckets.take(1001, now + 2 * SECOND).unwrap().remaining, 99);
        assert!(buckets.take(0, now + 2 * SECOND).is_err());
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let (buckets, now) = buckets(50, 100);
        for key in 0..1000 {
            let _ = buckets.take(key, now);
        }
        for key in 1000..1100 {
            let taken = buckets.take(key, now + 2 * SECOND);
            assert_eq!(taken.unwrap().remaining, 99);
        }
        assert_eq!(lock(&buckets.full_at).len(), 101);
    }
}
