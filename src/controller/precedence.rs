//! Decides which provider object takes precedence if several have declarations of one target. Their objects do not
//! share a plan, because one credential must not write on behalf of another.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::admit::{self, Beside};
use super::connections::{Connection, Link, ProviderKey};
use super::context::Context;
use super::converge::Pass;
use super::resolve::{Resolved, labels, resolve, same_plan};
use super::targets::Memory;
use super::write;
use crate::api::membership::ProviderKind;
use crate::api::{ManagementPolicy, ProjectMembership, Reason};
use crate::controller::roster::Evidence;
use crate::core::layers::Phase;

/// Whether the acting object's provider object is shadowed on this target. Of the provider objects that have an object
/// that counts and that can manage the project, one of the cluster takes precedence over one of a namespace, and then
/// the oldest takes precedence.
pub fn is_shadowed(ctx: &Context, object: &ProjectMembership, resolved: &Resolved, now: Timestamp) -> bool {
    let ours = rank(resolved);
    let was_shadowed = ready(object).is_some_and(|ready| ready.reason == Reason::Conflict.to_string());
    rivals(ctx, object, resolved).iter().any(|other| {
        let rival = resolve(ctx, other).ok().filter(|r| r.spot() == resolved.spot() && !same_plan(r, resolved));
        rival.is_some_and(|rival| {
            let is_ready = ready(other).is_some_and(|ready| ready.status == "True");
            rank(&rival) < ours
                && may_take_precedence(rival.evidence(), is_ready, was_shadowed)
                && counts(ctx, other, &rival, now)
        })
    })
}

/// Whether a provider object may shadow others on a target. Only one whose credential can manage the project may,
/// because any user can name any project. While nothing is known, as after a start, the statuses from before decide:
/// that the object of the one that would take precedence is Ready (`is_ready`), or that the other was shadowed
/// (`was_shadowed`).
fn may_take_precedence(evidence: Evidence, is_ready: bool, was_shadowed: bool) -> bool {
    match evidence {
        Evidence::Able => true,
        Evidence::Unable => false,
        Evidence::None => is_ready || was_shadowed,
    }
}

/// Starts passes over the declarations through other provider objects if the evidence has changed on whether the pass's
/// credential can manage the project: that decides which one takes precedence.
pub fn wake_shadowed(pass: &Pass<'_>, memory: &mut Memory) {
    let evidence = pass.roster().evidence();
    if evidence != memory.evidence {
        memory.evidence = evidence;
        let object = pass.resolved.object(pass.ctx, pass.reference);
        let others = object.map(|object| rivals(pass.ctx, &object, pass.resolved)).unwrap_or_default();
        others.iter().for_each(|other| pass.ctx.wake(&write::reference(other)));
    }
}

/// The declarations of the same target through other provider objects of the same server.
fn rivals(ctx: &Context, object: &ProjectMembership, resolved: &Resolved) -> Vec<Arc<ProjectMembership>> {
    let same_server = |provider: &ProviderKey| {
        let connection = ctx.connections.get(provider).and_then(Link::usable);
        connection.is_some_and(|connection| connection.endpoint == resolved.connection.endpoint)
    };
    let others = ctx.targets.of_other_providers(object).into_iter().filter(|(provider, _)| same_server(provider));
    others.flat_map(|(_, declarations)| declarations).filter_map(|declaration| ctx.latest(&declaration)).collect()
}

fn ready(object: &ProjectMembership) -> Option<&Condition> {
    object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// The order of the provider objects of one target: the first one takes precedence.
fn rank(resolved: &Resolved) -> impl Ord + use<> {
    let Connection { key, created, uid, .. } = &*resolved.connection;
    (key.kind != ProviderKind::ClusterMembershipProvider, *created, uid.clone())
}

/// Whether an object counts if it is evaluated alone.
pub fn counts(ctx: &Context, object: &ProjectMembership, resolved: &Resolved, now: Timestamp) -> bool {
    let (nobody, record) = (BTreeSet::new(), ctx.written.record(object));
    let labels = labels(ctx, object);
    let beside = Beside {
        capabilities: resolved.capabilities(),
        observed: None,
        record: &record,
        others: &nobody,
        unready: resolved.unready.as_ref(),
        shadowed: false,
        ourselves: resolved.is_ourselves(),
        governed: resolved.governed(object, labels.as_ref()),
        now,
    };
    object.spec.management_policy == ManagementPolicy::Enforce
        && admit::read(object, &beside).layer.phase == Phase::Counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with `Unable` treated as `Able`, and with `None` treated as either.
    #[test]
    fn only_a_provider_object_that_can_manage_the_project_takes_precedence() {
        for (evidence, is_ready, was_shadowed, expected) in [
            (Evidence::Able, false, false, true),
            (Evidence::Unable, true, true, false),
            (Evidence::None, false, false, false),
            (Evidence::None, true, false, true),
            (Evidence::None, false, true, true),
        ] {
            assert_eq!(may_take_precedence(evidence, is_ready, was_shadowed), expected, "{evidence:?}");
        }
    }
}
