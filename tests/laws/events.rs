//! What happens to the objects, the provider and the operator.

use std::time::Duration;

use jiff::SignedDuration;
use membership_operator::api::membership::{RoleGrant, Temporary};
use membership_operator::api::{Duration as Length, Time};
use membership_operator::core::error::{Effect, Error};
use membership_operator::core::member::{Entry, Term, Window};
use membership_operator::core::memory::Memory;
use membership_operator::core::report;

use crate::checks::UNMANAGED;
use crate::generators::shown_as;
use crate::objects::{Object, Policies};
use crate::provider::{Fault, unreachable};
use crate::world::{World, trace};

/// What happens between two steps of a pass.
#[derive(Clone, Copy, Debug)]
pub enum Interruption {
    /// The operator crashes.
    Crash,
    /// The operator crashes, and the provider object does not exist any more. It may have reported that a write is in
    /// progress.
    Loss { is_reported: bool },
    /// Any event.
    Event,
    /// Another writer adds this role.
    Role(&'static str),
    /// The first object is suspended.
    Suspension,
}

/// Roles that objects declare.
const OURS: [&str; 3] = ["viewer", "deployer", "typo"];
/// The most objects at a time.
const MOST_OBJECTS: usize = 3;

pub fn interrupt(world: &mut World, interruption: Interruption) {
    match interruption {
        Interruption::Crash => world.crash(),
        Interruption::Loss { is_reported } => {
            if is_reported {
                report_progress(world);
            }
            world.crash();
            world.is_missing = true;
        }
        Interruption::Event => event(world),
        Interruption::Role(role) => add(world, role),
        Interruption::Suspension => world.objects[0].edit(world.at, |spec| spec.suspend = true),
    }
}

/// The operator reports that a write is in progress.
pub fn report_progress(world: &mut World) {
    let (snapshot, is_governed) = (world.snapshot(), world.view.cluster.is_some());
    for (uid, reported) in report::progress(&snapshot, None, &Memory::default()) {
        let object = world.object(&uid).unwrap();
        assert!(object.write_status(reported.status, is_governed));
    }
}

/// Another writer adds a role.
pub fn add(world: &mut World, role: &str) {
    let mut entries = world.provider.member.as_ref().map_or_else(Vec::new, |member| member.entries.clone());
    entries.push(Entry::permanent(role));
    world.provider.set(entries, 1);
    world.hand_at = Some(world.at);
}

/// Something happens, or will happen during the next pass.
pub fn happen(world: &mut World) {
    let interruption = if world.random.chance(50) { Interruption::Crash } else { Interruption::Event };
    if world.random.chance(25) {
        world.interruption = Some((world.random.below(8), interruption));
    }
    event(world);
}

fn event(world: &mut World) {
    match world.random.below(100) {
        0..14 => create(world),
        14..26 => edit(world),
        26..31 => suspend(world),
        31..38 => delete(world),
        38..58 => wait(world),
        58..70 => hand(world),
        70..74 => {
            let error = list_error(world);
            world.provider.lists.push_back(error);
        }
        74..84 => {
            let fault = fault(world);
            let after = world.random.below(3);
            world.provider.writes.extend((0..after).map(|_| None));
            world.provider.writes.push_back(Some(fault));
            trace!(world, "faults of writes: {:?}", world.provider.writes);
        }
        84..87 => world.records_fail += 1,
        87..89 => world.statuses_fail += 1,
        89..91 => world.crash(),
        91..93 => lose(world),
        93 => world.toggle_ready(),
        94 => {
            world.is_missing = !world.is_missing;
            trace!(world, "the provider object does not exist: {}", world.is_missing);
        }
        95 => world.shadowed = !world.shadowed,
        96 | 97 => clock(world),
        98 => forge(world),
        _ => request(world),
    }
}

fn temporary(world: &mut World) -> Option<Temporary> {
    if world.random.chance(35) {
        return None;
    }
    let minutes = |world: &mut World, of: &[i64]| {
        let minutes = world.random.pick(of);
        world.wall + SignedDuration::from_mins(minutes)
    };
    let start = world.random.chance(25).then(|| minutes(world, &[-90, -1, 0, 1, 30]));
    let end = world.random.chance(30).then(|| minutes(world, &[-1, 1, 30, 45, 120]));
    let end = end.filter(|end| start.is_none_or(|start| start < *end));
    let lengths = ["1m", "30m", "1h", "1h30m", "1d"];
    let needs_length = end.is_none() || world.random.chance(50);
    let duration = needs_length.then(|| Length(world.random.pick(&lengths).to_owned()));
    Some(Temporary { duration, start_time: start.map(Time::from), expiration_time: end.map(Time::from) })
}

fn roles(world: &mut World) -> Vec<RoleGrant> {
    let mut roles: Vec<RoleGrant> = Vec::new();
    for role in OURS {
        if world.random.chance(if role == "typo" { 15 } else { 60 }) {
            roles.push(RoleGrant { role: role.to_owned(), temporary: temporary(world) });
        }
    }
    if roles.is_empty() {
        roles.push(RoleGrant { role: "viewer".to_owned(), temporary: temporary(world) });
    }
    roles
}

pub fn create(world: &mut World) {
    if world.objects.len() >= MOST_OBJECTS {
        return;
    }
    let random = &mut world.random;
    let policies = Policies {
        exclusive: random.chance(35),
        refuses: random.chance(20),
        observes: random.chance(5),
        orphans: random.chance(8),
    };
    world.may_lose |= policies.exclusive;
    let namespace = if world.random.chance(70) { "a" } else { "b" };
    let roles = roles(world);
    trace!(world, "create uid-{} in {namespace}: {roles:?} {policies:?}", world.created);
    let object = Object::new(world.created, namespace, roles, &policies, world.wall, world.at);
    world.created += 1;
    world.objects.push(object);
    // The clock's next instant is later than the creation.
    world.advance(Duration::from_millis(1));
}

fn any(world: &mut World) -> Option<usize> {
    let count = world.objects.len();
    (count > 0).then(|| world.random.below(count))
}

fn edit(world: &mut World) {
    let Some(index) = any(world).filter(|index| !world.objects[*index].is_leaving()) else { return };
    let roles = roles(world);
    trace!(world, "edit {}: {roles:?}", world.objects[index].uid());
    world.objects[index].edit(world.at, |spec| spec.roles = roles);
    world.advance(Duration::from_millis(1));
}

fn suspend(world: &mut World) {
    let Some(index) = any(world).filter(|index| !world.objects[*index].is_leaving()) else { return };
    trace!(world, "suspend or resume {}", world.objects[index].uid());
    world.objects[index].edit(world.at, |spec| spec.suspend = !spec.suspend);
    world.advance(Duration::from_millis(1));
}

fn delete(world: &mut World) {
    let Some(index) = any(world) else { return };
    trace!(world, "delete {}", world.objects[index].uid());
    if world.objects[index].delete(world.wall) {
        world.objects.remove(index);
    }
}

/// All objects are deleted.
pub fn delete_all(world: &mut World) {
    trace!(world, "delete all");
    let now = world.wall;
    world.objects.retain_mut(|object| !object.delete(now));
}

fn wait(world: &mut World) {
    let seconds = world.random.pick(&[1, 4, 30, 60, 200, 320, 1_800, 3_600, 90_000]);
    trace!(world, "wait {seconds} s");
    world.advance(Duration::from_secs(seconds));
}

/// Another writer changes the member.
fn hand(world: &mut World) {
    let before = world.provider.member.clone();
    let mut entries = before.as_ref().map_or_else(Vec::new, |member| member.entries.clone());
    let mut memberships = before.as_ref().map_or(1, |member| member.memberships);
    let has = |entries: &[Entry], role: &str| entries.iter().any(|entry| entry.role == role);
    match world.random.below(10) {
        0..6 => {
            let role = world.random.pick(&["auditor", "unmanaged", "no-access", "viewer", "deployer"]);
            let window = Window {
                start: world.wall - SignedDuration::from_mins(world.random.pick(&[1, 60])),
                end: world.wall + SignedDuration::from_mins(world.random.pick(&[1, 30, 90])),
            };
            let is_temporary = role != "no-access" && world.random.chance(30);
            let term = if is_temporary { Term::Temporary(window) } else { Term::Permanent };
            world.brought_base |= role == "no-access";
            if let Some(ours) = OURS.iter().find(|ours| **ours == role && !has(&entries, ours)) {
                world.ours.remove(role);
                if !world.is_recorded(role) {
                    world.hands.insert(*ours, world.at);
                }
            }
            entries.retain(|entry| entry.role != role);
            entries.push(shown_as(Entry::new(role, term)));
        }
        6 => {
            // The present roles become permanent.
            let role = world.random.pick(&OURS);
            entries.iter_mut().filter(|entry| entry.role == role).for_each(|entry| *entry = Entry::permanent(role));
        }
        7 | 8 => {
            let role = world.random.pick(&["viewer", "deployer", "auditor", "no-access"]);
            entries.retain(|entry| entry.role != role);
        }
        _ if world.provider.capabilities.enforces_expiry && !entries.is_empty() => {
            // Two writers at once: several memberships, and rows twice.
            memberships += 1;
            entries.extend(entries.clone());
        }
        _ => {}
    }
    let permanent = entries.iter().any(|entry| entry.term == Term::Permanent);
    // The server accepts no list of temporary roles only.
    if world.provider.capabilities.permanent_base.is_some() && !permanent && !entries.is_empty() {
        return;
    }
    if !world.provider.capabilities.enforces_expiry {
        entries.retain(|entry| entry.role != "no-access");
    }
    world.provider.set(entries, memberships);
    world.hand_at = Some(world.at);
    note_brought(world);
    trace!(world, "another writer writes {:?}", world.provider.member);
    world.advance(Duration::from_millis(1));
}

/// Another writer removes the roles that no object declares.
pub fn remove_unmanaged(world: &mut World) {
    let Some(mut member) = world.provider.member.clone() else { return };
    member.entries.retain(|entry| !UNMANAGED.contains(&entry.role.as_str()));
    trace!(world, "another writer removes the unmanaged roles");
    world.provider.set(member.entries, member.memberships);
    world.hand_at = Some(world.at);
    world.brought_base = true;
    world.brought.clear();
}

/// What another writer adds between a list and the write that is planned on it may be lost: no provider refuses to
/// overwrite it.
fn note_brought(world: &mut World) {
    let entries = world.provider.member.iter().flat_map(|member| &member.entries);
    let unmanaged = entries.filter(|entry| UNMANAGED.contains(&entry.role.as_str()));
    let is_planned = world.is_passing || world.memory.attempt.planned.is_some();
    let there: Vec<Entry> =
        unmanaged.filter(|entry| !is_planned || world.brought.get(&entry.role) == Some(*entry)).cloned().collect();
    world.brought = there.into_iter().map(|entry| (entry.role.clone(), entry)).collect();
}

fn message() -> String {
    "a fault".to_owned()
}

fn list_error(world: &mut World) -> Error {
    match world.random.below(6) {
        0..4 => unreachable(Effect::None),
        4 => Error::Forbidden { message: message() },
        _ => Error::RateLimited { message: message(), after: Some(Duration::from_secs(20)) },
    }
}

fn fault(world: &mut World) -> Fault {
    match world.random.below(12) {
        0 => Fault::Refused(unreachable(Effect::None)),
        1 => Fault::Refused(Error::RateLimited { message: message(), after: Some(Duration::from_secs(20)) }),
        2 => Fault::Refused(Error::Rejected { message: message() }),
        3 => Fault::Refused(Error::MayNotGrant { message: message() }),
        4 => Fault::Refused(Error::Changed { message: message() }),
        5 => Fault::NoAnswer { carried_out: true },
        6 => Fault::Delayed(Duration::from_secs(world.random.pick(&[2, 20, 40, 55]))),
        7 => Fault::NoAnswer { carried_out: false },
        8 => Fault::Half,
        9 | 10 => Fault::Lost,
        _ => Fault::Late(Duration::from_millis(world.random.pick(&[10, 300, 3_000, 9_000]))),
    }
}

fn lose(world: &mut World) {
    let Some(index) = any(world) else { return };
    let with_annotation = world.random.chance(20);
    trace!(world, "{} loses its status; its annotation: {with_annotation}", world.objects[index].uid());
    if with_annotation {
        let lost: Vec<String> = world.objects[index].record().iter().map(|role| role.role.clone()).collect();
        world.ours.retain(|role| !lost.contains(role));
        (world.brought_base, world.may_lose) = (true, true);
    }
    world.objects[index].lose_status(with_annotation);
}

fn clock(world: &mut World) {
    match world.random.below(3) {
        0 => world.skew = SignedDuration::from_secs(world.random.pick(&[-300, -20, 0, 20, 300])),
        1 => {
            // The operator's clock is set. The provider's shows the same time as before.
            let by = SignedDuration::from_secs(world.random.pick(&[-600, -10, 10, 600]));
            world.wall += by;
            world.skew -= by;
        }
        _ => world.shows_clock = !world.shows_clock,
    }
    trace!(world, "wall {}, skew {}, shown: {}", world.wall, world.skew, world.shows_clock);
}

fn forge(world: &mut World) {
    if world.view.cluster.is_none() {
        return;
    }
    let Some(index) = any(world) else { return };
    let role = world.random.pick(&["auditor", "unmanaged"]);
    trace!(world, "{} forges {role}", world.objects[index].uid());
    world.objects[index].forge(role);
    // A restarted operator trusts what it finds recorded.
    world.may_lose = true;
}

fn request(world: &mut World) {
    let Some(index) = any(world) else { return };
    let value = world.taken;
    world.objects[index].request(value);
}
