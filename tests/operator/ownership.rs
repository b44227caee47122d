//! Another field manager changes the roles of an object from Git; the next apply from Git takes it back (row 35).

use serde_json::json;

use crate::stage::with_stage;
use crate::subject::each;

/// Seen failing with `roles` as a map by role: the role that was added stayed in force.
#[tokio::test]
async fn the_next_apply_from_git_revokes_a_role_that_another_field_manager_added() {
    with_stage(async |stage| {
        each(stage.both("owned"), async |subject| {
            let [role, added, ..] = subject.names();
            let git = subject.declares(json!([{"role": role}]));
            stage.api.apply(std::slice::from_ref(&git)).await;
            subject.has(&[role]).await;
            let patch = json!([{"op": "add", "path": "/spec/roles/-", "value": {"role": added}}]).to_string();
            let on_call = ["--type=json", "--field-manager=on-call", "--patch", &patch];
            stage.kubectl().ok(&[&["patch", &subject.object()], &on_call[..]].concat()).await;
            subject.has(&[role, added]).await;
            stage.api.apply(std::slice::from_ref(&git)).await;
            subject.has(&[role]).await;
            stage.ready(&subject.object()).await;
        })
        .await;
    })
    .await;
}

/// Seen failing with `temporary` as a map of fields with separate owners: the start stayed.
#[tokio::test]
async fn the_next_apply_from_git_takes_out_a_start_that_another_field_manager_added() {
    with_stage(async |stage| {
        each(stage.both("started"), async |subject| {
            let role = subject.names()[0];
            let git = subject.declares(json!([{"role": role, "temporary": {"duration": "2h"}}]));
            stage.api.apply(std::slice::from_ref(&git)).await;
            stage.role_is(&subject.object(), role, "Active").await;
            let start = json!("2999-01-01T00:00:00Z");
            let patch = json!([{"op": "add", "path": "/spec/roles/0/temporary/startTime", "value": start}]).to_string();
            let on_call = ["--type=json", "--field-manager=on-call", "--patch", &patch];
            stage.kubectl().ok(&[&["patch", &subject.object()], &on_call[..]].concat()).await;
            stage.role_is(&subject.object(), role, "Scheduled").await;
            subject.has(&[]).await;
            stage.api.apply(std::slice::from_ref(&git)).await;
            stage.role_is(&subject.object(), role, "Active").await;
            subject.has(&[role]).await;
        })
        .await;
    })
    .await;
}
