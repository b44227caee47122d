//! The memberships, as last watched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use parking_lot::RwLock;
use tokio::sync::watch as signal;

use crate::api::ProjectMembership;
use crate::core::places::DeclarationKey;

/// What most memberships have in common. An object is kept as its difference from this: a third of its JSON, which is a
/// third of its fields in memory.
const TYPICAL: &[u8] = include_bytes!("typical_membership.json").trim_ascii_end();

/// The cache of all memberships. Each is kept as compressed JSON and is decoded when a pass reads it, which takes some
/// microseconds. What nobody reads is not kept: labels, and annotations of others.
#[derive(Debug, Default)]
pub struct Memberships {
    objects: RwLock<Objects>,
    listed: signal::Sender<bool>,
}

#[derive(Debug, Default)]
struct Objects {
    known: HashMap<DeclarationKey, Box<[u8]>>,
    /// What a list that is in progress has returned so far.
    listing: HashMap<DeclarationKey, Box<[u8]>>,
}

impl Memberships {
    /// Processes an event of the watch. The objects of a list count when it is complete.
    pub fn apply(&self, event: &Event<ProjectMembership>) {
        let mut objects = self.objects.write();
        let Objects { known, listing } = &mut *objects;
        match event {
            Event::Init => *listing = HashMap::new(),
            Event::InitApply(object) => drop(listing.insert(key(object), encoded(object))),
            Event::InitDone => {
                *known = std::mem::take(listing);
                drop(objects);
                self.listed.send_replace(true);
            }
            Event::Apply(object) => drop(known.insert(key(object), encoded(object))),
            Event::Delete(object) => drop(known.remove(&key(object))),
        }
    }

    /// Waits until all memberships are known.
    pub async fn are_known(&self) {
        // The sender is dropped with `self`.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// The membership of this name.
    pub fn get(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        let key = (reference.namespace.clone().unwrap_or_default(), reference.name.clone());
        self.objects.read().known.get(&key).and_then(|object| decoded(object))
    }

    /// Whether there is a membership of this name.
    pub fn contains(&self, reference: &ObjectRef<ProjectMembership>) -> bool {
        let key = (reference.namespace.clone().unwrap_or_default(), reference.name.clone());
        self.objects.read().known.contains_key(&key)
    }

    /// All memberships for which `is_wanted` is true, by namespace and name.
    pub fn filter(&self, is_wanted: impl Fn(&ProjectMembership) -> bool) -> Vec<Arc<ProjectMembership>> {
        let objects = self.objects.read();
        let wanted = objects.known.values().filter_map(|object| decoded(object)).filter(|object| is_wanted(object));
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_by_cached_key(|object| key(object));
        wanted
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<DeclarationKey> {
        let mut names: Vec<_> = self.objects.read().known.keys().cloned().collect();
        names.sort();
        names
    }

    /// The number of memberships.
    pub fn len(&self) -> usize {
        self.objects.read().known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn key(object: &ProjectMembership) -> DeclarationKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// An object in few bytes, without what nobody reads.
pub(super) fn encoded(object: &ProjectMembership) -> Box<[u8]> {
    let mut kept = object.clone();
    kept.metadata.labels = None;
    kept.metadata.annotations = ours(object.annotations());
    // Nothing that was decoded from JSON fails to be encoded.
    let json = serde_json::to_vec(&kept).unwrap_or_default();
    compress_prepend_size_with_dict(&json, TYPICAL).into_boxed_slice()
}

/// The object that was encoded.
pub(super) fn decoded(kept: &[u8]) -> Option<Arc<ProjectMembership>> {
    let json = decompress_size_prepended_with_dict(kept, TYPICAL).ok()?;
    serde_json::from_slice(&json).ok().map(Arc::new)
}

/// The annotations that mean something to this operator.
fn ours(annotations: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let ours = annotations.iter().filter(|(name, _)| name.starts_with("membership.dev/"));
    let ours: BTreeMap<_, _> = ours.map(|(name, value)| (name.clone(), value.clone())).collect();
    (!ours.is_empty()).then_some(ours)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::stored::Stored;

    fn object(name: &str, version: &str) -> ProjectMembership {
        let stored: Stored<ProjectMembership> = serde_json::from_value(json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {
                "name": name, "namespace": "a", "uid": format!("uid-{name}"), "resourceVersion": version, "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "finalizers": ["membership.dev/revoke", "other.dev/x"], "labels": {"team": "a"},
                "annotations": {"membership.dev/reconcile-at": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {
                "providerRef": {"name": "infisical"}, "project": {"name": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "suspend": true, "justification": "a \"reason\"",
                "roles": [{"role": "viewer"}, {"role": "admin", "temporary": {"duration": "1h", "startTime": "2026-01-01T00:00:00.123Z"}}],
            },
            "status": {
                "observedGeneration": 2, "activeRoles": "viewer", "nextTransitionTime": "2026-01-01T01:00:00.123456789Z",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Converged", "message": "as declared",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2}],
                "target": {"provider": "MembershipProvider/a/infisical", "endpoint": "https://x/", "projectId": "w",
                    "subjectKind": "Identity", "subjectId": "ci"},
                "roles": [{"role": "viewer", "state": "Active"}],
                "managedRoles": [{"role": "admin", "roleId": "7", "startTime": "2026-01-01T00:00:00.123456789Z",
                    "expirationTime": "2026-01-01T01:00:00.123456789Z"}],
                "drift": [{"role": "x", "kind": "Unexpected"}], "observedPendingGrants": 4,
                "carriedRoles": [{"role": "y", "range": "1h", "start": "2026-01-01T00:00:00Z"}],
                "unansweredUntil": "2026-01-01T00:00:30Z", "lastHandledReconcileAt": "0",
            },
        }))
        .unwrap();
        stored.into_object().unwrap()
    }

    #[test]
    fn an_object_is_read_as_it_was_watched_but_for_what_nobody_reads() {
        let (memberships, watched) = (Memberships::default(), object("x", "1"));
        memberships.apply(&Event::Apply(watched.clone()));
        let mut expected = watched.clone();
        expected.metadata.labels = None;
        expected.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
        assert_eq!(memberships.get(&ObjectRef::from_obj(&watched)).as_deref(), Some(&expected));
    }

    /// Seen failing with a dictionary of which the fields have another order.
    #[test]
    fn an_object_is_kept_in_a_third_of_its_json() {
        let typical: ProjectMembership = serde_json::from_slice(TYPICAL).unwrap();
        assert_eq!(serde_json::to_string(&typical).unwrap().as_bytes(), TYPICAL);
        let mut object = typical;
        object.metadata.name = Some("deploy-production-eu".to_owned());
        object.metadata.namespace = Some("payments".to_owned());
        object.metadata.uid = Some("5d1f3a52-9a07-4c5f-8f0b-0d5f1c2d7e61".to_owned());
        object.spec.project.id = Some("6ec3d92b-3251-4084-9a12-ffb509a03ffc".to_owned());
        object.spec.subject.id = Some("24160fbf-24bd-49d7-95de-feb53df75187".to_owned());
        object.annotations_mut().clear();
        let target = object.status.as_mut().unwrap().target.as_mut().unwrap();
        target.project_id = "6ec3d92b-3251-4084-9a12-ffb509a03ffc".to_owned();
        target.subject_id = "24160fbf-24bd-49d7-95de-feb53df75187".to_owned();
        let (json, kept) = (serde_json::to_vec(&object).unwrap().len(), encoded(&object).len());
        assert!(kept * 3 < json, "{kept} of {json} bytes");
    }

    #[test]
    fn the_objects_of_a_list_count_when_it_is_complete() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
        let memberships = Memberships::default();
        let names = || memberships.names().into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
        memberships.apply(&Apply(object("a", "1")));
        for event in [Init, InitApply(object("b", "2")), Init, InitApply(object("c", "3"))] {
            memberships.apply(&event);
            assert!(!*memberships.listed.borrow());
        }
        assert_eq!(names(), "a", "a list that began again counts alone, when it is complete");
        memberships.apply(&InitDone);
        assert_eq!((names().as_str(), *memberships.listed.borrow()), ("c", true));
        memberships.apply(&Apply(object("d", "4")));
        memberships.apply(&Delete(object("c", "3")));
        assert_eq!((names().as_str(), memberships.len()), ("d", 1));
        assert_eq!(memberships.filter(|object| object.name_any() == "d").len(), 1);
    }
}
