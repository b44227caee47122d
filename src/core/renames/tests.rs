use jiff::Timestamp;

use super::*;
use crate::core::grants::GrantState;

fn at(time: &str) -> Timestamp {
    format!("2026-12-01T{time}:00Z").parse().unwrap()
}

fn window(start: &str, end: &str) -> Term {
    Term::Temporary(Window { start: at(start), end: at(end) })
}

/// Roles of a record: each with its name, and its id if one was recorded.
fn record(roles: &[(&str, Option<&str>)]) -> Vec<ManagedRole> {
    let of = |(role, id): &(&str, Option<&str>)| ManagedRole {
        role: (*role).to_owned(),
        role_id: id.map(str::to_owned),
        start_time: None,
        expiration_time: None,
    };
    roles.iter().map(of).collect()
}

/// Roles that the provider shows.
fn shown(roles: &[(&str, Option<&str>)]) -> Vec<Entry> {
    let of = |(role, id): &(&str, Option<&str>)| Entry { role_id: id.map(str::to_owned), ..Entry::permanent(*role) };
    roles.iter().map(of).collect()
}

/// The managed roles, and the renamed roles of the spec.
fn read(
    recorded: &[(&str, Option<&str>)],
    declared: &[&str],
    there: &[(&str, Option<&str>)],
) -> (Vec<String>, Vec<(String, String)>) {
    let (managed, renames) = recognise(&record(recorded), &declared.iter().copied().collect(), &shown(there));
    let of_spec = renames.of_spec().map(|(former, present)| (former.to_owned(), present.to_owned()));
    (managed.into_keys().collect(), of_spec.collect())
}

const X: Option<&str> = Some("x");
const Y: Option<&str> = Some("y");

/// Seen failing with `present_name` always returning the recorded name.
#[test]
fn a_role_is_recognised_by_its_id_under_any_name() {
    let renamed = || vec![("deployer".to_owned(), "releaser".to_owned())];
    for (recorded, declared, there, managed, of_spec, why) in [
        (&[("deployer", X)][..], &["deployer"][..], &[("deployer", X)][..], &["deployer"][..], vec![], "as it was"),
        (&[("deployer", X)], &["deployer"], &[("releaser", X)], &["releaser"], renamed(), "renamed"),
        (&[("deployer", X)], &["releaser"], &[("releaser", X)], &["releaser"], vec![], "the spec has followed"),
        (&[("deployer", X)], &[], &[("releaser", X)], &["releaser"], vec![], "the spec does not declare it"),
        (&[("deployer", X)], &["deployer"], &[], &["deployer"], vec![], "removed at the provider"),
        (&[("deployer", X)], &["deployer"], &[("deployer", Y)], &[], vec![], "created again under its name"),
        (&[("deployer", X)], &["deployer"], &[("deployer", None)], &["deployer"], vec![], "no id is shown"),
        (&[("deployer", None)], &["deployer"], &[("deployer", X)], &["deployer"], vec![], "none was written down"),
        (&[("deployer", None)], &["deployer"], &[("releaser", X)], &["deployer"], vec![], "and the name has gone"),
        (
            &[("deployer", X)],
            &["deployer"],
            &[("releaser", X), ("deployer", Y)],
            &["releaser"],
            vec![],
            "another role has its name by now, and the spec declares that name",
        ),
        (
            &[("deployer", X), ("releaser", Y)],
            &["deployer", "releaser"],
            &[("releaser", X), ("deployer", Y)],
            &["deployer", "releaser"],
            vec![],
            "two roles that have changed their names",
        ),
        (
            &[("deployer", X), ("releaser", None)],
            &["deployer", "releaser"],
            &[("releaser", X)],
            &["releaser"],
            vec![],
            "a name that was written down before the id was known",
        ),
    ] {
        let managed: Vec<String> = managed.iter().map(|role| (*role).to_owned()).collect();
        assert_eq!(read(recorded, declared, there), (managed, of_spec), "{why}");
    }
}

#[test]
fn status_keeps_the_former_name_while_the_spec_says_it_and_the_id_always() {
    let names = |declared: &[&str], there: &[(&str, Option<&str>)]| {
        let declared = declared.iter().copied().collect();
        let (managed, renames) = recognise(&record(&[("deployer", X), ("viewer", None)]), &declared, &shown(there));
        let written = renames.written(&managed, &shown(there));
        written.into_iter().map(|role| (role.role, role.role_id)).collect::<Vec<_>>()
    };
    let expected = |role: &str| vec![(role.to_owned(), Some("x".to_owned())), ("viewer".to_owned(), None)];
    assert_eq!(names(&["deployer"], &[("releaser", X)]), expected("deployer"));
    assert_eq!(names(&["releaser"], &[("releaser", X)]), expected("releaser"));
    assert_eq!(names(&[], &[("releaser", X)]), expected("releaser"));
    assert_eq!(names(&["deployer"], &[]), expected("deployer"), "what isn't shown keeps the id that was written down");
}

#[test]
fn the_id_that_is_shown_is_written_down_and_one_that_is_about_to_be_granted_again_has_none() {
    let there = shown(&[("deployer", X)]);
    let (managed, renames) = recognise(&record(&[("deployer", None)]), &BTreeSet::new(), &there);
    assert_eq!(renames.written(&managed, &there), record(&[("deployer", X)]));
    let (managed, renames) = recognise(&record(&[("deployer", X)]), &BTreeSet::new(), &[]);
    let again = "deployer".to_owned();
    assert_eq!(renames.without_ids(&[&again]).written(&managed, &[]), record(&[("deployer", None)]));
}

#[test]
fn a_grant_under_a_former_name_gives_no_more_than_was_written_down() {
    let state = |declared: Term, recorded: Term| {
        let mut record = record(&[("deployer", X)]);
        if let Term::Temporary(window) = recorded {
            (record[0].start_time, record[0].expiration_time) = (Some(window.start), Some(window.end));
        }
        let (managed, renames) = recognise(&record, &["deployer"].into(), &shown(&[("releaser", X)]));
        let mut grants = vec![Grant { role: "deployer".to_owned(), term: declared }];
        renames.follow(&mut grants, &managed);
        assert_eq!(grants[0].role, "releaser");
        (grants[0].state(at("11:00")), grants[0].term.end())
    };
    use GrantState::{Active, Expired};
    assert_eq!(state(Term::Permanent, Term::Permanent), (Active, None));
    assert_eq!(state(window("10:00", "12:00"), window("10:00", "12:00")), (Active, Some(at("12:00"))));
    assert_eq!(state(window("10:00", "14:00"), window("10:00", "12:00")), (Active, Some(at("12:00"))), "longer");
    assert_eq!(state(Term::Permanent, window("10:00", "12:00")), (Active, Some(at("12:00"))), "permanently");
    assert_eq!(state(window("10:00", "11:30"), window("10:00", "12:00")), (Active, Some(at("11:30"))), "shorter");
    assert_eq!(state(window("13:00", "14:00"), window("10:00", "12:00")).0, Expired, "later");
}
