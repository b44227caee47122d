//! The operator is killed, and started again: what it had begun is finished, what came meanwhile is caught up with,
//! nothing is done twice and nothing is left behind.
//!
//! It is killed once for all tests here: each brings its own namespace to where the kill is to meet it, and looks at
//! what became of it afterwards.

mod cases;
mod gap;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use control_plane::ControlPlane;
use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::{Barrier, OnceCell};

use super::{operator, turn};
use crate::stage::with_stage_on;
use gap::Gap;

/// What the kill meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Granting(Gap),
    Revoking,
    Curing,
    Healing,
    Ending,
    Forged,
    Converged,
}

const CASES: [Case; 12] = [
    Case::Granting(Gap::List),
    Case::Granting(Gap::Record),
    Case::Granting(Gap::Write),
    Case::Granting(Gap::Answer),
    Case::Granting(Gap::Confirmation),
    Case::Granting(Gap::Status),
    Case::Revoking,
    Case::Curing,
    Case::Healing,
    Case::Ending,
    Case::Forged,
    Case::Converged,
];

/// How often all wait for each other.
const STEPS: usize = 6;

/// The steps that all cases take together.
struct Steps<'a> {
    all: &'a Barrier,
    taken: Cell<usize>,
}

impl Steps<'_> {
    /// All is arranged; the operator is started.
    async fn arranged(&self) {
        self.take().await;
    }

    /// Where the kill is to meet it is reached; the operator is killed.
    async fn reached(&self) {
        self.take().await;
        self.take().await;
    }

    /// What came while no operator ran has come; it is started again.
    async fn repaired(&self) {
        self.take().await;
    }

    /// All is as it is to be; the operator is stopped.
    async fn done(&self) {
        self.take().await;
        self.take().await;
    }

    async fn take(&self) {
        self.taken.set(self.taken.get() + 1);
        self.all.wait().await;
    }
}

static OUTCOMES: OnceCell<BTreeMap<Case, Result<(), String>>> = OnceCell::const_new();

/// Fails where the case failed.
async fn holds(case: Case) {
    let outcomes = OUTCOMES
        .get_or_init(async || {
            let mut outcomes = BTreeMap::new();
            turn(async |plane| outcomes = killed_once(plane).await).await;
            outcomes
        })
        .await;
    if let Some(Err(why)) = outcomes.get(&case) {
        panic!("{why}");
    }
}

async fn killed_once(plane: &ControlPlane) -> BTreeMap<Case, Result<(), String>> {
    let all = Barrier::new(CASES.len() + 1);
    let conductor = async {
        all.wait().await;
        let first = operator(plane).await;
        all.wait().await;
        first.kill().await.unwrap();
        all.wait().await;
        all.wait().await;
        let second = operator(plane).await;
        all.wait().await;
        second.stop().await.unwrap();
        all.wait().await;
    };
    let (outcomes, ()) = tokio::join!(join_all(CASES.map(|case| played(plane, case, &all))), conductor);
    CASES.into_iter().zip(outcomes).collect()
}

/// Plays a case on a stage of its own. One that fails keeps nobody waiting.
async fn played(plane: &ControlPlane, case: Case, all: &Barrier) -> Result<(), String> {
    let steps = Steps { all, taken: Cell::new(0) };
    let play = with_stage_on(plane, async |stage| match case {
        Case::Granting(gap) => gap::granting(plane, &stage, gap, &steps).await,
        Case::Revoking => cases::revoking(&stage, &steps).await,
        Case::Curing => cases::curing(&stage, &steps).await,
        Case::Healing => cases::repair(&stage, &steps).await,
        Case::Ending => cases::ending(&stage, &steps).await,
        Case::Forged => cases::forged(&stage, &steps).await,
        Case::Converged => cases::converged(plane, &stage, &steps).await,
    });
    let outcome = AssertUnwindSafe(play).catch_unwind().await;
    while steps.taken.get() < STEPS {
        steps.take().await;
    }
    outcome.map_err(|failure| {
        let text = failure.downcast_ref::<String>().cloned();
        text.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[tokio::test]
async fn killed_before_its_first_list_it_starts_again() {
    holds(Case::Granting(Gap::List)).await;
}

#[tokio::test]
async fn killed_before_the_record_it_starts_again() {
    holds(Case::Granting(Gap::Record)).await;
}

#[tokio::test]
async fn killed_between_the_record_and_the_write_it_goes_on() {
    holds(Case::Granting(Gap::Write)).await;
}

#[tokio::test]
async fn killed_before_a_write_is_answered_it_writes_it_no_second_time() {
    holds(Case::Granting(Gap::Answer)).await;
}

#[tokio::test]
async fn killed_before_a_write_is_confirmed_it_writes_it_no_second_time() {
    holds(Case::Granting(Gap::Confirmation)).await;
}

#[tokio::test]
async fn killed_before_the_last_status_it_writes_only_that() {
    holds(Case::Granting(Gap::Status)).await;
}

#[tokio::test]
async fn killed_while_it_revokes_it_leaves_nothing_behind() {
    holds(Case::Revoking).await;
}

#[tokio::test]
async fn killed_during_a_repair_it_leaves_no_undeclared_role() {
    holds(Case::Curing).await;
}

#[tokio::test]
async fn killed_between_a_deletion_and_the_new_creation_it_restores_all_roles() {
    holds(Case::Healing).await;
}

#[tokio::test]
async fn an_end_that_came_while_the_operator_was_down_is_carried_out_at_its_start() {
    holds(Case::Ending).await;
}

#[tokio::test]
async fn a_target_forged_while_the_operator_was_down_revokes_nothing_of_another_subject() {
    holds(Case::Forged).await;
}

#[tokio::test]
async fn a_restart_of_what_has_converged_writes_nothing_and_lists_each_project_once() {
    holds(Case::Converged).await;
}
