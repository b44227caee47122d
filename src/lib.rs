//! A Kubernetes operator that keeps project memberships of Infisical and ZITADEL as declared, temporary grants included.
//!
//! A change to a ProjectMembership, a grant that starts or ends, a tick of the resync: all take the same road.
//!
//! ```text
//! watch ──► resolve ──► admit ──► permit ──► evaluate ──► observe ──► plan ──► act ──► confirm ──► report
//!           provider    spec,     budget,    grants at    roster of   one      the     a list      status, event,
//!           target      layers    one        `now`        the         change   write   begun       metric, next
//!                                 writer                  project                      after it    edge
//! ```
//!
//! | step | room | what is decided there |
//! |---|---|---|
//! | watch | [`controller`]`::watch`, [`controller::stored`], [`controller::wiring`], [`controller::targets`] | who has to look again |
//! | resolve | [`controller::resolve`], [`controller::names`], [`controller::provider_object`], [`controller::connections`], [`controller::precedence`] | which server, which target, which provider object takes precedence |
//! | admit | [`policy`], [`policy::allow`], [`controller::admit`], [`layers`] | whether a spec counts, and what objects on one target come to |
//! | permit | [`provider::quota`] | whose request is next: revocations first, fair by namespace |
//! | evaluate | [`grants`], [`clock`], [`controller::clocks`] | which role runs from when to when, and whether the clocks let it begin |
//! | observe | [`roster`] | what the provider holds: one list serves a project |
//! | plan | [`plan`](mod@plan) | the one change that puts the difference right |
//! | act | [`controller::act`], [`provider`] | sending it |
//! |     | [`lease`] | which of several replicas may |
//! | confirm | [`confirm`], [`controller::repairs`] | whether an observation shows it, and whether another writer keeps undoing it |
//! | end | [`controller::cleanup`], [`controller::departed`], [`controller::in_use`] | what an object that goes leaves behind: nothing |
//! |     | [`controller::replaced`] | what is left at the endpoint of a provider object that was replaced by force |
//! |     | [`renames`] | which roles of a record have another name by now |
//! | report | [`status`], [`controller::record`], [`changes`], [`notices`], [`events`], [`telemetry`], [`liveness`] | what is said of it |
//!
//! All requests to the API server go through [`kubernetes`], where their time limits are; [`controller::outage`] decides what
//! one that failed means, and holds back what waits while the API server is unavailable. [`controller::garbage`] drops what is
//! remembered of objects that are gone.
//!
//! [`controller::reconcile`] is the driver and reads in this order. [`verify`] walks the same road at a real server, without
//! Kubernetes.
//!
//! # What to know before changing anything
//!
//! - **The middle is pure.** [`policy`], [`grants`], [`layers`], [`plan`](mod@plan), [`confirm`] and [`status`] take
//!   values and `now` and return values. Everything that is hard about temporary grants is decided there, and tested
//!   in tables and properties (`tests/laws`).
//! - **The types keep the order.** An [`policy::Admitted`] comes from [`policy::admit`] alone, a [`plan::Plan`] from
//!   [`plan::plan`] alone.
//! - **The target is the unit.** One pass at a time works on a subject in a project, and what it plans is the union of
//!   all objects there. Each pass writes its own object's status only.
//! - **Written down first.** What a pass is about to grant stands in `status.managedRoles` before the provider hears of
//!   it, so that whoever comes after a crash knows what to take away.
//! - **Confirmed, not believed.** A server's yes is pending until an observation that began after it shows it.
//! - **Unknown is never empty.** A list that came back short removes nothing.

pub mod api;
pub mod arguments;
pub(crate) mod changes;
pub mod clock;
pub mod confirm;
pub mod controller;
pub mod crds;
pub(crate) mod events;
pub mod grants;
pub(crate) mod kubernetes;
pub mod layers;
pub mod lease;
pub(crate) mod liveness;
pub mod member;
pub(crate) mod notices;
pub mod plan;
pub mod policy;
pub mod provider;
pub(crate) mod renames;
mod replaceable;
mod roots;
pub mod roster;
pub(crate) mod round_robin;
pub mod status;
pub mod telemetry;
pub mod verify;
