//! Status: what the operator writes is kept as it was written, and has bounds.

use membership_operator::api::ProjectMembershipStatus;
use serde_json::{Value, json};

use crate::support::{assert_contains, membership, provider, with_namespace};

fn full() -> Value {
    let window =
        json!({"role": "deployer", "startTime": "2026-12-01T08:00:00Z", "expirationTime": "2026-12-01T10:00:00.5Z"});
    let mut role = window.clone();
    role["state"] = json!("Active");
    let mut carried = window.clone();
    carried["range"] = json!("2h");
    carried["start"] = json!("2026-12-01T08:00:00.000Z");
    json!({
        "observedGeneration": 3,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Converged", "message": "", "lastTransitionTime": "2026-12-01T08:00:00Z", "observedGeneration": 3},
            {"type": "Drifted", "status": "True", "reason": "Observed", "message": "m", "lastTransitionTime": "2026-12-01T08:00:00Z", "observedGeneration": 3},
        ],
        "target": {
            "provider": "MembershipProvider/team-a/infisical", "endpoint": "https://app.infisical.com",
            "organizationId": "1", "projectId": "2", "subjectKind": "Identity", "subjectId": "3",
        },
        "roles": [role],
        "managedRoles": [{"role": "viewer"}, window],
        "activeRoles": "viewer, deployer",
        "nextTransitionTime": "2026-12-01T10:00:00.5Z",
        "drift": [{"role": "a", "kind": "Missing"}, {"role": "a", "kind": "Different"}, {"role": "b", "kind": "Unexpected"}],
        "carriedRoles": [carried],
        "lastHandledReconcileAt": "now",
    })
}

#[tokio::test]
async fn every_field_of_status_is_kept_as_the_operator_writes_it() {
    let written: ProjectMembershipStatus = serde_json::from_value(full()).unwrap();
    assert_eq!(serde_json::to_value(&written).unwrap(), full(), "the type knows every field");
    with_namespace(async |ns| {
        ns.apply(&[membership("ci"), provider("infisical")]).await;
        let output = ns.set_status("pm/ci", &full()).await;
        assert!(output.status.success(), "{}", output.stderr);
        assert_eq!(ns.get("pm/ci").await["status"], full());

        let empty = serde_json::to_value(ProjectMembershipStatus::default()).unwrap();
        let output = ns.set_status("pm/ci", &empty).await;
        assert!(output.status.success(), "{}", output.stderr);

        let status = json!({"observedGeneration": 1, "conditions": full()["conditions"], "api": "projects/v1", "memberships": 42});
        let output = ns.set_status("membershipprovider/infisical", &status).await;
        assert!(output.status.success(), "{}", output.stderr);
        assert_eq!(ns.get("membershipprovider/infisical").await["status"], status);
    })
    .await;
}

#[tokio::test]
async fn status_has_bounds() {
    let roles = |count: usize| -> Value {
        (0..count).map(|n| json!({"role": format!("role-{n}"), "state": "Active"})).collect()
    };
    let managed = |count: usize| -> Value { (0..count).map(|n| json!({"role": format!("role-{n}")})).collect() };
    let drift = |count: usize| -> Value { (0..count).map(|_| json!({"role": "a", "kind": "Missing"})).collect() };
    let conditions = |count: usize| -> Value {
        (0..count)
            .map(|n| json!({"type": format!("Type{n}"), "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-12-01T08:00:00Z"}))
            .collect()
    };
    let cases = [
        (json!({"roles": roles(33)}), "must have at most 32 items"),
        (json!({"managedRoles": managed(257)}), "must have at most 256 items"),
        (json!({"carriedRoles": managed(257)}), "must have at most 256 items"),
        (json!({"drift": drift(257)}), "must have at most 256 items"),
        (json!({"conditions": conditions(17)}), "must have at most 16 items"),
        (json!({"activeRoles": "r".repeat(32 * 130 + 1)}), "may not be more than 4160"),
        (json!({"lastHandledReconcileAt": "r".repeat(1025)}), "may not be more than 1024"),
        (json!({"observedGeneration": -2}), "should be greater than or equal to -1"),
        (
            json!({"conditions": [{"type": "Ready", "status": "Yes", "reason": "R", "message": "", "lastTransitionTime": "2026-12-01T08:00:00Z"}]}),
            "supported values: \"True\", \"False\", \"Unknown\"",
        ),
    ];
    with_namespace(async |ns| {
        ns.apply(&[membership("ci")]).await;
        for (status, sentence) in &cases {
            assert_contains(&ns.set_status("pm/ci", status).await.stderr, sentence);
        }
        let most = json!({"roles": roles(32), "managedRoles": managed(256), "drift": drift(256), "conditions": conditions(16)});
        let output = ns.set_status("pm/ci", &most).await;
        assert!(output.status.success(), "{}", output.stderr);
    })
    .await;
}
