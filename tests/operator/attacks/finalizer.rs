//! The operator's finalizer removed by a tenant: added again while the object exists, and what the object granted is
//! revoked nevertheless when it was deleted without the operator.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Order};

use crate::evidence::Call;
use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::{Stage, binary, shared, with_stage};
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually};

const OURS: &str = "membership.dev/revoke";

/// Removes the operator's finalizer.
async fn strip(stage: &Stage, object: &str) {
    finalizers_are(stage, object, json!(null)).await;
}

async fn finalizers_are(stage: &Stage, object: &str, finalizers: Value) {
    stage.api.merge(object, &json!({"metadata": {"finalizers": finalizers}})).await;
}

/// Waits until an object has the operator's finalizer.
async fn is_held(stage: &Stage, object: &str) {
    eventually(SOON, &format!("{object} has our finalizer"), async || {
        let there = stage.api.get(object).await["metadata"]["finalizers"].clone();
        if there == json!([OURS]) { Ok(()) } else { Err(there.to_string()) }
    })
    .await;
}

/// Nothing is removed at a subject's provider until the orders are cleared.
fn nothing_is_revoked(stage: &Stage, subject: &Subject) {
    for method in ["PUT", "PATCH", "DELETE"] {
        stage.at(subject).order(Order::always(Fault::status(503)).on(method, ""));
    }
}

/// Deletes an object that the operator can't revoke yet, and removes the operator's finalizer: the object is gone, and
/// what it granted remains.
async fn tear_out(stage: &Stage, subject: &Subject) {
    nothing_is_revoked(stage, subject);
    stage.api.ask_to_delete(&subject.object()).await;
    stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
    strip(stage, &subject.object()).await;
    stage.api.is_gone(&subject.object()).await;
}

#[tokio::test]
async fn it_is_put_back_at_once_for_any_object_and_provider() {
    with_stage(async |stage| {
        let cases = [
            ("plain", json!({})),
            ("additive", json!({"roleManagement": "Additive"})),
            ("suspended", json!({"suspend": true})),
            ("observing", json!({"managementPolicy": "Observe"})),
        ];
        each(cases, async |(case, fields)| {
            each(stage.both(case), async |subject| {
                let [a, ..] = subject.names();
                stage.declare(&subject, json!([{ "role": a }])).await;
                stage.ready(&subject.object()).await;
                stage.change(&subject, fields.clone()).await;
                strip(&stage, &subject.object()).await;
                is_held(&stage, &subject.object()).await;
                stage.has_event(&subject.object(), "Failed", "is added again").await;
                subject.has_now(&[a], case);
            })
            .await;
        })
        .await;
        // If nothing can be read either.
        each(stage.both("unseen"), async |subject| {
            stage.declare(&subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
            let (method, path) = subject.call(Call::List);
            stage.at(&subject).order(Order::always(Fault::status(503)).on(method, &path));
            stage.reconcile_now(&subject.object()).await;
            stage.waits(&subject.object(), "Unreachable").await;
            strip(&stage, &subject.object()).await;
            is_held(&stage, &subject.object()).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn who_strips_and_deletes_in_one_breath_loses_the_access_all_the_same() {
    with_stage(async |stage| {
        for round in 0..3 {
            each(stage.both(&format!("quick-{round}")), async |subject| {
                let [a, b, ..] = subject.names();
                stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
                subject.has(&[a, b]).await;
                is_held(&stage, &subject.object()).await;
                strip(&stage, &subject.object()).await;
                stage.api.ask_to_delete(&subject.object()).await;
                stage.api.is_gone(&subject.object()).await;
                subject.has(&[]).await;
            })
            .await;
        }
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test]
async fn what_an_object_granted_that_was_torn_out_is_revoked_when_its_provider_is_back() {
    with_stage(async |stage| {
        let subjects = stage.every("torn");
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            tear_out(&stage, subject).await;
            stage.has_event(&subject.object(), "Failed", "what it granted is revoked").await;
            subject.has_now(&[a, b], "while nothing can be revoked");
        })
        .await;
        stage.simulator.infisical().clear_orders();
        stage.simulator.zitadel().clear_orders();
        each(&subjects, async |subject| subject.has(&[]).await).await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test]
async fn what_a_new_object_of_the_same_name_declares_stays_and_so_do_unmanaged_roles() {
    with_stage(async |stage| {
        each(stage.both("again"), async |subject| {
            let [a, b, c, d] = subject.names();
            let additive = json!({"roleManagement": "Additive"});
            let declares = |roles: &[&str]| {
                let roles: Vec<Value> = roles.iter().map(|role| json!({ "role": role })).collect();
                subject.declares_with(json!(roles), additive.clone())
            };
            subject.by_hand(&[d]);
            stage.api.apply(&[declares(&[a, b])]).await;
            stage.ready(&subject.object()).await;
            tear_out(&stage, &subject).await;
            stage.api.apply(&[declares(&[b, c])]).await;
            stage.at(&subject).clear_orders();
            subject.has(&[b, c, d]).await;
            stage.ready(&subject.object()).await;
            let held = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
            assert_eq!(held.as_array().map(Vec::len), Some(2), "{held}");
            stage.delete(&subject.object()).await;
            subject.has_now(&[d], "when the new object is gone as well");
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test]
async fn an_object_that_others_finalizers_keep_is_revoked_without_ours() {
    with_stage(async |stage| {
        each(stage.both("kept"), async |subject| {
            const THEIRS: &str = "example.com/theirs";
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&subject.object()).await;
            finalizers_are(&stage, &subject.object(), json!([OURS, THEIRS])).await;
            nothing_is_revoked(&stage, &subject);
            stage.api.ask_to_delete(&subject.object()).await;
            stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            finalizers_are(&stage, &subject.object(), json!([THEIRS])).await;
            stage.has_event(&subject.object(), "Failed", "what it granted is revoked").await;
            stage.at(&subject).clear_orders();
            subject.has(&[]).await;
            finalizers_are(&stage, &subject.object(), json!(null)).await;
            stage.api.is_gone(&subject.object()).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_object_that_the_operator_let_go_of_is_not_missed() {
    with_stage(async |stage| {
        let orphan = json!({"deletionPolicy": "Orphan"});
        each(stage.both("gone").into_iter().zip([json!({}), orphan.clone()]), async |(subject, fields)| {
            let [a, ..] = subject.names();
            stage.api.apply(&[subject.declares_with(json!([{ "role": a }]), fields)]).await;
            stage.ready(&subject.object()).await;
            stage.delete(&subject.object()).await;
            // What is granted now must not be revoked.
            subject.by_hand(&[a]);
            let written = subject.writes().len();
            tokio::time::sleep(Duration::from_secs(2)).await;
            subject.has_now(&[a], "given by hand after its object was gone");
            subject.was_written(written, "after its object was gone");
        })
        .await;
        // Removed by force as an orphan, it leaves what any orphan leaves.
        let subject = stage.identity("orphan");
        stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), orphan)]).await;
        stage.ready(&subject.object()).await;
        strip(&stage, &subject.object()).await;
        stage.api.ask_to_delete(&subject.object()).await;
        stage.api.is_gone(&subject.object()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        subject.has_now(&["viewer"], "an orphan");
        let log = std::fs::read_to_string(shared().await.1.log_file()).unwrap();
        let (missed, gone) =
            ("what it granted is revoked", format!("namespace=\"{}\" name=\"gone-", stage.namespace()));
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(missed) && line.contains(&gone)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    })
    .await;
}

#[tokio::test]
async fn an_object_torn_out_while_the_watch_was_broken_off_is_missed_in_the_next_list() {
    alone(async |plane, stage| {
        let own = Operator::start(plane, binary(), "relisting").await.unwrap();
        let subjects = stage.both("unseen");
        let stays = stage.both("stays");
        each(subjects.iter().chain(&stays), async |subject| {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        own.signal("STOP").unwrap();
        plane.kill_apiserver().await.unwrap();
        plane.start_apiserver().await.unwrap();
        each(&subjects, async |subject| {
            strip(&stage, &subject.object()).await;
            stage.api.ask_to_delete(&subject.object()).await;
            stage.api.is_gone(&subject.object()).await;
        })
        .await;
        own.signal("CONT").unwrap();
        each(&subjects, async |subject| subject.has(&[]).await).await;
        for subject in &stays {
            subject.has_now(&[subject.names()[0]], "beside what was torn out");
        }
        own.stop().await.unwrap();
    })
    .await;
}
