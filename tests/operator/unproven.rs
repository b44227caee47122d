//! What isn't proven isn't relied on: a grant that was not confirmed, a clock that disagrees.

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Fault, Order, worlds};

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::support::{SOON, eventually};

#[tokio::test]
async fn a_grant_whose_confirmation_failed_is_revoked_all_the_same() {
    with_stage(async |stage| {
        let infisical = stage.simulator.infisical();
        // The project is listed once, so that the grant needs no list and its confirmation does.
        let mut listed = stage.of_identity("listed", json!([{"role": "viewer"}]));
        listed["spec"]["subject"]["id"] = json!(worlds::INFISICAL_REPORTER);
        stage.api.apply(&[listed]).await;
        stage.ready("pm/listed").await;
        infisical.order(Order::always(Fault::status(500)).on("GET", "identity-memberships"));
        stage.api.apply(&[stage.of_identity("ci", json!([{"role": "viewer"}]))]).await;
        stage.identity_has(&["viewer"]).await;
        eventually(SOON, "status speaks of what may be in force", async || {
            let found = stage.api.get("pm/ci").await;
            let managed = &found["status"]["managedRoles"];
            if *managed == json!([{"role": "viewer"}]) { Ok(()) } else { Err(format!("{:#}", found["status"])) }
        })
        .await;
        stage.api.ask_to_delete("pm/ci").await;
        stage.has_condition("pm/ci", "Ready", "False", "RevokeFailed").await;
        infisical.clear_orders();
        stage.identity_has(&[]).await;
        stage.api.is_gone("pm/ci").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_temporary_role_is_begun_while_two_clocks_disagree() {
    in_memory(async |stage| {
        stage.simulator.zitadel().set_clock_offset(SignedDuration::from_mins(5));
        let roles =
            json!([{"role": "PROJECT_OWNER_VIEWER"}, {"role": "PROJECT_OWNER", "temporary": {"duration": "1h"}}]);
        stage.api.apply(&[stage.of_user("ci", roles)]).await;
        stage.user_has(&["PROJECT_OWNER_VIEWER"]).await;
        eventually(SOON, "Ready reports that the clocks disagree", async || {
            let message = stage.has_condition("pm/ci", "Reconciling", "True", "Progressing").await;
            if message.contains("clock is about 300 s off") { Ok(()) } else { Err(message) }
        })
        .await;
        stage.user_has(&["PROJECT_OWNER_VIEWER"]).await;
        stage.simulator.zitadel().set_clock_offset(SignedDuration::ZERO);
        stage.api.annotate("pm/ci", "membership.dev/reconcile-at", "now").await;
        stage.user_has(&["PROJECT_OWNER", "PROJECT_OWNER_VIEWER"]).await;
        stage.ready("pm/ci").await;
    })
    .await;
}
