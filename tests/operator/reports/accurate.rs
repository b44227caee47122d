//! Events and statuses report what happened.

use serde_json::{Value, json};
use simulator::{Answer, Fault, Order};

use super::{event, metric, notes, times};
use crate::evidence::condition;
use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, is_empty, with};
use crate::support::{SOON, eventually};

/// Seen failing with a role considered repaired that was recorded before: `Drifted … it was taken away`.
#[tokio::test]
async fn the_start_of_a_window_and_a_longer_one_are_grants_and_a_role_taken_away_is_drift() {
    with_stage(async |stage| {
        each(stage.both("window"), async |subject| {
            let (object, [a, b, ..]) = (subject.object(), subject.names());
            let (start, end) = (in_seconds(3), in_seconds(3600));
            let window = |end| json!({"startTime": start, "expirationTime": end});
            let roles = |end| json!([{"role": a}, {"role": b, "temporary": window(end)}]);
            let fields = json!({"resyncInterval": "1s"});
            stage.api.apply(&[subject.declares_with(roles(end), fields.clone())]).await;
            stage.ready(&object).await;
            subject.has(&[a, b]).await;
            event(&stage, &object, "Granted", &["granted ", b]).await;
            stage.role_is(&object, b, "Active").await;
            stage.ready(&object).await;
            stage.api.apply(&[subject.declares_with(roles(in_seconds(7200)), fields)]).await;
            stage.is_seen(&object).await;
            stage.ready(&object).await;
            let events = stage.api.events(&object).await;
            assert_eq!(times(&stage, &object, "Drifted").await, 0, "nothing was removed: {:#?}", notes(&events));
            // No other writer was involved so far; now one removes it.
            subject.by_hand(&[a]);
            event(&stage, &object, "Drifted", &["granted ", b, "again"]).await;
        })
        .await;
    })
    .await;
}

/// Seen failing with every role of a change reported to the object whose pass it was.
#[tokio::test(start_paused = true)]
async fn events_about_one_declaration_do_not_name_roles_of_another() {
    in_memory(async |stage| {
        each(stage.both("pair"), async |subject| {
            let [a, b, ..] = subject.names();
            let (ours, theirs) = (subject.object(), format!("pm/other-{}", subject.name));
            let fields = json!({"resyncInterval": "1s"});
            let other = subject.layer(&format!("other-{}", subject.name), json!([{ "role": b }]));
            stage.api.apply(&[subject.declares_with(json!([{ "role": a }]), fields.clone())]).await;
            stage.api.apply(&[with(other, fields)]).await;
            subject.has(&[a, b]).await;
            stage.ready(&ours).await;
            stage.ready(&theirs).await;
            for _ in 0..3 {
                subject.by_hand(&[]);
                subject.has(&[a, b]).await;
                stage.ready(&ours).await;
                stage.ready(&theirs).await;
            }
            stage.delete(&theirs).await;
            subject.has(&[a]).await;
            event(&stage, &theirs, "Revoked", &[b]).await;
            for (object, own, others) in [(&ours, a, b), (&theirs, b, a)] {
                event(&stage, object, "Drifted", &[own]).await;
                let notes = notes(&stage.api.events(object).await);
                let names = |note: &String| note.split([' ', ',', ':']).any(|word| word == others);
                assert!(!notes.iter().any(names), "{object}: {others} is another's, there was {notes:#?}");
            }
        })
        .await;
    })
    .await;
}

/// Seen failing with the finalizer removed without a report: Ready=True with managedRoles.
#[tokio::test(start_paused = true)]
async fn a_deleted_object_that_another_controller_keeps_says_that_its_access_is_gone() {
    in_memory(async |stage| {
        const KEEPER: &str = "example.com/keep";
        each(stage.both("kept"), async |subject| {
            let (object, [a, ..]) = (subject.object(), subject.names());
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let finalizers = stage.api.get(&object).await["metadata"]["finalizers"].clone();
            let mut all = finalizers.as_array().cloned().unwrap_or_default();
            all.push(json!(KEEPER));
            stage.api.merge(&object, &json!({"metadata": {"finalizers": all}})).await;
            stage.api.ask_to_delete(&object).await;
            let released = eventually(SOON, "only the other finalizer is left", async || {
                let there = stage.api.get(&object).await;
                if there["metadata"]["finalizers"] == json!([KEEPER]) { Ok(there) } else { Err(format!("{there:#}")) }
            })
            .await;
            subject.has_now(&[], "when it was released");
            let (status, ready) = (&released["status"], condition(&released, "Ready").cloned().unwrap_or_default());
            assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Progressing")), "{status:#}");
            let message = ready["message"].as_str().unwrap_or_default();
            assert!(message.contains("the access was revoked") && message.contains(KEEPER), "{message}");
            assert!(is_empty(&status["managedRoles"]) && status["activeRoles"] == "", "{status:#}");
            assert_eq!(status["roles"][0]["state"], "Expired", "{status:#}");
            stage.api.merge(&object, &json!({"metadata": {"finalizers": Value::Null}})).await;
            stage.api.is_gone(&object).await;
        })
        .await;
    })
    .await;
}

/// Seen failing with every refusal reported by the pass that met it: the first declaration is Forbidden, and its deletion
/// "couldn't be revoked yet".
#[tokio::test(start_paused = true)]
async fn what_one_declaration_is_refused_is_neither_reported_of_another_nor_keeps_it_from_being_deleted() {
    in_memory(async |stage| {
        each(stage.both("beside"), async |subject| {
            let (object, [a, b, ..]) = (subject.object(), subject.names());
            let roles = json!([{"role": a}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"roleManagement": "Additive"}))]).await;
            subject.has(&[a]).await;
            stage.ready(&object).await;
            // Only removals are accepted from now on.
            let body = json!({"reqId": "r", "statusCode": 403, "error": "PermissionDenied", "message": "no"});
            let no = if subject.is_at_infisical() { Fault::Status(Answer::new(403, body)) } else { Fault::status(403) };
            let writes = [("PATCH", &*subject.id), ("PUT", &subject.id), ("POST", &subject.id), ("POST", "*/members")];
            for (method, path) in writes {
                stage.at(&subject).order(Order::always(no.clone()).on(method, path));
            }
            let refused = format!("pm/refused-{}", subject.name);
            // A temporary role is recorded first, so that the passes of every declaration try to grant it.
            let layer = subject.layer(&refused[3..], json!([{"role": b, "temporary": {"duration": "1h"}}]));
            stage.api.apply(&[with(layer, json!({"roleManagement": "Additive"}))]).await;
            stage.reason_is(&refused, "Forbidden").await;
            stage.reconcile_now(&object).await;
            stage.has_condition(&object, "Ready", "True", "Converged").await;
            stage.delete(&object).await;
            subject.has_now(&[], "after its object was deleted");
            event(&stage, &object, "Revoked", &[a]).await;
            let notes = notes(&stage.api.events(&object).await);
            assert!(!notes.iter().any(|note| note.contains("RevokeFailed") || note.contains("Failed")), "{notes:#?}");
            let names = |note: &String| note.split([' ', ',', ':']).any(|word| word == b);
            assert!(!notes.iter().any(names), "{b} is another's: {notes:#?}");
            stage.reason_is(&refused, "Forbidden").await;
        })
        .await;
    })
    .await;
}

/// Seen failing without `Memory::unsent`: the role is Expired without a message, and no event reports it.
#[tokio::test]
async fn a_grant_whose_window_passes_before_it_can_be_given_is_reported_and_never_sent() {
    with_stage(async |stage| {
        // Of two writes a minute one is reserved for revocations.
        let limits = json!({"limits": {"writesPerMinute": 2}});
        stage.api.apply(&[with(stage.infisical_provider(), limits)]).await;
        stage.provider_is_ready("infisical").await;
        let before = metric("membership_missed_grants_total").await;
        let (first, late) = (stage.identity("first"), stage.identity("late"));
        stage.declare(&first, json!([{"role": "viewer"}])).await;
        first.has(&["viewer"]).await;
        stage.ready(&first.object()).await;
        stage.declare(&late, json!([{"role": "deployer", "temporary": {"duration": "5s"}}])).await;
        let role = stage.role_is(&late.object(), "deployer", "Expired").await;
        assert!(role["message"].as_str().unwrap_or_default().starts_with("not granted"), "{role:#}");
        event(&stage, &late.object(), "NotGranted", &["deployer"]).await;
        assert_eq!(times(&stage, &late.object(), "NotGranted").await, 1);
        assert!(metric("membership_missed_grants_total").await >= before + 1.0, "it is counted");
        let sent: Vec<_> = late.writes().into_iter().filter(|write| write.method != "DELETE").collect();
        assert!(sent.is_empty(), "expected no grant, there was {sent:#?}");
        stage.has_condition(&late.object(), "Ready", "True", "Converged").await;
    })
    .await;
}
