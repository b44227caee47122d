//! roleManagement: roles that no object declares go (Exclusive) or stay as they are (Additive).

use jiff::SignedDuration;
use serde_json::json;
use simulator::RoleRow;

use crate::stage::with_stage;
use crate::subject::{each, in_seconds, time};

#[tokio::test]
async fn exclusive_takes_away_what_nobody_declares() {
    with_stage(async |stage| {
        each(stage.both("exclusive"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[b, c]);
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn exclusive_takes_away_a_foreign_temporary_role_as_well() {
    with_stage(async |stage| {
        let subject = stage.identity("exclusive");
        subject.rows_by_hand(vec![RoleRow::permanent("auditor"), RoleRow::temporary("admin", in_seconds(-60), "1d")]);
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        subject.has(&["viewer"]).await;
        assert_eq!(subject.rows(), [RoleRow::permanent("viewer")]);
    })
    .await;
}

#[tokio::test]
async fn additive_leaves_foreign_roles_as_they_are() {
    with_stage(async |stage| {
        each(stage.both("additive"), async |subject| {
            let [a, b, c, d] = subject.names();
            subject.by_hand(&[b, d]);
            let roles = json!([{"role": a}, {"role": c, "temporary": {"duration": "4s"}}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"roleManagement": "Additive"}))]).await;
            subject.has(&[a, b, c, d]).await;
            let end = time(&stage.role_is(&subject.object(), c, "Active").await["expirationTime"]);
            subject.ends(c, end, "in an Additive object").await;
            subject.has_now(&[a, b, d], "after the end of the Additive object's temporary role");
            stage.delete(&subject.object()).await;
            subject.has_now(&[b, d], "after the Additive object was deleted");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn additive_sends_foreign_temporary_roles_back_byte_for_byte() {
    with_stage(async |stage| {
        let subject = stage.identity("additive");
        let began = in_seconds(-600) + SignedDuration::from_millis(123);
        let foreign = vec![
            RoleRow::permanent("auditor"),
            RoleRow::temporary("deployer", began, "1.5h"),
            RoleRow::temporary("member", began - SignedDuration::from_hours(24), "1 hour"),
        ];
        subject.rows_by_hand(foreign.clone());
        let object = subject.declares_with(json!([{"role": "viewer"}]), json!({"roleManagement": "Additive"}));
        stage.api.apply(&[object]).await;
        subject.has(&["viewer", "auditor", "deployer"]).await;
        let expected: Vec<RoleRow> = foreign.iter().cloned().chain([RoleRow::permanent("viewer")]).collect();
        assert_eq!(subject.rows(), expected, "the foreign rows with ours");
        stage.delete(&subject.object()).await;
        assert_eq!(subject.rows(), foreign, "the foreign rows after ours went");
    })
    .await;
}

#[tokio::test]
async fn an_additive_membership_goes_when_nothing_is_left_of_it() {
    with_stage(async |stage| {
        each(stage.both("additive"), async |subject| {
            let [a, ..] = subject.names();
            let roles = json!([{"role": a, "temporary": {"duration": "4s"}}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"roleManagement": "Additive"}))]).await;
            subject.has(&[a]).await;
            subject.is_member(0).await;
            stage.role_is(&subject.object(), a, "Expired").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_change_of_role_management_counts_at_once() {
    with_stage(async |stage| {
        each(stage.both("changed"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[b]);
            let object = subject.declares_with(json!([{"role": a}]), json!({"roleManagement": "Additive"}));
            stage.api.apply(&[object]).await;
            subject.has(&[a, b]).await;
            stage.change(&subject, json!({"roleManagement": "Exclusive"})).await;
            subject.has(&[a]).await;
        })
        .await;
    })
    .await;
}
