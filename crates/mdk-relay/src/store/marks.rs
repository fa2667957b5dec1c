//! Marks of things that are gone. There are so many at most, and the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

pub(super) struct Marks<K, V> {
    most: usize,
    marks: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Marks<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, marks: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.marks.get(key)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.marks.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.marks.remove(&oldest);
        }
    }
}
