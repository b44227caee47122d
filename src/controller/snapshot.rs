//! Takes a snapshot of a target from the caches.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::connections::Connection;
use super::context::Context;
use super::precedence;
use super::provider_key::ProviderKey;
use super::resolve::{self, Resolved, Unresolved, resolve};
use super::roster::Roster;
use super::state::targets::Unit;
use super::state::tombstones;
use crate::api::ProjectMembership;
use crate::core::clocks;
use crate::core::member::Capabilities;
use crate::core::policy::Refusal;
use crate::core::precedence::Evidence;
use crate::core::snapshot::{Declaration, ProviderView, Snapshot};

/// What the caches contain of a target.
pub struct CachedTarget {
    /// The declarations whose references cannot be resolved, each with the reason.
    pub unresolved: Vec<(Arc<ProjectMembership>, Refusal)>,
    /// The others; `None`: there are none, or the provider object is being checked for the first time.
    pub taken: Option<ConnectedSnapshot>,
}

/// A snapshot, and the connection through which its target is observed and changed.
pub struct ConnectedSnapshot {
    pub snapshot: Snapshot,
    pub connection: Arc<Connection>,
    /// What is known of the project's members.
    pub roster: Arc<Roster>,
    /// How far the clock of the snapshot is ahead of the operator's clock.
    lead: SignedDuration,
}

impl ConnectedSnapshot {
    /// How long it is until `at`, by the clock of the snapshot.
    pub fn until(&self, ctx: &Context, at: Timestamp) -> Duration {
        let now = ctx.now().saturating_add(self.lead).unwrap_or(Timestamp::MAX);
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    }

    /// The declaration of the object with this uid.
    pub fn declaration(&self, uid: &str) -> Option<&Declaration> {
        self.snapshot.declarations.iter().find(|declaration| declaration.uid() == uid)
    }
}

/// Takes a snapshot of a target.
pub fn take(ctx: &Context, unit: &Unit) -> CachedTarget {
    let mut resolved: Vec<(Arc<ProjectMembership>, Resolved)> = Vec::new();
    let mut unresolved = Vec::new();
    for object in ctx.declarations(unit) {
        match resolve(ctx, &object) {
            Ok(found) => resolved.push((object, found)),
            Err(Unresolved::Refused(refusal)) => unresolved.push((object, refusal)),
            // The check of the provider object, or the lookup of the name, starts another pass.
            Err(Unresolved::Checking | Unresolved::Named(..)) => {}
        }
    }
    CachedTarget { unresolved, taken: common(ctx, unit, resolved) }
}

/// The snapshot of the declarations that share a connection, which are all of them unless provider objects were removed
/// by force.
fn common(ctx: &Context, unit: &Unit, resolved: Vec<(Arc<ProjectMembership>, Resolved)>) -> Option<ConnectedSnapshot> {
    // A project belongs to one organization, whether or not an object names it. One that names a wrong organization
    // does not affect the others.
    let rank = |(_, found): &&(Arc<ProjectMembership>, Resolved)| (found.retired, found.evidence() == Evidence::Unable);
    let (_, first) = resolved.iter().min_by_key(rank)?;
    let Resolved { connection, named, unready, leaving, target, retired } = first.clone();
    let shares = |found: &Resolved| {
        let (ours, theirs) = (&target.project, &found.target.project);
        Arc::ptr_eq(&found.connection, &connection) && (&ours.id, &ours.grant_id) == (&theirs.id, &theirs.grant_id)
    };
    let objects: Vec<Arc<ProjectMembership>> =
        resolved.into_iter().filter(|(_, found)| shares(found)).map(|(object, _)| object).collect();
    let (wall, at) = (ctx.now(), Instant::now());
    let provider = connection.provider.clock();
    let lead = clocks::lead(provider.as_ref(), wall, at.into_std());
    let now = wall.saturating_add(lead).unwrap_or(Timestamp::MAX);
    let capabilities = connection.provider.capabilities(target.subject_kind);
    let is_ourselves = connection.provider.signed_in_as().is_some_and(|id| id == target.subject_id);
    let snapshot = Snapshot {
        provider: ProviderView {
            name: connection.key.to_string(),
            endpoint: connection.endpoint.to_string(),
            capabilities,
            unready,
            is_gone: retired,
            leaving,
            cluster: named.cluster(),
            is_ourselves,
            resync: connection.resync,
            connection: connection.number,
        },
        shadowed: precedence::is_shadowed(ctx, unit, &objects, &connection, &target, now),
        declarations: objects.into_iter().map(|object| declaration(ctx, object, capabilities)).collect(),
        now,
        at: at.into_std(),
        clocks: clocks::agreement(provider.as_ref(), wall, at.into_std()),
        target,
    };
    let Snapshot { target, .. } = &snapshot;
    let roster = connection.rosters.of(&target.project, target.subject_kind);
    Some(ConnectedSnapshot { snapshot, connection, roster, lead })
}

/// One declaration, with what is known of it besides the object.
pub fn declaration(ctx: &Context, object: Arc<ProjectMembership>, capabilities: Capabilities) -> Declaration {
    Declaration {
        record: ctx.written.trusted_record(&object),
        trusted: ctx.written.trusted(&object, capabilities.added_roles()),
        labels: resolve::labels(ctx, &object),
        is_left_behind: tombstones::left_at(&object).is_some(),
        object,
    }
}

/// Whether the provider object of an object ends temporary roles itself.
pub fn enforces_expiry(ctx: &Context, object: &ProjectMembership) -> bool {
    ctx.providers.find(&ProviderKey::named_by(object)).is_some_and(|named| named.enforces_expiry())
}
