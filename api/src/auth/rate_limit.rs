//! How many requests may come in a second: of one user, or of one address that is not signed in.
//!
//! Both are token buckets of twice what there may be in a second, so that a page that loads, or a script that begins, need
//! not pace itself. A request is counted before its token is looked up: what is over the limit costs no statement. Whose a
//! token is is known from the last time that it was good. One that this process has not seen costs its address nothing if it
//! is good, so that a class behind one address is back at once after a restart, and one request if it is not. Opening a socket
//! costs its address one request, which it gets back when the socket says whose it is.

mod buckets;
mod unidentified;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use uuid::Uuid;

use self::buckets::Buckets;
pub(crate) use self::unidentified::Unidentified;
use crate::http::{ErrorCode, Quota, Refusal};
use crate::server::client_address::ClientAddress;

/// Tokens of which it is remembered whose they are.
const KNOWN_TOKENS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How long. Whoever has a token that was revoked since could fill its user's bucket with it meanwhile, by requests that are
/// refused before it is looked up again.
const KNOWN_FOR: Duration = Duration::from_mins(1);

/// Requests of one address that may be waiting for their tokens to be looked up: a large hall that comes back at once. If
/// none of their tokens is good, the address owes for them, for a few seconds at most.
const UNRESOLVED: usize = 1000;

/// When to come back where there are more.
const LATER: Duration = Duration::from_secs(1);

/// The limits of one gateway. Clones share what they count.
#[derive(Clone)]
pub(crate) struct RateLimits {
    known: Arc<Known>,
    /// None where nothing is counted.
    counts: Option<Arc<Counts>>,
}

struct Known {
    /// Users by a hash of their tokens, with when they were found. Its key is random and of this process; two tokens that
    /// share a hash would share a bucket, and nothing else.
    users: Mutex<LruCache<u64, (Uuid, Instant)>>,
    hasher: RandomState,
}

struct Counts {
    users: Buckets<Uuid>,
    addresses: Buckets<IpAddr>,
    /// How many there are from each address.
    unresolved: Mutex<HashMap<IpAddr, usize>>,
}

/// A request that was counted.
#[derive(Default)]
pub(crate) struct Counted {
    /// What is left; none where nothing is counted, or it is not known yet for whom.
    pub(crate) quota: Option<Quota>,
    /// There if it is not known yet whose request it is.
    pub(crate) unresolved: Option<Unresolved>,
}

/// A request whose caller is not known yet. Dropped before it is resolved, it is charged to its address.
pub(crate) struct Unresolved {
    counts: Arc<Counts>,
    address: Mutex<Option<IpAddr>>,
}

/// A socket that was counted for its address when it was opened.
pub(crate) struct OpenedSocket {
    counts: Arc<Counts>,
    address: Mutex<Option<IpAddr>>,
}

impl RateLimits {
    /// So many requests in a second; 0 is any number.
    pub(crate) fn new(per_second: u32) -> Self {
        let counts = NonZeroU32::new(per_second).map(|rate| {
            Arc::new(Counts {
                users: Buckets::new("user", rate),
                addresses: Buckets::new("address", rate),
                unresolved: Mutex::default(),
            })
        });
        let known = Arc::new(Known {
            users: Mutex::new(LruCache::new(KNOWN_TOKENS)),
            hasher: RandomState::new(),
        });
        Self { known, counts }
    }

    /// Counts a request with this token from this address; a refusal where there were too many.
    pub(crate) fn count(
        &self,
        token: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<Counted, Refusal> {
        let quota = match (token, token.and_then(|token| self.known(token))) {
            (_, Some(user)) => self.count_user(user)?,
            (Some(_), None) => return self.count_unresolved(address),
            (None, None) => self.count_address(address)?,
        };
        Ok(Counted {
            quota,
            unresolved: None,
        })
    }

    /// Counts a request of a user; a refusal where there were too many.
    pub(crate) fn count_user(&self, user: Uuid) -> Result<Option<Quota>, Refusal> {
        let Some(counts) = &self.counts else {
            return Ok(None);
        };
        counts.users.take(user, Instant::now()).map(Some)
    }

    /// Counts a request of nobody's. One without an address does not come over the network.
    fn count_address(&self, address: Option<ClientAddress>) -> Result<Option<Quota>, Refusal> {
        let (Some(counts), Some(address)) = (&self.counts, address) else {
            return Ok(None);
        };
        let address = network(address.0);
        counts.addresses.take(address, Instant::now()).map(Some)
    }

    /// Lets a request in from an address that has one left, and of which it will be known later whose it is.
    pub(crate) fn count_unresolved(
        &self,
        address: Option<ClientAddress>,
    ) -> Result<Counted, Refusal> {
        let (Some(counts), Some(address)) = (&self.counts, address) else {
            return Ok(Counted::default());
        };
        let address = network(address.0);
        counts.addresses.look(address, Instant::now())?;
        let mut unresolved = lock(&counts.unresolved);
        let waiting = unresolved.entry(address).or_default();
        if *waiting >= UNRESOLVED {
            let message = format!(
                "of {UNRESOLVED} requests from your address it is not known yet whose they are: try again after a second"
            );
            return Err(Refusal::new(ErrorCode::RateLimited, message).retry_after(LATER));
        }
        *waiting += 1;
        Ok(Counted {
            quota: None,
            unresolved: Some(Unresolved {
                counts: Arc::clone(counts),
                address: Mutex::new(Some(address)),
            }),
        })
    }

    /// Counts the opening of a socket for its address; a refusal where there were too many.
    pub(crate) fn count_opening(
        &self,
        address: Option<ClientAddress>,
    ) -> Result<Option<OpenedSocket>, Refusal> {
        self.count_address(address)?;
        let (Some(counts), Some(address)) = (&self.counts, address) else {
            return Ok(None);
        };
        Ok(Some(OpenedSocket {
            counts: Arc::clone(counts),
            address: Mutex::new(Some(network(address.0))),
        }))
    }

    /// Whose a token was when it was looked up lately.
    pub(crate) fn known(&self, token: &str) -> Option<Uuid> {
        self.known_at(token, Instant::now())
    }

    fn known_at(&self, token: &str, now: Instant) -> Option<Uuid> {
        let hash = self.known.hasher.hash_one(token);
        let mut known = lock(&self.known.users);
        let (user, since) = known.get(&hash)?;
        (now.duration_since(*since) < KNOWN_FOR).then_some(*user)
    }

    /// Notes whose a token was found to be; nobody's where it is no good any more.
    pub(crate) fn note(&self, token: &str, user: Option<Uuid>) {
        let hash = self.known.hasher.hash_one(token);
        let mut known = lock(&self.known.users);
        match user {
            Some(user) => known.put(hash, (user, Instant::now())),
            None => known.pop(&hash),
        };
    }
}

impl OpenedSocket {
    /// The socket is counted elsewhere, or cannot help what came of it: its address gets back what it cost. Does nothing the
    /// second time.
    pub(crate) fn give_back(&self) {
        if let Some(address) = lock(&self.address).take() {
            self.counts.addresses.give_back(address, Instant::now());
        }
    }
}

impl Unresolved {
    /// It is this user's, and counts for them; a refusal where there were too many. Does nothing the second time.
    pub(crate) fn belongs_to(&self, user: Uuid) -> Result<Option<Quota>, Refusal> {
        self.resolve()
            .map(|_| self.counts.users.take(user, Instant::now()))
            .transpose()
    }

    /// It is nobody's: a cookie that is no good, beside which its browser may do what anybody may. It counts for its address; a
    /// refusal where there were too many.
    pub(crate) fn belongs_to_nobody(&self) -> Result<Option<Quota>, Refusal> {
        self.resolve()
            .map(|address| self.counts.addresses.take(address, Instant::now()))
            .transpose()
    }

    /// It is no matter of its address: it is counted elsewhere, or cannot help what came of it.
    pub(crate) fn let_go(&self) {
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
        if let Some(address) = self.resolve() {
            self.counts.addresses.charge(address, Instant::now());
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
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
mod tests;
