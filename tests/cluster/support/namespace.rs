//! A namespace of a test's own.

use std::sync::atomic::{AtomicU32, Ordering};

use control_plane::{ControlPlane, Kubectl, Output};
use serde_json::Value;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A namespace that one test has for itself.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub name: String,
    kubectl: Kubectl,
}

/// Runs a test in a namespace of its own on the control plane without an operator.
pub async fn with_namespace(test: impl AsyncFnOnce(Namespace)) {
    with_namespace_on(super::plane().await, test).await;
}

/// Runs a test in its own namespace. The namespace is kept, for an inspection after a failure; it ends with the control
/// plane.
pub async fn with_namespace_on(plane: &ControlPlane, test: impl AsyncFnOnce(Namespace)) {
    let namespace = Namespace::unused(plane);
    namespace.kubectl.ok(&["create", "namespace", &namespace.name]).await.unwrap();
    test(namespace).await;
}

impl Namespace {
    /// A name that no other test of this binary has, for a namespace that is still to be created.
    pub fn unused(plane: &ControlPlane) -> Self {
        Self { name: format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)), kubectl: plane.kubectl() }
    }

    /// Runs kubectl in this namespace as the administrator, and says how it went.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut all = vec!["--namespace", &self.name];
        all.extend(arguments);
        self.kubectl.run_with_input(&all, input).await.unwrap()
    }

    /// As [`Namespace::run`], for what has to succeed; its stdout.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "").await;
        assert!(output.status.success(), "kubectl {}: {}{}", arguments.join(" "), output.stdout, output.stderr);
        output.stdout
    }

    /// `kubectl apply` of these objects; what it printed.
    pub async fn apply(&self, objects: &[Value]) -> String {
        let output = self.try_apply(objects).await;
        assert!(output.status.success(), "kubectl apply: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// `kubectl apply` of these objects, which may fail.
    pub async fn try_apply(&self, objects: &[Value]) -> Output {
        self.run(&["apply", "--filename=-"], &documents(objects)).await
    }

    /// An object as it is stored, as `pm/ci` or `membershipprovider/infisical`.
    pub async fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.ok(&["get", object, "--output=json"]).await).unwrap()
    }

    /// Whether an object's condition has this status; what is there otherwise. For [`super::eventually`].
    pub async fn condition(&self, object: &str, kind: &str, status: &str) -> Result<Value, String> {
        let there = self.get(object).await;
        let conditions = there["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|c| c["type"] == kind && c["status"] == status);
        found.ok_or_else(|| there["status"].to_string())
    }

    /// Writes an object's status by a merge patch, as the operator does.
    pub async fn set_status(&self, object: &str, status: &Value) -> Output {
        let patch = serde_json::json!({ "status": status }).to_string();
        self.run(&["patch", object, "--subresource=status", "--type=merge", "--patch", &patch], "").await
    }
}

/// Objects as one text for kubectl.
fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("{object}\n---\n")).collect()
}
