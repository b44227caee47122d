//! What the API server fills in.

use kube::ResourceExt;
use membership_operator::api::membership::ProviderKind;
use membership_operator::api::{MembershipProvider, ProjectMembership};
use serde_json::json;

use crate::support::{assert_contains, changed, membership, provider, with_namespace};

#[tokio::test]
async fn what_isnt_written_gets_the_defaults_and_no_more() {
    with_namespace(async |ns| {
        ns.apply(&[membership("ci"), provider("infisical")]).await;
        let mut spec = membership("ci")["spec"].clone();
        spec["roleManagement"] = json!("Exclusive");
        spec["managementPolicy"] = json!("Enforce");
        spec["adoptionPolicy"] = json!("Adopt");
        spec["deletionPolicy"] = json!("Delete");
        spec["suspend"] = json!(false);
        let stored = ns.get("pm/ci").await;
        assert_eq!(stored["spec"], spec);
        // This default is the operator's own (`every_field::an_atomic_map_has_no_defaults`).
        let read: ProjectMembership = serde_json::from_value(stored).unwrap();
        assert_eq!(read.spec.provider_ref.kind, ProviderKind::MembershipProvider);
        let mut spec = provider("infisical")["spec"].clone();
        spec["resyncInterval"] = json!("10m");
        spec["infisical"]["inviteUsers"] = json!(false);
        assert_eq!(ns.get("membershipprovider/infisical").await["spec"], spec);
    })
    .await;
}

#[tokio::test]
async fn a_new_object_is_never_taken_for_a_finished_one() {
    with_namespace(async |ns| {
        ns.apply(&[membership("ci"), provider("infisical")]).await;
        assert!(ns.condition("pm/ci", "Ready", "True").await.is_err());
        for object in ["pm/ci", "membershipprovider/infisical"] {
            let stored = ns.get(object).await;
            assert_eq!(stored["status"], json!({"observedGeneration": -1}), "{object}");
            // What kstatus (Flux, Argo CD, `kubectl wait` on Kustomizations) calls in progress.
            assert_ne!(stored["metadata"]["generation"], stored["status"]["observedGeneration"], "{object}");
            let waited = ns.run(&["wait", "--for=condition=Ready", object, "--timeout=1s"], "").await;
            assert_contains(&waited.stderr, "timed out waiting for the condition");
        }
        let read: ProjectMembership = serde_json::from_value(ns.get("pm/ci").await).unwrap();
        assert_eq!(read.status.unwrap().observed_generation, -1);
        let read: MembershipProvider = serde_json::from_value(ns.get("membershipprovider/infisical").await).unwrap();
        assert_eq!((read.name_any().as_str(), read.status.unwrap().observed_generation), ("infisical", -1));
    })
    .await;
}

#[tokio::test]
async fn a_bundle_is_read_from_ca_crt_where_no_key_is_written() {
    with_namespace(async |ns| {
        let object = changed(provider("infisical"), "/spec/caBundle", json!({"configMapRef": {"name": "ca"}}));
        ns.apply(&[object]).await;
        let stored = ns.get("membershipprovider/infisical").await;
        assert_eq!(stored["spec"]["caBundle"], json!({"configMapRef": {"name": "ca", "key": "ca.crt"}}));
    })
    .await;
}
