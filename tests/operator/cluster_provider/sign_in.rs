//! Signing in with the operator's own token: found by its audience, read again when it was replaced.

use jiff::Timestamp;
use serde_json::{Value, json};
use simulator::worlds::{self, infisical::ClusterWorld};
use simulator::{Jwt, KubernetesLogin, OidcLogin};

use crate::operator::{ACCOUNT, NAMESPACE};
use crate::stage::{Stage, shared, token_directory, with_stage};
use crate::support::assert_contains;

/// A ClusterMembershipProvider that signs in by `auth` as the operator's identity with a token of this audience.
fn provider(stage: &Stage, auth: &str, audience: &str) -> Value {
    let mut provider = stage.central(&auth.to_lowercase(), json!([stage.rule(&["*"], json!({}))]));
    let own = json!({"identityId": worlds::INFISICAL_OPERATOR, "audience": audience});
    provider["spec"]["infisical"]["auth"] = json!({ auth: own });
    provider
}

async fn put(stage: &Stage, file: &str, token: &str) {
    let folder = token_directory(&shared().await.0);
    std::fs::write(folder.join(format!("{file}-{}", stage.namespace())), token).unwrap();
}

/// The number of sign-ins of this kind.
fn sign_ins(stage: &Stage, auth: &str) -> usize {
    let path = format!("/api/v1/auth/{auth}/login");
    stage.simulator.infisical().requests().iter().filter(|request| request.path == path).count()
}

#[tokio::test]
async fn the_operators_own_token_signs_in_and_is_read_again_when_it_was_replaced() {
    with_stage(async |stage| {
        let infisical = stage.simulator.infisical();
        // A token that was replaced is no longer valid.
        let good = |not: &str| ClusterWorld {
            audiences: vec![stage.namespace().to_owned(), format!("oidc-{}", stage.namespace())],
            bad_signatures: vec![not.to_owned()],
            ..ClusterWorld::default()
        };
        infisical.set_kubernetes_login(KubernetesLogin {
            identity: worlds::INFISICAL_OPERATOR.to_owned(),
            allowed_namespaces: NAMESPACE.to_owned(),
            allowed_names: ACCOUNT.to_owned(),
            allowed_audience: stage.namespace().to_owned(),
            ..KubernetesLogin::default()
        });
        infisical.set_oidc_login(OidcLogin {
            identity: worlds::INFISICAL_OPERATOR.to_owned(),
            bound_subject: format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
            ..OidcLogin::default()
        });
        for (auth, route, audience) in [
            ("kubernetesAuth", "kubernetes-auth", stage.namespace().to_owned()),
            ("oidcAuth", "oidc-auth", format!("oidc-{}", stage.namespace())),
        ] {
            let name = auth.to_lowercase();
            let object = format!("clustermembershipprovider/{}", stage.central_name(&name));
            stage.api.apply(&[provider(&stage, auth, &audience)]).await;
            let message = stage.has_condition(&object, "Ready", "False", "Unreachable").await;
            assert_contains(&message, &format!("there is no token with the audience {audience:?}"));
            infisical.set_cluster(good("second"));
            let token = |word: &str| {
                Jwt::service_account(NAMESPACE, ACCOUNT, &[&audience], Timestamp::now()).signed(word).written()
            };
            put(&stage, auth, &token("first")).await;
            stage.has_condition(&object, "Ready", "True", "Verified").await;
            let subject = stage.identity(&name);
            stage.api.apply(&[stage.by(&name, subject.declares(json!([{"role": "viewer"}])))]).await;
            subject.has(&["viewer"]).await;
            put(&stage, auth, &token("second")).await;
            infisical.set_cluster(good("first"));
            // The session ends: the next sign-in uses the present token.
            infisical.revoke_token(worlds::INFISICAL_OPERATOR);
            stage.api.merge(&subject.object(), &json!({"spec": {"roles": [{"role": "deployer"}]}})).await;
            subject.has(&["deployer"]).await;
            assert_eq!(sign_ins(&stage, route), 2, "{auth}");
            let message = stage.api.get(&object).await.to_string();
            assert!(!message.contains(&token("second")), "{message}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_of_the_real_api_server_signs_in() {
    with_stage(async |stage| {
        let audience = format!("real-{}", stage.namespace());
        let kubectl = shared().await.0.kubectl();
        let arguments = ["--namespace", NAMESPACE, "create", "token", ACCOUNT, "--audience", &audience];
        let token = kubectl.ok(&arguments).await.unwrap().trim().to_owned();
        let payload = token.split('.').map(|part| {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part);
            serde_json::from_slice::<Value>(&bytes.unwrap_or_default()).unwrap_or_default()
        });
        let [head, claims, _] = payload.collect::<Vec<_>>().try_into().unwrap();
        let infisical = stage.simulator.infisical();
        infisical.set_cluster(ClusterWorld {
            keys: vec![head["kid"].as_str().unwrap().to_owned()],
            audiences: vec![audience.clone()],
            ..ClusterWorld::default()
        });
        infisical.set_oidc_login(OidcLogin {
            identity: worlds::INFISICAL_OPERATOR.to_owned(),
            bound_issuer: claims["iss"].as_str().unwrap().to_owned(),
            bound_subject: format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
            ..OidcLogin::default()
        });
        put(&stage, "real", &token).await;
        stage.api.apply(&[provider(&stage, "oidcAuth", &audience)]).await;
        stage.ready(&format!("clustermembershipprovider/{}", stage.central_name("oidcauth"))).await;
        assert_eq!(sign_ins(&stage, "oidc-auth"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_provider_of_a_namespace_has_neither_the_operators_token_nor_another_namespaces_secret() {
    with_stage(async |stage| {
        let own = json!({"identityId": worlds::INFISICAL_OPERATOR, "audience": "infisical"});
        for auth in ["kubernetesAuth", "oidcAuth"] {
            let mut provider = stage.infisical_provider();
            provider["spec"]["infisical"]["auth"] = json!({ auth: own });
            let refused = stage.kubectl().try_apply(&[provider]).await;
            assert!(!refused.status.success(), "{auth} was taken");
            assert_contains(&refused.stderr, auth);
        }
        let mut provider = stage.infisical_provider();
        provider["spec"]["infisical"]["auth"]["universalAuth"]["clientIdSecretRef"]["namespace"] = json!(NAMESPACE);
        let refused = stage.kubectl().try_apply(&[provider]).await;
        assert!(!refused.status.success(), "a namespace was taken");
        assert_contains(&refused.stderr, "namespace");
    })
    .await;
}
