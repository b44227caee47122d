//! Resolves an object's references to a verified connection and a target.

use std::sync::Arc;

use super::connections::{Connection, ConnectionState};
use super::context::Context;
use super::provider_key::ProviderKey;
use super::provider_object::ProviderObject;
use super::state::namespaces::Labels;
use super::state::tombstones;
use crate::api::membership::ProviderKind;
use crate::api::{ProjectMembership, Reason};
use crate::core::member::{Capabilities, Target};
use crate::core::policy::allow::{Governed, Namespace, ResolvedTarget};
use crate::core::policy::{self, Refusal};
use crate::core::precedence::Evidence;
use crate::core::snapshot::is_finalized;
use crate::core::status::ReadyCondition;
use crate::provider::http::text;

/// The result of resolving an object's references.
#[derive(Clone)]
pub struct Resolved {
    /// The connection to the provider.
    pub connection: Arc<Connection>,
    /// The provider object in its present version, with its rules.
    pub named: Arc<dyn ProviderObject>,
    /// Why the provider is not ready. The connection is then the last one that was ready, and is only used for ends and
    /// revocations.
    pub unready: Option<Refusal>,
    /// Why the provider object accepts no new memberships: it is being deleted.
    pub leaving: Option<Refusal>,
    /// The target at the provider.
    pub target: Target,
    /// The provider object was deleted, and the connection is the one that was kept.
    pub retired: bool,
}

impl Resolved {
    /// The capabilities and requirements of the provider for this kind of subject.
    pub fn capabilities(&self) -> Capabilities {
        self.connection.provider.capabilities(self.target.subject_kind)
    }

    /// Whether the subject of the target is the account that the operator itself uses at the provider.
    pub fn is_ourselves(&self) -> bool {
        self.connection.provider.signed_in_as().is_some_and(|id| id == self.target.subject_id)
    }

    /// The rules that apply to an object of the target. `labels`: those of its namespace.
    pub fn governed<'a>(&'a self, object: &'a ProjectMembership, labels: Option<&'a Labels>) -> Option<Governed<'a>> {
        let place = ResolvedTarget {
            project_id: Some(&self.target.project.id),
            subject_kind: self.target.subject_kind,
            subject_id: Some(&self.target.subject_id),
        };
        governed(self.named.as_ref(), object, labels, place)
    }

    /// What is known about the credential's permissions in the target's project.
    pub fn evidence(&self) -> Evidence {
        self.connection.rosters.evidence(&self.target.project, self.target.subject_kind)
    }
}

/// Why an object's references cannot be resolved yet.
pub enum Unresolved {
    /// The provider object is being checked for the first time. When the check is done, its memberships are reconciled.
    Checking,
    /// A name of the object has yet to be looked up through this connection.
    Named(Arc<Connection>, Arc<dyn ProviderObject>),
    /// Something is missing or wrong.
    Refused(Refusal),
}

impl From<Refusal> for Unresolved {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Resolves an object's provider and target. If the provider object was deleted, or was created again and is unusable,
/// the retired connection of the former one is used for ends and revocations.
pub fn resolve(ctx: &Context, object: &ProjectMembership) -> Result<Resolved, Unresolved> {
    let key = ProviderKey::named_by(object);
    let refusal = match tombstones::left_at(object) {
        Some(_) => provider_not_found(ctx, &key),
        None => match resolve_current(ctx, object, &key) {
            Err(Unresolved::Refused(refusal)) => refusal,
            resolved => return resolved,
        },
    };
    let retired = endpoint_of(object).and_then(|endpoint| ctx.connections.retired(&key, &endpoint));
    let Some(connection) = retired else {
        return Err(refusal.into());
    };
    let named = connection.object.clone();
    match policy::target(&object.spec, &connection.server, &ctx.targets.pinned(object)) {
        Ok(Some(target)) => {
            Ok(Resolved { connection, named, unready: Some(refusal), leaving: None, target, retired: true })
        }
        Ok(None) | Err(_) => Err(refusal.into()),
    }
}

/// The endpoint in an object's status, or the one for which a copy of an object was left behind.
pub fn endpoint_of(object: &ProjectMembership) -> Option<String> {
    tombstones::left_at(object).or_else(|| Some(object.status.as_ref()?.target.as_ref()?.endpoint.clone()))
}

fn provider_not_found(ctx: &Context, key: &ProviderKey) -> Refusal {
    let place = match key.kind {
        ProviderKind::MembershipProvider => format!(" in namespace {:?}", key.namespace),
        ProviderKind::ClusterMembershipProvider => String::new(),
    };
    let message = if ctx.providers.serve(key.kind) {
        format!("there is no {:?} {:?}{place}: this object waits until it is created", key.kind, key.name)
    } else {
        format!(
            "{:?} {:?} is not available: its kind isn't installed (kubectl apply -f crds/), or the operator was started with --watch-namespaces and serves none",
            key.kind, key.name
        )
    };
    Refusal { reason: Reason::ProviderNotFound, message }
}

fn resolve_current(ctx: &Context, object: &ProjectMembership, key: &ProviderKey) -> Result<Resolved, Unresolved> {
    let Some(named) = ctx.providers.find(key) else {
        return Err(provider_not_found(ctx, key).into());
    };
    let link = ctx.connections.get(key).ok_or(Unresolved::Checking)?;
    let failed = matches!(link, ConnectionState::Failed { .. });
    let leaving = (named.is_being_deleted() && !failed).then(|| unready(key, &link));
    let unready = failed.then(|| unready(key, &link));
    let connection = match (link.usable().filter(|usable| &*usable.uid == named.uid()), &unready) {
        (Some(connection), _) => connection,
        (None, Some(unready)) => return Err(unready.clone().into()),
        // Another provider object has this name now.
        (None, None) => return Err(Unresolved::Checking),
    };
    refuse_another_server(object, &connection)?;
    match (policy::target(&object.spec, &connection.server, &ctx.targets.pinned(object))?, unready) {
        (Some(target), unready) => Ok(Resolved { connection, named, unready, leaving, target, retired: false }),
        (None, Some(unready)) => Err(unready.into()),
        (None, None) => match leaving.filter(|_| !is_finalized(object)) {
            Some(leaving) => Err(leaving.into()),
            None => Err(Unresolved::Named(connection, named)),
        },
    }
}

/// Why a provider object's memberships wait. About a provider object of the cluster the message gives only the reason:
/// its Secrets, its server's messages and the rest of its status are for its administrators only.
fn unready(key: &ProviderKey, link: &ConnectionState) -> Refusal {
    let ProviderKey { kind, name, .. } = key;
    let message = match (link, kind) {
        (ConnectionState::Ready(_), _) => format!("{kind:?} {name:?} is being deleted and accepts no new memberships"),
        (ConnectionState::Failed { condition, .. }, ProviderKind::MembershipProvider) => {
            let ReadyCondition { reason, message } = condition;
            format!("{kind:?} {name:?} is not ready: {reason}: {message}")
        }
        (ConnectionState::Failed { condition, .. }, ProviderKind::ClusterMembershipProvider) => {
            let reason = condition.reason;
            format!("{kind:?} {name:?} is not ready: {reason}: its own status has the reason, for its maintainers")
        }
    };
    Refusal { reason: Reason::ProviderNotReady, message }
}

/// Refuses an object whose names were looked up at another server: the ids of one server are not valid at another, and
/// names are never looked up again.
fn refuse_another_server(object: &ProjectMembership, connection: &Connection) -> Result<(), Refusal> {
    let named = object.spec.project.name.is_some() || object.spec.subject.name.is_some();
    match object.status.as_ref().and_then(|status| status.target.as_ref()) {
        Some(target) if named && *target.endpoint != *connection.endpoint => Err(Refusal {
            reason: Reason::InvalidSpec,
            message: format!(
                "the names were looked up at {:?}, and the provider object now stands for {}: delete this object and create it again",
                text::filtered(&target.endpoint, &[]),
                connection.endpoint
            ),
        }),
        _ => Ok(()),
    }
}

/// The labels of an object's namespace, if any rule selects by labels.
pub fn labels(ctx: &Context, object: &ProjectMembership) -> Option<Labels> {
    ctx.namespaces.labels(object.metadata.namespace.as_deref().unwrap_or_default())
}

/// The rules that apply to an object at `place`; `None`: its provider object has none.
pub fn governed<'a>(
    named: &'a dyn ProviderObject,
    object: &'a ProjectMembership,
    labels: Option<&'a Labels>,
    place: ResolvedTarget<'a>,
) -> Option<Governed<'a>> {
    let namespace = Namespace { name: object.metadata.namespace.as_deref().unwrap_or_default(), labels };
    let provider = object.spec.provider_ref.name.as_str();
    named.rules().map(|rules| Governed { provider, rules, namespace, place })
}
