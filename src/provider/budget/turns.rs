//! Whose turn it is: a map that remembers who was served longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map whose keys take turns. A key that is served goes behind all others, and so does one that comes (back).
#[derive(Debug)]
pub struct Turns<K, V> {
    order: BTreeMap<u64, K>,
    values: HashMap<K, (u64, V)>,
    last: u64,
}

impl<K, V> Default for Turns<K, V> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), values: HashMap::new(), last: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Turns<K, V> {
    /// The value of a key, made where it wasn't there.
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

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    /// All keys and values, the one whose turn it is first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.values().filter_map(|key| self.values.get(key).map(|(_, value)| (key, value)))
    }

    /// The key was served.
    pub fn served(&mut self, key: &K) {
        if let Some((turn, _)) = self.values.get_mut(key) {
            self.last += 1;
            if let Some(key) = self.order.remove(turn) {
                self.order.insert(self.last, key);
            }
            *turn = self.last;
        }
    }

    /// The key is gone.
    pub fn remove(&mut self, key: &K) {
        if let Some((turn, _)) = self.values.remove(key) {
            self.order.remove(&turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(turns: &Turns<&'static str, u32>) -> Vec<&'static str> {
        turns.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn who_is_served_or_comes_back_goes_behind_the_others() {
        let mut turns = Turns::<&'static str, u32>::default();
        for key in ["a", "b", "c", "a"] {
            *turns.entry(&key) += 1;
        }
        assert_eq!(order(&turns), ["a", "b", "c"]);
        turns.served(&"a");
        assert_eq!(order(&turns), ["b", "c", "a"]);
        turns.remove(&"b");
        assert_eq!(order(&turns), ["c", "a"]);
        turns.entry(&"b");
        assert_eq!(order(&turns), ["c", "a", "b"]);
        assert_eq!((turns.get(&"a"), turns.get(&"b"), turns.get(&"d")), (Some(&2), Some(&0), None));
        turns.served(&"nobody");
        assert_eq!(order(&turns), ["c", "a", "b"]);
    }
}
