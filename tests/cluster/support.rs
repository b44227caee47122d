//! The control plane that the schema's tests share, and what a test does with one.
//!
//! ```ignore
//! with_namespace(async |ns| {
//!     ns.apply(&[membership("ci")]).await;
//!     eventually(SOON, "Ready is True", async || ns.condition("pm/ci", "Ready", "True").await).await;
//! })
//! .await;
//! ```
//!
//! No operator runs on [`plane`]: it would change what the schema's tests read. Tests with an operator share another
//! one, started by [`start`]; [`with_namespace_on`] and [`operator_on`] are for any of them.

// Written in full, because `tests/operator` takes this file in by its path.
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/objects.rs"]
mod objects;

use std::path::PathBuf;
use std::time::Duration;

use control_plane::{Binaries, ControlPlane, Error, Kubectl, Options};
use tokio::sync::OnceCell;
use tokio::time::Instant;

#[allow(unused_imports, reason = "each of the two binaries uses its share")]
pub use namespace::{Namespace, with_namespace, with_namespace_on};
#[allow(unused_imports, reason = "each of the two binaries uses its share")]
pub use objects::{changed, membership, provider, without};

/// A deadline for what takes moments: it only shows when something is broken.
pub const SOON: Duration = Duration::from_secs(60);

/// The operator's own namespace and ServiceAccount, as `deploy/` names them.
pub const OPERATOR: (&str, &str) = ("membership-system", "membership-operator");

// What can't start fails every test at once, and is tried once.
static PLANE: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();

/// The control plane without an operator. It ends with the process.
pub async fn plane() -> &'static ControlPlane {
    let start = async || start(Options::default()).await.map_err(|error| error.to_string());
    PLANE.get_or_init(start).await.as_ref().unwrap_or_else(|error| panic!("no control plane: {error}"))
}

/// Starts a control plane, with `crds/` and `deploy/` applied and the kinds served.
pub async fn start(options: Options) -> Result<ControlPlane, Error> {
    let plane = start_bare(options).await?;
    plane.kubectl().ok(&["apply", "--kustomize", &path("deploy")]).await?;
    Ok(plane)
}

/// Starts a control plane, with `crds/` applied and the kinds served.
pub async fn start_bare(options: Options) -> Result<ControlPlane, Error> {
    let binaries = Binaries::obtain(&|line| eprintln!("{line}"))?;
    let plane = ControlPlane::start(&binaries, options).await?;
    let kubectl = plane.kubectl();
    kubectl.ok(&["apply", "--filename", &path("crds")]).await?;
    kubectl.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]).await?;
    // The schema that kubectl validates against and explains is published a moment after that.
    eventually(SOON, "kubectl explains all kinds", async || {
        for kind in ["clustermembershipproviders.spec", "membershipproviders.spec", "projectmemberships.spec"] {
            kubectl.ok(&["explain", kind]).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await;
    Ok(plane)
}

/// kubectl as the operator's own ServiceAccount, with the rights that `deploy/` gives it and no more. Its `kubeconfig()`
/// is what an operator that is started as a process takes as `KUBECONFIG`.
pub async fn operator_on(plane: &ControlPlane) -> Kubectl {
    plane.kubectl().as_service_account(OPERATOR.0, OPERATOR.1).await.unwrap()
}

/// A file or folder of the repository, for an argument of kubectl.
pub fn path(relative: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative);
    path.canonicalize().unwrap().to_str().expect("the repository's path is UTF-8").to_owned()
}

/// How long to wait between two looks: what takes long is looked at less often, since each look costs the API server and
/// the test what the others could use.
fn pause(waited: Duration) -> Duration {
    (waited / 10).clamp(Duration::from_millis(50), Duration::from_millis(250))
}

/// Asks again and again until `poll` returns `Ok`, and returns its value; fails at the deadline with what was expected
/// and what was there the last time.
pub async fn eventually<T>(deadline: Duration, expected: &str, mut poll: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match poll().await {
            Ok(found) => return found,
            Err(there) if began.elapsed() >= deadline => {
                panic!("after {deadline:?}\n  expected: {expected}\n  there was: {there}")
            }
            Err(_) => tokio::time::sleep(pause(began.elapsed())).await,
        }
    }
}

/// Fails with both texts unless `actual` contains `expected`.
#[track_caller]
pub fn assert_contains(actual: &str, expected: &str) {
    assert!(actual.contains(expected), "\n  expected: {expected}\n  there was: {actual}");
}
