//! The whole lifecycle: grant, change, end, drift, revoke, at both providers.

use serde_json::json;

use crate::stage::with_stage;

#[tokio::test]
async fn a_declared_role_is_granted_and_revoked_when_the_object_is_deleted() {
    with_stage(async |stage| {
        stage
            .kubectl()
            .apply(&[
                stage.of_identity("ci", json!([{"role": "viewer"}])),
                stage.of_user("ci-user", json!([{"role": "PROJECT_OWNER"}])),
            ])
            .await;
        stage.identity_has(&["viewer"]).await;
        stage.user_has(&["PROJECT_OWNER"]).await;
        stage.ready("pm/ci").await;
        stage.ready("pm/ci-user").await;
        stage.delete("pm/ci").await;
        stage.delete("pm/ci-user").await;
        stage.identity_has(&[]).await;
        stage.user_has(&[]).await;
    })
    .await;
}
