//! The limits of a provider: one write at a time, and no more than it allows.

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Fault, Order, worlds};
use std::time::Duration;

use crate::evidence::{Call, gaps, writes};
use crate::in_memory::in_memory;
use crate::subject::{Subject, each};
use crate::support::changed;

#[tokio::test(start_paused = true)]
async fn zitadel_gets_one_write_at_a_time_from_all_provider_objects() {
    const WRITE: Duration = Duration::from_millis(30);
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        // A second provider object on the same instance, and a second project: neither bypasses the limit.
        const SECOND: &str = "400623434683386777";
        zitadel.add_project(SECOND, worlds::ZITADEL_PROJECT_ORG, "warehouse");
        stage.api.apply(&[changed(stage.zitadel_provider(), "/metadata/name", json!("second"))]).await;
        stage.has_condition("membershipprovider/second", "Ready", "True", "Verified").await;
        zitadel.order(Order::always(Fault::Delay(WRITE)).on("POST", "/management/*/members"));
        zitadel.order(Order::always(Fault::Delay(WRITE)).on("PUT", "/members/"));
        zitadel.order(Order::always(Fault::Delay(WRITE)).on("DELETE", "/members/"));
        let users: Vec<Subject> = (0..30).map(|n| stage.user(&format!("crowd-{n}"))).collect();
        let declared = |n: usize, user: &Subject| {
            let mut object = user.declares(json!([{"role": "PROJECT_OWNER"}]));
            if n % 2 == 1 {
                object = changed(object, "/spec/providerRef/name", json!("second"));
            }
            if n % 3 == 2 { changed(object, "/spec/project/id", json!(SECOND)) } else { object }
        };
        stage.api.apply(&users.iter().enumerate().map(|(n, user)| declared(n, user)).collect::<Vec<_>>()).await;
        for user in &users {
            stage.ready(&user.object()).await;
        }
        let written = writes(zitadel);
        assert_eq!(written.len(), users.len(), "one write each: {written:#?}");
        let least = SignedDuration::try_from(WRITE).unwrap();
        let gaps = gaps(&written);
        assert!(gaps.iter().all(|gap| *gap >= least), "each write takes {least:#}, they came after {gaps:?}");
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_wait_waits() {
    in_memory(async |stage| {
        each(stage.both("limited"), async |subject| {
            let ([a, b, ..], object, front) = (subject.names(), subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            // ZITADEL's response has no time to wait.
            let (fault, wait) = match subject.is_at_infisical() {
                true => (Fault::infisical_rate_limited(3), 3),
                false => (Fault::zitadel_rate_limited(), 5),
            };
            front.clear_requests();
            let (method, path) = subject.call(Call::Change);
            front.order(Order::next(fault).on(method, &path));
            stage.change(&subject, json!({"roles": [{"role": b}]})).await;
            stage.waits(&object, "RateLimited").await;
            subject.has_now(&[a], "while a wait is requested");
            subject.has(&[b]).await;
            stage.ready(&object).await;
            let refused = subject.writes()[0].at;
            let since: Vec<_> = front.requests().into_iter().filter(|request| request.at > refused).collect();
            let first = since.first().map(|request| request.at.duration_since(refused)).unwrap_or_default();
            assert!(
                first >= SignedDuration::from_secs(wait),
                "{}: the requested wait was {wait} s, the next request came after {first:#}: {since:#?}",
                subject.name
            );
            subject.was_written(2, "refused once, then carried out");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_refused_over_an_unmanaged_entry_happens_anyway() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        infisical.be_october_2024();
        // It may do all that a member may, and no more: to send an admin's role again is more.
        infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &["member"]);
        let subject = stage.identity("watched");
        let object = subject
            .declares_with(json!([{"role": "viewer"}, {"role": "deployer"}]), json!({"roleManagement": "Additive"}));
        stage.api.apply(&[object]).await;
        stage.ready(&subject.object()).await;
        infisical.add_role(worlds::INFISICAL_PROJECT, &subject.id, simulator::RoleRow::permanent("admin"));
        stage.reconcile_now(&subject.object()).await;
        stage.change(&subject, json!({"roles": [{"role": "viewer"}]})).await;
        subject.loses("deployer").await;
        assert!(subject.holds().contains("viewer"), "viewer is declared, there was {:?}", subject.holds());
        stage.delete(&subject.object()).await;
        subject.loses("viewer").await;
    })
    .await;
}
