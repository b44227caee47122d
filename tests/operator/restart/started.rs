//! What happens at a start: what came while nobody looked is caught up with, and what is right is left alone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulator::worlds;

use super::{alone, operator};
use crate::evidence::{operator_writes, writes};
use crate::subject::{Subject, each, in_seconds, until};
use crate::support::{changed, eventually};

#[tokio::test]
async fn an_end_that_came_while_the_operator_was_down_is_carried_out_at_its_start() {
    alone(async |plane, stage| {
        let first = operator(plane).await;
        let end = in_seconds(8);
        let subjects = stage.both("down");
        for subject in &subjects {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            stage.ready(&subject.object()).await;
        }
        first.kill().await.unwrap();
        until(end + SignedDuration::from_secs(1)).await;
        subjects[1].has_now(&[subjects[1].names()[0], subjects[1].names()[1]], "ZITADEL ends nothing by itself");
        subjects[0].has_now(&[subjects[0].names()[0]], "Infisical ends it by itself");
        let second = operator(plane).await;
        let ready = Timestamp::now();
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            let gone = subject.loses(b).await;
            assert!(gone.duration_since(ready) < SignedDuration::from_secs(3), "{}: ready at {ready}, gone at {gone}", subject.name);
            stage.role_is(&subject.object(), b, "Expired").await;
            subject.has_now(&[a], "after the end");
            assert!(!subject.listed().contains(b), "{}: the ended row is removed", subject.name);
        })
        .await;
        second.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_what_has_converged_writes_nothing_and_lists_each_project_once() {
    alone(async |plane, stage| {
        let (infisical, zitadel) = (stage.simulator.infisical(), stage.simulator.zitadel());
        let first = operator(plane).await;
        let mut names = Vec::new();
        for n in 0..6 {
            for subject in stage.both(&format!("still-{n}")) {
                let [a, b, ..] = subject.names();
                let project = match (n % 2, subject.is_at_infisical()) {
                    (1, true) => worlds::INFISICAL_OTHER_PROJECT,
                    (_, true) => worlds::INFISICAL_PROJECT,
                    (_, false) => worlds::ZITADEL_PROJECT,
                };
                let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
                stage.api.apply(&[changed(subject.declares(roles), "/spec/project/id", json!(project))]).await;
                names.push(subject.object());
            }
        }
        for name in &names {
            stage.ready(name).await;
        }
        // How many memberships a provider has is counted when it is looked at.
        for provider in ["membershipprovider/infisical", "membershipprovider/zitadel"] {
            stage.api.annotate(provider, "example.com/asked", "now").await;
            eventually(Duration::from_secs(20), &format!("{provider} counts its memberships"), async || {
                let status = stage.api.get(provider).await["status"].clone();
                if status["memberships"] == 6 { Ok(()) } else { Err(format!("{status:#}")) }
            })
            .await;
        }
        first.kill().await.unwrap();
        let mark = plane.audit().mark().unwrap();
        infisical.clear_requests();
        zitadel.clear_requests();
        let second = operator(plane).await;
        eventually(Duration::from_secs(20), "a pass over each object", async || {
            let metrics = second.metrics().await;
            let passes = metrics.lines().find_map(|line| line.strip_prefix("membership_passes_total{result=\"ok\"} "));
            let lists = |project: &str| infisical.count("GET", &format!("/api/*/{project}/identity-memberships"));
            let listed = lists(worlds::INFISICAL_PROJECT) > 0 && lists(worlds::INFISICAL_OTHER_PROJECT) > 0;
            let seen = passes.and_then(|passes| passes.parse::<usize>().ok()).unwrap_or_default();
            if listed && seen >= names.len() { Ok(()) } else { Err(format!("{seen} passes, listed: {listed}")) }
        })
        .await;
        // After an orderly stop nothing is under way any more.
        second.stop().await.unwrap();
        let events: Vec<String> = operator_writes(plane, mark, &stage.ns.name).iter().map(ToString::to_string).collect();
        assert!(events.is_empty(), "nothing is written to Kubernetes, there was {events:#?}");
        assert!(writes(infisical).is_empty() && writes(zitadel).is_empty(), "nor to a provider");
        for project in [worlds::INFISICAL_PROJECT, worlds::INFISICAL_OTHER_PROJECT] {
            let lists = infisical.count("GET", &format!("/api/*/{project}/identity-memberships"));
            assert_eq!(lists, 1, "lists of the project {project}");
        }
        assert_eq!(zitadel.count("POST", "*/members/_search"), 1, "lists of the project at ZITADEL");
    })
    .await;
}

#[tokio::test]
async fn a_target_forged_while_nobody_looked_revokes_nothing_of_a_stranger() {
    alone(async |plane, stage| {
        let first = operator(plane).await;
        let (subjects, strangers) = (stage.both("own"), stage.both("stranger"));
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
        }
        first.kill().await.unwrap();
        for (subject, stranger) in subjects.iter().zip(&strangers) {
            stranger.by_hand(&[stranger.names()[0]]);
            let forged = json!({"subjectId": stranger.id, "endpoint": "https://stranger.example"});
            stage.api.merge_status(&subject.object(), &json!({"status": {"target": forged}})).await;
            stage.api.ask_to_delete(&subject.object()).await;
        }
        let second = operator(plane).await;
        for (subject, stranger) in subjects.iter().zip(&strangers) {
            let about: &Subject = subject;
            stage.api.is_gone(&about.object()).await;
            stage.tells(&about.object(), "Failed", &stranger.id).await;
            about.has_now(&[], "when its object is gone");
            stranger.has_now(&[stranger.names()[0]], "whom the forged target spoke of");
            assert!(stranger.writes().is_empty(), "the stranger was written to: {:#?}", stranger.writes());
        }
        second.stop().await.unwrap();
    })
    .await;
}
