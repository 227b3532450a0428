//! How many requests may come in a second: of one user, or of one address that is not signed in.
//!
//! Both are token buckets of twice what there may be in a second, so that a page that loads, or a script that begins, need
//! not pace itself. A request is counted before its token is looked up: what is over the limit costs no statement. Whose a
//! token is is known from the last time that it was good; one that is new, or no good, counts for its address.

mod buckets;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use uuid::Uuid;

use self::buckets::Buckets;
use crate::client_address::ClientAddress;
use crate::http::{Quota, Refusal};

/// Tokens of which it is remembered whose they are.
const KNOWN_TOKENS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The limits of one gateway. Clones share what they count.
#[derive(Clone)]
pub(crate) struct RateLimits(Option<Arc<Counts>>);

struct Counts {
    users: Buckets<Uuid>,
    addresses: Buckets<IpAddr>,
    /// Users by a hash of their tokens. Its key is random and of this process; two tokens that share a hash would share a
    /// bucket, and nothing else.
    known: Mutex<LruCache<u64, Uuid>>,
    hasher: RandomState,
}

impl RateLimits {
    /// So many requests in a second; 0 is any number.
    pub(crate) fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|rate| {
            Arc::new(Counts {
                users: Buckets::new("user", rate),
                addresses: Buckets::new("address", rate),
                known: Mutex::new(LruCache::new(KNOWN_TOKENS)),
                hasher: RandomState::new(),
            })
        }))
    }

    /// Counts a request with this token from this address; a refusal where there were too many. None where nothing is
    /// counted.
    pub(crate) fn count(
        &self,
        token: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<Option<Quota>, Refusal> {
        let Some(counts) = &self.0 else {
            return Ok(None);
        };
        let hash = token.map(|token| counts.hasher.hash_one(token));
        let user = hash.and_then(|hash| counts.known().get(&hash).copied());
        match (user, address) {
            (Some(user), _) => counts.users.take(user).map(Some),
            (None, Some(address)) => counts.addresses.take(network(address.0)).map(Some),
            // Not over the network.
            (None, None) => Ok(None),
        }
    }

    /// Notes whose a token was found to be; nobody's where it is no good any more.
    pub(crate) fn note(&self, token: &str, user: Option<Uuid>) {
        let Some(counts) = &self.0 else {
            return;
        };
        let hash = counts.hasher.hash_one(token);
        match user {
            Some(user) => counts.known().put(hash, user),
            None => counts.known().pop(&hash),
        };
    }
}

impl Counts {
    fn known(&self) -> MutexGuard<'_, LruCache<u64, Uuid>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// Counts until there is a refusal, which comes within this many.
    fn let_in(limits: &RateLimits, token: Option<&str>, from: &str) -> usize {
        (0..1000)
            .find(|_| limits.count(token, Some(address(from))).is_err())
            .unwrap()
    }

    #[test]
    fn a_user_counts_by_themselves_wherever_they_are() {
        let limits = RateLimits::new(1);
        let user = Uuid::from_u128(1);
        assert_eq!(
            let_in(&limits, Some("first"), "192.0.2.1"),
            2,
            "by address, at first"
        );
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
        for _ in 0..1000 {
            assert_eq!(
                limits.count(None, Some(address("192.0.2.1"))).unwrap(),
                None
            );
        }
    }
}
