//! The expected state when everything is stable: the union of what the remaining objects declare.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::apiserver::ApiServer;
use crate::book::{Book, MEMBERSHIPS, Role, recorded, roles_of, target_of};
use crate::providers::{Providers, TARGETS, TargetKey};

/// Grants that begin or end within this time are awaited; all others have no effect.
const SOON: SignedDuration = SignedDuration::from_hours(2);

/// How long after a start or an end it must be reported.
const JUST: SignedDuration = SignedDuration::from_secs(75);

/// The expected state of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The roles that must be in force.
    pub must: BTreeSet<String>,
    /// The roles that may be in force: those that inactive objects hold.
    pub may: BTreeSet<String>,
    /// No other role may be in force, not even an unmanaged one.
    pub exclusive: bool,
}

/// The expected state of each target.
pub fn expected(objects: &[Value], now: Timestamp) -> BTreeMap<TargetKey, Expected> {
    let mut expected: BTreeMap<TargetKey, Expected> =
        TARGETS.iter().map(|target| (*target, Expected::default())).collect();
    for object in objects {
        let spec = &object["spec"];
        let Some(of) = target_of(spec).and_then(|target| expected.get_mut(&target)) else { continue };
        if counts(object) {
            of.must.extend(in_effect(object, now));
            of.exclusive |= spec["roleManagement"] != "Additive";
        } else {
            let held = recorded(object).into_iter();
            of.may.extend(held.filter_map(|role| Some(role["role"].as_str()?.to_owned())));
        }
    }
    expected
}

/// Whether an object counts.
pub fn counts(object: &Value) -> bool {
    let spec = &object["spec"];
    let refused = ready(object).is_some_and(|ready| ready["reason"] == "AlreadyExists");
    spec["suspend"] != true && spec["managementPolicy"] != "Observe" && !refused
}

/// The declared roles that are in effect, with their starts as recorded.
pub fn in_effect(object: &Value, now: Timestamp) -> BTreeSet<String> {
    let runs = |role: &Role| {
        let temporary = &role.temporary;
        if temporary.is_null() {
            return true;
        }
        let Some(start) = start(object, role) else { return temporary["duration"].is_null() };
        let length = temporary["duration"].as_str().map(length);
        let ends = [length.map(|length| start + length), time(&temporary["expirationTime"])];
        start <= now && ends.into_iter().flatten().all(|end| now < end)
    };
    roles_of(&object["spec"]).into_iter().filter(runs).map(|role| role.name).collect()
}

/// When a temporary role starts, by its spec or as it is recorded.
fn start(object: &Value, role: &Role) -> Option<Timestamp> {
    let roles = object["status"]["roles"].as_array().into_iter().flatten();
    let mut recorded = roles.filter(|known| known["role"] == role.name.as_str()).map(|known| &known["startTime"]);
    let of_spec = time(&role.temporary["startTime"]);
    of_spec.or_else(|| if role.temporary.is_null() { None } else { recorded.next().and_then(time) })
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

/// The one unit that durations have here.
fn length(text: &str) -> SignedDuration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => 1,
    };
    SignedDuration::from_secs(number.parse::<i64>().unwrap_or_default() * seconds)
}

/// The condition Ready.
pub fn ready(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

/// The deviations: at the providers, and in the statuses of the objects.
pub fn wrong(api: &ApiServer, providers: &Providers, book: &Book, now: Timestamp) -> Vec<(&'static str, String)> {
    let objects = api.all(MEMBERSHIPS);
    let mut wrong = Vec::new();
    for (target, expected) in expected(&objects, now) {
        let there = providers.effective(target, now);
        for role in expected.must.difference(&there) {
            wrong.push(("what is declared is there", format!("{target:?} lacks {role}: {there:?}, {expected:?}")));
        }
        for role in &there {
            let allowed = expected.must.contains(role) || expected.may.contains(role);
            // Unmanaged: the operator did not add it, or an object that was deleted with Orphan left it.
            let unmanaged = !book.granted_by_us(target, role) || book.was_orphaned(target, role);
            if !allowed && (expected.exclusive || !unmanaged) {
                let what = format!("{target:?} still has {role}: {there:?}, {expected:?}");
                wrong.push(("an expired or undeclared grant is gone once faults stop", what));
            }
        }
    }
    let is_near = |edge: &Timestamp| *edge > now - JUST && *edge < now + SOON;
    // An object that another one's access keeps waiting goes on when that has ended at the provider.
    for target in TARGETS {
        if let Some(end) = providers.roles(target).into_values().flatten().find(is_near) {
            wrong.push(("it comes to rest", format!("a role of {target:?} ends at {end}")));
        }
    }
    for object in &objects {
        if let Some(next) = edges(object).into_iter().find(is_near) {
            wrong.push(("it comes to rest", format!("{} changes at {next}", object["metadata"]["name"])));
        }
        wrong.extend(untrue(object, now).map(|what| ("the status tells the truth", what)));
    }
    wrong
}

/// When an object's grants begin and end, and when a late write is awaited no longer, by its status and its spec. An
/// object that only observes may report drift up to one resync after an end.
fn edges(object: &Value) -> Vec<Timestamp> {
    let status = &object["status"];
    let mut edges: Vec<_> =
        [&status["nextTransitionTime"], &status["unansweredUntil"]].into_iter().filter_map(time).collect();
    for role in roles_of(&object["spec"]) {
        let start = start(object, &role);
        let length = role.temporary["duration"].as_str().map(length);
        edges.extend(start);
        edges.extend(start.zip(length).map(|(start, length)| start + length));
        edges.extend(time(&role.temporary["expirationTime"]));
    }
    edges
}

/// The incorrect statements in an object's status.
fn untrue(object: &Value, now: Timestamp) -> Option<String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let status = &object["status"];
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Some(format!("{name} is still being deleted: {status}"));
    }
    if status["observedGeneration"] != object["metadata"]["generation"] {
        return Some(format!("{name} was not looked at since it was changed: {status}"));
    }
    let reason = ready(object).map_or("none", |ready| ready["reason"].as_str().unwrap_or_default());
    let spec = &object["spec"];
    let reasons: &[&str] = match () {
        // The last state is kept, or Suspended if there was none.
        () if spec["suspend"] == true => return None,
        () if spec["managementPolicy"] == "Observe" => &["Observed"],
        () if spec["adoptionPolicy"] == "Refuse" => &["Converged", "AlreadyExists"],
        () => &["Converged"],
    };
    if !reasons.contains(&reason) {
        return Some(format!("{name} says {reason}, not one of {reasons:?}: {status}"));
    }
    let reported = status["activeRoles"].as_str().unwrap_or_default();
    let reported: BTreeSet<String> = reported.split(", ").filter(|role| !role.is_empty()).map(str::to_owned).collect();
    let there = in_effect(object, now);
    (reason == "Converged" && reported != there)
        .then(|| format!("{name} says {reported:?} and has {there:?}: {status}"))
}
