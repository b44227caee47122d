//! Handles provider objects that were removed by force and created again with another endpoint. What their memberships
//! hold at the former endpoint is revoked through the connection that is still in memory, or reported if there is none.
//!
//! The URL of a provider object is immutable: if the endpoint in a status is not that of the provider object, it is
//! that of a former one, or was forged. The ages of the objects show which: the record of an object that is younger
//! than its provider object is never of another endpoint.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::connections::ConnectionState;
use super::context::Context;
use super::provider_key::ProviderKey;
use super::resolve::endpoint_of;
use super::state::tombstones::left_at;
use super::tombstones::leave_behind;
use super::write;
use crate::api::ProjectMembership;
use crate::api::event::EventKind;
use crate::api::membership::ProjectMembershipStatus;
use crate::core::snapshot::is_finalized;
use crate::provider::http::text;

/// Whether memberships of a provider object hold access at an endpoint.
fn holds_access(ctx: &Context, key: &ProviderKey, endpoint: &str) -> bool {
    ctx.memberships_of(key)
        .iter()
        .any(|object| is_finalized(object) && endpoint_of(object).as_deref() == Some(endpoint))
}

/// Drops the connections of former provider objects through which no membership holds access any more.
pub fn forget_unneeded(ctx: &Context) {
    ctx.connections.keep_retired(|key, endpoint| holds_access(ctx, key, endpoint));
}

/// The endpoint, other than the provider object's, at which an object holds access; `None`: there is none.
fn former_endpoint(object: &ProjectMembership, endpoint: &str, created: Option<Timestamp>) -> Option<String> {
    let status = object.status.as_ref()?;
    let holds = !status.managed_roles.is_empty() || !status.carried_roles.is_empty();
    let older = object.metadata.creation_timestamp.as_ref().map(|time| time.0) < created;
    endpoint_of(object).filter(|former| former != endpoint && holds && older)
}

/// Separates an object from the access that it holds at the endpoint of a former provider object, so that its record is
/// not applied to the new endpoint.
pub async fn part(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<(), kube::Error> {
    let key = ProviderKey::named_by(object);
    let current = match (left_at(object), ctx.connections.get(&key)) {
        (None, Some(ConnectionState::Ready(current))) => current,
        _ => return Ok(()),
    };
    let there = ctx.providers.find(&key).is_some_and(|named| named.uid() == &*current.uid);
    let Some(former) = former_endpoint(object, &current.endpoint, current.created).filter(|_| there) else {
        return Ok(());
    };
    let status = object.status.clone().unwrap_or_default();
    let roles =
        status.managed_roles.iter().map(|managed| &managed.role).chain(status.carried_roles.iter().map(|r| &r.role));
    let revocable = ctx.connections.retired(&key, &former).is_some();
    for role in roles {
        report(ctx, object, role, &former, revocable);
    }
    if revocable {
        leave_behind(ctx, object, &former);
    } else {
        ctx.metrics.abandoned.inc();
    }
    let status = ProjectMembershipStatus { managed_roles: Vec::new(), carried_roles: Vec::new(), ..status };
    write::status(ctx, object, &status).await.map(drop)
}

/// Reports a role that an object holds at the endpoint of a former provider object.
fn report(ctx: &Context, object: &ProjectMembership, role: &str, former: &str, revocable: bool) {
    let former = text::filtered(former, &[]);
    let (event_kind, what) = match revocable {
        true => (EventKind::Failed, "it is revoked through the connection that is still in memory"),
        false => (
            EventKind::Abandoned,
            "no connection to it is left, and the access remains there: revoke it at that server",
        ),
    };
    let message = format!(
        "the role {role:?} was granted at {former}, and the provider object was created again with another endpoint: {what}"
    );
    tracing::warn!(namespace = object.namespace(), name = object.name_any(), "{message}");
    ctx.events.emit(object, event_kind, &[message], object.spec.justification.as_deref());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Seen failing with each condition of `former_endpoint` removed.
    #[test]
    fn only_the_record_of_an_object_older_than_its_provider_object_is_of_a_former_endpoint() {
        let object = |created: &str, endpoint: &str, managed: &[&str]| -> ProjectMembership {
            let managed: Vec<_> = managed.iter().map(|role| json!({"role": role})).collect();
            serde_json::from_value(json!({
                "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
                "metadata": {"name": "ci", "creationTimestamp": created},
                "spec": {
                    "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                    "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
                },
                "status": {
                    "managedRoles": managed,
                    "target": {"provider": "p", "endpoint": endpoint, "projectId": "web", "subjectKind": "Identity", "subjectId": "ci"},
                },
            }))
            .unwrap()
        };
        let (new, former, created) = ("https://new", "https://former", "2026-11-21T12:00:00Z".parse().ok());
        let (before, after) = ("2026-11-21T11:00:00Z", "2026-11-21T13:00:00Z");
        let found = |object: &ProjectMembership| former_endpoint(object, new, created);
        assert_eq!(found(&object(before, former, &["viewer"])).as_deref(), Some(former));
        assert_eq!(found(&object(before, new, &["viewer"])), None, "the endpoint of the provider object");
        assert_eq!(found(&object(before, former, &[])), None, "an object that holds nothing");
        assert_eq!(found(&object(after, former, &["viewer"])), None, "a forged endpoint");
    }
}
