//! The operator's own writes to the API server.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use parking_lot::Mutex;

use super::memberships::{decoded, encoded};
use super::tombstones;
use crate::api::membership::{ManagedRole, PendingGrants, ProviderKind};
use crate::api::{PENDING_GRANTS, ProjectMembership};

/// The operator's own writes, by the uids of the objects.
///
/// The watch lags behind the writes. Without their responses, a pass right after a write would use the object's former
/// version and write it again. The events that the watch delivers for these writes must not start another pass: a
/// failing object would be retried at once, because the failure itself was written to its status.
#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<HashMap<String, ObjectWrites>>);

/// Recorded roles, with their ids.
type RecordedRoles = BTreeSet<(String, Option<String>)>;

#[derive(Debug, Default)]
struct ObjectWrites {
    /// The resourceVersions that the operator's writes produced, until the watch shows a later one.
    made: Vec<u64>,
    /// The response to the last write, with its resourceVersion, until the watch shows it: in a burst, thousands of them.
    object: Option<(u64, Box<[u8]>)>,
    /// How many writes are in progress: several writes may overlap on one provider object.
    in_progress: usize,
    /// The resourceVersions that the watch has shown since the first of the writes in progress began.
    shown: Vec<u64>,
    /// All roles, with their ids, that the status recorded as managed when the object was first seen, or in the
    /// operator's own writes. Roles that another writer recorded are forged, or were recorded by a process that has
    /// ended and could not report them any more.
    managed: Option<Box<RecordedRoles>>,
    /// The pending grants that are being written, or whose write failed.
    being_written: Option<Box<PendingGrants>>,
    /// The pending grants that this process has written, until the status includes them.
    pending: Option<Box<PendingGrants>>,
    /// The object has recorded access, as the status or the operator's own pending grants show.
    holds_access: bool,
    /// The roles of the pending grants that the object had before this replica began to act.
    found: Box<[String]>,
    /// It was there before this replica began to act.
    is_older: bool,
}

impl OwnWrites {
    /// Marks the beginning of a write to the object with this uid. [`OwnWrites::ended`] marks its end.
    pub fn begins(&self, uid: &str) {
        self.0.lock().entry(uid.to_owned()).or_default().in_progress += 1;
    }

    /// Marks the end of a write. `answer` is the metadata in the response, if the write was carried out. Returns
    /// `true`, for the write that ends last, if the watch showed another writer's change while writes were in progress:
    /// no pass has read that change.
    pub fn ended(&self, uid: &str, answer: Option<&ObjectMeta>) -> bool {
        let mut written = self.0.lock();
        let own = written.entry(uid.to_owned()).or_default();
        own.made.extend(answer.map(revision));
        own.in_progress = own.in_progress.saturating_sub(1);
        if own.in_progress > 0 {
            return false;
        }
        let shown = std::mem::take(&mut own.shown);
        let by_others = shown.iter().any(|revision| !own.made.contains(revision));
        shown.into_iter().for_each(|revision| own.passed(revision));
        by_others
    }

    /// Marks the beginning of the write of pending grants: the annotation of the object with this uid is the operator's
    /// own if it contains them.
    pub fn pending_begins(&self, uid: &str, pending: &PendingGrants) {
        self.0.lock().entry(uid.to_owned()).or_default().being_written = Some(Box::new(pending.clone()));
    }

    /// Stores the response to a write. Under allow rules, the roles that the write recorded are trusted from now on; those
    /// that were recorded in `before` already are as trusted as they were.
    pub fn remember(&self, before: &ProjectMembership, mut object: ProjectMembership) -> Arc<ProjectMembership> {
        let uid = object.uid();
        let mut written = self.0.lock();
        if let Some(own) = uid.map(|uid| written.entry(uid).or_default()) {
            own.include_pending(&mut object);
            if is_governed(&object) {
                let trusted = own.managed.get_or_insert_default();
                let was_there: BTreeSet<String> = managed(before).map(|(role, _)| role).collect();
                let is_trusted = |role: &String| trusted.iter().any(|(known, _)| known == role);
                let new = managed(&object).filter(|(role, _)| !was_there.contains(role) || is_trusted(role));
                let new: Vec<_> = new.collect();
                trusted.extend(new);
            }
            own.object = Some((revision(&object.metadata), encoded(&object)));
        }
        Arc::new(object)
    }

    /// Whether an event of the watch shows the operator's own last write, or arrives while a write is in progress. In
    /// the second case the writer checks for other changes when its write has ended.
    pub fn is_own(&self, shown: &ObjectMeta) -> bool {
        let mut written = self.0.lock();
        let Some(own) = shown.uid.as_ref().and_then(|uid| written.get_mut(uid)) else {
            return false;
        };
        let shown = revision(shown);
        if own.in_progress > 0 {
            own.shown.push(shown);
            return true;
        }
        let is_own = own.made.contains(&shown);
        own.passed(shown);
        is_own
    }

    /// Whether an object, as the watch has shown it, includes all of the operator's own writes to it.
    pub fn is_shown(&self, object: &ObjectMeta) -> bool {
        let written = self.0.lock();
        let own = object.uid.as_ref().and_then(|uid| written.get(uid));
        own.and_then(|own| own.made.iter().max()).is_none_or(|last| *last <= revision(object))
    }

    /// Takes in an object as the watch shows it, and includes its pending grants in its status. `acts`: this replica acts;
    /// until then, another one may have written the object.
    ///
    /// A tenant can write the annotation, but not the status. Grants that this process has not written are therefore
    /// included so that they can take nothing away and lengthen nothing, and are not trusted under allow rules.
    pub fn observe(&self, object: &mut ProjectMembership, acts: bool) {
        let mut written = self.0.lock();
        let own = written.entry(object.uid().unwrap_or_default()).or_default();
        if is_governed(object) && (own.managed.is_none() || !acts) {
            own.managed.get_or_insert_default().extend(managed(object));
        }
        if !acts {
            own.is_older = true;
            let found = PendingGrants::unobserved(object).into_iter().flat_map(|pending| pending.roles);
            own.found = found.map(|managed| managed.role).collect();
        }
        own.include_pending(object);
    }

    /// Whether the object with this uid has recorded access. Pending grants that this process has not written are no
    /// evidence.
    pub fn holds_access(&self, uid: &str) -> bool {
        self.0.lock().get(uid).is_some_and(|own| own.holds_access)
    }

    /// The recorded roles that were in the object's status when the object was first seen, or that the operator recorded;
    /// `None`: all of them are trusted, because no allow rules apply, or because they were checked before.
    ///
    /// `added`: the roles that the operator adds to the declared ones. No rule names them, so that pending grants which
    /// were found when this replica began to act are enough: nothing else would remove them again.
    pub fn trusted(
        &self,
        object: &ProjectMembership,
        added: impl Iterator<Item = &'static str>,
    ) -> Option<BTreeSet<String>> {
        if !is_governed(object) {
            return None;
        }
        let written = self.0.lock();
        let own = object.uid().and_then(|uid| written.get(&uid));
        let managed = own.and_then(|own| own.managed.as_deref()).into_iter().flatten().map(|(role, _)| role.clone());
        let added =
            added.filter(|role| own.is_some_and(|own| own.found.iter().any(|found| found == role))).map(str::to_owned);
        Some(managed.chain(added).collect())
    }

    /// The object's record of managed roles, as far as it is trusted. An id that another writer put there is left out,
    /// because it would turn an unmanaged role into a managed one.
    pub fn trusted_record(&self, object: &ProjectMembership) -> Vec<ManagedRole> {
        let mut record = object.status.as_ref().map(|status| status.managed_roles.clone()).unwrap_or_default();
        if is_governed(object) {
            let written = self.0.lock();
            let known = object.uid().and_then(|uid| written.get(&uid)?.managed.as_deref());
            let is_known = |role: &ManagedRole| {
                known.is_some_and(|known| known.contains(&(role.role.clone(), role.role_id.clone())))
            };
            record.iter_mut().filter(|role| !is_known(role)).for_each(|role| role.role_id = None);
        }
        record
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Forgets objects whose deletion was not observed, or that were written once more while they were deleted. `there`
    /// returns the uids of the existing objects; it is called while no object can be added.
    pub fn forget_missing(&self, there: impl FnOnce() -> Option<HashSet<String>>) {
        let mut written = self.0.lock();
        if !written.is_empty()
            && let Some(there) = there()
        {
            written.retain(|uid, own| own.in_progress > 0 || there.contains(uid));
        }
    }

    /// The number of objects about which something is stored.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newer of the watched version, which `watched` reads, and the response to the operator's own last write. Both
    /// are read under one lock: the response is dropped as soon as the watch shows it.
    pub fn newer(&self, watched: impl FnOnce() -> Option<Arc<ProjectMembership>>) -> Option<Arc<ProjectMembership>> {
        let written = self.0.lock();
        let watched = watched()?;
        let own = watched.metadata.uid.as_ref().and_then(|uid| written.get(uid)?.object.as_ref());
        let ours = own.filter(|(version, _)| *version > revision(&watched.metadata));
        Some(ours.and_then(|(_, object)| decoded(object)).unwrap_or(watched))
    }
}

impl ObjectWrites {
    /// Includes an object's pending grants in its status.
    fn include_pending(&mut self, object: &mut ProjectMembership) {
        let found = PendingGrants::unobserved(object);
        if found.is_some() && found.as_ref() == self.being_written.as_deref() {
            self.pending = self.being_written.take();
        }
        let observed = object.status.as_ref().and_then(|status| status.observed_pending_grants);
        self.pending.take_if(|pending| Some(pending.number) == observed);
        if let Some(pending) = &self.pending {
            // It counts until the status includes it, also if another writer has replaced it.
            object.annotations_mut().insert(PENDING_GRANTS.to_owned(), pending.to_annotation());
            object.include((**pending).clone());
        }
        let status = object.status.as_ref();
        self.holds_access = status.is_some_and(|s| !(s.managed_roles.is_empty() && s.carried_roles.is_empty()));
        if let Some(found) = found.filter(|found| Some(found) != self.pending.as_deref()) {
            object.include_found(found, self.is_older);
        }
    }

    /// Notes that the store has the object with this resourceVersion; it gets no earlier one after that.
    fn passed(&mut self, shown: u64) {
        self.made.retain(|made| *made >= shown);
        self.made.shrink_to_fit();
        self.object.take_if(|(version, _)| *version <= shown);
    }
}

/// Whether allow rules apply to an object whose record may be forged. A tombstone's record was checked when the tombstone
/// was created.
fn is_governed(object: &ProjectMembership) -> bool {
    let is_tombstone = object.metadata.name.as_deref().is_some_and(tombstones::is_one);
    !is_tombstone && object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider
}

/// The roles of an object's record, with their ids.
fn managed(object: &ProjectMembership) -> impl Iterator<Item = (String, Option<String>)> {
    let managed = object.status.iter().flat_map(|status| &status.managed_roles);
    managed.map(|managed| (managed.role.clone(), managed.role_id.clone()))
}

/// An object's resourceVersion as a number. Since Kubernetes 1.35 (KEP-5504), resourceVersions of one resource may be
/// compared as numbers. One that isn't a number counts as older than any other.
fn revision(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::iter;

    use serde_json::json;

    use super::*;

    const UID: &str = "7d0c";

    fn version(number: u64) -> ObjectMeta {
        ObjectMeta { uid: Some(UID.to_owned()), resource_version: Some(number.to_string()), ..ObjectMeta::default() }
    }

    /// Seen failing when a write that begins discarded what the watch had shown during the previous write.
    #[test]
    fn an_edit_during_overlapping_writes_is_noticed_when_the_last_of_them_ends() {
        let written = OwnWrites::default();
        written.begins(UID);
        assert!(written.is_own(&version(2)), "it is looked at when the writes have ended");
        written.begins(UID);
        assert!(!written.ended(UID, Some(&version(3))), "one is still in progress");
        assert!(written.is_own(&version(3)));
        assert!(written.ended(UID, Some(&version(4))), "version 2 is another writer's");
        assert!(written.is_own(&version(4)));
        assert!(!written.is_own(&version(5)));
    }

    /// Seen failing when the response was looked up after the store was read: a pass wrote what it had written before, and
    /// the API server refused it (409).
    #[test]
    fn a_response_that_the_watch_shows_while_the_store_is_read_is_not_missed() {
        let object = |number: u64| {
            let target = json!({
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            });
            let spec = serde_json::from_value(target).unwrap();
            ProjectMembership { metadata: version(number), spec, status: None }
        };
        let written = OwnWrites::default();
        written.begins(UID);
        assert!(!written.ended(UID, Some(&version(2))));
        written.remember(&object(1), object(2));
        std::thread::scope(|threads| {
            let latest = written.newer(|| {
                // The store was read, and the watch goes on.
                let watch = threads.spawn(|| written.is_own(&version(2)));
                std::thread::sleep(std::time::Duration::from_millis(50));
                assert!(!watch.is_finished(), "it waits until both are read");
                Some(Arc::new(object(1)))
            });
            assert_eq!(latest.map(|latest| revision(&latest.metadata)), Some(2));
        });
        let latest = written.newer(|| Some(Arc::new(object(3))));
        assert_eq!(latest.map(|latest| revision(&latest.metadata)), Some(3));
    }

    #[test]
    fn the_answers_of_overlapping_writes_are_our_own_whenever_the_watch_shows_them() {
        let written = OwnWrites::default();
        written.begins(UID);
        written.begins(UID);
        assert!(written.is_own(&version(2)));
        assert!(!written.ended(UID, Some(&version(2))));
        assert!(!written.ended(UID, Some(&version(3))), "no other writer");
        assert!(written.is_own(&version(3)));
        written.begins(UID);
        assert!(!written.ended(UID, Some(&version(4))));
        written.begins(UID);
        assert!(written.is_own(&version(4)), "shown late, while the next write is in progress");
        assert!(!written.ended(UID, None), "and by no other");
        assert!(written.is_own(&version(4)), "a new list shows it once more");
        assert!(!written.is_own(&version(5)));
        assert!(!written.is_own(&version(4)), "what is older than another writer's change was replaced");
    }

    /// An object with the roles that its status records, and those of its annotation.
    fn recorded(managed: &[&str], pending: Option<(i64, &[&str])>) -> ProjectMembership {
        let roles = |roles: &[&str]| roles.iter().map(|role| serde_json::json!({"role": role})).collect::<Vec<_>>();
        let annotation =
            pending.map(|(number, pending)| serde_json::json!({"number": number, "roles": roles(pending)}).to_string());
        serde_json::from_value(serde_json::json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": "ci", "uid": UID, "annotations": {"membership.dev/pending-grants": annotation.unwrap_or_default()}},
            "spec": {
                "providerRef": {"kind": "ClusterMembershipProvider", "name": "central"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            },
            "status": {"managedRoles": roles(managed)},
        }))
        .unwrap()
    }

    /// Seen failing when a check right after a write compared its result with the status from before that write: the
    /// provider stayed not ready until the next check.
    #[test]
    fn an_object_is_shown_when_the_watch_has_shown_the_last_write_to_it() {
        let written = OwnWrites::default();
        assert!(written.is_shown(&version(4)));
        written.begins(UID);
        written.ended(UID, Some(&version(7)));
        assert!(!written.is_shown(&version(4)));
        assert!(written.is_own(&version(7)));
        assert!(written.is_shown(&version(7)) && written.is_shown(&version(9)));
    }

    fn roles(object: &ProjectMembership) -> Vec<String> {
        managed(object).map(|(role, _)| role).collect()
    }

    /// Seen failing when a record that came with an object was trusted, and when all roles of a response were.
    #[test]
    fn only_what_the_operator_recorded_is_trusted_under_allow_rules() {
        for acts in [true, false] {
            let written = OwnWrites::default();
            let trusted = || written.trusted(&recorded(&[], None), iter::empty()).unwrap();
            let forged = || recorded(&[], Some((1, &["admin"])));
            let mut seen = forged();
            written.observe(&mut seen, acts);
            assert_eq!((roles(&seen), trusted()), (vec!["admin".to_owned()], BTreeSet::new()), "it is not trusted");
            assert!(!written.holds_access(UID), "its author can write it");
            // A write of something else returns the forged record.
            written.remember(&seen, forged());
            assert!(trusted().is_empty());
            written.remember(&seen, recorded(&["admin", "viewer"], None));
            assert_eq!(trusted(), ["viewer".to_owned()].into(), "it was recorded by this write");
            assert!(written.holds_access(UID));
            written.observe(&mut recorded(&["admin", "owner"], None), true);
            assert_eq!(trusted(), ["viewer".to_owned()].into(), "another writer added it later");
        }
        let led_before = OwnWrites::default();
        led_before.observe(&mut recorded(&["owner"], Some((1, &["no-access", "admin"]))), false);
        let added = led_before.trusted(&recorded(&[], None), ["member", "no-access"].into_iter()).unwrap();
        assert_eq!(added, ["owner".to_owned(), "no-access".to_owned()].into(), "no rule names what the operator adds");
        assert_eq!(led_before.trusted(&recorded(&[], None), iter::empty()).unwrap(), ["owner".to_owned()].into());
    }

    /// Seen failing when each annotation replaced the record: the access that it did not mention was never revoked.
    #[test]
    fn no_other_takes_back_what_the_operator_has_recorded() {
        let written = OwnWrites::default();
        let mut seen = recorded(&["viewer"], None);
        written.observe(&mut seen, true);
        let ours = PendingGrants::of(&recorded(&[], Some((1, &["viewer", "deployer"])))).unwrap();
        written.pending_begins(UID, &ours);
        let recorded_now = recorded(&["viewer"], Some((1, &["viewer", "deployer"])));
        // The watch may be faster than the response.
        let mut watched = recorded_now.clone();
        written.observe(&mut watched, true);
        for object in [&watched, &*written.remember(&seen, recorded_now)] {
            assert_eq!(roles(object), ["viewer", "deployer"]);
        }
        for forged in [Some((7, &[][..])), Some((1, &["admin"][..])), None] {
            let mut replaced = recorded(&["viewer"], forged);
            written.observe(&mut replaced, true);
            assert!(roles(&replaced).starts_with(&["viewer".to_owned(), "deployer".to_owned()]), "{forged:?}");
            assert_eq!(PendingGrants::unobserved(&replaced), Some(ours.clone()), "the next status includes it");
        }
        let mut reported = recorded(&["viewer"], Some((7, &[])));
        reported.status.as_mut().unwrap().observed_pending_grants = Some(1);
        written.observe(&mut reported, true);
        assert_eq!(roles(&reported), ["viewer"], "the status shows what has become of it");
    }
}
