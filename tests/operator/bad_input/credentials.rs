//! Credentials that are wrong, missing or unreadable: the provider reports what to do, its memberships wait, the server
//! isn't overloaded, and everything continues when it is corrected.

use serde_json::{Value, json};
use simulator::worlds;

use crate::evidence::{assert_presentable, sees};
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each};
use crate::support::{assert_contains, changed};

/// A provider object of another name whose credentials are in another Secret.
fn provider_of(stage: &Stage, subject: &Subject, name: &str, secret: &str) -> Value {
    let (object, pointers) = if subject.is_at_infisical() {
        let auth = "/spec/infisical/auth/universalAuth";
        (stage.infisical_provider(), vec![format!("{auth}/clientIdSecretRef"), format!("{auth}/clientSecretSecretRef")])
    } else {
        (stage.zitadel_provider(), vec!["/spec/zitadel/auth/personalAccessTokenSecretRef".to_owned()])
    };
    let renamed = changed(object, "/metadata/name", json!(name));
    pointers.iter().fold(renamed, |object, pointer| changed(object, &format!("{pointer}/name"), json!(secret)))
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// A subject's object that names another provider object.
fn through(subject: &Subject, provider: &str, roles: Value) -> Value {
    changed(subject.declares(roles), "/spec/providerRef/name", json!(provider))
}

#[tokio::test]
async fn a_wrong_secret_is_reported_retried_and_no_login_storm() {
    const MEMBERSHIPS: usize = 15;
    with_stage(async |stage| {
        let infisical = stage.simulator.infisical();
        stage.has_condition("membershipprovider/infisical", "Ready", "True", "Verified").await;
        infisical.clear_requests();
        let wrong = |secret: &str| json!({"client-id": worlds::INFISICAL_CLIENT_ID, "client-secret": secret});
        stage.api.apply(&[secret("wrong", wrong("not-the-secret"))]).await;
        let subjects: Vec<Subject> = (0..MEMBERSHIPS).map(|n| stage.identity(&format!("member-{n}"))).collect();
        subjects.iter().for_each(|subject| subject.by_hand(&["auditor"]));
        let objects = subjects.iter().map(|subject| through(subject, "wrong", json!([{"role": "viewer"}])));
        stage.api.apply(&[provider_of(&stage, &subjects[0], "wrong", "wrong")]).await;
        stage.api.apply(&objects.collect::<Vec<_>>()).await;
        for subject in &subjects {
            let message = stage.waits(&subject.object(), "ProviderNotReady").await;
            assert_presentable(&message);
            subject.has_now(&["auditor"], "with a wrong secret");
        }
        let message = stage.has_condition("membershipprovider/wrong", "Ready", "False", "Unauthorized").await;
        assert_presentable(&message);
        assert!(!message.contains("not-the-secret"), "{message}");
        assert_contains(&message, "check the client id and secret");
        // Repeated requests get the same result, without another login.
        for n in 0..5 {
            stage.api.annotate("membershipprovider/wrong", "example.com/asked", &n.to_string()).await;
        }
        for subject in &subjects {
            stage.api.annotate(&subject.object(), "membership.dev/reconcile-at", "now").await;
        }
        let logins = infisical.logins();
        assert!(logins <= 2, "expected at most 2 logins for {MEMBERSHIPS} memberships, there were {logins}");

        stage.api.apply(&[secret("wrong", wrong(worlds::INFISICAL_CLIENT_SECRET))]).await;
        // It would be checked again within half a minute.
        stage.api.annotate("membershipprovider/wrong", "example.com/asked", "mended").await;
        for subject in &subjects {
            stage.ready_in_time(&subject.object()).await;
            subject.has_now(&["viewer"], "with the right secret");
        }
        let logins = infisical.logins();
        assert!(logins <= 3, "expected at most 3 logins in all, there were {logins}");
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test]
async fn a_missing_part_of_a_credential_is_reported_with_what_to_do_and_can_be_added() {
    with_stage(async |stage| {
        let names = ["no-secret", "no-key", "empty", "no-binding"];
        let pairs: Vec<[Subject; 2]> = names.iter().map(|name| stage.both(name)).collect();
        stage.api.apply(&[secret("no-key", json!({"other": "x"}))]).await;
        stage.api.apply(&[secret("empty", json!({"client-id": " ", "client-secret": "", "token": "\n"}))]).await;
        for (name, pair) in names.iter().zip(&pairs).take(3) {
            let providers = pair.iter().map(|subject| provider_of(&stage, subject, &subject.name, name));
            stage.api.apply(&providers.collect::<Vec<_>>()).await;
        }
        let phrases = ["there is no Secret \"no-secret\"", "has no key", "is empty"];
        for (pair, phrase) in pairs.iter().zip(phrases) {
            for subject in pair {
                let provider = format!("membershipprovider/{}", subject.name);
                let message = stage.has_condition(&provider, "Ready", "False", "Unauthorized").await;
                assert_presentable(&message);
                assert_contains(&message, phrase);
                assert_contains(&message, stage.namespace());
            }
        }
        stage.kubectl().ok(&["delete", "rolebinding", "membership-operator-secrets"]).await;
        for subject in &pairs[3] {
            let secret = if subject.is_at_infisical() { "infisical" } else { "zitadel" };
            stage.api.apply(&[provider_of(&stage, subject, &subject.name, secret)]).await;
        }
        let mut command = String::new();
        for subject in &pairs[3] {
            let provider = format!("membershipprovider/{}", subject.name);
            let message = stage.has_condition(&provider, "Ready", "False", "Unauthorized").await;
            assert_contains(&message, "may not read Secret");
            command = message.split_once("kubectl ").map(|(_, command)| command.to_owned()).unwrap_or_default();
        }
        for subject in pairs.iter().flatten() {
            subject.by_hand(&[subject.names()[3]]);
            let roles = json!([{"role": subject.names()[0]}]);
            stage.api.apply(&[through(subject, &subject.name, roles)]).await;
            let message = stage.waits(&subject.object(), "ProviderNotReady").await;
            assert_contains(&message, &subject.name);
            subject.has_now(&[subject.names()[3]], "while the credential is missing");
        }

        // The advice in the message helps.
        let command: Vec<&str> = command.split_whitespace().collect();
        assert!(command.starts_with(&["create", "rolebinding"]), "{command:?}");
        stage.kubectl().ok(&command).await;
        let right = |name: &str| {
            let id = worlds::INFISICAL_CLIENT_ID;
            secret(name, json!({"client-id": id, "client-secret": worlds::INFISICAL_CLIENT_SECRET, "token": worlds::ZITADEL_TOKEN}))
        };
        stage.api.apply(&["no-secret", "no-key", "empty"].map(right)).await;
        for subject in pairs.iter().flatten() {
            stage.ready_in_time(&subject.object()).await;
            subject.has_now(&[subject.names()[0]], "when all is there");
        }
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_refused_later_loses_no_right_and_recovers() {
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        let user = stage.user("revoked");
        let [a, b, ..] = user.names();
        stage.declare(&user, json!([{ "role": a }])).await;
        stage.ready(&user.object()).await;
        zitadel.revoke_token(worlds::ZITADEL_TOKEN);
        zitadel.clear_requests();
        stage.change(&user, json!({"roles": [{"role": b}]})).await;
        stage.waits(&user.object(), "ProviderNotReady").await;
        let message = stage.has_condition("membershipprovider/zitadel", "Ready", "False", "Unauthorized").await;
        assert_presentable(&message);
        assert_contains(&message, "put it into the Secret");
        user.has_now(&[a], "while the credential is refused");
        let asked = zitadel.requests().len();
        assert!(asked <= 8, "expected no storm of requests, there were {asked}: {:#?}", zitadel.requests());
        zitadel.add_pat(worlds::ZITADEL_TOKEN, worlds::ZITADEL_OPERATOR);
        stage.ready_in_time(&user.object()).await;
        user.has_now(&[b], "when the credential is taken again");
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_a_credential_that_is_refused_and_an_orphan_does_not() {
    in_memory(async |stage| {
        let pairs = [stage.both("deleted"), stage.both("let-go")];
        for subject in pairs.iter().flatten() {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
        }
        let [infisical, zitadel] = stage.secrets();
        let infisical = changed(infisical, "/stringData/client-secret", json!("of-nobody"));
        let zitadel = changed(zitadel, "/stringData/token", json!("of-nobody"));
        stage.api.apply(&[infisical, zitadel]).await;
        for name in ["infisical", "zitadel"] {
            stage.api.annotate(&format!("membershipprovider/{name}"), "example.com/asked", "refused").await;
            stage.has_condition(&format!("membershipprovider/{name}"), "Ready", "False", "Unauthorized").await;
        }
        let [deleted, let_go] = &pairs;
        each(deleted.iter().chain(let_go), async |subject| {
            stage.api.ask_to_delete(&subject.object()).await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            assert_presentable(&message);
            assert_contains(&message, "Unauthorized");
            let held = stage.api.get(&subject.object()).await["metadata"]["finalizers"].clone();
            assert_eq!(held, json!(["membership.dev/revoke"]), "{}", subject.name);
            subject.has_now(&[subject.names()[0]], "while the credential is refused");
        })
        .await;
        each(let_go, async |subject| {
            stage.api.merge(&subject.object(), &json!({"spec": {"deletionPolicy": "Orphan"}})).await;
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[subject.names()[0]], "of an orphan");
        })
        .await;
        stage.api.apply(&stage.secrets()).await;
        for name in ["infisical", "zitadel"] {
            stage.api.annotate(&format!("membershipprovider/{name}"), "example.com/asked", "back").await;
        }
        each(deleted, async |subject| {
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[], "when the credential is back");
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_rotated_is_read_again_with_one_login_and_loses_no_right() {
    const MEMBERSHIPS: usize = 12;
    const SECOND: &str = "the-second-secret";
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        let subjects: Vec<Subject> = (0..MEMBERSHIPS).map(|n| stage.identity(&format!("member-{n}"))).collect();
        for subject in &subjects {
            stage.declare(subject, json!([{"role": "viewer"}])).await;
        }
        for subject in &subjects {
            stage.ready(&subject.object()).await;
        }
        // The new secret exists before the old one is removed, as in a rotation without a gap.
        infisical.add_client(worlds::INFISICAL_CLIENT_ID, SECOND, worlds::INFISICAL_OPERATOR);
        infisical.clear_requests();
        let data = json!({"client-id": worlds::INFISICAL_CLIENT_ID, "client-secret": SECOND});
        stage.api.apply(&[secret("infisical", data)]).await;
        stage.api.annotate("membershipprovider/infisical", "example.com/asked", "rotated").await;
        sees("a login with the new secret", || infisical.logins() >= 1).await;
        for subject in &subjects {
            stage.change(subject, json!({"roles": [{"role": "deployer"}]})).await;
        }
        for subject in &subjects {
            stage.ready(&subject.object()).await;
            subject.has_now(&["deployer"], "with the new secret");
            subject.was_written(1, "since the secret was rotated");
        }
        assert_eq!(infisical.logins(), 1, "one login for {MEMBERSHIPS} memberships");
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
