//! How Infisical's sign-in and tokens surprise (`reference/infisical.md`, Auth and limits); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::Limits;
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
