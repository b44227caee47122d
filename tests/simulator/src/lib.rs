//! The simulated providers: Infisical and ZITADEL in memory, on 127.0.0.1, with the responses of the real servers.
//! Their behaviour was recorded at running servers (`tests/contracts`) or, if it could not be recorded, is taken from
//! their source (`docs/reference/infisical.md`, `docs/reference/zitadel.md`). `make test-contracts` sends the recorded
//! requests to the simulator and compares the responses field by field.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulator::{Fault, Order, RoleRow, Simulator};
//!
//! let simulator = Simulator::start().await?;
//! let infisical = simulator.infisical();
//! infisical.add_project("6ec3d92b-3251-4084-9a12-ffb509a03ffc", "web", "Web");
//! infisical.add_identity("24160fbf-24bd-49d7-95de-feb53df75187", "ci-deployer");
//! infisical.order(Order::next(Fault::ResetAfter).on("PATCH", "identity-memberships"));
//! # Ok(()) }
//! ```
//!
//! One module per API area; state is kept apart from HTTP:
//! - `front`: the port, the clock, the orders, the log, `/_simulator`: the same for both
//! - `infisical`: its state, who calls and signs in, what a role may do, memberships of identities, users and groups
//! - `zitadel`: its event store, its projection, who calls and what it may, members of projects and of grants by either
//!   API, names, signing in
//! - [`worlds`]: worlds as JSON, and the one of the demo

mod front;
mod infisical;
mod simulator;
pub mod worlds;
mod zitadel;

pub use front::{Answer, Fault, Front, Handler, Order, Request, When};
pub use infisical::{
    ErrorStyle, Generations, Infisical, Jwt, KubernetesLogin, Limits, Mail, OidcLogin, OrgRole, Review, RoleRow,
    SubOrganization, Window,
};
pub use simulator::{Handlers, Simulator};
pub use zitadel::{Resource, Scope, ServerGeneration, Zitadel};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic of the previous holder: the states here are never left partly changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
