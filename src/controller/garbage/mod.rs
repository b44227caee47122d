//! Drops what is remembered of objects, projects, endpoints and provider objects that are gone.
//!
//! Most of it goes with the event that shows its object going. What is left: events that nobody saw (a watch that broke
//! off), passes and checks that were running as their object went and remembered something afterwards, and what several
//! objects share. All of it is collected here by what is there now, so that no order of events keeps anything for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::providers::Checker;
use super::replaced;
use crate::api::SubjectKind;
use crate::api::membership::ProviderKind;
use crate::core::member::{Project, Urgency};
use crate::provider::Provider;

/// How often. What was sent to an endpoint counts for as long.
const EVERY: Duration = Duration::from_secs(60);

/// Collects regularly. It never ends.
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
        // Nothing is known to be gone.
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

/// How many entries there are in what is collected, by what they are about.
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
