//! Drops the state of objects, projects, endpoints and provider objects that no longer exist. Most of it is dropped on
//! the deletion event of its object. The rest remains after missed events (an interrupted watch), after passes and
//! checks that stored something while their object was being deleted, and for state that several objects share. All of
//! it is collected here based on what exists now, so that no order of events keeps anything forever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::providers::Checker;
use super::replaced;
use crate::api::SubjectKind;
use crate::api::membership::ProviderKind;
use crate::core::member::{Project, Urgency};

/// The interval of the collection. Requests that were sent to an endpoint count for the same time.
const EVERY: Duration = Duration::from_secs(60);

/// Collects periodically. It never ends.
pub async fn collect_regularly(checker: Arc<Checker>) {
    loop {
        tokio::time::sleep(EVERY).await;
        collect(&checker);
    }
}

/// Collects once.
pub fn collect(checker: &Checker) {
    let ctx = &checker.ctx;
    if !ctx.readiness.is_ready() {
        // No object is known to have been deleted.
        return;
    }
    let gone = [ProviderKind::MembershipProvider, ProviderKind::ClusterMembershipProvider];
    gone.into_iter().for_each(|kind| drop(checker.forget_missing(kind)));
    ctx.written.forget_missing(|| ctx.uids());
    ctx.tombstones.forget_missing(|| ctx.uids());
    ctx.forget_missing_reports();
    replaced::forget_unneeded(ctx);
    let providers: HashSet<String> = ctx.providers.uids().into_iter().collect();
    ctx.in_use.forget_missing(&providers);
    ctx.targets
        .lost_unseen(|object| ctx.may_be_there(object))
        .into_iter()
        .for_each(|unit| ctx.wake_unit(unit, Urgency::Grant));
    let connections = ctx.connections.usable();
    let (projects, ids) = (ctx.targets.projects(), ctx.targets.ids());
    let needed = |project: &Project, kind: SubjectKind| {
        projects.contains(&(project.id.to_ascii_lowercase(), project.grant_id.clone(), kind))
    };
    for connection in &connections {
        connection.rosters.forget_unneeded(needed);
        connection.provider.forget_unused(&|id| ids.contains(id));
    }
    drop(connections);
    ctx.connections.forget_unused_endpoints();
}

/// The number of entries of each collected kind.
pub fn entries(checker: &Checker) -> [(&'static str, usize); 8] {
    let ctx = &checker.ctx;
    let rosters = ctx.connections.usable().iter().map(|connection| connection.rosters.len()).sum();
    [
        ("own writes", ctx.written.len()),
        ("finalizers", ctx.tombstones.held()),
        ("reports", ctx.reports.len()),
        ("targets", ctx.targets.len()),
        ("provider objects in use", ctx.in_use.len()),
        ("connections and rules", ctx.connections.known().len()),
        ("rosters", rosters),
        ("endpoints", ctx.connections.endpoints()),
    ]
}

#[cfg(test)]
mod tests;
