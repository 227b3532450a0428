//! Limits of requests per second, for each user and for each address.
//!
//! Each has a token bucket that holds twice the rate, so that a page that loads, or a script that begins, need not pace
//! itself. A request is counted before its token is looked up, so that a request over the limit costs no statement:
//!
//! - A token that was good within the last minute counts for its user.
//! - A request without a token counts for its address.
//! - A token that this process does not know makes a [`PendingCharge`]: it counts for its user once it was found to be good,
//!   and for its address if it is not. A class behind one address is therefore back at once after a restart (ADR 0029).
//! - A WebSocket counts for its address when it is opened, which gets the request back when the socket has authenticated.

mod buckets;
mod places;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use uuid::Uuid;

use self::buckets::Buckets;
pub(crate) use self::places::Place;
use self::places::Places;
use crate::http::{ErrorCode, Quota, Refusal};
use crate::server::forwarded::ClientAddress;

/// Most tokens whose users are remembered.
const KNOWN_TOKENS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How long a token's user is remembered. The holder of a token that was revoked meanwhile can use up its user's requests
/// for that long.
const KNOWN_FOR: Duration = Duration::from_mins(1);

/// Most requests of one address whose tokens are not looked up yet: a large hall that reconnects at once. If none of the
/// tokens is good, the address owes for them, for a few seconds at most.
const MOST_PENDING: usize = 1000;

/// Most users, and most addresses, whose requests are counted apart.
const MOST_KEYS: usize = 100_000;

/// `Retry-After` for requests beyond [`MOST_PENDING`], and for unidentified sockets beyond their limit.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The limits of one gateway. Clones share their counts.
#[derive(Clone)]
pub(crate) struct RateLimits {
    known: Arc<Known>,
    /// None where nothing is counted.
    counts: Option<Arc<Counts>>,
    /// Sockets that have not authenticated.
    unidentified: Places,
}

struct Known {
    /// Users by a hash of their token, with the time of the look-up. The hash has a random key of this process. Two tokens
    /// with the same hash would share a bucket, and nothing else.
    users: Mutex<LruCache<u64, (Uuid, Instant)>>,
    hasher: RandomState,
}

struct Counts {
    users: Buckets<Uuid>,
    addresses: Buckets<IpAddr>,
    pending: Places,
}

/// A request that was counted.
#[derive(Default)]
pub(crate) struct Counted {
    /// The rest of the bucket; `None` where nothing is counted, or the charge is pending.
    pub(crate) quota: Option<Quota>,
    /// Present where the caller is not known yet.
    pub(crate) pending: Option<PendingCharge>,
}

/// A request whose caller is not known yet. Its first method decides who is charged; the others do nothing after that. If it
/// is dropped first, its address is charged.
pub(crate) struct PendingCharge {
    counts: Arc<Counts>,
    place: Mutex<Option<Place>>,
}

impl RateLimits {
    /// Limits of `per_second` requests, and of `unidentified` open sockets of an address; 0 is no limit.
    pub(crate) fn new(per_second: u32, unidentified: usize) -> Self {
        let counts = NonZeroU32::new(per_second).map(|rate| {
            Arc::new(Counts {
                users: Buckets::new("user", rate, MOST_KEYS),
                addresses: Buckets::new("address", rate, MOST_KEYS),
                pending: Places::new(MOST_PENDING),
            })
        });
        let known = Arc::new(Known {
            users: Mutex::new(LruCache::new(KNOWN_TOKENS)),
            hasher: RandomState::new(),
        });
        let unidentified = NonZeroUsize::new(unidentified).map_or(usize::MAX, NonZeroUsize::get);
        Self {
            known,
            counts,
            unidentified: Places::new(unidentified),
        }
    }

    /// Counts a request with this token from this address. Fails with `RATE_LIMITED` where the bucket is empty, or too many
    /// charges of the address are pending.
    pub(crate) fn count(
        &self,
        token: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<Counted, Refusal> {
        let quota = match (token, token.and_then(|token| self.known(token))) {
            (_, Some(user)) => self.count_user(user)?,
            (Some(_), None) => return self.count_pending(address),
            (None, None) => self.count_address(address)?,
        };
        Ok(Counted {
            quota,
            pending: None,
        })
    }

    /// Counts a request of a user. Fails with `RATE_LIMITED` where the bucket is empty.
    pub(crate) fn count_user(&self, user: Uuid) -> Result<Option<Quota>, Refusal> {
        let Some(counts) = &self.counts else {
            return Ok(None);
        };
        counts.users.take(user, Instant::now()).map(Some)
    }

    /// Counts a request, or the opening of a WebSocket, for its address. Fails with `RATE_LIMITED` where the bucket is empty. One
    /// without an address did not come over the network, and is not counted.
    pub(crate) fn count_address(
        &self,
        address: Option<ClientAddress>,
    ) -> Result<Option<Quota>, Refusal> {
        let (Some(counts), Some(address)) = (&self.counts, address) else {
            return Ok(None);
        };
        let address = network(address.0);
        counts.addresses.take(address, Instant::now()).map(Some)
    }

    /// Admits a request whose caller will be known later. Fails with `RATE_LIMITED` where the address has no request left, or
    /// too many charges pending.
    pub(crate) fn count_pending(&self, address: Option<ClientAddress>) -> Result<Counted, Refusal> {
        let (Some(counts), Some(address)) = (&self.counts, address) else {
            return Ok(Counted::default());
        };
        let address = network(address.0);
        counts.addresses.check(address, Instant::now())?;
        let Some(place) = counts.pending.take(address) else {
            let message = format!(
                "the tokens of {MOST_PENDING} requests from your address are still being checked: try again after a second"
            );
            return Err(Refusal::new(ErrorCode::RateLimited, message).retry_after(RETRY_AFTER));
        };
        Ok(Counted {
            quota: None,
            pending: Some(PendingCharge {
                counts: Arc::clone(counts),
                place: Mutex::new(Some(place)),
            }),
        })
    }

    /// Counts a WebSocket that has not authenticated, until its place is dropped. Fails with `RATE_LIMITED` where its address
    /// has too many. One without an address did not come over the network, and is not counted.
    pub(crate) fn count_unidentified(
        &self,
        address: Option<ClientAddress>,
    ) -> Result<Option<Place>, Refusal> {
        let Some(address) = address else {
            return Ok(None);
        };
        let place = self.unidentified.take(network(address.0));
        place.map(Some).ok_or_else(|| {
            let message = format!(
                "{} sockets from your address have not authenticated, and that is the limit (limits.unidentified_sockets_per_address): try again after a second",
                self.unidentified.most
            );
            Refusal::new(ErrorCode::RateLimited, message).retry_after(RETRY_AFTER)
        })
    }

    /// Gives an address a request back that was counted for it.
    pub(crate) fn refund(&self, address: Option<ClientAddress>) {
        if let (Some(counts), Some(address)) = (&self.counts, address) {
            let address = network(address.0);
            counts.addresses.refund(address, Instant::now());
        }
    }

    /// Returns the user of a token that was found to be good within the last minute.
    pub(crate) fn known(&self, token: &str) -> Option<Uuid> {
        self.known_at(token, Instant::now())
    }

    fn known_at(&self, token: &str, now: Instant) -> Option<Uuid> {
        let hash = self.known.hasher.hash_one(token);
        let mut known = lock(&self.known.users);
        let (user, since) = known.get(&hash)?;
        (now.duration_since(*since) < KNOWN_FOR).then_some(*user)
    }

    /// Remembers the user of a token that was looked up; forgets the token where it was not good.
    pub(crate) fn note(&self, token: &str, user: Option<Uuid>) {
        let hash = self.known.hasher.hash_one(token);
        let mut known = lock(&self.known.users);
        match user {
            Some(user) => known.put(hash, (user, Instant::now())),
            None => known.pop(&hash),
        };
    }
}

impl PendingCharge {
    /// Charges this user. Fails with `RATE_LIMITED` where their bucket is empty.
    pub(crate) fn charge_user(&self, user: Uuid) -> Result<Option<Quota>, Refusal> {
        self.resolve()
            .map(|_| self.counts.users.take(user, Instant::now()))
            .transpose()
    }

    /// Charges the address of a request with an invalid cookie, which is treated as anonymous. Fails with `RATE_LIMITED`
    /// where its bucket is empty.
    pub(crate) fn charge_address(&self) -> Result<Option<Quota>, Refusal> {
        self.resolve()
            .map(|address| self.counts.addresses.take(address, Instant::now()))
            .transpose()
    }

    /// Charges no bucket: the request was counted elsewhere, or failed through no fault of the client.
    pub(crate) fn cancel(&self) {
        self.resolve();
    }

    fn resolve(&self) -> Option<IpAddr> {
        lock(&self.place).take().map(|place| place.address)
    }
}

impl Drop for PendingCharge {
    fn drop(&mut self) {
        if let Some(address) = self.resolve() {
            self.counts.addresses.charge(address, Instant::now());
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what counts as one address: of IPv6 the first 64 bits, because one client usually has all addresses below them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let half = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(half))
        }
    }
}

#[cfg(test)]
mod tests;
