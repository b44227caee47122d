//! Changes while a pass waits for the provider's quota take effect when its turn comes.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Order};

use crate::evidence::recorded_roles;
use crate::in_memory::in_memory;
use crate::stage::Stage;
use crate::subject::Subject;
use crate::support::{SOON, changed, eventually};

/// ZITADEL takes one write at a time: this one occupies it for some time.
async fn keep_the_turn(stage: &Stage, blocker: &Subject, object: Value) {
    let adding = "/management/v1/projects/*/members";
    let zitadel = stage.simulator.zitadel();
    zitadel.order(Order::next(Fault::Delay(Duration::from_secs(16))).on("POST", adding));
    stage.api.apply(&[object]).await;
    eventually(SOON, "the write that keeps the others waiting", async || {
        // The others of the test have been added before.
        if blocker.writes().is_empty() { Err(format!("{:#?}", zitadel.requests().last())) } else { Ok(()) }
    })
    .await;
}

/// Waits until an object has recorded what it is about to grant.
async fn is_about_to_grant(stage: &Stage, subject: &Subject) {
    eventually(SOON, &format!("{} has written down its grants", subject.name), async || {
        let there = stage.api.get(&subject.object()).await;
        let is_recorded = recorded_roles(&there).as_array().is_some_and(|roles| !roles.is_empty());
        if is_recorded { Ok(()) } else { Err(format!("{there:#}")) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_goes_while_a_grant_waits_for_its_turn_stops_it() {
    in_memory(async |stage| {
        let rule = json!([stage.rule(&["PROJECT_OWNER_VIEWER"], json!({}))]);
        stage.centrals(json!([]), rule).await;
        let (blocker, waiting) = (stage.user("blocker"), stage.user("waiting"));
        let roles = json!([{"role": "PROJECT_OWNER_VIEWER"}]);
        keep_the_turn(&stage, &blocker, stage.central_object(&blocker, roles.clone())).await;
        stage.api.apply(&[stage.central_object(&waiting, roles)]).await;
        is_about_to_grant(&stage, &waiting).await;
        stage.rules_are("zitadel", json!([])).await;
        blocker.has(&["PROJECT_OWNER_VIEWER"]).await;
        stage.has_condition(&waiting.object(), "Ready", "False", "NotAllowed").await;
        waiting.has_now(&[], "after its rule went");
        assert!(waiting.writes().is_empty(), "{:#?}", waiting.writes());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_goes_while_a_grant_waits_for_its_turn_stops_it() {
    in_memory(async |stage| {
        let (blocker, waiting) = (stage.user("blocker"), stage.user("waiting"));
        let [a, ..] = waiting.names();
        // No pass observes it before the provider object changes.
        stage.ready("membershipprovider/zitadel").await;
        stage.api.ask_to_delete("secret/zitadel").await;
        keep_the_turn(&stage, &blocker, blocker.declares(json!([{"role": a}]))).await;
        stage.declare(&waiting, json!([{"role": a, "temporary": {"duration": "1h"}}])).await;
        is_about_to_grant(&stage, &waiting).await;
        stage.api.merge("membershipprovider/zitadel", &json!({"spec": {"resyncInterval": "9m"}})).await;
        stage.has_condition("membershipprovider/zitadel", "Ready", "False", "Unauthorized").await;
        // The write that was sent is carried out, and the next one would be due then.
        blocker.has(&[a]).await;
        stage.has_condition(&waiting.object(), "Reconciling", "True", "ProviderNotReady").await;
        waiting.has_now(&[], "after its secret went");
        assert!(waiting.writes().is_empty(), "{:#?}", waiting.writes());
        stage.api.apply(&stage.secrets()).await;
        waiting.has(&[a]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_refused_while_a_repair_waits_costs_no_sibling_its_role() {
    in_memory(async |stage| {
        let (blocker, subject) = (stage.user("blocker"), stage.user("shared"));
        let [a, b, ..] = subject.names();
        stage.declare(&subject, json!([{"role": a}])).await;
        stage.api.apply(&[subject.layer("sibling", json!([{"role": b}]))]).await;
        subject.has(&[a, b]).await;
        stage.ready(&subject.object()).await;
        stage.ready("pm/sibling").await;
        // No pass observes it before the provider object changes.
        let wrong = changed(stage.secrets()[1].clone(), "/stringData/token", json!("of-nobody"));
        stage.api.apply(&[wrong]).await;
        keep_the_turn(&stage, &blocker, blocker.declares(json!([{"role": a}]))).await;
        subject.by_hand(&[b]);
        let written = subject.writes().len();
        stage.api.annotate(&subject.object(), "membership.dev/reconcile-at", "now").await;
        subject.is_listed(1).await;
        stage.api.merge("membershipprovider/zitadel", &json!({"spec": {"resyncInterval": "9m"}})).await;
        stage.has_condition("membershipprovider/zitadel", "Ready", "False", "Unauthorized").await;
        blocker.has(&[a]).await;
        stage.has_condition(&subject.object(), "Reconciling", "True", "ProviderNotReady").await;
        subject.has_now(&[b], "with a credential that is refused");
        assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_waits_for_a_budget_of_its_own_making_keeps_no_other_waiting() {
    in_memory(async |stage| {
        let subject = stage.user("victim");
        let [a, b, ..] = subject.names();
        // Another provider object of the same server, with a limit that its memberships wait at for minutes.
        stage.past_the_creation_of(&stage.zitadel_provider()).await;
        let slow = changed(stage.zitadel_provider(), "/metadata/name", json!("slow"));
        let mut slow = changed(slow, "/spec/resyncInterval", json!("1h"));
        slow["spec"]["limits"] = json!({"readsPerMinute": 1});
        stage.api.apply(&[slow]).await;
        stage.ready("membershipprovider/slow").await;
        let rival = changed(subject.layer("rival", json!([{"role": a}])), "/spec/providerRef/name", json!("slow"));
        stage.api.apply(&[rival]).await;
        stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "10s"}}])).await;
        subject.has(&[a, b]).await;
        let end = crate::subject::time(&stage.role_is(&subject.object(), b, "Active").await["expirationTime"]);
        subject.ends(b, end, "with a rival that waits").await;
        stage.ready(&subject.object()).await;
        stage.delete(&subject.object()).await;
        subject.has(&[]).await;
    })
    .await;
}
