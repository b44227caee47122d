//! Round robin: a map that records the order in which its keys were served.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map whose keys are served in turn. A key that is served, added or added again moves behind all others.
#[derive(Debug)]
pub struct RoundRobin<K, V> {
    order: BTreeMap<u64, K>,
    values: HashMap<K, (u64, V)>,
    last: u64,
}

impl<K, V> Default for RoundRobin<K, V> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), values: HashMap::new(), last: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Default> RoundRobin<K, V> {
    /// The value of a key; inserted if it is missing.
    pub fn entry(&mut self, key: &K) -> &mut V {
        let Self { order, values, last } = self;
        let (_, value) = values.entry(key.clone()).or_insert_with(|| {
            *last += 1;
            order.insert(*last, key.clone());
            (*last, V::default())
        });
        value
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The value of a key, mutable.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    /// All keys and values; the key that was served longest ago comes first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.values().filter_map(|key| self.values.get(key).map(|(_, value)| (key, value)))
    }

    /// Records that the key was served.
    pub fn served(&mut self, key: &K) {
        if let Some((turn, _)) = self.values.get_mut(key) {
            self.last += 1;
            if let Some(key) = self.order.remove(turn) {
                self.order.insert(self.last, key);
            }
            *turn = self.last;
        }
    }

    /// Removes the key.
    pub fn remove(&mut self, key: &K) {
        if let Some((turn, _)) = self.values.remove(key) {
            self.order.remove(&turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(round_robin: &RoundRobin<&'static str, u32>) -> Vec<&'static str> {
        round_robin.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn a_key_that_was_served_or_added_goes_behind_the_others() {
        let mut round_robin = RoundRobin::<&'static str, u32>::default();
        for key in ["a", "b", "c", "a"] {
            *round_robin.entry(&key) += 1;
        }
        assert_eq!(order(&round_robin), ["a", "b", "c"]);
        round_robin.served(&"a");
        assert_eq!(order(&round_robin), ["b", "c", "a"]);
        round_robin.remove(&"b");
        assert_eq!(order(&round_robin), ["c", "a"]);
        round_robin.entry(&"b");
        assert_eq!(order(&round_robin), ["c", "a", "b"]);
        assert_eq!((round_robin.get(&"a"), round_robin.get(&"b"), round_robin.get(&"d")), (Some(&2), Some(&0), None));
        round_robin.served(&"unknown");
        assert_eq!(order(&round_robin), ["c", "a", "b"]);
    }
}
