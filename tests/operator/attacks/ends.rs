//! Tricks to keep expired access.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::in_memory::in_memory;
use crate::subject::{each, in_seconds, until};
use crate::support::changed;

/// What a tenant changes while a temporary role runs.
fn tricks() -> Vec<(&'static str, Value)> {
    vec![
        ("suspend", json!({"suspend": true})),
        ("observe", json!({"managementPolicy": "Observe"})),
        ("orphan", json!({"deletionPolicy": "Orphan"})),
        ("refuse", json!({"adoptionPolicy": "Refuse"})),
        ("additive", json!({"roleManagement": "Additive"})),
        ("slow", json!({"resyncInterval": "24h"})),
        ("both", json!({"suspend": true, "managementPolicy": "Observe", "deletionPolicy": "Orphan"})),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_field_of_a_spec_keeps_a_role_beyond_its_end() {
    in_memory(async |stage| {
        let cases: Vec<_> =
            tricks().into_iter().flat_map(|(n, fields)| stage.both(n).map(|s| (n, fields.clone(), s))).collect();
        each(&cases, async |(trick, fields, subject)| {
            let [a, b, ..] = subject.names();
            let end = in_seconds(12);
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            stage.change(subject, fields.clone()).await;
            subject.ends(b, end, trick).await;
            subject.has_now(&[a], trick);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn neither_a_provider_object_nor_a_secret_that_is_taken_away_keeps_a_role_beyond_its_end() {
    in_memory(async |stage| {
        let end = in_seconds(10);
        let subjects = stage.both("cut");
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        for secret in ["secret/infisical", "secret/zitadel", "rolebinding/membership-operator-secrets"] {
            stage.api.ask_to_delete(secret).await;
        }
        stage.api.ask_to_delete("membershipprovider/infisical").await;
        stage.api.ask_to_delete("membershipprovider/zitadel").await;
        each(&subjects, async |subject| subject.ends(subject.names()[1], end, "without its provider").await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_created_again_runs_no_longer_than_the_end_that_a_rule_demands() {
    in_memory(async |stage| {
        let dated =
            |role: &str| json!([stage.rule(&[role], json!({"requireExpirationTime": true, "maxDuration": "1h"}))]);
        stage.centrals(dated("deployer"), dated("PROJECT_OWNER")).await;
        each(stage.both("again"), async |subject| {
            let (object, role) = (subject.object(), subject.names()[1]);
            let end = in_seconds(8);
            let roles = json!([{"role": role, "temporary": {"duration": "30m", "expirationTime": end}}]);
            for _ in 0..3 {
                stage.api.apply(&[stage.central_object(&subject, roles.clone())]).await;
                subject.has(&[role]).await;
                stage.ready(&object).await;
                stage.delete(&object).await;
                subject.has_now(&[], "without its object");
            }
            // Without an end, with a duration only, or with an end that is too late: never.
            let far = in_seconds(2 * 3600);
            for temporary in [json!(null), json!({"duration": "30m"}), json!({"expirationTime": far})] {
                let role = if temporary.is_null() {
                    json!({ "role": role })
                } else {
                    json!({"role": role, "temporary": temporary})
                };
                stage.api.apply(&[stage.central_object(&subject, json!([role]))]).await;
                stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
                subject.has_now(&[], "what isn't allowed");
                stage.delete(&object).await;
            }
            until(end + SignedDuration::from_secs(1)).await;
            stage
                .api
                .apply(&[changed(stage.central_object(&subject, roles.clone()), "/metadata/name", json!(subject.name))])
                .await;
            stage.role_is(&object, role, "Expired").await;
            subject.has_now(&[], "after the end that the rule demanded");
        })
        .await;
    })
    .await;
}
