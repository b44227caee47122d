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
        let asked_for: usize = order.map(|number| targets.enter(&object(number, "infisical")).len()).sum();
        assert!(asked_for <= most, "{case}: {asked_for} passes");
        let read = |number: usize| targets.declarations(&unit_of(&targets, &object(number, "infisical"))).len();
        assert_eq!((read(0), read(MANY - 1)), (MOST_DECLARATIONS, 1), "{case}");
        let asked_for: usize =
            (0..MANY).map(|number| targets.may_count(&object(number, "infisical"), true).len()).sum();
        assert!(asked_for <= 2 * MANY, "{case}: {asked_for} passes");
        let asked_for: usize = (0..MANY).map(|number| targets.lost(&object(number, "infisical")).len()).sum();
        assert!(asked_for <= 2 * MANY, "{case}: {asked_for} passes");
        assert!(targets.index().objects.is_empty() && targets.index().seen.is_empty(), "{case}: nothing is left");
    }
}

#[test]
fn a_place_that_becomes_free_is_the_next_ones_and_the_target_s_pass_is_due() {
    let targets = Targets::default();
    let objects: Vec<_> = (0..=MOST_DECLARATIONS).map(|number| object(number, "infisical")).collect();
    objects.iter().for_each(|object| drop((targets.enter(object), targets.may_count(object, true))));
    let last = &objects[MOST_DECLARATIONS];
    assert!(!has_place(&targets, last) && targets.is_beyond_bound(last) && has_place(&targets, &objects[0]));
    // A change of a declaration without a place concerns no other declaration.
    let mut changed = last.clone();
    changed.metadata.generation = Some(2);
    assert!(targets.enter(&changed).is_empty());
    let due = targets.lost(&objects[0]);
    assert!(has_place(&targets, last));
    assert!(due.contains(&unit_of(&targets, last)), "{due:?}");
}

#[test]
fn the_declarations_of_each_provider_object_are_a_unit_of_their_own() {
    let targets = Targets::default();
    (0..MOST_DECLARATIONS).for_each(|number| drop(targets.enter(&object(number, "infisical"))));
    let (one, other) = (object(0, "infisical"), object(MOST_DECLARATIONS, "another"));
    let due = targets.enter(&other);
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
    [&first, &second].into_iter().for_each(|object| drop(targets.enter(object)));
    let unit = unit_of(&targets, &first);
    targets.remembered(&unit).lock().unwrap().memory.failures = 3;
    targets.lost(&first);
    assert_eq!(targets.remembered(&unit).lock().unwrap().memory.failures, 3);
    targets.lost(&second);
    assert!(targets.is_empty());
    assert_eq!(targets.remembered(&unit).lock().unwrap().memory.failures, 0);
}
