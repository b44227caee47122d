//! A declaration that is new, or was changed, is decided on a list that began after it came.

use serde_json::json;

use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each};

/// Has the project of `subject` listed, for the sake of another object.
async fn listed(stage: &Stage, subject: &Subject) {
    let beside = if subject.is_at_infisical() { stage.identity("beside") } else { stage.user("beside") };
    stage.declare(&beside, json!([{"role": beside.names()[1]}])).await;
    stage.ready(&beside.object()).await;
}

/// Seen failing with a list of the resync interval's age: what was granted manually is adopted, and revoked later.
#[tokio::test]
async fn a_role_that_was_granted_by_hand_a_moment_ago_is_refused() {
    with_stage(async |stage| {
        each(stage.both("refuse"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[b]);
            listed(&stage, &subject).await;
            subject.by_hand(&[a, b]);
            let mut object = subject.declares(json!([{"role": a}]));
            object["spec"]["adoptionPolicy"] = json!("Refuse");
            object["spec"]["roleManagement"] = json!("Additive");
            stage.api.apply(&[object]).await;
            stage.has_condition(&subject.object(), "Stalled", "True", "AlreadyExists").await;
            assert!(subject.writes().is_empty(), "{:#?}", subject.writes());
        })
        .await;
    })
    .await;
}

/// Seen failing likewise: the object is ready, nothing was sent, and nothing is in force.
#[tokio::test(start_paused = true)]
async fn a_role_that_was_taken_away_by_hand_a_moment_ago_is_granted() {
    in_memory(async |stage| {
        each(stage.both("removed"), async |subject| {
            let [a, ..] = subject.names();
            subject.by_hand(&[a]);
            listed(&stage, &subject).await;
            subject.by_hand(&[]);
            stage.declare(&subject, json!([{"role": a}])).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "when its object is ready");
        })
        .await;
    })
    .await;
}

/// Seen failing likewise: the unmanaged role stays until the next resync.
#[tokio::test(start_paused = true)]
async fn a_role_that_was_added_by_hand_a_moment_ago_goes_with_an_exclusive_declaration() {
    in_memory(async |stage| {
        each(stage.both("added"), async |subject| {
            let [a, _, c, _] = subject.names();
            subject.by_hand(&[a]);
            listed(&stage, &subject).await;
            subject.by_hand(&[a, c]);
            stage.declare(&subject, json!([{"role": a}])).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "when its object is ready");
        })
        .await;
    })
    .await;
}

/// Seen failing with a list for each declaration.
#[tokio::test(start_paused = true)]
async fn many_declarations_that_come_together_are_decided_on_few_lists() {
    in_memory(async |stage| {
        let subjects: Vec<Subject> = (0..15).map(|n| stage.identity(&format!("together-{n}"))).collect();
        for subject in &subjects {
            subject.by_hand(&["viewer"]);
        }
        listed(&stage, &subjects[0]).await;
        let before = subjects[0].lists();
        let objects: Vec<_> = subjects.iter().map(|subject| subject.declares(json!([{"role": "viewer"}]))).collect();
        stage.api.apply(&objects).await;
        for subject in &subjects {
            stage.ready(&subject.object()).await;
        }
        let lists = subjects[0].lists() - before;
        assert!(lists <= 4, "{lists} lists for declarations that came within a second or two");
    })
    .await;
}
