//! Laws of whole lives of objects: created, edited, set aside, deleted, with runs killed in every gap and other hands
//! at the provider.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use membership_operator::api::Duration;
use membership_operator::api::membership::Temporary;
use membership_operator::core::member::{Capabilities, Entry, Term, Window};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::generators::{INFISICAL, capabilities, member, minutes, now, shown_as, without_ends};
use crate::model::{access, no_longer};
use crate::starts::temporary;
use crate::world::{Killed, Object, World};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Create { roles: Vec<(String, Option<Temporary>)>, exclusive: bool },
    Edit { object: usize, roles: Vec<(String, Option<Temporary>)> },
    SetAside { object: usize, aside: bool },
    Delete { object: usize },
    Wait { seconds: i64 },
    Pass { object: usize, killed: Killed },
    Hand(Hand),
}

/// What somebody else does at the provider.
#[derive(Clone, Debug)]
enum Hand {
    /// Adds a role that no object ever declares.
    Adds(Entry),
    /// Makes what is there permanent.
    Lengthens(String),
    /// Takes a role away.
    Takes(String),
    /// Two writers at once: several memberships, and rows twice.
    Races,
}

fn ours() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["viewer", "deployer", "typo"]).prop_map(str::to_owned)
}

fn declared() -> impl Strategy<Value = Vec<(String, Option<Temporary>)>> {
    btree_map(ours(), temporary(), 1..3).prop_map(|roles| roles.into_iter().collect())
}

fn killed() -> impl Strategy<Value = Killed> {
    use Killed::{AfterTheWrite, BeforeTheWrite, BetweenDeleteAndCreate, Never};
    prop::sample::select(vec![Never, Never, Never, BeforeTheWrite, BetweenDeleteAndCreate, AfterTheWrite])
}

fn hand() -> impl Strategy<Value = Hand> {
    let stranger = prop::sample::select(vec!["auditor", "stranger", "no-access"]);
    let window = (-60_i64..0, 1_i64..90).prop_map(|(a, b)| Window { start: minutes(a), end: minutes(b) });
    let term = prop_oneof![2 => Just(Term::Permanent), 1 => window.prop_map(Term::Temporary)];
    let adds = (stranger, term).prop_map(|(role, term)| {
        // A base for a while is nothing that anybody would write.
        let term = if role == "no-access" { Term::Permanent } else { term };
        Hand::Adds(shown_as(Entry::new(role, term)))
    });
    let any = prop::sample::select(vec!["viewer", "deployer", "auditor", "no-access"]).prop_map(str::to_owned);
    prop_oneof![
        3 => adds,
        1 => ours().prop_map(Hand::Lengthens),
        1 => any.prop_map(Hand::Takes),
        1 => Just(Hand::Races),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let object = 0_usize..3;
    prop_oneof![
        2 => (declared(), any::<bool>()).prop_map(|(roles, exclusive)| Step::Create { roles, exclusive }),
        2 => (object.clone(), declared()).prop_map(|(object, roles)| Step::Edit { object, roles }),
        1 => (object.clone(), any::<bool>()).prop_map(|(object, aside)| Step::SetAside { object, aside }),
        1 => object.clone().prop_map(|object| Step::Delete { object }),
        3 => prop::sample::select(vec![1_i64, 60, 1_800, 3_600, 90_000]).prop_map(|seconds| Step::Wait { seconds }),
        6 => (object, killed()).prop_map(|(object, killed)| Step::Pass { object, killed }),
        2 => hand().prop_map(Step::Hand),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Create { roles, exclusive } => {
            if world.objects.iter().filter(|object| !object.gone).count() < 3 {
                world.objects.push(Object::new(roles, exclusive));
            }
        }
        Step::Edit { object, roles } => {
            if let Some(object) = world.objects.get_mut(object) {
                object.roles = roles;
            }
        }
        Step::SetAside { object, aside } => {
            if let Some(object) = world.objects.get_mut(object) {
                object.aside = aside;
            }
        }
        Step::Delete { object } => {
            if let Some(object) = world.objects.get_mut(object) {
                object.deleted = true;
            }
        }
        Step::Wait { seconds } => world.now += SignedDuration::from_secs(seconds),
        Step::Pass { object, killed } => {
            if object < world.objects.len() {
                world.pass(object, killed);
            }
        }
        Step::Hand(hand) => by_hand(world, hand),
    }
}

fn by_hand(world: &mut World, hand: Hand) {
    let (capabilities, mut row) = (world.capabilities, world.member.clone().unwrap_or_else(|| member(Vec::new(), 1)));
    match hand {
        Hand::Adds(entry) => {
            row.entries.retain(|known| known.role != entry.role);
            row.entries.push(entry);
        }
        Hand::Lengthens(role) => {
            row.entries.iter_mut().filter(|entry| entry.role == role).for_each(|e| *e = Entry::permanent(role.clone()));
        }
        Hand::Takes(role) => row.entries.retain(|entry| entry.role != role),
        Hand::Races if capabilities.enforces_expiry => {
            row.memberships += 1;
            row.entries.extend(row.entries.clone());
        }
        Hand::Races => {}
    }
    if !capabilities.enforces_expiry {
        row.entries = without_ends(&row.entries);
    }
    // The server lets nobody write a list of temporary roles only.
    let permanent = row.entries.iter().any(|entry| entry.term == Term::Permanent);
    if capabilities.permanent_base.is_none() || permanent || row.entries.is_empty() {
        world.member = Some(row).filter(|row| !row.entries.is_empty());
    }
}

fn world_of(capabilities: Capabilities) -> World {
    World {
        objects: Vec::new(),
        member: None,
        capabilities,
        unknown: BTreeSet::from(["typo".to_owned()]),
        refused: BTreeSet::new(),
        keeps_members: false,
        now: now(),
    }
}

fn world() -> impl Strategy<Value = World> {
    (capabilities(), prop::bool::weighted(0.3))
        .prop_map(|(capabilities, keeps_members)| World { keeps_members, ..world_of(capabilities) })
}

/// What is there of roles that no object ever declared; of the base only what others brought.
fn strangers(world: &World, hands: &[Step]) -> Vec<Entry> {
    let brought = hands.iter().any(|step| matches!(step, Step::Hand(Hand::Adds(entry)) if entry.role == "no-access"));
    let entries = world.member.iter().flat_map(|member| &member.entries);
    entries
        .filter(|entry| {
            ["auditor", "stranger"].contains(&entry.role.as_str()) || (brought && entry.role == "no-access")
        })
        .cloned()
        .collect()
}

proptest! {
    #[test]
    fn whatever_happened_the_last_one_to_go_leaves_nothing_of_ours(mut world in world(), steps in vec(step(), 1..25)) {
        for step in steps.clone() {
            take(&mut world, step);
        }
        world.settle();
        world.objects.iter_mut().for_each(|object| object.deleted = true);
        world.settle();
        prop_assert!(world.objects.iter().all(|object| object.gone), "somebody stays for ever: {world:#?}");
        let left = world.member.iter().flat_map(|member| &member.entries).cloned().collect::<Vec<_>>();
        let strangers = strangers(&world, &steps);
        // Strangers' temporary roles can't stand without the base.
        let needed = !strangers.is_empty() && strangers.iter().all(|entry| entry.term != Term::Permanent);
        let stays = needed || world.keeps_members;
        let theirs = |entry: &Entry| strangers.contains(entry) || (stays && entry.role == "no-access");
        let ours: Vec<&Entry> = left.iter().filter(|entry| !theirs(entry)).collect();
        prop_assert!(ours.is_empty(), "left: {ours:?} in {left:?}");
    }

    #[test]
    fn what_is_there_at_rest_is_in_effect_or_held_or_a_strangers(mut world in world(), steps in vec(step(), 1..25)) {
        for step in steps.clone() {
            take(&mut world, step);
        }
        world.settle();
        let strangers = strangers(&world, &steps);
        let entries = world.member.iter().flat_map(|member| &member.entries).cloned().collect::<Vec<_>>();
        for (role, end) in access(&entries).into_iter().filter(|(role, _)| *role != "no-access") {
            let here = world.objects.iter().filter(|object| !object.gone && !object.deleted);
            let mut unended = here.filter_map(|object| object.managed.get(role)).filter(|term| !term.ended(world.now));
            let until = |term: &Term| !world.capabilities.enforces_expiry || no_longer(end, term.end());
            let stranger = strangers.iter().any(|entry| entry.role == role);
            prop_assert!(stranger || unended.any(until), "{role} until {end:?} is nobody's: {world:#?}");
        }
    }

    #[test]
    fn what_is_in_effect_is_there_at_rest(mut world in world(), steps in vec(step(), 1..25)) {
        for step in steps {
            take(&mut world, step);
        }
        world.settle();
        let gone = world.objects.iter().all(|object| object.gone == object.deleted);
        prop_assert!(gone, "who left isn't gone: {world:#?}");
        let entries = world.member.iter().flat_map(|member| &member.entries).cloned().collect::<Vec<_>>();
        let there = access(&entries);
        for grant in world.in_effect().iter().filter(|grant| !world.unknown.contains(&grant.role)) {
            let end = there.get(grant.role.as_str());
            let shows_ends = world.capabilities.enforces_expiry;
            let enough = end.is_some_and(|end| no_longer(grant.term.end(), *end) || !shows_ends);
            prop_assert!(enough, "{grant:?} is there until {end:?}: {world:#?}");
        }
    }

    #[test]
    fn strangers_keep_what_they_have_where_all_objects_are_additive(mut world in world(), steps in vec(step(), 1..25)) {
        let mut expected: Vec<Entry> = Vec::new();
        for step in steps {
            let step = match step {
                Step::Create { roles, .. } => Step::Create { roles, exclusive: false },
                // No-access may be ours already when somebody else adds it.
                Step::Hand(Hand::Adds(entry)) if entry.role == "no-access" => continue,
                Step::Hand(Hand::Takes(role)) if role == "no-access" => continue,
                step => step,
            };
            let hand = matches!(step, Step::Hand(_));
            take(&mut world, step);
            let mut there = strangers(&world, &[]);
            // What a healing took out is on its way back.
            let carried: Vec<Entry> = world.objects.iter().flat_map(|object| object.carried.clone()).collect();
            let out = carried.into_iter().filter(|entry| world.member.is_none() && !there.contains(entry));
            there.extend(out.collect::<Vec<_>>());
            if hand {
                expected = distinct(&there);
            }
            // A row that has ended gives nothing; a healing doesn't bring it back.
            expected.retain(|entry| !entry.term.ended(world.now));
            let missing = expected.iter().find(|entry| !there.contains(entry));
            prop_assert_eq!(missing, None, "{:#?}", world);
        }
        world.settle();
        let there = strangers(&world, &[]);
        let missing = expected.iter().find(|entry| !there.contains(entry));
        prop_assert_eq!(missing, None, "{:#?}", world);
    }
}

/// Objects that ask for temporary roles only, all of them in effect.
fn temporary_objects() -> impl Strategy<Value = Vec<Object>> {
    let minutes = prop::sample::select(vec!["1m", "1h", "1d"])
        .prop_map(|length| Temporary { duration: Some(Duration(length.to_owned())), ..Temporary::default() });
    let roles = btree_map(prop::sample::select(vec!["viewer", "deployer"]), minutes, 1..3);
    let object = roles.prop_map(|roles| {
        Object::new(roles.into_iter().map(|(role, temporary)| (role.to_owned(), Some(temporary))).collect(), false)
    });
    vec(object, 1..4)
}

proptest! {
    #[test]
    fn a_healing_killed_half_way_gives_strangers_back_what_they_had(
        objects in temporary_objects(),
        ends in btree_map(prop::sample::select(vec!["auditor", "stranger"]), option::of(1_i64..600), 1..3),
        set_aside in any::<bool>(),
    ) {
        let term = |end: Option<i64>| end.map_or(Term::Permanent, |end| {
            Term::Temporary(Window { start: minutes(-1), end: minutes(end) })
        });
        let mut strangers: Vec<Entry> = vec![Entry::permanent("owner")];
        strangers.extend(ends.into_iter().map(|(role, end)| shown_as(Entry::new(role, term(end)))));
        let mut world = World { objects, member: Some(member(strangers.clone(), 2)), ..world_of(INFISICAL) };
        world.pass(0, Killed::BetweenDeleteAndCreate);
        prop_assert_eq!(&world.member, &None);
        world.objects[0].aside = set_aside;
        world.settle();
        let there = world.member.map_or(Vec::new(), |member| member.entries);
        let missing = strangers.iter().find(|entry| !there.contains(entry));
        prop_assert_eq!(missing, None, "in {:?}", there);
    }

    #[test]
    fn the_base_keeps_nobody_from_leaving(
        objects in temporary_objects(),
        guest in option::of(1_i64..600),
        order in any::<[bool; 3]>(),
    ) {
        let mut world = World { objects, ..world_of(INFISICAL) };
        world.settle();
        let window = |end| Term::Temporary(Window { start: minutes(-1), end: minutes(end) });
        let stranger = guest.map(|end| shown_as(Entry::new("stranger", window(end))));
        if let Some(stranger) = &stranger {
            by_hand(&mut world, Hand::Adds(stranger.clone()));
        }
        for (object, leaves) in world.objects.iter_mut().zip(order) {
            object.deleted = leaves;
        }
        world.settle();
        prop_assert!(world.objects.iter().all(|object| object.gone == object.deleted), "{world:#?}");
        world.objects.iter_mut().for_each(|object| object.deleted = true);
        world.settle();
        prop_assert!(world.objects.iter().all(|object| object.gone), "{world:#?}");
        let left: Vec<Entry> = world.member.map_or(Vec::new(), |member| member.entries);
        let expected = stranger.map_or(Vec::new(), |guest| vec![guest, Entry::permanent("no-access")]);
        prop_assert_eq!(left, expected);
    }
}

fn distinct(entries: &[Entry]) -> Vec<Entry> {
    let mut distinct: Vec<Entry> = Vec::new();
    for entry in entries {
        if !distinct.contains(entry) {
            distinct.push(entry.clone());
        }
    }
    distinct.sort_by(|a, b| a.role.cmp(&b.role));
    distinct
}
