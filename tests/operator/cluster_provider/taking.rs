//! Which unmanaged roles may be removed, and which provider object takes precedence.

use serde_json::json;

use super::super::subject::each;
use crate::in_memory::in_memory;
use crate::stage::set;
use crate::support::assert_contains;

#[tokio::test(start_paused = true)]
async fn who_may_grant_viewer_doesnt_strip_an_admin_by_exclusive() {
    in_memory(async |stage| {
        let of = |role: &str| json!([stage.rule(&[role], json!({}))]);
        stage.centrals(of("viewer"), of("PROJECT_OWNER_VIEWER")).await;
        each(stage.both("strip"), async |subject| {
            let [viewer, _, admin, _] = subject.names();
            subject.by_hand(&[admin]);
            stage.api.apply(&[stage.central_object(&subject, json!([{"role": viewer}]))]).await;
            let object = subject.object();
            let message = stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
            assert_contains(&message, &format!("has role {admin:?}"));
            assert_contains(&message, "set roleManagement: Additive");
            subject.has_now(&[admin], "neither taken nor granted");
            stage.api.merge(&object, &json!({"spec": {"roleManagement": "Additive"}})).await;
            stage.has_condition(&object, "Ready", "True", "Converged").await;
            subject.has_now(&[viewer, admin], "beside the unmanaged one");
            stage.api.merge(&object, &json!({"spec": {"roleManagement": "Exclusive"}})).await;
            stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
            subject.has_now(&[viewer, admin], "what was granted is held");
            // Nor by a role that it may not grant together with a deletion.
            stage.api.merge(&object, &json!({"spec": {"roles": [{"role": admin}]}})).await;
            stage.delete(&object).await;
            subject.has(&[admin]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unmanaged_role_is_removed_if_a_rule_names_it_with_or_without_limits() {
    in_memory(async |stage| {
        let of = |viewer: &str, admin: &str| {
            json!([stage.rule(&[viewer], json!({})), stage.rule(&[admin], json!({"maxDuration": "1h"}))])
        };
        stage.centrals(of("viewer", "admin"), of("PROJECT_OWNER_VIEWER", "PROJECT_OWNER_GLOBAL")).await;
        each(stage.both("clear"), async |subject| {
            let [viewer, _, admin, _] = subject.names();
            subject.by_hand(&[admin]);
            stage.api.apply(&[stage.central_object(&subject, json!([{"role": viewer}]))]).await;
            subject.has(&[viewer]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_several_namespaces_are_layers_each_under_its_own_rules() {
    in_memory(async |stage| {
        let other = stage.another_namespace(json!({})).await;
        let other_name = format!("{}-other", stage.namespace());
        let rules = json!([
            stage.rule(&["viewer"], json!({})),
            {"namespaces": {"names": [other_name]}, "projects": ["*"], "roles": ["deployer"]},
        ]);
        stage.api.apply(&[stage.central("shared", rules)]).await;
        let subject = stage.identity("shared");
        stage.api.apply(&[stage.by("shared", subject.declares(json!([{"role": "viewer"}])))]).await;
        other.apply(&[stage.by("shared", subject.declares(json!([{"role": "deployer"}])))]).await;
        subject.has(&["deployer", "viewer"]).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        // It doesn't have the permissions of another namespace.
        stage.api.apply(&[stage.by("shared", subject.layer("more", json!([{"role": "deployer"}])))]).await;
        stage.has_condition("pm/more", "Ready", "False", "NotAllowed").await;
        other.ask_to_delete(&subject.object()).await;
        other.is_gone(&subject.object()).await;
        subject.has(&["viewer"]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_two_provider_objects_on_one_target_the_clusters_leads_though_it_is_younger() {
    in_memory(async |stage| {
        stage.provider_is_ready("infisical").await;
        stage.provider_is_ready("zitadel").await;
        stage.past_the_creation_of(&stage.zitadel_provider()).await;
        let of = |role: &str| json!([stage.rule(&[role], json!({}))]);
        stage.centrals(of("deployer"), of("PROJECT_OWNER")).await;
        each(stage.both("lead"), async |subject| {
            let [viewer, deployer, ..] = subject.names();
            stage.declare(&subject, json!([{"role": viewer}])).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            let name = if subject.is_at_infisical() { "infisical" } else { "zitadel" };
            let leading = format!("leading-{}", subject.name);
            let object = stage.by(name, subject.layer(&leading, json!([{"role": viewer}])));
            // A rule that permits it is required to take precedence.
            stage.api.apply(&[object]).await;
            stage.has_condition(&format!("pm/{leading}"), "Ready", "False", "NotAllowed").await;
            stage.reconcile_now(&subject.object()).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            stage.delete(&format!("pm/{leading}")).await;
            let object = stage.by(name, subject.layer(&leading, json!([{"role": deployer}])));
            stage.api.apply(&[crate::subject::with(object, json!({"roleManagement": "Additive"}))]).await;
            stage.has_condition(&format!("pm/{leading}"), "Ready", "True", "Converged").await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "Conflict").await;
            assert!(!message.contains(&leading), "expected that no other object is named, there was: {message}");
            assert_eq!(subject.holds(), set(&[viewer, deployer]));
            stage.delete(&subject.object()).await;
            subject.has(&[deployer]).await;
        })
        .await;
    })
    .await;
}
