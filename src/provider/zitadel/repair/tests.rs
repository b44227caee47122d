use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;
use crate::core::member::Entry;
use crate::provider::error::Effect;

/// A server with one user: the member that it has, and the row that search and permissions read. They differ if an
/// event was lost.
#[derive(Clone, Debug, Default)]
struct State {
    written: Option<Vec<String>>,
    row: Option<(Vec<String>, u64)>,
    /// Every list that was written, by any call.
    lists: Vec<Vec<String>>,
    sequence: u64,
    /// Events that aren't in the row yet: the first can't be applied.
    stuck: VecDeque<Event>,
    /// How often the first was tried.
    tries: u32,
    /// Requests left before the operator is killed.
    left: usize,
    /// Another writer adds the member after the next removal of the repair.
    added_by_another: bool,
    /// Search no longer follows the events.
    stands_still: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Added(Vec<String>, u64),
    Changed(Vec<String>, u64),
    Removed,
}

impl State {
    /// An event of this member, and one more try for the one that is stuck.
    fn push(&mut self, event: impl FnOnce(u64) -> Event) -> Receipt {
        self.sequence += 1;
        self.stuck.push_back(event(self.sequence));
        if !self.stands_still {
            self.run();
        }
        Receipt { version: Some(self.sequence), kept: None }
    }

    fn run(&mut self) {
        while let Some(event) = self.stuck.front().cloned() {
            if matches!(event, Event::Added(..)) && self.row.is_some() {
                self.tries += 1;
                if self.tries < 5 {
                    return;
                }
            } else {
                match event {
                    Event::Added(roles, sequence) => self.row = Some((roles, sequence)),
                    // Without a row nothing happens.
                    Event::Changed(roles, sequence) => self.row = self.row.take().map(|_| (roles, sequence)),
                    Event::Removed => self.row = None,
                }
            }
            self.tries = 0;
            self.stuck.pop_front();
        }
    }
}

struct Server {
    state: Mutex<State>,
    /// Accepts no list that has a role twice (v2).
    refuses_repeats: bool,
    /// A role that is no longer configured in the instance.
    unknown: &'static str,
    /// How long a search takes.
    delay: Duration,
}

impl Server {
    fn new(written: Option<&[&str]>, row: Option<&[&str]>) -> Self {
        let list = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect::<Vec<String>>();
        let state = State {
            written: written.map(list),
            row: row.map(|row| (list(row), 1)),
            sequence: 2,
            left: usize::MAX,
            ..State::default()
        };
        Self { state: Mutex::new(state), refuses_repeats: false, unknown: "", delay: Duration::ZERO }
    }

    fn shown(&self) -> Option<Member> {
        let (roles, sequence) = self.state().row.clone()?;
        let entries = roles.into_iter().map(Entry::permanent).collect();
        Some(Member { subject_id: "1".to_owned(), entries, memberships: 1, version: Some(sequence) })
    }

    async fn is_repaired(&self, wanted: &Change) -> Result<Receipt, Error> {
        repair(self, wanted, self.shown().as_ref()).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The roles that are in force.
    fn in_force(&self) -> Vec<String> {
        let mut roles = self.state().row.clone().map(|(roles, _)| roles).unwrap_or_default();
        roles.sort();
        roles
    }

    fn request(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state();
        if state.left == 0 {
            return Err(Error::Unreachable { message: "killed".to_owned(), effect: Effect::Unknown });
        }
        state.left -= 1;
        Ok(state)
    }

    fn check(&self, roles: &[String]) -> Result<(), Error> {
        let repeats = roles.windows(2).any(|pair| pair[0] == pair[1]);
        let refused = roles.is_empty() || self.refuses_repeats && repeats;
        assert!(!refused, "a list that the server refuses: {roles:?}");
        match roles.iter().any(|role| role == self.unknown) {
            true => Err(Error::RoleNotFound { role: None, message: String::new() }),
            false => Ok(()),
        }
    }
}

fn changed() -> Error {
    Error::Changed { message: String::new() }
}

impl Server {
    fn add(&self, roles: &[String]) -> Result<Receipt, Refusal> {
        self.check(roles)?;
        let mut state = self.request()?;
        if state.written.is_some() {
            return Err(Refusal { meaning: Meaning::AMember, ..changed().into() });
        }
        state.written = Some(roles.to_vec());
        state.lists.push(roles.to_vec());
        Ok(state.push(|sequence| Event::Added(roles.to_vec(), sequence)))
    }

    fn change(&self, roles: &[String]) -> Result<Receipt, Refusal> {
        self.check(roles)?;
        let mut state = self.request()?;
        let Some(written) = state.written.clone() else {
            return Err(Refusal { meaning: Meaning::NotAMember, ..changed().into() });
        };
        if written == roles {
            return Ok(Receipt { version: Some(state.sequence), kept: None });
        }
        state.written = Some(roles.to_vec());
        state.lists.push(roles.to_vec());
        Ok(state.push(|sequence| Event::Changed(roles.to_vec(), sequence)))
    }

    fn remove(&self) -> Result<Receipt, Refusal> {
        let mut state = self.request()?;
        if state.written.take().is_none() {
            return Ok(Receipt { version: Some(state.sequence), kept: None });
        }
        let receipt = state.push(|_| Event::Removed);
        if std::mem::take(&mut state.added_by_another) {
            let roles = vec!["BY_ANOTHER".to_owned()];
            state.written = Some(roles.clone());
            state.push(|sequence| Event::Added(roles, sequence));
        }
        Ok(receipt)
    }
}

impl MemberApi for Server {
    async fn write(&self, write: MemberWrite<'_>) -> Result<Receipt, Refusal> {
        match write {
            MemberWrite::Add(roles) => self.add(roles),
            MemberWrite::Change(roles) => self.change(roles),
            MemberWrite::Remove => self.remove(),
        }
    }

    async fn find(&self) -> Result<Option<Member>, Error> {
        tokio::time::sleep(self.delay).await;
        Ok(self.shown())
    }

    fn another_list(&self, roles: &[String]) -> Option<Vec<String>> {
        if self.refuses_repeats {
            (roles.len() > 1).then(|| roles.iter().rev().cloned().collect())
        } else {
            Some(roles.iter().chain(roles.last()).cloned().collect())
        }
    }
}

fn wanted(roles: &[&str]) -> Change {
    if roles.is_empty() {
        return Change::Remove;
    }
    Change::Replace(roles.iter().map(|role| Entry::permanent(*role)).collect())
}

#[tokio::test(start_paused = true)]
async fn each_lost_write_is_repaired() {
    // What the server has, what search shows, what is wanted, and the lists that the repair writes.
    type Case<'a> = (&'a str, Option<&'a [&'a str]>, Option<&'a [&'a str]>, &'a [&'a str], &'a [&'a [&'a str]]);
    let cases: [Case; 7] = [
        ("a lost PUT", Some(&["A"]), Some(&["B"]), &["A"], &[&["A", "A"], &["A"]]),
        ("a lost PUT of two roles", Some(&["A", "B"]), Some(&["B"]), &["A", "B"], &[&["A", "B", "B"], &["A", "B"]]),
        ("an interrupted repair", Some(&["A", "A"]), Some(&["A", "A"]), &["A"], &[&["A"]]),
        ("a lost DELETE", None, Some(&["B"]), &[], &[&["B"], &["B"], &["B"]]),
        ("a DELETE that was never sent", Some(&["B"]), Some(&["B"]), &[], &[]),
        ("a lost POST", Some(&["A"]), None, &["A"], &[&["A"]]),
        (
            "another writer's lost DELETE",
            None,
            Some(&["B"]),
            &["A"],
            &[&["A"], &["A", "A"], &["A"], &["A", "A"], &["A"]],
        ),
    ];
    for (name, written, row, roles, lists) in cases {
        let server = Server::new(written, row);
        server.is_repaired(&wanted(roles)).await.unwrap();
        assert_eq!(server.in_force(), roles, "{name}");
        let state = server.state().clone();
        assert_eq!(state.written.unwrap_or_default(), roles, "{name}");
        assert_eq!(state.lists, lists, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_role_may_be_given_twice_the_order_or_a_new_member_does() {
    for (roles, lists) in [
        (vec!["A", "B"], vec![vec!["B", "A"], vec!["A", "B"]]),
        (vec!["A"], vec![vec!["A"]]), // removed and added
    ] {
        let server = Server { refuses_repeats: true, ..Server::new(Some(&roles), Some(&["C"])) };
        server.is_repaired(&wanted(&roles)).await.unwrap();
        assert_eq!(server.in_force(), roles);
        assert_eq!(server.state().lists, lists);
    }
}

/// What was observed may have been removed while the repair waited for its permit.
#[tokio::test(start_paused = true)]
async fn what_another_writer_has_removed_since_is_not_given_back() {
    let server = Server::new(None, None);
    let before = Server::new(None, Some(&["B"])).shown();
    let repaired = repair(&server, &wanted(&["A", "B"]), before.as_ref()).await;
    assert!(matches!(repaired, Err(Error::Changed { .. })), "{repaired:?}");
    repair(&server, &Change::Remove, before.as_ref()).await.unwrap();
    assert!(server.state().lists.is_empty());
}

/// Other writes to the instance wait meanwhile.
#[tokio::test(start_paused = true)]
async fn a_repair_that_does_not_help_ends_after_three_rounds() {
    let server = Server::new(None, Some(&["B"]));
    server.state().stands_still = true;
    server.is_repaired(&Change::Remove).await.unwrap();
    assert_eq!(server.state().lists.len(), 3);
    assert_eq!(server.in_force(), ["B"]);
}

/// If no row prevents the write, repeating the writes because of a delayed search would change nothing.
#[tokio::test(start_paused = true)]
async fn a_change_that_search_is_late_to_show_is_written_again_once() {
    for row in [None, Some(&["B"][..])] {
        let server = Server::new(Some(&["A"]), row);
        server.state().stands_still = true;
        server.is_repaired(&wanted(&["A"])).await.unwrap();
        assert!(server.state().lists.len() <= 2, "{:?}", server.state().lists);
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_slow_server_a_repair_gives_its_permit_back_after_one_round() {
    let server = Server { delay: LONGEST, ..Server::new(None, Some(&["B"])) };
    server.is_repaired(&Change::Remove).await.unwrap();
    assert_eq!(server.state().lists.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_another_writer_adds_between_two_rounds_stays() {
    let server = Server::new(None, Some(&["B"]));
    server.state().added_by_another = true;
    let repaired = server.is_repaired(&Change::Remove).await;
    assert!(matches!(repaired, Err(Error::Changed { .. })), "{repaired:?}");
    assert_eq!(server.state().written.as_deref(), Some(&["BY_ANOTHER".to_owned()][..]));
}

/// A role that is no longer configured in the instance can't be added, and grants nothing.
#[tokio::test(start_paused = true)]
async fn a_lost_removal_of_a_role_that_is_not_configured_any_more_is_repaired_with_the_other_roles() {
    let server = Server { unknown: "C", ..Server::new(None, Some(&["A", "B", "C"])) };
    server.is_repaired(&Change::Remove).await.unwrap();
    assert!(server.in_force().is_empty());
    assert_eq!(server.state().lists, [["A"], ["A"], ["A"]]);
    // Without another list only the removal is tried.
    let server = Server { unknown: "C", ..Server::new(None, Some(&["C"])) };
    server.is_repaired(&Change::Remove).await.unwrap();
    assert!(server.state().lists.is_empty());
}

fn list() -> impl Strategy<Value = Option<Vec<&'static str>>> {
    proptest::option::of(proptest::sample::subsequence(vec!["A", "B", "C", "D"], 1..4))
}

proptest! {
    /// For all differences between server and search, and all interruptions of the repair: nothing was written that is
    /// neither wanted nor shown, and the repairs of one pass, without interference, result in what is wanted.
    #[test]
    fn a_repair_grants_nothing_whenever_it_is_interrupted(
        written in list(),
        row in list(),
        roles in list(),
        left in 0..12_usize,
        refuses_repeats: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let roles = roles.unwrap_or_default();
        let change = wanted(&roles);
        let server = Server { refuses_repeats, ..Server::new(written.as_deref(), row.as_deref()) };
        let allowed: Vec<&str> = roles.iter().chain(row.iter().flatten()).copied().collect();
        for left in [left, usize::MAX, usize::MAX] {
            server.state().left = left;
            let repaired = runtime.block_on(server.is_repaired(&change));
            for role in server.state().lists.iter().flatten() {
                prop_assert!(allowed.contains(&role.as_str()), "{role} of {:?}", server.state().lists);
            }
            prop_assert!(repaired.is_ok() || left != usize::MAX, "{repaired:?}");
        }
        prop_assert_eq!(server.in_force(), roles);
    }
}
