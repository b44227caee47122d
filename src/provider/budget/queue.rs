//! Who may send a request next: values and `now` in, a decision out. It knows no task, timer or lock.
//!
//! Requests wait in rings. A ring is what requests of one kind compete for: the one writer of the endpoint, or else a
//! lane's own limits. In each ring namespaces take turns, and within a namespace the first to come is the first to be
//! served. Rings that compete for the same slots (a lane's reads and its writes) take turns as well, so that neither a
//! flood of reads nor one of writes shuts out the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::allowance::Allowance;
use super::room::{Meter, Room};
use super::turns::Turns;
use super::{Kind, Urgency};
use crate::api::provider::Limits;

/// A lane of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(u64);

/// A request that waits. Ids grow: a smaller one came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(u64);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This request begins now: it is counted and waits no more. Ask again.
    Grant(WaiterId),
    /// Nothing before this instant, unless a request comes or ends.
    At(Instant),
    /// Nothing, unless a request comes or ends.
    Idle,
}

/// The requests of one endpoint: those that wait and those in flight.
#[derive(Debug)]
pub struct Queue {
    one_writer: bool,
    writing: usize,
    lanes: BTreeMap<LaneId, Meter>,
    levels: [Turns<Resource, Ring>; Urgency::ALL.len()],
    places: HashMap<WaiterId, Place>,
    last_id: u64,
}

/// What requests of one kind compete for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Resource {
    /// The one writer of the endpoint.
    Writer,
    /// A lane's limits for one kind.
    Lane(LaneId, Kind),
}

/// The requests of one urgency that compete for one resource.
#[derive(Debug, Default)]
struct Ring {
    /// By namespace and lane, in the order in which they came.
    namespaces: Turns<Arc<str>, BTreeMap<LaneId, BTreeSet<WaiterId>>>,
    /// How many wait for each lane.
    lanes: BTreeMap<LaneId, usize>,
}

/// Where a request waits.
#[derive(Clone, Debug)]
struct Place {
    lane: LaneId,
    kind: Kind,
    urgency: Urgency,
    namespace: Arc<str>,
}

impl Queue {
    /// Nobody waits. With `one_writer` no two writes are in flight at once, whatever their lanes.
    pub fn new(one_writer: bool) -> Self {
        Self {
            one_writer,
            writing: 0,
            lanes: BTreeMap::new(),
            levels: Default::default(),
            places: HashMap::new(),
            last_id: 0,
        }
    }

    /// A new lane.
    pub fn add_lane(&mut self, limits: Limits) -> LaneId {
        self.last_id += 1;
        let lane = LaneId(self.last_id);
        self.lanes.insert(lane, Meter::new(limits));
        lane
    }

    /// Other limits for a lane.
    pub fn set_limits(&mut self, lane: LaneId, limits: Limits) {
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.set_limits(limits);
        }
    }

    /// Takes a lane out, if nothing that it did or is asked to do still counts. Says whether it is gone.
    pub fn remove_spent_lane(&mut self, lane: LaneId, now: Instant) -> bool {
        let waiting = self.waiting(lane).iter().any(|waiting| *waiting > 0);
        let spent = !waiting && self.lanes.get_mut(&lane).is_none_or(|meter| meter.is_spent(now));
        if spent {
            self.lanes.remove(&lane);
        }
        spent
    }

    /// A request comes to wait.
    pub fn join(&mut self, lane: LaneId, kind: Kind, urgency: Urgency, namespace: &str) -> WaiterId {
        self.last_id += 1;
        let id = WaiterId(self.last_id);
        let place = Place { lane, kind, urgency, namespace: namespace.into() };
        let resource = self.resource(&place);
        self.level(urgency).entry(&resource).join(id, &place);
        self.places.insert(id, place);
        id
    }

    /// A request waits no longer. Nothing happens where it doesn't wait any more.
    pub fn leave(&mut self, id: WaiterId) {
        let Some(place) = self.places.remove(&id) else { return };
        let resource = self.resource(&place);
        let level = self.level(place.urgency);
        let Some(ring) = level.get_mut(&resource) else { return };
        ring.leave(id, &place);
        if ring.lanes.is_empty() {
            level.remove(&resource);
        }
    }

    /// Decides. Of those that may begin the most urgent does; of those the one whose namespace was served longest ago.
    pub fn next(&mut self, now: Instant) -> Next {
        let mut wake: Option<Instant> = None;
        for urgency in Urgency::ALL {
            if let Some((id, resource)) = self.choose(urgency, now, &mut wake) {
                self.begin(id, resource, now);
                return Next::Grant(id);
            }
        }
        wake.map_or(Next::Idle, Next::At)
    }

    /// A request that was granted has ended.
    pub fn end(&mut self, lane: LaneId, kind: Kind) {
        if kind == Kind::Write {
            self.writing = self.writing.saturating_sub(1);
        }
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.end();
        }
    }

    /// One more request is sent in the place of one that was granted.
    pub fn charge(&mut self, lane: LaneId, kind: Kind, now: Instant) {
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.charge(kind, now);
        }
    }

    /// A request that was granted was never sent; that it ended is said besides.
    pub fn refund(&mut self, lane: LaneId, kind: Kind) {
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.refund(kind);
        }
    }

    /// No request of the lane begins before `until`. Of several pauses the longest counts.
    pub fn pause(&mut self, lane: LaneId, until: Instant) {
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.pause(until);
        }
    }

    /// The server said what its own limits leave to a lane.
    pub fn told(&mut self, lane: LaneId, kind: Kind, allowance: Allowance, now: Instant) {
        if let Some(meter) = self.lanes.get_mut(&lane) {
            meter.told(kind, allowance, now);
        }
    }

    /// How many requests of a lane wait, by urgency, the most urgent first.
    pub fn waiting(&self, lane: LaneId) -> [usize; Urgency::ALL.len()] {
        let resources = [Resource::Writer, Resource::Lane(lane, Kind::Read), Resource::Lane(lane, Kind::Write)];
        self.levels.each_ref().map(|level| {
            let rings = resources.iter().filter_map(|resource| level.get(resource));
            rings.filter_map(|ring| ring.lanes.get(&lane)).sum()
        })
    }

    /// The request of this urgency that begins now; where there is none, `wake` is moved up to when there may be one.
    fn choose(&self, urgency: Urgency, now: Instant, wake: &mut Option<Instant>) -> Option<(WaiterId, Resource)> {
        for (resource, ring) in self.levels.get(urgency as usize)?.iter() {
            let kind = match resource {
                Resource::Writer if self.writing > 0 => continue,
                Resource::Writer => Kind::Write,
                Resource::Lane(_, kind) => *kind,
            };
            let mut open = BTreeSet::new();
            for lane in ring.lanes.keys() {
                match self.lanes.get(lane).map_or(Room::Full, |meter| meter.room(kind, urgency, now)) {
                    Room::Now => _ = open.insert(*lane),
                    Room::At(instant) => *wake = Some(wake.map_or(instant, |wake| wake.min(instant))),
                    Room::Full => {}
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
        if place.kind == Kind::Write {
            self.writing += 1;
        }
        if let Some(meter) = self.lanes.get_mut(&place.lane) {
            meter.begin(place.kind, now);
        }
        let level = self.level(place.urgency);
        level.served(&resource);
        if let Some(ring) = level.get_mut(&resource) {
            ring.namespaces.served(&place.namespace);
        }
        self.leave(id);
    }

    fn resource(&self, place: &Place) -> Resource {
        match place.kind {
            Kind::Write if self.one_writer => Resource::Writer,
            kind => Resource::Lane(place.lane, kind),
        }
    }

    fn level(&mut self, urgency: Urgency) -> &mut Turns<Resource, Ring> {
        let [revoke, grant, drift, resync] = &mut self.levels;
        match urgency {
            Urgency::Revoke => revoke,
            Urgency::Grant => grant,
            Urgency::Drift => drift,
            Urgency::Resync => resync,
        }
    }
}

impl Ring {
    fn join(&mut self, id: WaiterId, place: &Place) {
        self.namespaces.entry(&place.namespace).entry(place.lane).or_default().insert(id);
        *self.lanes.entry(place.lane).or_default() += 1;
    }

    fn leave(&mut self, id: WaiterId, place: &Place) {
        if let Some(lanes) = self.namespaces.get_mut(&place.namespace) {
            if let Some(waiters) = lanes.get_mut(&place.lane) {
                waiters.remove(&id);
                if waiters.is_empty() {
                    lanes.remove(&place.lane);
                }
            }
            if lanes.is_empty() {
                self.namespaces.remove(&place.namespace);
            }
        }
        if let Some(waiting) = self.lanes.get_mut(&place.lane) {
            *waiting -= 1;
            if *waiting == 0 {
                self.lanes.remove(&place.lane);
            }
        }
    }

    /// The first to come for an open lane, of the namespace whose turn it is.
    fn first(&self, open: &BTreeSet<LaneId>) -> Option<WaiterId> {
        if open.is_empty() {
            return None;
        }
        self.namespaces.iter().find_map(|(_, lanes)| {
            let waiters = lanes.iter().filter(|(lane, _)| open.contains(lane)).map(|(_, waiters)| waiters);
            waiters.filter_map(BTreeSet::first).min().copied()
        })
    }
}

#[cfg(test)]
mod tests;
