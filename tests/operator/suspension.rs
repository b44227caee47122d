//! suspend: nothing is granted, nothing repaired; what was granted is held, and still ends.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Order};

use crate::evidence::{Call, condition};
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, is_empty, time, with};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn an_object_suspended_from_the_start_grants_nothing() {
    with_stage(async |stage| {
        each(stage.both("suspended"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[c]);
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "10s"}}]);
            let fields = json!({"suspend": true, "resyncInterval": "1s"});
            stage.api.apply(&[subject.declares_with(roles, fields)]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
            let drifted = stage.has_condition(&subject.object(), "Drifted", "True", "Drifted").await;
            assert!([a, b, c].iter().all(|role| drifted.contains(role)), "what differs: {drifted}");
            subject.is_listed(2).await;
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[c], "while its object is suspended");
            assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
            let object = stage.api.get(&subject.object()).await;
            assert!(is_empty(&object["status"]["managedRoles"]), "{object:#}");
            // A start counts from the first acceptance, which is the resumption.
            stage.change(&subject, json!({"suspend": false})).await;
            subject.has(&[a, b]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn suspending_holds_what_was_granted_and_repairs_nothing() {
    in_memory(async |stage| {
        each(stage.both("held"), async |subject| {
            let [a, b, c, d] = subject.names();
            let object = subject.declares_with(json!([{"role": a}, {"role": b}]), json!({"resyncInterval": "1s"}));
            stage.api.apply(&[object]).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            stage.change(&subject, json!({"suspend": true})).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
            subject.by_hand(&[b, c]);
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": d}]})).await;
            let written = subject.writes().len();
            subject.is_listed(2).await;
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[b, c], "while its object is suspended");
            assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
            // What was granted and is held is no drift, even where the spec doesn't declare it any more.
            drift_is(&stage, &subject, json!({a: "Missing", c: "Unexpected", d: "Missing"})).await;
            stage.change(&subject, json!({"suspend": false})).await;
            subject.has(&[a, d]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_is_ready_from_any_earlier_state() {
    in_memory(async |stage| {
        let cases = [
            ("converged", "viewer", "infisical", "Converged"),
            ("stalled", "nobody-knows", "infisical", "RoleNotFound"),
            ("waiting", "viewer", "nowhere", "ProviderNotFound"),
        ];
        each(cases, async |(case, role, provider, reason)| {
            let subject = stage.identity(case);
            let fields = json!({"providerRef": {"name": provider}});
            stage.api.apply(&[subject.declares_with(json!([{ "role": role }]), fields)]).await;
            stage.reason_is(&subject.object(), reason).await;
            stage.change(&subject, json!({"suspend": true})).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
        })
        .await;
    })
    .await;
}

/// Seen failing with drift computed for objects in Observe alone: `status.drift` stays empty.
#[tokio::test(start_paused = true)]
async fn drift_is_accurate_while_an_object_is_suspended() {
    in_memory(async |stage| {
        each(stage.both("drifting"), async |subject| {
            let [a, b, c, _] = subject.names();
            let roles = json!([{"role": a}, {"role": b}]);
            let fields = json!({"suspend": true, "resyncInterval": "1s"});
            stage.api.apply(&[subject.declares_with(roles.clone(), fields)]).await;
            drift_is(&stage, &subject, json!({a: "Missing", b: "Missing"})).await;
            subject.by_hand(&[a, c]);
            drift_is(&stage, &subject, json!({b: "Missing", c: "Unexpected"})).await;
            // Another declaration of the target, which is carried out, grants one of the roles.
            let other = with(
                subject.layer(&format!("other-{}", subject.name), json!([{"role": b}])),
                json!({"roleManagement": "Additive"}),
            );
            stage.api.apply(&[other]).await;
            drift_is(&stage, &subject, json!({c: "Unexpected"})).await;
            subject.by_hand(&[a, b]);
            drift_is(&stage, &subject, json!({})).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
            // A suspended object that is changed is compared with the change.
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": c}]})).await;
            drift_is(&stage, &subject, json!({c: "Missing"})).await;
            stage.change(&subject, json!({"suspend": false, "roles": roles})).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            drift_is(&stage, &subject, json!({})).await;
        })
        .await;
    })
    .await;
}

/// What rules do not permit is not shown either. Seen failing with the rules left out of the comparison.
#[tokio::test(start_paused = true)]
async fn a_suspended_object_that_no_rule_allows_shows_nothing_of_the_provider() {
    in_memory(async |stage| {
        stage.centrals(json!([stage.rule(&["viewer"], json!({}))]), json!([])).await;
        let subject = stage.identity("forbidden");
        subject.by_hand(&["admin"]);
        let object = stage.central_object(&subject, json!([{"role": "deployer"}]));
        stage.api.apply(&[with(object, json!({"suspend": true, "resyncInterval": "1s"}))]).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
        stage.reconcile_now(&subject.object()).await;
        let status = stage.api.get(&subject.object()).await["status"].clone();
        assert!(!status.to_string().contains("admin"), "{status:#}");
        // One that a rule allows is compared.
        stage.change(&subject, json!({"roles": [{"role": "viewer"}]})).await;
        drift_is(&stage, &subject, json!({"admin": "Unexpected", "viewer": "Missing"})).await;
    })
    .await;
}

/// Seen failing with names that are not looked up while their object is suspended: no drift.
#[tokio::test(start_paused = true)]
async fn a_suspended_object_that_names_its_subject_is_compared_too() {
    in_memory(async |stage| {
        let subject = stage.identity("by-name");
        let fields = json!({"suspend": true, "subject": {"kind": "Identity", "name": "by-name"}});
        stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), fields)]).await;
        drift_is(&stage, &subject, json!({"viewer": "Missing"})).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Suspended").await;
        assert!(subject.writes().is_empty(), "{:#?}", subject.writes());
    })
    .await;
}

/// Waits until `status.drift` has these roles, each with its kind, and `Drifted` reports the same.
async fn drift_is(stage: &Stage, subject: &Subject, expected: Value) {
    eventually(SOON, &format!("{}: status.drift is {expected}", subject.name), async || {
        let status = stage.api.get(&subject.object()).await["status"].clone();
        let drift = status["drift"].as_array().into_iter().flatten();
        let found: serde_json::Map<String, Value> =
            drift.map(|drift| (drift["role"].as_str().unwrap_or_default().to_owned(), drift["kind"].clone())).collect();
        let drifted = condition(&json!({ "status": status }), "Drifted").is_some();
        let agrees = json!(found) == expected && drifted != found.is_empty();
        if agrees { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_suspended_object_granted_still_ends() {
    in_memory(async |stage| {
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

#[tokio::test(start_paused = true)]
async fn a_suspended_object_that_is_deleted_revokes_what_it_granted() {
    in_memory(async |stage| {
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

/// Seen to fail without `record::speaks_of_another`: what had been granted was not recorded.
#[tokio::test(start_paused = true)]
async fn an_object_suspended_while_its_grant_is_looked_at_still_revokes_it() {
    const LOOK: Duration = Duration::from_secs(4);
    in_memory(async |stage| {
        let subject = stage.identity("looked-at");
        let infisical = stage.simulator.infisical();
        let (method, list) = subject.call(Call::List);
        // Beside a role that another object holds and another writer removed, a grant carries no unmanaged role.
        stage.declare(&subject, json!([{"role": "deployer"}])).await;
        stage.ready(&subject.object()).await;
        stage.change(&subject, json!({"suspend": true})).await;
        stage.reason_is(&subject.object(), "Suspended").await;
        subject.by_hand(&[]);
        stage.reconcile_now(&subject.object()).await;
        // Another writer restores it before the grant is confirmed, so that the next write relies on a list.
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

#[tokio::test(start_paused = true)]
async fn another_object_on_the_target_leaves_what_a_suspended_one_holds() {
    in_memory(async |stage| {
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
            stage.has_condition(&format!("pm/{other}"), "Ready", "True", "Converged").await;
            stage.reconcile_now(&format!("pm/{other}")).await;
            subject.has_now(&[a, b], "with an Exclusive object beside a suspended one");
        })
        .await;
    })
    .await;
}
