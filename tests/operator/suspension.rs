//! suspend: nothing is granted, nothing repaired; what was granted is held, and still ends.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Order};

use crate::evidence::Call;
use crate::stage::with_stage;
use crate::subject::{each, is_empty, time};

#[tokio::test]
async fn an_object_suspended_from_the_start_grants_nothing() {
    with_stage(async |stage| {
        each(stage.both("suspended"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[c]);
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "10s"}}]);
            let fields = json!({"suspend": true, "resyncInterval": "1s"});
            stage.api.apply(&[subject.declares_with(roles, fields)]).await;
            stage.says(&subject.object(), "Ready", "Unknown", "Suspended").await;
            subject.is_listed(2).await;
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[c], "while its object is suspended");
            assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
            let object = stage.api.get(&subject.object()).await;
            assert!(is_empty(&object["status"]["managedRoles"]), "{object:#}");
            // A start counts from the first acceptance, and that is the resumption.
            stage.change(&subject, json!({"suspend": false})).await;
            subject.has(&[a, b]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn suspending_holds_what_was_granted_and_repairs_nothing() {
    with_stage(async |stage| {
        each(stage.both("held"), async |subject| {
            let [a, b, c, d] = subject.names();
            let object = subject.declares_with(json!([{"role": a}, {"role": b}]), json!({"resyncInterval": "1s"}));
            stage.api.apply(&[object]).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            stage.change(&subject, json!({"suspend": true})).await;
            // Ready keeps its value and says why it may not be so any more.
            let ready = stage.reason_is(&subject.object(), "Suspended").await;
            assert_eq!(ready["status"], "True", "{ready:#}");
            subject.by_hand(&[b, c]);
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": d}]})).await;
            let written = subject.writes().len();
            subject.is_listed(2).await;
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[b, c], "while its object is suspended");
            assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
            let conditions = stage.api.get(&subject.object()).await["status"]["conditions"].clone();
            let types: Vec<&Value> = conditions.as_array().into_iter().flatten().map(|c| &c["type"]).collect();
            assert_eq!(types, ["Ready"], "{conditions:#}");
            stage.change(&subject, json!({"suspend": false})).await;
            subject.has(&[a, d]).await;
            stage.says(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn ready_keeps_its_last_value_while_suspended() {
    with_stage(async |stage| {
        let cases = [
            ("kept-true", "viewer", "infisical", "Converged", "True"),
            ("kept-false", "nobody-knows", "infisical", "RoleNotFound", "False"),
            ("kept-unknown", "viewer", "nowhere", "ProviderNotFound", "Unknown"),
        ];
        each(cases, async |(case, role, provider, reason, status)| {
            let subject = stage.identity(case);
            let fields = json!({"providerRef": {"name": provider}});
            stage.api.apply(&[subject.declares_with(json!([{ "role": role }]), fields)]).await;
            let before = stage.reason_is(&subject.object(), reason).await;
            assert_eq!(before["status"], status, "{before:#}");
            stage.change(&subject, json!({"suspend": true})).await;
            let suspended = stage.reason_is(&subject.object(), "Suspended").await;
            assert_eq!(suspended["status"], status, "{case}: {suspended:#}");
            assert_eq!(suspended["lastTransitionTime"], before["lastTransitionTime"], "{case}: {suspended:#}");
            let conditions = stage.api.get(&subject.object()).await["status"]["conditions"].clone();
            assert_eq!(conditions.as_array().map(Vec::len), Some(1), "{case}: {conditions:#}");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_a_suspended_object_granted_still_ends() {
    with_stage(async |stage| {
        each(stage.both("ending"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "5s"}}])).await;
            subject.has(&[a, b]).await;
            let end = time(&stage.role_is(&subject.object(), b, "Active").await["expirationTime"]);
            stage.change(&subject, json!({"suspend": true})).await;
            subject.ends(b, end, "suspended").await;
            stage.role_is(&subject.object(), b, "Expired").await;
            subject.has_now(&[a], "after the end of a suspended object's role");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_suspended_object_that_is_deleted_revokes_what_it_granted() {
    with_stage(async |stage| {
        each(stage.both("deleted"), async |subject| {
            let [a, _, c, _] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.change(&subject, json!({"suspend": true})).await;
            stage.reason_is(&subject.object(), "Suspended").await;
            subject.by_hand(&[a, c]);
            stage.delete(&subject.object()).await;
            subject.has(&[c]).await;
        })
        .await;
    })
    .await;
}

/// Seen to fail without `record::speaks_of_another`: what had been granted was written down nowhere.
#[tokio::test]
async fn an_object_suspended_while_its_grant_is_looked_at_still_revokes_it() {
    const LOOK: Duration = Duration::from_secs(4);
    with_stage(async |stage| {
        let subject = stage.identity("looked-at");
        let infisical = stage.simulator.infisical();
        let (method, list) = subject.call(Call::List);
        // Beside a role that another object holds and somebody took away a grant carries nothing of others.
        stage.declare(&subject, json!([{"role": "deployer"}])).await;
        stage.ready(&subject.object()).await;
        stage.change(&subject, json!({"suspend": true})).await;
        stage.reason_is(&subject.object(), "Suspended").await;
        subject.by_hand(&[]);
        stage.reconcile_now(&subject.object()).await;
        // Somebody puts it back before the grant is confirmed, so that the next write relies on a list.
        infisical.order(Order::next(Fault::DelayAfter(Duration::from_secs(3))).on("POST", &subject.id));
        stage.api.apply(&[subject.layer("granted", json!([{"role": "viewer"}]))]).await;
        subject.has(&["viewer"]).await;
        infisical.order(Order::nth(2, Fault::Delay(LOOK)).on(method, &list));
        subject.by_hand(&["deployer"]);
        subject.is_listed(2).await;
        // The pass waits for its list, and has read the object before.
        stage.api.merge("pm/granted", &json!({"spec": {"suspend": true}})).await;
        subject.by_hand(&["deployer", "viewer"]);
        stage.reason_is("pm/granted", "Suspended").await;
        let managed = stage.api.get("pm/granted").await["status"]["managedRoles"].clone();
        assert_eq!(managed, json!([{"role": "viewer"}]), "what it granted is written down");
        stage.delete("pm/granted").await;
        subject.has_now(&["deployer"], "after the object that granted viewer was deleted");
    })
    .await;
}

#[tokio::test]
async fn another_object_on_the_target_leaves_what_a_suspended_one_holds() {
    with_stage(async |stage| {
        each(stage.both("beside"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            stage.change(&subject, json!({"suspend": true})).await;
            stage.reason_is(&subject.object(), "Suspended").await;
            let other = format!("other-{}", subject.name);
            stage.api.apply(&[subject.layer(&other, json!([{"role": b}]))]).await;
            subject.has(&[a, b]).await;
            stage.says(&format!("pm/{other}"), "Ready", "True", "Converged").await;
            stage.reconcile_now(&format!("pm/{other}")).await;
            subject.has_now(&[a, b], "with an Exclusive object beside a suspended one");
        })
        .await;
    })
    .await;
}
