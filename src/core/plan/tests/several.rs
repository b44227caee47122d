//! Several objects on one target, several rows of one role, several memberships of one subject.

use super::*;

const BASE: (&str, Term) = ("viewer", GOOD);

#[test]
fn a_role_of_several_objects_stays_until_the_latest_end() {
    let short = || counts("a", &[("r", until("13:00"))]);
    let long = || counts("b", &[("r", until("14:00"))]);
    let unwritten = || layer("b", Phase::Counts, &[("r", until("14:00"))], &[]);
    let shown = |end: &str| row(&[BASE, ("r", until(end))]);
    for (why, layers, observed, expected) in [
        ("the later end counts", vec![short(), long()], shown("13:00"), replace(&[BASE, ("r", until("14:00"))])),
        ("and is enough", vec![short(), long()], shown("14:00"), None),
        ("not before it is written down", vec![short(), unwritten()], shown("13:00"), None),
        ("though it isn't cut either", vec![short(), unwritten()], shown("14:00"), None),
        (
            "beyond both it is cut to what is written down",
            vec![short(), unwritten()],
            shown("15:00"),
            replace(&[BASE, ("r", until("13:00"))]),
        ),
        (
            "when the longer one leaves",
            vec![short(), leaves("b", &[("r", until("14:00"))])],
            shown("14:00"),
            replace(&[BASE, ("r", until("13:00"))]),
        ),
        (
            "to an heir that hasn't written it down",
            vec![leaves("a", &[("r", until("13:00"))]), unwritten()],
            shown("13:00"),
            None,
        ),
        (
            "when both leave",
            vec![leaves("a", &[("r", GOOD)]), leaves("b", &[("r", GOOD)])],
            shown("14:00"),
            replace(&[BASE]),
        ),
    ] {
        assert_eq!(planned(&layers, &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn a_grant_beside_a_longer_one_that_is_held_leaves_it_alone() {
    let layers = [counts("a", &[("r", until("13:00"))]), holds("b", &[("r", until("14:00"))])];
    for (why, shown, expected) in [
        ("between the two", "13:30", None),
        ("at the held end", "14:00", None),
        ("short of the grant", "12:30", replace(&[BASE, ("r", until("13:00"))])),
        ("beyond both", "15:00", replace(&[BASE, ("r", until("14:00"))])),
    ] {
        let observed = row(&[BASE, ("r", until(shown))]);
        assert_eq!(planned(&layers, &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn one_active_exclusive_object_is_enough_and_an_inactive_one_is_not() {
    let observed = row(&[BASE, ("foreign", GOOD)]);
    let additive = counts("a", &[BASE]);
    for (why, other, expected) in [
        ("Exclusive", exclusive(counts("b", &[BASE])), replace(&[BASE])),
        ("with all its roles over", exclusive(counts("b", &[("x", until("11:00"))])), replace(&[BASE])),
        ("set aside", exclusive(holds("b", &[])), None),
        ("leaving", exclusive(leaves("b", &[])), None),
    ] {
        assert_eq!(planned(&[additive.clone(), other], &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn an_exclusive_object_with_a_role_that_the_provider_does_not_know_takes_nothing_from_others() {
    let layer = exclusive(counts("a", &[BASE, ("typo", GOOD)]));
    let observed = row(&[BASE, ("foreign", GOOD)]);
    assert_eq!(planned_without(&[layer], &observed, INFISICAL, &["typo"]).change, None);
}

#[test]
fn several_rows_of_a_role_of_ours_become_one() {
    let layer = counts("a", &[BASE, ("r", until("14:00"))]);
    let one = replace(&[BASE, ("r", until("14:00"))]);
    for rows in [
        [until("14:00"), until("14:00")],
        [until("11:00"), until("14:00")],
        [until("14:00"), until("11:00")],
        [until("14:00"), GOOD],
        [until("11:00"), until("13:00")],
    ] {
        let plan = planned(std::slice::from_ref(&layer), &row(&[BASE, ("r", rows[0]), ("r", rows[1])]), INFISICAL);
        assert_eq!(plan.change, one, "{rows:?}");
        assert_eq!(plan.drift, [Drift { role: "r".into(), kind: DriftKind::Different }], "{rows:?}");
        assert_eq!(plan.lost, []);
    }
    let gone = planned(&[leaves("a", &[("r", GOOD)])], &row(&[BASE, ("r", GOOD), ("r", until("11:00"))]), INFISICAL);
    assert_eq!(gone.change, replace(&[BASE]));
}

#[test]
fn several_rows_of_an_unmanaged_role_are_no_reason_to_write_and_are_sent_once() {
    let doubled = [("s", until("13:00")), ("s", until("14:00")), BASE];
    assert_eq!(planned(&[counts("a", &[BASE])], &row(&doubled), INFISICAL).change, None);
    let plan = planned(&[counts("a", &[BASE, ("new", GOOD)])], &row(&doubled), INFISICAL);
    assert_eq!(plan.change, replace(&[("s", until("14:00")), BASE, ("new", GOOD)]), "as long as it was");
}

#[test]
fn several_memberships_are_deleted_and_created_again_if_a_declaration_is_active() {
    let there = twice(&[BASE, ("s", GOOD)]);
    let whole = || Some(Change::Recreate(entries(&[BASE, ("s", GOOD)])));
    for (why, layer, expected) in [
        ("with nothing else to do", counts("a", &[BASE]), whole()),
        (
            "to grant",
            counts("a", &[BASE, ("n", GOOD)]),
            Some(Change::Recreate(entries(&[BASE, ("s", GOOD), ("n", GOOD)]))),
        ),
        ("to revoke", leaves("a", &[BASE]), Some(Change::Recreate(entries(&[("s", GOOD)])))),
        ("to end what is held", holds("a", &[("s", until("12:00"))]), Some(Change::Recreate(entries(&[BASE])))),
        ("not for an onlooker", holds("a", &[]), None),
        ("nor for what is held and goes on", holds("a", &[BASE]), None),
    ] {
        assert_eq!(planned(&[layer], &there, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn a_role_that_a_repair_removed_comes_back_unless_a_declaration_decides_otherwise() {
    let carrying = |layer: Layer| Layer { carried: entries(&[("s", GOOD), ("ended", until("11:00"))]), ..layer };
    let ours = [BASE];
    for (why, layers, observed, expected) in [
        ("it was killed in between", vec![carrying(counts("a", &ours))], None, create(&[BASE, ("s", GOOD)])),
        ("also for an object set aside since", vec![carrying(holds("a", &[]))], None, create(&[("s", GOOD)])),
        ("it is back", vec![carrying(counts("a", &ours))], row(&[BASE, ("s", GOOD)]), None),
        ("Exclusive tolerates no other", vec![exclusive(carrying(counts("a", &ours)))], None, create(&[BASE])),
        (
            "it became ours, and is over",
            vec![carrying(counts("a", &ours)), holds("b", &[("s", until("12:00"))])],
            row(&[BASE]),
            None,
        ),
        (
            "it became ours for a while",
            vec![carrying(counts("a", &ours)), counts("b", &[("s", until("14:00"))])],
            row(&[BASE]),
            replace(&[BASE, ("s", until("14:00"))]),
        ),
    ] {
        assert_eq!(planned(&layers, &observed, INFISICAL).change, expected, "{why}");
    }
}

#[test]
fn a_membership_without_a_role_is_removed_only_where_nothing_else_is_tolerated() {
    let over = counts("a", &[("r", until("12:00"))]);
    let gone = layer("a", Phase::Counts, &[("r", until("12:00"))], &[]);
    assert_eq!(planned(&[exclusive(over)], &row(&[]), INFISICAL).change, Some(Change::Remove));
    assert_eq!(planned(&[gone], &row(&[]), INFISICAL).change, None);
    assert_eq!(planned(&[exclusive(holds("a", &[]))], &row(&[]), INFISICAL).change, None);
}
