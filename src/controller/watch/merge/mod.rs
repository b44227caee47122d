//! Several watches as one: nothing is told before every part of the cluster was listed, or what isn't known yet would be
//! taken for what isn't there.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// What the watches of several namespaces have told, as one watch would tell it.
///
/// A relist of one namespace is a relist of all: what the others hold is told again as it is known.
pub struct Merge<K> {
    parts: Vec<Part<K>>,
    told: bool,
}

struct Part<K> {
    /// What is to be told with the list, by its name.
    list: BTreeMap<String, K>,
    listed: bool,
    led: bool,
}

impl<K: ResourceExt> Merge<K> {
    /// So many watches that have told nothing yet.
    pub fn new(parts: usize) -> Self {
        let part = |_| Part { list: BTreeMap::new(), listed: false, led: false };
        Self { parts: (0..parts).map(part).collect(), told: false }
    }

    /// Whether every namespace was listed when this replica led.
    pub fn led(&self) -> bool {
        self.parts.iter().all(|part| part.led)
    }

    /// Takes in what one watch tells, and returns what the one watch of all tells then. `leads`: this replica led when the
    /// watch began. `known`: what is known of another part.
    pub fn take(
        &mut self,
        index: usize,
        event: Event<K>,
        leads: bool,
        known: impl Fn(usize) -> Vec<K>,
    ) -> Vec<Event<K>> {
        let only = self.parts.len() == 1;
        let Some(part) = self.parts.get_mut(index) else {
            return Vec::new();
        };
        match event {
            Event::InitDone => {
                part.led |= leads;
                part.listed = true;
                if only { vec![Event::InitDone] } else { self.relist(index, known) }
            }
            event if only => vec![event],
            Event::Init => {
                // Before the first telling only whole lists count; later what was told before does, until the next one.
                part.listed &= self.told;
                part.list.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                part.list.insert(object.name_any(), object);
                Vec::new()
            }
            change if self.told => vec![change],
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
        let first = !std::mem::replace(&mut self.told, true);
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
