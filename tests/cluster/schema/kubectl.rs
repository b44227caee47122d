//! What users see with kubectl.

use serde_json::{Value, json};

use super::cluster_provider::central;
use super::{with, zitadel};
use crate::support::{assert_contains, changed, membership, plane, provider, with_namespace};

/// A table of kubectl as rows of cells; several spaces part the cells.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

fn ready(message: &str) -> Value {
    json!([{"type": "Ready", "status": "True", "reason": "Converged", "message": message, "lastTransitionTime": "2026-12-01T08:00:00Z"}])
}

/// Where the columns of a row of heads end that stand in a terminal 120 characters wide.
fn within_120(text: &str) {
    let widest = text.lines().map(|line| line.trim_end().chars().count()).max();
    assert!(widest <= Some(120), "{widest:?} characters:\n{text}");
}

#[tokio::test]
async fn kubectl_get_pm_shows_what_is_in_effect_in_120_characters() {
    with_namespace(async |ns| {
        let name = "ci-deployer-of-the-web-shop-staging";
        ns.apply(&[changed(membership(name), "/spec/providerRef/name", json!("infisical-eu"))]).await;
        let status = json!({
            "observedGeneration": 1,
            "conditions": ready("as declared"),
            "activeRoles": "viewer, deployer, auditor",
            "nextTransitionTime": "2026-12-01T10:00:00Z",
        });
        ns.set_status(&format!("pm/{name}"), &status).await;
        let heads = ["NAME", "READY", "ROLES", "NEXT", "PROVIDER", "AGE"];
        let cells = [name, "True", "viewer, deployer, auditor", "2026-12-01T10:00:00Z", "infisical-eu"];
        let narrow = ns.ok(&["get", "pm"]).await;
        within_120(&narrow);
        let rows = table(&narrow);
        assert_eq!(rows[0], heads);
        assert_eq!(rows[1][..5], cells);
        let wide = ns.ok(&["get", "pm", "--output=wide"]).await;
        let rows = table(&wide);
        assert_eq!(rows[0], [&heads[..], &["PROJECT", "SUBJECT", "MESSAGE"]].concat());
        let ids = ["6ec3d92b-3251-4084-9a12-ffb509a03ffc", "24160fbf-24bd-49d7-95de-feb53df75187"];
        assert_eq!(rows[1][6..], [ids[0], ids[1], "as declared"]);
        let named = with(0, "/spec/project", json!({"name": "web-a1b2"}));
        ns.apply(&[changed(named, "/spec/subject", json!({"kind": "Group", "name": "ops"}))]).await;
        let wide = ns.ok(&["get", "pm", "case-0", "--output=wide", "--no-headers"]).await;
        assert!(wide.contains("web-a1b2   ops"), "{wide}");
    })
    .await;
}

#[tokio::test]
async fn kubectl_get_mp_shows_whether_the_server_is_ready() {
    with_namespace(async |ns| {
        ns.apply(&[provider("infisical"), zitadel(0)]).await;
        let status = json!({
            "observedGeneration": 1, "conditions": ready("signed in"), "api": "projects/v1/memberships", "memberships": 42,
        });
        ns.set_status("membershipprovider/infisical", &status).await;
        within_120(&ns.ok(&["get", "mp"]).await);
        let wide = ns.ok(&["get", "mp", "--output=wide"]).await;
        let rows = table(&wide);
        assert_eq!(rows[0], ["NAME", "READY", "MEMBERSHIPS", "URL", "API", "AGE", "MESSAGE"]);
        assert_eq!(rows[1][..2], ["case-0", "https://auth.example.com"]);
        let cells = ["infisical", "True", "42", "https://app.infisical.com", "projects/v1/memberships"];
        assert_eq!(rows[2][..5], cells);
        assert_eq!(rows[2].last(), Some(&"signed in"));
    })
    .await;
}

#[tokio::test]
async fn the_category_lists_all_kinds() {
    with_namespace(async |ns| {
        ns.apply(&[membership("ci"), provider("infisical"), central(&ns.name, 0)]).await;
        let names = ns.ok(&["get", "membership", "--output=name"]).await;
        // Those of the cluster are all tests'.
        let (of_cluster, of_namespace): (Vec<&str>, Vec<&str>) =
            names.lines().partition(|name| name.starts_with("clustermembershipprovider."));
        assert!(
            of_cluster.contains(&format!("clustermembershipprovider.membership.dev/{}-0", ns.name).as_str()),
            "{names}"
        );
        assert_eq!(
            of_namespace,
            ["membershipprovider.membership.dev/infisical", "projectmembership.membership.dev/ci"]
        );
    })
    .await;
}

#[tokio::test]
async fn kubectl_explain_says_how_a_temporary_role_is_written() {
    let kubectl = plane().await.kubectl();
    let explain = async |field: &str| kubectl.ok(&["explain", field]).await.unwrap();
    let temporary = explain("projectmembership.spec.roles.temporary").await;
    let text = temporary.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "FIELD: temporary <Object>",
        "It needs an end: duration, expirationTime, or both, in which case the earlier one applies.",
        "To request a new window, set a new startTime.",
        "duration <string> How long the role is in effect, as 90m, 1h30m, 2h or 1d (units w d h m s), at most ten years.",
        "expirationTime <string> When the role ends at the latest, as 2026-12-01T12:00:00Z",
        "startTime <string> When the role starts, as 2026-12-01T08:00:00Z.",
    ] {
        assert_contains(&text, expected);
    }
    assert_contains(&explain("pm.spec.roleManagement").await, "ENUM:\n    Exclusive\n    Additive");
}

#[tokio::test]
async fn applying_again_changes_nothing_and_the_diff_is_empty() {
    with_namespace(async |ns| {
        let mut objects = vec![membership("ci"), provider("infisical"), zitadel(0)];
        objects[0] = changed(objects[0].clone(), "/spec/roles/1", json!({"role": "deployer", "temporary": {"duration": "2h", "startTime": "2026-12-01T08:00:00Z"}}));
        ns.apply(&objects).await;
        let generation = ns.get("pm/ci").await["metadata"]["generation"].clone();
        ns.set_status("pm/ci", &json!({"observedGeneration": 1, "conditions": ready("")})).await;
        assert_eq!(
            ns.apply(&objects).await,
            "projectmembership.membership.dev/ci unchanged\nmembershipprovider.membership.dev/infisical unchanged\nmembershipprovider.membership.dev/case-0 unchanged\n"
        );
        assert_eq!(ns.get("pm/ci").await["metadata"]["generation"], generation);
        let text: String = objects.iter().map(|object| format!("{object}\n---\n")).collect();
        let diff = ns.run(&["diff", "--filename=-"], &text).await;
        assert!(diff.status.success() && diff.stdout.is_empty(), "{}{}", diff.stdout, diff.stderr);
    })
    .await;
}
