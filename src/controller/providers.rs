//! The provider objects: their secrets are read, their credentials verified, their memberships woken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::Instant;
use tracing::Instrument;

use super::connections::{Connection, Link, ProviderKey, Retired};
use super::context::Context;
use super::in_use;
use super::outage::{Concern, Failed};
use super::provider_object::{Named, ProviderObject};
use super::provider_status;
use super::reachability::{Finding, QUIET};
use super::reconcile::Fault;
use super::references::{Credential, References};
use super::replaced;
use super::reporting;
use super::write;
use crate::api::Reason;
use crate::api::membership::ProviderKind;
use crate::api::provider::MembershipProviderSpec;
use crate::controller::roster::Rosters;
use crate::core::policy::Server;
use crate::core::policy::resync::Resync;
use crate::core::status::Told;
use crate::provider::http::{Client, Endpoint};
use crate::provider::infisical::Infisical;
use crate::provider::quota::Kind;
use crate::provider::zitadel::Zitadel;
use crate::provider::{AnyProvider, Backend, Error, Provider, Urgency, Verified};

/// The longest wait until a provider that isn't ready is looked at again: a mended secret is noticed by then.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What checking a provider object needs.
pub struct Checker {
    /// Everything else.
    pub ctx: Arc<Context>,
    /// The HTTP client for provider objects of a namespace.
    pub http: Client,
    /// The one for provider objects of the cluster, whose keeper may name any address.
    pub cluster_http: Client,
    /// Where the operator's own tokens are.
    pub tokens: PathBuf,
    /// What was made of each object, so that the same credential isn't signed in with twice.
    made: Mutex<HashMap<ProviderKey, Made>>,
}

/// A connection and what it was made from.
#[derive(Clone)]
pub struct Made {
    print: u64,
    connection: Arc<Connection>,
    named: Named,
    failures: u32,
}

/// One look at a provider object.
pub async fn check<K: ProviderObject>(object: Arc<K>, checker: Arc<Checker>) -> Result<Action, Fault> {
    let span = tracing::error_span!("check", provider = %object.key());
    look_at(object, checker).instrument(span).await
}

async fn look_at<K: ProviderObject>(object: Arc<K>, checker: Arc<Checker>) -> Result<Action, Fault> {
    let ctx = &checker.ctx;
    if !ctx.begun.is_ready() {
        // How many memberships use it isn't known yet, or another replica leads. It is looked at when this one begins.
        return Ok(Action::await_change());
    }
    let key = object.key();
    let deleting = object.meta().deletion_timestamp.is_some();
    let kept = match deleting {
        true => in_use::let_go(ctx, object.as_ref()).await,
        false => in_use::mend(ctx, object.as_ref()).await.map(|()| false),
    };
    match &kept {
        Ok(true) => return Ok(Action::await_change()),
        Ok(false) => {}
        // Its memberships' ends don't wait for it.
        Err(_) => {}
    }
    let unmarked = kept.as_ref().err().map(|error| after(&checker, object.as_ref(), error));
    if ctx.connections.are_new(&key, object.rules()) {
        // They count from now on, whatever becomes of the connection.
        of_provider(ctx, &key).iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    let interval = Resync::of(object.provider(), key.kind).map_or(Duration::from_secs(600), |resync| resync.provider());
    let Checked { link, finding, status, retry } = match connect(&checker, object.as_ref(), &key).await {
        Err(told) => {
            if told.reason == Reason::Unreachable {
                ctx.outage.provider_waits(&key, u32::MAX);
            }
            let failures = checker.failed(&key);
            Checked::unread(ctx.connections.get(&key), told, wait(failures))
        }
        Ok(connection) => match verify(&connection).await {
            Ok(verified) => {
                checker.succeeded(&key);
                let finding = connection.found(Instant::now());
                // A pass has met what the check has not: the check comes again soon.
                let retry = if finding == Finding::NoOutage { QUIET.min(interval) } else { interval };
                Checked { link: Link::Ready(connection), finding, status: Some(Ok(verified)), retry }
            }
            Err(error) => {
                let failures = checker.failed(&key);
                checker.unverified(&key, connection, error, wait(failures))
            }
        },
    };
    let changed = changed(ctx.connections.get(&key).as_ref(), &link) || finding == Finding::Recovered;
    ctx.connections.put(key.clone(), link);
    if changed {
        of_provider(ctx, &key).iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    if let Some(status) = status {
        provider_status::write(ctx, object.as_ref(), status)
            .await
            .map_err(|error| Fault { error: Arc::new(error), settled: true })?;
    }
    if kept.is_ok() {
        reporting::no_fault(ctx, object.as_ref());
    }
    Ok(Action::requeue(unmarked.flatten().map_or(retry, |soon| soon.min(retry))))
}

/// What a check came to.
struct Checked {
    link: Link,
    finding: Finding,
    /// What the provider object's status is to say; `None`: what it says already.
    status: Option<Result<Verified, Told>>,
    /// When to check again.
    retry: Duration,
}

impl Checked {
    /// What becomes of a provider whose credential can't be read.
    fn unread(known: Option<Link>, told: Told, retry: Duration) -> Self {
        let finding = Finding::AsBefore;
        match known {
            // The API server that doesn't answer for a moment takes nothing from a credential that works.
            Some(link @ Link::Ready(_)) if told.reason == Reason::Unreachable => {
                Self { link, finding, status: None, retry }
            }
            known => {
                let last = known.and_then(Link::usable);
                let link = Link::Failed { reason: told.reason, message: told.message.clone(), last };
                Self { link, finding, status: Some(Err(told)), retry }
            }
        }
    }
}

/// What to do when a provider object's status couldn't be written.
pub fn after_fault<K: ProviderObject>(object: Arc<K>, fault: &Fault, checker: Arc<Checker>) -> Action {
    after(&checker, object.as_ref(), &fault.error).map_or_else(Action::await_change, Action::requeue)
}

/// When to check a provider object again that was not written; `None`: when the API server is available again.
fn after<K: ProviderObject>(checker: &Checker, object: &K, error: &kube::Error) -> Option<Duration> {
    let (ctx, concern) = (&checker.ctx, Concern::of(error));
    let in_a_row = reporting::fault(ctx, object, error);
    let waits = concern == Concern::Server && ctx.outage.provider_waits(&object.key(), in_a_row);
    Failed { concern, in_a_row, waits, revokes: false, next_end: None }.retry()
}

fn changed(old: Option<&Link>, new: &Link) -> bool {
    match (old, new) {
        (Some(Link::Ready(old)), Link::Ready(new)) => !Arc::ptr_eq(old, new),
        (Some(Link::Failed { reason, message, .. }), Link::Failed { reason: r, message: m, .. }) => {
            (reason, message) != (r, m)
        }
        _ => true,
    }
}

/// As urgent as a grant, where namespaces take turns: what many ask for doesn't keep a provider from being checked.
async fn verify(connection: &Connection) -> Result<Verified, Error> {
    let permit = connection.quota.permit(Kind::Read, Urgency::Grant, &connection.key.namespace).await;
    connection.provider.verify(&permit).await
}

fn wait(failures: u32) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT)
}

fn told_to_wait(error: &Error) -> Duration {
    match error {
        Error::RateLimited { after: Some(after), .. } => *after,
        _ => Duration::ZERO,
    }
}

/// All memberships that name a provider object, those among them that went without our leave.
pub fn of_provider(ctx: &Context, key: &ProviderKey) -> Vec<Arc<crate::api::ProjectMembership>> {
    let mut memberships = ctx.memberships.state_filter(|membership| ProviderKey::named_by(membership) == *key);
    memberships.extend(ctx.departed.of_provider(key));
    memberships
}

/// The connection that an object's spec and secrets make: the known one where nothing changed.
async fn connect<K: ProviderObject>(checker: &Checker, object: &K, key: &ProviderKey) -> Result<Arc<Connection>, Told> {
    let spec = object.provider();
    let http = match key.kind {
        ProviderKind::MembershipProvider => &checker.http,
        ProviderKind::ClusterMembershipProvider => &checker.cluster_http,
    };
    let invalid = |message: String| Told::new(Reason::InvalidSpec, message);
    let one_kind = || invalid("set exactly one of spec.infisical and spec.zitadel".to_owned());
    let (url, server) = match (&spec.infisical, &spec.zitadel) {
        (Some(infisical), None) => (&infisical.url, Server::Infisical),
        (None, Some(zitadel)) => (&zitadel.url, Server::Zitadel { organization_id: zitadel.organization_id.clone() }),
        _ => return Err(one_kind()),
    };
    let resync = Resync::of(spec, key.kind).map_err(|refusal| Told::new(refusal.reason, refusal.message))?;
    let endpoint = Endpoint::parse(url).map_err(|error| invalid(format!("spec url: {error}")))?;
    http.policy().check(&endpoint).map_err(|error| invalid(format!("spec url: {error}")))?;
    let mut references = References::of(checker.ctx.client.clone(), object.home(&checker.tokens));
    let trust = references.trust(spec.ca_bundle.as_ref()).await?;
    let credential = references.credential(spec).await?;
    let uid = object.uid().unwrap_or_default();
    let print = references.print(&uid, spec);
    if let Some(connection) = checker.known(key, print) {
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
    checker.remember(key, print, connection.clone(), object.named());
    Ok(connection)
}

/// The provider that a spec and its credential make; `None` where the credential is of another kind.
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
    /// With nothing made yet.
    pub fn new(ctx: Arc<Context>, http: Client, cluster_http: Client, tokens: PathBuf) -> Self {
        Self { ctx, http, cluster_http, tokens, made: Mutex::default() }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<ProviderKey, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &ProviderKey, print: u64) -> Option<Arc<Connection>> {
        self.made().get(key).filter(|made| made.print == print).map(|made| made.connection.clone())
    }

    fn remember(&self, key: &ProviderKey, print: u64, connection: Arc<Connection>, named: Named) {
        self.made().insert(key.clone(), Made { print, connection, named, failures: 0 });
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

    /// What becomes of a provider that could not be verified. One that was verified before and can't be reached now stays
    /// usable, though its object is not Ready: an end that is due goes out the moment it answers again.
    fn unverified(&self, key: &ProviderKey, connection: Arc<Connection>, error: Error, retry: Duration) -> Checked {
        let known = self.ctx.connections.get(key).and_then(Link::usable);
        let was_ready = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &connection));
        let told = Told::new(error.reason(), error.to_string());
        let failed = |last| Link::Failed { reason: told.reason, message: told.message.clone(), last };
        let finding = match &error {
            Error::Unreachable { .. } => connection.not_found(Instant::now()),
            _ => connection.found(Instant::now()),
        };
        // What a replica that stands by asks for is not sent.
        let outage = matches!(error, Error::Unreachable { .. }) && self.http.leads();
        let retry = retry.max(told_to_wait(&error));
        let (link, status) = match error {
            Error::Unreachable { .. } if was_ready => (Link::Ready(connection), outage.then_some(Err(told))),
            Error::RateLimited { .. } if was_ready => (Link::Ready(connection), None),
            // A newer credential that nobody has judged yet takes nothing from the one before.
            Error::Unreachable { .. } | Error::RateLimited { .. } => (failed(known), Some(Err(told.clone()))),
            _ => (failed(None), Some(Err(told.clone()))),
        };
        Checked { link, finding, status, retry }
    }

    /// Forgets the provider objects of this kind that are gone, whether somebody saw them go or not, and returns them.
    pub fn forget_missing(&self, kind: ProviderKind) -> Vec<ProviderKey> {
        let mut known: Vec<ProviderKey> = self.made().keys().cloned().collect();
        // A check that was under way when its object went may have left something.
        known.extend(self.ctx.connections.known());
        known.sort();
        known.dedup();
        let there = |key: &ProviderKey| self.ctx.providers.find(key).is_some();
        let missing: Vec<ProviderKey> = known.into_iter().filter(|key| key.kind == kind && !there(key)).collect();
        missing.iter().for_each(|key| self.forget(key));
        missing
    }

    /// What stands under this name was made of another object.
    pub fn forget_others(&self, key: &ProviderKey, uid: &str) {
        let other = self.made().get(key).is_some_and(|made| made.connection.uid != uid);
        if other {
            self.forget(key);
        }
    }

    /// The provider object is gone. Where memberships of it hold access, somebody took its finalizer off: its connection is
    /// kept for what ends.
    pub fn forget(&self, key: &ProviderKey) {
        let made = self.made().remove(key);
        let was_usable = |made: &Made| {
            let usable = self.ctx.connections.get(key).and_then(Link::usable);
            usable.is_some_and(|usable| Arc::ptr_eq(&usable, &made.connection))
        };
        if let Some(Made { connection, named, .. }) = made.filter(was_usable)
            && replaced::holds_access(&self.ctx, key, &connection.endpoint)
        {
            self.ctx.connections.retire(key, Retired { named, connection });
        }
        self.ctx.connections.remove(key);
    }
}
