//! An object that can't be read, as another version may have stored it.

use std::time::Duration;

use control_plane::ControlPlane;
use futures::future::join_all;
use serde_json::{Value, json};

use super::{alone, operator};
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{assert_contains, eventually, path};

const CRD: &str = "projectmemberships.membership.dev";

/// Applies an object that the operator can't read, as soon as the API server takes it.
async fn applied(stage: &Stage, name: &str) {
    let broken = json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership", "metadata": {"name": name},
        "spec": {"providerRef": "infisical", "roles": "viewer"},
    });
    eventually(Duration::from_secs(20), "the API server takes anything", async || {
        let output = stage.ns.run(&["create", "--validate=false", "--filename=-"], &broken.to_string()).await;
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    })
    .await;
}

/// Has the API server take anything for a ProjectMembership.
async fn takes_anything(plane: &ControlPlane) {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": anything}]);
    plane.kubectl().ok(&["patch", "crd", CRD, "--type=json", "--patch", &patch.to_string()]).await.unwrap();
}

#[tokio::test]
async fn of_a_thousand_objects_one_that_cannot_be_read_stops_none_of_the_others() {
    const OTHERS: usize = 999;
    alone(async |plane, stage| {
        let subjects: Vec<Subject> = (0..OTHERS).map(|n| stage.identity(&format!("m{n}"))).collect();
        let objects: Vec<Value> = subjects.iter().map(|s| s.declares(json!([{"role": "viewer"}]))).collect();
        join_all(objects.chunks(100).map(|chunk| stage.api.apply(chunk))).await;
        takes_anything(plane).await;
        applied(&stage, "broken").await;
        let own = operator(plane).await;
        let holding = || subjects.iter().filter(|subject| subject.holds().contains("viewer")).count();
        eventually(Duration::from_secs(180), "all others converge", async || match holding() {
            OTHERS => Ok(()),
            other => Err(format!("{other} have")),
        })
        .await;
        for subject in &subjects {
            stage.ready_in_time(&subject.object()).await;
            subject.was_written(1, "beside an object that can't be read");
        }
        let metrics = own.metrics().await;
        assert!(metrics.lines().any(|line| line == "membership_undecodable_total 1"), "{metrics}");
        let log = std::fs::read_to_string(own.log_file()).unwrap();
        let ours = |line: &&str| line.contains("can't be read") && line.contains("\"broken\"");
        let named = log.lines().filter(ours).collect::<Vec<_>>();
        assert_eq!(named.len(), 1, "{named:#?}");
        own.stop().await.unwrap();
        stage.ns.ok(&["delete", "pm", "broken"]).await;
        plane.kubectl().ok(&["apply", "--filename", &path("crds")]).await.unwrap();
        // Nobody waits for a thousand revocations.
        join_all(subjects.chunks(100).map(async |chunk| {
            for subject in chunk {
                stage.api.ask_to_delete(&subject.object()).await;
                stage.api.merge(&subject.object(), &json!({"metadata": {"finalizers": null}})).await;
            }
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_stops_none_of_the_others() {
    alone(async |plane, stage| {
        let subjects = stage.both("readable");
        let names = subjects.each_ref().map(|subject| subject.declares(json!([{"role": subject.names()[0]}])));
        stage.api.apply(&names).await;
        takes_anything(plane).await;
        applied(&stage, "broken-before").await;
        let own = operator(plane).await;
        each(&subjects, async |subject| {
            stage.ready(&subject.object()).await;
            subject.has_now(&[subject.names()[0]], "beside an object that can't be read");
        })
        .await;
        applied(&stage, "broken-later").await;
        let counted = async || {
            let metrics = own.metrics().await;
            let of = |line: &str| line.strip_prefix("membership_undecodable_total ")?.parse::<u64>().ok();
            metrics.lines().find_map(of).unwrap_or_default()
        };
        eventually(Duration::from_secs(20), "two objects that can't be read are counted", async || {
            let there = counted().await;
            if there >= 2 { Ok(()) } else { Err(there.to_string()) }
        })
        .await;
        let log = std::fs::read_to_string(own.log_file()).unwrap();
        for name in ["broken-before", "broken-later"] {
            assert_contains(&log, name);
        }
        // The others are still heard.
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            let roles: Value = json!({"spec": {"roles": [{"role": a}, {"role": b}]}});
            stage.api.merge(&subject.object(), &roles).await;
            subject.has(&[a, b]).await;
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "when its object is gone");
        })
        .await;
        stage.ns.ok(&["delete", "pm", "broken-before", "broken-later"]).await;
        plane.kubectl().ok(&["apply", "--filename", &path("crds")]).await.unwrap();
        own.stop().await.unwrap();
    })
    .await;
}
