//! A standby replica keeps no objects. It only makes sure that it could list them, so that a rollout does not replace
//! replicas with ones that cannot.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::stored::Stored;
use super::watch::{Reconnect, apis_of};
use crate::api::{ClusterMembershipProvider, MembershipProvider, ProjectMembership};

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(5);

/// Completes when every kind that this replica would watch can be listed. `namespaces`: those that are watched; if it is
/// empty, all of them and the cluster-scoped kinds.
pub async fn is_able(client: &Client, namespaces: &[String]) {
    let (mut backoff, mut reported) = (Reconnect::default(), None);
    while let Err(error) = is_able_now(client, namespaces).await {
        if reported.as_ref() != Some(&error) {
            tracing::warn!("this replica is not ready to take over: {error}");
        }
        reported = Some(error);
        tokio::time::sleep(backoff.next().unwrap_or(LONGEST)).await;
    }
}

async fn is_able_now(client: &Client, namespaces: &[String]) -> Result<(), String> {
    for api in apis_of::<ProjectMembership>(client, namespaces) {
        if !is_served(&api).await? {
            return Err("the API server does not serve ProjectMembership: kubectl apply -f crds/".to_owned());
        }
    }
    // Only one of the two kinds of provider objects is needed, and either may be installed later.
    for api in apis_of::<MembershipProvider>(client, namespaces) {
        is_served(&api).await?;
    }
    if namespaces.is_empty() {
        is_served(&Api::<Stored<ClusterMembershipProvider>>::all(client.clone())).await?;
    }
    Ok(())
}

/// Lists one object. `false`: the API server does not serve the kind.
async fn is_served<K>(api: &Api<Stored<K>>) -> Result<bool, String>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => {
            let place = api.namespace().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
            Err(format!("can't list {}{place}: {error}", K::plural(&())))
        }
    }
}
