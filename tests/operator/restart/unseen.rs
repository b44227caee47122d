//! What the operator didn't see happen: while it was down, while it stood still, while its watch was broken off.

use control_plane::{ControlPlane, Filter, Mark};
use serde_json::json;

use super::{alone, operator};
use crate::subject::each;
use crate::support::OPERATOR;

/// How the operator asked for all objects of its kinds since `mark`.
fn lists_and_watches(plane: &ControlPlane, mark: Mark) -> Vec<String> {
    let user = format!("system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1);
    let events = plane.audit().events(mark, &Filter::new().user(user)).unwrap();
    let ours = events.into_iter().filter(|event| event.group == "membership.dev" && event.name.is_empty());
    ours.filter(|event| ["list", "watch"].contains(&event.verb.as_str())).map(|event| event.uri).collect()
}

#[tokio::test]
async fn what_changed_while_it_was_down_is_acted_on_as_it_is_now() {
    alone(async |plane, stage| {
        let first = operator(plane).await;
        let (edited, recreated) = (stage.both("edited"), stage.both("recreated"));
        for subject in edited.iter().chain(&recreated) {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b}])).await;
            stage.ready(&subject.object()).await;
        }
        first.stop().await.unwrap();
        for subject in &edited {
            let [a, ..] = subject.names();
            stage.api.merge(&subject.object(), &json!({"spec": {"roles": [{"role": a}]}})).await;
            subject.by_hand(&[a]);
        }
        // Another object under the name, for another subject.
        let successors = stage.both("heir");
        for (old, successor) in recreated.iter().zip(&successors) {
            stage.api.ask_to_delete(&old.object()).await;
            stage.api.merge(&old.object(), &json!({"metadata": {"finalizers": null}})).await;
            stage.api.is_gone(&old.object()).await;
            stage.api.apply(&[successor.layer(&old.name, json!([{"role": successor.names()[0]}]))]).await;
        }
        let written = edited.iter().chain(&recreated).map(|subject| subject.writes().len()).collect::<Vec<_>>();
        let mark = plane.audit().mark().unwrap();
        let second = operator(plane).await;
        for (old, successor) in recreated.iter().zip(&successors) {
            successor.has(&[successor.names()[0]]).await;
            stage.ready(&old.object()).await;
        }
        each(&edited, async |subject| {
            let [a, ..] = subject.names();
            stage.ready(&subject.object()).await;
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[a], "a removed role isn't granted again");
        })
        .await;
        for (subject, before) in edited.iter().chain(&recreated).zip(written) {
            let [_, b, ..] = subject.names();
            let since = subject.writes().split_off(before);
            assert!(since.iter().all(|write| !write.body.contains(&format!("\"{b}\""))), "{since:#?}");
            // ZITADEL is asked for its own word on a role that is merely not listed any more.
            let most = usize::from(!subject.is_at_infisical() && subject.name.starts_with("edited"));
            assert!(since.len() <= most, "{}: {since:#?}", subject.name);
        }
        // What a cache of the API server holds may be of any age: that is never asked for.
        let asked = lists_and_watches(plane, mark);
        let lists: Vec<&String> = asked.iter().filter(|uri| !uri.contains("watch=true")).collect();
        assert!(lists.len() >= 2, "{asked:#?}");
        assert!(lists.iter().all(|uri| !uri.contains("resourceVersion=")), "as of now and no earlier: {lists:#?}");
        second.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_changed_while_its_watch_was_broken_off_is_acted_on_as_it_is_now() {
    alone(async |plane, stage| {
        let own = operator(plane).await;
        let [edited, beside, gone] = ["edited", "beside", "gone"].map(|name| stage.both(name));
        for subject in edited.iter().chain(&beside).chain(&gone) {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
        }
        for subject in &beside {
            let [_, b, ..] = subject.names();
            let other = format!("other-{}", subject.name);
            stage.api.apply(&[subject.layer(&other, json!([{"role": b}]))]).await;
            stage.ready(&format!("pm/{other}")).await;
        }
        own.signal("STOP").unwrap();
        // The API server comes back with a history that begins after this write, and so after all that the operator saw:
        // where its watch was, there is nothing to go on from.
        stage.api.merge("secret/infisical", &json!({"metadata": {"annotations": {"written": "last"}}})).await;
        plane.kill_apiserver().await.unwrap();
        plane.start_apiserver().await.unwrap();
        let mark = plane.audit().mark().unwrap();
        for subject in &edited {
            let [a, b, c, _] = subject.names();
            for roles in [[a, b], [b, c], [a, c]] {
                stage
                    .api
                    .merge(&subject.object(), &json!({"spec": {"roles": roles.map(|role| json!({"role": role}))}}))
                    .await;
            }
        }
        for subject in &beside {
            let other = format!("pm/other-{}", subject.name);
            stage.api.ask_to_delete(&other).await;
            stage.api.merge(&other, &json!({"metadata": {"finalizers": null}})).await;
            stage.api.is_gone(&other).await;
        }
        for subject in &gone {
            stage.api.ask_to_delete(&subject.object()).await;
        }
        let new = stage.both("new");
        for subject in &new {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        own.signal("CONT").unwrap();
        each(&edited, async |subject| {
            let [a, _, c, _] = subject.names();
            subject.has(&[a, c]).await;
            stage.ready_in_time(&subject.object()).await;
            subject.was_written(2, "one write for three edits");
        })
        .await;
        each(&beside, async |subject| {
            // An Exclusive object is told that the other one isn't there any more.
            subject.has(&[subject.names()[0]]).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        each(&gone, async |subject| {
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[], "when its object is gone");
        })
        .await;
        each(&new, async |subject| {
            stage.ready(&subject.object()).await;
            subject.has_now(&[subject.names()[0]], "of an object that came meanwhile");
        })
        .await;
        let asked = lists_and_watches(plane, mark);
        assert!(asked.iter().any(|uri| !uri.contains("watch=true")), "all was listed anew: {asked:#?}");
        stage.other_subjects_keep_their_rights();
        own.stop().await.unwrap();
    })
    .await;
}
