//! What an object's status and kubectl show: the target, every role, what is managed, the next transition; and the
//! events.

use serde_json::{Value, json};
use simulator::worlds;

use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, in_seconds, time};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn the_status_says_what_is_held_and_what_comes_next() {
    with_stage(async |stage| {
        each(stage.both("status"), async |subject| {
            let [a, b, c, d] = subject.names();
            let (start, end, past) = (in_seconds(1800), in_seconds(3600), in_seconds(-60));
            let roles = json!([
                {"role": c, "temporary": {"startTime": start, "expirationTime": end}},
                {"role": b, "temporary": {"expirationTime": end}},
                {"role": d, "temporary": {"startTime": in_seconds(-120), "expirationTime": past}},
                {"role": a},
            ]);
            stage.declare(&subject, roles).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            let object = stage.api.get(&subject.object()).await;
            let status = &object["status"];
            let states: Vec<(&str, &str)> = status["roles"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|role| (role["role"].as_str().unwrap_or_default(), role["state"].as_str().unwrap_or_default()))
                .collect();
            assert_eq!(
                states,
                [(c, "Scheduled"), (b, "Active"), (d, "Expired"), (a, "Active")],
                "in order: {status:#}"
            );
            assert_eq!(status["roles"][3], json!({"role": a, "state": "Active"}), "a permanent role has no times");
            assert_eq!(time(&status["roles"][0]["startTime"]), start);
            assert_eq!(time(&status["roles"][1]["expirationTime"]), end);
            assert_eq!(status["activeRoles"], format!("{b}, {a}"));
            assert_eq!(time(&status["nextTransitionTime"]), start);
            assert_eq!(status["observedGeneration"], 1);
            let mut managed = vec![(a, Value::Null), (b, status["roles"][1]["expirationTime"].clone())];
            managed.sort_by_key(|(role, _)| *role);
            let shown: Vec<(&str, Value)> = status["managedRoles"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|role| (role["role"].as_str().unwrap_or_default(), role["expirationTime"].clone()))
                .filter(|(role, _)| *role != "no-access")
                .collect();
            assert_eq!(shown, managed, "{status:#}");
            let (provider, front_url, kind, project) = if subject.is_at_infisical() {
                ("infisical", stage.simulator.infisical().url(), "Identity", worlds::INFISICAL_PROJECT)
            } else {
                ("zitadel", stage.simulator.zitadel().url(), "User", worlds::ZITADEL_PROJECT)
            };
            let mut target = json!({
                "provider": format!("MembershipProvider/{}/{provider}", stage.namespace()),
                "endpoint": front_url,
                "projectId": project,
                "subjectKind": kind,
                "subjectId": subject.id,
            });
            if !subject.is_at_infisical() {
                target["organizationId"] = json!(worlds::ZITADEL_PROJECT_ORG);
            }
            assert_eq!(status["target"], target);
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn kubectl_get_shows_the_roles_that_are_held_and_the_next_moment() {
    with_stage(async |stage| {
        let subject = stage.identity("shown");
        let end = in_seconds(3600);
        let roles = json!([{"role": "viewer"}, {"role": "deployer", "temporary": {"expirationTime": end}}]);
        stage.declare(&subject, roles).await;
        stage.ready(&subject.object()).await;
        let text = stage.kubectl().ok(&["get", "pm", "--output=wide"]).await;
        let columns: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let heads = ["NAME", "READY", "ROLES", "NEXT", "PROVIDER", "AGE", "PROJECT", "SUBJECT", "MESSAGE"];
        let cells = [subject.name.as_str(), "True", "viewer, deployer", &end.to_string(), "infisical"];
        assert_eq!((&columns[0][..], &columns[1][..5]), (&heads[..], &cells[..]), "{text}");
        assert_eq!(columns[1][6..8], [worlds::INFISICAL_PROJECT, &subject.id], "{text}");
        assert_eq!(columns[1].last(), Some(&"the provider holds what is declared"), "{text}");
        stage.kubectl().ok(&["wait", "--for=condition=Ready", "pm", "--all", "--timeout=20s"]).await;
    })
    .await;
}

/// Waits for an event about a subject's object with this reason, whose note contains all of `parts`.
async fn has_event(stage: &Stage, subject: &Subject, reason: &str, parts: &[&str]) -> Value {
    eventually(SOON, &format!("an event {reason} about {} with {parts:?}", subject.name), async || {
        let events = stage.api.events(&subject.object()).await;
        let fits = |event: &&Value| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == reason && parts.iter().all(|part| note.contains(part))
        };
        let seen = || events.iter().map(|event| format!("{}: {}", event["reason"], event["note"])).collect::<Vec<_>>();
        events.iter().find(fits).cloned().ok_or_else(|| format!("{:#?}", seen()))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn events_say_what_was_granted_revoked_expired_and_put_right_and_why() {
    in_memory(async |stage| {
        each(stage.both("reported"), async |subject| {
            let [a, b, c, d] = subject.names();
            let fields = json!({"justification": "INC-4711: hotfix rollout", "resyncInterval": "1s"});
            let roles = json!([{"role": a}, {"role": b}, {"role": c, "temporary": {"duration": "6s"}}]);
            stage.api.apply(&[subject.declares_with(roles, fields)]).await;
            subject.has(&[a, b, c]).await;
            let event = has_event(&stage, &subject, "Granted", &["granted", a, b, c, "INC-4711: hotfix rollout"]).await;
            let object = stage.api.get(&subject.object()).await;
            assert_eq!(event["type"], "Normal", "{event:#}");
            assert_eq!(event["regarding"]["kind"], "ProjectMembership", "{event:#}");
            assert_eq!(event["regarding"]["uid"], object["metadata"]["uid"], "{event:#}");
            assert_eq!(event["reportingController"], "membership-operator", "{event:#}");
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": c, "temporary": {"duration": "6s"}}]})).await;
            has_event(&stage, &subject, "Revoked", &["revoked", b, "no longer declared", "INC-4711"]).await;
            has_event(&stage, &subject, "Expired", &["revoked", c, "expired", "INC-4711"]).await;
            stage.ready(&subject.object()).await;
            subject.by_hand(&[a, d]);
            let event = has_event(&stage, &subject, "Drifted", &["revoked", d, "added at the provider"]).await;
            assert_eq!(event["type"], "Warning", "{event:#}");
            stage.ready(&subject.object()).await;
            subject.by_hand(&[]);
            has_event(&stage, &subject, "Drifted", &["granted", a, "again"]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_says_why_an_object_can_not_be_carried_out() {
    in_memory(async |stage| {
        each(stage.both("failed"), async |subject| {
            stage.declare(&subject, json!([{"role": "PROJECT-nobody-knows"}])).await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RoleNotFound").await;
            let event = has_event(&stage, &subject, "Failed", &[&message]).await;
            assert_eq!(event["type"], "Warning", "{event:#}");
        })
        .await;
    })
    .await;
}
