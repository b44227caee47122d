//! Drops the state of objects, projects, endpoints and provider objects that no longer exist. Most of it is dropped on
//! the deletion event of its object. The rest remains after missed events (an interrupted watch), after passes and
//! checks that stored something while their object was being deleted, and for state that several objects share. All of
//! it is collected here based on what exists now, so that no order of events keeps anything forever.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::replaced;
use crate::api::SubjectKind;
use crate::core::member::{Project, Urgency};

/// The interval of the collection. Requests that were sent to an endpoint count for the same time.
const EVERY: Duration = Duration::from_secs(60);

/// Collects periodically. It never ends.
pub async fn collect_regularly(ctx: Arc<Context>) {
    loop {
        tokio::time::sleep(EVERY).await;
        collect(&ctx);
    }
}

/// Collects once.
pub fn collect(ctx: &Context) {
    if !ctx.begun.is_ready() {
        // No object is known to have been deleted.
        return;
    }
    ctx.connections.forget_missing(&ctx.providers);
    // The index decides which objects exist.
    ctx.wake_units(ctx.targets.lost_unseen(|object| ctx.may_be_there(object)), Urgency::Grant);
    ctx.written.forget_missing(|| ctx.uids());
    ctx.tombstones.forget_missing(|| ctx.uids());
    ctx.forget_missing_reports();
    replaced::forget_unneeded(ctx);
    ctx.in_use.forget_missing(&ctx.providers.uids());
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
pub fn entries(ctx: &Context) -> [(&'static str, usize); 8] {
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
