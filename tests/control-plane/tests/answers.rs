//! A control plane that is up answers as a real one does.

mod eventually;
mod shared;

use std::time::Duration;

use control_plane::{Error, Filter, Mark};
use eventually::eventually;
use shared::plane;

#[tokio::test]
async fn it_says_its_version_and_keeps_what_it_is_given() {
    let plane = plane().await.unwrap();
    let kubectl = plane.kubectl();
    let version = kubectl.ok(&["version", "--output=json"]).await.unwrap();
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    for side in ["clientVersion", "serverVersion"] {
        assert_eq!(version[side]["gitVersion"], "v1.36.3", "{side} in {version}");
        assert_eq!(version[side]["minor"], "36", "{side} in {version}");
    }
    kubectl.apply("{apiVersion: v1, kind: Namespace, metadata: {name: kept}}").await.unwrap();
    let phase = kubectl.ok(&["get", "namespace", "kept", "--output=jsonpath={.status.phase}"]).await;
    assert_eq!(phase.unwrap(), "Active");
}

#[tokio::test]
async fn a_failure_shows_both_streams() {
    let kubectl = plane().await.unwrap().kubectl();
    let output = kubectl.run(&["get", "namespace", "nowhere"]).await.unwrap();
    assert!(!output.status.success());
    assert!(output.stderr.contains(r#"namespaces "nowhere" not found"#), "{}", output.stderr);
    let error = kubectl.ok(&["get", "namespace", "nowhere"]).await.unwrap_err();
    assert!(matches!(error, Error::Kubectl { .. }), "{error:?}");
    assert!(error.to_string().contains(r#"namespaces "nowhere" not found"#), "{error}");
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let kubectl = plane().await.unwrap().kubectl();
    kubectl
        .apply(
            "{apiVersion: v1, kind: Namespace, metadata: {name: accounts}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: accounts}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role,
 metadata: {name: reader, namespace: accounts},
 rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding,
 metadata: {name: reader, namespace: accounts},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader},
 subjects: [{kind: ServiceAccount, name: reader, namespace: accounts}]}
",
        )
        .await
        .unwrap();
    let lifetime = Duration::from_secs(600);
    let reader = kubectl.as_service_account_for("accounts", "reader", lifetime).await.unwrap();
    let who = reader.ok(&["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]).await;
    assert_eq!(who.unwrap(), "system:serviceaccount:accounts:reader");
    // Without a namespace: the kubeconfig names the account's own.
    reader.ok(&["get", "configmaps"]).await.unwrap();
    let secrets = reader.run(&["get", "secrets"]).await.unwrap();
    assert!(secrets.stderr.contains("Forbidden"), "{}", secrets.stderr);
}

#[tokio::test]
async fn the_audit_log_counts_exactly() {
    let plane = plane().await.unwrap();
    let (kubectl, audit) = (plane.kubectl(), plane.audit());
    kubectl.ok(&["create", "namespace", "counted"]).await.unwrap();
    let mark = audit.mark().unwrap();
    for i in 0..7 {
        let name = format!("one-{i}");
        kubectl.ok(&["create", "configmap", &name, "--namespace=counted"]).await.unwrap();
    }
    let patch = ["--namespace=counted", "--type=merge", "--patch={\"data\":{\"a\":\"b\"}}"];
    for name in ["one-0", "one-1", "none"] {
        let arguments = [&["patch", "configmap", name][..], &patch].concat();
        kubectl.run(&arguments).await.unwrap();
    }
    let here = Filter::new().user("admin").user_agent("kubectl/").namespace("counted");
    let configmaps = here.clone().resource("configmaps").subresource("");
    let count = |filter: Filter| audit.count(mark, &filter).unwrap();
    let all = || format!("{:#?}", audit.table(mark, &here).unwrap());
    assert_eq!(count(configmaps.clone().verb("create")), 7, "{}", all());
    // kubectl reads an object before it patches it, and leaves a missing one.
    assert_eq!(count(configmaps.clone().verb("patch")), 2, "{}", all());
    assert_eq!(count(configmaps.clone().writes()), 9, "{}", all());
    assert_eq!(count(configmaps.clone().verb("get").refused(true)), 1, "{}", all());
    assert_eq!(count(configmaps.clone().user("nobody")), 0, "{}", all());
    assert_eq!(count(configmaps.clone().user_agent("curl/")), 0, "{}", all());
    let end = audit.mark().unwrap();
    assert_eq!(audit.count(end, &configmaps).unwrap(), 0);
    let before = here.clone().verb("create").resource("configmaps");
    assert_eq!(audit.count(Mark::START, &before).unwrap(), 7);
    let first = audit.events(mark, &configmaps.verb("create")).unwrap().remove(0);
    assert_eq!((first.name.as_str(), first.code), ("one-0", 201), "{first}");
}

#[tokio::test]
async fn a_watch_is_counted_once_and_while_it_runs() {
    let plane = plane().await.unwrap();
    let (kubectl, audit) = (plane.kubectl(), plane.audit());
    kubectl.ok(&["create", "namespace", "watched"]).await.unwrap();
    let mark = audit.mark().unwrap();
    let watches = Filter::new().verb("watch").resource("configmaps").namespace("watched");
    let watch = ["get", "configmaps", "--namespace=watched", "--watch", "--request-timeout=3s"];
    let ended = kubectl.run(&watch);
    let seen = eventually(Duration::from_secs(60), async || match audit.count(mark, &watches) {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?} watches")),
    });
    let (ended, ()) = tokio::join!(ended, seen);
    ended.unwrap();
    assert_eq!(audit.count(mark, &watches).unwrap(), 1);
}
