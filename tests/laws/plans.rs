//! Laws of one plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use membership_operator::core::grants::Grant;
use membership_operator::core::layers::{Layer, Phase, Union, record_after, union};
use membership_operator::core::member::{Change, Entry, Term};
use membership_operator::core::plan::{Plan, base_to_record, plan, shown};
use proptest::prelude::*;

use crate::generators::{PlanningCase, layer, member, planning_case, role, term};
use crate::model::{access, carried_out, no_longer};

/// All that a plan may ever send.
fn writes(plan: &Plan) -> Vec<&Change> {
    plan.change().into_iter().chain(plan.fallbacks()).collect()
}

fn union_of(planning_case: &PlanningCase) -> Union {
    union(&planning_case.layers, &planning_case.refused, planning_case.now)
}

/// No layer declares, holds or has recorded the role.
fn unmanaged(role: &str, union: &Union) -> bool {
    !union.ours.contains(role) && !union.kept.contains_key(role) && !union.held.contains_key(role)
}

/// What the subject holds when the plan is carried out.
fn access_after(planning_case: &PlanningCase, plan: &Plan) -> BTreeMap<String, Option<Timestamp>> {
    let entries = plan.change().map_or(planning_case.entries(), Change::outcome);
    access(entries).into_iter().map(|(role, end)| (role.to_owned(), end)).collect()
}

/// Every layer has recorded what it must.
fn record(planning_case: &mut PlanningCase) {
    for index in 0..planning_case.layers.len() {
        let base = base_to_record(&planning_case.layers[index], &planning_case.layers, &planning_case.view());
        let layer = &mut planning_case.layers[index];
        layer.managed = layer.record_before(planning_case.now);
        if let Some(base) = base {
            layer.managed.entry(base.to_owned()).or_insert(Term::Permanent);
        }
    }
}

/// An object that has only ever observed.
fn observer() -> Layer {
    Layer {
        uid: "observer".to_owned(),
        phase: Phase::Holds,
        exclusive: true,
        grants: Vec::new(),
        managed: BTreeMap::new(),
        carried: Vec::new(),
    }
}

fn checked(planning_case: &PlanningCase, change: &Change) -> Result<(), TestCaseError> {
    let done = carried_out(change, planning_case.observed.as_ref(), planning_case.capabilities, &BTreeSet::new());
    prop_assert!(done.is_ok(), "{:?} refused: {:?}", change, done);
    Ok(())
}

proptest! {
    #[test]
    fn nothing_is_sent_that_the_provider_refuses_in_any_case(planning_case in planning_case()) {
        let plan = plan(&planning_case.layers, &planning_case.view());
        for change in writes(&plan) {
            checked(&planning_case, change)?;
        }
    }

    #[test]
    fn a_role_of_ours_that_none_has_or_holds_is_in_nothing_that_is_sent(planning_case in planning_case()) {
        let union = union_of(&planning_case);
        let over = |entry: &&Entry| {
            let role = &entry.role;
            union.ours.contains(role) && !union.kept.contains_key(role) && !union.held.contains_key(role)
                && !planning_case.is_base(role)
        };
        let plan = plan(&planning_case.layers, &planning_case.view());
        for change in writes(&plan) {
            prop_assert_eq!(change.outcome().iter().find(over), None, "in {:?}", change);
        }
        if plan.change().is_none() {
            prop_assert_eq!(planning_case.entries().iter().find(over), None, "left as it is");
        }
    }

    #[test]
    fn an_unmanaged_role_that_is_spared_is_never_removed_for_another_removal(planning_case in planning_case()) {
        let union = union_of(&planning_case);
        let plan = plan(&planning_case.layers, &planning_case.view());
        for fallback in plan.fallbacks() {
            for entry in planning_case.entries().iter().filter(|entry| planning_case.spared.contains(&entry.role)) {
                let stays = fallback.outcome().iter().any(|sent| sent.role == entry.role);
                prop_assert!(stays || !unmanaged(&entry.role, &union) || planning_case.is_base(&entry.role), "{:?}", fallback);
            }
        }
    }

    #[test]
    fn additive_leaves_unmanaged_entries_unchanged(mut planning_case in planning_case()) {
        for layer in &mut planning_case.layers {
            layer.exclusive = false;
        }
        let union = union_of(&planning_case);
        let plan = plan(&planning_case.layers, &planning_case.view());
        // Another law covers what is tried after a refusal.
        if let Some(change) = plan.change() {
            for (role, end) in access(planning_case.entries()) {
                if !unmanaged(role, &union) || (planning_case.is_base(role) && end.is_some()) {
                    continue;
                }
                let sent: Vec<&Entry> = change.outcome().iter().filter(|entry| entry.role == role).collect();
                prop_assert_eq!(sent.len(), 1, "{} in {:?}", role, change);
                let shown: Vec<&Entry> = planning_case.entries().iter().filter(|entry| entry.role == role).collect();
                prop_assert!(shown.contains(&sent[0]), "{:?} isn't among {:?}", sent[0], shown);
                prop_assert_eq!(sent[0].term.end(), end);
            }
        }
    }

    #[test]
    fn removals_sent_alone_leave_unmanaged_entries_unchanged(planning_case in planning_case()) {
        let union = union_of(&planning_case);
        let plan = plan(&planning_case.layers, &planning_case.view());
        let Some(first) = plan.fallbacks().first() else {
            return Ok(());
        };
        // The change itself may be no more than the removals; then it isn't tried twice.
        let keeps_them = |change: &Change| {
            let (before, sent) = (access(planning_case.entries()), access(change.outcome()));
            let strangers = before.into_iter().filter(|(role, end)| {
                unmanaged(role, &union) && !(planning_case.is_base(role) && end.is_some())
            });
            strangers.into_iter().all(|(role, end)| sent.get(role) == Some(&end))
        };
        prop_assert!(plan.change().is_some_and(keeps_them) || keeps_them(first), "{:?}", plan);
    }

    #[test]
    fn a_killed_run_leaves_at_most_what_was_there_and_what_is_in_effect(planning_case in planning_case()) {
        let union = union_of(&planning_case);
        let before = access(planning_case.entries());
        let plan = plan(&planning_case.layers, &planning_case.view());
        for change in writes(&plan) {
            for (role, end) in access(change.outcome()) {
                let was_there = before.get(role).is_some_and(|known| no_longer(end, *known));
                let in_effect = union.kept.get(role).is_some_and(|term| no_longer(end, term.end()));
                let comes_back = union.carried.iter().any(|entry| entry.role == role && entry.term.end() == end);
                prop_assert!(
                    was_there || in_effect || comes_back || planning_case.is_base(role),
                    "{role} until {end:?} by {change:?}"
                );
            }
        }
    }

    #[test]
    fn only_what_was_written_down_is_granted(planning_case in planning_case()) {
        let before = access(planning_case.entries());
        let plan = plan(&planning_case.layers, &planning_case.view());
        for change in writes(&plan) {
            for (role, end) in access(change.outcome()) {
                let was_there = before.get(role).is_some_and(|known| no_longer(end, *known));
                let mut carried = planning_case.layers.iter().flat_map(|layer| &layer.carried);
                let comes_back = carried.any(|entry| entry.role == role && entry.term.end() == end);
                let word = planning_case.layers.iter().any(|layer| {
                    let recorded = layer.managed.get(role).is_some_and(|term| no_longer(end, term.end()));
                    layer.has_in_effect(role, planning_case.now) && recorded
                });
                prop_assert!(
                    was_there || comes_back || word || planning_case.is_base(role),
                    "{role} until {end:?} by {change:?}"
                );
            }
        }
    }

    #[test]
    fn planning_on_the_outcome_of_a_plan_gives_the_empty_plan(mut planning_case in planning_case()) {
        record(&mut planning_case);
        let first = plan(&planning_case.layers, &planning_case.view());
        if let Some(change) = first.change() {
            let done = carried_out(change, planning_case.observed.as_ref(), planning_case.capabilities, &BTreeSet::new());
            prop_assert!(done.is_ok(), "{:?} refused: {:?}", change, done);
            planning_case.observed = done.unwrap();
        }
        let layers = planning_case.layers.clone();
        for (index, layer) in layers.iter().enumerate() {
            let others: Vec<Layer> = layers.iter().filter(|other| other.uid != layer.uid).cloned().collect();
            let shown = shown(layer, &layers, &planning_case.view());
            planning_case.layers[index].managed = record_after(layer, &others, &shown, planning_case.now);
            planning_case.layers[index].carried.clear();
        }
        let second = plan(&planning_case.layers, &planning_case.view());
        prop_assert_eq!(second.change(), None, "after {:?}", first);
    }

    #[test]
    fn the_union_and_the_plan_do_not_depend_on_the_order_of_objects(
        (planning_case, shuffled) in planning_case().prop_flat_map(|s| (Just(s.clone()), Just(s.layers).prop_shuffle()))
    ) {
        prop_assert_eq!(union_of(&planning_case), union(&shuffled, &planning_case.refused, planning_case.now));
        prop_assert_eq!(plan(&planning_case.layers, &planning_case.view()), plan(&shuffled, &planning_case.view()));
    }

    #[test]
    fn an_unknown_role_beside_others_changes_no_other_roles_end(mut planning_case in planning_case(), unknown in role()) {
        // The provider shows no role that it doesn't have.
        if let Some(member) = &mut planning_case.observed {
            member.entries.retain(|entry| entry.role != unknown);
        }
        for layer in &mut planning_case.layers {
            layer.carried.retain(|entry| entry.role != unknown);
        }
        planning_case.refused.clear();
        let mut without = planning_case.clone();
        planning_case.refused.insert(unknown.clone());
        for layer in &mut without.layers {
            // It may be the misspelt name of an unmanaged role: its object then tolerates others.
            layer.exclusive &= layer.grants.iter().all(|grant| grant.role != unknown);
            layer.grants.retain(|grant| grant.role != unknown);
            layer.managed.remove(&unknown);
        }
        let others = |planning_case: &PlanningCase| {
            let mut access = access_after(planning_case, &plan(&planning_case.layers, &planning_case.view()));
            access.retain(|role, _| *role != unknown && !planning_case.is_base(role));
            access
        };
        prop_assert_eq!(others(&planning_case), others(&without));
        let sends = |change: &&Change| change.outcome().iter().any(|entry| entry.role == unknown);
        let plan = plan(&planning_case.layers, &planning_case.view());
        if !planning_case.is_base(&unknown) {
            prop_assert_eq!(writes(&plan).into_iter().find(sends), None);
        }
    }

    #[test]
    fn an_object_that_observes_from_the_start_changes_nothing(mut planning_case in planning_case()) {
        let alone = PlanningCase { layers: vec![observer()], ..planning_case.clone() };
        let watching = plan(&alone.layers, &alone.view());
        prop_assert_eq!(watching.change(), None);
        let without = plan(&planning_case.layers, &planning_case.view());
        planning_case.layers.push(observer());
        prop_assert_eq!(plan(&planning_case.layers, &planning_case.view()), without);
    }

    #[test]
    fn objects_that_do_not_count_gain_nothing(mut planning_case in planning_case()) {
        for layer in &mut planning_case.layers {
            layer.phase = if layer.phase == Phase::Leaves { Phase::Leaves } else { Phase::Holds };
            layer.carried.clear();
        }
        let before = access(planning_case.entries());
        let plan = plan(&planning_case.layers, &planning_case.view());
        prop_assert_eq!(plan.gained(), &[] as &[String]);
        for change in writes(&plan) {
            for (role, end) in access(change.outcome()) {
                let was_there = before.get(role).is_some_and(|known| no_longer(end, *known));
                prop_assert!(was_there || planning_case.is_base(role), "{role} until {end:?} by {change:?}");
            }
        }
    }

    #[test]
    fn what_is_held_is_neither_taken_away_nor_cut_short_of_its_end(
        mut planning_case in planning_case(),
        (granted, held, shown) in (term(), term(), term()),
    ) {
        // They coincide on one role.
        let grants = vec![Grant { role: "deployer".to_owned(), term: granted }];
        let managed = |term| BTreeMap::from([("deployer".to_owned(), term)]);
        let counts = Layer { uid: "c".into(), phase: Phase::Counts, grants, managed: managed(granted), ..observer() };
        planning_case.layers.extend([counts, Layer { uid: "h".into(), managed: managed(held), ..observer() }]);
        let shown = if planning_case.capabilities.enforces_expiry { shown } else { Term::Permanent };
        let entry = Entry::new("deployer", shown);
        planning_case.observed.get_or_insert_with(|| member(Vec::new(), 1)).entries.push(entry);
        let union = union_of(&planning_case);
        let after = access_after(&planning_case, &plan(&planning_case.layers, &planning_case.view()));
        for (role, end) in access(planning_case.entries()) {
            if let Some(held) = union.held.get(role).filter(|_| !planning_case.is_base(role)) {
                let left = after.get(role);
                let enough = left.is_some_and(|left| no_longer(held.end(), *left) || no_longer(end, *left));
                let held = held.end();
                prop_assert!(enough, "{role} was there until {end:?}, held until {held:?}, left until {left:?}");
            }
        }
    }

    #[test]
    fn a_plan_without_a_list_behind_it_carries_only_what_was_written_down(planning_case in planning_case()) {
        let union = union_of(&planning_case);
        let plan = plan(&planning_case.layers, &planning_case.view());
        if let Some(change) = plan.change().filter(|_| !plan.needs_fresh()) {
            prop_assert!(union.exclusive || *change != Change::Remove);
            let strangers = change.outcome().iter().find(|entry| {
                !union.granted.contains_key(&entry.role) && !planning_case.is_base(&entry.role)
            });
            prop_assert_eq!(strangers, None);
        }
    }

    #[test]
    fn what_a_plan_says_it_does_is_what_it_does(planning_case in planning_case()) {
        let plan = plan(&planning_case.layers, &planning_case.view());
        let (before, after) = (access(planning_case.entries()), access_after(&planning_case, &plan));
        for (role, _) in plan.lost() {
            prop_assert!(before.contains_key(role.as_str()) && !after.contains_key(role), "{role} isn't lost");
        }
        for role in plan.gained() {
            let longer = !no_longer(after[role], before.get(role.as_str()).copied().unwrap_or(Some(Timestamp::MIN)));
            prop_assert!(longer, "{role} isn't gained");
        }
        let gone = before.keys().filter(|role| !after.contains_key(**role) && !planning_case.is_base(role));
        for role in gone {
            prop_assert!(plan.lost().iter().any(|(lost, _)| lost == role), "{role} is lost in silence");
        }
        let come = after.keys().filter(|role| !before.contains_key(role.as_str()) && !planning_case.is_base(role));
        for role in come {
            prop_assert!(plan.gained().contains(role), "{role} is gained in silence");
        }
    }

    #[test]
    fn what_is_written_down_never_forgets_what_may_still_be_there(
        layer in layer(),
        others in prop::collection::vec(layer(), 0..3),
    ) {
        let now = crate::generators::now();
        let all: BTreeSet<String> = layer.managed.keys().cloned().collect();
        let after = record_after(&layer, &others, &all, now);
        for role in layer.managed.keys().filter(|role| !after.contains_key(*role)) {
            let mut others = others.iter().filter(|other| other.phase != Phase::Leaves);
            let answered_for = others.any(|other| other.managed.contains_key(role));
            prop_assert!(answered_for, "{role} is shown and no layer is responsible for it");
        }
    }
}
