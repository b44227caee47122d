//! What only the controller manager does.

mod eventually;
mod shared;

use std::time::Duration;

use eventually::eventually;
use shared::plane;

#[tokio::test]
async fn namespaces_go_away_and_what_is_owned_goes_with_its_owner() {
    let plane = plane().await.unwrap();
    let kubectl = plane.kubectl();
    kubectl.ok(&["create", "namespace", "brief"]).await.unwrap();
    kubectl.ok(&["create", "configmap", "inside", "--namespace=brief"]).await.unwrap();
    kubectl.ok(&["delete", "namespace", "brief", "--wait=false"]).await.unwrap();
    let phase = ["get", "namespace", "brief", "--output=jsonpath={.status.phase}"];
    assert_eq!(kubectl.ok(&phase).await.unwrap(), "Terminating");

    plane.start_controller_manager().await.unwrap();
    // A second time nothing happens.
    plane.start_controller_manager().await.unwrap();
    kubectl.ok(&["wait", "--for=delete", "namespace/brief", "--timeout=60s"]).await.unwrap();

    kubectl.ok(&["create", "configmap", "owner"]).await.unwrap();
    let uid = kubectl.ok(&["get", "configmap", "owner", "--output=jsonpath={.metadata.uid}"]);
    let owned = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owned, ownerReferences: [
          {{apiVersion: v1, kind: ConfigMap, name: owner, uid: {}}}]}}}}",
        uid.await.unwrap()
    );
    kubectl.apply(&owned).await.unwrap();
    kubectl.ok(&["delete", "configmap", "owner"]).await.unwrap();
    eventually(Duration::from_secs(60), async || {
        let owned = kubectl.run(&["get", "configmap", "owned"]).await.unwrap();
        if owned.stderr.contains("not found") { Ok(()) } else { Err(owned.stdout) }
    })
    .await;
}
