//! Objects that are taken, and how the API server's reading of them agrees with the operator's.

use membership_operator::api::{Duration, MembershipProvider, ProjectMembership};
use serde_json::{Value, json};

use super::{provider_with, refusals, temporary, with, zitadel};
use crate::support::{changed, with_namespace, without};

/// Applies them all, fails for each that is refused, and returns them as they are stored.
async fn expect_accepted(objects: Vec<Value>) -> Vec<Value> {
    let mut stored = Vec::new();
    with_namespace(async |ns| {
        let found = refusals(&ns, &objects).await;
        let refused: String = objects
            .iter()
            .zip(&found)
            .filter(|(_, found)| !found.is_empty())
            .map(|(object, found)| format!("\n{}\n  expected: accepted\n  there was: {found}\n", object["spec"]))
            .collect();
        assert!(refused.is_empty(), "{refused}");
        for object in &objects {
            let name = format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            stored.push(ns.get(&name).await);
        }
    })
    .await;
    stored
}

#[tokio::test]
async fn every_membership_that_can_be_meant_is_accepted_and_readable() {
    let roles: Vec<Value> = (0..32)
        .map(|n| {
            json!({"role": format!("{n:0>128}"), "temporary": {
                "duration": "0520w0010d0010h0059m0059s",
                "startTime": "2026-12-01T08:00:00.123456789+01:00",
                "expirationTime": "2999-12-31T23:59:59.999999999+00:00",
            }})
        })
        .collect();
    let full = changed(with(0, "/spec/roles", json!(roles)), "/spec/justification", json!("ü".repeat(512)));
    let objects = vec![
        full,
        with(1, "/spec/roles/0/role", json!("PROJECT_OWNER")),
        with(2, "/spec/roles/0/role", json!("ssh-host-bootstrapper")),
        changed(
            with(3, "/spec/project", json!({"id": "7", "organizationId": "69629023906488334"})),
            "/spec/subject",
            json!({"kind": "User", "id": "400623434716941350"}),
        ),
        temporary(4, json!({"expirationTime": "2026-12-01T12:00:00Z"})),
        temporary(5, json!({"duration": "4h", "expirationTime": "2026-12-01T12:00:00Z"})),
        temporary(
            6,
            json!({"startTime": "2026-12-01T12:00:00Z", "duration": "4h", "expirationTime": "2026-12-01T12:00:01Z"}),
        ),
        // A null is as good as nothing where nothing is allowed.
        temporary(7, json!({"startTime": null, "duration": "4h", "expirationTime": null})),
        changed(with(8, "/spec/roleManagement", Value::Null), "/spec/suspend", Value::Null),
        with(9, "/spec/justification", json!("two\nlines")),
        with(10, "/spec/resyncInterval", json!("30s")),
        with(11, "/spec/subject", json!({"kind": "User", "name": "Ada.Lovelace+ops@example.com"})),
        with(12, "/spec/subject", json!({"kind": "Group", "name": "ops-h-l-wv"})),
        with(13, "/spec/project", json!({"name": "Über den Wolken (2)", "organizationId": "6", "grantId": "7"})),
        with(14, "/spec/project", json!({"name": "ü".repeat(200)})),
        with(15, "/spec/project", json!({"name": "東京 · مشروع · פרויקט · e\u{301} 🦀"})),
        with(16, "/spec/justification", json!("⚠\u{fe0f} 👩\u{200d}💻:\tשלום\u{200f}!\r\n")),
    ];
    for stored in expect_accepted(objects).await {
        let read: ProjectMembership = serde_json::from_value(stored.clone()).unwrap();
        let again: ProjectMembership = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(read, again, "{stored}");
    }
}

#[tokio::test]
async fn every_provider_that_can_be_meant_is_accepted_and_readable() {
    let infisical = |i, pointer: &str, value| provider_with(i, &format!("/spec/infisical/{pointer}"), value);
    let zitadel_auth = |i, auth| changed(zitadel(i), "/spec/zitadel/auth", auth);
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let bundle = certificate.repeat(65_536 / certificate.len());
    let objects = vec![
        infisical(0, "auth", json!({"tokenSecretRef": {"name": "infisical.token", "key": "TOKEN_1"}})),
        infisical(1, "url", json!("http://127.0.0.1:18080")),
        infisical(2, "url", json!("https://infisical.tools.svc.cluster.local:8443/infisical/")),
        infisical(3, "url", json!("https://[fd00::1]:443")),
        zitadel(4),
        without(zitadel(5), "/spec/zitadel/organizationId"),
        provider_with(
            6,
            "/spec/limits",
            json!({"readsPerMinute": 1_000_000, "writesPerMinute": 1, "maxInFlight": 1000}),
        ),
        provider_with(7, "/spec/limits", json!({})),
        provider_with(17, "/spec/limits", json!({"minResyncInterval": "1m30s"})),
        provider_with(8, "/spec/resyncInterval", json!("1d")),
        infisical(9, "inviteUsers", json!(true)),
        infisical(18, "organizationSlug", json!("platform-team_2")),
        zitadel_auth(10, json!({"privateKeyJwtSecretRef": {"name": "zitadel", "key": "key.json"}})),
        zitadel_auth(
            11,
            json!({"clientCredentials": {
                "clientIdSecretRef": {"name": "zitadel", "key": "client-id"},
                "clientSecretSecretRef": {"name": "zitadel", "key": "client-secret"},
            }}),
        ),
        changed(zitadel(12), "/spec/zitadel/instanceHost", json!("auth.example.com")),
        changed(zitadel(13), "/spec/zitadel/instanceHost", json!("localhost:28080")),
        provider_with(14, "/spec/caBundle", json!({"inline": bundle})),
        provider_with(15, "/spec/caBundle", json!({"configMapRef": {"name": "kube-root-ca.crt", "key": "ca.crt"}})),
        provider_with(16, "/spec/caBundle", json!({"secretRef": {"name": "infisical-tls"}})),
    ];
    for stored in expect_accepted(objects).await {
        serde_json::from_value::<MembershipProvider>(stored.clone()).unwrap_or_else(|e| panic!("{e}: {stored}"));
    }
}

#[tokio::test]
async fn the_api_server_and_the_operator_agree_on_durations() {
    let taken = [
        "1s",
        "90m",
        "1h30m",
        "1w2d3h4m5s",
        "007d",
        "0h1s",
        "3652d12h",
        "521w5d12h",
        "315576000s",
        "87660h",
        "00000000000000000000000001s",
    ];
    let objects = taken.iter().enumerate().map(|(i, text)| temporary(i, json!({ "duration": text }))).collect();
    expect_accepted(objects).await;
    for text in taken {
        assert!(Duration(text.to_owned()).seconds().is_ok(), "the operator doesn't take {text}");
    }
    for text in super::refused::DURATIONS.iter().flat_map(|(_, texts)| *texts) {
        assert!(Duration((*text).to_owned()).seconds().is_err(), "the operator takes {text:?}");
    }
}
