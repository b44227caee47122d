//! Decides which provider object takes precedence if several have declarations of one target.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::connections::Connection;
use super::context::Context;
use super::resolve::{Resolved, labels, resolve};
use super::state::targets::Unit;
use crate::api::membership::ProviderKind;
use crate::api::{ManagementPolicy, ProjectMembership, Reason};
use crate::core::evaluation::{DeclarationEvaluation, EvaluationInputs, evaluate_one};
use crate::core::layers::Phase;
use crate::core::member::Target;
use crate::core::precedence::may_take_precedence;
use crate::core::snapshot::{is_finalized, ready};

/// Whether the provider object of `ours` is shadowed on a target. Of the provider objects that have an object that counts
/// and that can manage the project, one of the cluster takes precedence over one of a namespace, and then the oldest
/// takes precedence.
pub fn is_shadowed(
    ctx: &Context,
    unit: &Unit,
    objects: &[Arc<ProjectMembership>],
    ours: &Connection,
    target: &Target,
    now: Timestamp,
) -> bool {
    let was_shadowed =
        objects.iter().any(|object| ready(object).is_some_and(|(_, reason)| reason == Reason::Conflict.to_string()));
    let is_same = |rival: &Resolved| {
        let (project, subject) = (&rival.target.project, &rival.target.subject_id);
        rival.connection.endpoint == ours.endpoint
            && rival.connection.uid != ours.uid
            && (&project.id, &project.grant_id, subject)
                == (&target.project.id, &target.project.grant_id, &target.subject_id)
    };
    rivals(ctx, unit, &ours.endpoint).iter().any(|other| {
        let rival = resolve(ctx, other).ok().filter(is_same);
        rival.is_some_and(|rival| {
            let is_ready = ready(other).is_some_and(|(status, _)| status == "True");
            rank(&rival.connection) < rank(ours)
                && may_take_precedence(rival.evidence(), is_ready, was_shadowed)
                && counts(ctx, other, &rival, now)
        })
    })
}

/// The declarations of the same target through other provider objects of the same server.
fn rivals(ctx: &Context, unit: &Unit, endpoint: &str) -> Vec<Arc<ProjectMembership>> {
    let leads_there = |rival: &Unit| match rival {
        Unit::Target(through, _) => ctx.connections.leads_to(&through.provider, endpoint),
        Unit::Object(_) | Unit::Provider(_) => false,
    };
    let rivals = ctx.targets.rivals(unit).into_iter().filter(leads_there);
    rivals.flat_map(|rival| ctx.declarations(&rival)).collect()
}

/// The order of the provider objects of one target: the first one takes precedence.
fn rank(connection: &Connection) -> impl Ord + use<> {
    let Connection { key, created, uid, .. } = connection;
    (key.kind != ProviderKind::ClusterMembershipProvider, *created, uid.clone())
}

/// Evaluates an object as if it were the only declaration of its target.
pub fn alone(ctx: &Context, object: &ProjectMembership, resolved: &Resolved, now: Timestamp) -> DeclarationEvaluation {
    let (no_others, labels) = (BTreeSet::new(), labels(ctx, object));
    let (record, capabilities) = (ctx.written.trusted_record(object), resolved.capabilities());
    let trusted = ctx.written.trusted(object, capabilities.added_roles());
    let inputs = EvaluationInputs {
        capabilities,
        observed: None,
        record: &record,
        trusted: trusted.as_ref(),
        others: &no_others,
        unready: resolved.unready.as_ref().or(resolved.leaving.as_ref().filter(|_| !is_finalized(object))),
        shadowed: false,
        ourselves: resolved.is_ourselves(),
        governed: resolved.governed(object, labels.as_ref()),
        now,
    };
    evaluate_one(object, &inputs)
}

/// Whether an object may be carried out if it is evaluated alone, or has something to end.
pub fn claims_place(ctx: &Context, object: &ProjectMembership, resolved: &Resolved, now: Timestamp) -> bool {
    let evaluated = alone(ctx, object, resolved, now);
    let enforces = object.spec.management_policy == ManagementPolicy::Enforce;
    (enforces && evaluated.layer.phase == Phase::Counts) || !evaluated.holds_nothing()
}

/// Whether an object counts if it is evaluated alone.
pub fn counts(ctx: &Context, object: &ProjectMembership, resolved: &Resolved, now: Timestamp) -> bool {
    object.spec.management_policy == ManagementPolicy::Enforce
        && alone(ctx, object, resolved, now).layer.phase == Phase::Counts
}
