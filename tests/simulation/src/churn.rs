//! Objects, projects and endpoints that are created and deleted: the operator drops its state about them.

use std::time::Duration;

use membership_operator::controller::garbage;
use serde_json::json;
use simulator::worlds;
use tokio::time::{Instant, sleep};

use crate::book::{MEMBERSHIPS, NAMESPACE};
use crate::world::{World, eventually, paused, ready};

/// The number of entries of each kind.
pub type Entries = Vec<(&'static str, usize)>;

/// The state before any object existed, while all exist, and some minutes after their deletion.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub before: Entries,
    /// While they exist.
    pub meanwhile: Entries,
    /// Afterwards.
    pub after: Entries,
}

/// Creates and deletes `count` memberships in as many projects, and as many provider objects with different URLs.
pub fn churn(count: usize) -> Result<Remembered, String> {
    paused(churning(count))
}

async fn churning(count: usize) -> Result<Remembered, String> {
    let world = World::start("churn").await?;
    let entries = || world.context().map_or_else(Vec::new, |context| garbage::entries(&context).to_vec());
    let before = entries();
    for number in 0..count {
        comes(&world, number);
    }
    eventually("all memberships are Ready", || ready(&world.api.all(MEMBERSHIPS)) == count).await?;
    let meanwhile = entries();
    // Half of the deletions are not observed: they are missing from the history that the watch requests.
    for number in 0..count {
        drop(world.api.delete(MEMBERSHIPS, (NAMESPACE, &format!("m{number}"))));
        if number == count / 2 {
            world.api.compact();
        }
    }
    eventually("all memberships are gone", || world.api.all(MEMBERSHIPS).is_empty()).await?;
    for number in 0..count {
        drop(world.api.delete("membershipproviders", (NAMESPACE, &format!("p{number}"))));
    }
    eventually("their providers are gone", || world.api.all("membershipproviders").len() == 2).await?;
    let until = Instant::now() + Duration::from_secs(300);
    while entries() != before && Instant::now() < until {
        sleep(Duration::from_secs(5)).await;
    }
    let after = entries();
    Ok(Remembered { before, meanwhile, after })
}

/// A membership in its own project, and a provider object for a server that doesn't exist.
fn comes(world: &World, number: usize) {
    let World { api, providers, .. } = world;
    let (project, subject) = (format!("5006234{number:011}"), format!("5006235{number:011}"));
    let zitadel = providers.simulator.zitadel();
    zitadel.add_project(&project, worlds::ZITADEL_PROJECT_ORG, &format!("project-{number}"));
    zitadel.add_user(&subject, worlds::ZITADEL_PROJECT_ORG, &format!("user-{number}"));
    let membership = json!({"metadata": {"name": format!("m{number}")}, "spec": {
        "providerRef": {"name": "zitadel"}, "project": {"id": project}, "subject": {"kind": "User", "id": subject},
        "roles": [{"role": "PROJECT_OWNER_VIEWER"}],
    }});
    drop(api.create(MEMBERSHIPS, NAMESPACE, &membership));
    let provider = json!({"metadata": {"name": format!("p{number}")}, "spec": {"zitadel": {
        "url": format!("https://{number}.zitadel.test"), "organizationId": worlds::ZITADEL_PROJECT_ORG,
        "auth": {"personalAccessTokenSecretRef": {"name": "zitadel", "key": "token"}},
    }}});
    drop(api.create("membershipproviders", NAMESPACE, &provider));
}
