//! Another writer of the same member.

use std::time::Duration;

use serde_json::json;
use simulator::{Fault, Order, worlds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::evidence::{Call, sees};
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each};

const BY_HAND: &str = "somebody-at-the-dashboard";

/// A PATCH of a membership at Infisical by another writer, on the wire like the operator's own.
async fn patched_by_hand(stage: &Stage, identity: &str, role: &str) {
    let infisical = stage.simulator.infisical();
    infisical.add_admin_token(BY_HAND, "somebody");
    let host = infisical.url().trim_start_matches("http://").to_owned();
    let body = json!({"roles": [{"role": role, "isTemporary": false}]}).to_string();
    let path = format!("/api/v1/projects/{}/identity-memberships/{identity}", worlds::INFISICAL_PROJECT);
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {BY_HAND}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn two_lists_that_infisical_united_are_noticed_and_put_right() {
    with_stage(async |stage| {
        let (infisical, subject) = (stage.simulator.infisical(), stage.identity("united"));
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.ready(&subject.object()).await;
        infisical.order(Order::next_n(2, Fault::Window(Duration::from_millis(400))).on("PATCH", &subject.id));
        infisical.order(Order::next(Fault::DelayAfter(Duration::from_millis(400))).on("PATCH", &subject.id));
        stage
            .api
            .merge(&subject.object(), &json!({"spec": {"roles": [{"role": "viewer"}, {"role": "deployer"}]}}))
            .await;
        sees("the operator's PATCH", || infisical.count("PATCH", &subject.id) == 1).await;
        let (infisical, identity) = (infisical.clone(), subject.clone());
        let united = async move { sees("admin and deployer united", || identity.holds().len() == 3).await };
        tokio::join!(patched_by_hand(&stage, &subject.id, "admin"), united);
        subject.has(&["viewer", "deployer"]).await;
        stage.ready(&subject.object()).await;
        subject.has_now(&["viewer", "deployer"], "when the object is Ready");
        let writes = infisical.count("PATCH", &subject.id);
        assert!(writes <= 4, "the operator's, the other writer's, and the repair: {writes}");
    })
    .await;
}

/// Adds a role manually whenever it is missing, until it is stopped.
async fn insists(subject: &Subject, roles: [&str; 2], stop: &tokio::sync::Notify) {
    let insisting = async {
        loop {
            if !subject.holds().contains(roles[1]) {
                subject.by_hand(&roles);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = insisting => {}
        () = stop.notified() => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_a_member_ends_after_three_rounds() {
    in_memory(async |stage| {
        each(stage.both("contested"), async |subject| {
            let ([a, b, c, _], object) = (subject.names(), subject.object());
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let (method, path) = subject.call(Call::Change);
            // The other writer is always faster than the list that would confirm the write.
            stage.at(&subject).order(Order::always(Fault::DelayAfter(Duration::from_millis(150))).on(method, &path));
            let before = subject.writes().len();
            let stop = tokio::sync::Notify::new();
            let fight = async {
                stage.api.merge(&object, &json!({"spec": {"roles": [{"role": a}, {"role": c}]}})).await;
                stage.is_stalled(&object, "Contested").await;
                stage.has_event(&object, "Failed", "another writer").await;
                let rounds = subject.writes().len() - before;
                assert!((3..=4).contains(&rounds), "{}: three rounds, there were {rounds}", subject.name);
                // Others continue, and this one has stopped.
                let other = if subject.is_at_infisical() { stage.identity("peaceful") } else { stage.user("peaceful") };
                stage.declare(&other, json!([{ "role": a }])).await;
                stage.ready(&other.object()).await;
                assert_eq!(subject.writes().len() - before, rounds, "{}: {:#?}", subject.name, subject.writes());
                stop.notify_one();
            };
            tokio::join!(insists(&subject, [a, b], &stop), fight);
            stage.at(&subject).clear_orders();
            stage.reconcile_now(&object).await;
            subject.has(&[a, c]).await;
            stage.ready(&object).await;
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
