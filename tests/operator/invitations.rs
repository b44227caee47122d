//! Users of Infisical: no user is invited and no mail sent unless the provider object allows it, and what an older
//! server gives a new member is never left.

use serde_json::{Value, json};
use simulator::{Answer, Fault, Order, worlds};

use crate::evidence::recorded_roles;
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, email_of, in_seconds, until};
use crate::support::changed;

/// A user of the organization who isn't in the project, and an object that names them.
pub fn outsider(stage: &Stage, name: &str, roles: Value) -> (Subject, Value) {
    let person = stage.person(name);
    person.by_hand(&[]);
    let subject = json!({"kind": "User", "name": email_of(name, &person.id)});
    let object = changed(person.declares(roles), "/spec/subject", subject);
    (person, object)
}

pub async fn lets_invite(stage: &Stage) {
    let provider = changed(stage.infisical_provider(), "/spec/infisical/inviteUsers", json!(true));
    stage.api.apply(&[provider]).await;
    stage.provider_is_ready("infisical").await;
}

#[tokio::test]
async fn no_user_is_invited_unless_the_provider_allows_it() {
    with_stage(async |stage| {
        let (person, object) = outsider(&stage, "outside", json!([{"role": "viewer"}]));
        let accounts = stage.simulator.infisical().accounts().len();
        stage.api.apply(&[object]).await;
        let message = stage.is_stalled(&person.object(), "SubjectNotFound").await;
        assert!(message.contains("subject"), "{message}");
        // By id no user can be invited either.
        let mut by_id = person.clone();
        by_id.name = "by-id".to_owned();
        stage.declare(&by_id, json!([{"role": "viewer"}])).await;
        let message = stage.is_stalled("pm/by-id", "Rejected").await;
        assert!(message.contains("inviteUsers"), "{message}");
        assert_eq!(stage.simulator.infisical().mails().len(), 0);
        assert_eq!(stage.simulator.infisical().accounts().len(), accounts);
        person.has_now(&[], "an outsider");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_user_is_brought_in_and_holds_what_is_declared() {
    for old in [false, true] {
        in_memory(async |stage| {
            if old {
                stage.simulator.infisical().be_october_2024();
            }
            lets_invite(&stage).await;
            let (person, object) = outsider(&stage, "invited", json!([{"role": "viewer"}]));
            stage.api.apply(&[object]).await;
            person.has(&["viewer"]).await;
            stage.ready(&person.object()).await;
            assert_eq!(stage.simulator.infisical().mails().len(), 1, "one mail");
            stage.delete(&person.object()).await;
            assert_eq!(person.memberships(), 0);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_roles_come_later_is_brought_in_when_the_first_one_starts() {
    in_memory(async |stage| {
        lets_invite(&stage).await;
        let start = in_seconds(8);
        let window = json!({"startTime": start, "duration": "1h"});
        let (person, object) = outsider(&stage, "later", json!([{"role": "viewer", "temporary": window}]));
        stage.api.apply(&[object]).await;
        stage.role_is(&person.object(), "viewer", "Scheduled").await;
        assert_eq!(stage.simulator.infisical().mails().len(), 0, "before the start");
        assert!(person.gains("viewer").await >= start);
        stage.delete(&person.object()).await;
        assert_eq!(person.memberships(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_role_that_an_older_server_gives_a_new_member_never_stays() {
    in_memory(async |stage| {
        stage.simulator.infisical().be_october_2024();
        lets_invite(&stage).await;
        // The request that removes it fails repeatedly.
        let failing = Fault::Status(Answer::new(500, json!({"statusCode": 500, "error": "Update"})));
        let patches = Order::next_n(4, failing).on("PATCH", "/memberships/");
        stage.simulator.infisical().order(patches);
        let (person, object) = outsider(&stage, "leftover", json!([{"role": "viewer"}]));
        let additive = changed(object, "/spec/roleManagement", json!("Additive"));
        stage.api.apply(&[additive]).await;
        person.gains("member").await;
        let managed = recorded_roles(&stage.api.get(&person.object()).await);
        assert!(managed.to_string().contains("member"), "what the server gives is recorded before: {managed}");
        person.has(&["viewer"]).await;
        stage.ready(&person.object()).await;
        stage.api.ask_to_delete(&person.object()).await;
        person.has(&[]).await;
        assert_eq!(person.memberships(), 0, "{}", worlds::INFISICAL_PROJECT);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invitation_that_is_refused_again_is_no_news() {
    in_memory(async |stage| {
        lets_invite(&stage).await;
        let (person, object) = outsider(&stage, "refused", json!([{"role": "viewer"}]));
        // No user is invited by such a name.
        let object = changed(object, "/spec/subject/name", json!("no-address"));
        stage.api.apply(&[object]).await;
        stage.is_stalled(&person.object(), "Rejected").await;
        let reported = stage.api.get(&person.object()).await["status"]["conditions"].clone();
        until(in_seconds(1)).await;
        stage.reconcile_now(&person.object()).await;
        stage.is_stalled(&person.object(), "Rejected").await;
        assert_eq!(stage.api.get(&person.object()).await["status"]["conditions"], reported);
        stage.delete(&person.object()).await;
    })
    .await;
}
