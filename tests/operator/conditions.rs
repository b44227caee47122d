//! Conditions as the table in the API says: which are there, with which status, for each reason.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{Answer, Fault, Order};

use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{each, in_seconds, time, until};
use crate::support::{SOON, eventually};

/// Waits until an object reports `reason`, and fails unless its conditions are as the table says: Ready with `ready`,
/// `second` (Reconciling or Stalled) True for the same reason, and no other.
async fn has_condition(stage: &Stage, object: &str, reason: &str, ready: &str, second: Option<&str>) -> Value {
    stage.reason_is(object, reason).await;
    let found = stage.api.get(object).await;
    let (status, generation) = (&found["status"], &found["metadata"]["generation"]);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let shown: Vec<String> =
        conditions.iter().map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"]).replace('"', "")).collect();
    let mut expected = vec![format!("Ready={ready} {reason}")];
    expected.extend(second.map(|type_| format!("{type_}=True {reason}")));
    if reason == "RoleNotFound" {
        // The declared role is missing, and that is observed.
        expected.push("Drifted=True Drifted".to_owned());
    }
    assert_eq!(shown, expected, "{object}: {conditions:#?}");
    for condition in &conditions {
        assert_eq!(&condition["observedGeneration"], generation, "{object}: {condition:#}");
        let message = condition["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && message.len() <= 1024, "{object}: {condition:#}");
    }
    assert_eq!(&status["observedGeneration"], generation, "{object}: {status:#}");
    status.clone()
}

const TRUE: (&str, Option<&str>) = ("True", None);
const FALSE: (&str, Option<&str>) = ("False", Some("Stalled"));
const UNKNOWN: (&str, Option<&str>) = ("Unknown", Some("Reconciling"));

/// The state before the object is created.
enum Before {
    Nothing,
    /// The subject holds the declared role.
    There,
    /// The provider's response to the first write.
    Answers(u16, &'static str),
}

#[tokio::test]
async fn a_refusal_stalls_and_a_hindrance_reconciles() {
    use Before::{Answers, Nothing, There};
    with_stage(async |stage| {
        let unknown = "00000000-0000-4000-8000-0000000000ff";
        let provider = |name: &str| json!({"providerRef": {"name": name}});
        let cases = [
            ("Converged", TRUE, Nothing, json!({})),
            ("Suspended", TRUE, There, json!({"suspend": true})),
            ("Observed", TRUE, There, json!({"managementPolicy": "Observe"})),
            ("Unreachable", UNKNOWN, Answers(503, "ServiceUnavailable"), json!({})),
            ("ProviderNotFound", UNKNOWN, Nothing, provider("nowhere")),
            ("ProviderNotReady", UNKNOWN, Nothing, provider("secretless")),
            ("InvalidSpec", FALSE, Nothing, provider("zitadel")),
            ("AlreadyExists", FALSE, There, json!({"adoptionPolicy": "Refuse"})),
            ("RoleNotFound", FALSE, Nothing, json!({"roles": [{"role": "nobody-knows"}]})),
            ("SubjectNotFound", FALSE, Nothing, json!({"subject": {"kind": "Identity", "id": unknown}})),
            ("ProjectNotFound", FALSE, Nothing, json!({"project": {"id": unknown}})),
            ("Forbidden", FALSE, Answers(403, "PermissionDenied"), json!({})),
            ("Rejected", FALSE, Answers(400, "BadRequest"), json!({})),
        ];
        let mut secretless = stage.infisical_provider();
        secretless["metadata"]["name"] = json!("secretless");
        secretless["spec"]["infisical"]["auth"] = json!({"tokenSecretRef": {"name": "nowhere", "key": "token"}});
        stage.api.apply(&[secretless]).await;
        each(cases, async |(reason, (ready, second), before, fields)| {
            let subject = stage.identity(&reason.to_lowercase());
            match before {
                Nothing => {}
                There => subject.by_hand(&["viewer"]),
                Answers(status, error) => {
                    let body = json!({"reqId": "r", "statusCode": status, "error": error, "message": "no"});
                    let answer = Fault::Status(Answer::new(status, body));
                    stage.simulator.infisical().order(Order::always(answer).on("POST", &subject.id));
                }
            }
            stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), fields)]).await;
            has_condition(&stage, &subject.object(), reason, ready, second).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_grant_is_under_way_the_object_is_progressing() {
    in_memory(async |stage| {
        let slowly = Order::always(Fault::Delay(Duration::from_secs(2)));
        stage.simulator.infisical().order(slowly.clone().on("POST", "identity-memberships"));
        stage.simulator.zitadel().order(slowly.on("PUT", "members"));
        each(stage.both("slow"), async |subject| {
            let [a, b, ..] = subject.names();
            if !subject.is_at_infisical() {
                subject.by_hand(&[b]);
            }
            stage.declare(&subject, json!([{"role": a, "temporary": {"duration": "1h"}}])).await;
            let status = has_condition(&stage, &subject.object(), "Progressing", "Unknown", Some("Reconciling")).await;
            // What it is about to grant is recorded, and not yet reported as in force.
            let managed = status["managedRoles"].as_array().cloned().unwrap_or_default();
            assert!(managed.iter().any(|role| role["role"] == a && role["expirationTime"].is_string()), "{status:#}");
            assert_eq!(status["roles"][0]["state"], "Scheduled", "{status:#}");
            subject.has(&[a]).await;
            has_condition(&stage, &subject.object(), "Converged", "True", None).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn waiting_turns_ready_false_after_five_minutes() {
    in_memory(async |stage| {
        let subject = stage.identity("patient");
        let nowhere = json!({"providerRef": {"name": "nowhere"}});
        stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), nowhere)]).await;
        has_condition(&stage, &subject.object(), "ProviderNotFound", "Unknown", Some("Reconciling")).await;
        let mut conditions = stage.api.get(&subject.object()).await["status"]["conditions"].clone();
        let ten_minutes_ago = in_seconds(-600);
        for condition in conditions.as_array_mut().unwrap() {
            condition["lastTransitionTime"] = json!(ten_minutes_ago);
        }
        stage.api.merge_status(&subject.object(), &json!({"status": {"conditions": conditions}})).await;
        stage.has_condition(&subject.object(), "Ready", "False", "ProviderNotFound").await;
        // It is waiting nevertheless: the provider may still be created.
        has_condition(&stage, &subject.object(), "ProviderNotFound", "False", Some("Reconciling")).await;
        let mut provider = stage.infisical_provider();
        provider["metadata"]["name"] = json!("nowhere");
        stage.api.apply(&[provider]).await;
        subject.has(&["viewer"]).await;
        has_condition(&stage, &subject.object(), "Converged", "True", None).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_transition_time_moves_only_when_the_status_changes() {
    in_memory(async |stage| {
        each(stage.both("steady"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            let transition = async || {
                stage.api.get(&subject.object()).await["status"]["conditions"][0]["lastTransitionTime"].clone()
            };
            let first = transition().await;
            until(time(&first) + SignedDuration::from_secs(2)).await;
            stage.declare(&subject, json!([{"role": a}, {"role": b}])).await;
            stage.is_seen(&subject.object()).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            assert_eq!(transition().await, first, "{}: Ready was True all the time", subject.name);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_and_limits_of_the_server_make_it_wait() {
    let limited = Fault::infisical_rate_limited(2);
    let refused = Fault::Status(Answer::new(
        401,
        json!({"reqId": "r", "statusCode": 401, "error": "TokenError", "message": "no"}),
    ));
    // Each has its own stage: the whole provider waits.
    let limited = in_memory(async |stage| {
        let subject = stage.identity("limited");
        stage.simulator.infisical().order(Order::next_n(1, limited.clone()).on("POST", &subject.id));
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        has_condition(&stage, &subject.object(), "RateLimited", "Unknown", Some("Reconciling")).await;
        subject.has(&["viewer"]).await;
        has_condition(&stage, &subject.object(), "Converged", "True", None).await;
    });
    let refused = in_memory(async |stage| {
        let subject = stage.identity("refused");
        stage.simulator.infisical().order(Order::always(refused.clone()).on("POST", &subject.id));
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        eventually(SOON, "Unauthorized, or a provider that isn't ready for it", async || {
            let status = stage.api.get(&subject.object()).await["status"].clone();
            let ready = &status["conditions"][0];
            let reason = ready["reason"].as_str().unwrap_or_default();
            let waits = ["Unauthorized", "ProviderNotReady"].contains(&reason) && ready["status"] == "Unknown";
            if waits && status["conditions"][1]["type"] == "Reconciling" { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
    });
    futures::future::join(limited, refused).await;
}
