//! A namespace with both providers ready, and the ways to look at what is in force there.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use control_plane::{ControlPlane, Options};
use futures::FutureExt;
use serde_json::{Value, json};
use simulator::{Simulator, worlds};
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::in_memory::{InMemory, now};
use crate::operator::{ACCOUNT, NAMESPACE, Operator};
use crate::support::{self, Namespace, SOON, eventually};

static SHARED: OnceCell<(ControlPlane, Operator)> = OnceCell::const_new();

/// The control plane and the operator that the tests of this binary share.
pub async fn shared() -> &'static (ControlPlane, Operator) {
    SHARED
        .get_or_init(async || {
            let plane = support::start(Options { controller_manager: true, ..Options::default() }).await.unwrap();
            std::fs::create_dir_all(token_directory(&plane)).unwrap();
            let tokens = format!("--token-directory={}", token_directory(&plane).display());
            let operator = Operator::start_with(&plane, binary(), "operator", &[&tokens]).await.unwrap();
            (plane, operator)
        })
        .await
}

/// Where the shared operator finds its own tokens.
pub fn token_directory(plane: &ControlPlane) -> PathBuf {
    plane.dir().join("tokens")
}

/// The operator's binary; `OPERATOR_BINARY` names another, as one that was built for release.
pub fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = || env!("CARGO_BIN_EXE_membership-operator").into();
        std::env::var_os("OPERATOR_BINARY").map_or_else(own, PathBuf::from)
    });
    &BINARY
}

/// What one test has for itself: a namespace, and an Infisical and a ZITADEL with `worlds::demo()`, named by the
/// provider objects `infisical` and `zitadel`.
pub struct Stage {
    /// The API server, in the namespace of the test.
    pub api: Api,
    /// Both providers.
    pub simulator: Arc<Simulator>,
    kubectl: Option<Namespace>,
    memory: Option<InMemory>,
}

/// Runs a test on a stage of its own. A test that fails shows what the operator's log says of its namespace.
pub async fn with_stage(test: impl AsyncFnOnce(Stage)) {
    let (plane, operator) = shared().await;
    with_stage_on(plane, async |stage| {
        let namespace = stage.namespace().to_owned();
        if let Err(failure) = AssertUnwindSafe(test(stage)).catch_unwind().await {
            let log = std::fs::read_to_string(operator.log_file()).unwrap_or_default();
            // In the log a namespace stands before a dot, a slash or a quote.
            let ours = |line: &&str| {
                line.split(&namespace).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            let lines: Vec<&str> = log.lines().filter(ours).collect();
            eprintln!(
                "--- the operator's log on {namespace} ---\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
            resume_unwind(failure);
        }
    })
    .await;
}

/// As [`with_stage`], on another control plane.
pub async fn with_stage_on(plane: &ControlPlane, test: impl AsyncFnOnce(Stage)) {
    let ns = Namespace::unused(plane);
    let api = Api::new(plane, &ns.name).await;
    api.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns.name}})).await;
    let mut stage = Stage::furnished(api, Arc::new(Simulator::start().await.unwrap())).await;
    stage.kubectl = Some(ns);
    test(stage).await;
}

impl Stage {
    /// With the worlds of the demo, the credentials for them, and both provider objects.
    pub async fn furnished(api: Api, simulator: Arc<Simulator>) -> Self {
        simulator.load(&worlds::demo());
        let stage = Self { api, simulator, kubectl: None, memory: None };
        stage.api.apply(&[stage.access_to_secrets()]).await;
        stage.api.apply(&stage.secrets()).await;
        stage.api.apply(&[stage.infisical_provider(), stage.zitadel_provider()]).await;
        stage
    }

    /// The namespace of the test.
    pub fn namespace(&self) -> &str {
        self.api.namespace()
    }

    /// kubectl in the namespace of the test; for a test on the real API server.
    pub fn kubectl(&self) -> &Namespace {
        self.kubectl.as_ref().unwrap_or_else(|| panic!("there is no kubectl for an API server in memory"))
    }

    /// With an operator in this process.
    pub fn in_memory(self, memory: InMemory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The operator in this process; for a test in memory.
    pub fn memory(&self) -> &InMemory {
        self.memory.as_ref().unwrap_or_else(|| panic!("the operator is a process of its own"))
    }

    /// Lets the operator read the namespace's Secrets.
    pub fn access_to_secrets(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "membership-operator-secrets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "membership-operator-secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        })
    }

    /// The credentials.
    pub fn secrets(&self) -> [Value; 2] {
        let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        [
            secret(
                "infisical",
                json!({"client-id": worlds::INFISICAL_CLIENT_ID, "client-secret": worlds::INFISICAL_CLIENT_SECRET, "token": worlds::INFISICAL_TOKEN}),
            ),
            secret("zitadel", json!({"token": worlds::ZITADEL_TOKEN})),
        ]
    }

    /// The provider object `infisical`.
    pub fn infisical_provider(&self) -> Value {
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "MembershipProvider", "metadata": {"name": "infisical"},
            "spec": {"infisical": {"url": self.simulator.infisical().url(), "auth": {"universalAuth": {
                "clientIdSecretRef": {"name": "infisical", "key": "client-id"},
                "clientSecretSecretRef": {"name": "infisical", "key": "client-secret"},
            }}}},
        })
    }

    /// The provider object `zitadel`.
    pub fn zitadel_provider(&self) -> Value {
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "MembershipProvider", "metadata": {"name": "zitadel"},
            "spec": {"zitadel": {"url": self.simulator.zitadel().url(), "organizationId": worlds::ZITADEL_PROJECT_ORG,
                "auth": {"personalAccessTokenSecretRef": {"name": "zitadel", "key": "token"}}}},
        })
    }

    /// A membership of the Infisical identity `ci-deployer` in the project `web`.
    pub fn of_identity(&self, name: &str, roles: Value) -> Value {
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership", "metadata": {"name": name},
            "spec": {
                "providerRef": {"name": "infisical"},
                "project": {"id": worlds::INFISICAL_PROJECT},
                "subject": {"kind": "Identity", "id": worlds::INFISICAL_DEPLOYER},
                "roles": roles,
            },
        })
    }

    /// A membership of the ZITADEL user `ci-deployer` in the project `shop`.
    pub fn of_user(&self, name: &str, roles: Value) -> Value {
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership", "metadata": {"name": name},
            "spec": {
                "providerRef": {"name": "zitadel"},
                "project": {"id": worlds::ZITADEL_PROJECT},
                "subject": {"kind": "User", "id": worlds::ZITADEL_DEPLOYER},
                "roles": roles,
            },
        })
    }

    /// What `ci-deployer` may do at Infisical now, without the base that gives nothing.
    pub fn identity_roles(&self) -> BTreeSet<String> {
        let infisical = self.simulator.infisical();
        let roles = infisical.effective_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_DEPLOYER, now());
        roles.into_iter().filter(|role| role != "no-access").collect()
    }

    /// What `ci-deployer` may do at ZITADEL now.
    pub fn user_roles(&self) -> BTreeSet<String> {
        let zitadel = self.simulator.zitadel();
        zitadel.effective_roles(worlds::ZITADEL_PROJECT, worlds::ZITADEL_DEPLOYER, now())
    }

    /// Waits until `ci-deployer` has exactly these roles at Infisical.
    pub async fn identity_has(&self, roles: &[&str]) {
        holds("Infisical", roles, || self.identity_roles()).await;
    }

    /// Waits until `ci-deployer` has exactly these roles at ZITADEL.
    pub async fn user_has(&self, roles: &[&str]) {
        holds("ZITADEL", roles, || self.user_roles()).await;
    }

    /// Waits until a condition of an object has this status and reason; returns its message.
    pub async fn has_condition(&self, object: &str, type_: &str, status: &str, reason: &str) -> String {
        let expected = format!("{object}: {type_}={status} {reason}");
        let text = eventually(SOON, &expected, async || {
            let found = self.api.get(object).await;
            let conditions = found.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let condition = conditions.iter().find(|condition| condition["type"] == type_);
            let fits = condition.is_some_and(|c| c["status"] == status && c["reason"] == reason);
            if fits {
                Ok(condition.map(|c| c["message"].as_str().unwrap_or_default().to_owned()))
            } else {
                Err(format!("{conditions:#?}"))
            }
        })
        .await;
        text.unwrap_or_default()
    }

    /// Waits until the object is Ready for the generation that it has.
    pub async fn ready(&self, object: &str) {
        eventually(SOON, &format!("{object} is Ready"), async || {
            let found = self.api.get(object).await;
            let conditions = found.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let current = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            if ready && current { Ok(()) } else { Err(format!("{:#}", found["status"])) }
        })
        .await;
    }

    /// Deletes an object regardless of what keeps it, as an administrator can, and waits until it is gone.
    pub async fn delete_by_force(&self, object: &str) {
        self.api.delete_by_force(object).await;
        self.api.is_gone(object).await;
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(&self, object: &str) {
        self.api.ask_to_delete(object).await;
        self.api.is_gone(object).await;
    }
}

/// Role names as a provider answers them.
pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn holds(provider: &str, roles: &[&str], found: impl Fn() -> BTreeSet<String>) {
    let expected = set(roles);
    eventually(SOON, &format!("{provider} holds {expected:?}"), async || {
        let there = found();
        if there == expected { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
}
