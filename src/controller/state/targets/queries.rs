//! What the index shows of all objects at once, without decoding them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;

use super::{TargetKey, Targets, reference_to, tombstones};
use crate::api::membership::ProviderKind;
use crate::api::{ProjectMembership, SubjectKind};
use crate::controller::provider_key::ProviderKey;
use crate::core::places::DeclarationKey;

impl Targets {
    /// The projects, project grants and kinds of subjects of all declarations; ids are in lower case.
    pub fn projects(&self) -> HashSet<(String, Option<String>, SubjectKind)> {
        let index = self.entries.lock();
        let project =
            |target: &Arc<TargetKey>| (target.project_id.clone(), target.grant_id.clone(), target.subject_kind);
        index.objects.keys().map(project).collect()
    }

    /// The ids of all projects, project grants and subjects of all declarations, in lower case.
    pub fn ids(&self) -> HashSet<String> {
        let index = self.entries.lock();
        let ids = |target: &Arc<TargetKey>| {
            let grant = target.grant_id.as_ref().map(|grant| grant.to_ascii_lowercase());
            [Some(target.project_id.clone()), Some(target.subject_id.clone()), grant].into_iter().flatten()
        };
        index.objects.keys().flat_map(ids).collect()
    }

    /// The uids of all objects.
    pub fn uids(&self) -> HashSet<String> {
        self.entries.lock().seen.values().map(|seen| seen.uid.clone()).collect()
    }

    /// The objects that name a provider object, without tombstones.
    pub fn naming(&self, provider: &ProviderKey) -> Vec<ObjectRef<ProjectMembership>> {
        self.matching(|(_, name), named| named == provider && !tombstones::is_one(name))
    }

    /// The objects that allow rules apply to, in this namespace or in all.
    pub fn governed(&self, namespace: Option<&str>) -> Vec<ObjectRef<ProjectMembership>> {
        self.matching(|(within, _), named| {
            named.kind == ProviderKind::ClusterMembershipProvider && namespace.is_none_or(|it| it == within)
        })
    }

    fn matching(&self, is_wanted: impl Fn(&DeclarationKey, &ProviderKey) -> bool) -> Vec<ObjectRef<ProjectMembership>> {
        let index = self.entries.lock();
        let wanted = index.seen.iter().filter(|(key, seen)| is_wanted(key, &seen.through.provider));
        wanted.map(|(key, _)| reference_to(key)).collect()
    }

    /// How many objects name each provider object.
    pub fn counts(&self) -> BTreeMap<ProviderKey, i64> {
        let mut counts = BTreeMap::new();
        for (_, seen) in self.entries.lock().seen.iter().filter(|((_, name), _)| !tombstones::is_one(name)) {
            *counts.entry(seen.through.provider.clone()).or_default() += 1;
        }
        counts
    }
}
