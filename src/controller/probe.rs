//! Probes the API server while it is suspected to be unavailable: see [`outage`](super::state::outage).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use super::context::Context;
use super::provider_key::ProviderKey;
use super::state::outage::WaitingKeys;
use super::stored::Stored;
use super::watch::Reconnect;
use crate::api::ProjectMembership;
use crate::core::snapshot::urgency_of;

/// How long a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait between two probes.
const LONGEST: Duration = Duration::from_secs(5);

/// Probes the API server whenever a probe is requested, until it responds. It never ends.
pub async fn probe(ctx: Arc<Context>, api: Api<Stored<ProjectMembership>>) {
    loop {
        ctx.outage.suspected.notified().await;
        let mut backoff = Reconnect::default();
        while let Err(error) = responds(&api).await {
            if ctx.outage.fails(Instant::now()) {
                tracing::warn!(
                    "the Kubernetes API server is unavailable: {error}. It is probed until it responds; grants, reports and new \
                     declarations wait, and what expires at a provider is still revoked"
                );
            }
            tokio::time::sleep(backoff.next().unwrap_or(LONGEST)).await;
        }
        let (lasted, WaitingKeys { memberships, providers }) = ctx.outage.ends(Instant::now());
        if let Some(lasted) = lasted {
            tracing::info!(
                seconds = lasted.as_secs_f64().round(),
                memberships = memberships.len(),
                providers = providers.len(),
                "the Kubernetes API server is available again: what was waiting runs now"
            );
        }
        run_again(&ctx, &memberships, &providers);
    }
}

/// Whether the API server responds to a request that every pass depends on. A refusal concerns all passes too: after a
/// start the API server refuses requests for which it has not loaded the permissions yet.
async fn responds(api: &Api<Stored<ProjectMembership>>) -> Result<(), String> {
    match tokio::time::timeout(PROBE_LIMIT, api.list(&ListParams::default().limit(1))).await {
        Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no response within {} s", PROBE_LIMIT.as_secs())),
    }
}

/// Starts the passes that have waited, the most urgent ones first.
fn run_again(ctx: &Context, memberships: &BTreeSet<(String, String)>, providers: &BTreeSet<ProviderKey>) {
    let now = ctx.now();
    let references = memberships.iter().map(|(namespace, name)| ObjectRef::new(name).within(namespace));
    let found = references.filter_map(|reference| ctx.latest(&reference).map(|object| (reference, object)));
    let mut waiting: Vec<_> = found.map(|(reference, object)| (urgency_of(&object, now), reference)).collect();
    waiting.sort_by_key(|(urgency, _)| *urgency);
    waiting.iter().for_each(|(_, reference)| ctx.wake(reference));
    providers.iter().for_each(|key| ctx.wake_provider(key));
}
