//! What the policy of the operator's own fields lets through.

use axum::http::Method;
use serde_json::{Value, json};

use super::account::{Account, MERGE, held};
use crate::support::{SOON, changed, eventually, membership, plane, provider, with_namespace};

const OURS: &str = "membership.dev/revoke";

fn finalizers(finalizers: Value) -> Value {
    json!({"metadata": {"finalizers": finalizers}})
}

#[tokio::test]
async fn the_operator_writes_status_and_its_finalizer() {
    with_namespace(async |ns| {
        let plane = plane().await;
        Account::tenant(plane, &ns).await;
        ns.apply(&[membership("ci"), provider("infisical")]).await;
        let operator = Account::operator(plane, &ns).await;
        operator.merge("ci/status", &json!({"status": {"activeRoles": "viewer"}})).await.unwrap();
        let api = json!({"status": {"api": "projects/v1"}});
        let path = "membershipproviders/infisical/status";
        operator.request(Method::PATCH, path, MERGE, &api).await.unwrap();
        held(&operator, "ci").await;
        ns.ok(&["delete", "pm/ci", "--wait=false"]).await;
        operator.merge("ci", &finalizers(json!([]))).await.unwrap();
        assert!(ns.run(&["get", "pm/ci"], "").await.stderr.contains("not found"));
    })
    .await;
}

#[tokio::test]
async fn an_operator_of_another_name_in_another_namespace_passes_with_the_same_cluster_role() {
    with_namespace(async |ns| {
        let plane = plane().await;
        Account::tenant(plane, &ns).await;
        ns.apply(&[membership("ci")]).await;
        let renamed = Account::everywhere(plane, &ns, "renamed", "membership-operator").await;
        let status = json!({"status": {"activeRoles": "viewer"}});
        eventually(SOON, "it writes status", async || renamed.merge("ci/status", &status).await).await;
        held(&renamed, "ci").await;
        renamed.merge("ci", &finalizers(json!([]))).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_tenants_own_writes_pass() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        let mut object = membership("ci");
        object["metadata"]["labels"] = json!({"membership.dev/anything": "means-nothing"});
        object["metadata"]["finalizers"] = json!(["example.com/theirs"]);
        tenant.create(&object).await.unwrap();
        // What a file from `kubectl get --output=yaml` has in it, the API server drops.
        object["status"] = json!({"activeRoles": "admin"});
        tenant.apply("ci", &object).await.unwrap();
        assert_eq!(ns.get("pm/ci").await["status"], json!({"observedGeneration": -1}));
        operator.merge("ci", &finalizers(json!(["example.com/theirs", OURS]))).await.unwrap();
        let now = json!({"metadata": {"annotations": {"membership.dev/reconcile-at": "1"}}});
        tenant.merge("ci", &now).await.unwrap();
        tenant.merge("ci", &json!({"spec": {"suspend": true}})).await.unwrap();
        tenant.merge("ci", &finalizers(json!([OURS]))).await.unwrap();
        tenant.merge("ci", &finalizers(json!([OURS, "example.com/theirs"]))).await.unwrap();
        let whole = ns.get("pm/ci").await;
        tenant.replace("ci", &changed(whole, "/spec/suspend", json!(false))).await.unwrap();
        tenant.request(Method::DELETE, "projectmemberships/ci", "application/json", &json!({})).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_restored_object_has_its_finalizer_its_annotations_and_its_status() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let tenant = Account::tenant(plane, &ns).await;
        let mut backup = membership("ci");
        backup["metadata"]["finalizers"] = json!([OURS]);
        backup["metadata"]["annotations"] = json!({"membership.dev/abandon": "false"});
        let status = json!({"observedGeneration": 1, "managedRoles": [{"role": "viewer"}]});
        for (name, role) in [("velero", "cluster-admin"), ("backups", "membership-operator-restore")] {
            let restorer = Account::everywhere(plane, &ns, name, role).await;
            let restored = eventually(SOON, "the object is created", async || restorer.create(&backup).await).await;
            restorer.replace("ci/status", &changed(restored, "/status", status.clone())).await.unwrap();
            let there = ns.get("pm/ci").await;
            assert_eq!(there["metadata"]["finalizers"], json!([OURS]), "{name}");
            assert_eq!(there["metadata"]["annotations"], backup["metadata"]["annotations"], "{name}");
            assert_eq!(there["status"]["managedRoles"], status["managedRoles"], "{name}");
            restorer.merge("ci", &finalizers(json!([]))).await.unwrap();
            ns.ok(&["delete", "pm/ci"]).await;
        }
        // Without what the operator and administrators have added any user can restore it, as a new object.
        assert!(tenant.create(&backup).await.is_err());
        tenant.create(&membership("ci")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_may_abandon_may_do_just_that() {
    with_namespace(async |ns| {
        let plane = plane().await;
        Account::tenant(plane, &ns).await;
        ns.apply(&[membership("ci")]).await;
        held(&Account::operator(plane, &ns).await, "ci").await;
        let on_call = Account::everywhere(plane, &ns, "on-call", "membership-operator-abandon").await;
        let abandon = json!({"metadata": {"annotations": {"membership.dev/abandon": "true"}}});
        eventually(SOON, "it abandons", async || on_call.merge("ci", &abandon).await).await;
        let sentence = on_call.merge("ci", &finalizers(json!([]))).await.unwrap_err();
        assert!(sentence.contains("only membership-operator removes the finalizer"), "{sentence}");
    })
    .await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_the_operator_and_for_nothing_else() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        plane.start_controller_manager().await.unwrap();
        ns.apply(&[membership("ci")]).await;
        held(&operator, "ci").await;
        // Something that it owns, so that the garbage collector has to work before it lets the owner go.
        let uid = ns.get("pm/ci").await["metadata"]["uid"].clone();
        let owner = json!({"apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership", "name": "ci", "uid": uid, "blockOwnerDeletion": true});
        ns.apply(&[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [owner]}})]).await;
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"});
        let path = "projectmemberships/ci";
        let answer = tenant.request(Method::DELETE, path, "application/json", &options).await.unwrap();
        assert_eq!(answer["metadata"]["finalizers"], json!([OURS, "foregroundDeletion"]));
        eventually(SOON, "the garbage collector takes its finalizer off and leaves ours", async || {
            let there = ns.get("pm/ci").await["metadata"]["finalizers"].clone();
            if there == json!([OURS]) { Ok(()) } else { Err(there.to_string()) }
        })
        .await;
        assert!(ns.run(&["get", "configmap/owned"], "").await.stderr.contains("not found"));
        operator.merge("ci", &finalizers(json!([]))).await.unwrap();
        assert!(ns.run(&["get", "pm/ci"], "").await.stderr.contains("not found"));

        // The same by kubectl, of an object that the operator has never touched.
        ns.apply(&[membership("other")]).await;
        ns.ok(&["delete", "pm/other", "--cascade=foreground", "--timeout=60s"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_namespace_goes_when_the_operator_has_let_its_memberships_go() {
    with_namespace(async |ns| {
        let plane = plane().await;
        Account::tenant(plane, &ns).await;
        let operator = Account::operator(plane, &ns).await;
        plane.start_controller_manager().await.unwrap();
        ns.apply(&[membership("ci")]).await;
        held(&operator, "ci").await;
        ns.ok(&["delete", "namespace", &ns.name, "--wait=false"]).await;
        eventually(SOON, "the namespace controller has asked for the end of the object", async || {
            let there = ns.get("pm/ci").await;
            if there["metadata"]["deletionTimestamp"].is_string() { Ok(()) } else { Err(there.to_string()) }
        })
        .await;
        // Its status is still written while the namespace goes.
        operator.merge("ci/status", &json!({"status": {"activeRoles": ""}})).await.unwrap();
        operator.merge("ci", &finalizers(json!([]))).await.unwrap();
        ns.ok(&["wait", "--for=delete", &format!("namespace/{}", ns.name), "--timeout=60s"]).await;
    })
    .await;
}
