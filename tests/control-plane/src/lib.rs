//! A real control plane for tests and the demo: etcd, kube-apiserver and, where
//! a test needs it, kube-controller-manager, as processes on this machine,
//! without containers.
//!
//! ```no_run
//! # async fn example() -> Result<(), control_plane::Error> {
//! use control_plane::{Binaries, ControlPlane, Filter, Options};
//!
//! let binaries = Binaries::obtain(&|line| eprintln!("{line}"))?;
//! let plane = ControlPlane::start(&binaries, Options::default()).await?;
//! let mark = plane.audit().mark()?;
//! plane.kubectl().ok(&["create", "namespace", "web"]).await?;
//! let created = plane.audit().count(mark, &Filter::new().verb("create").resource("namespaces"))?;
//! assert_eq!(created, 1);
//! plane.stop().await?;
//! # Ok(()) }
//! ```
//!
//! What is real and what isn't: API machinery, admission, RBAC, Pod Security,
//! validation rules and tokens of service accounts are the real ones. There is
//! no kubelet and no scheduler, so a Deployment is accepted and never runs.
//! Without the controller manager a namespace never goes away, owners aren't
//! collected, and no namespace gets a `default` ServiceAccount (so that a Pod
//! is refused).
//!
//! Everything that is started ends with the process that started it, also when
//! that one is killed (see `watchdog.rs`).

mod audit;
mod binaries;
mod control_plane;
mod error;
mod go_build;
mod kubeconfig;
mod kubectl;
mod launch;
mod server;
mod tcp_proxy;
mod watchdog;

pub use audit::{Audit, Event, Filter, Mark};
pub use binaries::Binaries;
pub use control_plane::{ControlPlane, Options};
pub use error::Error;
pub use kubectl::{Kubectl, Output};
pub use server::{Server, free_port, http_get};
pub use tcp_proxy::TcpProxy;
