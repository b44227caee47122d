//! Further cases of a kill.

use std::time::Duration;

use control_plane::ControlPlane;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulator::{Fault, Order, RoleRow, worlds};

use super::Steps;
use super::gap::HELD;
use crate::evidence::recorded;
use crate::evidence::{Call, operator_writes, sees, writes};
use crate::stage::{Stage, set};
use crate::subject::{each, in_seconds, until};
use crate::support::{changed, eventually};

/// A removal that the provider has carried out without a response.
pub async fn revoking(stage: &Stage, steps: &Steps<'_>) {
    let subjects = stage.both("leaving");
    steps.arranged().await;
    for subject in &subjects {
        stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        stage.ready(&subject.object()).await;
        let (method, path) = subject.call(Call::Remove);
        stage.at(subject).order(Order::always(Fault::DelayAfter(HELD)).on(method, &path));
        stage.api.ask_to_delete(&subject.object()).await;
    }
    for subject in &subjects {
        subject.has(&[]).await;
    }
    steps.reached().await;
    for subject in &subjects {
        let there = stage.api.get(&subject.object()).await;
        assert_eq!(there["metadata"]["finalizers"], json!(["membership.dev/revoke"]), "{}", subject.name);
        stage.at(subject).clear_orders();
    }
    steps.repaired().await;
    for subject in &subjects {
        stage.api.is_gone(&subject.object()).await;
        let removals = subject.writes().into_iter().filter(|request| request.method == "DELETE").count();
        assert!(
            removals <= 2,
            "{}: asked once more for the provider's own word: {:#?}",
            subject.name,
            subject.writes()
        );
        assert_eq!(subject.memberships(), 0, "{}", subject.name);
    }
    steps.done().await;
}

/// The first of two writes that repair a lost one.
pub async fn curing(stage: &Stage, steps: &Steps<'_>) {
    let user = stage.user("cured");
    let ([a, b, ..], zitadel) = (user.names(), stage.simulator.zitadel());
    steps.arranged().await;
    stage.declare(&user, json!([{ "role": a }])).await;
    stage.ready(&user.object()).await;
    let (method, path) = user.call(Call::Change);
    zitadel.order(Order::nth(1, Fault::LostWrite).on(method, &path));
    zitadel.order(Order::nth(2, Fault::DelayAfter(HELD)).on(method, &path));
    stage.api.merge(&user.object(), &json!({"spec": {"roles": [{"role": b}]}})).await;
    sees("the first write of the cure", || zitadel.count(method, &path) == 2).await;
    steps.reached().await;
    zitadel.clear_orders();
    let between = user.holds();
    assert!(between.is_subset(&set(&[a, b])), "only what was there or is wanted: {between:?}");
    steps.repaired().await;
    user.has(&[b]).await;
    stage.ready(&user.object()).await;
    user.has_now(&[b], "when the object is Ready");
    stage.api.ask_to_delete(&user.object()).await;
    user.has(&[]).await;
    steps.done().await;
}

/// Two memberships of one identity, of which the operator has deleted both and created none again.
pub async fn repair(stage: &Stage, steps: &Steps<'_>) {
    let (subject, infisical) = (stage.identity("healed"), stage.simulator.infisical());
    let temporary = RoleRow::temporary("deployer", in_seconds(-60), "1.5h");
    for rows in [vec![RoleRow::permanent("auditor")], vec![temporary.clone(), RoleRow::permanent("auditor")]] {
        infisical.add_membership(worlds::INFISICAL_PROJECT, &subject.id, rows);
    }
    let (method, path) = subject.call(Call::Remove);
    infisical.order(Order::always(Fault::DelayAfter(HELD)).on(method, &path));
    steps.arranged().await;
    let object = subject.declares_with(json!([{"role": "viewer"}]), json!({"roleManagement": "Additive"}));
    stage.api.apply(&[object]).await;
    sees("both memberships are deleted", || subject.memberships() == 0).await;
    steps.reached().await;
    infisical.clear_orders();
    let recorded = recorded(&stage.api.get(&subject.object()).await);
    let carried = recorded["carriedRoles"].to_string();
    assert!(carried.contains("auditor") && carried.contains("deployer"), "recorded before: {recorded:#}");
    steps.repaired().await;
    subject.has(&["auditor", "deployer", "viewer"]).await;
    stage.ready(&subject.object()).await;
    assert!(subject.rows().contains(&temporary), "expected {temporary:#?} in {:#?}", subject.rows());
    assert_eq!(subject.memberships(), 1);
    stage.api.ask_to_delete(&subject.object()).await;
    subject.has(&["auditor", "deployer"]).await;
    steps.done().await;
}

/// An end that passes while no operator runs.
pub async fn ending(stage: &Stage, steps: &Steps<'_>) {
    let subjects = stage.both("down");
    steps.arranged().await;
    let end = in_seconds(10);
    for subject in &subjects {
        let [a, b, ..] = subject.names();
        stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
        stage.ready(&subject.object()).await;
    }
    steps.reached().await;
    let [identity, user] = &subjects;
    let met = user.holds();
    until(end).await;
    identity.has_now(&[identity.names()[0]], "Infisical ends it itself");
    user.has_now(&met.iter().map(String::as_str).collect::<Vec<_>>(), "ZITADEL ends nothing itself");
    steps.repaired().await;
    let started = Timestamp::now();
    each(&subjects, async |subject| {
        let [a, b, ..] = subject.names();
        let gone = subject.loses(b).await;
        let took = gone.duration_since(started);
        assert!(took < SignedDuration::from_secs(8), "{}: {b} was gone {took:#} after the start", subject.name);
        stage.role_is(&subject.object(), b, "Expired").await;
        subject.has_now(&[a], "after the end");
        assert!(!subject.listed().contains(b), "{}: the ended row is removed", subject.name);
    })
    .await;
    steps.done().await;
}

/// A target in status that is forged while no operator runs, of an object that is then deleted.
pub async fn forged(stage: &Stage, steps: &Steps<'_>) {
    let (subjects, others) = (stage.both("own"), stage.both("other"));
    steps.arranged().await;
    for subject in &subjects {
        stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        stage.ready(&subject.object()).await;
    }
    steps.reached().await;
    for (subject, other_subject) in subjects.iter().zip(&others) {
        other_subject.by_hand(&[other_subject.names()[0]]);
        let forged = json!({"subjectId": other_subject.id, "endpoint": "https://other.example"});
        stage.api.merge_status(&subject.object(), &json!({"status": {"target": forged}})).await;
        stage.api.ask_to_delete(&subject.object()).await;
    }
    steps.repaired().await;
    for (subject, other_subject) in subjects.iter().zip(&others) {
        stage.api.is_gone(&subject.object()).await;
        stage.has_event(&subject.object(), "Failed", &other_subject.id).await;
        stage.has_event(&subject.object(), "Failed", "https://other.example").await;
        subject.has_now(&[], "when its object is gone");
        other_subject.has_now(&[other_subject.names()[0]], "whom the forged target spoke of");
        assert!(other_subject.writes().is_empty(), "the other subject was written to: {:#?}", other_subject.writes());
    }
    steps.done().await;
}

/// Objects that have converged, in three projects.
pub async fn converged(plane: &ControlPlane, stage: &Stage, steps: &Steps<'_>) {
    let (infisical, zitadel) = (stage.simulator.infisical(), stage.simulator.zitadel());
    let mut objects = Vec::new();
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
            objects.push(subject.object());
        }
    }
    steps.arranged().await;
    for object in &objects {
        stage.ready(object).await;
    }
    // The memberships of a provider are counted when it is checked.
    for provider in ["membershipprovider/infisical", "membershipprovider/zitadel"] {
        stage.api.annotate(provider, "example.com/asked", "now").await;
        eventually(Duration::from_secs(20), &format!("{provider} counts its memberships"), async || {
            let status = stage.api.get(provider).await["status"].clone();
            if status["memberships"] == 6 { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
    }
    steps.reached().await;
    let mark = plane.audit().mark().unwrap();
    infisical.clear_requests();
    zitadel.clear_requests();
    steps.repaired().await;
    let lists = |project: &str| infisical.count("GET", &format!("/api/*/{project}/identity-memberships"));
    let of_zitadel = || zitadel.count("POST", "*/members/_search");
    let projects = [worlds::INFISICAL_PROJECT, worlds::INFISICAL_OTHER_PROJECT];
    sees("each project is listed", || projects.iter().all(|project| lists(project) > 0) && of_zitadel() > 0).await;
    // The other cases take some time, and then the operator is stopped: after that nothing is in progress.
    steps.done().await;
    let events: Vec<String> = operator_writes(plane, mark, stage.namespace()).iter().map(ToString::to_string).collect();
    assert!(events.is_empty(), "nothing is written to Kubernetes, there was {events:#?}");
    assert!(writes(infisical).is_empty() && writes(zitadel).is_empty(), "nor to a provider");
    assert_eq!(projects.map(lists), [1, 1], "lists of the projects at Infisical");
    assert_eq!(of_zitadel(), 1, "lists of the project at ZITADEL");
}
