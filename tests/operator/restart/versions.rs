//! Objects that another version has stored: with fields that this one doesn't have, and without those that the other
//! one didn't have.

use control_plane::ControlPlane;
use serde_json::{Value, json};

use super::{alone, operator};
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually, path};

/// Makes the API server keep fields that the schema doesn't have, as that of another version would.
async fn keeps_any_field(plane: &ControlPlane) {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let patches = ["/spec", "/status", "/status/properties/managedRoles/items"].map(|object| {
        json!({"op": "add", "path": format!("{schema}{object}/x-kubernetes-preserve-unknown-fields"), "value": true})
    });
    let (name, patch) = ("projectmemberships.membership.dev", json!(patches).to_string());
    plane.kubectl().ok(&["patch", "crd", name, "--type=json", "--patch", &patch]).await.unwrap();
}

/// Stores an object as another version would, spec and status; waits until the API server keeps what is `newer`.
async fn stores(stage: &Stage, object: &str, edit: fn(&mut Value)) {
    eventually(SOON, &format!("{object} is stored"), async || {
        let mut edited = stage.api.get(object).await;
        edit(&mut edited);
        replaces(stage, &["replace", "--validate=false", "--filename=-"], &edited).await?;
        let mut stored = stage.api.get(object).await;
        stored["status"] = edited["status"].clone();
        stored["status"]["observedGeneration"] = stored["metadata"]["generation"].clone();
        let expected = (edited["spec"].clone(), stored["status"].clone());
        let of_status = ["replace", "--validate=false", "--subresource=status", "--filename=-"];
        replaces(stage, &of_status, &stored).await?;
        let there = stage.api.get(object).await;
        let annotations = |object: &Value| object["metadata"]["annotations"].clone();
        let kept =
            (&there["spec"], &there["status"], annotations(&there)) == (&expected.0, &expected.1, annotations(&edited));
        if kept { Ok(()) } else { Err(format!("{there:#}")) }
    })
    .await;
}

async fn replaces(stage: &Stage, arguments: &[&str], object: &Value) -> Result<(), String> {
    let output = stage.kubectl().run(arguments, &object.to_string()).await;
    if output.status.success() { Ok(()) } else { Err(output.stderr) }
}

#[tokio::test]
async fn another_versions_stored_objects_are_read_and_nothing_is_written_to_a_provider() {
    alone(async |plane, stage| {
        let first = operator(plane).await;
        let subjects = stage.both("stored");
        for subject in &subjects {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
            stage.ready(&subject.object()).await;
        }
        let before = subjects.iter().map(Subject::rows).collect::<Vec<_>>();
        first.stop().await.unwrap();
        keeps_any_field(plane).await;
        type Edit = (&'static str, fn(&mut Value));
        let versions: [Edit; 4] = [
            // Its record is in the status alone.
            ("one without the annotation for pending grants", |object| {
                if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
                    annotations.remove("membership.dev/pending-grants");
                }
                object["status"].as_object_mut().unwrap().remove("observedPendingGrants");
            }),
            ("a newer one", |object| {
                object["spec"]["newer"] = json!({"field": [1, 2]});
                object["status"]["newer"] = json!({"field": "x"});
                object["status"]["managedRoles"][0]["newer"] = json!("y");
                let conditions = object["status"]["conditions"].as_array_mut().unwrap();
                conditions.retain(|condition| condition["type"] != "Newer");
                conditions.push(json!({
                    "type": "Newer", "status": "True", "reason": "New", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
                }));
            }),
            ("an older one", |object| {
                let status = object["status"].as_object_mut().unwrap();
                for field in ["activeRoles", "nextTransitionTime", "drift", "carriedRoles", "lastHandledReconcileAt"] {
                    status.remove(field);
                }
            }),
            ("an older one without a target", |object| {
                object["status"].as_object_mut().unwrap().remove("target");
            }),
        ];
        for (version, edit) in versions {
            for subject in &subjects {
                stores(&stage, &subject.object(), edit).await;
            }
            stage.simulator.infisical().clear_requests();
            stage.simulator.zitadel().clear_requests();
            let own = operator(plane).await;
            each(&subjects, async |subject| {
                stage.reconcile_now(&subject.object()).await;
                stage.ready(&subject.object()).await;
                let [a, b, ..] = subject.names();
                subject.has_now(&[a, b], version);
                subject.was_written(0, version);
            })
            .await;
            assert_eq!(subjects.iter().map(Subject::rows).collect::<Vec<_>>(), before, "{version}");
            own.stop().await.unwrap();
        }
        plane.kubectl().ok(&["apply", "--filename", &path("crds")]).await.unwrap();
    })
    .await;
}
