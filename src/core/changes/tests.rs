use EventKind::{DriftedAway, DriftedBack, Expired, Granted, Revoked};
use jiff::SignedDuration;

use super::*;
use crate::core::grants::Grant;

fn at(seconds: i64) -> Timestamp {
    "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn window(start: i64, end: i64) -> Term {
    Term::Temporary(Window { start: at(start), end: at(end) })
}

const PERMANENT: Term = Term::Permanent;

fn terms(terms: &[(&str, Term)]) -> BTreeMap<String, Term> {
    terms.iter().map(|(role, term)| ((*role).to_owned(), *term)).collect()
}

/// A declaration that counts: its grants, its recorded roles, and the roles that it reported in force.
fn declaration(grants: &[(&str, Term)], managed: &[(&str, Term)], reported: &[(&str, Term)]) -> PriorState {
    let layer = Layer {
        uid: "uid".to_owned(),
        phase: Phase::Counts,
        exclusive: true,
        grants: grants.iter().map(|(role, term)| Grant { role: (*role).to_owned(), term: *term }).collect(),
        managed: terms(managed),
        carried: Vec::new(),
    };
    PriorState { layer, reported: terms(reported) }
}

fn strings(roles: &[&str]) -> Vec<String> {
    roles.iter().map(|role| (*role).to_owned()).collect()
}

fn found(
    declarations: &[PriorState],
    gained: &[&str],
    lost: &[(&str, RemovalReason)],
) -> Vec<(usize, EventKind, Vec<String>)> {
    let lost: Vec<(String, RemovalReason)> = lost.iter().map(|(role, loss)| ((*role).to_owned(), *loss)).collect();
    changes(declarations, &strings(gained), &lost, at(0))
}

/// Seen failing with every previously recorded role reported as a repair, as it was decided before.
#[test]
fn only_a_role_that_was_reported_in_force_with_the_same_term_is_repaired() {
    let (now_on, longer) = (window(0, 3600), window(-60, 7200));
    let running = window(-60, 3600);
    for (case, term, reported, expected) in [
        ("a first grant", PERMANENT, None, Granted),
        ("the start of a scheduled window", now_on, None, Granted),
        ("a role that was declared again", PERMANENT, None, Granted),
        ("a permanent role that was removed manually", PERMANENT, Some(PERMANENT), DriftedBack),
        ("a temporary role that was removed manually", running, Some(running), DriftedBack),
        ("a role that was lengthened", longer, Some(running), Granted),
        ("a role that was made permanent", PERMANENT, Some(running), Granted),
        ("a permanent role that got a new window", now_on, Some(PERMANENT), Granted),
    ] {
        let reported: Vec<(&str, Term)> = reported.into_iter().map(|term| ("r", term)).collect();
        let declared = declaration(&[("r", term)], &[("r", term)], &reported);
        assert_eq!(found(&[declared], &["r"], &[]), [(0, expected, strings(&["r"]))], "{case}");
    }
}

#[test]
fn what_a_status_reports_in_force_is_what_is_active_or_shared() {
    let role = |role: &str, state, term: Term| {
        let (start_time, expiration_time) = match term {
            Term::Permanent => (None, None),
            Term::Temporary(window) => (Some(window.start), Some(window.end)),
        };
        RoleStatus { role: role.to_owned(), state, start_time, expiration_time, message: None }
    };
    let roles = [
        role("a", RoleState::Active, PERMANENT),
        role("b", RoleState::Shared, window(-10, 10)),
        role("c", RoleState::Scheduled, window(5, 10)),
        role("d", RoleState::Expired, window(-10, -5)),
    ];
    assert_eq!(reported(&roles), terms(&[("a", PERMANENT), ("b", window(-10, 10))]));
}

/// Seen failing with every role of a change reported to the acting declaration.
#[test]
fn a_declaration_hears_only_of_roles_that_it_has_or_had() {
    let ours = declaration(&[("a", PERMANENT)], &[("a", PERMANENT)], &[]);
    let theirs = declaration(&[("b", PERMANENT)], &[("b", PERMANENT), ("old", PERMANENT)], &[("b", PERMANENT)]);
    let ended = declaration(&[], &[("x", window(-60, -1)), ("y", window(-60, -1))], &[]);
    let longer = declaration(&[], &[("y", window(-60, 3600))], &[]);
    let not_written_down = declaration(&[("a", PERMANENT)], &[], &[]);
    let lost = [("old", RemovalReason::Revoked), ("x", RemovalReason::Expired), ("y", RemovalReason::Revoked)];
    assert_eq!(
        found(&[ours, theirs, ended, longer, not_written_down], &["a", "b"], &lost),
        [
            (0, Granted, strings(&["a"])),
            (1, Revoked, strings(&["old"])),
            (1, DriftedBack, strings(&["b"])),
            (2, Expired, strings(&["x", "y"])),
            (3, Revoked, strings(&["y"])),
        ]
    );
}

#[test]
fn the_removal_of_an_unmanaged_role_is_reported_to_a_declaration_that_tolerates_none() {
    let exclusive = declaration(&[("a", PERMANENT)], &[("a", PERMANENT)], &[]);
    let mut additive = exclusive.clone();
    additive.layer.exclusive = false;
    let mut suspended = exclusive.clone();
    suspended.layer.phase = Phase::Holds;
    let lost = [("admin", RemovalReason::Unexpected)];
    for (case, declarations, expected) in [
        ("the acting one", vec![exclusive.clone(), exclusive.clone()], 0),
        ("another one", vec![additive, suspended, exclusive], 2),
    ] {
        assert_eq!(found(&declarations, &[], &lost), [(expected, DriftedAway, strings(&["admin"]))], "{case}");
    }
}

#[test]
fn what_a_repair_puts_back_of_an_unmanaged_role_is_no_grant() {
    let ours = declaration(&[("a", PERMANENT)], &[("a", PERMANENT)], &[]);
    assert_eq!(found(&[ours], &["unmanaged"], &[]), []);
}

/// Seen failing with every change treated as a concern of every declaration: the last three cases.
#[test]
fn a_change_concerns_the_declarations_of_which_it_changes_a_role() {
    use crate::core::member::{Capabilities, Entry, Member};
    use crate::core::plan::{PlanInputs, plan};
    let capabilities = Capabilities {
        enforces_expiry: true,
        permanent_base: Some("no-access"),
        empty_role: Some("no-access"),
        lists_are_current: true,
        creation_role: None,
        invites: false,
    };
    let layer = |grants: &[&'static str], managed: &[&'static str], phase, exclusive| {
        let terms =
            |roles: &[&'static str]| -> Vec<(&str, Term)> { roles.iter().map(|role| (*role, PERMANENT)).collect() };
        Layer { phase, exclusive, ..declaration(&terms(grants), &terms(managed), &[]).layer }
    };
    let (counts, leaves) = (Phase::Counts, Phase::Leaves);
    let needs = layer(&["b"], &["b"], counts, false);
    for (case, shown, ours, concerned) in [
        ("its own role is missing", &["b"][..], layer(&["a"], &["a"], counts, false), true),
        ("its own role is to go", &["a"][..], layer(&[], &["a"], leaves, false), true),
        (
            "an unmanaged role is to go that it does not tolerate",
            &["a", "b", "x"][..],
            layer(&["a"], &["a"], counts, true),
            true,
        ),
        ("its role is in force, another's is missing", &["a"][..], layer(&["a"], &["a"], counts, false), false),
        (
            "its role is in force, another's is missing, and it is Exclusive",
            &["a"][..],
            layer(&["a"], &["a"], counts, true),
            false,
        ),
        ("it is being deleted and its role is gone", &["x"][..], layer(&[], &["a"], leaves, false), false),
    ] {
        let entries = shown.iter().map(|role| Entry::permanent(*role)).collect();
        let member = Member { subject_id: "s".to_owned(), entries, memberships: 1, version: None };
        let none = BTreeSet::new();
        let view = PlanInputs {
            observed: Some(&member),
            capabilities,
            refused: &none,
            spared: &none,
            now: at(0),
            begins: true,
        };
        let planned = plan(&[ours.clone(), needs.clone()], &view);
        assert!(planned.change().is_some(), "{case}: there is a change");
        assert_eq!(concerns(&planned, &ours, at(0)), concerned, "{case}: {planned:?}");
    }
}

#[test]
fn a_message_does_not_name_roles_of_other_declarations() {
    let roles = strings(&["admin", "ops-admin"]).into_iter().collect();
    assert_eq!(
        without_roles("may not grant \"admin\", ops-admin: administrators, admin-2 and viewer stay", &roles),
        "may not grant \"(a role of another declaration)\", (a role of another declaration): administrators, admin-2 and viewer stay"
    );
}
