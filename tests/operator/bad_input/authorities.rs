//! Certificate authorities and key files that are missing, wrong, and corrected.

use serde_json::{Value, json};

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::support::assert_contains;

fn config_map(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authorities"}, "data": {"ca.crt": text}})
}

fn authority() -> String {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test]
async fn a_bundle_that_is_missing_or_wrong_is_named_with_what_to_do_and_mended() {
    with_stage(async |stage| {
        let object = "membershipprovider/bundled";
        let mut provider = stage.infisical_provider();
        provider["metadata"]["name"] = json!("bundled");
        provider["spec"]["caBundle"] = json!({"configMapRef": {"name": "authorities"}});
        stage.api.apply(&[provider]).await;
        let message = stage.has_condition(object, "Ready", "False", "ProviderNotReady").await;
        assert_contains(&message, "spec.caBundle can't be read: there is no ConfigMap \"authorities\" in namespace");

        stage.api.apply(&[config_map("hunter2")]).await;
        stage.api.annotate(object, "example.com/asked", "wrong").await;
        let message = stage.has_condition(object, "Ready", "False", "InvalidSpec").await;
        assert_contains(&message, "key \"ca.crt\" of ConfigMap \"authorities\" in namespace");
        assert_contains(&message, "-----BEGIN CERTIFICATE-----");
        assert!(!message.contains("hunter2"), "{message}");

        stage.api.apply(&[config_map(&authority())]).await;
        stage.api.annotate(object, "example.com/asked", "mended").await;
        stage.has_condition(object, "Ready", "True", "Verified").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_no_key_file_is_named_with_where_to_get_one() {
    in_memory(async |stage| {
        let mut provider = stage.zitadel_provider();
        provider["metadata"]["name"] = json!("by-key");
        provider["spec"]["zitadel"]["auth"] = json!({"privateKeyJwtSecretRef": {"name": "zitadel", "key": "token"}});
        stage.api.apply(&[provider]).await;
        let message = stage.has_condition("membershipprovider/by-key", "Ready", "False", "Unauthorized").await;
        assert_contains(&message, "key \"token\" of Secret \"zitadel\" in namespace");
        assert_contains(&message, "the JSON file that ZITADEL shows once");
        assert!(!message.contains(simulator::worlds::ZITADEL_TOKEN), "{message}");
    })
    .await;
}
