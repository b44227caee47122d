//! What a tenant can't forge, however careless its role.

use axum::http::Method;
use serde_json::{Value, json};

use super::account::{Account, MERGE, OPERATOR_ONLY, assert_refused, held, name_of};
use crate::support::{changed, membership, plane, provider, with_namespace};

fn status() -> Value {
    let target = json!({
        "provider": "MembershipProvider/team-a/infisical", "endpoint": "https://app.infisical.com",
        "projectId": "another", "subjectKind": "Identity", "subjectId": "another",
    });
    json!({"status": {"managedRoles": [{"role": "admin"}], "target": target}})
}

fn finalizers(finalizers: Value) -> Value {
    json!({"metadata": {"finalizers": finalizers}})
}

fn abandon(value: &str) -> Value {
    json!({"metadata": {"annotations": {"membership.dev/abandon": value}}})
}

fn status_is_kept(user: &str) -> String {
    format!(
        "status is written by membership-operator only, and {user} may not: do not write the status subresource; to \
         restore a backup, use an account that a ClusterRoleBinding gives the ClusterRole membership-operator-restore"
    )
}

fn not_off(user: &str) -> String {
    format!(
        "only membership-operator removes the finalizer membership.dev/revoke, once the access is revoked, and {user} \
         may not: keep it in metadata.finalizers (kubectl apply and patch do, kubectl replace needs it in the file); if \
         the access can't be revoked, the Ready condition shows why"
    )
}

fn not_on(finalizer: &str, user: &str) -> String {
    format!(
        "only membership-operator adds the finalizer {finalizer}, and {user} may not: omit it in \
         metadata.finalizers; to restore a backup, use an account that a ClusterRoleBinding gives the ClusterRole \
         membership-operator-restore"
    )
}

fn not_abandoned(user: &str) -> String {
    format!(
        "the annotation membership.dev/abandon leaves access in place permanently, and {user} may not set it: correct \
         what the Ready condition names, or ask an administrator (to whom a ClusterRoleBinding gives the ClusterRole \
         membership-operator-abandon)"
    )
}

#[tokio::test]
async fn a_tenant_cant_write_the_status_that_the_operator_acts_on() {
    with_namespace(async |ns| {
        let tenant = Account::tenant(plane().await, &ns).await;
        ns.apply(&[membership("ci"), provider("infisical")]).await;
        let sentence = status_is_kept(&name_of(&ns, "tenant"));
        let before = ns.get("pm/ci").await;
        assert_refused(tenant.merge("ci/status", &status()).await, OPERATOR_ONLY, &sentence);
        assert_refused(tenant.apply("ci/status", &status()).await, OPERATOR_ONLY, &sentence);
        let forged = changed(before.clone(), "/status/managedRoles", json!([{"role": "admin"}]));
        assert_refused(tenant.replace("ci/status", &forged).await, OPERATOR_ONLY, &sentence);
        let path = "membershipproviders/infisical/status";
        let answer = tenant.request(Method::PATCH, path, MERGE, &json!({"status": {"api": "v9"}})).await;
        assert_refused(answer, OPERATOR_ONLY, &sentence);
        // Through the object itself status can't be written anyway.
        tenant.merge("ci", &status()).await.unwrap();
        assert_eq!(ns.get("pm/ci").await["status"], before["status"]);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_cant_take_our_finalizer_off() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        ns.apply(&[membership("ci")]).await;
        held(&operator, "ci").await;
        let sentence = not_off(&name_of(&ns, "tenant"));
        for left in [json!(null), json!([]), json!(["example.com/theirs"])] {
            assert_refused(tenant.merge("ci", &finalizers(left)).await, OPERATOR_ONLY, &sentence);
        }
        // kubectl replace with the file from Git; it puts the resourceVersion in itself.
        let version = ns.get("pm/ci").await["metadata"]["resourceVersion"].clone();
        let file = changed(membership("ci"), "/metadata/resourceVersion", version);
        assert_refused(tenant.replace("ci", &file).await, OPERATOR_ONLY, &sentence);
        // Not on an object that is being deleted either, which is what a script that is stuck does.
        ns.ok(&["delete", "pm/ci", "--wait=false"]).await;
        assert_refused(tenant.merge("ci", &finalizers(json!(null))).await, OPERATOR_ONLY, &sentence);
        assert_eq!(ns.get("pm/ci").await["metadata"]["finalizers"], json!(["membership.dev/revoke"]));
    })
    .await;
}

/// Seen failing without the expression for the annotation in the policy.
#[tokio::test]
async fn a_tenant_cant_write_the_record_of_pending_grants() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        ns.apply(&[membership("ci")]).await;
        let pending = |value: Value| json!({"metadata": {"annotations": {"membership.dev/pending-grants": value}}});
        let forged = json!(r#"{"number":7,"roles":[{"role":"admin"}]}"#);
        let sentence = format!(
            "the annotation membership.dev/pending-grants is the record of membership-operator, and {} may not change it: \
             keep it as it is (kubectl apply and patch do, kubectl replace needs it in the file), and omit it in a new \
             object; to restore a backup, use an account that a ClusterRoleBinding gives the ClusterRole \
             membership-operator-restore",
            name_of(&ns, "tenant")
        );
        let mut born = membership("born");
        born["metadata"]["annotations"] = pending(forged.clone())["metadata"]["annotations"].clone();
        assert_refused(tenant.create(&born).await, OPERATOR_ONLY, &sentence);
        assert_refused(tenant.merge("ci", &pending(forged.clone())).await, OPERATOR_ONLY, &sentence);
        operator.merge("ci", &pending(json!(r#"{"number":1,"roles":[]}"#))).await.unwrap();
        for value in [forged, json!(null)] {
            assert_refused(tenant.merge("ci", &pending(value)).await, OPERATOR_ONLY, &sentence);
        }
        // Every other write is the tenant's.
        tenant.merge("ci", &json!({"metadata": {"annotations": {"example.com/theirs": "x"}}})).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_tenant_who_owns_our_finalizer_by_server_side_apply_cant_let_it_go() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        ns.apply(&[membership("ci")]).await;
        held(&operator, "ci").await;
        let spec = membership("ci")["spec"].clone();
        let with = json!({"metadata": {"finalizers": ["membership.dev/revoke"]}, "spec": spec});
        // It says what is there already: nothing changes but who owns it.
        let shared = tenant.apply("ci", &with).await.unwrap();
        let entries = shared["metadata"]["managedFields"].as_array().unwrap().iter();
        let own: Vec<&Value> = entries.filter(|entry| entry["manager"] == "test").collect();
        tenant.merge("ci", &json!({"metadata": {"managedFields": own}})).await.unwrap();
        let answer = tenant.apply("ci", &json!({"spec": spec})).await;
        assert_refused(answer, OPERATOR_ONLY, &not_off(&name_of(&ns, "tenant")));
    })
    .await;
}

#[tokio::test]
async fn a_tenant_cant_put_our_finalizers_on() {
    with_namespace(async |ns| {
        let tenant = Account::tenant(plane().await, &ns).await;
        ns.apply(&[membership("ci")]).await;
        let user = name_of(&ns, "tenant");
        let born = changed(membership("born"), "/metadata/finalizers", json!(["membership.dev/revoke"]));
        let sentence = not_on("membership.dev/revoke", &user);
        let forged = finalizers(json!(["membership.dev/revoke"]));
        assert_refused(tenant.create(&born).await, OPERATOR_ONLY, &sentence);
        assert_refused(tenant.apply("born", &born).await, OPERATOR_ONLY, &sentence);
        assert_refused(tenant.merge("ci", &forged).await, OPERATOR_ONLY, &sentence);
        assert_refused(tenant.apply("ci", &forged).await, OPERATOR_ONLY, &sentence);
        let mut used = provider("used");
        used["metadata"]["finalizers"] = json!(["membership.dev/in-use"]);
        let answer = tenant.request(Method::POST, "membershipproviders", "application/json", &used).await;
        assert_refused(answer, OPERATOR_ONLY, &not_on("membership.dev/in-use", &user));
    })
    .await;
}

#[tokio::test]
async fn only_an_administrator_abandons() {
    with_namespace(async |ns| {
        let plane = plane().await;
        let (tenant, operator) = (Account::tenant(plane, &ns).await, Account::operator(plane, &ns).await);
        ns.apply(&[membership("ci")]).await;
        let sentence = not_abandoned(&name_of(&ns, "tenant"));
        for value in ["true", "false"] {
            assert_refused(tenant.merge("ci", &abandon(value)).await, OPERATOR_ONLY, &sentence);
            assert_refused(tenant.apply("ci", &abandon(value)).await, OPERATOR_ONLY, &sentence);
        }
        let born = changed(membership("born"), "/metadata/annotations", json!({"membership.dev/abandon": "true"}));
        assert_refused(tenant.create(&born).await, OPERATOR_ONLY, &sentence);
        let user = "system:serviceaccount:membership-system:membership-operator";
        assert_refused(operator.merge("ci", &abandon("true")).await, OPERATOR_ONLY, &not_abandoned(user));

        let admin = Account::admin(plane, &ns).await;
        admin.merge("ci", &abandon("false")).await.unwrap();
        // It stays through the tenant's other writes, and isn't the tenant's to change, only to take out.
        tenant.merge("ci", &json!({"spec": {"suspend": true}})).await.unwrap();
        assert_refused(tenant.merge("ci", &abandon("true")).await, OPERATOR_ONLY, &sentence);
        let taken_out = json!({"metadata": {"annotations": {"membership.dev/abandon": null}}});
        tenant.merge("ci", &taken_out).await.unwrap();
        assert_refused(tenant.merge("ci", &abandon("false")).await, OPERATOR_ONLY, &sentence);
    })
    .await;
}

#[tokio::test]
async fn cluster_admin_in_one_namespace_is_no_administrator() {
    with_namespace(async |ns| {
        let plane = plane().await;
        Account::tenant(plane, &ns).await;
        ns.apply(&[membership("ci")]).await;
        let lord = Account::here(plane, &ns, "lord", "cluster-admin").await;
        let user = name_of(&ns, "lord");
        assert_refused(lord.merge("ci/status", &status()).await, OPERATOR_ONLY, &status_is_kept(&user));
        assert_refused(lord.merge("ci", &abandon("true")).await, OPERATOR_ONLY, &not_abandoned(&user));
    })
    .await;
}
