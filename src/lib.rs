//! A Kubernetes operator that keeps project memberships of Infisical and ZITADEL as declared, temporary grants included.
//!
//! # The pipeline
//!
//! The unit of work is the *target*: one subject in one project, through one provider object. All ProjectMemberships that
//! name it are its *declarations*. In the controller, its key is a [`Unit::Target`](controller::state::targets::Unit). A changed object, a grant that starts or ends, and the resync lead to the same *pass*
//! over the target, [`controller::reconcile::pass`]:
//!
//! ```text
//! watch ─► queue ─► snapshot ─► evaluate ─► observe ─► plan ─► record ─► permit ─► apply ─► confirm ─► report
//!          by       the         admission,  a list of  one     finalizer quota of  the      a list     status of each
//!          target   caches      grants at   the        change  and       the       write    that       declaration,
//!                               `now`       project            annotation provider          began      events, time of
//!                                                              (a PATCH)                    later      the next pass
//!                              └─ core::step::next_step ─┘
//! ```
//!
//! A pass is a loop: it takes a snapshot and calls [`core::step::decide`], which notes in the memory what was observed
//! and calls the pure function [`core::step::next_step`]. It carries out the [`core::step::Step`] and decides again,
//! until the step is a report. A step that waits for a list, for a permit of the quota or for a slot to write to the
//! API server ends the pass: it leaves a *ticket* in the queue (or a time, if the list may only begin later), and the
//! next pass gets what the ticket brought.
//! That pass takes a new snapshot and decides again, so that a permit is used only if a write is still the next step.
//!
//! | stage | in `controller/reconcile.rs` | modules | what is decided |
//! |---|---|---|---|
//! | watch | | [`controller::wiring`], `controller::watch`, [`controller::stored`] | which objects were changed by others; their keys are woken |
//! | queue | `pass` is started with a key, and returns a [`controller::queue::NextPass`] | [`controller::queue`], [`controller::state::targets`], `core::places` | which key is next. An object with a name that is not resolved, or without a place among the 64 declarations of its target, is a key of its own, and so is a provider object, which is checked |
//! | (own key) | `object::pass` | `controller::object`, [`controller::names`] | the ids that its names stand for; resolved, it belongs to its target's key |
//! | snapshot | `snapshot::take` | [`controller::snapshot`], [`controller::resolve`], [`controller::precedence`], [`controller::connections`]; [`core::snapshot`] | which declarations, provider object, rules and clocks count at this instant (the record takes the time again when it is written) |
//! | evaluate | `decide` | [`core::evaluation`], [`core::policy`], [`core::grants`], [`core::layers`] | which declaration counts, and which role is in effect from when to when |
//! | observe | `decide`, `until_listed` (`Step::Observe`) | [`core::step`], [`controller::roster`] | whether what is known of the project is recent enough; one list serves all its targets |
//! | plan | `decide` | [`core::plan`], [`core::renames`], [`core::drift`] | the one change that removes the difference, or none |
//! | record | `record::write` (`Step::Record`) | `controller::record`, [`core::record`], [`api::membership::PendingGrants`] | what is about to be granted: the annotation `membership.dev/pending-grants`, in the PATCH that also adds the finalizer |
//! | permit | `until_permitted` (`Step::Apply`) | [`provider::quota`] | which request of all targets is next: due ends first, fair by namespace |
//! | apply | `apply::send` (`Step::Apply`, with the permit) | `controller::apply`, [`provider`] | the requests of the change |
//! | confirm | `until_listed`, then `decide`; `report::confirmed`; `apply::explain` (`Step::Explain`) if no list ever shows the write | [`core::confirm`], [`core::memory`] | whether a list shows the write, or it was lost, or undone by another writer |
//! | report | `report::all` (`Step::Report`) | `controller::report`, `controller::release`, [`core::report`], [`core::status`] | the status of each declaration, whether its finalizer is removed, and when the next pass is due |
//!
//! # One ProjectMembership, from `kubectl apply` to its end
//!
//! 1. The watch shows the object. [`controller::state::targets`] enters it in the index of targets, and the key of its target is
//!    woken in the queue with the urgency of a grant.
//! 2. The first pass finds no list of the project: `Step::Observe`. The pass ends with a ticket for the list.
//! 3. The next pass has the list. The grant is in effect and not recorded, so that the plan does not contain it yet:
//!    `Step::Record`. One PATCH adds the finalizer `membership.dev/revoke` and the annotation with the role and its
//!    window. (Before the first membership of a provider object, [`controller::in_use`] adds a finalizer to that.) The
//!    loop continues.
//! 4. The grant is recorded, and the plan contains it: `Step::Apply`. The pass has no permit, and ends with a ticket for one.
//!    (A change that could overwrite what another writer has added first needs a list that began after it was planned.)
//! 5. With the permit, the pass takes a new snapshot and decides again. If the step is still a write, `apply::send` sends
//!    what was decided now; if not, the permit is returned unused.
//! 6. The response is kept in [`core::memory`] as a write that is not confirmed: `Step::Observe`, with a list that begins
//!    after the write ended. When it shows the write, the event `Granted` is emitted. A write to ZITADEL that no list
//!    shows is repeated after two seconds, twice at most, as long as the same roles are to be granted and removed. At
//!    Infisical, a list always shows what is in force: a difference is planned again immediately, three times at most.
//! 7. Nothing differs: `Step::Report`. The status is written; its `managedRoles` now contain the record, and
//!    `observedPendingGrants` has the number of the record. The key waits for the next start or end of a grant, or for the
//!    resync.
//! 8. At the end of the window, the queue starts a pass with the urgency of an end. The grant is no longer in effect,
//!    the plan removes the role, and steps 4 to 7 follow.
//! 9. After `kubectl delete`, the declaration counts as leaving. If it has recorded nothing (its grants have ended),
//!    `Step::Release` removes the finalizer immediately. Otherwise the plan removes what it recorded and no other
//!    declaration keeps; when that is confirmed, the report releases the object (`controller::release`).
//! # Outside the pipeline
//!
//! - [`controller::providers`] checks provider objects and creates their [`controller::connections`];
//!   [`controller::in_use`] keeps a provider object until none of its memberships has the operator's finalizer.
//! - [`controller::tombstones`] keeps objects that were deleted after another writer had removed their finalizers, and
//!   [`controller::replaced`] the access at a former endpoint; both are declarations of a target like any other.
//! - When a pass that the API server stopped is retried is decided in [`controller::state::outage`], from what
//!   [`controller::faults`] collects. While the API server is unavailable, `controller::probe` probes it.
//! - [`controller::state`] is the state in memory; nothing there begins a request. [`controller::garbage`] drops the
//!   state of objects that no longer exist.
//! - [`lease`] decides which replica may write. All requests to the API server go through `kubernetes`, which has their time
//!   limits.
//! - [`cli::verify`] drives [`core::step::decide`] against a real server, for a ProjectMembership in memory.
//!
//! # Modules
//!
//! Each module uses only those before it, which `tests/modules.rs` checks:
//! [`api`], [`clock`], [`core`](mod@crate::core), `transport`, [`telemetry`], [`lease`], `kubernetes`, [`provider`],
//! [`controller`], [`cli`].
//!
//! # What to know before a change
//!
//! - **Decisions are pure.** [`core`](mod@crate::core) takes values and `now` and returns values. All control flow of a pass
//!   is in [`core::step`], and is tested with tables, properties and seeded histories (`tests/laws`).
//! - **Types enforce the order.** A [`core::policy::Admitted`] comes only from [`core::policy::admit`], a
//!   [`core::plan::Plan`] that changes something only from [`core::plan::plan`], and a request to a provider needs a
//!   [`provider::quota::Permit`].
//! - **The target is the unit of work.** One pass at a time works on a target, with all its declarations. It makes one change
//!   at a time, and reports to each declaration.
//! - **Recorded before granted.** A plan contains only grants that their declarations have recorded, so that the next process
//!   knows what to revoke after a crash. There is no exception.
//! - **A response is no proof.** A successful write is pending until a list that began after it shows its result.
//! - **Unknown is never empty.** A failed or incomplete list is an error, except that a grant whose end has passed is
//!   removed from the last known row while lists fail. A list serves for at most the resync interval; what needs a newer
//!   one (the first decision for an object or a changed spec, a write that could overwrite another writer's change) says
//!   so in its `Step::Observe`.
//! - **A stale cache is harmless.** Every write to the API server has the resourceVersion on which it was decided, so that
//!   a newer object refuses it. The operator's own writes are known before the watch shows them
//!   ([`controller::state::own_writes`]).
//! - **What waits is an entry, not a future.** A target that waits for a time is a few hundred bytes in the queue. One that
//!   waits for a list, a permit or a slot has a small future for that; the pass itself has ended. (Look-ups of names, and a
//!   pass that writes to the API server, wait inside: there are at most 64 such passes, with 32 writes. What is due to end
//!   needs no slot, and near the memory limit there is none for a grant.)
//! - **Memory may be lost.** [`core::memory`] saves requests and delays; access depends on the objects and on the provider
//!   only. There is one exception: the tombstones of objects whose finalizer was removed by force, and the access at a
//!   provider object's former endpoint after it was replaced by force, are known to the running process only.

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
