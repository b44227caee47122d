//! A provider that was unavailable for a long time, and its memberships when it is available again.

use std::time::Duration;

use serde_json::json;
use simulator::worlds;
use tokio::time::{Instant, sleep};

use crate::book::{MEMBERSHIPS, NAMESPACE};
use crate::scheduler::Server;
use crate::world::{World, eventually, paused, ready};

/// Makes ZITADEL unavailable for `outage` while `count` memberships are edited. Returns how long they take afterwards.
pub fn recovery(count: usize, outage: Duration) -> Result<Duration, String> {
    paused(recovering(count, outage))
}

async fn recovering(count: usize, outage: Duration) -> Result<Duration, String> {
    let world = World::start("recovery").await?;
    for number in 0..count {
        let subject = format!("5006235{number:011}");
        world.providers.simulator.zitadel().add_user(&subject, worlds::ZITADEL_PROJECT_ORG, &format!("user-{number}"));
        let membership = json!({"metadata": {"name": format!("m{number}")}, "spec": {
            "providerRef": {"name": "zitadel"}, "project": {"id": worlds::ZITADEL_PROJECT},
            "subject": {"kind": "User", "id": subject}, "roles": [{"role": "PROJECT_OWNER_VIEWER"}],
        }});
        drop(world.api.create(MEMBERSHIPS, NAMESPACE, &membership));
    }
    let all_ready = || ready(&world.api.all(MEMBERSHIPS)) == count;
    eventually("all memberships are Ready", all_ready).await?;
    world.scheduler.is_down(Server::Zitadel, true);
    for number in 0..count {
        let edit = json!({"spec": {"roles": [{"role": "PROJECT_OWNER"}]}});
        drop(world.api.patch(MEMBERSHIPS, (NAMESPACE, &format!("m{number}")), &edit));
    }
    sleep(outage).await;
    if all_ready() {
        return Err("all memberships are Ready while their provider is away".to_owned());
    }
    world.scheduler.is_down(Server::Zitadel, false);
    let back = Instant::now();
    eventually("all memberships are Ready again", all_ready).await?;
    Ok(back.elapsed())
}
