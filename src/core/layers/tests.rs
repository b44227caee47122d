use super::*;
use crate::core::member::{Verbatim, Window};

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}:00Z").parse().unwrap()
}

fn until(end: &str) -> Term {
    Term::Temporary(Window { start: at("10:00"), end: at(end) })
}

/// All cases are evaluated at noon.
fn now() -> Timestamp {
    at("12:00")
}

const GOOD: Term = Term::Permanent;

fn layer(uid: &str, phase: Phase, grants: &[(&str, Term)], managed: &[(&str, Term)]) -> Layer {
    Layer {
        uid: uid.to_owned(),
        phase,
        exclusive: false,
        grants: grants.iter().map(|(role, term)| Grant { role: (*role).to_owned(), term: *term }).collect(),
        managed: record(managed),
        carried: Vec::new(),
    }
}

fn record(roles: &[(&str, Term)]) -> BTreeMap<String, Term> {
    roles.iter().map(|(role, term)| ((*role).to_owned(), *term)).collect()
}

fn roles(roles: &[&str]) -> BTreeSet<String> {
    roles.iter().map(|role| (*role).to_owned()).collect()
}

#[test]
fn the_union_says_who_may_grant_who_may_keep_and_who_holds() {
    let layers = [
        layer("a", Phase::Counts, &[("r", until("13:00")), ("s", GOOD)], &[("r", until("13:00"))]),
        layer("b", Phase::Counts, &[("r", until("14:00")), ("over", until("12:00"))], &[("over", until("12:00"))]),
        layer("c", Phase::Holds, &[], &[("h", until("13:00")), ("ended", until("12:00"))]),
        layer("d", Phase::Leaves, &[], &[("l", GOOD)]),
    ];
    let union = union(&layers, &roles(&[]), now());
    assert_eq!(union.granted, record(&[("r", until("13:00"))]), "the longer one isn't written down");
    assert_eq!(union.kept, record(&[("r", until("14:00")), ("s", GOOD)]));
    assert_eq!(union.held, record(&[("h", until("13:00"))]));
    assert_eq!(union.ours, roles(&["r", "over", "h", "ended", "l"]));
    assert!(!union.exclusive);
}

#[test]
fn carried_entries_are_united_in_an_order_of_their_own() {
    let entry = |range: &str| Entry {
        verbatim: Some(Verbatim { range: range.into(), start: "s".into() }),
        ..Entry::new("r", until("13:00"))
    };
    let carrying = |uid: &str, carried: Vec<Entry>| Layer { carried, ..layer(uid, Phase::Counts, &[], &[]) };
    let (a, b) =
        (carrying("a", vec![entry("3h"), entry("180m")]), carrying("b", vec![entry("180m"), Entry::permanent("r")]));
    let carried = |layers: &[Layer]| union(layers, &roles(&[]), now()).carried;
    assert_eq!(carried(&[a.clone(), b.clone()]), [Entry::permanent("r"), entry("180m"), entry("3h")]);
    assert_eq!(carried(&[a.clone(), b.clone()]), carried(&[b, a]));
}

#[test]
fn before_a_write_the_grants_in_effect_are_added_and_nothing_is_forgotten() {
    let managed = [("r", until("13:00")), ("old", GOOD)];
    let asks = [("r", until("14:00")), ("new", GOOD), ("over", until("12:00"))];
    let expected = record(&[("r", until("14:00")), ("old", GOOD), ("new", GOOD)]);
    assert_eq!(layer("a", Phase::Counts, &asks, &managed).record_before(now()), expected);
    for phase in [Phase::Holds, Phase::Leaves] {
        assert_eq!(layer("a", phase, &asks, &managed).record_before(now()), record(&managed), "{phase:?}");
    }
}

#[test]
fn after_an_observation_a_record_keeps_what_is_in_effect_held_or_still_there() {
    let after = |layer: &Layer, shown: &[&str]| record_after(layer, &[], &roles(shown), now());
    let asks = layer("a", Phase::Counts, &[("r", until("13:00"))], &[("r", until("13:00")), ("old", GOOD)]);
    assert_eq!(after(&asks, &["r", "old"]), record(&[("r", until("13:00")), ("old", GOOD)]));
    assert_eq!(after(&asks, &["r"]), record(&[("r", until("13:00"))]), "what is known to be gone is let go of");
    assert_eq!(after(&asks, &[]), record(&[("r", until("13:00"))]), "what isn't there yet isn't");
    let held = layer("a", Phase::Holds, &[], &[("r", until("13:00")), ("ended", until("12:00"))]);
    assert_eq!(after(&held, &[]), record(&[("r", until("13:00"))]));
    assert_eq!(after(&held, &["ended"]), record(&[("r", until("13:00")), ("ended", until("12:00"))]));
    let leaving = layer("a", Phase::Leaves, &[], &[("r", until("13:00"))]);
    assert_eq!(after(&leaving, &["r"]), record(&[("r", until("13:00"))]));
    assert_eq!(after(&leaving, &[]), record(&[]));
    let unwritten = layer("a", Phase::Counts, &[("r", GOOD), ("s", GOOD)], &[]);
    assert_eq!(after(&unwritten, &["r"]), record(&[("r", GOOD)]), "what is there and in effect is written down");
}

#[test]
fn a_role_is_handed_over_to_a_successor_that_has_recorded_it() {
    let leaving = layer("a", Phase::Leaves, &[], &[("r", GOOD)]);
    let r = [("r", until("13:00"))];
    for (why, other, successor, wait) in [
        ("it counts and has written it down", layer("b", Phase::Counts, &r, &r), true, false),
        ("it hasn't yet", layer("b", Phase::Counts, &r, &[]), false, true),
        ("it has, with another window", layer("b", Phase::Counts, &r, &[("r", GOOD)]), true, false),
        ("it holds it", layer("b", Phase::Holds, &[], &r), true, false),
        ("it held it", layer("b", Phase::Holds, &[], &[("r", until("12:00"))]), false, false),
        ("it had it", layer("b", Phase::Counts, &[("r", until("12:00"))], &[("r", until("12:00"))]), false, false),
        ("it leaves as well", layer("b", Phase::Leaves, &[], &r), false, false),
        ("it has others", layer("b", Phase::Counts, &[("s", GOOD)], &[]), false, false),
    ] {
        assert_eq!(takes_over(&other, "r", now()), successor, "{why}");
        let after = record_after(&leaving, std::slice::from_ref(&other), &roles(&["r"]), now());
        assert_eq!(after.is_empty(), successor, "{why}");
        assert_eq!(!successors_to_wait_for(&leaving, &[other], now()).is_empty(), wait, "{why}");
    }
}

/// Seen failing without the check of the other declarations: `taken` and `held` are due.
#[test]
fn a_role_that_is_due_to_end_is_recorded_and_kept_by_no_declaration() {
    let managed = [("r", GOOD), ("over", until("12:00")), ("taken", GOOD), ("held", GOOD), ("base", GOOD)];
    let others = [
        layer("b", Phase::Counts, &[("taken", GOOD)], &[]),
        layer("c", Phase::Holds, &[], &[("held", until("13:00")), ("over", until("12:00"))]),
    ];
    let due_of = |phase, grants: &[(&str, Term)]| -> BTreeSet<String> {
        due(&layer("a", phase, grants, &managed), &others, Some("base"), now()).cloned().collect()
    };
    assert_eq!(due_of(Phase::Leaves, &[]), roles(&["r", "over"]));
    assert_eq!(due_of(Phase::Counts, &[("r", GOOD), ("over", until("12:00"))]), roles(&["over"]));
    assert_eq!(due_of(Phase::Counts, &[]), roles(&["r", "over"]), "what is declared no more");
    assert_eq!(due_of(Phase::Holds, &[]), roles(&["over"]), "what is held until its end");
}
