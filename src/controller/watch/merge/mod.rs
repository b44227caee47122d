//! Merges several watches into one. No event is passed on before every namespace was listed: otherwise an object that
//! is not known yet would count as one that does not exist.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The state of the watches of several namespaces, whose events are passed on as those of one watch.
///
/// A relist of one namespace is passed on as a relist of all: the known objects of the other namespaces are listed
/// again.
pub struct Merge<K> {
    parts: Vec<MergedWatch<K>>,
    emitted: bool,
}

struct MergedWatch<K> {
    /// The objects that are passed on with the list, by name.
    list: BTreeMap<String, K>,
    listed: bool,
}

impl<K: ResourceExt> Merge<K> {
    /// A merge of this number of watches, without events so far.
    pub fn new(parts: usize) -> Self {
        let part = |_| MergedWatch { list: BTreeMap::new(), listed: false };
        Self { parts: (0..parts).map(part).collect(), emitted: false }
    }

    /// Processes an event of one watch, and returns the resulting events of the merged watch. `known`: returns the known
    /// objects of another part.
    pub fn take(&mut self, index: usize, event: Event<K>, known: impl Fn(usize) -> Vec<K>) -> Vec<Event<K>> {
        let only = self.parts.len() == 1;
        let Some(part) = self.parts.get_mut(index) else {
            return Vec::new();
        };
        match event {
            Event::InitDone => {
                part.listed = true;
                if only { vec![Event::InitDone] } else { self.relist(index, known) }
            }
            event if only => vec![event],
            Event::Init => {
                // Before the first merged list only complete lists count. After it the objects that were passed on
                // count until the next list.
                part.listed &= self.emitted;
                part.list.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                part.list.insert(object.name_any(), object);
                Vec::new()
            }
            change if self.emitted => vec![change],
            Event::Apply(object) => {
                part.list.insert(object.name_any(), object);
                Vec::new()
            }
            Event::Delete(object) => {
                part.list.remove(&object.name_any());
                Vec::new()
            }
        }
    }

    fn relist(&mut self, index: usize, known: impl Fn(usize) -> Vec<K>) -> Vec<Event<K>> {
        if !self.parts.iter().all(|part| part.listed) {
            return Vec::new();
        }
        let first = !std::mem::replace(&mut self.emitted, true);
        let mut events = vec![Event::Init];
        for (other, part) in self.parts.iter_mut().enumerate() {
            let objects = match first || other == index {
                true => std::mem::take(&mut part.list).into_values().collect(),
                false => known(other),
            };
            events.extend(objects.into_iter().map(Event::InitApply));
        }
        events.push(Event::InitDone);
        events
    }
}

#[cfg(test)]
mod tests;
