//! The control plane: a real etcd with fsync and a real kube-apiserver, with `crds/` and `deploy/` applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::{Method, Request, header};
use control_plane::{Binaries, ControlPlane, Filter, Mark, Options};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use simulator::worlds;

use crate::error::{Doing, Error, Result};
use crate::progress;
use crate::targets::{Kind, NAMESPACE, Target};

/// The operator's namespace and ServiceAccount, as `deploy/` names them.
pub const OPERATOR: (&str, &str) = ("membership-system", "membership-operator");
/// The longest wait for something that takes moments.
const SOON: Duration = Duration::from_secs(60);
/// How long nothing must have been asked for until the operator counts as idle.
const QUIET: Duration = Duration::from_millis(2000);

/// The API server.
pub struct Cluster {
    /// The processes.
    pub plane: ControlPlane,
    /// The kubeconfig of the operator's ServiceAccount.
    pub kubeconfig: PathBuf,
    admin: Client,
    account: Client,
}

/// What one user asked of the API server.
#[derive(Clone, Debug, Default)]
pub struct Asked(pub BTreeMap<String, usize>);

impl Asked {
    /// How many requests were of this kind, as `patch projectmemberships/status`.
    pub fn of(&self, request: &str) -> usize {
        self.0.get(request).copied().unwrap_or_default()
    }

    /// How many wrote to memberships.
    pub fn writes(&self) -> usize {
        ["create", "update", "patch", "delete"]
            .iter()
            .flat_map(|verb| ["", "/status"].map(|sub| self.of(&format!("{verb} projectmemberships{sub}"))))
            .sum()
    }

    /// How many events were written.
    pub fn events(&self) -> usize {
        self.of("create events") + self.of("patch events") + self.of("update events")
    }

    /// How many wrote anything but the Lease.
    pub fn all_writes(&self) -> usize {
        let is_write =
            |request: &str| ["create ", "update ", "patch ", "delete "].iter().any(|w| request.starts_with(w));
        self.0.iter().filter(|(request, _)| is_write(request) && !request.ends_with(" leases")).map(|(_, n)| n).sum()
    }
}

impl Cluster {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(|| Binaries::obtain(&|line| progress::say(line)));
        let binaries = binaries.await.doing("get etcd and kube-apiserver")??;
        let plane = ControlPlane::start(&binaries, Options { fsync: true, ..Options::default() }).await?;
        let kubectl = plane.kubectl();
        kubectl.ok(&["apply", "--filename", &path("crds")?]).await?;
        kubectl.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
        kubectl.ok(&["apply", "--kustomize", &path("deploy")?]).await?;
        kubectl.ok(&["create", "namespace", NAMESPACE]).await?;
        let account = kubectl.as_service_account_for(OPERATOR.0, OPERATOR.1, Duration::from_secs(12 * 3600)).await?;
        let kubeconfig = account.kubeconfig().to_owned();
        let admin = client(plane.admin_kubeconfig()).await?;
        let account = client(&kubeconfig).await?;
        let cluster = Self { plane, kubeconfig, admin, account };
        cluster.until_served().await?;
        Ok(cluster)
    }

    /// The kinds are served a moment after their definitions are established.
    async fn until_served(&self) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.count().await {
            if began.elapsed() > SOON {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Creates what the operator needs to use a provider: the right to read Secrets, the Secret, and the provider object.
    pub async fn add_provider(&self, kind: Kind, url: &str, spec: &Value) -> Result<()> {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "membership-operator-secrets", "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "membership-operator-secrets"},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR.1, "namespace": OPERATOR.0}],
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": kind.name(), "namespace": NAMESPACE},
            "stringData": {"token": match kind {
                Kind::Infisical => worlds::INFISICAL_TOKEN,
                Kind::Zitadel => worlds::ZITADEL_TOKEN,
            }},
        });
        let token = json!({"name": kind.name(), "key": "token"});
        let connection = match kind {
            Kind::Infisical => json!({"url": url, "auth": {"tokenSecretRef": token}}),
            Kind::Zitadel => json!({
                "url": url, "organizationId": worlds::ZITADEL_PROJECT_ORG, "auth": {"personalAccessTokenSecretRef": token},
            }),
        };
        let mut provider = json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "MembershipProvider",
            "metadata": {"name": kind.name(), "namespace": NAMESPACE}, "spec": spec,
        });
        provider["spec"][kind.name()] = connection;
        for object in [binding, secret, provider] {
            self.plane.kubectl().apply(&object.to_string()).await?;
        }
        Ok(())
    }

    /// Changes the spec of a provider object.
    pub async fn change_provider(&self, kind: Kind, spec: &Value) -> Result<()> {
        let path = format!("{}/membershipproviders/{}", base(), kind.name());
        let body = json!({"spec": spec});
        ask(&self.admin, Method::PATCH, &path, MERGE, Some(&body)).await.map(drop)
    }

    /// Creates objects, many at once.
    pub async fn create(&self, doing: &str, objects: Vec<Value>) -> Result<Duration> {
        let path = format!("{}/projectmemberships?fieldManager=bench", base());
        progress::each(doing, objects, async |object| {
            ask(&self.admin, Method::POST, &path, "application/json", Some(&object)).await.map(drop)
        })
        .await
    }

    /// Changes the specs of objects, many at once.
    pub async fn change(&self, doing: &str, changes: Vec<(Target, Value)>) -> Result<Duration> {
        progress::each(doing, changes, async |(target, spec)| {
            let body = json!({"spec": spec});
            ask(&self.admin, Method::PATCH, &object(target), MERGE, Some(&body)).await.map(drop)
        })
        .await
    }

    /// Asks for the end of objects, many at once.
    pub async fn delete(&self, doing: &str, targets: &[Target]) -> Result<Duration> {
        progress::each(doing, targets.to_vec(), async |target| self.delete_one(target).await).await
    }

    /// Asks for the end of an object.
    pub async fn delete_one(&self, target: Target) -> Result<()> {
        ask(&self.admin, Method::DELETE, &object(target), "application/json", None).await.map(drop)
    }

    /// How many memberships there are.
    pub async fn count(&self) -> Result<usize> {
        let path = format!("{}/projectmemberships?limit=1", base());
        let list = ask(&self.admin, Method::GET, &path, "application/json", None).await?;
        let shown = list["items"].as_array().map_or(0, Vec::len);
        let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
        Ok(shown + usize::try_from(more).unwrap_or(usize::MAX))
    }

    /// Waits until all memberships are gone.
    pub async fn until_gone(&self, doing: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.count().await? {
                0 => return Ok(()),
                left if began.elapsed() > limit => {
                    return Err(Error::new(format!("{doing}: after {limit:?} there are still {left} memberships")));
                }
                left => progress::show(&format!("{doing}, objects left"), left, left, began.elapsed()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An object as it is stored.
    pub async fn get(&self, target: Target) -> Result<Value> {
        ask(&self.admin, Method::GET, &object(target), "application/json", None).await
    }

    /// A request of the operator's ServiceAccount, which the generator uses too.
    pub async fn as_operator(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        ask(&self.account, method, path, MERGE, body).await
    }

    /// Now, in the log of the API server.
    pub fn mark(&self) -> Result<Mark> {
        Ok(self.plane.audit().mark()?)
    }

    /// What the operator's ServiceAccount asked since `mark`.
    pub fn asked(&self, mark: Mark) -> Result<Asked> {
        Ok(Asked(self.plane.audit().table(mark, &operator())?))
    }

    /// Waits until the operator asks nothing of the API server any more, besides its watches and its Lease.
    pub async fn until_quiet(&self, doing: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let mut quiet = Instant::now();
        let mut mark = self.mark()?;
        while quiet.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let next = self.mark()?;
            let asked = self.asked(mark)?;
            let busy = asked.0.keys().any(|request| !request.starts_with("watch ") && !request.ends_with(" leases"));
            mark = next;
            if busy {
                quiet = Instant::now();
            }
            if began.elapsed() > limit {
                return Err(Error::new(format!("{doing}: the operator is still at work after {limit:?}: {asked:?}")));
            }
        }
        Ok(())
    }

    /// Stops everything.
    pub async fn stop(self) -> Result<()> {
        Ok(self.plane.stop().await?)
    }
}

const MERGE: &str = "application/merge-patch+json";

fn operator() -> Filter {
    Filter::new().user(format!("system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1))
}

fn base() -> String {
    format!("/apis/membership.dev/v1alpha1/namespaces/{NAMESPACE}")
}

/// The path of an object.
pub fn object(target: Target) -> String {
    format!("{}/projectmemberships/{}", base(), target.object())
}

/// A file or folder of the repository.
fn path(of: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(of);
    Ok(path.canonicalize().doing(&format!("find {of} in the repository"))?.display().to_string())
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).doing("read a kubeconfig")?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.doing("use a kubeconfig")?;
    Client::try_from(config).doing("make a client of the API server")
}

async fn ask(client: &Client, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Value> {
    let doing = format!("{method} {path}");
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind).body(body);
    client.request(request.doing(&doing)?).await.doing(&doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_without_the_lease_and_apart_from_events() {
        let asked = Asked(BTreeMap::from([
            ("patch projectmemberships".to_owned(), 10),
            ("patch projectmemberships/status".to_owned(), 10),
            ("create events".to_owned(), 9),
            ("update leases".to_owned(), 5),
            ("list projectmemberships".to_owned(), 2),
            ("patch membershipproviders/status".to_owned(), 1),
        ]));
        assert_eq!((asked.writes(), asked.events(), asked.all_writes()), (20, 9, 30));
    }
}
