//! How long drift may remain at most: the intervals at which a provider and its memberships are checked again. Pure.

use std::time::Duration;

use super::{Refusal, invalid};
use crate::api;
use crate::api::membership::ProviderKind;
use crate::api::provider::MembershipProviderSpec;

/// The shortest interval under a ClusterMembershipProvider that sets none: all namespaces share its quota.
const SHORTEST_OF_CLUSTER: Duration = Duration::from_secs(60);

/// The intervals that the spec of a provider object sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resync {
    provider: Duration,
    shortest: Duration,
}

impl Resync {
    /// The intervals of a provider object of this kind.
    pub fn of(spec: &MembershipProviderSpec, kind: ProviderKind) -> Result<Self, Refusal> {
        let read = |field: &str, interval: &api::Duration| {
            interval.seconds().map(Duration::from_secs).map_err(|error| invalid(&format!("spec.{field}: {error}")))
        };
        let shortest = spec.limits.as_ref().and_then(|limits| limits.min_resync_interval.as_ref());
        let unset = match kind {
            ProviderKind::MembershipProvider => Duration::ZERO,
            ProviderKind::ClusterMembershipProvider => SHORTEST_OF_CLUSTER,
        };
        Ok(Self {
            provider: read("resyncInterval", &spec.resync_interval)?,
            shortest: shortest.map_or(Ok(unset), |interval| read("limits.minResyncInterval", interval))?,
        })
    }

    /// One interval for all.
    pub fn every(interval: Duration) -> Self {
        Self { provider: interval, shortest: interval }
    }

    /// The interval of the provider object, and of memberships that set none.
    pub fn provider(&self) -> Duration {
        self.provider.max(self.shortest)
    }

    /// The interval of a membership that sets `own`. An invalid interval counts as not set.
    pub fn membership(&self, own: Option<&api::Duration>) -> Duration {
        let own = own.and_then(|own| own.seconds().ok()).map(Duration::from_secs);
        own.unwrap_or(self.provider).max(self.shortest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(kind: ProviderKind, spec: Value) -> Result<Resync, Refusal> {
        Resync::of(&serde_json::from_value(spec).unwrap(), kind)
    }

    #[test]
    fn an_interval_that_is_shorter_than_the_provider_allows_is_raised() {
        use ProviderKind::{ClusterMembershipProvider as Cluster, MembershipProvider as Namespaced};
        let least = |interval: &str| json!({"minResyncInterval": interval});
        for (kind, provider, limits, own, expected_of_provider, expected) in [
            (Namespaced, "10m", json!({}), None, 600, 600),
            (Namespaced, "10m", json!({}), Some("1s"), 600, 1),
            (Namespaced, "1s", json!(null), None, 1, 1),
            (Namespaced, "10m", least("5m"), Some("1s"), 600, 300),
            (Namespaced, "10m", least("5m"), Some("7m"), 600, 420),
            (Namespaced, "1m", least("5m"), None, 300, 300),
            (Namespaced, "1m", least("5m"), Some("2m"), 300, 300),
            (Cluster, "10m", json!(null), Some("1s"), 600, 60),
            (Cluster, "10m", json!({"readsPerMinute": 1}), Some("59s"), 600, 60),
            (Cluster, "10m", json!(null), Some("61s"), 600, 61),
            (Cluster, "10m", json!(null), None, 600, 600),
            (Cluster, "10s", json!(null), None, 60, 60),
            (Cluster, "10s", least("1s"), Some("3s"), 10, 3),
            (Cluster, "10m", least("1h"), Some("1s"), 3600, 3600),
            (Namespaced, "10m", json!({}), Some("soon"), 600, 600),
        ] {
            let case = format!("{kind:?} {provider} {limits} {own:?}");
            let resync = of(kind, json!({"resyncInterval": provider, "limits": limits})).unwrap();
            let own = own.map(|own| api::Duration(own.to_owned()));
            assert_eq!(resync.provider().as_secs(), expected_of_provider, "the provider's of {case}");
            assert_eq!(resync.membership(own.as_ref()).as_secs(), expected, "the membership's of {case}");
        }
    }

    #[test]
    fn an_interval_that_is_no_duration_is_refused_with_its_field() {
        for (spec, field) in [
            (json!({"resyncInterval": "soon"}), "spec.resyncInterval: \"soon\""),
            (json!({"limits": {"minResyncInterval": "0s"}}), "spec.limits.minResyncInterval: \"0s\""),
        ] {
            let refusal = of(ProviderKind::MembershipProvider, spec).unwrap_err();
            assert!(refusal.message.starts_with(field), "{}", refusal.message);
        }
    }
}
