use serde_json::json;

use super::*;
use crate::core::places::MOST_DECLARATIONS;

fn object(number: usize, provider: &str) -> ProjectMembership {
    let created = Timestamp::from_second(1_700_000_000 + i64::try_from(number).unwrap()).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
        "metadata": {
            "name": format!("object-{number}"), "namespace": "team", "uid": format!("uid-{number}"), "generation": 1,
            "creationTimestamp": created,
        },
        "spec": {
            "providerRef": {"name": provider}, "project": {"id": "web"},
            "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
        },
    }))
    .unwrap()
}

fn unit_of(targets: &Targets, object: &ProjectMembership) -> Unit {
    targets.unit_of(&ObjectRef::from_obj(object))
}

fn has_place(targets: &Targets, object: &ProjectMembership) -> bool {
    matches!(unit_of(targets, object), Unit::Target(..))
}

/// Seen failing when changes of a declaration without a place were passed on to those that have one.
#[test]
fn thousands_of_declarations_of_one_target_ask_for_few_passes_and_each_reads_few_others() {
    const MANY: usize = 5_000;
    type Order = Box<dyn Iterator<Item = usize>>;
    let orders: [(&str, Order, usize); 2] = [
        ("the oldest first", Box::new(0..MANY), 0),
        // Each takes the place of a younger declaration: that one's pass is due, and the target's.
        ("the youngest first", Box::new((0..MANY).rev()), 2 * MANY),
    ];
    for (case, order, most) in orders {
        let targets = Targets::default();
        let asked_for: usize = order.map(|number| targets.enter(&object(number, "infisical"), false).len()).sum();
        assert!(asked_for <= most, "{case}: {asked_for} passes");
        let read = |number: usize| targets.declarations(&unit_of(&targets, &object(number, "infisical"))).len();
        assert_eq!((read(0), read(MANY - 1)), (MOST_DECLARATIONS, 1), "{case}");
        let asked_for: usize =
            (0..MANY).map(|number| targets.may_count(&object(number, "infisical"), true).len()).sum();
        assert!(asked_for <= 2 * MANY, "{case}: {asked_for} passes");
        let asked_for: usize = (0..MANY).map(|number| targets.lost(&object(number, "infisical")).len()).sum();
        assert!(asked_for <= 2 * MANY, "{case}: {asked_for} passes");
        assert!(
            targets.entries.lock().objects.is_empty() && targets.entries.lock().seen.is_empty(),
            "{case}: nothing is left"
        );
    }
}

#[test]
fn a_place_that_becomes_free_is_the_next_ones_and_the_target_s_pass_is_due() {
    let targets = Targets::default();
    let objects: Vec<_> = (0..=MOST_DECLARATIONS).map(|number| object(number, "infisical")).collect();
    objects.iter().for_each(|object| drop((targets.enter(object, false), targets.may_count(object, true))));
    let last = &objects[MOST_DECLARATIONS];
    assert!(!has_place(&targets, last) && targets.is_beyond_bound(last) && has_place(&targets, &objects[0]));
    // A change of a declaration without a place concerns no other declaration.
    let mut changed = last.clone();
    changed.metadata.generation = Some(2);
    assert!(targets.enter(&changed, false).is_empty());
    let due = targets.lost(&objects[0]);
    assert!(has_place(&targets, last));
    assert!(due.contains(&unit_of(&targets, last)), "{due:?}");
}

#[test]
fn the_declarations_of_each_provider_object_are_a_unit_of_their_own() {
    let targets = Targets::default();
    (0..MOST_DECLARATIONS).for_each(|number| drop(targets.enter(&object(number, "infisical"), false)));
    let (one, other) = (object(0, "infisical"), object(MOST_DECLARATIONS, "another"));
    let due = targets.enter(&other, false);
    assert_eq!(due, [unit_of(&targets, &one)].into(), "which provider object takes precedence may have changed");
    assert!(has_place(&targets, &other));
    let unit = unit_of(&targets, &other);
    assert_eq!(targets.declarations(&unit), [ObjectRef::from_obj(&other)]);
    assert_eq!(targets.rivals(&unit), [unit_of(&targets, &one)]);
}

#[test]
fn what_is_remembered_of_a_target_goes_with_its_last_declaration() {
    let targets = Targets::default();
    let (first, second) = (object(1, "infisical"), object(2, "infisical"));
    [&first, &second].into_iter().for_each(|object| drop(targets.enter(object, false)));
    let unit = unit_of(&targets, &first);
    targets.remembered(&unit).lock().memory.failures = 3;
    targets.lost(&first);
    assert_eq!(targets.remembered(&unit).lock().memory.failures, 3);
    targets.lost(&second);
    assert!(targets.is_empty());
    assert_eq!(targets.remembered(&unit).lock().memory.failures, 0);
}

/// Seen failing when only the other declarations were woken: nothing evaluated it again, not even at the resync.
#[test]
fn a_declaration_that_loses_its_place_has_a_pass_of_its_own() {
    let targets = Targets::default();
    let objects: Vec<_> = (0..=MOST_DECLARATIONS).map(|number| object(number, "infisical")).collect();
    let (first, others) = objects.split_first().unwrap();
    others.iter().for_each(|object| drop((targets.enter(object, false), targets.may_count(object, true))));
    // An older one arrives.
    let due = targets.enter(first, false);
    assert!(!has_place(&targets, first) && due.is_empty(), "it may not count yet: {due:?}");
    let due = targets.may_count(first, true);
    let last = &others[MOST_DECLARATIONS - 1];
    assert!(has_place(&targets, first) && !has_place(&targets, last));
    assert_eq!(due, [unit_of(&targets, last), unit_of(&targets, first)].into());
    // A pass finds that it may not be carried out any more.
    let due = targets.may_count(first, false);
    assert!(!has_place(&targets, first) && has_place(&targets, last));
    assert_eq!(due, [unit_of(&targets, first), unit_of(&targets, last)].into());
}

/// An object with pending grants.
fn recorded(number: usize) -> ProjectMembership {
    let mut object = object(number, "infisical");
    let annotation = json!({"number": 1, "roles": [{"role": "admin"}]}).to_string();
    object.metadata.annotations = Some([("membership.dev/pending-grants".to_owned(), annotation)].into());
    object
}

/// Seen failing when only a status that reports the declaration as carried out gave it a place after a restart.
#[test]
fn what_a_former_process_was_about_to_carry_out_has_a_place_until_a_pass_has_evaluated_it() {
    let targets = Targets::default();
    (0..MOST_DECLARATIONS).for_each(|number| drop(targets.enter(&object(number, "infisical"), false)));
    let youngest = recorded(MOST_DECLARATIONS);
    targets.enter(&youngest, false);
    assert!(has_place(&targets, &youngest));
    targets.may_count(&youngest, false);
    assert!(!has_place(&targets, &youngest));
}

/// Seen failing when a record claimed a place regardless of who had written it.
#[test]
fn a_record_that_the_author_may_have_written_gives_no_place_beyond_the_bound() {
    let targets = Targets::default();
    let many = 3 * MOST_DECLARATIONS;
    (0..many).for_each(|number| drop(targets.enter(&recorded(number), false)));
    assert_eq!(targets.declarations(&unit_of(&targets, &recorded(0))).len(), MOST_DECLARATIONS);
    // What the operator has recorded has a place in any case.
    let due = targets.enter(&object(many, "infisical"), true);
    assert!(has_place(&targets, &object(many, "infisical")) && !has_place(&targets, &recorded(MOST_DECLARATIONS - 1)));
    assert!(due.contains(&unit_of(&targets, &recorded(MOST_DECLARATIONS - 1))), "{due:?}");
}
