//! Runs seeded histories of the objects of one target.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use jiff::SignedDuration;
use membership_operator::api::Duration as Length;
use membership_operator::api::membership::{RoleGrant, Temporary};
use membership_operator::core::member::{Entry, Term, Window};

use crate::events;
use crate::generators::{INFISICAL, INFISICAL_2024, ZITADEL, shown_as};
use crate::objects::{Object, Policies};
use crate::provider::{Fault, Provider};
use crate::random::Random;
use crate::world::{World, world};

/// The world of a seed.
fn of_seed(seed: u64) -> World {
    let mut random = Random::new(seed);
    let capabilities = random.pick(&[INFISICAL, INFISICAL, INFISICAL_2024, ZITADEL, ZITADEL]);
    let mut provider = Provider::new(capabilities);
    provider.keeps_members = random.chance(20);
    provider.names_roles = random.chance(70);
    let cluster = random.chance(30);
    world(random, provider, cluster)
}

/// One history: something happens, and the operator makes passes; then all faults end, and the state becomes stable;
/// then all objects are deleted. The error says which law was broken.
pub fn history(seed: u64, is_traced: bool) -> Result<usize, String> {
    let mut world = of_seed(seed);
    world.is_traced = is_traced;
    events::create(&mut world);
    let events = 2 + world.random.below(3);
    for _ in 0..events {
        if world.random.chance(75) {
            let pass = world.pass()?;
            if world.random.chance(50) {
                world.advance(pass.due_in);
            }
        }
        events::happen(&mut world);
    }
    world.settle()?;
    if world.random.chance(15) {
        events::remove_unmanaged(&mut world);
        world.settle()?;
    }
    events::delete_all(&mut world);
    world.settle()?;
    match world.objects.first() {
        Some(object) => Err(format!("{} stays for ever", object.uid())),
        None => Ok(world.taken),
    }
}

/// Runs the histories of `count` seeds from `first` on. Returns the failures, and how many steps were taken.
fn run(first: u64, count: u64) -> (Vec<(u64, String)>, usize) {
    let (next, steps) = (AtomicU64::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let batch = next.fetch_add(64, Ordering::Relaxed);
            if batch >= count {
                return failures;
            }
            for seed in first + batch..first + count.min(batch + 64) {
                match history(seed, false) {
                    Ok(taken) => {
                        steps.fetch_add(taken, Ordering::Relaxed);
                    }
                    Err(why) => failures.push((seed, why)),
                }
            }
        }
    };
    let mut failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    failures.sort();
    (failures, steps.into_inner())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// `HISTORY` repeats one seed with its trace on standard error. `HISTORIES` is the number of seeds; the first one follows from
/// `PROPTEST_RNG_SEED`.
#[test]
fn histories() {
    if let Some(seed) = number("HISTORY") {
        assert_eq!(history(seed, true).err(), None, "history {seed}");
        return;
    }
    let count = number("HISTORIES").unwrap_or(2_000);
    let first = number("PROPTEST_RNG_SEED").unwrap_or(1) * 1_000_000_000;
    let began = Instant::now();
    let (failures, steps) = run(first, count);
    let seconds = began.elapsed().as_secs_f64();
    for (seed, why) in failures.iter().take(20) {
        println!("history {seed}: {why}");
    }
    let rate = count as f64 / seconds;
    println!("{rate:.0} histories a second, {:.1} steps each", steps as f64 / count as f64);
    println!("histories: {} passed, {} failed", count - failures.len() as u64, failures.len());
    assert!(
        failures.is_empty(),
        "repeat one with its trace: HISTORY={} cargo test --test laws histories",
        failures[0].0
    );
}

fn temporary(role: &str) -> RoleGrant {
    let duration = Some(Length("1h".to_owned()));
    RoleGrant { role: role.to_owned(), temporary: Some(Temporary { duration, ..Temporary::default() }) }
}

fn additive(world: &mut World, roles: Vec<RoleGrant>) {
    let object = Object::new(world.created, "a", roles, &Policies::default(), world.wall, world.at);
    world.created += 1;
    world.objects.push(object);
}

/// What the provider holds: the roles.
fn held(world: &World) -> Vec<&str> {
    let mut roles: Vec<&str> =
        world.provider.member.iter().flat_map(|member| &member.entries).map(|entry| entry.role.as_str()).collect();
    roles.sort_unstable();
    roles
}

#[test]
fn memberships_that_are_merged_half_way_give_others_back_what_they_had() {
    for then_suspended in [false, true] {
        let mut world = world(Random::new(1), Provider::new(INFISICAL), false);
        additive(&mut world, vec![temporary("viewer")]);
        let end = Window { start: world.wall, end: world.wall + SignedDuration::from_hours(9) };
        let others = [Entry::permanent("owner"), shown_as(Entry::new("auditor", Term::Temporary(end)))];
        world.provider.set(others.to_vec(), 2);
        world.provider.writes.push_back(Some(Fault::Half));
        world.pass().unwrap();
        assert_eq!(held(&world), [] as [&str; 0]);
        world.crash();
        if then_suspended {
            world.objects[0].edit(world.at, |spec| spec.suspend = true);
        }
        world.settle().unwrap();
        let there = world.provider.member.as_ref().map_or(&[][..], |member| &member.entries);
        assert!(others.iter().all(|other| there.contains(other)), "{there:?}");
    }
}

#[test]
fn the_permanent_base_keeps_no_object_from_leaving() {
    for order in 0..8_usize {
        let mut world = world(Random::new(1), Provider::new(INFISICAL), false);
        (0..3).for_each(|_| additive(&mut world, vec![temporary("viewer")]));
        world.settle().unwrap();
        let now = world.wall;
        for (index, object) in world.objects.iter_mut().enumerate() {
            let leaves = order & (1 << index) != 0;
            assert!(!leaves || !object.delete(now), "it has a finalizer");
        }
        // It checks that every deleted object is gone.
        world.settle().unwrap();
        events::delete_all(&mut world);
        world.settle().unwrap();
        assert_eq!(held(&world), [] as [&str; 0]);
    }
}
