//! Checks provider objects: reads their secrets, verifies their credentials, and starts the passes of their
//! memberships.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use tracing::Instrument;

use super::connections::{Connection, ConnectionState, RetiredProvider};
use super::context::Context;
use super::in_use;
use super::provider_key::ProviderKey;
use super::provider_object::{NamedProvider, ProviderObject};
use super::provider_status;
use super::reachability::{QUIET, ReachabilityChange};
use super::references::{Credential, References};
use super::reporting;
use super::state::outage::{FailedPass, FaultScope};
use super::write;
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

/// What the checks of provider objects need.
pub struct Checker {
    /// The context that is shared with the passes.
    pub ctx: Arc<Context>,
    /// The HTTP client for provider objects of a namespace.
    pub http: Client,
    /// The HTTP client for provider objects of the cluster, which may name any address.
    pub cluster_http: Client,
    /// The directory of the operator's own tokens.
    pub tokens: PathBuf,
    /// The connection of each object, so that the operator signs in only once with the same credential.
    made: Mutex<HashMap<ProviderKey, CachedConnection>>,
}

/// A connection and the inputs that it was created from.
#[derive(Clone)]
pub struct CachedConnection {
    fingerprint: u64,
    connection: Arc<Connection>,
    named: NamedProvider,
    failures: u32,
}

/// A request of a check was refused by the API server or failed.
#[derive(thiserror::Error, Debug)]
#[error("the API server: {error}")]
pub struct CheckFault {
    /// The error that the request returned.
    pub error: Arc<kube::Error>,
}

/// Checks a provider object once.
pub async fn check<K: ProviderObject>(object: Arc<K>, checker: Arc<Checker>) -> Result<Action, CheckFault> {
    let span = tracing::error_span!("check", provider = %object.key());
    check_in_span(object, checker).instrument(span).await
}

async fn check_in_span<K: ProviderObject>(object: Arc<K>, checker: Arc<Checker>) -> Result<Action, CheckFault> {
    let ctx = &checker.ctx;
    if !ctx.begun.is_ready() {
        // The number of its memberships is not known yet, or another replica leads. It is checked when this one begins
        // to lead.
        return Ok(Action::await_change());
    }
    let key = object.key();
    let deleting = object.meta().deletion_timestamp.is_some();
    let kept = match deleting {
        true => in_use::release(ctx, object.as_ref()).await,
        false => in_use::restore(ctx, object.as_ref()).await.map(|()| false),
    };
    match &kept {
        Ok(true) => return Ok(Action::await_change()),
        Ok(false) => {}
        // A failure does not stop the check, so that the ends of its memberships' grants do not wait.
        Err(_) => {}
    }
    let unmarked = kept.as_ref().err().map(|error| after(&checker, object.as_ref(), error));
    if ctx.connections.are_new(&key, object.rules()) {
        // The rules take effect now, regardless of the result for the connection.
        ctx.memberships_of(&key).iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    let interval = Resync::of(object.provider(), key.kind).map_or(Duration::from_secs(600), |resync| resync.provider());
    let CheckResult { link, finding, status, retry } = match connect(&checker, object.as_ref(), &key).await {
        Err(ready_condition) => {
            if ready_condition.reason == Reason::Unreachable {
                ctx.outage.provider_waits(&key, u32::MAX);
            }
            let failures = checker.failed(&key);
            CheckResult::unread(ctx.connections.get(&key), ready_condition, wait(failures))
        }
        Ok(connection) => match verify(&connection).await {
            Ok(verified) => {
                checker.succeeded(&key);
                let finding = connection.found(Instant::now());
                // A pass met a failure that the check did not meet: the next check comes soon.
                let retry = if finding == ReachabilityChange::NoOutage { QUIET.min(interval) } else { interval };
                CheckResult { link: ConnectionState::Ready(connection), finding, status: Some(Ok(verified)), retry }
            }
            Err(error) => {
                let failures = checker.failed(&key);
                checker.unverified(&key, connection, error, wait(failures))
            }
        },
    };
    let changed = changed(ctx.connections.get(&key).as_ref(), &link) || finding == ReachabilityChange::Recovered;
    ctx.connections.put(key.clone(), link);
    if changed {
        ctx.memberships_of(&key).iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    if let Some(status) = status {
        provider_status::write(ctx, object.as_ref(), status)
            .await
            .map_err(|error| CheckFault { error: Arc::new(error) })?;
    }
    if kept.is_ok() {
        reporting::no_fault(ctx, object.as_ref());
    }
    Ok(Action::requeue(unmarked.flatten().map_or(retry, |soon| soon.min(retry))))
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
                let link = ConnectionState::Failed {
                    reason: ready_condition.reason,
                    message: ready_condition.message.clone(),
                    last,
                };
                Self { link, finding, status: Some(Err(ready_condition)), retry }
            }
        }
    }
}

/// Decides when to check again after a provider object's status could not be written.
pub fn after_fault<K: ProviderObject>(object: Arc<K>, fault: &CheckFault, checker: Arc<Checker>) -> Action {
    after(&checker, object.as_ref(), &fault.error).map_or_else(Action::await_change, Action::requeue)
}

/// The time until a provider object that could not be written is checked again; `None`: when the API server is
/// available again.
fn after<K: ProviderObject>(checker: &Checker, object: &K, error: &kube::Error) -> Option<Duration> {
    let (ctx, concern) = (&checker.ctx, FaultScope::of(error));
    let in_a_row = reporting::fault(ctx, object, error);
    let waits = concern == FaultScope::Server && ctx.outage.provider_waits(&object.key(), in_a_row);
    FailedPass { concern, in_a_row, waits, revokes: false, next_end: None }.retry()
}

fn changed(old: Option<&ConnectionState>, new: &ConnectionState) -> bool {
    match (old, new) {
        (Some(ConnectionState::Ready(old)), ConnectionState::Ready(new)) => !Arc::ptr_eq(old, new),
        (
            Some(ConnectionState::Failed { reason, message, .. }),
            ConnectionState::Failed { reason: r, message: m, .. },
        ) => (reason, message) != (r, m),
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
async fn connect<K: ProviderObject>(
    checker: &Checker,
    object: &K,
    key: &ProviderKey,
) -> Result<Arc<Connection>, ReadyCondition> {
    let spec = object.provider();
    let http = match key.kind {
        ProviderKind::MembershipProvider => &checker.http,
        ProviderKind::ClusterMembershipProvider => &checker.cluster_http,
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
    let mut references = References::of(checker.ctx.client.clone(), object.home(&checker.tokens));
    let trust = references.trust(spec.ca_bundle.as_ref()).await?;
    let credential = references.credential(spec).await?;
    let uid = object.uid().unwrap_or_default();
    let fingerprint = references.fingerprint(&uid, spec);
    if let Some(connection) = checker.known(key, fingerprint) {
        return Ok(connection);
    }
    let http = match &trust {
        None => http.clone(),
        Some(trust) => http.trusting(trust).map_err(|error| invalid(format!("spec.caBundle: {error}")))?,
    };
    let provider = provider(spec, credential, &http, endpoint.clone()).ok_or_else(one_kind)?;
    let limits = provider.limits(spec.limits.clone().unwrap_or_default(), &endpoint);
    let quota = checker.ctx.connections.quota(endpoint.as_str(), provider.one_writer(), key, limits);
    let connection = Arc::new(Connection {
        number: checker.ctx.connections.next_number(),
        key: key.clone(),
        uid,
        created: object.meta().creation_timestamp.as_ref().map(|time| time.0),
        endpoint: endpoint.as_str().to_owned(),
        server,
        provider,
        quota,
        rosters: Rosters::default(),
        resync,
        reachability: Mutex::default(),
    });
    checker.remember(key, fingerprint, connection.clone(), object.named());
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

impl Checker {
    /// A checker without connections.
    pub fn new(ctx: Arc<Context>, http: Client, cluster_http: Client, tokens: PathBuf) -> Self {
        Self { ctx, http, cluster_http, tokens, made: Mutex::default() }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<ProviderKey, CachedConnection>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &ProviderKey, fingerprint: u64) -> Option<Arc<Connection>> {
        self.made().get(key).filter(|made| made.fingerprint == fingerprint).map(|made| made.connection.clone())
    }

    fn remember(&self, key: &ProviderKey, fingerprint: u64, connection: Arc<Connection>, named: NamedProvider) {
        self.made().insert(key.clone(), CachedConnection { fingerprint, connection, named, failures: 0 });
    }

    fn failed(&self, key: &ProviderKey) -> u32 {
        let mut made = self.made();
        made.get_mut(key).map_or(3, |made| {
            made.failures += 1;
            made.failures - 1
        })
    }

    fn succeeded(&self, key: &ProviderKey) {
        if let Some(made) = self.made().get_mut(key) {
            made.failures = 0;
        }
    }

    /// The result for a provider that could not be verified. One that was verified before and is unreachable now
    /// remains usable, though its object is not Ready: an end that is due is then carried out as soon as the provider
    /// responds again.
    fn unverified(&self, key: &ProviderKey, connection: Arc<Connection>, error: Error, retry: Duration) -> CheckResult {
        let known = self.ctx.connections.get(key).and_then(ConnectionState::usable);
        let was_ready = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &connection));
        let ready_condition = ReadyCondition::new(error.reason(), error.to_string());
        let failed = |last| ConnectionState::Failed {
            reason: ready_condition.reason,
            message: ready_condition.message.clone(),
            last,
        };
        let finding = match &error {
            Error::Unreachable { .. } => connection.not_found(Instant::now()),
            _ => connection.found(Instant::now()),
        };
        // The requests of a standby replica are not sent, so that their failure is no outage.
        let outage = matches!(error, Error::Unreachable { .. }) && self.http.leads();
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
        CheckResult { link, finding, status, retry }
    }

    /// Drops the provider objects of this kind that no longer exist, even if no watch reported their deletion, and
    /// returns them.
    pub fn forget_missing(&self, kind: ProviderKind) -> Vec<ProviderKey> {
        let mut known: Vec<ProviderKey> = self.made().keys().cloned().collect();
        // A check that was in progress when its object was deleted may have left a connection.
        known.extend(self.ctx.connections.known());
        known.sort();
        known.dedup();
        let there = |key: &ProviderKey| self.ctx.providers.find(key).is_some();
        let missing: Vec<ProviderKey> = known.into_iter().filter(|key| key.kind == kind && !there(key)).collect();
        missing.iter().for_each(|key| self.forget(key));
        missing
    }

    /// Drops the connection of this name if it belongs to another object than the one with this uid.
    pub fn forget_others(&self, key: &ProviderKey, uid: &str) {
        let other = self.made().get(key).is_some_and(|made| made.connection.uid != uid);
        if other {
            self.forget(key);
        }
    }

    /// Drops a provider object that was deleted. Its connection is kept for the ends and revocations of memberships that
    /// may still hold access.
    pub fn forget(&self, key: &ProviderKey) {
        let made = self.made().remove(key);
        // Not the newest connection, which may not be verified yet.
        let usable = self.ctx.connections.get(key).and_then(ConnectionState::usable);
        if let (Some(CachedConnection { named, .. }), Some(connection)) = (made, usable) {
            self.ctx.connections.retire(key, RetiredProvider { named, connection, since: Instant::now() });
        }
        self.ctx.connections.remove(key);
    }
}
