//! Objects, projects and endpoints that are created and deleted: the operator drops its state about them.

use std::ops::Range;
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
    /// While the first of them exist.
    pub meanwhile: Entries,
    /// Afterwards.
    pub after: Entries,
}

/// Creates and deletes `count` memberships in as many projects, and as many provider objects with different URLs, this
/// many at a time.
pub fn churn(count: usize, at_a_time: usize) -> Result<Remembered, String> {
    paused(churning(count, at_a_time))
}

async fn churning(count: usize, at_a_time: usize) -> Result<Remembered, String> {
    let world = World::start("churn").await?;
    let entries = || world.context().map_or_else(Vec::new, |context| garbage::entries(&context).to_vec());
    let before = entries();
    let mut meanwhile = Entries::new();
    for first in (0..count).step_by(at_a_time) {
        let all = come_and_go(&world, first..count.min(first + at_a_time), entries).await?;
        meanwhile = if meanwhile.is_empty() { all } else { meanwhile };
        // What the simulation itself remembers.
        world.providers.simulator.zitadel().clear_requests();
        world.providers.simulator.infisical().clear_requests();
        world.book.take_writes();
    }
    let until = Instant::now() + Duration::from_secs(300);
    while entries() != before && Instant::now() < until {
        sleep(Duration::from_secs(5)).await;
    }
    let after = entries();
    Ok(Remembered { before, meanwhile, after })
}

/// Returns the entries while all exist.
async fn come_and_go(world: &World, numbers: Range<usize>, entries: impl Fn() -> Entries) -> Result<Entries, String> {
    for number in numbers.clone() {
        comes(world, number);
    }
    eventually("all memberships are Ready", || ready(&world.api.all(MEMBERSHIPS)) == numbers.len()).await?;
    let meanwhile = entries();
    // Half of the deletions are not observed: they are missing from the history that the watch requests.
    for number in numbers.clone() {
        drop(world.api.delete(MEMBERSHIPS, (NAMESPACE, &format!("m{number}"))));
        if number == numbers.start + numbers.len() / 2 {
            world.api.compact();
        }
    }
    eventually("all memberships are gone", || world.api.all(MEMBERSHIPS).is_empty()).await?;
    for number in numbers {
        drop(world.api.delete("membershipproviders", (NAMESPACE, &format!("p{number}"))));
    }
    eventually("their providers are gone", || world.api.all("membershipproviders").len() == 2).await?;
    Ok(meanwhile)
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
