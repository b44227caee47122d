//! The permanent base through its transitions.

use super::*;

const BASE: (&str, Term) = ("no-access", GOOD);

fn temporary(end: &str) -> (&'static str, Term) {
    ("deployer", until(end))
}

#[test]
fn temporary_roles_alone_get_a_base_and_it_goes_with_them() {
    let running = counts("a", &[temporary("14:00")]);
    let over = |role: &'static str| {
        layer("a", Phase::Counts, &[("deployer", until("12:00"))], &[(role, GOOD), temporary("12:00")])
    };
    for (why, layer, observed, expected) in [
        ("a first grant", running.clone(), None, create(&[temporary("14:00"), BASE])),
        (
            "a role for good beside it",
            running.clone(),
            row(&[("viewer", GOOD)]),
            replace(&[("viewer", GOOD), temporary("14:00")]),
        ),
        ("the base is there", running.clone(), row(&[BASE]), replace(&[temporary("14:00"), BASE])),
        ("nothing to do", running.clone(), row(&[temporary("14:00"), BASE]), None),
        ("an older server let it stand alone", running, row(&[temporary("14:00")]), None),
        ("the last one ends", over("no-access"), row(&[BASE, temporary("12:00")]), Some(Change::Remove)),
        (
            "beside a foreign role",
            over("no-access"),
            row(&[BASE, temporary("12:00"), ("s", GOOD)]),
            replace(&[("s", GOOD)]),
        ),
        (
            "beside a foreign role for a while",
            over("no-access"),
            row(&[BASE, temporary("12:00"), ("s", until("14:00"))]),
            replace(&[("s", until("14:00")), BASE]),
        ),
        ("a foreign base stays", over("x"), row(&[BASE, temporary("12:00")]), replace(&[BASE])),
        ("unless Exclusive", exclusive(over("x")), row(&[BASE, temporary("12:00")]), Some(Change::Remove)),
    ] {
        let plan = planned(&[layer], &observed, INFISICAL);
        assert_eq!(plan.change, expected, "{why}");
        let named = plan.lost.iter().map(|(role, _)| role).chain(&plan.gained).any(|role| role == "no-access");
        assert!(!named, "{why}: the base gives and takes nothing");
    }
}

#[test]
fn a_base_that_is_not_needed_goes_with_the_next_write_only() {
    let both = layer(
        "a",
        Phase::Counts,
        &[("viewer", GOOD), temporary("14:00")],
        &[("viewer", GOOD), temporary("14:00"), BASE],
    );
    let all = [BASE, temporary("14:00"), ("viewer", GOOD)];
    assert_eq!(planned(std::slice::from_ref(&both), &row(&all), INFISICAL).change, None);
    assert_eq!(
        planned(std::slice::from_ref(&both), &row(&all[..2]), INFISICAL).change,
        replace(&[temporary("14:00"), ("viewer", GOOD)])
    );
    // No managed role is in effect any more.
    let plan = planned(&[leaves("a", &[BASE])], &row(&[BASE, ("foreign", GOOD)]), INFISICAL);
    assert_eq!(plan.change, replace(&[("foreign", GOOD)]));
    assert_eq!(plan.urgency(true), Urgency::Revoke);
}

#[test]
fn a_permanent_role_that_is_removed_leaves_the_base_for_the_temporary_ones() {
    let edited = layer("a", Phase::Counts, &[temporary("14:00")], &[("viewer", GOOD), temporary("14:00")]);
    let observed = row(&[("viewer", GOOD), temporary("14:00")]);
    let plan = planned(&[edited], &observed, INFISICAL);
    assert_eq!(plan.change, replace(&[temporary("14:00"), BASE]));
    assert_eq!(plan.lost, [("viewer".to_owned(), RemovalReason::Revoked)]);
}

#[test]
fn a_base_with_an_end_is_held_permanently_until_its_end() {
    let declared = counts("a", &[("no-access", until("14:00")), temporary("14:00")]);
    assert_eq!(planned(&[declared], &None, INFISICAL).change, create(&[temporary("14:00"), BASE]));
    let over = counts("a", &[("no-access", until("12:00"))]);
    assert_eq!(planned(&[over], &row(&[BASE]), INFISICAL).change, Some(Change::Remove));
}

#[test]
fn a_held_base_goes_with_the_last_role_that_is_held() {
    let held = holds("a", &[BASE, temporary("12:00")]);
    assert_eq!(
        planned(std::slice::from_ref(&held), &row(&[BASE, temporary("12:00")]), INFISICAL).change,
        Some(Change::Remove)
    );
    assert_eq!(planned(&[holds("a", &[BASE])], &row(&[BASE]), INFISICAL).change, None);
}

#[test]
fn an_older_infisical_needs_no_base() {
    let older = Capabilities { permanent_base: None, ..INFISICAL };
    let change = planned(&[counts("a", &[temporary("14:00")])], &None, older).change;
    assert_eq!(change, create(&[temporary("14:00")]));
}

fn recorded(layer: &Layer, others: &[Layer], observed: &Option<Member>) -> Option<&'static str> {
    let layers: Vec<Layer> = std::iter::once(layer).chain(others).cloned().collect();
    let refused = BTreeSet::new();
    let view = PlanInputs {
        observed: observed.as_ref(),
        capabilities: INFISICAL,
        refused: &refused,
        spared: &BTreeSet::new(),
        now: now(),
    };
    base_to_record(layer, &layers, &view)
}

#[test]
fn the_base_is_recorded_by_each_declaration_that_adds_or_needs_it() {
    let base = Some("no-access");
    let new = layer("a", Phase::Counts, &[temporary("14:00")], &[]);
    assert_eq!(recorded(&new, &[], &None), base, "before the first grant, in the same status write");
    assert_eq!(recorded(&new, &[], &row(&[BASE])), None, "a foreign base is used and stays theirs");
    assert_eq!(recorded(&new, &[], &row(&[("s", GOOD)])), None, "it isn't needed beside a role for good");
    let edited = layer("a", Phase::Counts, &[temporary("14:00")], &[("viewer", GOOD), temporary("14:00")]);
    assert_eq!(
        recorded(&edited, &[], &row(&[("viewer", GOOD), temporary("14:00")])),
        base,
        "when the role for good goes"
    );
    let leaving = leaves("b", &[("viewer", GOOD)]);
    let staying = counts("a", &[temporary("14:00")]);
    let both = row(&[("viewer", GOOD), temporary("14:00")]);
    assert_eq!(recorded(&leaving, std::slice::from_ref(&staying), &both), base, "also by an object that leaves");
    let leaving = leaves("b", &[BASE]);
    let both = row(&[BASE, temporary("14:00")]);
    assert_eq!(recorded(&staying, std::slice::from_ref(&leaving), &both), base, "and then by the one that stays");
    let suspended = holds("b", &[BASE, temporary("14:00")]);
    assert_eq!(recorded(&staying, &[suspended], &both), None, "one that is set aside answers for it already");
}

#[test]
fn a_leaving_object_keeps_the_base_until_a_successor_has_it_or_no_declaration_needs_it() {
    let shown_to = |layers: &[Layer], observed: &Option<Member>| {
        let refused = BTreeSet::new();
        let view = PlanInputs {
            observed: observed.as_ref(),
            capabilities: INFISICAL,
            refused: &refused,
            spared: &BTreeSet::new(),
            now: now(),
        };
        shown(&layers[0], layers, &view).contains("no-access")
    };
    let leaving = leaves("a", &[BASE]);
    let both = row(&[BASE, temporary("14:00")]);
    assert!(shown_to(&[leaving.clone(), counts("b", &[temporary("14:00")])], &both), "the heir hasn't written it down");
    let successor = layer("b", Phase::Counts, &[temporary("14:00")], &[temporary("14:00"), BASE]);
    assert!(!shown_to(&[leaving.clone(), successor.clone()], &both), "the heir has");
    assert!(shown_to(&[successor, leaving.clone()], &both), "the heir keeps it");
    assert!(!shown_to(std::slice::from_ref(&leaving), &row(&[BASE, ("s", until("14:00"))])), "a foreign role needs it");
    assert!(shown_to(std::slice::from_ref(&leaving), &row(&[BASE, ("s", GOOD)])), "nobody needs it: it has to go");
    assert!(
        !shown_to(&[leaving], &row(&[BASE])),
        "what is left of the membership gives nothing: it couldn't be removed"
    );
}

#[test]
fn a_membership_that_is_left_without_access_is_no_reason_to_write_unless_we_put_it_there() {
    let left = row(&[BASE]);
    let over = |managed: &[(&str, Term)]| layer("a", Phase::Counts, &[("deployer", until("12:00"))], managed);
    for capabilities in [INFISICAL, Capabilities { permanent_base: None, ..INFISICAL }] {
        for (why, layer) in [
            ("nothing is in effect", exclusive(over(&[]))),
            ("an end is over", exclusive(over(&[temporary("12:00")]))),
            ("the object leaves", leaves("a", &[("viewer", GOOD)])),
        ] {
            let plan = planned(std::slice::from_ref(&layer), &left, capabilities);
            assert_eq!((plan.change, plan.drift), (None, Vec::new()), "{why}");
        }
        let plan = planned(&[exclusive(over(&[BASE]))], &left, capabilities);
        assert_eq!(plan.change, Some(Change::Remove), "it is ours: its removal is tried");
        let plan = planned(&[exclusive(counts("a", &[("viewer", GOOD)]))], &left, capabilities);
        assert_eq!(plan.change, replace(&[("viewer", GOOD)]), "a later grant changes it");
        assert!(plan.drift.iter().all(|drift| drift.role == "viewer"), "{:?}", plan.drift);
    }
}
