//! A pass that the API server ended: when it is retried.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::queue::NextPass;
use super::state::outage::{self, FailedPass, FaultScope};
use super::state::targets::Unit;
use super::{reporting, write};
use crate::api::ProjectMembership;
use crate::core::report::never_acted;
use crate::core::snapshot;
use crate::provider::Urgency;

/// How soon a pass whose inputs have changed runs again: the change may still be in progress.
const OVERTAKEN: Duration = Duration::from_millis(100);

/// Why a pass ended early.
pub enum EarlyEnd {
    /// The inputs of the pass have changed: it starts again.
    Overtaken,
    /// The API server refused requests, or requests failed.
    Faults(Vec<ObjectFault>),
}

impl EarlyEnd {
    /// The stop of a pass in which a request about an object failed.
    pub fn of(object: &Arc<ProjectMembership>, error: impl Into<Arc<kube::Error>>) -> Self {
        Self::Faults(vec![ObjectFault { object: object.clone(), error: error.into(), settled: false }])
    }
}

/// A request about an object that the API server refused or failed.
#[derive(Clone, Debug)]
pub struct ObjectFault {
    pub object: Arc<ProjectMembership>,
    /// The error that the request returned.
    pub error: Arc<kube::Error>,
    /// Whether nothing is left to do at the provider, so that only the report is missing.
    pub settled: bool,
}

/// The pause until a stopped pass over a unit runs again.
pub fn pause<G>(ctx: &Context, unit: &Unit, stop: &EarlyEnd) -> NextPass<G> {
    match stop {
        EarlyEnd::Overtaken => NextPass::after(OVERTAKEN),
        EarlyEnd::Faults(faults) => {
            let retries = faults.iter().filter_map(|fault| retry(ctx, unit, fault));
            let soonest = retries.min_by_key(|(retry, _)| *retry);
            NextPass::at(soonest.map(|(retry, urgency)| (Instant::now() + retry, urgency)))
        }
    }
}

/// The time until the pass is retried after a fault: see [`outage`]. `None`: when something changes. What is due for any
/// declaration of the target counts, not only for the one with the fault.
fn retry(ctx: &Context, unit: &Unit, fault: &ObjectFault) -> Option<(Duration, Urgency)> {
    let ObjectFault { object, error, settled } = fault;
    let reference = write::reference(object);
    let (now, concern) = (ctx.now(), FaultScope::of(error));
    let in_a_row = reporting::fault(ctx, "ProjectMembership", &object.metadata, error);
    let declarations = ctx.declarations(unit);
    // An object that only has to be released needs only the API server.
    let needs_provider =
        |object: &&Arc<ProjectMembership>| object.metadata.deletion_timestamp.is_none() || !never_acted(object);
    let urgencies = declarations.iter().filter(needs_provider).map(|object| snapshot::urgency_of(object, now));
    let urgency = urgencies.min().unwrap_or(Urgency::Resync);
    let failed = FailedPass {
        concern,
        in_a_row,
        waits: concern == FaultScope::Server && ctx.outage.waits(&reference, in_a_row),
        revokes: !settled && urgency.revokes(),
        next_end: declarations.iter().filter_map(|object| outage::next_end(object, now)).min(),
    };
    let retry = failed.retry()?;
    // The jitter must not delay a pass past the end of a grant.
    let spread = spread(retry, unit, in_a_row);
    Some((failed.next_end.map_or(spread, |end| spread.min(end)), urgency))
}

/// A wait with a jitter of a tenth, so that passes that failed together are not retried together.
pub fn spread(wait: Duration, key: &(impl Hash + ?Sized), failures: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (key, failures).hash(&mut hasher);
    wait.mul_f64(0.95 + (hasher.finish() % 100) as f64 / 1000.0)
}
