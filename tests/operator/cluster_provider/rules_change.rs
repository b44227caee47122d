//! Rules and labels that change while grants run.

use jiff::Timestamp;
use serde_json::json;

use super::super::subject::{each, in_seconds, is_empty};
use crate::in_memory::in_memory;
use crate::stage::with_stage;

#[tokio::test]
async fn a_rule_that_is_taken_away_revokes_nothing_and_stops_what_is_new_and_ends_still_end() {
    with_stage(async |stage| {
        let of = |roles: &[&str]| json!([stage.rule(roles, json!({}))]);
        stage.centrals(of(&["viewer", "deployer"]), of(&["PROJECT_OWNER_VIEWER", "PROJECT_OWNER"])).await;
        let subjects = stage.both("withdrawn");
        let end = in_seconds(16);
        for subject in &subjects {
            let [viewer, deployer, ..] = subject.names();
            let roles = json!([{"role": viewer}, {"role": deployer, "temporary": {"expirationTime": end}}]);
            stage.api.apply(&[stage.central_object(subject, roles)]).await;
        }
        for subject in &subjects {
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        }
        for name in ["infisical", "zitadel"] {
            stage.rules_are(name, json!([])).await;
        }
        each(subjects, async |subject| {
            let [viewer, deployer, ..] = subject.names();
            let object = subject.object();
            stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
            assert!(Timestamp::now() < end, "the rules are looked at too late for this test");
            subject.has_now(&[deployer, viewer], "a rule that is gone revokes nothing");
            // No new grant, and no repair either.
            let more = json!([{"role": viewer}, {"role": subject.names()[2]}]);
            stage.api.merge(&object, &json!({"spec": {"roles": more}})).await;
            subject.ends(deployer, end, "without a rule").await;
            stage.reconcile_now(&object).await;
            subject.has_now(&[viewer], "what has no end is held");
            subject.by_hand(&[]);
            stage.reconcile_now(&object).await;
            subject.has_now(&[], "and isn't put back");
            subject.by_hand(&[viewer]);
            stage.delete(&object).await;
            subject.has(&[]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_given_wakes_those_it_lets_in() {
    in_memory(async |stage| {
        stage.centrals(json!([]), json!([])).await;
        let subjects = stage.both("let-in");
        for subject in &subjects {
            stage.api.apply(&[stage.central_object(subject, json!([{"role": subject.names()[0]}]))]).await;
            stage.has_condition(&subject.object(), "Ready", "False", "NotAllowed").await;
        }
        let sign_ins = stage.simulator.infisical().requests().iter().filter(|r| r.path.ends_with("/login")).count();
        for name in ["infisical", "zitadel"] {
            stage.rules_are(name, json!([stage.rule(&["*"], json!({}))])).await;
        }
        each(subjects, async |subject| {
            subject.has(&[subject.names()[0]]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
        let again = stage.simulator.infisical().requests().iter().filter(|r| r.path.ends_with("/login")).count();
        assert_eq!(again, sign_ins, "a rule is no reason to sign in again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_label_lets_a_namespace_in_and_out() {
    in_memory(async |stage| {
        let selector = json!({"selector": {"matchLabels": {"membership": stage.namespace()}}});
        let rules = json!([{"namespaces": selector, "projects": ["*"], "roles": ["viewer"]}]);
        stage.api.apply(&[stage.central("labels", rules)]).await;
        let subject = stage.identity("labelled");
        stage.api.apply(&[stage.by("labels", subject.declares(json!([{"role": "viewer"}])))]).await;
        let object = subject.object();
        stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
        subject.has_now(&[], "before the label");
        let label = async |value| {
            let namespace = format!("namespace/{}", stage.namespace());
            stage.api.merge(&namespace, &json!({"metadata": {"labels": {"membership": value}}})).await;
        };
        label(json!(stage.namespace())).await;
        stage.has_condition(&object, "Ready", "True", "Converged").await;
        subject.has_now(&["viewer"], "with the label");
        label(json!("elsewhere")).await;
        stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
        subject.has_now(&["viewer"], "what was granted is held");
        subject.by_hand(&[]);
        stage.reconcile_now(&object).await;
        subject.has_now(&[], "and isn't put back");
        label(json!(stage.namespace())).await;
        subject.has(&["viewer"]).await;
        assert!(is_empty(&stage.api.get(&object).await["status"]["drift"]));
        stage.delete(&object).await;
        subject.has(&[]).await;
    })
    .await;
}
