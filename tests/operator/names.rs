//! Names are looked up once and kept: a rename moves no access, and a recycled name inherits none.

use serde_json::{Value, json};
use simulator::{RoleRow, worlds};

use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, email_of, with};
use crate::support::changed;

/// An object that names its project and its subject.
pub fn named(subject: &Subject, project: &str, name: &str, roles: Value) -> Value {
    let kind = subject.declares(json!([]))["spec"]["subject"]["kind"].clone();
    let object = changed(subject.declares(roles), "/spec/project", json!({ "name": project }));
    changed(object, "/spec/subject", json!({"kind": kind, "name": name}))
}

/// One subject of each kind with the names of its project and itself. (Members of grants are named as users are.)
fn every(stage: &Stage, name: &str) -> Vec<(Subject, &'static str, String)> {
    let (identity, person, group) = (stage.identity(name), stage.person(name), stage.group(name));
    let user = stage.user(name);
    let email = email_of(name, &person.id);
    let login = format!("{name}-{}", user.id);
    vec![
        (identity, worlds::INFISICAL_PROJECT_SLUG, name.to_owned()),
        (person, worlds::INFISICAL_PROJECT_SLUG, email),
        (group, worlds::INFISICAL_PROJECT_SLUG, format!("{name}-group")),
        (user, "shop", login),
    ]
}

/// Renames the holder of this name, and gives the name to a new subject.
fn recycle(stage: &Stage, subject: &Subject, name: &str) -> Subject {
    let (infisical, zitadel) = (stage.simulator.infisical(), stage.simulator.zitadel());
    let mut successor = match subject.name.rsplit('-').next() {
        Some("infisical") => {
            infisical.rename_identity(&subject.id, &format!("{name}-old"));
            stage.identity(name)
        }
        Some("person") => {
            infisical.rename_user(&subject.id, &format!("old-{name}"));
            let successor = stage.person("successor");
            infisical.rename_user(&successor.id, name);
            successor
        }
        Some("group") => {
            infisical.rename_group(&subject.id, &format!("{name}-old"));
            let successor = stage.group("successor");
            infisical.rename_group(&successor.id, name);
            successor
        }
        _ => {
            zitadel.rename_user(&subject.id, &format!("{name}-old"));
            let successor = stage.user("successor");
            zitadel.rename_user(&successor.id, name);
            successor
        }
    };
    successor.name.clone_from(&subject.name);
    successor
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_kept() {
    with_stage(async |stage| {
        each(every(&stage, "kept"), async |(subject, project, name)| {
            let [a, b, ..] = subject.names();
            stage.api.apply(&[named(&subject, project, &name, json!([{"role": a}]))]).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            let target = stage.api.get(&subject.object()).await["status"]["target"].clone();
            assert_eq!(target["subjectId"], subject.id.as_str(), "{}", subject.name);

            let successor = recycle(&stage, &subject, &name);
            stage.change(&subject, json!({"roles": [{"role": a}, {"role": b}]})).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, b], "the first holder of the name");
            successor.has_now(&[], "its present holder");
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "after the deletion");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_project_that_is_renamed_moves_no_rights() {
    in_memory(async |stage| {
        let cases = [(stage.identity("moved"), worlds::INFISICAL_PROJECT_SLUG), (stage.user("moved"), "shop")];
        each(&cases, async |(subject, project)| {
            let [a, ..] = subject.names();
            let object = changed(subject.declares(json!([{"role": a}])), "/spec/project", json!({"name": project}));
            stage.api.apply(&[object]).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        stage.simulator.infisical().rename_project(worlds::INFISICAL_PROJECT, "web-of-old");
        stage.simulator.infisical().rename_project(worlds::INFISICAL_OTHER_PROJECT, worlds::INFISICAL_PROJECT_SLUG);
        stage.simulator.zitadel().rename_project(worlds::ZITADEL_PROJECT, "shop of old");
        stage.simulator.zitadel().add_project("400623434683300000", worlds::ZITADEL_PROJECT_ORG, "shop");
        each(&cases, async |(subject, _)| {
            let [_, b, ..] = subject.names();
            stage.change(subject, json!({"roles": [{"role": b}]})).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[b], "in the project that had the name first");
        })
        .await;
        let infisical = stage.simulator.infisical();
        assert_eq!(infisical.memberships_of(worlds::INFISICAL_OTHER_PROJECT, &cases[0].0.id), 0);
        assert_eq!(stage.simulator.zitadel().memberships_of("400623434683300000", &cases[1].0.id), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_of_none_or_of_several_is_stalled_and_says_how_many() {
    in_memory(async |stage| {
        let twins = [stage.identity("twin"), stage.identity("twin")];
        each(every(&stage, "missing"), async |(subject, project, name)| {
            let [a, ..] = subject.names();
            let object = named(&subject, project, &format!("no-{name}"), json!([{"role": a}]));
            stage.api.apply(&[object]).await;
            let message = stage.is_stalled(&subject.object(), "SubjectNotFound").await;
            assert!(message.contains(&format!("\"no-{name}\"")) && message.contains("subject.id"), "{message}");
            subject.has_now(&[], "the name identified no subject");
        })
        .await;
        let object = named(&twins[0], worlds::INFISICAL_PROJECT_SLUG, "twin", json!([{"role": "viewer"}]));
        stage.api.apply(&[object]).await;
        let message = stage.is_stalled(&twins[0].object(), "SubjectNotFound").await;
        assert!(message.starts_with("2 subjects of kind Identity are named \"twin\""), "{message}");
        let lost = stage.identity("lost");
        let object = named(&lost, "no-such-project", "lost", json!([{"role": "viewer"}]));
        stage.api.apply(&[object]).await;
        let message = stage.is_stalled(&lost.object(), "ProjectNotFound").await;
        assert!(message.contains("\"no-such-project\"") && message.contains("project.id"), "{message}");
        // Nothing of it was ever granted: it is deleted immediately.
        stage.delete(&lost.object()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_resolved_subject_that_is_gone_is_not_looked_up_again() {
    in_memory(async |stage| {
        let subject = stage.identity("gone");
        let declared = named(&subject, worlds::INFISICAL_PROJECT_SLUG, "gone", json!([{"role": "viewer"}]));
        stage.api.apply(&[declared]).await;
        subject.has(&["viewer"]).await;
        stage.ready(&subject.object()).await;
        stage.simulator.infisical().delete_identity(&subject.id);
        let successor = stage.identity("gone");
        stage.reconcile_now(&subject.object()).await;
        let message = stage.is_stalled(&subject.object(), "SubjectNotFound").await;
        assert!(message.contains(&subject.id), "{message}");
        successor.has_now(&[], "the present holder of the name");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_by_name_and_one_by_id_share_their_target() {
    in_memory(async |stage| {
        let subject = stage.identity("shared");
        let by_name = named(&subject, worlds::INFISICAL_PROJECT_SLUG, "shared", json!([{"role": "viewer"}]));
        stage.api.apply(&[by_name]).await;
        subject.has(&["viewer"]).await;
        let by_id = subject.layer("shared-by-id", json!([{"role": "deployer"}]));
        stage.api.apply(&[by_id]).await;
        subject.has(&["deployer", "viewer"]).await;
        stage.ready("pm/shared-by-id").await;
        stage.ready(&subject.object()).await;
        stage.delete(&subject.object()).await;
        subject.has(&["deployer"]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_looked_up_elsewhere_is_never_called() {
    in_memory(async |stage| {
        let subject = stage.identity("elsewhere");
        let other_subject = stage.identity("other");
        other_subject.rows_by_hand(vec![RoleRow::permanent("admin")]);
        let declared = named(&subject, worlds::INFISICAL_PROJECT_SLUG, "elsewhere", json!([{"role": "viewer"}]));
        stage.api.apply(&[with(declared, json!({"suspend": true}))]).await;
        stage.reason_is(&subject.object(), "Suspended").await;
        let forged = json!({
            "provider": "MembershipProvider/other/infisical", "endpoint": "https://infisical.example.com",
            "projectId": worlds::INFISICAL_PROJECT, "subjectKind": "Identity", "subjectId": other_subject.id,
        });
        stage.api.merge_status(&subject.object(), &json!({"status": {"target": forged}})).await;
        stage.change(&subject, json!({"suspend": false})).await;
        let message = stage.is_stalled(&subject.object(), "InvalidSpec").await;
        assert!(message.contains("https://infisical.example.com"), "{message}");
        other_subject.has_now(&["admin"], "whom the forged status names");
    })
    .await;
}

/// Restored from a backup, with the finalizer and without the status: its subject has been renamed since.
#[tokio::test(start_paused = true)]
async fn a_restored_object_whose_name_finds_none_stays_when_it_is_deleted() {
    in_memory(async |stage| {
        let subject = stage.identity("restored");
        subject.by_hand(&["viewer"]);
        stage.simulator.infisical().rename_identity(&subject.id, "renamed");
        let object = named(&subject, worlds::INFISICAL_PROJECT_SLUG, "restored", json!([{"role": "viewer"}]));
        let restored = changed(object, "/metadata/finalizers", json!(["membership.dev/revoke"]));
        stage.api.apply(&[restored]).await;
        stage.reason_is(&subject.object(), "SubjectNotFound").await;
        stage.api.ask_to_delete(&subject.object()).await;
        let reported = stage.reason_is(&subject.object(), "RevokeFailed").await;
        assert!(reported["message"].to_string().contains("restored"), "{reported}");
        stage.api.annotate(&subject.object(), "membership.dev/abandon", "true").await;
        stage.api.is_gone(&subject.object()).await;
    })
    .await;
}
