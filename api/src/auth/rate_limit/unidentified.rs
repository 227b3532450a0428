//! A limit of `WebSocket`s of one address that have not authenticated.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::{RETRY_AFTER, lock, network};
use crate::http::{ErrorCode, Refusal};
use crate::server::forwarded::ClientAddress;

/// Counts the sockets of one gateway that have not authenticated, by address. Clones share their counts.
#[derive(Clone)]
pub(crate) struct Unidentified {
    most: usize,
    sockets: Sockets,
}

type Sockets = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Counts a socket until it is dropped.
pub(crate) struct Place {
    sockets: Sockets,
    address: IpAddr,
}

impl Unidentified {
    /// Allows `most` sockets of each address; 0 is no limit.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            sockets: Sockets::default(),
        }
    }

    /// Counts one more socket. Fails with `RATE_LIMITED` where its address has too many. A socket without an address did not
    /// come over the network, and is not counted.
    pub(crate) fn enter(&self, address: Option<ClientAddress>) -> Result<Option<Place>, Refusal> {
        let (most, Some(address)) = (self.most, address) else {
            return Ok(None);
        };
        if most == 0 {
            return Ok(None);
        }
        let address = network(address.0);
        let mut sockets = lock(&self.sockets);
        let open = sockets.entry(address).or_default();
        if *open >= most {
            let message = format!(
                "{open} sockets from your address have not authenticated, and that is the limit (limits.unidentified_sockets_per_address): try again after a second"
            );
            return Err(Refusal::new(ErrorCode::RateLimited, message).retry_after(RETRY_AFTER));
        }
        *open += 1;
        Ok(Some(Place {
            sockets: Arc::clone(&self.sockets),
            address,
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = lock(&self.sockets).entry(self.address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress(text.parse().unwrap())
    }

    #[test]
    fn a_dropped_socket_makes_room_for_another_of_its_address() {
        let unidentified = Unidentified::new(2);
        let enter = |from| unidentified.enter(Some(address(from)));
        let first = enter("2001:db8::1").unwrap();
        let second = enter("2001:db8::ffff:0:0:1").unwrap();
        let refusal = enter("2001:db8::2").err().unwrap();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        let other = enter("2001:db8:0:1::1").unwrap();
        drop(first);
        let third = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_err());
        drop((second, third, other));
        assert!(lock(&unidentified.sockets).is_empty());
    }

    #[test]
    fn without_a_limit_any_number_is_admitted() {
        let unidentified = Unidentified::new(0);
        for _ in 0..1000 {
            assert!(
                unidentified
                    .enter(Some(address("192.0.2.1")))
                    .unwrap()
                    .is_none()
            );
        }
    }
}
