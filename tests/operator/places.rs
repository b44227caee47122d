//! Of the declarations of one target, at most 64 are evaluated.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::evidence::condition;
use crate::in_memory::in_memory;
use crate::stage::Stage;
use crate::subject::{Subject, time, until};
use crate::support::{SOON, eventually};

const MOST: usize = 64;

/// Waits until all these objects are or are not ready for this reason.
async fn all_are(stage: &Stage, objects: &[String], reason: &str) {
    for object in objects {
        eventually(SOON * 2, &format!("{object}: {reason}"), async || {
            let found = stage.api.get(object).await;
            let ready = condition(&found, "Ready").cloned().unwrap_or_default();
            if ready["reason"] == reason { Ok(()) } else { Err(format!("{ready:#}")) }
        })
        .await;
    }
}

/// Creates this number of declarations of the subject's target, and returns their names.
async fn declare(stage: &Stage, subject: &Subject, number: usize, object: impl Fn(&str) -> Value) -> Vec<String> {
    let names: Vec<String> = (0..number).map(|n| format!("{}-{n:02}", subject.name)).collect();
    let objects: Vec<Value> = names.iter().map(|name| object(name)).collect();
    stage.api.apply(&objects).await;
    names.into_iter().map(|name| format!("pm/{name}")).collect()
}

/// Seen failing with a place for every declaration: the role of the 65th is granted.
#[tokio::test(start_paused = true)]
async fn the_youngest_declarations_beyond_the_bound_report_conflict_until_there_is_a_place() {
    in_memory(async |stage| {
        let subject = stage.identity("crowded");
        let first = declare(&stage, &subject, MOST, |name| subject.layer(name, json!([{"role": "viewer"}]))).await;
        all_are(&stage, &first, "Converged").await;
        // Times of creation are whole seconds.
        let (next, last) = ("pm/next".to_owned(), "pm/last".to_owned());
        for (name, role) in [("next", "deployer"), ("last", "admin")] {
            stage.api.apply(&[subject.layer(name, json!([{ "role": role }]))]).await;
            let object = format!("pm/{name}");
            let message = stage.has_condition(&object, "Ready", "False", "Conflict").await;
            assert!(message.contains("more than 64") && message.contains("fewer objects"), "{message}");
            assert!(!message.contains(&subject.name), "another object is named: {message}");
            stage.has_condition(&object, "Stalled", "True", "Conflict").await;
            let created = time(&stage.api.get(&object).await["metadata"]["creationTimestamp"]);
            until(created + SignedDuration::from_secs(1)).await;
        }
        subject.has_now(&["viewer"], "while two declarations have no place");
        all_are(&stage, &first, "Converged").await;
        // One without a place is deleted immediately, and changes nothing for the others.
        stage.api.merge(&last, &json!({"spec": {"roles": [{"role": "auditor"}]}})).await;
        stage.is_seen(&last).await;
        stage.has_condition(&last, "Ready", "False", "Conflict").await;
        stage.delete(&first[10]).await;
        subject.has(&["viewer", "deployer"]).await;
        stage.has_condition(&next, "Ready", "True", "Converged").await;
        stage.has_condition(&last, "Ready", "False", "Conflict").await;
        stage.delete(&last).await;
        subject.has_now(&["viewer", "deployer"], "after a declaration without a place was deleted");
    })
    .await;
}

/// Seen failing with places by age alone: the object that a rule allows reports Conflict.
#[tokio::test(start_paused = true)]
async fn declarations_that_no_rule_allows_take_no_place_from_one_that_a_rule_allows() {
    in_memory(async |stage| {
        stage.centrals(json!([stage.rule(&["viewer"], json!({}))]), json!([])).await;
        let subject = stage.identity("flooded");
        let of = |name: &str, role: &str| stage.by("infisical", subject.layer(name, json!([{ "role": role }])));
        let flood = declare(&stage, &subject, MOST + 6, |name| of(name, "admin")).await;
        all_are(&stage, &flood, "NotAllowed").await;
        stage.api.apply(&[of("allowed", "viewer")]).await;
        subject.has(&["viewer"]).await;
        stage.has_condition("pm/allowed", "Ready", "True", "Converged").await;
        stage.delete("pm/allowed").await;
        subject.has_now(&[], "after the only declaration that is allowed was deleted");
    })
    .await;
}
