//! The control plane that all tests of this binary share, and what a test does with it.
//!
//! ```ignore
//! with_namespace(async |ns| {
//!     ns.apply(&membership("ci", json!({"roles": [{"role": "viewer"}]}))).await;
//!     eventually(SOON, "Ready is True", async || ns.condition("pm/ci", "Ready").await.is("True")).await;
//! })
//! .await;
//! ```

mod namespace;
mod objects;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use control_plane::{Binaries, ControlPlane, Kubectl, Options};
use tokio::sync::OnceCell;

pub use namespace::{Namespace, with_namespace};
pub use objects::{changed, membership, provider, without};

/// A deadline for what takes moments: it only shows when something is broken.
pub const SOON: Duration = Duration::from_secs(20);

/// The operator's own namespace and ServiceAccount, as `deploy/` names them.
pub const OPERATOR: (&str, &str) = ("membership-system", "membership-operator");

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
static DEPLOYED: OnceCell<()> = OnceCell::const_new();

/// The control plane that the tests of this binary share, with `crds/` applied and served. It ends with the process.
pub async fn plane() -> &'static ControlPlane {
    let start = async || {
        let binaries = Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
        let plane = ControlPlane::start(&binaries, Options::default()).await.unwrap();
        let kubectl = plane.kubectl();
        kubectl.ok(&["apply", "--filename", &path("crds")]).await.unwrap();
        kubectl.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]).await.unwrap();
        plane
    };
    PLANE.get_or_init(start).await
}

/// kubectl as the administrator.
pub async fn admin() -> Kubectl {
    plane().await.kubectl()
}

/// kubectl as the operator's own ServiceAccount, with the rights that `deploy/` gives it and no more.
pub async fn operator() -> Kubectl {
    let admin = admin().await;
    let apply = async || {
        admin.ok(&["apply", "--kustomize", &path("deploy")]).await.unwrap();
    };
    DEPLOYED.get_or_init(apply).await;
    admin.as_service_account(OPERATOR.0, OPERATOR.1).await.unwrap()
}

/// A file or folder of the repository, for an argument of kubectl.
pub fn path(relative: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(relative).to_str().expect("the repository's path is UTF-8").to_owned()
}

/// Asks again and again until `poll` says `Ok`, and returns what it said; fails at the deadline with what was expected
/// and what was there the last time.
pub async fn eventually<T>(deadline: Duration, expected: &str, mut poll: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match poll().await {
            Ok(found) => return found,
            Err(there) if began.elapsed() >= deadline => {
                panic!("after {deadline:?}\n  expected: {expected}\n  there was: {there}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Fails with both texts unless `actual` contains `expected`.
#[track_caller]
pub fn assert_contains(actual: &str, expected: &str) {
    assert!(actual.contains(expected), "\n  expected: {expected}\n  there was: {actual}");
}
