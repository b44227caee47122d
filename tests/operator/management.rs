//! roleManagement: roles that no object declares are removed (Exclusive) or left unchanged (Additive).

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Fault, Order, RoleRow};

use crate::evidence::{Call, sees};
use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, time};

#[tokio::test]
async fn exclusive_takes_away_what_is_undeclared() {
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

#[tokio::test(start_paused = true)]
async fn exclusive_takes_away_a_unmanaged_temporary_role_as_well() {
    in_memory(async |stage| {
        let subject = stage.identity("exclusive");
        subject.rows_by_hand(vec![RoleRow::permanent("auditor"), RoleRow::temporary("admin", in_seconds(-60), "1d")]);
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        subject.has(&["viewer"]).await;
        assert_eq!(subject.rows(), [RoleRow::permanent("viewer")]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn additive_leaves_unmanaged_roles_as_they_are() {
    in_memory(async |stage| {
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

#[tokio::test(start_paused = true)]
async fn additive_sends_unmanaged_temporary_roles_back_byte_for_byte() {
    in_memory(async |stage| {
        let subject = stage.identity("additive");
        let began = in_seconds(-600) + SignedDuration::from_millis(123);
        let unmanaged = vec![
            RoleRow::permanent("auditor"),
            RoleRow::temporary("deployer", began, "1.5h"),
            RoleRow::temporary("member", began - SignedDuration::from_hours(24), "1 hour"),
        ];
        subject.rows_by_hand(unmanaged.clone());
        let object = subject.declares_with(json!([{"role": "viewer"}]), json!({"roleManagement": "Additive"}));
        stage.api.apply(&[object]).await;
        subject.has(&["viewer", "auditor", "deployer"]).await;
        let expected: Vec<RoleRow> = unmanaged.iter().cloned().chain([RoleRow::permanent("viewer")]).collect();
        assert_eq!(subject.rows(), expected, "the unmanaged rows with the managed one");
        stage.delete(&subject.object()).await;
        assert_eq!(subject.rows(), unmanaged, "the unmanaged rows after the managed one was removed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_additive_membership_goes_when_nothing_is_left_of_it() {
    in_memory(async |stage| {
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

#[tokio::test(start_paused = true)]
async fn a_change_of_role_management_counts_at_once() {
    in_memory(async |stage| {
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

#[tokio::test(start_paused = true)]
async fn an_unmanaged_role_that_was_just_revoked_is_not_given_back() {
    in_memory(async |stage| {
        each(stage.both("revoked"), async |subject| {
            let [a, b, c, d] = subject.names();
            subject.by_hand(&[c, d]);
            let additive = json!({"roleManagement": "Additive"});
            stage.api.apply(&[subject.declares_with(json!([{"role": a}]), additive)]).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, c, d], "beside what others gave");
            // The last list still shows it, and so does the one that the write waits for.
            let (method, list) = subject.call(Call::List);
            let before = subject.lists();
            stage.at(&subject).order(Order::next(Fault::Delay(Duration::from_secs(2))).on(method, &list));
            subject.by_hand(&[a, d]);
            stage.api.merge(&subject.object(), &json!({"spec": {"roles": [{"role": a}, {"role": b}]}})).await;
            sees("a list is asked for", || subject.lists() > before).await;
            subject.by_hand(&[a]);
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, b], "without what was just revoked");
            let given: Vec<_> = subject.writes().into_iter().skip(1).collect();
            assert!(given.iter().all(|write| !write.body.contains(&quoted(c))), "{c} was sent again: {given:#?}");
            assert!(given.iter().all(|write| !write.body.contains(&quoted(d))), "{d} was sent again: {given:#?}");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_member_removed_between_the_list_and_the_write_is_planned_for_anew() {
    in_memory(async |stage| {
        each(stage.both("removed"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[c]);
            let additive = json!({"roleManagement": "Additive"});
            stage.api.apply(&[subject.declares_with(json!([{"role": a}]), additive)]).await;
            stage.ready(&subject.object()).await;
            let (method, path) = subject.call(Call::Change);
            let before = stage.at(&subject).count(method, &path);
            stage.at(&subject).order(Order::next(Fault::Delay(Duration::from_secs(2))).on(method, &path));
            stage.api.merge(&subject.object(), &json!({"spec": {"roles": [{"role": a}, {"role": b}]}})).await;
            sees("the write is under way", || stage.at(&subject).count(method, &path) > before).await;
            subject.by_hand(&[]);
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, b], "and nothing of what went with the member");
        })
        .await;
    })
    .await;
}

fn quoted(role: &str) -> String {
    format!("\"{role}\"")
}
