use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::api::SubjectKind;
use crate::api::provider::Limits;
use crate::core::member::{Capabilities, Change, Entry, Target};
use crate::provider::quota::{EndpointQuota, Permit};
use crate::provider::{Receipt, Verified};

/// How long a list takes.
const LIST: Duration = Duration::from_millis(100);
const SPACING: Spacing = Spacing::always(Duration::from_millis(250));

/// A provider that supports only lists. It records when they begin, and returns the given results; after those, empty
/// lists.
#[derive(Default)]
struct Lists {
    began: Mutex<Vec<Instant>>,
    answers: Mutex<VecDeque<Result<Listing, Error>>>,
    under_way: AtomicUsize,
}

#[async_trait]
impl Provider for Lists {
    fn capabilities(&self, _: SubjectKind) -> Capabilities {
        Capabilities {
            enforces_expiry: false,
            permanent_base: None,
            empty_role: None,
            lists_are_current: true,
            creation_role: None,
            invites: false,
        }
    }

    async fn list(&self, _: &Permit, _: &Project, _: SubjectKind) -> Result<Listing, Error> {
        assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "two lists of one project at once");
        self.began.lock().push(Instant::now());
        tokio::time::sleep(LIST).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.answers.lock().pop_front().unwrap_or_else(|| Ok(Listing::default()))
    }

    async fn verify(&self, _: &Permit) -> Result<Verified, Error> {
        unreachable!()
    }

    async fn find_project(&self, _: &Permit, _: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        unreachable!()
    }

    async fn find_subject(&self, _: &Permit, _: &Project, _: SubjectKind, _: &str) -> Result<Vec<String>, Error> {
        unreachable!()
    }

    async fn apply(&self, _: &Permit, _: &Target, _: Option<&str>, _: &Change) -> Result<Receipt, Error> {
        unreachable!()
    }
}

struct World {
    provider: Lists,
    roster: Arc<Roster>,
    quota: Quota,
    began: Instant,
}

impl World {
    fn new(answers: Vec<Result<Listing, Error>>) -> Arc<Self> {
        let provider = Lists { answers: Mutex::new(answers.into()), ..Lists::default() };
        let roster =
            Roster::new(Project { organization_id: None, id: "p".to_owned(), grant_id: None }, SubjectKind::User);
        let quota = EndpointQuota::new(false).quota("test".to_owned(), Limits::default());
        Arc::new(Self { provider, roster: Arc::new(roster), quota, began: Instant::now() })
    }

    async fn observe(&self, spacing: Spacing, not_before: Option<Instant>) -> Result<Observation, Error> {
        let asker = ListCaller { quota: &self.quota, urgency: Urgency::Resync, namespace: "test", spacing };
        self.roster.observe(&self.provider, asker, "s", not_before).await
    }

    /// The times at which the lists began, in milliseconds.
    fn lists(&self) -> Vec<u128> {
        let began = self.provider.began.lock();
        began.iter().map(|began| began.duration_since(self.began).as_millis()).collect()
    }
}

fn row(role: &str) -> Member {
    Member { subject_id: "s".to_owned(), entries: vec![Entry::permanent(role)], memberships: 1, version: None }
}

fn listing(role: &str) -> Listing {
    Listing { members: vec![row(role)], partial: false }
}

#[tokio::test(start_paused = true)]
async fn one_list_serves_all_who_ask_before_it_begins() {
    let world = World::new(vec![Ok(listing("a"))]);
    let ask = || world.observe(Spacing::NONE, None);
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    assert_eq!(first.as_ref().unwrap().member, Some(row("a")));
    assert!(first == second && second == third);
    assert_eq!(world.lists(), [0]);
}

#[tokio::test(start_paused = true)]
async fn lists_that_confirm_keep_their_distance_also_from_one_that_began_while_they_waited() {
    let world = World::new(vec![]);
    // Each caller has written, and requests a list that began afterwards.
    let ask = async |after: u64| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        world.observe(SPACING, Some(Instant::now())).await.unwrap();
    };
    tokio::join!(ask(0), ask(20), ask(50), ask(260), ask(300), ask(340));
    assert_eq!(world.lists(), [0, 250, 500]);
}

/// Seen failing with one distance: a burst of half a minute was confirmed with 120 lists of each project.
#[tokio::test(start_paused = true)]
async fn the_distance_of_lists_grows_while_they_follow_each_other_and_begins_anew_after_a_rest() {
    let world = World::new(vec![]);
    let growing = Spacing { first: Duration::from_millis(250), longest: Duration::from_secs(1) };
    let write = async || world.observe(growing, Some(Instant::now())).await.unwrap();
    for _ in 0..7 {
        write().await;
    }
    assert_eq!(world.lists(), [0, 250, 750, 1500, 2500, 3500, 4500]);
    tokio::time::sleep(CLOSE).await;
    write().await;
    write().await;
    assert_eq!(world.lists()[7..], [8600, 8850]);
}

#[tokio::test(start_paused = true)]
async fn what_a_partial_list_lacks_is_not_absent() {
    let partial = |members| Listing { members, partial: true };
    let world = World::new(vec![Ok(partial(vec![])), Ok(partial(vec![row("a")]))]);
    let lacking = world.observe(Spacing::NONE, None).await.unwrap_err();
    assert!(matches!(lacking, Error::Unreachable { effect: Effect::None, .. }), "{lacking}");
    let shown = world.observe(Spacing::NONE, Some(Instant::now())).await.unwrap();
    assert_eq!(shown.member, Some(row("a")));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_began_before_a_write_ended_does_not_replace_its_row() {
    let world = World::new(vec![Ok(listing("old")), Ok(listing("new"))]);
    let observed = world.observe(Spacing::NONE, None);
    let writes = async {
        tokio::time::sleep(LIST / 2).await;
        world.roster.wrote("s", Some(row("written")));
    };
    let (observation, ()) = tokio::join!(observed, writes);
    let observation = observation.unwrap();
    assert_eq!(observation.member, Some(row("written")));
    let observation = world.observe(Spacing::NONE, Some(Instant::now())).await.unwrap();
    assert_eq!(observation.member, Some(row("new")));
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_only_settled_by_a_list_that_began_after_it() {
    let world = World::new(vec![Ok(listing("old")), Ok(listing("new"))]);
    world.observe(Spacing::NONE, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.roster.doubt("s");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.observe(Spacing::NONE, None).await.unwrap().member, Some(row("new")));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys_answer_for_a_second() {
    let failure = Error::Unreachable { message: "no".to_owned(), effect: Effect::None };
    let world = World::new(vec![Err(failure.clone()), Ok(listing("a"))]);
    assert_eq!(world.observe(Spacing::NONE, None).await, Err(failure.clone()));
    assert_eq!(world.observe(Spacing::NONE, None).await, Err(failure));
    assert_eq!(world.lists(), [0]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.observe(Spacing::NONE, None).await.unwrap().member, Some(row("a")));
    assert_eq!(world.lists().len(), 2);
}

/// Seen failing with each arm of `evidence` removed.
#[tokio::test(start_paused = true)]
async fn a_credential_is_able_by_its_last_list_and_its_last_write() {
    let forbidden = || Error::Forbidden { message: "no".to_owned() };
    let unreachable = || Error::Unreachable { message: "no".to_owned(), effect: Effect::None };
    let list = async |world: &World| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _ = world.observe(Spacing::NONE, Some(Instant::now())).await;
        world.roster.evidence()
    };
    let world = World::new(vec![Err(unreachable()), Ok(listing("a")), Err(unreachable()), Err(forbidden())]);
    assert_eq!(world.roster.evidence(), Evidence::None);
    assert_eq!(list(&world).await, Evidence::None, "an outage before the first list");
    assert_eq!(list(&world).await, Evidence::Able);
    assert_eq!(list(&world).await, Evidence::Able, "an outage");
    assert_eq!(list(&world).await, Evidence::Unable);
    assert_eq!(list(&world).await, Evidence::Able, "a list that succeeds again");
    for (error, expected) in [
        (Some(forbidden()), Evidence::Unable),
        (Some(unreachable()), Evidence::Unable),
        (None, Evidence::Able),
        (Some(unreachable()), Evidence::Able),
    ] {
        world.roster.write_answered(error.as_ref());
        assert_eq!(world.roster.evidence(), expected, "after {error:?}");
    }
    world.roster.write_answered(Some(&forbidden()));
    assert_eq!(list(&world).await, Evidence::Unable, "a list does not take back a refused write");
}

/// Seen failing when a roster that was being read was dropped.
#[tokio::test(start_paused = true)]
async fn the_rosters_of_unused_projects_are_forgotten() {
    let rosters = Rosters::default();
    let project = |number: usize| Project { organization_id: None, id: format!("p{number}"), grant_id: None };
    for number in 0..3_000 {
        drop(rosters.of(&project(number), SubjectKind::Identity));
    }
    let read = rosters.of(&project(1), SubjectKind::Identity);
    rosters.forget_unneeded(|project, _| project.id == "p7");
    assert_eq!(rosters.len(), 2, "one is needed, one is being read");
    drop(read);
    rosters.forget_unneeded(|_, _| false);
    assert!(rosters.is_empty());
}

/// Seen failing when a request that was given up called nobody, and when one with another spacing was followed: a
/// confirmation waited for the distance that decisions keep.
#[tokio::test(start_paused = true)]
async fn those_that_wait_for_a_list_together_are_called_when_the_request_of_the_first_has_ended() {
    let world = World::new(vec![]);
    let called = Arc::new(Mutex::new(Vec::new()));
    let wait = |name: &'static str, urgency, spacing| {
        let called = called.clone();
        world.roster.wait(urgency, spacing, move || called.lock().push(name))
    };
    let first = wait("first", Urgency::Grant, SPACING);
    assert!(matches!(first, Wait::Requests(_)));
    let followers = [wait("second", Urgency::Grant, SPACING), wait("third", Urgency::Grant, SPACING)];
    assert!(followers.iter().all(|wait| matches!(wait, Wait::Follows(_))));
    drop(wait("given up", Urgency::Grant, SPACING));
    let others = [wait("urgent", Urgency::Revoke, SPACING), wait("sooner", Urgency::Grant, Spacing::NONE)];
    assert!(others.iter().all(|wait| matches!(wait, Wait::Requests(_))));
    assert_eq!(*called.lock(), [""; 0]);
    drop(first);
    assert_eq!(*called.lock(), ["second", "third"]);
    let next = wait("next", Urgency::Grant, SPACING);
    assert!(matches!(next, Wait::Requests(_)), "the first request has ended");
    let late = wait("late", Urgency::Grant, SPACING);
    drop(followers);
    drop(next);
    assert_eq!(*called.lock(), ["second", "third", "late"]);
    drop((late, others));
    assert!(world.roster.waits.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_anothers_request_counts_if_it_is_recent_enough() {
    let failure = Error::Unreachable { message: "no".to_owned(), effect: Effect::None };
    let world = World::new(vec![Err(failure.clone()), Ok(listing("a"))]);
    let outcome = |not_before, asked| world.roster.outcome("s", not_before, asked);
    let asked = Instant::now();
    assert_eq!(outcome(asked, asked), None, "nothing was requested");
    let _ = world.observe(Spacing::NONE, Some(asked)).await;
    assert_eq!(outcome(asked, asked), Some(Err(failure)));
    tokio::time::sleep(AFTER_FAILURE).await;
    assert_eq!(outcome(asked, Instant::now()), None, "it failed before that was asked");
    let began = Instant::now();
    world.observe(Spacing::NONE, Some(began)).await.unwrap();
    assert_eq!(outcome(began, asked), Some(Ok(())));
    assert_eq!(outcome(began + LIST, asked), None, "the list began earlier");
}
