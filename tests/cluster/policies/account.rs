//! The API server as an account, without kubectl: it reads an object before it patches it, which the operator may not,
//! and its messages are shortened.

use std::path::Path;

use axum::http::{Method, Request, header};
use control_plane::ControlPlane;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::support::{Namespace, SOON, eventually, membership, operator_on};

/// The name that `deploy/` gives the policy that is installed by default, and its binding.
pub const OPERATOR_ONLY: &str = "membership-operator-only";

/// An account that writes objects in one namespace.
pub struct Account {
    client: Client,
    namespace: String,
}

/// What came of a write: the object, or the sentence that the user reads.
pub type Answer = Result<Value, String>;

/// A patch's media type.
pub const MERGE: &str = "application/merge-patch+json";

impl Account {
    /// The administrator, who is in `system:masters`.
    pub async fn admin(plane: &ControlPlane, ns: &Namespace) -> Self {
        Self::from(plane.admin_kubeconfig(), ns).await
    }

    /// The operator as deployed.
    pub async fn operator(plane: &ControlPlane, ns: &Namespace) -> Self {
        Self::from(operator_on(plane).await.kubeconfig(), ns).await
    }

    /// A tenant with the most careless role there is in its namespace: every verb on everything of our group, status and
    /// finalizers included. Returns once the policy is at work.
    pub async fn tenant(plane: &ControlPlane, ns: &Namespace) -> Self {
        let rules = json!([{"apiGroups": ["membership.dev"], "resources": ["*"], "verbs": ["*"]}]);
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "careless"}, "rules": rules});
        ns.apply(&[role]).await;
        let tenant = Self::bound(plane, ns, "tenant", "rolebinding", "role", "careless").await;
        ns.apply(&[membership("probe")]).await;
        let forged = json!({"status": {"activeRoles": "admin"}});
        let refused = format!("ValidatingAdmissionPolicy '{OPERATOR_ONLY}'");
        eventually(SOON, "the policy refuses a tenant's status", async || {
            let answer = tenant.patch("probe/status?dryRun=All", MERGE, &forged).await;
            match answer {
                Err(sentence) if sentence.contains(&refused) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        tenant
    }

    /// A ServiceAccount of this name in the namespace with a ClusterRole in all namespaces.
    pub async fn everywhere(plane: &ControlPlane, ns: &Namespace, name: &str, cluster_role: &str) -> Self {
        Self::bound(plane, ns, name, "clusterrolebinding", "clusterrole", cluster_role).await
    }

    /// A ServiceAccount of this name in the namespace with a ClusterRole there only.
    pub async fn here(plane: &ControlPlane, ns: &Namespace, name: &str, cluster_role: &str) -> Self {
        Self::bound(plane, ns, name, "rolebinding", "clusterrole", cluster_role).await
    }

    async fn bound(plane: &ControlPlane, ns: &Namespace, name: &str, binding: &str, kind: &str, role: &str) -> Self {
        ns.ok(&["create", "serviceaccount", name]).await;
        let account = format!("--serviceaccount={}:{name}", ns.name);
        let unique = format!("{}-{name}", ns.name);
        ns.ok(&["create", binding, &unique, &format!("--{kind}={role}"), &account]).await;
        let kubectl = plane.kubectl().as_service_account(&ns.name, name).await.unwrap();
        Self::from(kubectl.kubeconfig(), ns).await
    }

    async fn from(kubeconfig: &Path, ns: &Namespace) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap(), namespace: ns.name.clone() }
    }

    /// Patches a ProjectMembership, as `ci` or `ci/status`.
    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.request(Method::PATCH, &format!("projectmemberships/{path}"), kind, body).await
    }

    /// A merge patch of a ProjectMembership, as `ci` or `ci/status`.
    pub async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.patch(path, MERGE, body).await
    }

    /// A server-side apply of a ProjectMembership, as `ci` or `ci/status`: all its fields but its name.
    pub async fn apply(&self, path: &str, applied: &Value) -> Answer {
        let mut object = applied.clone();
        object["apiVersion"] = json!("membership.dev/v1alpha1");
        object["kind"] = json!("ProjectMembership");
        object["metadata"]["name"] = json!(path.trim_end_matches("/status"));
        let path = format!("{path}?fieldManager=test&force=true");
        self.patch(&path, "application/apply-patch+yaml", &object).await
    }

    /// Replaces a ProjectMembership, as `kubectl replace` does.
    pub async fn replace(&self, path: &str, object: &Value) -> Answer {
        self.request(Method::PUT, &format!("projectmemberships/{path}"), "application/json", object).await
    }

    /// Creates a ProjectMembership.
    pub async fn create(&self, object: &Value) -> Answer {
        self.request(Method::POST, "projectmemberships", "application/json", object).await
    }

    /// Asks whether the ProjectMembership could be created; nothing is kept.
    pub async fn try_create(&self, object: &Value) -> Answer {
        self.request(Method::POST, "projectmemberships?dryRun=All", "application/json", object).await
    }

    /// Any request of our group in the namespace.
    pub async fn request(&self, method: Method, path: &str, kind: &str, body: &Value) -> Answer {
        let path = format!("/apis/membership.dev/v1alpha1/namespaces/{}/{path}", self.namespace);
        let body = serde_json::to_vec(body).unwrap();
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind).body(body);
        match self.client.request(request.unwrap()).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// How the API server calls a ServiceAccount of a namespace.
pub fn name_of(ns: &Namespace, account: &str) -> String {
    format!("system:serviceaccount:{}:{account}", ns.name)
}

/// Our finalizer on the object, put there as the operator does it.
pub async fn held(operator: &Account, object: &str) {
    operator.merge(object, &json!({"metadata": {"finalizers": ["membership.dev/revoke"]}})).await.unwrap();
}

/// Fails unless the write was refused by this policy with this sentence, whole.
#[track_caller]
pub fn assert_refused(answer: Answer, policy: &str, sentence: &str) {
    let there = answer.expect_err("the write passed");
    let head = format!("denied request: {sentence}");
    assert!(there.contains(&format!("ValidatingAdmissionPolicy '{policy}'")), "another refusal: {there}");
    assert!(there.ends_with(&head), "\n  expected: {sentence}\n  there was: {there}");
}
