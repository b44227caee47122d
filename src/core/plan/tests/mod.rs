//! Tables of plans. The laws that hold for all plans are in `tests/laws`.

mod base;
mod several;

use super::*;
use crate::core::grants::Grant;
use crate::core::layers::Phase;
use crate::core::member::{Verbatim, Window};

const INFISICAL: Capabilities = Capabilities {
    enforces_expiry: true,
    permanent_base: Some("no-access"),
    empty_role: Some("no-access"),
    lists_are_current: true,
    creation_role: None,
    invites: false,
};
const ZITADEL: Capabilities = Capabilities {
    enforces_expiry: false,
    permanent_base: None,
    empty_role: None,
    lists_are_current: false,
    creation_role: None,
    invites: false,
};

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}:00Z").parse().unwrap()
}

/// All plans here are for noon.
fn now() -> Timestamp {
    at("12:00")
}

/// From ten o'clock until `end`.
fn until(end: &str) -> Term {
    Term::Temporary(Window { start: at("10:00"), end: at(end) })
}

const GOOD: Term = Term::Permanent;

fn entries(roles: &[(&str, Term)]) -> Vec<Entry> {
    roles.iter().map(|(role, term)| Entry::new(*role, *term)).collect()
}

fn row(roles: &[(&str, Term)]) -> Option<Member> {
    Some(Member { subject_id: "s".into(), entries: entries(roles), memberships: 1, version: None })
}

fn twice(roles: &[(&str, Term)]) -> Option<Member> {
    row(roles).map(|member| Member { memberships: 2, ..member })
}

/// An Additive layer.
fn layer(uid: &str, phase: Phase, grants: &[(&str, Term)], managed: &[(&str, Term)]) -> Layer {
    Layer {
        uid: uid.to_owned(),
        phase,
        exclusive: false,
        grants: grants.iter().map(|(role, term)| Grant { role: (*role).to_owned(), term: *term }).collect(),
        managed: managed.iter().map(|(role, term)| ((*role).to_owned(), *term)).collect(),
        carried: Vec::new(),
    }
}

/// A layer that counts and has recorded its grants.
fn counts(uid: &str, grants: &[(&str, Term)]) -> Layer {
    layer(uid, Phase::Counts, grants, grants)
}

fn holds(uid: &str, managed: &[(&str, Term)]) -> Layer {
    layer(uid, Phase::Holds, &[], managed)
}

fn leaves(uid: &str, managed: &[(&str, Term)]) -> Layer {
    layer(uid, Phase::Leaves, &[], managed)
}

fn exclusive(layer: Layer) -> Layer {
    Layer { exclusive: true, ..layer }
}

fn planned(layers: &[Layer], observed: &Option<Member>, capabilities: Capabilities) -> Plan {
    planned_without(layers, observed, capabilities, &[])
}

fn planned_without(layers: &[Layer], observed: &Option<Member>, capabilities: Capabilities, refused: &[&str]) -> Plan {
    let refused = refused.iter().map(|role| (*role).to_owned()).collect();
    plan(
        layers,
        &PlanInputs {
            observed: observed.as_ref(),
            capabilities,
            refused: &refused,
            spared: &BTreeSet::new(),
            now: now(),
            begins: true,
        },
    )
}

fn replace(roles: &[(&str, Term)]) -> Option<Change> {
    Some(Change::Replace(entries(roles)))
}

fn create(roles: &[(&str, Term)]) -> Option<Change> {
    Some(Change::Create(entries(roles)))
}

#[test]
fn one_object_alone_comes_to_this() {
    let viewer = [("viewer", GOOD)];
    let deployer = [("deployer", until("14:00"))];
    for (why, layer, observed, expected) in [
        ("a role that isn't there is granted", counts("a", &viewer), None, create(&viewer)),
        ("one that is there is not", counts("a", &viewer), row(&viewer), None),
        ("nor one that isn't written down", layer("a", Phase::Counts, &viewer, &[]), None, None),
        (
            "nor one whose window was written down otherwise",
            layer("a", Phase::Counts, &deployer, &[("deployer", until("13:00"))]),
            row(&viewer),
            None,
        ),
        (
            "a scheduled role is not sent",
            counts(
                "a",
                &[("viewer", GOOD), ("deployer", Term::Temporary(Window { start: at("13:00"), end: at("14:00") }))],
            ),
            row(&viewer),
            None,
        ),
        (
            "Additive keeps an unmanaged role",
            counts("a", &viewer),
            row(&[("unmanaged", GOOD)]),
            replace(&[("unmanaged", GOOD), ("viewer", GOOD)]),
        ),
        ("Exclusive doesn't", exclusive(counts("a", &viewer)), row(&[("unmanaged", GOOD)]), replace(&viewer)),
        (
            "also where all that it declares is over",
            exclusive(counts("a", &[("deployer", until("11:00"))])),
            row(&[("unmanaged", GOOD)]),
            Some(Change::Remove),
        ),
        (
            "a permanent unmanaged role becomes managed, and temporary",
            counts("a", &[("viewer", GOOD), ("deployer", until("14:00"))]),
            row(&[("viewer", GOOD), ("deployer", GOOD)]),
            replace(&[("viewer", GOOD), ("deployer", until("14:00"))]),
        ),
        (
            "but stays as it is until that is written down",
            layer("a", Phase::Counts, &deployer, &[]),
            row(&[("deployer", GOOD)]),
            None,
        ),
        (
            "a manual window is corrected",
            counts("a", &[("viewer", GOOD), ("deployer", until("14:00"))]),
            row(&[("viewer", GOOD), ("deployer", until("12:30"))]),
            replace(&[("viewer", GOOD), ("deployer", until("14:00"))]),
        ),
        (
            "a role that is no longer declared goes",
            layer("a", Phase::Counts, &viewer, &[("viewer", GOOD), ("admin", GOOD)]),
            row(&[("viewer", GOOD), ("admin", GOOD), ("unmanaged", GOOD)]),
            replace(&[("viewer", GOOD), ("unmanaged", GOOD)]),
        ),
        ("what leaves goes", leaves("a", &viewer), row(&viewer), Some(Change::Remove)),
        (
            "and leaves others",
            leaves("a", &viewer),
            row(&[("viewer", GOOD), ("unmanaged", GOOD)]),
            replace(&[("unmanaged", GOOD)]),
        ),
        ("a layer that only holds writes nothing", exclusive(holds("a", &[])), row(&[("unmanaged", GOOD)]), None),
    ] {
        assert_eq!(planned(&[layer], &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn what_is_held_is_left_alone_until_it_ends() {
    let base = ("viewer", GOOD);
    for (why, held, observed, expected) in [
        ("it stays", until("14:00"), row(&[base, ("r", until("14:00"))]), None),
        ("it isn't restored", until("14:00"), row(&[base]), None),
        ("nor lengthened", until("14:00"), row(&[base, ("r", until("13:00"))]), None),
        ("it ends", until("12:00"), row(&[base, ("r", until("12:00"))]), replace(&[base])),
        ("also if it was made permanent manually", until("12:00"), row(&[base, ("r", GOOD)]), replace(&[base])),
        (
            "what was lengthened manually is cut to the admitted end",
            until("14:00"),
            row(&[base, ("r", GOOD)]),
            replace(&[base, ("r", until("14:00"))]),
        ),
        ("permanent, it stays permanent", GOOD, row(&[base, ("r", GOOD)]), None),
    ] {
        assert_eq!(planned(&[holds("a", &[("r", held)])], &observed, INFISICAL).change, expected, "{why}");
        // Whether another object that counts tolerates unmanaged roles makes no difference.
        let other = exclusive(counts("b", &[base]));
        assert_eq!(planned(&[holds("a", &[("r", held)]), other], &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn zitadel_shows_no_ends_so_that_the_record_alone_says_when_a_role_is_over() {
    let shown = [("viewer", GOOD), ("deployer", GOOD)];
    for (why, layer, observed, expected) in [
        ("a window that goes on", counts("a", &[("viewer", GOOD), ("deployer", until("14:00"))]), row(&shown), None),
        ("one made shorter", counts("a", &[("viewer", GOOD), ("deployer", until("12:01"))]), row(&shown), None),
        (
            "one that has ended",
            counts("a", &[("viewer", GOOD), ("deployer", until("12:00"))]),
            row(&shown),
            replace(&[("viewer", GOOD)]),
        ),
        ("one held", holds("a", &[("deployer", until("14:00"))]), row(&shown), None),
        (
            "one held that has ended",
            holds("a", &[("deployer", until("12:00"))]),
            row(&shown),
            replace(&[("viewer", GOOD)]),
        ),
        (
            "the last to end",
            counts("a", &[("deployer", until("12:00"))]),
            row(&[("deployer", GOOD)]),
            Some(Change::Remove),
        ),
    ] {
        assert_eq!(planned(&[layer], &observed, ZITADEL).change, expected, "{why}");
    }
}

#[test]
fn a_role_to_revoke_that_is_merely_not_listed_needs_the_providers_own_answer() {
    let stale = || leaves("a", &[("deployer", GOOD)]);
    let unmanaged = row(&[("unmanaged", GOOD)]);
    for (why, layers, observed, capabilities, expected) in [
        ("a row that isn't there may be hidden", vec![stale()], None, INFISICAL, Some(Change::Remove)),
        ("a row that is there is the truth", vec![stale()], unmanaged.clone(), INFISICAL, None),
        ("unless lists lag", vec![stale()], unmanaged, ZITADEL, replace(&[("unmanaged", GOOD)])),
        ("and so is a row that isn't there", vec![stale()], None, ZITADEL, Some(Change::Remove)),
        ("what is held isn't asked for", vec![holds("a", &[("deployer", until("14:00"))])], None, ZITADEL, None),
        (
            "what is still declared isn't either",
            vec![stale(), layer("b", Phase::Counts, &[("deployer", GOOD)], &[])],
            None,
            ZITADEL,
            None,
        ),
    ] {
        assert_eq!(planned(&layers, &observed, capabilities).change, expected, "{why}");
    }
    assert_eq!(planned(&[stale()], &None, ZITADEL).urgency(true), Urgency::Revoke);
}

#[test]
fn a_refused_role_is_left_out_and_changes_nothing_for_the_others() {
    let layer = counts("a", &[("typo", GOOD), ("viewer", GOOD), ("deployer", until("14:00"))]);
    let there = [("viewer", GOOD), ("deployer", until("14:00"))];
    let plan = planned_without(std::slice::from_ref(&layer), &row(&there), INFISICAL, &["typo"]);
    assert_eq!(plan.change, None);
    assert_eq!(plan.drift, [Drift { role: "typo".into(), kind: DriftKind::Missing }]);
    let ended = counts("a", &[("typo", GOOD), ("viewer", GOOD), ("deployer", until("12:00"))]);
    let plan = planned_without(&[ended], &row(&there), INFISICAL, &["typo"]);
    assert_eq!(plan.change, replace(&[("viewer", GOOD)]));
}

#[test]
fn a_refused_change_leaves_the_removals_to_be_sent_alone_and_then_without_others() {
    let ours = layer(
        "a",
        Phase::Counts,
        &[("viewer", GOOD), ("new", GOOD)],
        &[("viewer", GOOD), ("new", GOOD), ("old", GOOD)],
    );
    let observed = row(&[("viewer", GOOD), ("old", GOOD), ("admin", GOOD)]);
    let plan = planned(std::slice::from_ref(&ours), &observed, INFISICAL);
    assert_eq!(plan.change, replace(&[("viewer", GOOD), ("admin", GOOD), ("new", GOOD)]));
    assert_eq!(
        plan.fallbacks,
        [replace(&[("viewer", GOOD), ("admin", GOOD)]), replace(&[("viewer", GOOD)])].map(Option::unwrap)
    );

    let plan = planned(&[exclusive(ours)], &observed, INFISICAL);
    assert_eq!(plan.change, replace(&[("viewer", GOOD), ("new", GOOD)]));
    assert_eq!(
        plan.fallbacks,
        [replace(&[("viewer", GOOD), ("admin", GOOD)]), replace(&[("viewer", GOOD)])].map(Option::unwrap)
    );
    assert!(!plan.needs_fresh);
}

#[test]
fn the_unmanaged_role_that_blocks_a_write_is_found_one_by_one() {
    let ours = layer("a", Phase::Counts, &[("viewer", GOOD)], &[("viewer", GOOD), ("old", GOOD)]);
    let observed = row(&[("viewer", GOOD), ("old", GOOD), ("admin", GOOD), ("auditor", GOOD)]);
    let plan = planned(&[ours], &observed, INFISICAL);
    assert_eq!(plan.change, replace(&[("viewer", GOOD), ("admin", GOOD), ("auditor", GOOD)]));
    let without_admin = replace(&[("viewer", GOOD), ("auditor", GOOD)]);
    let without_auditor = replace(&[("viewer", GOOD), ("admin", GOOD)]);
    let without_both = replace(&[("viewer", GOOD)]);
    assert_eq!(plan.fallbacks, [without_admin, without_auditor, without_both].map(Option::unwrap));
}

/// The provider accepts no list with such a role, even if the role still exists: the role must not keep another role
/// past its end.
#[test]
fn a_removal_is_at_last_sent_without_a_role_of_ours_that_the_provider_does_not_know_any_more() {
    let ours = layer("a", Phase::Counts, &[("gone", GOOD)], &[("gone", GOOD), ("owner", until("11:00"))]);
    let observed = row(&[("gone", GOOD), ("owner", GOOD)]);
    for (unmanaged, fallbacks) in
        [(None, vec![Change::Remove]), (Some("unmanaged"), vec![replace(&[("gone", GOOD)]).unwrap(), Change::Remove])]
    {
        let mut observed = observed.clone();
        observed.iter_mut().for_each(|member| member.entries.extend(unmanaged.map(Entry::permanent)));
        let plan = planned_without(std::slice::from_ref(&ours), &observed, ZITADEL, &["gone"]);
        assert_eq!(plan.fallbacks, fallbacks, "{unmanaged:?}");
    }
    let known = planned(&[ours], &observed, ZITADEL);
    assert_eq!((known.change, known.fallbacks), (replace(&[("gone", GOOD)]), Vec::new()));
}

#[test]
fn a_change_that_takes_nothing_of_ours_has_nothing_to_fall_back_to() {
    let plan = planned(&[exclusive(counts("a", &[("viewer", GOOD)]))], &row(&[("admin", GOOD)]), INFISICAL);
    assert_eq!((plan.change, plan.fallbacks), (replace(&[("viewer", GOOD)]), Vec::new()));
}

#[test]
fn an_earlier_end_is_carried_out_although_another_grant_is_refused() {
    let layer = counts("a", &[("viewer", GOOD), ("deployer", until("13:00")), ("new", GOOD)]);
    let plan = planned(&[layer], &row(&[("viewer", GOOD), ("deployer", until("14:00"))]), INFISICAL);
    let shortened = [("viewer", GOOD), ("deployer", until("13:00"))];
    assert_eq!(plan.fallbacks, [replace(&shortened).unwrap()]);
}

#[test]
fn ends_and_revocations_hurry_most() {
    let end = |time| Urgency::End(until(time).end().unwrap());
    let grants = [("viewer", GOOD), ("deployer", until("14:00"))];
    let all = row(&[("viewer", GOOD), ("deployer", until("14:00")), ("unmanaged", GOOD)]);
    for (why, layer, observed, settled, expected) in [
        ("a grant", counts("a", &grants), row(&grants[..1]), false, Urgency::Grant),
        ("a role that another writer removed", counts("a", &grants), row(&grants[..1]), true, Urgency::Drift),
        ("an unmanaged role to remove", exclusive(counts("a", &grants)), all.clone(), false, Urgency::Drift),
        ("only others", exclusive(counts("a", &[("x", until("11:00"))])), row(&[("s", GOOD)]), true, Urgency::Drift),
        ("a revocation", leaves("a", &grants), all.clone(), true, Urgency::Revoke),
        ("an end", counts("a", &[("viewer", GOOD), ("deployer", until("12:00"))]), all.clone(), true, end("12:00")),
        (
            "a grant beside an end",
            counts("a", &[("viewer", GOOD), ("deployer", until("12:00"))]),
            row(&[("deployer", until("12:00"))]),
            false,
            end("12:00"),
        ),
        (
            "an end brought forward",
            counts("a", &[("viewer", GOOD), ("deployer", until("12:30"))]),
            row(&grants),
            false,
            Urgency::Revoke,
        ),
        (
            "the first of several ends",
            counts("a", &[("viewer", until("11:00")), ("deployer", until("12:00"))]),
            row(&[("viewer", until("11:00")), ("deployer", until("12:00"))]),
            true,
            end("11:00"),
        ),
        (
            "an end that is no longer there",
            counts("a", &[("viewer", until("11:00")), ("deployer", until("12:00"))]),
            row(&[("deployer", until("12:00"))]),
            true,
            end("12:00"),
        ),
        (
            "one role in place of another",
            layer("a", Phase::Counts, &[("viewer", GOOD)], &[("viewer", GOOD), ("deployer", GOOD)]),
            row(&[("deployer", GOOD)]),
            false,
            Urgency::Exchange,
        ),
    ] {
        assert_eq!(planned(&[layer], &observed, INFISICAL).urgency(settled), expected, "{why}");
    }
}

#[test]
fn a_change_that_carries_or_removes_what_only_the_list_says_needs_a_fresh_one() {
    let viewer = [("viewer", GOOD)];
    for (why, layer, observed, expected) in [
        ("all roles are managed", exclusive(counts("a", &viewer)), row(&[("unmanaged", GOOD)]), false),
        ("an unmanaged role", counts("a", &viewer), row(&[("unmanaged", GOOD)]), true),
        ("others may have added roles", counts("a", &[("viewer", until("14:00"))]), row(&[("viewer", GOOD)]), true),
        ("all goes, as far as the list knows", leaves("a", &viewer), row(&viewer), true),
        ("every role is removed", exclusive(counts("a", &[("x", until("11:00"))])), row(&viewer), false),
        ("a first grant", counts("a", &viewer), None, false),
    ] {
        assert_eq!(planned(&[layer], &observed, INFISICAL).needs_fresh, expected, "{why}");
    }
    let beside = [exclusive(counts("a", &[("viewer", GOOD), ("new", GOOD)])), holds("b", &[("held", GOOD)])];
    assert!(planned(&beside, &row(&[("viewer", GOOD), ("held", GOOD)]), INFISICAL).needs_fresh);
}

#[test]
fn drift_is_what_differs_from_the_declaration_written_down_or_not() {
    let grants = [("viewer", GOOD), ("deployer", until("14:00"))];
    let observed = row(&[("deployer", until("13:00")), ("unmanaged", GOOD), ("no-access", GOOD), ("old", GOOD)]);
    let drift = |layer: Layer| -> Vec<(String, DriftKind)> {
        planned(&[layer], &observed, INFISICAL).drift.into_iter().map(|drift| (drift.role, drift.kind)).collect()
    };
    let different = ("deployer".to_owned(), DriftKind::Different);
    let missing = ("viewer".to_owned(), DriftKind::Missing);
    let managed = [("viewer", GOOD), ("deployer", until("14:00")), ("old", GOOD)];
    assert_eq!(drift(layer("a", Phase::Counts, &grants, &managed)), [different.clone(), missing.clone()]);
    let unexpected = ("unmanaged".to_owned(), DriftKind::Unexpected);
    assert_eq!(
        drift(exclusive(layer("a", Phase::Counts, &grants, &managed))),
        [different, unexpected, missing.clone()]
    );
    assert_eq!(drift(layer("a", Phase::Counts, &grants[..1], &[])), [missing]);
    assert_eq!(drift(holds("a", &managed)), []);
}

#[test]
fn a_declared_role_preexists_if_it_is_there_and_no_object_recorded_it() {
    let asks = layer("a", Phase::Counts, &[("viewer", GOOD), ("deployer", until("14:00"))], &[]);
    let there = row(&[("viewer", GOOD), ("deployer", until("11:00")), ("unmanaged", GOOD)]);
    let found =
        |layers: &[Layer], observed: &Option<Member>| preexisting(&layers[0], layers.iter(), observed.as_ref(), now());
    assert_eq!(found(std::slice::from_ref(&asks), &there), ["viewer"], "an ended row is history");
    assert_eq!(
        found(&[asks.clone(), holds("b", &[("viewer", GOOD)])], &there),
        [""; 0],
        "it is managed by another declaration"
    );
    assert_eq!(found(&[counts("a", &[("viewer", GOOD)])], &there), [""; 0], "it is its own");
    assert_eq!(found(std::slice::from_ref(&asks), &None), [""; 0]);
    let repairing = Layer { carried: entries(&[("viewer", GOOD)]), ..holds("b", &[]) };
    assert_eq!(found(&[asks, repairing], &None), ["viewer"], "a repair has removed it temporarily");
}

#[test]
fn an_unmanaged_window_is_sent_back_unchanged() {
    let words = Verbatim { range: "1.5h".into(), start: "2026-11-21T11:00:00.5Z".into() };
    let unmanaged = Entry { verbatim: Some(words), ..Entry::new("unmanaged", until("13:00")) };
    let mut observed = row(&[("old", GOOD), ("base", GOOD)]).unwrap();
    observed.entries.push(unmanaged.clone());
    let change = planned(&[leaves("a", &[("old", GOOD)])], &Some(observed), INFISICAL).change;
    assert_eq!(change, Some(Change::Replace(vec![Entry::permanent("base"), unmanaged])));
}
