//! A Kubernetes operator that keeps project memberships of Infisical and ZITADEL as declared, temporary grants included.
//!
//! # One reconciliation
//!
//! A changed ProjectMembership, a grant that starts or ends, and the resync all lead to the same reconciliation (a *pass*).
//! [`controller::reconcile`] runs one, and its code has this order:
//!
//! ```text
//! watch ──► resolve ──► admit ──► observe ──► plan ──► record ──► permit ──► apply ──► confirm ──► report
//!           provider    spec,     roster of   one      what will  the        the       a list      status, event,
//!           object,     grants    the         change   be         provider's change    that began  metric, time of
//!           target      at `now`  project              granted    quota                after it    the next pass
//! ```
//!
//! | stage | modules | what is decided |
//! |---|---|---|
//! | watch | [`controller::wiring`], [`controller::stored`], [`controller::targets`] | which objects are reconciled after an event |
//! | resolve | [`controller::resolve`], [`controller::names`], [`controller::provider_object`], [`controller::connections`], [`controller::precedence`], [`controller::places`] | the server, the target, and which declarations of the target are evaluated |
//! | admit | [`core::policy`], [`core::policy::allow`], [`controller::admit`], [`core::grants`], [`core::layers`], [`controller::clocks`] | whether a spec is valid and allowed, which role is in effect from when to when, and what all declarations of a target add up to |
//! | observe | [`controller::roster`] | what the provider shows; one list serves all memberships of a project |
//! | plan | [`core::plan`], `core::renames`, [`controller::repairs`] | the one change that removes the difference, or none |
//! | record | [`controller::record`] | what has to be in the status before the provider is asked |
//! | permit | [`provider::quota`] | which request is next: due ends first, fair by namespace |
//! | apply | [`controller::converge`], [`controller::act`], `controller::fallback`, [`provider`] | the requests, and what is sent instead of a refused change |
//! | confirm | [`core::confirm`] | whether a list shows the change, or another writer undid it |
//! | report | [`core::status`], `core::changes`, `core::notices`, [`controller::reporting`], `controller::events`, [`telemetry`] | what users are told |
//!
//! Deletions end in [`controller::cleanup`]; [`controller::tombstones`] revokes the access of objects whose finalizer was
//! removed by force, and [`controller::replaced`] that of provider objects that were. [`controller::in_use`] keeps a
//! provider object until its memberships are gone. [`lease`] decides which replica may write.
//!
//! All requests to the API server go through `kubernetes`, which has their time limits. [`controller::outage`] holds back
//! what waits while the API server is unavailable, and [`controller::garbage`] drops the memory of objects that are gone.
//! [`cli::verify`] runs the same stages against a real server, without Kubernetes.
//!
//! # Modules
//!
//! Each module uses only those before it, which `tests/modules.rs` checks:
//! [`api`], [`clock`], [`core`](mod@crate::core), `transport`, [`telemetry`], [`lease`], `kubernetes`, [`provider`],
//! [`controller`], [`cli`].
//!
//! # What to know before a change
//!
//! - **Decisions are pure.** [`core`](mod@crate::core) takes values and `now` and returns values. Everything that is
//!   difficult about temporary grants is decided there and tested with tables and properties (`tests/laws`).
//! - **Types enforce the order.** A [`core::policy::Admitted`] comes only from [`core::policy::admit`], a
//!   [`core::plan::Plan`] only from [`core::plan::plan`].
//! - **The target is the unit of work.** One pass at a time works on a subject in a project, and its plan is the union of
//!   all declarations of that target. Each pass writes the status of its own object only.
//! - **Recorded before granted.** What a pass is about to grant is in `status.managedRoles` before the provider is asked, so
//!   that the next process knows what to revoke after a crash.
//! - **A response is no proof.** A successful write is pending until a list that began after it shows its result.
//! - **Unknown is never empty.** An incomplete list removes nothing.

pub mod api;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod core;
pub(crate) mod kubernetes;
pub mod lease;
pub mod provider;
pub mod telemetry;
pub(crate) mod transport;
