//! A cache with a bound in number and in bytes.

use std::borrow::Borrow;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

/// The most recently used values, each with the bytes that it counts for.
pub(crate) struct Recent<K: Hash + Eq, V>(Mutex<Entries<K, V>>);

struct Entries<K: Hash + Eq, V> {
    values: LruCache<K, (usize, V)>,
    bytes: usize,
    most_bytes: usize,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// Room for `most` values (`None`: any number) of `most_bytes` together.
    pub(super) fn new(most: Option<NonZeroUsize>, most_bytes: usize) -> Self {
        Self(Mutex::new(Entries {
            values: most.map_or_else(LruCache::unbounded, LruCache::new),
            bytes: 0,
            most_bytes,
        }))
    }

    /// Returns a value that is kept, and counts it as used.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut entries = self.entries();
        entries.values.get(key).map(|(_, value)| value.clone())
    }

    /// Keeps a value of so many bytes. The least recently used ones make room; one that is too long is not kept.
    pub(super) fn keep(&self, key: K, bytes: usize, value: V) {
        let mut entries = self.entries();
        if bytes > entries.most_bytes {
            return;
        }
        entries.bytes += bytes;
        // Either the value that had this key, or the least recently used one.
        if let Some((_, (gone, _))) = entries.values.push(key, (bytes, value)) {
            entries.bytes -= gone;
        }
        while entries.bytes > entries.most_bytes
            && let Some((_, (gone, _))) = entries.values.pop_lru()
        {
            entries.bytes -= gone;
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(most: usize, most_bytes: usize) -> Recent<usize, usize> {
        Recent::new(NonZeroUsize::new(most), most_bytes)
    }

    fn size(recent: &Recent<usize, usize>) -> (usize, usize) {
        let entries = recent.entries();
        (entries.values.len(), entries.bytes)
    }

    #[test]
    fn the_bound_is_in_number_and_bytes() {
        let recent = recent(3, 10);
        for number in 0..100 {
            recent.keep(number, 4, number);
            assert!(size(&recent).1 <= 10);
        }
        assert_eq!(size(&recent), (2, 8));
        for number in 0..100 {
            recent.keep(number, 1, number);
        }
        assert_eq!(size(&recent), (3, 3));
        recent.keep(100, 11, 100);
        assert_eq!(size(&recent), (3, 3), "too long to be kept");
    }

    #[test]
    fn the_least_recently_used_goes_first_and_a_second_copy_takes_no_room() {
        let recent = recent(2, 100);
        for number in [1, 2, 1] {
            recent.keep(number, 3, number);
        }
        assert_eq!(size(&recent), (2, 6));
        recent.keep(3, 5, 3);
        assert_eq!((recent.get(&1), recent.get(&2)), (Some(1), None));
        assert_eq!(size(&recent), (2, 8));
    }
}
