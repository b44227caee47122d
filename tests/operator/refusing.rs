//! What the API server refuses in one namespace, for as long as a test says.

use control_plane::ControlPlane;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::support::{SOON, eventually};

/// The requests to which the API server responds with 403.
pub struct Refusal {
    /// Of which resource.
    pub resource: &'static str,
    /// The condition on what is written.
    pub expression: &'static str,
    /// A patch that it refuses.
    pub probe: Value,
}

impl Refusal {
    /// A status with Ready.
    pub fn of_ready() -> Self {
        Self {
            resource: "projectmemberships/status",
            expression: "!has(object.status.conditions) \
                         || !object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            probe: json!({"status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Probe", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]}}),
        }
    }

    /// Makes the API server refuse it from now on; `object` is used to probe.
    pub async fn begin(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let (namespace, Self { resource, expression, .. }) = (stage.namespace(), self);
        let name = format!("gap-{namespace}");
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["membership.dev"], "apiVersions": ["v1alpha1"],
                    "operations": ["UPDATE"], "resources": [resource],
                }]},
                "validations": [{
                    "expression": format!("object.metadata.namespace != '{namespace}' || ({expression})"),
                    "message": "not in this gap", "reason": "Forbidden",
                }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        plane.kubectl().apply(&format!("{policy}\n---\n{binding}\n")).await.unwrap();
        self.answers(stage, object, "not in this gap", true).await;
    }

    /// Makes the API server accept it again.
    pub async fn end(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let name = format!("gap-{}", stage.namespace());
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            plane.kubectl().ok(&["delete", kind, &name]).await.unwrap();
        }
        self.answers(stage, object, "not in this gap", false).await;
    }

    /// Makes the API server fail with 500 from now on: it calls a webhook that isn't served.
    pub async fn fail(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let name = format!("gap-{}.example.com", stage.namespace());
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": name, "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail",
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace()}},
                "rules": [{
                    "apiGroups": ["membership.dev"], "apiVersions": ["v1alpha1"],
                    "operations": ["UPDATE"], "resources": [self.resource],
                }],
            }],
        });
        plane.kubectl().apply(&webhook.to_string()).await.unwrap();
        self.answers(stage, object, "failed calling webhook", true).await;
    }

    /// Makes the API server work again.
    pub async fn recover(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let name = format!("gap-{}.example.com", stage.namespace());
        plane.kubectl().ok(&["delete", "validatingwebhookconfiguration", &name]).await.unwrap();
        self.answers(stage, object, "failed calling webhook", false).await;
    }

    /// Waits until the API server refuses the probe with this message, or doesn't.
    async fn answers(&self, stage: &Stage, object: &str, words: &str, refuses: bool) {
        let status = self.resource.ends_with("/status");
        eventually(SOON, &format!("the API server refuses {}: {refuses}", self.probe), async || {
            let answer = stage.api.try_merge_dry(object, status, &self.probe).await;
            let refused = answer.as_ref().is_err_and(|error| error.to_string().contains(words));
            if refuses == refused { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}
