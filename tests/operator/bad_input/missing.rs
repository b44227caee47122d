//! A role, project or subject that doesn't exist.

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::worlds;

use crate::evidence::{assert_presentable, writes};
use crate::in_memory::in_memory;
use crate::subject::{Subject, each, time};
use crate::support::{assert_contains, changed};

/// Role names that the subject's provider doesn't have.
fn unknown(subject: &Subject) -> [&'static str; 4] {
    if subject.is_at_infisical() {
        ["deployr", "reader", "ops", "root"]
    } else {
        ["OWNER", "VIEWER", "ADMIN", "EDITOR"]
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_stalled_and_says_where_to_look() {
    in_memory(async |stage| {
        let viewer = || json!([{"role": "viewer"}]);
        let owner = || json!([{"role": "PROJECT_OWNER"}]);
        let no_uuid = "00000000-0000-4000-8000-00000000dead";
        let no_id = "400623434683386999";
        type Case = (Value, &'static str, [&'static str; 2]);
        let cases: Vec<Case> = vec![
            (
                stage.identity("role").declares(json!([{"role": "deployr"}])),
                "RoleNotFound",
                ["\"deployr\"", "check the slug under Access Control → Roles"],
            ),
            (stage.user("role").declares(json!([{"role": "OWNER"}])), "RoleNotFound", ["\"OWNER\"", "PROJECT_OWNER"]),
            (
                changed(stage.identity("project").declares(viewer()), "/spec/project/id", json!(no_uuid)),
                "ProjectNotFound",
                [no_uuid, "check the id under Project Settings"],
            ),
            (
                changed(stage.user("project").declares(owner()), "/spec/project/id", json!(no_id)),
                "ProjectNotFound",
                [no_id, "project.id"],
            ),
            (
                changed(stage.identity("subject").declares(viewer()), "/spec/subject/id", json!(no_uuid)),
                "SubjectNotFound",
                [no_uuid, "check the id under Organization → Access Control → Identities"],
            ),
            (
                changed(stage.user("subject").declares(owner()), "/spec/subject/id", json!(no_id)),
                "SubjectNotFound",
                [no_id, "subject.id"],
            ),
            (
                changed(stage.identity("slug").declares(viewer()), "/spec/project/id", json!("web")),
                "InvalidSpec",
                ["spec.project.id is \"web\"", "UUIDs"],
            ),
            (
                changed(stage.user("name").declares(owner()), "/spec/subject/id", json!("ada")),
                "InvalidSpec",
                ["spec.subject.id is \"ada\"", "digits"],
            ),
            (
                changed(stage.user("kind").declares(owner()), "/spec/subject/kind", json!("Identity")),
                "InvalidSpec",
                ["spec.subject.kind is Identity", "kind User"],
            ),
        ];
        stage.api.apply(&cases.iter().map(|(object, ..)| object.clone()).collect::<Vec<_>>()).await;
        for (object, reason, phrases) in &cases {
            let name = format!("pm/{}", object["metadata"]["name"].as_str().unwrap());
            let message = stage.is_stalled(&name, reason).await;
            assert_presentable(&message);
            phrases.iter().for_each(|text| assert_contains(&message, text));
            stage.has_event(&name, "Failed", phrases[0]).await;
        }
        for front in [&**stage.simulator.infisical(), stage.simulator.zitadel()] {
            let done: Vec<_> = writes(front).into_iter().filter(|request| request.status == Some(200)).collect();
            assert!(done.is_empty(), "nothing was to be carried out, but there was {done:#?}");
        }
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_role_costs_no_user_the_role_that_was_meant() {
    in_memory(async |stage| {
        each(stage.both("misspelt"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[a, b]);
            stage.declare(&subject, json!([{"role": a}, {"role": unknown(&subject)[0]}])).await;
            stage.is_stalled(&subject.object(), "RoleNotFound").await;
            subject.has_now(&[a, b], "with a misspelt role");
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": b}]})).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, b], "with the right name");
            let done = subject.carried_out();
            assert!(done.is_empty(), "{}: nothing was to be carried out, but there was {done:#?}", subject.name);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn unknown_roles_neither_block_other_roles_nor_move_an_end() {
    in_memory(async |stage| {
        each(stage.both("beside"), async |subject| {
            let [a, b, c, _] = subject.names();
            let object = subject.object();
            let temporary = json!({"role": b, "temporary": {"duration": "1h"}});
            stage.declare(&subject, json!([{"role": a}, temporary])).await;
            stage.ready(&object).await;
            let (granted, end) = (stage.role_is(&object, b, "Active").await, subject.end_of(b));

            let mut roles = vec![json!({"role": a}), temporary.clone(), json!({"role": c})];
            roles.extend(unknown(&subject).map(|role| json!({ "role": role })));
            stage.change(&subject, json!({ "roles": roles })).await;
            stage.is_stalled(&object, "RoleNotFound").await;
            subject.has(&[a, b, c]).await;
            assert_eq!(subject.end_of(b), end, "{}: the end of {b} at the provider", subject.name);
            assert_eq!(stage.role_is(&object, b, "Active").await, granted, "{}: the recorded window", subject.name);

            stage.change(&subject, json!({"roles": [{"role": a}, temporary]})).await;
            stage.ready(&object).await;
            subject.has(&[a, b]).await;
            assert_eq!(stage.role_is(&object, b, "Active").await, granted, "{}: the recorded window", subject.name);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_end_beside_an_unknown_role_comes_at_its_instant() {
    in_memory(async |stage| {
        each(stage.both("ending"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles =
                json!([{"role": unknown(&subject)[0]}, {"role": a}, {"role": b, "temporary": {"duration": "4s"}}]);
            stage.declare(&subject, roles).await;
            subject.has(&[a, b]).await;
            let role = stage.role_is(&subject.object(), b, "Active").await;
            let end = time(&role["expirationTime"]);
            assert_eq!(end, time(&role["startTime"]) + SignedDuration::from_secs(4));
            subject.ends(b, end, "beside an unknown role").await;
            stage.is_stalled(&subject.object(), "RoleNotFound").await;
            subject.has_now(&[a], "after the end");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_project_that_is_deleted_later_stalls_its_objects_and_lets_them_go() {
    in_memory(async |stage| {
        each(stage.both("later"), async |subject| {
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        stage.simulator.infisical().delete_project(worlds::INFISICAL_PROJECT);
        stage.simulator.zitadel().delete_project(worlds::ZITADEL_PROJECT);
        each(["pm/later-infisical", "pm/later-zitadel"], async |object| {
            stage.reconcile_now(object).await;
            stage.is_stalled(object, "ProjectNotFound").await;
            stage.delete(object).await;
        })
        .await;
    })
    .await;
}
