//! Objects, projects and endpoints that come and go: what the operator remembers of them goes too.

use std::time::Duration;

use membership_operator::controller::garbage;
use serde_json::json;
use simulator::worlds;
use tokio::time::{Instant, sleep};

use crate::book::{MEMBERSHIPS, NAMESPACE};
use crate::world::{World, eventually, paused, ready};

/// How many entries there are about each kind of thing.
pub type Entries = Vec<(&'static str, usize)>;

/// What is remembered before any object came, while all are there, and when they are gone and some minutes have passed.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub before: Entries,
    /// While they are there.
    pub meanwhile: Entries,
    /// Afterwards.
    pub after: Entries,
}

/// Lets `count` memberships in as many projects, and as many provider objects with URLs of their own, come and go.
pub fn churn(count: usize) -> Result<Remembered, String> {
    paused(churning(count))
}

async fn churning(count: usize) -> Result<Remembered, String> {
    let world = World::start("churn").await?;
    let entries = || world.checker().map_or_else(Vec::new, |checker| garbage::entries(&checker).to_vec());
    let before = entries();
    for number in 0..count {
        comes(&world, number);
    }
    eventually("all memberships are Ready", || ready(&world.api.all(MEMBERSHIPS)) == count).await?;
    let meanwhile = entries();
    // Half of them go unseen: their deletions are missing from the history that the watch asks for.
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

/// A membership in a project of its own, and a provider object for a server that is not there.
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
