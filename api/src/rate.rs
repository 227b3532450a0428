//! How many requests may come in a second: of one user, or of one address that is not signed in.
//!
//! Both are token buckets of twice what there may be in a second, so that a page that loads, or a script that begins, need
//! not pace itself. A request is counted before its token is looked up: what is over the limit costs no statement. Whose a
//! token is is known from the last time that it was good. One that this process has not seen costs its address nothing if it
//! is good, so that a class behind one address is back at once after a restart, and one request if it is not, or if
//! nobody comes to ask.

mod buckets;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use uuid::Uuid;

use self::buckets::Buckets;
use crate::client_address::ClientAddress;
use crate::http::{ErrorCode, Quota, Refusal};

/// Tokens of which it is remembered whose they are.
const KNOWN_TOKENS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Requests of one address that may be waiting for their tokens to be looked up: a large hall that comes back at once. If
/// all of their tokens are no good, that many are owed.
const UNRESOLVED: usize = 5000;

/// When to come back where there are more.
const LATER: Duration = Duration::from_secs(1);

/// The limits of one gateway. Clones share what they count.
#[derive(Clone)]
pub(crate) struct RateLimits(Arc<Counts>);

struct Counts {
    /// Users by a hash of their tokens. Its key is random and of this process; two tokens that share a hash would share a
    /// bucket, and nothing else.
    known: Mutex<LruCache<u64, Uuid>>,
    hasher: RandomState,
    /// None where nothing is counted.
    buckets: Option<(Buckets<Uuid>, Buckets<IpAddr>)>,
    unresolved: Mutex<HashMap<IpAddr, usize>>,
}

/// A request that was counted.
#[derive(Default)]
pub(crate) struct Counted {
    /// What is left; none where nothing is counted.
    pub(crate) quota: Option<Quota>,
    /// There if it is not known yet whose request it is.
    pub(crate) unresolved: Option<Unresolved>,
}

/// A request whose caller is not known yet. Dropped before it is resolved, it is charged to its address.
pub(crate) struct Unresolved {
    counts: Arc<Counts>,
    address: Mutex<Option<IpAddr>>,
}

impl RateLimits {
    /// So many requests in a second; 0 is any number.
    pub(crate) fn new(per_second: u32) -> Self {
        let buckets = NonZeroU32::new(per_second).map(|rate| {
            let users = Buckets::new("user", rate);
            (users, Buckets::new("address", rate))
        });
        Self(Arc::new(Counts {
            known: Mutex::new(LruCache::new(KNOWN_TOKENS)),
            hasher: RandomState::new(),
            buckets,
            unresolved: Mutex::default(),
        }))
    }

    /// Counts a request with this token from this address; a refusal where there were too many.
    pub(crate) fn count(
        &self,
        token: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<Counted, Refusal> {
        if let Some(user) = token.and_then(|token| self.known(token)) {
            let quota = self.count_user(user)?;
            return Ok(Counted {
                quota,
                unresolved: None,
            });
        }
        if token.is_some() {
            return self.count_unresolved(address);
        }
        let quota = match (&self.0.buckets, address) {
            (Some((_, addresses)), Some(address)) => {
                Some(addresses.take(network(address.0), Instant::now())?)
            }
            // Not over the network.
            _ => None,
        };
        Ok(Counted {
            quota,
            unresolved: None,
        })
    }

    /// Counts a request of a user; a refusal where there were too many.
    pub(crate) fn count_user(&self, user: Uuid) -> Result<Option<Quota>, Refusal> {
        let Some((users, _)) = &self.0.buckets else {
            return Ok(None);
        };
        users.take(user, Instant::now()).map(Some)
    }

    /// Lets a request in from an address that nothing is owed of, and of which it will be known later whose it is.
    pub(crate) fn count_unresolved(
        &self,
        address: Option<ClientAddress>,
    ) -> Result<Counted, Refusal> {
        let (Some((_, addresses)), Some(address)) = (&self.0.buckets, address) else {
            return Ok(Counted::default());
        };
        let address = network(address.0);
        let quota = addresses.look(address, Instant::now())?;
        let mut unresolved = lock(&self.0.unresolved);
        let waiting = unresolved.entry(address).or_default();
        if *waiting >= UNRESOLVED {
            let message = format!(
                "{UNRESOLVED} requests from your address wait for their tokens to be looked up: try again after a second"
            );
            let refusal = Refusal::new(ErrorCode::RateLimited, message);
            return Err(refusal.retry_after(LATER).with_quota(quota));
        }
        *waiting += 1;
        Ok(Counted {
            quota: Some(quota),
            unresolved: Some(Unresolved {
                counts: Arc::clone(&self.0),
                address: Mutex::new(Some(address)),
            }),
        })
    }

    /// Whose a token was the last time that it was looked up.
    pub(crate) fn known(&self, token: &str) -> Option<Uuid> {
        let hash = self.0.hasher.hash_one(token);
        lock(&self.0.known).get(&hash).copied()
    }

    /// Notes whose a token was found to be; nobody's where it is no good any more.
    pub(crate) fn note(&self, token: &str, user: Option<Uuid>) {
        let hash = self.0.hasher.hash_one(token);
        let mut known = lock(&self.0.known);
        match user {
            Some(user) => known.put(hash, user),
            None => known.pop(&hash),
        };
    }
}

impl Unresolved {
    /// It is this user's, and counts for them; a refusal where there were too many. Does nothing the second time.
    pub(crate) fn is_of(&self, user: Uuid) -> Result<(), Refusal> {
        if self.resolve().is_some()
            && let Some((users, _)) = &self.counts.buckets
        {
            users.take(user, Instant::now())?;
        }
        Ok(())
    }

    /// Somebody else counts it.
    pub(crate) fn is_counted(&self) {
        self.resolve();
    }

    fn resolve(&self) -> Option<IpAddr> {
        let address = lock(&self.address).take()?;
        if let Entry::Occupied(mut waiting) = lock(&self.counts.unresolved).entry(address) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
        Some(address)
    }
}

impl Drop for Unresolved {
    fn drop(&mut self) {
        if let Some(address) = self.resolve()
            && let Some((_, addresses)) = &self.counts.buckets
        {
            addresses.charge(address, Instant::now());
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: of IPv6 the first half, because whoever has one address has all of that.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let half = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(half))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress(text.parse().unwrap())
    }

    /// Counts until there is a refusal, which comes within this many. None of them is resolved.
    fn let_in(limits: &RateLimits, token: Option<&str>, from: &str) -> usize {
        (0..1000)
            .find(|_| limits.count(token, Some(address(from))).is_err())
            .unwrap()
    }

    #[test]
    fn a_user_counts_by_themselves_wherever_they_are() {
        let limits = RateLimits::new(1);
        let user = Uuid::from_u128(1);
        limits.note("first", Some(user));
        limits.note("second", Some(user));
        assert_eq!(let_in(&limits, Some("first"), "192.0.2.1"), 2);
        assert_eq!(let_in(&limits, Some("second"), "192.0.2.9"), 0);
        let other = Uuid::from_u128(2);
        limits.note("other", Some(other));
        assert_eq!(let_in(&limits, Some("other"), "192.0.2.1"), 2);
    }

    #[test]
    fn a_token_that_is_no_good_counts_for_its_address_and_for_no_user() {
        let limits = RateLimits::new(1);
        let user = Uuid::from_u128(1);
        limits.note("revoked", Some(user));
        limits.note("good", Some(user));
        limits.note("revoked", None);
        assert_eq!(let_in(&limits, Some("revoked"), "192.0.2.1"), 2);
        assert_eq!(let_in(&limits, None, "192.0.2.1"), 0);
        assert_eq!(let_in(&limits, Some("good"), "192.0.2.1"), 2);
    }

    #[test]
    fn tokens_that_are_good_cost_their_address_nothing() {
        let limits = RateLimits::new(1);
        let from = Some(address("192.0.2.1"));
        let waiting: Vec<_> = (0..UNRESOLVED)
            .map(|number| limits.count(Some(&number.to_string()), from).unwrap())
            .collect();
        let refusal = limits.count(Some("one more"), from).err().unwrap();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        for (number, counted) in (0..).zip(waiting) {
            let user = Uuid::from_u128(number);
            let unresolved = counted.unresolved.unwrap();
            unresolved.is_of(user).unwrap();
            unresolved.is_of(user).unwrap();
            limits.note(&number.to_string(), Some(user));
        }
        assert_eq!(
            let_in(&limits, Some("7"), "192.0.2.1"),
            1,
            "one was counted"
        );
        assert_eq!(let_in(&limits, None, "192.0.2.1"), 2);
    }

    #[test]
    fn many_bad_tokens_at_once_are_owed_by_their_address() {
        let limits = RateLimits::new(1);
        let from = Some(address("192.0.2.1"));
        let waiting: Vec<_> = (0..100)
            .map(|number| limits.count(Some(&number.to_string()), from).unwrap())
            .collect();
        drop(waiting);
        for token in [None, Some("new")] {
            let refusal = limits.count(token, from).err().unwrap();
            let wait = refusal.retry_after.unwrap();
            assert!(wait > Duration::from_secs(90), "{wait:?}");
        }
        assert!(lock(&limits.0.unresolved).is_empty());
    }

    #[test]
    fn a_new_token_counts_for_its_user_once_it_is_known_whose_it_is() {
        let limits = RateLimits::new(1);
        let user = Uuid::from_u128(1);
        let found = |token: &str| {
            let counted = limits.count(Some(token), Some(address("192.0.2.1")));
            counted.unwrap().unresolved.unwrap().is_of(user)
        };
        assert!(found("first").is_ok());
        assert!(found("second").is_ok());
        assert_eq!(found("third").unwrap_err().code, ErrorCode::RateLimited);
    }

    #[test]
    fn half_an_address_of_ipv6_is_one_client() {
        let limits = RateLimits::new(1);
        assert_eq!(let_in(&limits, None, "2001:db8::1"), 2);
        assert_eq!(let_in(&limits, None, "2001:db8::ffff:0:0:1"), 0);
        assert_eq!(let_in(&limits, None, "2001:db8:0:1::1"), 2);
        assert_eq!(let_in(&limits, None, "192.0.2.1"), 2);
        assert_eq!(let_in(&limits, None, "192.0.2.2"), 2);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limits = RateLimits::new(0);
        for token in [None, Some("token")] {
            for _ in 0..=UNRESOLVED {
                let counted = limits.count(token, Some(address("192.0.2.1")));
                let counted = counted.unwrap();
                assert!(counted.quota.is_none() && counted.unresolved.is_none());
            }
        }
    }
}
