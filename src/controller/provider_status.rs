//! The status of provider objects: whether the provider can be used, and how many memberships use it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Patch;
use serde_json::json;

use super::context::Context;
use super::provider_key::ProviderKey;
use super::provider_object::ProviderObject;
use super::write;
use crate::api::event::EventKind;
use crate::api::{MembershipProviderStatus, Reason};
use crate::core::status::{self, ReadyCondition};
use crate::provider::Verified;

/// How long changes of the number of memberships are collected before they are written, so that many changes need one
/// write.
const GATHER: Duration = Duration::from_secs(2);
/// The wait after a failed write of a count.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The condition message of a provider object that is being deleted while it is in use.
const KEPT: &str = "reachable, and the credential is accepted; it is being deleted, and kept until none of its ProjectMemberships holds access any more: delete those (with deletionPolicy: Orphan they leave their permanent roles behind)";

/// Writes the result of a check if it changes the status, and reports when the provider becomes ready or not ready.
pub async fn write(
    ctx: &Context,
    object: &dyn ProviderObject,
    checked: Result<Verified, ReadyCondition>,
) -> Result<(), kube::Error> {
    let old = object.status().cloned().unwrap_or_default();
    let generation = object.metadata().generation.unwrap_or_default();
    let deleting = object.is_being_deleted();
    let (conditions, api) = match checked {
        // A provider that failed its check is not ready. It is not reported as a wait, as a membership may be.
        Err(ready_condition) => (status::not_ready(&old.conditions, &ready_condition, generation, ctx.now()), None),
        Ok(verified) => (verified_conditions(&old.conditions, deleting, generation, ctx.now()), Some(verified.api)),
    };
    let new = MembershipProviderStatus {
        observed_generation: generation,
        conditions,
        api: api.map(str::to_owned).or(old.api.clone()),
        memberships: ctx.targets.counts().get(&object.key()).copied().unwrap_or_default(),
    };
    patch(ctx, object, &new).await?;
    report(ctx, object, readiness_change(&old.conditions, &new.conditions));
    Ok(())
}

fn verified_conditions(old: &[Condition], deleting: bool, generation: i64, now: jiff::Timestamp) -> Vec<Condition> {
    let message = if deleting { KEPT } else { "reachable, and the credential is accepted" };
    let mut conditions =
        status::conditions(old, &ReadyCondition::new(Reason::Converged, message), &[], generation, now);
    conditions.iter_mut().for_each(|condition| condition.reason = "Verified".to_owned());
    conditions
}

/// What to report about a provider whose conditions change: that it is ready, or why it is not. `None`: nothing
/// changed. Pure.
fn readiness_change(old: &[Condition], new: &[Condition]) -> Option<(EventKind, String)> {
    let ready = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
    let (old, new) = (ready(old), ready(new)?);
    let same = |old: &Condition| old.status == new.status && (new.status == "True" || old.reason == new.reason);
    if old.as_ref().is_some_and(same) {
        return None;
    }
    Some(match new.status.as_str() {
        "True" => (EventKind::Ready, new.message),
        _ => (EventKind::NotReady, format!("{}: {}", new.reason, new.message)),
    })
}

fn report(ctx: &Context, object: &dyn ProviderObject, change: Option<(EventKind, String)>) {
    let Some((event_kind, message)) = change else {
        return;
    };
    let provider = object.key().to_string();
    match event_kind {
        EventKind::Ready => tracing::info!(provider, "the provider is ready: {message}"),
        _ => tracing::warn!(provider, "the provider is not ready: {message}"),
    }
    ctx.events.emit_for(object.reference(), event_kind, &message);
}

/// Keeps `status.memberships` up to date while this replica acts. Changes within some seconds need one write for each
/// provider object, and no request to a provider.
pub async fn count_memberships(ctx: Arc<Context>) {
    loop {
        ctx.membership_count.notified().await;
        tokio::time::sleep(GATHER).await;
        ctx.forget_missing_reports();
        if ctx.begun.is_ready() && !write_counts(&ctx).await {
            tokio::time::sleep(AFTER_FAILURE).await;
            ctx.membership_count.notify_one();
        }
    }
}

/// Writes the counts. Returns whether all of them are written.
async fn write_counts(ctx: &Context) -> bool {
    let counts = ctx.targets.counts();
    let mut providers = ctx.providers.all();
    providers.sort_by_key(|provider| provider.key());
    let mut all = true;
    for provider in providers {
        all &= write_count(ctx, provider.as_ref(), &counts).await;
    }
    all
}

async fn write_count(ctx: &Context, object: &dyn ProviderObject, counts: &BTreeMap<ProviderKey, i64>) -> bool {
    let memberships = counts.get(&object.key()).copied().unwrap_or_default();
    // The first check writes the status of a provider object that has none yet.
    let Some(old) = object.status().filter(|old| old.memberships != memberships) else {
        return true;
    };
    let new = MembershipProviderStatus { memberships, ..old.clone() };
    let written = patch(ctx, object, &new).await;
    if let Err(error) = &written {
        tracing::debug!(provider = %object.key(), %error, "status.memberships was not written");
    }
    written.is_ok()
}

/// Writes a status if it differs from the present one.
async fn patch(ctx: &Context, object: &dyn ProviderObject, new: &MembershipProviderStatus) -> Result<(), kube::Error> {
    let old = object.status().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}));
    let Ok(new) = serde_json::to_value(new) else {
        return Ok(());
    };
    let Some(difference) = write::difference(&old, &new) else {
        return Ok(());
    };
    let api = object.api(ctx.client.clone());
    // A write that was delayed, or the status of a former object of the same name, must not replace a newer status: for
    // a status the uid alone is no guard.
    let metadata = json!({"uid": object.metadata().uid, "resourceVersion": object.metadata().resource_version});
    let patch = json!({"metadata": metadata, "status": difference});
    let patch = Patch::Merge(patch);
    write::own_provider(ctx, object, api.patch_status(object.name(), &write::params(), &patch)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(of: Option<(&str, Reason)>) -> Vec<Condition> {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        match of {
            None => Vec::new(),
            Some(("True", _)) => verified_conditions(&[], false, 1, now),
            Some((_, reason)) => status::not_ready(&[], &ReadyCondition::new(reason, "why"), 1, now),
        }
    }

    /// Seen failing when each status was reported: every check of an outage had an event.
    #[test]
    fn a_provider_is_reported_when_its_readiness_or_the_reason_changes() {
        use EventKind::{NotReady, Ready};
        let ready = Some(("True", Reason::Converged));
        let (away, refused) = (Some(("False", Reason::Unreachable)), Some(("False", Reason::Unauthorized)));
        for (old, new, expected) in [
            (None, ready, Some((Ready, "reachable, and the credential is accepted"))),
            (None, away, Some((NotReady, "Unreachable: why"))),
            (ready, ready, None),
            (ready, away, Some((NotReady, "Unreachable: why"))),
            (away, away, None),
            (away, refused, Some((NotReady, "Unauthorized: why"))),
            (away, ready, Some((Ready, "reachable, and the credential is accepted"))),
        ] {
            let found = readiness_change(&conditions(old), &conditions(new));
            let found = found.as_ref().map(|(event_kind, message)| (*event_kind, message.as_str()));
            assert_eq!(found, expected, "{old:?} to {new:?}");
        }
    }
}
