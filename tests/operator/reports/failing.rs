//! A revocation that fails: of an object that is being deleted, and of a role whose end has passed.

use serde_json::{Value, json};
use simulator::{Answer, Fault, Order};

use super::{event, metric, notes, times, warnings};
use crate::in_memory::in_memory;
use crate::restart;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, in_seconds, until};
use crate::support::{SOON, eventually};

/// Makes every removal and change of a subject's membership fail.
fn removals_fail(stage: &Stage, subject: &Subject) {
    for method in ["PUT", "PATCH", "DELETE"] {
        stage.at(subject).order(Order::always(Fault::status(503)).on(method, &subject.id));
    }
}

/// Waits until this number of removals was tried.
async fn is_tried(subject: &Subject, times: usize) {
    eventually(SOON, &format!("{times} tries to revoke {}", subject.name), async || {
        let tries = subject.writes().iter().filter(|write| write.method != "POST").count();
        if tries >= times { Ok(()) } else { Err(tries.to_string()) }
    })
    .await;
}

/// Fails unless one failed revocation was reported: an event and a warning with the subject, the roles, the place and
/// the reason.
async fn is_reported_once(stage: &Stage, subject: &Subject, role: &str, because: &str) {
    let object = subject.object();
    let parts = ["could not revoke", role, &subject.id, because, "503"];
    let event = event(stage, &object, "RevokeFailed", &parts).await;
    assert_eq!(event["type"], "Warning", "{event:#}");
    let events = stage.api.events(&object).await;
    assert_eq!(times(stage, &object, "RevokeFailed").await, 1, "{:#?}", notes(&events));
    let lines = warnings(&[stage.namespace(), "could not revoke", role, &subject.id]).await;
    assert_eq!(lines.len(), 1, "one warning: {lines:#?}");
}

async fn overdue_are(expected: impl Fn(f64) -> bool, what: &str) {
    eventually(SOON, &format!("membership_overdue_revocations {what}"), async || {
        let found = metric("membership_overdue_revocations").await;
        if expected(found) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

/// Seen failing without the memory of the last report: an event for each try.
#[tokio::test]
async fn a_deletion_that_fails_is_reported_once_while_it_is_tried_again_and_again() {
    with_stage(async |stage| {
        let before = metric("membership_unrevoked_total").await;
        each(stage.both("stuck"), async |subject| {
            let (object, [a, ..]) = (subject.object(), subject.names());
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            removals_fail(&stage, &subject);
            stage.api.ask_to_delete(&object).await;
            is_tried(&subject, 3).await;
            is_reported_once(&stage, &subject, a, "is being deleted since").await;
            overdue_are(|found| found >= 1.0, "of 1 or more").await;
        })
        .await;
        assert!(metric("membership_unrevoked_total").await >= before + 2.0, "the reports are counted");
        stage.simulator.infisical().clear_orders();
        stage.simulator.zitadel().clear_orders();
        each(["pm/stuck-infisical", "pm/stuck-zitadel"], async |object| {
            stage.api.is_gone(object).await;
            // When it was finally revoked, an event reports it.
            event(&stage, object, "Revoked", &["revoked"]).await;
        })
        .await;
    })
    .await;
}

/// Seen failing with the state of a role decided by its window alone: Expired while it is in force.
#[tokio::test]
async fn an_end_that_fails_is_reported_and_the_role_stays_active_and_overdue() {
    with_stage(async |stage| {
        let subject = stage.user("overdue");
        let (object, [a, b, ..]) = (subject.object(), subject.names());
        let end = in_seconds(4);
        stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
        stage.ready(&object).await;
        removals_fail(&stage, &subject);
        until(end).await;
        is_tried(&subject, 3).await;
        subject.has_now(&[a, b], "while the provider refuses the removal");
        is_reported_once(&stage, &subject, b, "it expired at").await;
        let role = stage.role_is(&object, b, "Active").await;
        assert!(role["message"].as_str().is_some_and(|message| message.starts_with("overdue: ")), "{role:#}");
        assert_eq!(stage.api.get(&object).await["status"]["activeRoles"], format!("{a}, {b}"), "it is in force");
        overdue_are(|found| found >= 1.0, "of 1 or more").await;
        stage.simulator.zitadel().clear_orders();
        let gone = stage.role_is(&object, b, "Expired").await;
        assert_eq!(gone["message"], Value::Null, "{gone:#}");
        assert_eq!(stage.api.get(&object).await["status"]["activeRoles"], a);
        event(&stage, &object, "Expired", &["revoked", b]).await;
        stage.ready(&object).await;
    })
    .await;
}

/// Infisical ends a role itself: its row stays until the operator removes it, and grants nothing. Seen failing with
/// every row considered access: Active.
#[tokio::test(start_paused = true)]
async fn a_role_that_the_provider_has_ended_is_expired_though_its_row_could_not_be_removed() {
    in_memory(async |stage| {
        let subject = stage.identity("ended");
        let (object, end) = (subject.object(), in_seconds(4));
        let admin = json!({"role": "admin", "temporary": {"expirationTime": end}});
        stage.declare(&subject, json!([{"role": "viewer"}, admin])).await;
        stage.ready(&object).await;
        let body = json!({"reqId": "r", "statusCode": 403, "error": "PermissionDenied", "message": "no"});
        let refused = Order::always(Fault::Status(Answer::new(403, body)));
        stage.simulator.infisical().order(refused.on("PATCH", &subject.id));
        until(end).await;
        stage.reason_is(&object, "Forbidden").await;
        assert!(subject.listed().contains("admin"), "its row is still there");
        let role = stage.role_is(&object, "admin", "Expired").await;
        assert_eq!(role["message"], Value::Null, "{role:#}");
        let events = stage.api.events(&object).await;
        assert_eq!(times(&stage, &object, "RevokeFailed").await, 0, "no access is left: {:#?}", notes(&events));
    })
    .await;
}

/// An end that comes after the provider object was deleted: it can't be carried out, and that is reported.
#[tokio::test]
async fn an_end_without_a_provider_is_reported() {
    // The operator that granted the role keeps its connection; one that is started afterwards has none.
    restart::alone(async |plane, stage| {
        let first = restart::operator(plane).await;
        let subject = stage.user("alone");
        let (object, [a, ..]) = (subject.object(), subject.names());
        let end = in_seconds(15);
        stage.declare(&subject, json!([{"role": a, "temporary": {"expirationTime": end}}])).await;
        stage.ready(&object).await;
        first.stop().await.unwrap();
        stage.delete_by_force("membershipprovider/zitadel").await;
        let second = restart::operator(plane).await;
        until(end).await;
        event(&stage, &object, "RevokeFailed", &["could not revoke", a, "it expired at", "zitadel"]).await;
        stage.role_is(&object, a, "Active").await;
        subject.has_now(&[a], "it could not be ended");
        stage.api.apply(&[stage.zitadel_provider()]).await;
        stage.role_is(&object, a, "Expired").await;
        subject.has_now(&[], "when the provider object is back");
        second.stop().await.unwrap();
    })
    .await;
}
