//! A bounded map for what can be fetched again.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Forgets everything when it is full: what it holds costs one more request to get back, so that
/// keeping an order of use would be work for nothing.
pub(super) struct Bounded<K, V> {
    entries: Mutex<HashMap<K, V>>,
    limit: usize,
}

impl<K: Hash + Eq, V: Clone> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: Mutex::default(),
            limit,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().get(key).cloned()
    }

    pub(super) fn insert(&self, key: K, value: V) {
        let mut entries = self.entries.lock();
        if entries.len() >= self.limit && !entries.contains_key(&key) {
            entries.clear();
        }
        entries.insert(key, value);
    }

    pub(super) fn remove(&self, key: &K) {
        self.entries.lock().remove(key);
    }
}
