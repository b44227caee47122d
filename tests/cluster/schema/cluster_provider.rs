//! ClusterMembershipProvider: the same spec as a provider of one namespace, with rules, namespaces and the operator's
//! own token.

use membership_operator::api::ClusterMembershipProvider;
use serde_json::{Value, json};

use super::refusals;
use crate::support::{assert_contains, changed, plane, provider, with_namespace, without};

/// One that the schema accepts, of a name that no other test has.
pub fn central(ns: &str, index: usize) -> Value {
    let mut object = provider(&format!("{ns}-{index}"));
    object["kind"] = json!("ClusterMembershipProvider");
    for field in ["clientIdSecretRef", "clientSecretSecretRef"] {
        object["spec"]["infisical"]["auth"]["universalAuth"][field]["namespace"] = json!("membership-system");
    }
    object["spec"]["allow"] = json!([rule()]);
    object
}

fn rule() -> Value {
    json!({"namespaces": {"names": ["team-a"]}, "projects": ["6ec3d92b-3251-4084-9a12-ffb509a03ffc"], "roles": ["viewer"]})
}

#[tokio::test]
async fn everything_that_can_be_meant_is_accepted_and_readable() {
    with_namespace(async |ns| {
        let selector = json!({"matchLabels": {"team": "a"}, "matchExpressions": [
            {"key": "example.com/team", "operator": "In", "values": ["a", ""]}, {"key": "x", "operator": "Exists"},
        ]});
        let own =
            json!({"identityId": "24160fbf-24bd-49d7-95de-feb53df75187", "audience": "https://app.infisical.com"});
        let cases: Vec<(&str, Value)> = vec![
            ("/spec/allow", json!([rule()])),
            ("/spec/allow", json!([])),
            ("/spec/allow", json!(vec![rule(); 64])),
            ("/spec/allow/0/namespaces", json!({"selector": selector})),
            ("/spec/allow/0/namespaces", json!({"selector": {}})),
            ("/spec/allow/0/projects", json!(["*"])),
            ("/spec/allow/0/projects", json!(["69629023906488334", "*"])),
            ("/spec/allow/0/subjectKinds", json!(["Identity", "User", "Group"])),
            ("/spec/allow/0/subjects", json!(["24160fbf-24bd-49d7-95de-feb53df75187"])),
            ("/spec/allow/0/roles", json!(["*", "PROJECT_OWNER", "custom-role"])),
            ("/spec/allow/0/maxDuration", json!("4h")),
            ("/spec/allow/0/requireExpirationTime", json!(true)),
            ("/spec/infisical/auth", json!({"kubernetesAuth": own})),
            ("/spec/infisical/auth", json!({"oidcAuth": own})),
            ("/spec/caBundle", json!({"configMapRef": {"namespace": "kube-system", "name": "kube-root-ca.crt"}})),
        ];
        let objects: Vec<Value> =
            cases.iter().enumerate().map(|(i, (at, value))| changed(central(&ns.name, i), at, value.clone())).collect();
        ns.apply(&objects).await;
        for (object, (at, value)) in objects.iter().zip(cases) {
            let name = format!("clustermembershipprovider/{}", object["metadata"]["name"].as_str().unwrap());
            let stored = ns.get(&name).await;
            serde_json::from_value::<ClusterMembershipProvider>(stored.clone())
                .unwrap_or_else(|e| panic!("{e}: {stored}"));
            let kept = stored.pointer(at).unwrap_or_else(|| panic!("{at} isn't kept: {stored}"));
            if at.starts_with("/spec/allow/") {
                assert_eq!(*kept, value, "{at}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_cant_be_meant_is_refused_with_what_to_write() {
    with_namespace(async |ns| {
        let allow = "/spec/allow/0";
        let both = json!({"names": ["team-a"], "selector": {}});
        let in_without = json!({"selector": {"matchExpressions": [{"key": "team", "operator": "In"}]}});
        let exists_with = json!({"selector": {"matchExpressions": [{"key": "team", "operator": "Exists", "values": ["a"]}]}});
        let no_key = json!({"selector": {"matchExpressions": [{"key": "te am", "operator": "Exists"}]}});
        let one = "write exactly one of namespaces.names and namespaces.selector";
        let values = "In and NotIn need values; Exists and DoesNotExist take none";
        let own = json!({"identityId": "24160fbf-24bd-49d7-95de-feb53df75187", "audience": "infisical"});
        let cases: Vec<(String, Value, &str)> = vec![
            (format!("{allow}/namespaces"), json!({}), one),
            (format!("{allow}/namespaces"), both, one),
            (format!("{allow}/namespaces"), in_without, values),
            (format!("{allow}/namespaces"), exists_with, values),
            (format!("{allow}/namespaces"), no_key, "write a label's key"),
            (format!("{allow}/namespaces"), json!({"selector": {"matchLabels": {"team": "a\u{200b}"}}}), "should match"),
            ("/spec/infisical/auth".to_owned(), json!({"oidcAuth": {"identityId": "i", "audience": "infisical\u{200b}"}}), "write the token's audience"),
            (format!("{allow}/namespaces/names"), json!([]), "should have at least 1 items"),
            (format!("{allow}/namespaces/names"), json!(["Team A"]), "write a namespace's name"),
            (format!("{allow}/namespaces/names"), json!(["a", "a"]), "Duplicate value"),
            (format!("{allow}/projects"), json!(["web-*"]), "or \"*\" for every project"),
            (format!("{allow}/projects"), json!([]), "should have at least 1 items"),
            (format!("{allow}/roles"), json!(["view*"]), "or \"*\" for every role"),
            (format!("{allow}/subjects"), json!(["*"]), "write the id as the provider shows it"),
            (format!("{allow}/subjectKinds"), json!(["Machine"]), "supported values: \"Identity\", \"User\", \"Group\""),
            (format!("{allow}/maxDuration"), json!("4 hours"), "write weeks, days, hours"),
            (format!("{allow}/maxDuration"), json!("0s"), "this is a duration of zero"),
            ("/spec/allow".to_owned(), json!(vec![rule(); 65]), "must have at most 64 items"),
            ("/spec/infisical/auth".to_owned(), json!({"kubernetesAuth": own, "oidcAuth": own}), "write exactly one way to sign in"),
            ("/spec/infisical/auth".to_owned(), json!({}), "universalAuth, kubernetesAuth, oidcAuth or tokenSecretRef"),
            ("/spec/infisical/auth".to_owned(), json!({"tokenSecretRef": {"name": "i", "key": "t"}}), "tokenSecretRef.namespace: Required value"),
            ("/spec/caBundle".to_owned(), json!({"secretRef": {"name": "ca"}}), "secretRef.namespace: Required value"),
            ("/spec/zitadel".to_owned(), json!({"url": "https://z.example", "auth": {"personalAccessTokenSecretRef": {"namespace": "a", "name": "b", "key": "c"}}}), "write exactly one of infisical and zitadel"),
        ];
        let objects: Vec<Value> =
            cases.iter().enumerate().map(|(i, (at, value, _))| changed(central(&ns.name, i), at, value.clone())).collect();
        for ((at, value, sentence), found) in cases.iter().zip(refusals(&ns, &objects).await) {
            assert!(found.contains(sentence), "{at} {value}\n  expected: {sentence}\n  there was: {found}");
        }
        for field in ["namespaces", "projects", "roles"] {
            let lacks = without(central(&ns.name, 99), &format!("{allow}/{field}"));
            assert_contains(&ns.try_apply(&[lacks]).await.stderr, &format!("{field}: Required value"));
        }
    })
    .await;
}

#[tokio::test]
async fn the_server_that_it_means_cant_be_changed_and_its_rules_can() {
    with_namespace(async |ns| {
        let object = central(&ns.name, 0);
        ns.apply(std::slice::from_ref(&object)).await;
        let moved = changed(object.clone(), "/spec/infisical/url", json!("https://eu.infisical.com"));
        assert_contains(&ns.try_apply(&[moved]).await.stderr, "url can't be changed");
        ns.apply(&[changed(object.clone(), "/spec/allow/0/roles", json!(["*"]))]).await;
        ns.apply(&[without(object, "/spec/allow")]).await;
    })
    .await;
}

#[tokio::test]
async fn kubectl_shows_and_explains_it() {
    with_namespace(async |ns| {
        ns.apply(&[central(&ns.name, 0)]).await;
        let name = format!("{}-0", ns.name);
        let status = json!({"observedGeneration": 1, "api": "projects/v1", "memberships": 42, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Verified", "message": "fine", "lastTransitionTime": "2026-12-01T08:00:00Z",
        }]});
        ns.set_status(&format!("clustermembershipprovider/{name}"), &status).await;
        let wide = ns.ok(&["get", "cmp", &name, "--output=wide"]).await;
        let cells: Vec<Vec<&str>> = wide.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[0], ["NAME", "READY", "MEMBERSHIPS", "URL", "API", "AGE", "MESSAGE"]);
        assert_eq!(cells[1][..5], [name.as_str(), "True", "42", "https://app.infisical.com", "projects/v1"]);
        assert_eq!(ns.get(&format!("clustermembershipprovider/{name}")).await["spec"]["resyncInterval"], "10m");
        let explained = plane().await.kubectl().ok(&["explain", "clustermembershipprovider.spec.allow"]).await.unwrap();
        for field in ["namespaces", "projects", "subjectKinds", "subjects", "roles", "maxDuration", "requireExpirationTime"] {
            assert_contains(&explained, field);
        }
        assert_contains(&explained, "Only what a rule allows is allowed");
    })
    .await;
}
