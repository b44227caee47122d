//! The writes to the API server: status, finalizers and the annotation of pending grants. Each one carries the resourceVersion of the object on which it
//! was decided, so that a stale cache cannot overwrite another writer's change.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::PartialObjectMetaExt;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::context::Context;
use super::provider_object::ProviderObject;
use super::state::outage::FaultScope;
use super::state::tombstones::{self, FinalizerState};
use super::stored::Stored;
use crate::api::membership::{PendingGrants, ProjectMembershipStatus};
use crate::api::provider::Limits;
use crate::api::{FINALIZER, PENDING_GRANTS, ProjectMembership};
use crate::provider::Urgency;
use crate::provider::quota::{EndpointQuota, Quota, RequestKind};

/// The field manager of all writes.
const MANAGER: &str = "membership-operator";

/// The most writes that are in flight at once. Further writes wait here, where namespaces are served in turn: the API
/// server would serve the operator's writes in the order of their arrival, so that many writes of one tenant would
/// delay everybody's.
const AT_ONCE: u32 = 32;
/// The most passes over targets that write at once. Each of them holds what it writes, tens of kilobytes. Further passes
/// end and wait as entries of the queue.
const PASSES: u32 = 2 * AT_ONCE;

/// The fields that a serialized status omits while they are empty.
const LEFT_OUT: [&str; 6] = [
    "target",
    "nextTransitionTime",
    "carriedRoles",
    "observedPendingGrants",
    "unansweredUntil",
    "lastHandledReconcileAt",
];

/// The parameters of all writes.
pub fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The slots of writes to memberships. All have the same urgency: access that has to end is ended at the provider
/// before anything is written here.
pub fn write_slots() -> Quota {
    quota(AT_ONCE)
}

/// The slots of passes over targets that write.
pub fn pass_slots() -> Quota {
    quota(PASSES)
}

fn quota(at_once: u32) -> Quota {
    let limits = Limits { max_in_flight: Some(at_once), ..Limits::default() };
    EndpointQuota::new(false).quota("kubernetes".to_owned(), limits)
}

/// Writes a status; nothing is sent if it equals the status of the object.
pub async fn status(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    status: &ProjectMembershipStatus,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    status_and(ctx, object, status, Pending::Included).await
}

/// As [`status()`], of an object that was not evaluated: its pending grants stay pending. In the status, the next process
/// would trust them, even if the operator is not known to have written them, and would not know that a write may be in
/// progress.
pub async fn status_of_unevaluated(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    status: &ProjectMembershipStatus,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    status_and(ctx, object, status, Pending::Left).await
}

/// What becomes of the pending grants that a status does not contain yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Included,
    Left,
}

async fn status_and(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    status: &ProjectMembershipStatus,
    pending: Pending,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    if let Some(tombstone) = ctx.tombstones.set_status(object, status) {
        enter(ctx, &tombstone);
        return Ok(tombstone);
    }
    if object.status.as_ref() == Some(status) && PendingGrants::unobserved(object).is_none() {
        return Ok(object.clone());
    }
    let Some(difference) = status_difference(object, status, pending) else {
        return Ok(object.clone());
    };
    let patch = json!({
        "metadata": {"resourceVersion": object.metadata.resource_version, "uid": object.metadata.uid},
        "status": difference,
    });
    let (api, name) = (api(ctx, object), object.name_any());
    own(ctx, object, || async move { api.patch_status(&name, &params(), &Patch::Merge(patch)).await }).await
}

/// Writes the record of what is about to be granted, and the operator's finalizer if it is missing.
pub async fn pending_grants(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    pending: &PendingGrants,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    if tombstones::is_one(&object.name_any()) {
        let mut recorded = (**object).clone();
        recorded.include(pending.clone());
        return status(ctx, object, &recorded.status.unwrap_or_default()).await;
    }
    let annotations = [(PENDING_GRANTS.to_owned(), pending.to_annotation())];
    ctx.written.pending_begins(&object.uid().unwrap_or_default(), pending);
    let written = metadata_is(ctx, object, with_ours(object), Some(annotations.into())).await?;
    ctx.tombstones.holds(&written.uid().unwrap_or_default());
    enter(ctx, &written);
    Ok(written)
}

/// Updates the index of targets with an object as it was written.
fn enter(ctx: &Context, object: &ProjectMembership) {
    ctx.wake_units(ctx.enter(object), Urgency::Grant);
}

/// The finalizers of an object, with the operator's; `None`: they contain it.
fn with_ours(object: &ProjectMembership) -> Option<Vec<String>> {
    let is_there = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    (!is_there).then(|| object.finalizers().iter().cloned().chain([FINALIZER.to_owned()]).collect())
}

/// Adds the operator's finalizer.
pub async fn add_finalizer(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    let Some(finalizers) = with_ours(object) else {
        return Ok(object.clone());
    };
    let held = metadata_is(ctx, object, Some(finalizers), None).await?;
    ctx.tombstones.holds(&held.uid().unwrap_or_default());
    Ok(held)
}

/// Removes the operator's finalizer. Other finalizers stay.
pub async fn remove_finalizer(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<(), kube::Error> {
    let uid = object.uid().unwrap_or_default();
    ctx.tombstones.set(&uid, FinalizerState::Released);
    let finalizers = object.finalizers().iter().filter(|f| *f != FINALIZER).cloned().collect();
    match metadata_is(ctx, object, Some(finalizers), None).await {
        Ok(_) => {}
        // Another writer removed the finalizer, and the object is gone.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => {
            ctx.tombstones.set(&uid, FinalizerState::Ours);
            return Err(error);
        }
    }
    ctx.written.forget(&uid);
    Ok(())
}

async fn metadata_is(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    let metadata = kube::api::ObjectMeta {
        resource_version: object.metadata.resource_version.clone(),
        uid: object.metadata.uid.clone(),
        finalizers,
        annotations,
        ..kube::api::ObjectMeta::default()
    };
    let patch = metadata.into_request_partial::<ProjectMembership>();
    let (api, name) = (api(ctx, object), object.name_any());
    own(ctx, object, || async move { api.patch(&name, &params(), &Patch::Merge(patch)).await }).await
}

/// Marks a write as the operator's own, so that its watch event starts no pass, and starts a pass if another writer's
/// change came in between. `write` is called when it has a slot.
async fn own<F>(
    ctx: &Context,
    object: &ProjectMembership,
    write: impl FnOnce() -> F,
) -> Result<Arc<ProjectMembership>, kube::Error>
where
    F: Future<Output = Result<Stored<ProjectMembership>, kube::Error>> + Send,
{
    let uid = object.uid().unwrap_or_default();
    let namespace = object.namespace().unwrap_or_default();
    let _slot = ctx.write_slots.permit(RequestKind::Write, Urgency::Grant, &namespace).await;
    ctx.written.begins(&uid);
    // On the heap: thousands of writes may wait for a slot.
    let answer = Box::pin(write()).await.and_then(Stored::answered);
    if ctx.written.ended(&uid, answer.as_ref().ok().map(|written| &written.metadata)) {
        ctx.wake(&reference(object));
    }
    answer.map(|written| ctx.written.remember(object, written))
}

/// Marks a write to a provider object as the operator's own, and requests a check if another writer's change came in
/// between.
pub async fn own_provider(
    ctx: &Context,
    object: &dyn ProviderObject,
    write: impl Future<Output = Result<Stored<DynamicObject>, kube::Error>>,
) -> Result<(), kube::Error> {
    ctx.written.begins(object.uid());
    let answer = write.await;
    if ctx.written.ended(object.uid(), answer.as_ref().ok().map(|written| written.meta())) {
        ctx.wake_provider(&object.key());
    }
    answer.map(drop)
}

/// Whether the write failed because another writer was first.
pub fn is_conflict(error: &kube::Error) -> bool {
    FaultScope::of(error) == FaultScope::Conflict
}

/// The API with which an object is written and read.
pub fn api(ctx: &Context, object: &ProjectMembership) -> Api<Stored<ProjectMembership>> {
    Api::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default())
}

fn to_value<T: serde::Serialize>(value: Option<&T>) -> Value {
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_else(|| json!({}))
}

/// The merge patch of a status. If no old status is known, or it could not be decoded ([`super::stored`]), the patch
/// replaces every stored field. If the object has pending grants, its status as it is stored does not contain them yet:
/// the patch contains what they may have changed, or nothing of it if they stay pending.
fn status_difference(object: &ProjectMembership, new: &ProjectMembershipStatus, then: Pending) -> Option<Value> {
    let known = object.status.as_ref().filter(|status| status.observed_generation != -1);
    let replaced = if known.is_none() { &LEFT_OUT[..] } else { &[] };
    let pending = PendingGrants::unobserved(object).map(|pending| pending.number);
    let observed = pending.filter(|_| then == Pending::Included).or(new.observed_pending_grants);
    let new = to_value(Some(&ProjectMembershipStatus { observed_pending_grants: observed, ..new.clone() }));
    let mut difference = difference(&to_value(known), &new)?;
    if let Value::Object(fields) = &mut difference {
        for field in ["managedRoles", "carriedRoles", "target"].into_iter().filter(|_| pending.is_some()) {
            match then {
                Pending::Included => fields.insert(field.to_owned(), new.get(field).cloned().unwrap_or(Value::Null)),
                Pending::Left => fields.remove(field),
            };
        }
        for field in replaced.iter().filter(|_| then == Pending::Included || pending.is_none()) {
            fields.entry(*field).or_insert(Value::Null);
        }
    }
    Some(difference).filter(|difference| *difference != json!({}))
}

/// The JSON merge patch (RFC 7386) that turns `old` into `new`; `None`: they are equal.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (key, value) in new {
                match old.get(key) {
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                    Some(known) => {
                        if let Some(inner) = difference(known, value) {
                            patch.insert(key.clone(), inner);
                        }
                    }
                }
            }
            patch.extend(old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ if old == new => None,
        _ => Some(new.clone()),
    }
}

/// The reference to an object that is its key in the store.
pub fn reference(object: &ProjectMembership) -> ObjectRef<ProjectMembership> {
    ObjectRef::from_obj(object)
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::*;

    #[test]
    fn the_status_of_an_object_without_a_decodable_one_is_replaced_as_a_whole() {
        let crd = serde_json::to_value(ProjectMembership::crd()).unwrap();
        let fields = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        let object = |status| {
            let spec = json!({
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            });
            let spec = serde_json::from_value(spec).unwrap();
            ProjectMembership { metadata: kube::api::ObjectMeta::default(), spec, status }
        };
        let new = ProjectMembershipStatus::default();
        let patch = status_difference(&object(None), &new, Pending::Included).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&patch), names(fields));
        assert!(LEFT_OUT.iter().all(|field| patch[field].is_null()), "{patch}");
        let known = ProjectMembershipStatus { observed_generation: 1, ..new };
        assert_eq!(status_difference(&object(Some(known.clone())), &known, Pending::Included), None);
    }

    /// Seen failing when each status included the pending grants, regardless of who had written them: the next process trusted them.
    #[test]
    fn grants_that_stay_pending_are_not_copied_into_the_status() {
        let object: ProjectMembership = serde_json::from_value(json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": "ci", "annotations": {PENDING_GRANTS: r#"{"number": 2, "roles": [{"role": "admin"}]}"#}},
            "spec": {
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            },
            "status": {"observedGeneration": 1, "observedPendingGrants": 1},
        }))
        .unwrap();
        let mut new = object.status.clone().unwrap();
        new.observed_generation = 2;
        new.managed_roles = PendingGrants::of(&object).unwrap().roles;
        let patch = |then| status_difference(&object, &new, then).unwrap();
        assert_eq!(patch(Pending::Left), json!({"observedGeneration": 2}));
        assert_eq!(patch(Pending::Included)["managedRoles"][0]["role"], "admin");
        assert_eq!(patch(Pending::Included)["observedPendingGrants"], 2);
    }
}
