//! Targets that wait for a list of the same project together. The first one requests it; the others are called when that
//! request has ended. Each of them is an entry of some hundred bytes, while a request is a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Roster;
use crate::core::step::Spacing;
use crate::provider::Urgency;

/// The targets that wait for lists of a project.
#[derive(Default)]
pub struct Waits {
    /// By what those have in common that can share a request. The entry exists as long as the request.
    shared: BTreeMap<WaitKey, BTreeMap<u64, Ended>>,
    last: u64,
}

impl Waits {
    /// Whether nothing waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }
}

/// The level of the urgency, and the minimum time since the last list.
type WaitKey = (usize, Spacing);

/// What is called when the request has ended.
type Ended = Box<dyn FnOnce() + Send>;

/// How a target waits.
pub enum Wait {
    /// It requests the list. Dropping this calls the others.
    Requests(Requester),
    /// It is called when the request of another target has ended. Dropping this gives that up.
    Follows(Follower),
}

/// The target that requests a list.
pub struct Requester {
    roster: Arc<Roster>,
    key: WaitKey,
}

/// A target that waits for the request of another one.
pub struct Follower {
    roster: Arc<Roster>,
    key: WaitKey,
    number: u64,
}

impl Roster {
    /// Begins to wait for a list of this urgency, that far from the last one. `ended` is called when the request of another
    /// target has ended, successful or not.
    pub fn wait(self: &Arc<Self>, urgency: Urgency, spacing: Spacing, ended: impl FnOnce() + Send + 'static) -> Wait {
        let key = (urgency.level(), spacing);
        let mut waits = self.waits.lock();
        waits.last += 1;
        let number = waits.last;
        match waits.shared.get_mut(&key) {
            Some(others) => {
                others.insert(number, Box::new(ended));
                Wait::Follows(Follower { roster: self.clone(), key, number })
            }
            None => {
                waits.shared.insert(key, BTreeMap::new());
                Wait::Requests(Requester { roster: self.clone(), key })
            }
        }
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        let others = self.roster.waits.lock().shared.remove(&self.key);
        // Outside of the lock: what is called reads the roster.
        others.into_iter().flatten().for_each(|(_, ended)| ended());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut waits = self.roster.waits.lock();
        let ended = waits.shared.get_mut(&self.key).and_then(|others| others.remove(&self.number));
        drop(waits);
        drop(ended);
    }
}
