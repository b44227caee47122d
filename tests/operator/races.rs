//! What happens while a pass waits for the provider: another object under its name, a second object that invites the
//! same user, an end before the turn has come.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Order, worlds};

use crate::evidence::recorded_roles;
use crate::evidence::{Call, sees};
use crate::in_memory::in_memory;
use crate::invitations::{lets_invite, outsider};
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, changed, eventually};

/// How long a request is held up, so that a test can change something meanwhile.
const HELD_UP: Duration = Duration::from_secs(4);

/// Waits until the next request of this kind has come in.
async fn is_asked(stage: &Stage, method: &str, path: &str, before: usize) {
    eventually(SOON, &format!("a {method} of {path}"), async || {
        let asked = stage.simulator.infisical().count(method, path);
        if asked > before { Ok(()) } else { Err(format!("{asked}")) }
    })
    .await;
}

/// The object of `subject` under the name of another's, by id or by name.
fn under(name: &str, subject: &Subject, by_name: bool) -> Value {
    let object = subject.layer(name, json!([{"role": "admin"}]));
    let called = subject.name.trim_end_matches("-infisical");
    if by_name { changed(object, "/spec/subject", json!({"kind": "Identity", "name": called})) } else { object }
}

#[tokio::test(start_paused = true)]
async fn an_object_created_again_during_a_waiting_pass_gives_its_roles_to_its_own_subject() {
    for by_name in [false, true] {
        in_memory(async |stage| {
            let (old, new) = (stage.identity("old"), stage.identity("new"));
            stage.provider_is_ready("infisical").await;
            let infisical = stage.simulator.infisical();
            let list = format!("*/{}/identity-memberships", worlds::INFISICAL_PROJECT);
            let before = infisical.count("GET", &list);
            infisical.order(Order::next(Fault::DelayAfter(HELD_UP)).on("GET", "/identity-memberships"));
            stage.declare(&old, json!([{"role": "viewer"}])).await;
            is_asked(&stage, "GET", &list, before).await;
            stage.delete(&old.object()).await;
            stage.api.apply(&[under(&old.name, &new, by_name)]).await;
            new.has(&["admin"]).await;
            stage.ready(&old.object()).await;
            let target = stage.api.get(&old.object()).await["status"]["target"]["subjectId"].clone();
            assert_eq!(target, new.id.as_str(), "by name: {by_name}");
            assert_eq!(old.writes(), [], "nothing is declared for the old subject, by name: {by_name}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_objects_that_name_the_same_new_user_send_one_invitation() {
    in_memory(async |stage| {
        lets_invite(&stage).await;
        let (person, object) = outsider(&stage, "newcomer", json!([{"role": "viewer"}]));
        let other = changed(object.clone(), "/metadata/name", json!("other"));
        let other = changed(other, "/spec/roles", json!([{"role": "deployer"}]));
        // Both read before either has written, and two concurrent invitations create two memberships.
        let infisical = stage.simulator.infisical();
        infisical.order(Order::always(Fault::Delay(Duration::from_millis(500))).on("GET", "/memberships"));
        infisical.order(Order::always(Fault::Window(Duration::from_millis(500))).on("POST", "/memberships"));
        stage.api.apply(&[object, other]).await;
        person.has(&["deployer", "viewer"]).await;
        assert_eq!(stage.simulator.infisical().mails().len(), 1, "{:#?}", stage.simulator.infisical().mails());
        assert_eq!(person.memberships(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_user_is_invited_for_an_object_that_is_deleted_while_the_invitation_waits() {
    in_memory(async |stage| {
        let provider = changed(stage.infisical_provider(), "/spec/infisical/inviteUsers", json!(true));
        let provider = changed(provider, "/spec/limits", json!({"maxInFlight": 1}));
        stage.api.apply(&[provider]).await;
        stage.provider_is_ready("infisical").await;
        // While the user is looked up, another object requests the only slot, and occupies it for some time.
        let busy = stage.identity("busy");
        let infisical = stage.simulator.infisical();
        infisical.order(Order::next(Fault::Delay(Duration::from_secs(1))).on("GET", "/memberships"));
        infisical.order(Order::next(Fault::Delay(HELD_UP)).on("GET", "/identity-memberships"));
        let (person, object) = outsider(&stage, "regretted", json!([{"role": "viewer"}]));
        let before = infisical.count("GET", "*/memberships");
        stage.api.apply(&[object]).await;
        is_asked(&stage, "GET", "*/memberships", before).await;
        stage.declare(&busy, json!([{"role": "viewer"}])).await;
        eventually(SOON, "the invitation is recorded", async || {
            let there = stage.api.get(&person.object()).await;
            if recorded_roles(&there).is_array() { Ok(()) } else { Err(format!("{there:#}")) }
        })
        .await;
        stage.delete(&person.object()).await;
        assert_eq!(infisical.mails().len(), 0, "{:#?}", infisical.mails());
        assert_eq!(person.memberships(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_created_again_while_the_old_one_is_revoked_keeps_its_access() {
    in_memory(async |stage| {
        each(stage.both("again"), async |subject| {
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&subject.object()).await;
            // The removal is in progress, and not carried out before the new object exists.
            let (method, path) = subject.call(Call::Remove);
            stage.at(&subject).order(Order::next(Fault::Delay(HELD_UP)).on(method, &path));
            stage.api.ask_to_delete(&subject.object()).await;
            sees("the removal is under way", || stage.at(&subject).count(method, &path) == 1).await;
            let old = stage.api.get(&subject.object()).await["metadata"]["uid"].clone();
            stage.api.merge(&subject.object(), &json!({"metadata": {"finalizers": null}})).await;
            stage.api.is_gone(&subject.object()).await;
            stage.declare(&subject, json!([{ "role": a }])).await;
            sees("the removal is carried out", || !subject.holds().contains(a)).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "when the new object is Ready");
            let object = stage.api.get(&subject.object()).await;
            assert_ne!(object["metadata"]["uid"], old);
            stage.reconcile_now(&subject.object()).await;
            subject.has_now(&[a], "in the end");
            let removals = subject.writes().into_iter().filter(|write| write.method == "DELETE").count();
            assert_eq!(removals, 1, "{}: {:#?}", subject.name, subject.writes());
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "when the new object is gone");
        })
        .await;
    })
    .await;
}
