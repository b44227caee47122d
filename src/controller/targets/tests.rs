use serde_json::json;

use super::*;
use crate::controller::places::MOST_DECLARATIONS;

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

/// Seen failing when changes of a declaration without a place were passed on to those that have one: 317,920 passes.
#[test]
fn thousands_of_declarations_of_one_target_ask_for_few_passes_and_each_reads_few_others() {
    const MANY: usize = 5_000;
    type Order = Box<dyn Iterator<Item = usize>>;
    let orders: [(&str, Order, usize); 2] = [
        ("the oldest first", Box::new(0..MANY), MOST_DECLARATIONS * MOST_DECLARATIONS),
        // Each takes the place of a younger declaration.
        ("the youngest first", Box::new((0..MANY).rev()), MANY * (MOST_DECLARATIONS + 1)),
    ];
    for (case, order, most) in orders {
        let targets = Targets::default();
        let asked_for: usize = order.map(|number| targets.saw(&object(number, "infisical")).len()).sum();
        assert!(asked_for <= most, "{case}: {asked_for} passes");
        let read = |number: usize| targets.declarations(&object(number, "infisical")).len();
        assert_eq!((read(0), read(MANY - 1)), (MOST_DECLARATIONS, MOST_DECLARATIONS + 1), "{case}");
        let asked_for: usize =
            (0..MANY).map(|number| targets.may_count(&object(number, "infisical"), true).len()).sum();
        assert!(asked_for <= MANY, "{case}: {asked_for} passes");
        let asked_for: usize = (0..MANY).map(|number| targets.lost(&object(number, "infisical")).len()).sum();
        assert!(asked_for <= MANY * (MOST_DECLARATIONS + 1), "{case}: {asked_for} passes");
        assert!(targets.index().objects.is_empty() && targets.index().seen.is_empty(), "{case}: nothing is left");
    }
}

#[test]
fn a_place_that_becomes_free_is_the_next_ones_and_its_pass_is_asked_for() {
    let targets = Targets::default();
    let objects: Vec<_> = (0..=MOST_DECLARATIONS).map(|number| object(number, "infisical")).collect();
    objects.iter().for_each(|object| drop((targets.saw(object), targets.may_count(object, true))));
    let last = &objects[MOST_DECLARATIONS];
    assert!(!targets.has_place(last) && targets.has_place(&objects[0]));
    // A change of a declaration without a place concerns no other declaration.
    let mut changed = last.clone();
    changed.metadata.generation = Some(2);
    assert_eq!(targets.saw(&changed), []);
    let woken = targets.lost(&objects[0]);
    assert!(woken.contains(&ObjectRef::from_obj(last)), "{woken:?}");
    assert!(targets.has_place(last));
}

#[test]
fn the_declarations_of_each_provider_object_have_places_of_their_own() {
    let targets = Targets::default();
    (0..MOST_DECLARATIONS).for_each(|number| drop(targets.saw(&object(number, "infisical"))));
    let other = object(MOST_DECLARATIONS, "another");
    assert_eq!(targets.saw(&other).len(), MOST_DECLARATIONS, "which provider object takes precedence may have changed");
    assert!(targets.has_place(&other));
    assert_eq!(targets.declarations(&other), [ObjectRef::from_obj(&other)]);
    let elsewhere = targets.of_other_providers(&other);
    let found: Vec<_> = elsewhere.iter().map(|(provider, objects)| (provider.name.as_str(), objects.len())).collect();
    assert_eq!(found, [("infisical", MOST_DECLARATIONS)]);
}
