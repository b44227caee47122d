//! Names across a restart, and an operator that is killed while it invites a user.

use std::time::Duration;

use serde_json::json;
use simulator::{Fault, Order, worlds};

use crate::evidence::recorded_roles;
use crate::in_memory::in_memory;
use crate::names::named;
use crate::stage::Stage;
use crate::subject::{Subject, email_of};
use crate::support::changed;

#[tokio::test(start_paused = true)]
async fn a_restart_looks_no_name_up_again() {
    in_memory(async |stage| {
        let subject = stage.identity("restarted");
        let object = named(&subject, worlds::INFISICAL_PROJECT_SLUG, "restarted", json!([{"role": "viewer"}]));
        stage.api.apply(&[object]).await;
        subject.has(&["viewer"]).await;
        stage.ready(&subject.object()).await;
        stage.memory().kill();

        let infisical = stage.simulator.infisical();
        infisical.rename_identity(&subject.id, "renamed");
        infisical.rename_project(worlds::INFISICAL_PROJECT, "renamed-too");
        let successor = stage.identity("restarted");
        stage.memory().start();
        stage.change(&subject, json!({"roles": [{"role": "deployer"}]})).await;
        stage.ready(&subject.object()).await;
        subject.has_now(&["deployer"], "the first holder of the name");
        successor.has_now(&[], "its present holder");
    })
    .await;
}

/// A user that an operator invited to the project of an older server when it was killed: the response to its POST had
/// not arrived yet. The object that names the user exists.
async fn half_in(stage: &Stage, name: &str, role_management: &str) -> Subject {
    let infisical = stage.simulator.infisical();
    infisical.be_october_2024();
    stage.api.apply(&[changed(stage.infisical_provider(), "/spec/infisical/inviteUsers", json!(true))]).await;
    stage.provider_is_ready("infisical").await;
    let person = stage.person(name);
    person.by_hand(&[]);
    let subject = json!({"kind": "User", "name": email_of(name, &person.id)});
    let object = changed(person.declares(json!([{"role": "viewer"}])), "/spec/subject", subject);
    infisical.order(Order::next(Fault::DelayAfter(Duration::from_secs(20))).on("POST", "/api/v2/workspace/"));
    stage.api.apply(&[changed(object, "/spec/roleManagement", json!(role_management))]).await;
    person.gains("member").await;
    stage.memory().kill();
    infisical.clear_orders();
    person
}

#[tokio::test(start_paused = true)]
async fn killed_while_it_adds_a_user_it_leaves_none_with_the_servers_role() {
    in_memory(async |stage| {
        let person = half_in(&stage, "half-in", "Additive").await;
        let managed = recorded_roles(&stage.api.get(&person.object()).await);
        assert!(managed.to_string().contains("\"member\""), "recorded before: {managed:#}");

        stage.memory().start();
        person.has(&["viewer"]).await;
        stage.ready(&person.object()).await;
        assert_eq!(stage.simulator.infisical().mails().len(), 1, "no mail is sent twice");
        stage.api.ask_to_delete(&person.object()).await;
        person.has(&[]).await;
        assert_eq!(person.memberships(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn deleted_after_it_was_killed_adding_a_user_nothing_is_left() {
    in_memory(async |stage| {
        let person = half_in(&stage, "half-gone", "Exclusive").await;
        stage.api.ask_to_delete(&person.object()).await;

        stage.memory().start();
        stage.api.is_gone_a_minute_later(&person.object()).await;
        assert_eq!(person.memberships(), 0, "left with {:?}", person.holds());
    })
    .await;
}
