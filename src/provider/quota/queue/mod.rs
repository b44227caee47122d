//! Decides which request begins next, as a function of values and `now`, without tasks, timers or locks.
//!
//! Requests wait in rings. A ring holds the requests of one urgency that compete for one resource: the one writer of
//! the endpoint, or else a quota's own limits for one kind of request. In each ring namespaces are served round robin,
//! and within a namespace the end that was due first, or else the request that came first. Rings that compete for the
//! same slots (a quota's reads and its writes) are served round robin as well, so that neither a flood of reads nor one
//! of writes blocks the other.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry;
use tokio::time::Instant;

use super::usage::{Capacity, Usage};
use super::{RequestKind, Urgency};
use crate::api::provider::Limits;

/// A quota of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuotaId(u64);

/// A request that waits. Ids grow: a smaller one came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(u64);

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueDecision {
    /// This request begins now: it is counted and no longer waits. Call again.
    Grant(WaiterId),
    /// Nothing before this instant, unless a request comes or ends.
    At(Instant),
    /// Nothing, unless a request comes or ends.
    Idle,
}

/// The requests of one endpoint: those that wait and those in flight.
#[derive(Debug)]
pub struct RequestQueue {
    one_writer: bool,
    writing: usize,
    quotas: BTreeMap<QuotaId, Usage>,
    /// For each urgency, the rings in the order in which they are served.
    levels: [LinkedHashMap<Resource, Ring>; Urgency::LEVELS],
    places: BTreeMap<WaiterId, QueuePosition>,
    last_id: u64,
}

/// The resource that requests of one kind compete for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Resource {
    /// The one writer of the endpoint.
    Writer,
    /// A quota's limits for one kind.
    Quota(QuotaId, RequestKind),
}

/// The requests of one namespace, by quota, the most urgent first.
type Waiters = BTreeMap<QuotaId, BTreeSet<(Urgency, WaiterId)>>;

/// The requests of one urgency that compete for one resource.
#[derive(Debug, Default)]
struct Ring {
    /// By namespace, in the order in which they are served.
    namespaces: LinkedHashMap<Arc<str>, Waiters>,
    /// The number of waiting requests of each quota.
    quotas: BTreeMap<QuotaId, usize>,
    /// The urgency of one of its requests. All of them have the same level, and capacity depends only on the level.
    urgency: Option<Urgency>,
}

/// The place of a waiting request.
#[derive(Clone, Debug)]
struct QueuePosition {
    quota: QuotaId,
    kind: RequestKind,
    urgency: Urgency,
    namespace: Arc<str>,
}

impl RequestQueue {
    /// An empty queue. With `one_writer` no two writes are in flight at once, even of different quotas.
    pub fn new(one_writer: bool) -> Self {
        Self {
            one_writer,
            writing: 0,
            quotas: BTreeMap::new(),
            levels: Default::default(),
            places: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// A new quota.
    pub fn add_quota(&mut self, limits: Limits) -> QuotaId {
        self.last_id += 1;
        let quota = QuotaId(self.last_id);
        self.quotas.insert(quota, Usage::new(limits));
        quota
    }

    /// Changes the usage of a quota, if it exists.
    pub fn change(&mut self, quota: QuotaId, change: impl FnOnce(&mut Usage)) {
        self.quotas.get_mut(&quota).map(change);
    }

    /// Removes a quota, unless something that was sent or waits still counts. Returns whether it was removed.
    pub fn remove_unused(&mut self, quota: QuotaId, now: Instant) -> bool {
        let waiting = self.waiting(quota).iter().any(|waiting| *waiting > 0);
        let spent = !waiting && self.quotas.get_mut(&quota).is_none_or(|usage| usage.is_unused(now));
        if spent {
            self.quotas.remove(&quota);
        }
        spent
    }

    /// Adds a waiting request.
    pub fn join(&mut self, quota: QuotaId, kind: RequestKind, urgency: Urgency, namespace: &str) -> WaiterId {
        self.last_id += 1;
        let id = WaiterId(self.last_id);
        let place = QueuePosition { quota, kind, urgency, namespace: namespace.into() };
        let resource = self.resource(&place);
        in_turn(self.level(urgency), resource).join(id, &place);
        self.places.insert(id, place);
        id
    }

    /// Removes a waiting request, if it still waits.
    pub fn leave(&mut self, id: WaiterId) {
        let Some(place) = self.places.remove(&id) else { return };
        let resource = self.resource(&place);
        let level = self.level(place.urgency);
        let Some(ring) = level.get_mut(&resource) else { return };
        ring.leave(id, &place);
        if ring.quotas.is_empty() {
            level.remove(&resource);
        }
    }

    /// Decides. Of those that may begin, one of the most urgent begins, in the order that the module describes.
    pub fn next(&mut self, now: Instant) -> QueueDecision {
        let mut wake: Option<Instant> = None;
        for level in 0..Urgency::LEVELS {
            if let Some((id, resource)) = self.choose(level, now, &mut wake) {
                self.begin(id, resource, now);
                return QueueDecision::Grant(id);
            }
        }
        wake.map_or(QueueDecision::Idle, QueueDecision::At)
    }

    /// A request that was granted has ended.
    pub fn end(&mut self, quota: QuotaId, kind: RequestKind) {
        if kind == RequestKind::Write {
            self.writing = self.writing.saturating_sub(1);
        }
        self.change(quota, Usage::end);
    }

    /// How many requests of a quota wait, by urgency, the most urgent first.
    pub fn waiting(&self, quota: QuotaId) -> [usize; Urgency::LEVELS] {
        let resources =
            [Resource::Writer, Resource::Quota(quota, RequestKind::Read), Resource::Quota(quota, RequestKind::Write)];
        self.levels.each_ref().map(|level| {
            let rings = resources.iter().filter_map(|resource| level.get(resource));
            rings.filter_map(|ring| ring.quotas.get(&quota)).sum()
        })
    }

    /// The request of this level that begins now; if there is none, `wake` is moved forward to when there may be one.
    fn choose(&self, level: usize, now: Instant, wake: &mut Option<Instant>) -> Option<(WaiterId, Resource)> {
        for (resource, ring) in self.levels.get(level)?.iter() {
            let kind = match resource {
                Resource::Writer if self.writing > 0 => continue,
                Resource::Writer => RequestKind::Write,
                Resource::Quota(_, kind) => *kind,
            };
            let Some(urgency) = ring.urgency else { continue };
            let mut open = BTreeSet::new();
            for quota in ring.quotas.keys() {
                match self.quotas.get(quota).map_or(Capacity::Full, |usage| usage.capacity(kind, urgency, now)) {
                    Capacity::Now => _ = open.insert(*quota),
                    Capacity::At(instant) => *wake = Some(wake.map_or(instant, |wake| wake.min(instant))),
                    Capacity::Full => {}
                }
            }
            if let Some(id) = ring.first(&open) {
                return Some((id, *resource));
            }
        }
        None
    }

    fn begin(&mut self, id: WaiterId, resource: Resource, now: Instant) {
        let Some(place) = self.places.get(&id).cloned() else { return };
        if place.kind == RequestKind::Write {
            self.writing += 1;
        }
        self.change(place.quota, |usage| usage.begin(place.kind, place.urgency, now));
        if let Some(ring) = self.level(place.urgency).to_back(&resource) {
            ring.namespaces.to_back(&place.namespace);
        }
        self.leave(id);
    }

    fn resource(&self, place: &QueuePosition) -> Resource {
        match place.kind {
            RequestKind::Write if self.one_writer => Resource::Writer,
            kind => Resource::Quota(place.quota, kind),
        }
    }

    fn level(&mut self, urgency: Urgency) -> &mut LinkedHashMap<Resource, Ring> {
        &mut self.levels[urgency.level()]
    }
}

impl Ring {
    fn join(&mut self, id: WaiterId, place: &QueuePosition) {
        self.urgency = Some(place.urgency);
        let waiters = in_turn(&mut self.namespaces, place.namespace.clone());
        waiters.entry(place.quota).or_default().insert((place.urgency, id));
        *self.quotas.entry(place.quota).or_default() += 1;
    }

    fn leave(&mut self, id: WaiterId, place: &QueuePosition) {
        if let Some(quotas) = self.namespaces.get_mut(&place.namespace) {
            if let Some(waiters) = quotas.get_mut(&place.quota) {
                waiters.remove(&(place.urgency, id));
                if waiters.is_empty() {
                    quotas.remove(&place.quota);
                }
            }
            if quotas.is_empty() {
                self.namespaces.remove(&place.namespace);
            }
        }
        if let Some(waiting) = self.quotas.get_mut(&place.quota) {
            *waiting -= 1;
            if *waiting == 0 {
                self.quotas.remove(&place.quota);
            }
        }
    }

    /// The first in order for an open quota, of the namespace that was served longest ago.
    fn first(&self, open: &BTreeSet<QuotaId>) -> Option<WaiterId> {
        if open.is_empty() {
            return None;
        }
        self.namespaces.iter().find_map(|(_, quotas)| {
            let waiters = quotas.iter().filter(|(quota, _)| open.contains(quota)).map(|(_, waiters)| waiters);
            waiters.filter_map(BTreeSet::first).min().map(|(_, id)| *id)
        })
    }
}

/// The value of a key. A new key comes last, and a known one keeps its turn (`Entry::or_insert` would move it).
fn in_turn<K: Eq + Hash, V: Default>(map: &mut LinkedHashMap<K, V>, key: K) -> &mut V {
    match map.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(V::default()),
    }
}

#[cfg(test)]
mod tests;
