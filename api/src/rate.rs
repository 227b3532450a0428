//! How many requests may come in a second: of one user, or of one address that is not signed in.
//!
//! Both are token buckets of twice what there may be in a second, so that a page that loads, or a script that begins, need
//! not pace itself. A request is counted before its token is looked up: what is over the limit costs no statement. Whose a
//! token is is known from the last time that it was good. After a restart nobody's is, and thousands of users may come at once
//! from behind one address: tokens that are not known count in a larger bucket of their address, and for the address itself
//! when they turn out to be no good. An address that sends too many of those has no larger bucket for a while.

mod buckets;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use uuid::Uuid;

use self::buckets::Buckets;
use crate::client_address::ClientAddress;
use crate::http::{Quota, Refusal};

/// Tokens of which it is remembered whose they are.
const KNOWN_TOKENS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Addresses of which it is remembered that they sent too many tokens that are no good.
const BARRED_ADDRESSES: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How long that is held against them.
const BARRED: Duration = Duration::from_secs(1);

/// Requests with tokens that are not known, for each that may come from an address that is not signed in.
const NEW_TOKENS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");

/// The limits of one gateway. Clones share what they count.
#[derive(Clone)]
pub(crate) struct RateLimits(Option<Arc<Counts>>);

struct Counts {
    users: Buckets<Uuid>,
    addresses: Buckets<IpAddr>,
    new_tokens: Buckets<IpAddr>,
    barred: Mutex<LruCache<IpAddr, Instant>>,
    /// By a hash of the tokens. Its key is random and of this process; two tokens that share a hash would share a bucket, and
    /// nothing else.
    tokens: Mutex<LruCache<u64, Token>>,
    hasher: RandomState,
}

/// What is known of a token.
#[derive(Clone, Copy)]
enum Token {
    /// Whose it was when last looked up.
    Of(Uuid),
    /// It is being looked up for this address.
    New(IpAddr),
}

impl RateLimits {
    /// So many requests in a second; 0 is any number.
    pub(crate) fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|rate| {
            Arc::new(Counts {
                users: Buckets::new("user", rate),
                addresses: Buckets::new("address", rate),
                new_tokens: Buckets::new("new-tokens", rate.saturating_mul(NEW_TOKENS)),
                barred: Mutex::new(LruCache::new(BARRED_ADDRESSES)),
                tokens: Mutex::new(LruCache::new(KNOWN_TOKENS)),
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
        let address = address.map(|address| network(address.0));
        let Some(token) = token else {
            // Without an address it does not come over the network.
            return address
                .map(|address| counts.addresses.take(address))
                .transpose();
        };
        let hash = counts.hasher.hash_one(token);
        let known = lock(&counts.tokens).get(&hash).copied();
        match (known, address) {
            (Some(Token::Of(user)), _) => counts.users.take(user).map(Some),
            (_, Some(address)) if counts.is_barred(address) => {
                counts.addresses.take(address).map(Some)
            }
            (_, Some(address)) => {
                let quota = counts.new_tokens.take(address)?;
                lock(&counts.tokens).put(hash, Token::New(address));
                Ok(Some(quota))
            }
            (_, None) => Ok(None),
        }
    }

    /// Notes whose a token was found to be; nobody's where it is no good any more.
    pub(crate) fn note(&self, token: &str, user: Option<Uuid>) {
        let Some(counts) = &self.0 else {
            return;
        };
        let hash = counts.hasher.hash_one(token);
        if let Some(user) = user {
            lock(&counts.tokens).put(hash, Token::Of(user));
        } else if let Some(Token::New(address)) = lock(&counts.tokens).pop(&hash)
            && counts.addresses.take(address).is_err()
        {
            lock(&counts.barred).put(address, Instant::now());
        }
    }
}

impl Counts {
    fn is_barred(&self, address: IpAddr) -> bool {
        let since = lock(&self.barred).get(&address).copied();
        since.is_some_and(|since| since.elapsed() < BARRED)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            100,
            "with the other new tokens of the address, at first"
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
        let from = address("192.0.2.1");
        let guesses = (0..1000).take_while(|number| {
            let guess = ["revoked".to_owned(), format!("guess {number}")];
            guess.iter().all(|token| {
                let let_in = limits.count(Some(token), Some(from)).is_ok();
                limits.note(token, None);
                let_in
            })
        });
        assert_eq!(
            guesses.count(),
            1,
            "two for its bucket, one that finds it empty"
        );
        assert_eq!(let_in(&limits, None, "192.0.2.1"), 0);
        assert_eq!(let_in(&limits, Some("new"), "192.0.2.1"), 0);
        assert_eq!(let_in(&limits, Some("new"), "192.0.2.2"), 100);
        assert_eq!(let_in(&limits, Some("good"), "192.0.2.1"), 2);
    }

    #[test]
    fn everybody_may_come_back_at_once_from_behind_one_address() {
        let limits = RateLimits::new(50);
        for number in 0..5000 {
            let token = number.to_string();
            limits
                .count(Some(&token), Some(address("192.0.2.1")))
                .unwrap();
            limits.note(&token, Some(Uuid::from_u128(number)));
        }
        // Who brings no token has as much room as before.
        assert_eq!(let_in(&limits, None, "192.0.2.1"), 100);
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
