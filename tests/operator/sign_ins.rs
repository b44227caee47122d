//! The operator signs in to ZITADEL in every way that a provider object can configure.

use serde_json::{Value, json};
use simulator::{SubOrganization, worlds};

use crate::evidence::assert_presentable;
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::Subject;
use crate::support::{assert_contains, changed};

const KEY_REMOVED: &str = "is still there and the user active";

fn key_secret(content: &str) -> Value {
    secret("key", json!({"key.json": content}))
}

/// With the line break that `echo` and editors leave.
fn client_secret(secret_word: &str) -> Value {
    let id = worlds::ZITADEL_CLIENT_ID;
    secret("client", json!({"client-id": format!("{id}\n"), "client-secret": format!("{secret_word}\n")}))
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// A provider object of ZITADEL that signs in with the Secret of its name.
fn provider(stage: &Stage, name: &str) -> Value {
    let auth = match name {
        "key" => json!({"privateKeyJwtSecretRef": {"name": "key", "key": "key.json"}}),
        _ => json!({"clientCredentials": {
            "clientIdSecretRef": {"name": "client", "key": "client-id"},
            "clientSecretSecretRef": {"name": "client", "key": "client-secret"},
        }}),
    };
    let object = changed(stage.zitadel_provider(), "/metadata/name", json!(name));
    changed(object, "/spec/zitadel/auth", auth)
}

fn through(subject: &Subject, provider: &str, role: &str) -> Value {
    changed(subject.declares(json!([{"role": role}])), "/spec/providerRef/name", json!(provider))
}

#[tokio::test]
async fn a_provider_object_signs_in_to_the_sub_organization_that_it_names() {
    with_stage(async |stage| {
        let mut world = worlds::demo();
        world.infisical.projects[0].org = Some("platform".to_owned());
        stage.simulator.load(&world);
        let identity = stage.identity("sub");
        stage.simulator.infisical().add_sub_organization(SubOrganization {
            id: "platform".to_owned(),
            slug: "platform-team".to_owned(),
            identities: [worlds::INFISICAL_OPERATOR.to_owned(), identity.id.clone()].into(),
        });
        let object = changed(stage.infisical_provider(), "/metadata/name", json!("sub"));
        let object = changed(object, "/spec/infisical/organizationSlug", json!("platform-team"));
        stage.api.apply(&[object]).await;
        stage.api.apply(&[through(&identity, "sub", "viewer")]).await;
        stage.ready(&identity.object()).await;
        identity.has_now(&["viewer"], "in a project of the sub-organization");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_and_client_credentials_become_ready_and_grant() {
    in_memory(async |stage| {
        stage.api.apply(&[key_secret(&worlds::zitadel_key_file()), client_secret(worlds::ZITADEL_CLIENT_SECRET)]).await;
        for name in ["key", "client"] {
            stage.api.apply(&[provider(&stage, name)]).await;
            let user = stage.user(name);
            let [role, ..] = user.names();
            stage.api.apply(&[through(&user, name, role)]).await;
            stage.provider_is_ready(name).await;
            stage.ready(&user.object()).await;
            user.has_now(&[role], name);
            stage.delete(&user.object()).await;
            user.has_now(&[], name);
        }
        let sign_ins = stage.simulator.zitadel().count("POST", "/oauth/v2/token");
        assert!(
            (2..=4).contains(&sign_ins),
            "expected a sign-in or two for each provider object, there were {sign_ins}"
        );
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_removed_at_the_server_is_reported_with_what_to_do_and_a_new_secret_helps() {
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        stage.api.apply(&[key_secret(&worlds::zitadel_key_file()), client_secret(worlds::ZITADEL_CLIENT_SECRET)]).await;
        for (name, phrase) in [("key", KEY_REMOVED), ("client", "a new one replaces the old")] {
            stage.api.apply(&[provider(&stage, name)]).await;
            let user = stage.user(name);
            let [a, b, ..] = user.names();
            stage.api.apply(&[through(&user, name, a)]).await;
            stage.ready(&user.object()).await;

            if name == "key" {
                zitadel.remove_key(worlds::ZITADEL_KEY_ID);
            } else {
                zitadel.remove_client_secret(worlds::ZITADEL_OPERATOR);
            }
            zitadel.revoke_token(worlds::ZITADEL_OPERATOR);
            stage.change(&user, json!({"roles": [{"role": b}]})).await;
            stage.waits(&user.object(), "ProviderNotReady").await;
            let message =
                stage.has_condition(&format!("membershipprovider/{name}"), "Ready", "False", "Unauthorized").await;
            assert_presentable(&message);
            assert_contains(&message, phrase);
            user.has_now(&[a], "while the credential is refused");

            // A new key has another id.
            let fresh = if name == "key" {
                let id = "400624056296016935";
                assert!(zitadel.add_key(id, worlds::ZITADEL_OPERATOR, worlds::ZITADEL_PUBLIC_KEY, None));
                key_secret(&worlds::zitadel_key_file().replace(worlds::ZITADEL_KEY_ID, id))
            } else {
                zitadel.set_client_secret(worlds::ZITADEL_OPERATOR, "another-secret");
                client_secret("another-secret")
            };
            stage.api.apply(&[fresh]).await;
            // It would be checked again within half a minute.
            stage.api.annotate(&format!("membershipprovider/{name}"), "example.com/asked", "mended").await;
            stage.ready(&user.object()).await;
            user.has_now(&[b], "with a new credential");
        }
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
