//! Status, labels, annotations and finalizers forged by users who may write them, without an admission policy: no role
//! of an uninvolved subject is granted or revoked. That the policy refuses all of it is in `tests/cluster/policies`.

use serde_json::{Value, json};

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, with};

/// Labels and annotations that look like the operator's, and one of the operator's with an invalid value.
fn decorated(mut object: Value) -> Value {
    object["metadata"]["labels"] = json!({"membership.dev/managed-by": "operator", "membership.dev/role": "admin"});
    object["metadata"]["annotations"] = json!({
        "membership.dev/reconcile-at": "\u{1b}[2J\u{202e}forged ".repeat(20), "membership.dev/roles": "admin",
        "membership.dev/abandon": "false",
    });
    object
}

#[tokio::test]
async fn forged_labels_annotations_and_finalizers_grant_and_revoke_nothing() {
    with_stage(async |stage| {
        each(stage.both("decorated"), async |subject| {
            let [a, b, ..] = subject.names();
            let other_subject = if subject.is_at_infisical() { stage.identity("other") } else { stage.user("other") };
            other_subject.by_hand(&[b]);
            // With the operator's finalizer before it was ever observed, like one whose status was lost.
            let mut object = decorated(subject.declares(json!([{ "role": a }])));
            object["metadata"]["finalizers"] = json!(["membership.dev/revoke"]);
            stage.api.apply(&[object]).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "decorated");
            // One that only observes, and whose status, forged by the tenant, contains the other subject's role.
            let mut looks_on = decorated(other_subject.declares(json!([{ "role": b }])));
            looks_on["metadata"]["finalizers"] = json!(["membership.dev/revoke"]);
            looks_on = with(looks_on, json!({"managementPolicy": "Observe"}));
            stage.api.apply(&[looks_on]).await;
            stage.reason_is(&other_subject.object(), "Observed").await;
            stage.delete(&other_subject.object()).await;
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "when its object is gone");
            other_subject.has_now(&[b], "when an object that only looked on is gone");
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_record_grants_nothing_that_a_rule_does_not_allow_and_takes_no_admin_away() {
    in_memory(async |stage| {
        let of = |role: &str| json!([stage.rule(&[role], json!({}))]);
        stage.centrals(of("viewer"), of("PROJECT_OWNER_VIEWER")).await;
        each(stage.both("record"), async |subject| {
            let [viewer, owner, admin, _] = subject.names();
            subject.by_hand(&[admin]);
            let additive = json!({"roleManagement": "Additive"});
            let object = subject.object();
            stage.api.apply(&[with(stage.central_object(&subject, json!([{"role": viewer}])), additive)]).await;
            subject.has(&[viewer, admin]).await;
            stage.ready(&object).await;
            // That it holds the other subject's role, that its own is another's, and one that no subject has.
            let past = in_seconds(-60);
            let records = [
                json!([{"role": viewer}, {"role": admin}]),
                json!([{"role": viewer}, {"role": owner}]),
                json!([{"role": viewer}, {"role": admin, "startTime": past, "expirationTime": in_seconds(-30)}]),
            ];
            for record in records {
                let roles = json!([{"role": viewer, "state": "Active"}, {"role": owner, "state": "Active"}]);
                let status = json!({"status": {"managedRoles": record, "roles": roles, "activeRoles": "forged"}});
                stage.api.merge_status(&object, &status).await;
                stage.reconcile_now(&object).await;
                subject.has_now(&[viewer, admin], &record.to_string());
            }
            stage
                .api
                .merge_status(&object, &json!({"status": {"managedRoles": [{"role": viewer}, {"role": admin}]}}))
                .await;
            stage.delete(&object).await;
            subject.has_now(&[admin], "the other subject's, when the object is gone");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_start_or_end_lengthens_nothing_beyond_the_spec_and_a_forged_carried_role_grants_nothing() {
    in_memory(async |stage| {
        each(stage.both("start"), async |subject| {
            let [a, b, c, _] = subject.names();
            let end = in_seconds(10);
            let temporary = json!({"duration": "1h", "expirationTime": end});
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": temporary}])).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            let later = in_seconds(3600);
            let status = json!({"status": {
                "roles": [{"role": a, "state": "Active"}, {"role": b, "state": "Active", "startTime": in_seconds(0), "expirationTime": later}],
                "managedRoles": [{"role": a}, {"role": b, "startTime": in_seconds(0), "expirationTime": later}],
                "carriedRoles": [{"role": c}],
            }});
            stage.api.merge_status(&subject.object(), &status).await;
            subject.ends(b, end, "with a forged end").await;
            subject.has_now(&[a], "with a forged carried role");
        })
        .await;
    })
    .await;
}
