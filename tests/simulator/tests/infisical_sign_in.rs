//! How Infisical's sign-in and tokens surprise (`docs/reference/infisical.md`, Auth and limits); named after the
//! surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Jwt, KubernetesLogin, Limits, OidcLogin, Review};
use support::{Got, OPERATOR, PROJECT, Stage};

#[tokio::test]
async fn a_refused_renewal_deletes_the_token() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.add_client("client", "secret", OPERATOR);
    let path = "/api/v1/auth/universal-auth/login";
    let login = json!({"clientId": "client", "clientSecret": "secret"});
    let token = stage.call(infisical.url(), "", Method::POST, path, login).await.body["accessToken"].clone();
    let list = format!("/api/v2/workspace/{PROJECT}/identity-memberships");
    let use_it = || stage.call(infisical.url(), token.as_str().unwrap(), Method::GET, &list, Value::Null);
    assert_eq!(use_it().await.status, 200);
    let renewal = json!({"accessToken": token});
    let renewed = stage.call(infisical.url(), "", Method::POST, "/api/v1/auth/token/renew", renewal).await;
    assert_eq!(renewed.status, 401);
    assert_eq!(use_it().await.body["message"], "No identity access token found");
    assert_eq!(infisical.logins(), 1);
}

#[tokio::test]
async fn the_end_of_a_tokens_life_is_401_and_of_its_longest_life_403() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.add_client("client", "secret", OPERATOR);
    infisical.set_token_lives("client", Duration::from_secs(60), Duration::from_secs(600));
    let path = "/api/v1/auth/universal-auth/login";
    let login = json!({"clientId": "client", "clientSecret": "secret"});
    let granted = stage.call(infisical.url(), "", Method::POST, path, login).await.body;
    assert_eq!((&granted["expiresIn"], &granted["accessTokenMaxTTL"]), (&json!(60), &json!(600)));
    let list = format!("/api/v2/workspace/{PROJECT}/identity-memberships");
    let token = granted["accessToken"].as_str().unwrap();
    let use_it = || stage.call(infisical.url(), token, Method::GET, &list, Value::Null);
    infisical.set_clock_offset(SignedDuration::from_secs(61));
    assert_eq!(use_it().await.body["message"], "Failed to renew MI access token due to TTL expiration");
    assert_eq!(use_it().await.body["message"], "No identity access token found");
    infisical.set_clock_offset(SignedDuration::from_secs(601));
    let expired = use_it().await;
    assert_eq!((expired.status, &expired.body["error"]), (403, &json!("TokenError")));
}

#[tokio::test]
async fn newer_servers_lock_out_after_three_wrong_secrets() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.add_client("client", "secret", OPERATOR);
    let log_in = async |secret: &str| {
        let login = json!({"clientId": "client", "clientSecret": secret});
        let path = "/api/v1/auth/universal-auth/login";
        stage.call(infisical.url(), "", Method::POST, path, login).await.status
    };
    for _ in 0..3 {
        assert_eq!(log_in("wrong").await, 401);
    }
    assert_eq!(log_in("secret").await, 401, "the right one is refused too");
    infisical.set_clock_offset(SignedDuration::from_secs(301));
    assert_eq!(log_in("secret").await, 200);
}

#[tokio::test]
async fn too_many_requests_are_500_in_october_2024_and_429_now() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    let third = async |limits: Limits| -> Got {
        infisical.set_limits(Some(Limits { reads: 2, ..limits }));
        stage.get().await;
        stage.get().await;
        stage.get().await
    };
    let now = third(Limits::cloud_free()).await;
    assert_eq!((now.status, &now.body["error"]), (429, &json!("RateLimitExceeded")));
    assert_eq!(stage.patch(json!({})).await.status, 422, "writes have their own allowance");
    infisical.be_october_2024();
    assert_eq!(third(Limits::october_2024()).await.status, 500);
    infisical.set_clock_offset(SignedDuration::from_secs(60));
    assert_eq!(stage.get().await.status, 404, "a minute later it is let through");
}

/// A service account's token, for an identity that may sign in with it.
async fn sign_in(stage: &Stage, method: &str, jwt: &Jwt) -> Got {
    let body = json!({"identityId": OPERATOR, "jwt": jwt.written()});
    stage.at(Method::POST, &format!("/api/v1/auth/{method}-auth/login"), body).await
}

fn deployer(stage: &Stage) -> Jwt {
    Jwt::service_account("ops", "deployer", &["infisical"], stage.simulator.infisical().now())
}

#[tokio::test]
async fn kubernetes_sign_in_grants_what_it_is_configured_for() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    assert_eq!(sign_in(&stage, "kubernetes", &deployer(&stage)).await.status, 404, "not configured");
    infisical.set_kubernetes_login(KubernetesLogin {
        identity: OPERATOR.to_owned(),
        allowed_namespaces: "dev, ops".to_owned(),
        allowed_names: "deployer".to_owned(),
        token_ttl: 7200,
        token_max_ttl: 14400,
        token_uses: 1,
        ..KubernetesLogin::default()
    });
    let granted = sign_in(&stage, "kubernetes", &deployer(&stage)).await.body;
    assert_eq!((&granted["expiresIn"], &granted["accessTokenMaxTTL"]), (&json!(7200), &json!(14400)));
    let list = format!("/api/v2/workspace/{PROJECT}/identity-memberships");
    let token = granted["accessToken"].as_str().unwrap();
    let use_it = || stage.call(infisical.url(), token, Method::GET, &list, Value::Null);
    assert_eq!(use_it().await.status, 200);
    let again = use_it().await;
    assert_eq!(again.status, 401, "one use was all");
    assert!(again.body["message"].as_str().unwrap().contains("number of uses limit"), "{again:?}");
    for (jwt, why) in [
        (Jwt::service_account("ops", "other", &["infisical"], infisical.now()), "name not allowed"),
        (Jwt::service_account("prod", "deployer", &["infisical"], infisical.now()), "namespace not allowed"),
        (Jwt::service_account("ops", "deployer", &["elsewhere"], infisical.now()), "token audiences"),
        (deployer(&stage).signed("forged"), "cryptographic"),
        (deployer(&stage).claim("exp", json!(0)), "expired"),
    ] {
        let refused = sign_in(&stage, "kubernetes", &jwt).await;
        assert_eq!(refused.status, 401);
        assert!(refused.body["message"].as_str().unwrap().contains(why), "expected {why} in {refused:?}");
    }
}

#[tokio::test]
async fn a_bad_reviewer_looks_like_a_bad_token_and_an_unreachable_cluster_is_500() {
    let stage = Stage::new().await;
    for (review, status) in [(Review::Unauthorized, 401), (Review::Forbidden, 401), (Review::Unreachable, 500)] {
        let login = KubernetesLogin { identity: OPERATOR.to_owned(), review, ..KubernetesLogin::default() };
        stage.simulator.infisical().set_kubernetes_login(login);
        assert_eq!(sign_in(&stage, "kubernetes", &deployer(&stage)).await.status, status, "{review:?}");
    }
}

#[tokio::test]
async fn a_bound_audience_fails_for_every_cluster_token_in_october_2024() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_oidc_login(OidcLogin {
        identity: OPERATOR.to_owned(),
        bound_audiences: "infisical".to_owned(),
        bound_subject: "system:serviceaccount:ops:*".to_owned(),
        ..OidcLogin::default()
    });
    assert_eq!(sign_in(&stage, "oidc", &deployer(&stage)).await.status, 200, "the current source compares lists");
    infisical.be_october_2024();
    assert_eq!(sign_in(&stage, "oidc", &deployer(&stage)).await.status, 500);
    assert_eq!(sign_in(&stage, "oidc", &deployer(&stage).claim("aud", json!("infisical"))).await.status, 200);
    let stranger = Jwt::service_account("dev", "deployer", &["infisical"], infisical.now());
    let refused = sign_in(&stage, "oidc", &stranger).await;
    assert_eq!((refused.status, &refused.body["error"]), (403, &json!("ForbiddenError")), "subjects are 403");
}

#[tokio::test]
async fn the_tokens_of_a_removed_login_are_answered_500() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_kubernetes_login(KubernetesLogin { identity: OPERATOR.to_owned(), ..KubernetesLogin::default() });
    let granted = sign_in(&stage, "kubernetes", &deployer(&stage)).await.body;
    infisical.remove_cluster_login(OPERATOR);
    let list = format!("/api/v2/workspace/{PROJECT}/identity-memberships");
    let token = granted["accessToken"].as_str().unwrap();
    assert_eq!(stage.call(infisical.url(), token, Method::GET, &list, Value::Null).await.status, 500);
    assert_eq!(sign_in(&stage, "kubernetes", &deployer(&stage)).await.status, 404);
}
