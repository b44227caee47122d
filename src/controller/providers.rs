//! The provider objects: their secrets are read, their credentials verified, their memberships woken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;

use super::connections::{Connection, Link, ProviderKey};
use super::context::Context;
use super::in_use;
use super::provider_object::ProviderObject;
use super::reconcile::Fault;
use super::references::{Credential, References};
use super::write;
use crate::api::condition::Standing;
use crate::api::membership::ProviderKind;
use crate::api::provider::{Limits, MembershipProviderSpec};
use crate::api::{MembershipProviderStatus, Reason};
use crate::policy::Server;
use crate::provider::http::{Client, Endpoint};
use crate::provider::quota::Kind;
use crate::provider::{AnyProvider, Error, Provider, Urgency, Verified, infisical, zitadel};
use crate::roster::Rosters;
use crate::status::{self, Told};

/// The longest wait until a provider that isn't ready is looked at again: a mended secret is noticed by then.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a provider object says that is being deleted while it is in use.
const KEPT: &str = "reachable, and the credential is accepted; it is being deleted, and kept until none of its ProjectMemberships holds access any more: delete those (with deletionPolicy: Orphan they leave their permanent roles behind)";

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
    failures: u32,
}

/// One look at a provider object.
pub async fn check<K: ProviderObject>(object: Arc<K>, checker: Arc<Checker>) -> Result<Action, Fault> {
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
    match kept {
        Ok(true) => return Ok(Action::await_change()),
        Ok(false) => {}
        // Its memberships' ends don't wait for it.
        Err(error) => tracing::warn!(provider = %key, %error, "the finalizer membership.dev/in-use can't be written"),
    }
    if ctx.connections.are_new(&key, object.rules()) {
        // They count from now on, whatever becomes of the connection.
        of_provider(ctx, &key).iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    let interval = object.provider().resync_interval.seconds().map_or(Duration::from_secs(600), Duration::from_secs);
    let (link, verified, retry) = match connect(&checker, object.as_ref(), &key).await {
        Err(told) => {
            let failures = checker.failed(&key);
            (unread(ctx.connections.get(&key), told), None, wait(failures))
        }
        Ok(connection) => match verify(&connection).await {
            Ok(verified) => {
                checker.succeeded(&key);
                (Link::Ready(connection), Some(verified), interval)
            }
            Err(error) => {
                let failures = checker.failed(&key);
                (still_usable(ctx, &key, connection, &error), None, wait(failures).max(after(&error)))
            }
        },
    };
    let told = match (&link, &verified) {
        (_, Some(_)) => None,
        (Link::Failed { reason, message, .. }, None) => Some(Told::new(*reason, message.clone())),
        (Link::Ready(_), None) => None,
    };
    let changed = changed(ctx.connections.get(&key).as_ref(), &link);
    ctx.connections.put(key.clone(), link);
    let memberships = of_provider(ctx, &key);
    if changed {
        memberships.iter().for_each(|membership| ctx.wake(&write::reference(membership)));
    }
    say(ctx, object.as_ref(), told, verified, memberships.len()).await.map_err(|error| Fault::from(Box::new(error)))?;
    Ok(Action::requeue(retry))
}

/// What becomes of a provider whose credential can't be read.
fn unread(known: Option<Link>, told: Told) -> Link {
    match known {
        // The API server that doesn't answer for a moment takes nothing from a credential that works.
        Some(link @ Link::Ready(_)) if told.reason == Reason::Unreachable => link,
        known => Link::Failed { reason: told.reason, message: told.message, last: known.and_then(Link::usable) },
    }
}

/// What to do when a provider object's status couldn't be written.
pub fn after_fault<K>(_: Arc<K>, fault: &Fault, _: Arc<Checker>) -> Action {
    if fault.is_conflict() {
        // There is something newer to read already.
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(%fault, "a provider could not be checked");
    Action::requeue(Duration::from_secs(5))
}

/// A provider that was verified before and can't be reached now stays usable: its memberships say themselves what
/// they meet, and an end that is due goes out the moment it answers again.
fn still_usable(ctx: &Context, key: &ProviderKey, connection: Arc<Connection>, error: &Error) -> Link {
    let known = ctx.connections.get(key).and_then(Link::usable);
    let was_ready = known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &connection));
    match error {
        Error::Unreachable { .. } | Error::RateLimited { .. } if was_ready => Link::Ready(connection),
        // A newer credential that nobody has judged yet takes nothing from the one before.
        Error::Unreachable { .. } | Error::RateLimited { .. } => {
            Link::Failed { reason: error.reason(), message: error.to_string(), last: known }
        }
        _ => Link::Failed { reason: error.reason(), message: error.to_string(), last: None },
    }
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

fn after(error: &Error) -> Duration {
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
    let (url, server) = match (&spec.infisical, &spec.zitadel) {
        (Some(infisical), None) => (&infisical.url, Server::Infisical),
        (None, Some(zitadel)) => (&zitadel.url, Server::Zitadel { organization_id: zitadel.organization_id.clone() }),
        _ => return Err(invalid("set exactly one of spec.infisical and spec.zitadel".to_owned())),
    };
    let resync = spec.resync_interval.seconds().map_err(|e| invalid(format!("spec.resyncInterval: {e}")))?;
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
    let one_writer = spec.zitadel.is_some();
    let budget = checker.ctx.connections.budget(endpoint.as_str(), one_writer);
    let quota = budget.quota(key.to_string(), limits(spec.limits.clone().unwrap_or_default(), endpoint.as_str()));
    let http = match &trust {
        None => http.clone(),
        Some(trust) => http.trusting(trust).map_err(|error| invalid(format!("spec.caBundle: {error}")))?,
    };
    let provider = provider(spec, credential, http, endpoint.clone());
    let connection = Arc::new(Connection {
        key: key.clone(),
        uid,
        created: object.meta().creation_timestamp.as_ref().map(|time| time.0),
        endpoint: endpoint.as_str().to_owned(),
        server,
        provider,
        quota,
        rosters: Rosters::default(),
        resync: Duration::from_secs(resync),
    });
    checker.remember(key, print, connection.clone());
    Ok(connection)
}

fn provider(spec: &MembershipProviderSpec, credential: Credential, http: Client, endpoint: Endpoint) -> AnyProvider {
    match credential {
        Credential::Infisical(credentials) => {
            let invite_users = spec.infisical.as_ref().is_some_and(|infisical| infisical.invite_users);
            let infisical = infisical::Infisical::new(&http, endpoint, credentials);
            AnyProvider::Infisical(infisical.inviting_users(invite_users))
        }
        Credential::Zitadel(credentials) => {
            let instance_host = spec.zitadel.as_ref().and_then(|zitadel| zitadel.instance_host.clone());
            AnyProvider::Zitadel(zitadel::Zitadel::new(http, endpoint, credentials, instance_host))
        }
    }
}

/// The limits that are set, and for the known cloud hosts the ones of their smallest plan where none is
/// (reference/infisical.md, "Auth and limits"; reference/zitadel.md, "Headers and limits").
pub fn limits(mut set: Limits, endpoint: &str) -> Limits {
    let host = endpoint.trim_start_matches("https://");
    let (reads, writes) = match host {
        "app.infisical.com" | "us.infisical.com" | "eu.infisical.com" => (Some(200), Some(90)),
        // 50 requests a second, of either kind.
        host if host.ends_with(".zitadel.cloud") => (Some(1500), Some(1500)),
        _ => (None, None),
    };
    set.reads_per_minute = set.reads_per_minute.or(reads);
    set.writes_per_minute = set.writes_per_minute.or(writes);
    set
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

    fn remember(&self, key: &ProviderKey, print: u64, connection: Arc<Connection>) {
        self.made().insert(key.clone(), Made { print, connection, failures: 0 });
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

    /// After a relist: the provider objects of this kind that went unseen.
    pub fn forget_missing(&self, kind: ProviderKind) -> Vec<ProviderKey> {
        let known: Vec<ProviderKey> = self.made().keys().cloned().collect();
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

    /// The provider object is gone.
    pub fn forget(&self, key: &ProviderKey) {
        self.made().remove(key);
        self.ctx.connections.remove(key);
    }
}

/// Writes a provider object's status where it says something new.
async fn say<K: ProviderObject>(
    ctx: &Context,
    object: &K,
    told: Option<Told>,
    verified: Option<Verified>,
    memberships: usize,
) -> Result<(), kube::Error> {
    let old = object.provider_status().cloned().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let deleting = object.meta().deletion_timestamp.is_some();
    let conditions = match (&told, &verified) {
        (Some(told), _) => failing(&old.conditions, told, generation, ctx.now()),
        (None, Some(_)) => {
            let mut conditions = status::conditions(
                &old.conditions,
                &Told::new(
                    Reason::Converged,
                    if deleting { KEPT } else { "reachable, and the credential is accepted" },
                ),
                &[],
                generation,
                ctx.now(),
            );
            conditions.iter_mut().for_each(|condition| condition.reason = "Verified".to_owned());
            conditions
        }
        (None, None) => old.conditions.clone(),
    };
    let new = MembershipProviderStatus {
        observed_generation: generation,
        conditions,
        api: verified.map(|verified| verified.api.to_owned()).or(old.api),
        memberships: i64::try_from(memberships).unwrap_or(i64::MAX),
    };
    let old =
        object.provider_status().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}));
    let Ok(new) = serde_json::to_value(&new) else {
        return Ok(());
    };
    let Some(difference) = write::difference(&old, &new) else {
        return Ok(());
    };
    let api = object.api(ctx.client.clone());
    // A write that was held up, or the status of an object of the same name, must not replace what was said since: on a
    // status a uid alone guards nothing.
    let metadata = json!({"uid": object.meta().uid, "resourceVersion": object.meta().resource_version});
    let patch = json!({"metadata": metadata, "status": difference});
    let params = PatchParams { field_manager: Some(write::MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch);
    write::own_provider(ctx, object, api.patch_status(&object.name_any(), &params, &patch)).await
}

/// A provider that isn't usable is not ready at once: nothing of its memberships can be said to wait only.
fn failing(old: &[Condition], told: &Told, generation: i64, now: jiff::Timestamp) -> Vec<Condition> {
    let mut conditions = status::conditions(old, told, &[], generation, now);
    if told.reason.standing() == Standing::Waiting {
        for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
            let was = old.iter().find(|known| known.type_ == "Ready" && known.status == "False");
            condition.status = "False".to_owned();
            if let Some(was) = was {
                condition.last_transition_time = was.last_transition_time.clone();
            }
        }
    }
    conditions
}
