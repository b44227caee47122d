//! Provider objects of the cluster: what their allow rules permit a namespace to grant and revoke, and what they don't.

mod granting;
mod mid_pass;
mod rules_change;
mod served;
mod sign_in;
mod taking;

use serde_json::{Value, json};
use simulator::worlds;

use crate::api::Api;
use crate::stage::Stage;
use crate::subject::{Subject, with};

impl Stage {
    /// The name of the ClusterMembershipProvider `name` of this test.
    pub fn central_name(&self, name: &str) -> String {
        format!("{name}-{}", self.namespace())
    }

    /// A ClusterMembershipProvider for Infisical with these rules; its Secrets are in this test's namespace.
    pub fn central(&self, name: &str, rules: Value) -> Value {
        let secret = |key: &str| json!({"namespace": self.namespace(), "name": "infisical", "key": key});
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ClusterMembershipProvider",
            "metadata": {"name": self.central_name(name)},
            "spec": {
                "infisical": {"url": self.simulator.infisical().url(), "auth": {"universalAuth": {
                    "clientIdSecretRef": secret("client-id"), "clientSecretSecretRef": secret("client-secret"),
                }}},
                "allow": rules,
            },
        })
    }

    /// The same for ZITADEL.
    pub fn central_zitadel(&self, name: &str, rules: Value) -> Value {
        let token = json!({"namespace": self.namespace(), "name": "zitadel", "key": "token"});
        let mut provider = self.central(name, rules);
        provider["spec"].as_object_mut().unwrap().remove("infisical");
        provider["spec"]["zitadel"] = json!({
            "url": self.simulator.zitadel().url(), "organizationId": worlds::ZITADEL_PROJECT_ORG,
            "auth": {"personalAccessTokenSecretRef": token},
        });
        provider
    }

    /// A rule for this test's namespace, for every project, with these roles and further fields.
    pub fn rule(&self, roles: &[&str], fields: Value) -> Value {
        let mut rule = json!({"namespaces": {"names": [self.namespace()]}, "projects": ["*"], "roles": roles});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        rule
    }

    /// Applies the ClusterMembershipProvider `central` with these rules at both providers, and waits until it is ready.
    pub async fn centrals(&self, of_infisical: Value, of_zitadel: Value) {
        let objects = [self.central("infisical", of_infisical), self.central_zitadel("zitadel", of_zitadel)];
        self.api.apply(&objects).await;
        for object in objects {
            self.ready(&format!("clustermembershipprovider/{}", object["metadata"]["name"].as_str().unwrap())).await;
        }
    }

    /// A subject's object that names the ClusterMembershipProvider of its server.
    pub fn central_object(&self, subject: &Subject, roles: Value) -> Value {
        let name = if subject.is_at_infisical() { "infisical" } else { "zitadel" };
        self.by(name, subject.declares(roles))
    }

    /// The object with the ClusterMembershipProvider `name` as its provider.
    pub fn by(&self, name: &str, object: Value) -> Value {
        let reference = json!({"kind": "ClusterMembershipProvider", "name": self.central_name(name)});
        with(object, json!({ "providerRef": reference }))
    }

    /// Replaces the rules of the ClusterMembershipProvider `name`.
    async fn rules_are(&self, name: &str, rules: Value) {
        let object = format!("clustermembershipprovider/{}", self.central_name(name));
        self.api.merge(&object, &json!({"spec": {"allow": rules}})).await;
    }

    /// Another namespace of this test, with these labels.
    async fn another_namespace(&self, labels: Value) -> Api {
        let name = format!("{}-other", self.namespace());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.api.apply(&[namespace]).await;
        self.api.in_namespace(&name)
    }
}
