//! Counts of what each address has open at a time: sockets that have not authenticated, and pending charges.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::lock;

/// A number of places for each address. Clones share their counts.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) most: usize,
    pub(super) taken: Taken,
}

type Taken = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A place of an address, until it is dropped.
pub(crate) struct Place {
    taken: Taken,
    pub(super) address: IpAddr,
}

impl Places {
    /// Places for `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        let taken = Taken::default();
        Self { most, taken }
    }

    /// Takes a place; `None` where all of the address are taken.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        let taken = Arc::clone(&self.taken);
        Some(Place { taken, address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.taken).entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
