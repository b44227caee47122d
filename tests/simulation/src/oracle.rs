//! What must be there when everything has come to rest: the union of what is declared, by the surviving objects alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::apiserver::ApiServer;
use crate::book::{Book, MEMBERSHIPS, Role, recorded, roles_of, target_of};
use crate::providers::{Providers, TARGETS, TargetKey};

/// Grants that begin or end within this time are waited for: of all others nothing is seen.
const SOON: SignedDuration = SignedDuration::from_hours(2);

/// So long after an edge it is told.
const JUST: SignedDuration = SignedDuration::from_secs(75);

/// What a target comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What must be there.
    pub must: BTreeSet<String>,
    /// What may be there as well: what objects that don't count hold.
    pub may: BTreeSet<String>,
    /// No other role may be there, a stranger's neither.
    pub exclusive: bool,
}

/// What each target comes to.
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

/// Whether an object has a say.
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

/// What isn't as it must be: at the providers, and in what the objects say.
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
            // A stranger's: nobody of ours put it there, or an object that was deleted with Orphan left it.
            let foreign = !book.granted_by_us(target, role) || book.was_orphaned(target, role);
            if !allowed && (expected.exclusive || !foreign) {
                let what = format!("{target:?} still has {role}: {there:?}, {expected:?}");
                wrong.push(("an expired or undeclared grant is gone once faults stop", what));
            }
        }
    }
    for object in &objects {
        if let Some(next) = edges(object).into_iter().find(|edge| *edge > now - JUST && *edge < now + SOON) {
            wrong.push(("it comes to rest", format!("{} changes at {next}", object["metadata"]["name"])));
        }
        wrong.extend(untrue(object, now).map(|what| ("the status tells the truth", what)));
    }
    wrong
}

/// When an object's grants begin and end, by its status and its spec. What an object that only observes says of drift
/// may follow an end by a resync.
fn edges(object: &Value) -> Vec<Timestamp> {
    let mut edges = Vec::from_iter(time(&object["status"]["nextTransitionTime"]));
    for role in roles_of(&object["spec"]) {
        let start = start(object, &role);
        let length = role.temporary["duration"].as_str().map(length);
        edges.extend(start);
        edges.extend(start.zip(length).map(|(start, length)| start + length));
        edges.extend(time(&role.temporary["expirationTime"]));
    }
    edges
}

/// What an object says that isn't so.
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
        // What was last said stays, or Suspended where nothing was.
        () if spec["suspend"] == true => return None,
        () if spec["managementPolicy"] == "Observe" => &["Observed"],
        () if spec["adoptionPolicy"] == "Refuse" => &["Converged", "AlreadyExists"],
        () => &["Converged"],
    };
    if !reasons.contains(&reason) {
        return Some(format!("{name} says {reason}, not one of {reasons:?}: {status}"));
    }
    let said = status["activeRoles"].as_str().unwrap_or_default();
    let said: BTreeSet<String> = said.split(", ").filter(|role| !role.is_empty()).map(str::to_owned).collect();
    let there = in_effect(object, now);
    (reason == "Converged" && said != there).then(|| format!("{name} says {said:?} and has {there:?}: {status}"))
}
