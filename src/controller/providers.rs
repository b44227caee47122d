//! Checks provider objects: reads their secrets, verifies their credentials, and starts the passes of their
//! memberships.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::connections::{Connection, ConnectionState};
use super::context::Context;
use super::in_use;
use super::provider_key::ProviderKey;
use super::provider_object::ProviderObject;
use super::provider_status;
use super::queue::NextPass;
use super::reachability::{QUIET, ReachabilityChange};
use super::references::{Credential, References};
use super::reporting;
use super::state::outage::{FailedPass, FaultScope};
use crate::api::Reason;
use crate::api::membership::ProviderKind;
use crate::api::provider::MembershipProviderSpec;
use crate::controller::roster::Rosters;
use crate::core::policy::ServerKind;
use crate::core::policy::resync::Resync;
use crate::core::status::ReadyCondition;
use crate::provider::http::{Client, Endpoint};
use crate::provider::infisical::Infisical;
use crate::provider::quota::RequestKind;
use crate::provider::zitadel::Zitadel;
use crate::provider::{AnyProvider, Backend, Error, Urgency, Verified};

/// The longest wait until a provider that is not ready is checked again: a corrected secret is noticed within this
/// time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The wait after a check of an object of which the cache did not show the operator's own last write yet: the status may
/// have been left as it was although it differs.
const UNSHOWN: Duration = Duration::from_secs(1);

/// Checks the provider object with this key once.
pub async fn check<G>(ctx: &Context, key: &ProviderKey) -> NextPass<G> {
    let Some(object) = ctx.providers.find(key) else {
        return NextPass::until_woken();
    };
    let span = tracing::error_span!("check", provider = %key);
    let is_shown = ctx.written.is_shown(object.metadata());
    let next = async {
        let checked = check_object(ctx, &object, key).await;
        let next = checked.unwrap_or_else(|error| after_fault(ctx, object.as_ref(), &error));
        next.map(|next| if is_shown { next } else { next.min(UNSHOWN) })
    };
    next.instrument(span).await.map_or_else(NextPass::until_woken, NextPass::after)
}

/// Returns the time until the next check; `None`: when something changes.
async fn check_object(
    ctx: &Context,
    object: &Arc<dyn ProviderObject>,
    key: &ProviderKey,
) -> Result<Option<Duration>, kube::Error> {
    let kept = match object.is_being_deleted() {
        true => in_use::release(ctx, object.as_ref()).await,
        false => in_use::restore(ctx, object.as_ref()).await.map(|()| false),
    };
    // A failure does not stop the check, so that the ends of its memberships' grants do not wait.
    if let Ok(true) = kept {
        return Ok(None);
    }
    let unmarked = kept.as_ref().err().and_then(|error| after_fault(ctx, object.as_ref(), error));
    if ctx.connections.are_new(key, object.rules()) {
        // The rules take effect now, regardless of the result for the connection.
        ctx.wake_memberships_of(key);
    }
    let interval = Resync::of(object.spec(), key.kind).map_or(Duration::from_secs(600), |resync| resync.provider());
    let CheckResult { link, finding, status, retry } = match connect(ctx, object, key).await {
        Err(ready_condition) => {
            if ready_condition.reason == Reason::Unreachable {
                ctx.outage.provider_waits(key, u32::MAX);
            }
            let failures = ctx.connections.failed(key);
            CheckResult::unread(ctx.connections.get(key), ready_condition, wait(failures))
        }
        Ok(connection) => match verify(&connection).await {
            Ok(verified) => {
                ctx.connections.succeeded(key);
                let finding = connection.reachability.lock().found(Instant::now());
                // A pass met a failure that the check did not meet: the next check comes soon.
                let retry = if finding == ReachabilityChange::NoOutage { QUIET.min(interval) } else { interval };
                CheckResult { link: ConnectionState::Ready(connection), finding, status: Some(Ok(verified)), retry }
            }
            Err(error) => {
                let failures = ctx.connections.failed(key);
                CheckResult::unverified(ctx, connection, error, wait(failures))
            }
        },
    };
    let changed = changed(ctx.connections.get(key).as_ref(), &link) || finding == ReachabilityChange::Recovered;
    ctx.connections.put(key.clone(), link);
    if changed {
        ctx.wake_memberships_of(key);
    }
    if let Some(status) = status {
        provider_status::write(ctx, object.as_ref(), status).await?;
    }
    if kept.is_ok() {
        reporting::no_fault(ctx, object.uid());
    }
    Ok(Some(unmarked.map_or(retry, |soon| soon.min(retry))))
}

struct CheckResult {
    link: ConnectionState,
    finding: ReachabilityChange,
    /// The result to report in the provider object's status; `None`: the status is not changed.
    status: Option<Result<Verified, ReadyCondition>>,
    /// The time until the next check.
    retry: Duration,
}

impl CheckResult {
    /// The result for a provider whose credential cannot be read.
    fn unread(known: Option<ConnectionState>, ready_condition: ReadyCondition, retry: Duration) -> Self {
        let finding = ReachabilityChange::AsBefore;
        match known {
            // A short outage of the API server does not invalidate a credential that works.
            Some(link @ ConnectionState::Ready(_)) if ready_condition.reason == Reason::Unreachable => {
                Self { link, finding, status: None, retry }
            }
            known => {
                let last = known.and_then(ConnectionState::usable);
                let link = ConnectionState::Failed { condition: ready_condition.clone(), last };
                Self { link, finding, status: Some(Err(ready_condition)), retry }
            }
        }
    }

    /// The result for a provider that could not be verified. One that was verified before and is unreachable now
    /// remains usable, though its object is not Ready: an end that is due is then carried out as soon as the provider
    /// responds again.
    fn unverified(ctx: &Context, connection: Arc<Connection>, error: Error, retry: Duration) -> Self {
        let known = ctx.connections.get(&connection.key).and_then(ConnectionState::usable);
        let was_ready = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &connection));
        let ready_condition = ReadyCondition::new(error.reason(), error.to_string());
        let failed = |last| ConnectionState::Failed { condition: ready_condition.clone(), last };
        let finding = match &error {
            Error::Unreachable { .. } => connection.reachability.lock().not_found(Instant::now()),
            _ => connection.reachability.lock().found(Instant::now()),
        };
        // The requests of a standby replica are not sent, so that their failure is no outage.
        let outage = matches!(error, Error::Unreachable { .. }) && ctx.http.leads();
        let retry = retry.max(asked_to_wait(&error));
        let (link, status) = match error {
            Error::Unreachable { .. } if was_ready => {
                (ConnectionState::Ready(connection), outage.then_some(Err(ready_condition)))
            }
            Error::RateLimited { .. } if was_ready => (ConnectionState::Ready(connection), None),
            // A newer credential that is not verified yet does not invalidate the previous one.
            Error::Unreachable { .. } | Error::RateLimited { .. } => {
                (failed(known), Some(Err(ready_condition.clone())))
            }
            _ => (failed(None), Some(Err(ready_condition.clone()))),
        };
        Self { link, finding, status, retry }
    }
}

/// The time until a provider object that could not be written is checked again; `None`: when the API server is
/// available again.
fn after_fault(ctx: &Context, object: &dyn ProviderObject, error: &kube::Error) -> Option<Duration> {
    let concern = FaultScope::of(error);
    let in_a_row = reporting::fault(ctx, &format!("{:?}", object.kind()), object.metadata(), error);
    let waits = concern == FaultScope::Server && ctx.outage.provider_waits(&object.key(), in_a_row);
    FailedPass { concern, in_a_row, waits, revokes: false, next_end: None }.retry()
}

fn changed(old: Option<&ConnectionState>, new: &ConnectionState) -> bool {
    match (old, new) {
        (Some(ConnectionState::Ready(old)), ConnectionState::Ready(new)) => !Arc::ptr_eq(old, new),
        (Some(ConnectionState::Failed { condition: old, .. }), ConnectionState::Failed { condition: new, .. }) => {
            old != new
        }
        _ => true,
    }
}

/// Verifies a credential. The request has the urgency of a grant, for which namespaces are served in turn: many
/// requests do not prevent a provider from being checked.
async fn verify(connection: &Connection) -> Result<Verified, Error> {
    let permit = connection.quota.permit(RequestKind::Read, Urgency::Grant, &connection.key.namespace).await;
    connection.provider.verify(&permit).await
}

fn wait(failures: u32) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT)
}

fn asked_to_wait(error: &Error) -> Duration {
    match error {
        Error::RateLimited { after: Some(after), .. } => *after,
        _ => Duration::ZERO,
    }
}

/// The connection for an object's spec and secrets: the known one if nothing changed.
async fn connect(
    ctx: &Context,
    object: &Arc<dyn ProviderObject>,
    key: &ProviderKey,
) -> Result<Arc<Connection>, ReadyCondition> {
    let spec = object.spec();
    let http = match key.kind {
        ProviderKind::MembershipProvider => &ctx.http,
        ProviderKind::ClusterMembershipProvider => &ctx.cluster_http,
    };
    let invalid = |message: String| ReadyCondition::new(Reason::InvalidSpec, message);
    let one_kind = || invalid("set exactly one of spec.infisical and spec.zitadel".to_owned());
    let (url, server) = match (&spec.infisical, &spec.zitadel) {
        (Some(infisical), None) => (&infisical.url, ServerKind::Infisical),
        (None, Some(zitadel)) => {
            (&zitadel.url, ServerKind::Zitadel { organization_id: zitadel.organization_id.clone() })
        }
        _ => return Err(one_kind()),
    };
    let resync = Resync::of(spec, key.kind)?;
    let endpoint = Endpoint::parse(url).map_err(|error| invalid(format!("spec url: {error}")))?;
    http.policy().check(&endpoint).map_err(|error| invalid(format!("spec url: {error}")))?;
    let mut references = References::of(ctx.client.clone(), object.home(&ctx.tokens));
    let trust = references.trust(spec.ca_bundle.as_ref()).await?;
    let credential = references.credential(spec).await?;
    let fingerprint = references.fingerprint(object.uid(), spec);
    if let Some(connection) = ctx.connections.newest(key, fingerprint) {
        return Ok(connection);
    }
    let http = match &trust {
        None => http.clone(),
        Some(trust) => http.trusting(trust).map_err(|error| invalid(format!("spec.caBundle: {error}")))?,
    };
    let provider = provider(spec, credential, &http, endpoint.clone()).ok_or_else(one_kind)?;
    let limits = provider.limits(spec.limits.clone().unwrap_or_default(), &endpoint);
    let quota = ctx.connections.quota(endpoint.as_str(), provider.one_writer(), key, limits);
    let connection = Arc::new(Connection {
        number: ctx.connections.next_number(),
        key: key.clone(),
        uid: object.uid().into(),
        object: object.clone(),
        created: object.metadata().creation_timestamp.as_ref().map(|time| time.0),
        endpoint: endpoint.as_str().into(),
        server,
        provider,
        quota,
        rosters: Rosters::default(),
        resync,
        reachability: Default::default(),
    });
    ctx.connections.remember(fingerprint, &connection);
    Ok(connection)
}

/// The provider for a spec and its credential; `None` if the credential belongs to another kind of provider.
fn provider(
    spec: &MembershipProviderSpec,
    credential: Credential,
    http: &Client,
    endpoint: Endpoint,
) -> Option<AnyProvider> {
    match credential {
        Credential::Infisical(credentials) => {
            Some(Infisical::connect(http, endpoint, spec.infisical.as_ref()?, credentials).into())
        }
        Credential::Zitadel(credentials) => {
            Some(Zitadel::connect(http, endpoint, spec.zitadel.as_ref()?, credentials).into())
        }
    }
}
