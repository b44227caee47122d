//! The requests needed to converge, and to remain converged: counted at the API server and at the providers.

use std::time::Duration;

use control_plane::Mark;
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{Front, Request, worlds};

use crate::evidence::{gaps, is_ready, operator_writes, writes};
use crate::stage::{Stage, shared, with_stage};
use crate::subject::Subject;
use crate::support::{changed, eventually};

/// The second project at ZITADEL; Infisical has two in `worlds::demo()`.
const WAREHOUSE: &str = "400623434683386778";
const EACH: usize = 10;
const CONFIRM_SPACING: SignedDuration = SignedDuration::from_millis(250);

/// Forty objects in four projects, ten in each, every other one with a temporary role.
fn forty(stage: &Stage) -> Vec<(Subject, Value)> {
    stage.simulator.zitadel().add_project(WAREHOUSE, worlds::ZITADEL_PROJECT_ORG, "warehouse");
    let projects = [worlds::INFISICAL_PROJECT, worlds::INFISICAL_OTHER_PROJECT, worlds::ZITADEL_PROJECT, WAREHOUSE];
    let object = |(number, project): (usize, &str)| {
        let name = format!("m{number}");
        let subject = if project.contains('-') { stage.identity(&name) } else { stage.user(&name) };
        let [a, b, ..] = subject.names();
        let roles = match number % 2 {
            0 => json!([{"role": a}, {"role": b}]),
            _ => json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]),
        };
        let declared = changed(subject.declares(roles), "/spec/project/id", json!(project));
        (subject, declared)
    };
    let of_projects = projects.iter().flat_map(|project| (0..EACH).map(|_| *project));
    of_projects.enumerate().map(object).collect()
}

fn fronts(stage: &Stage) -> [&Front; 2] {
    [stage.simulator.infisical(), stage.simulator.zitadel()]
}

/// The lists of each project that has any, oldest first.
fn lists(stage: &Stage) -> Vec<(&'static str, Vec<Request>)> {
    let of = |(front, project): (&Front, &'static str)| {
        let lists = |request: &Request| {
            request.path.ends_with(&format!("/{project}/identity-memberships"))
                || request.path.ends_with(&format!("/{project}/members/_search"))
        };
        (project, front.requests().into_iter().filter(lists).collect())
    };
    let [infisical, zitadel] = fronts(stage);
    [
        (infisical, worlds::INFISICAL_PROJECT),
        (infisical, worlds::INFISICAL_OTHER_PROJECT),
        (zitadel, worlds::ZITADEL_PROJECT),
        (zitadel, WAREHOUSE),
    ]
    .map(of)
    .into()
}

async fn all_ready(stage: &Stage, objects: &[(Subject, Value)]) {
    for (subject, _) in objects {
        eventually(Duration::from_secs(60), &format!("{} is Ready", subject.object()), async || {
            let there = stage.api.get(&subject.object()).await;
            if is_ready(&there) { Ok(()) } else { Err(format!("{:#}", there["status"])) }
        })
        .await;
    }
}

/// The operator's writes about memberships in the stage's namespace: by object, without events.
fn written(stage: &Stage, plane: &control_plane::ControlPlane, mark: Mark, name: &str) -> Vec<String> {
    let writes = operator_writes(plane, mark, stage.namespace());
    let about = writes.into_iter().filter(|event| event.resource == "projectmemberships" && event.name == name);
    about.map(|event| event.to_string()).collect()
}

#[tokio::test]
async fn converging_and_staying_so_costs_what_it_must_and_no_more() {
    with_stage(async |stage| {
        let plane = &shared().await.0;
        for provider in ["infisical", "zitadel"] {
            stage.has_condition(&format!("membershipprovider/{provider}"), "Ready", "True", "Verified").await;
        }
        let objects = forty(&stage);
        fronts(&stage).iter().for_each(|front| front.clear_requests());
        let mark = plane.audit().mark().unwrap();
        stage.api.apply(&objects.iter().map(|(_, object)| object.clone()).collect::<Vec<_>>()).await;
        all_ready(&stage, &objects).await;

        for (subject, _) in &objects {
            // The record with the finalizer, and the status: for temporary roles as well.
            let most = 2;
            let writes = written(&stage, plane, mark, &subject.name);
            assert!(
                writes.len() <= most,
                "{}: at most {most} writes to Kubernetes, there were {writes:#?}",
                subject.name
            );
            subject.was_written(1, "to converge");
        }
        for (project, lists) in lists(&stage) {
            let gaps = gaps(&lists);
            let took: SignedDuration = gaps.iter().sum();
            // The first may be late on a busy machine; `roster` tests the exact guarantee.
            let most = 4 + took.as_millis() / CONFIRM_SPACING.as_millis();
            let count = i128::try_from(lists.len()).unwrap();
            assert!(
                (1..=most).contains(&count),
                "{project}: one list, and one a confirm interval: {gaps:?} {lists:#?}"
            );
        }

        stays_as_it_is(&stage, &objects).await;
        applied_again_writes_nothing(&stage, &objects).await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

/// Over two intervals: no write, and one list per project and interval.
async fn stays_as_it_is(stage: &Stage, objects: &[(Subject, Value)]) {
    let plane = &shared().await.0;
    // A request that leaves on time may arrive late on a busy machine: then the next one seems to come early.
    let interval = SignedDuration::from_millis(2500);
    for provider in ["infisical", "zitadel"] {
        stage.api.merge(&format!("membershipprovider/{provider}"), &json!({"spec": {"resyncInterval": "3s"}})).await;
    }
    let has_lists = |times: usize| lists(stage).iter().all(|(_, lists)| lists.len() >= times);
    let wait = async |times: usize| {
        eventually(Duration::from_secs(30), &format!("{times} lists of each project"), async || {
            if has_lists(times) {
                Ok(())
            } else {
                Err(format!("{:?}", lists(stage).iter().map(|(_, l)| l.len()).collect::<Vec<_>>()))
            }
        })
        .await;
    };
    // The first with the new interval: what follows is the steady state.
    fronts(stage).iter().for_each(|front| front.clear_requests());
    wait(1).await;
    all_ready(stage, objects).await;
    fronts(stage).iter().for_each(|front| front.clear_requests());
    let mark = plane.audit().mark().unwrap();
    wait(3).await;
    let events: Vec<String> = operator_writes(plane, mark, stage.namespace()).iter().map(ToString::to_string).collect();
    assert!(events.is_empty(), "the steady state writes nothing to Kubernetes, there was {events:#?}");
    for front in fronts(stage) {
        assert!(writes(front).is_empty(), "nor to a provider, there was {:#?}", writes(front));
    }
    for (project, lists) in lists(stage) {
        let gaps = gaps(&lists);
        assert!(gaps.iter().all(|gap| *gap >= interval), "{project}: one list an interval, they came after {gaps:?}");
    }
}

/// A second `kubectl apply` of the same file.
async fn applied_again_writes_nothing(stage: &Stage, objects: &[(Subject, Value)]) {
    let plane = &shared().await.0;
    let objects: Vec<Value> = objects.iter().map(|(_, object)| object.clone()).collect();
    // kubectl's own first apply notes what was applied, in an annotation.
    stage.kubectl().apply(&objects).await;
    let versions = async || {
        let mut versions = Vec::new();
        for object in &objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            versions.push(stage.api.get(&format!("pm/{name}")).await["metadata"]["resourceVersion"].clone());
        }
        versions
    };
    let before = versions().await;
    fronts(stage).iter().for_each(|front| front.clear_requests());
    let mark = plane.audit().mark().unwrap();
    let reported = stage.kubectl().apply(&objects).await;
    assert_eq!(reported.lines().filter(|line| line.ends_with(" unchanged")).count(), objects.len(), "{reported}");
    // Everything was observed again since.
    let listed = |times: usize| lists(stage).iter().all(|(_, lists)| lists.len() >= times);
    crate::evidence::sees("each project is listed twice more", || listed(2)).await;
    let events: Vec<String> = operator_writes(plane, mark, stage.namespace()).iter().map(ToString::to_string).collect();
    assert!(events.is_empty(), "nothing is written to Kubernetes, there was {events:#?}");
    assert_eq!(versions().await, before, "no object has changed");
    for front in fronts(stage) {
        assert!(writes(front).is_empty(), "nothing is written to a provider, there was {:#?}", writes(front));
    }
}
