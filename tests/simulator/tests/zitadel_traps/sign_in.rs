//! Signing in (`docs/reference/zitadel.md`, Auth), with the credentials of the demo.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use simulator::{Simulator, Zitadel, worlds};

use super::id;
use super::support::{Got, Stage};

const AUDIENCE: &str = "urn:zitadel:iam:org:project:id:zitadel:aud";

async fn stage() -> Stage {
    let stage = Stage { simulator: Simulator::start().await.unwrap(), ..Stage::new().await };
    stage.simulator.load(&worlds::demo());
    stage
}

/// An assertion by the demo's key file, with these claims in place of the right ones.
fn assertion(zitadel: &Zitadel, claims: Value) -> String {
    let file: Value = serde_json::from_str(&worlds::zitadel_key_file()).unwrap();
    let now = zitadel.now().as_second();
    let mut all = json!({
        "iss": file["userId"], "sub": file["userId"], "aud": zitadel.url(), "iat": now, "exp": now + 600,
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let header = json!({"alg": "RS256", "kid": file["keyId"]});
    let signed = [header, all].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let pem = file["key"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "PKCS#1");
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn token(stage: &Stage, form: &[(&str, &str)]) -> Got {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let url = format!("{}/oauth/v2/token", stage.simulator.zitadel().url());
    let request = stage.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let response = request.send().await.unwrap();
    Got { status: response.status().as_u16(), body: response.json().await.unwrap() }
}

async fn by_key(stage: &Stage, claims: Value, scope: &str) -> Got {
    let assertion = assertion(stage.simulator.zitadel(), claims);
    let grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    token(stage, &[("grant_type", grant_type), ("assertion", &assertion), ("scope", scope)]).await
}

async fn by_secret(stage: &Stage, secret: &str) -> Got {
    let client = ("client_id", worlds::ZITADEL_CLIENT_ID);
    let grant_type = ("grant_type", "client_credentials");
    token(stage, &[grant_type, ("scope", AUDIENCE), client, ("client_secret", secret)]).await
}

/// What the API says to whoever signed in.
async fn used(stage: &Stage, signed_in: &Got) -> String {
    let token = signed_in.body["access_token"].as_str().unwrap();
    let url = stage.simulator.zitadel().url();
    let got = stage.call(url, token, Method::GET, "/management/v1/orgs/me", Value::Null).await;
    format!("{} {}", got.status, id(&got)).trim().to_owned()
}

#[tokio::test]
async fn a_token_without_the_audience_scope_is_given_and_refused() {
    let stage = stage().await;
    let without = by_key(&stage, json!({}), "openid").await;
    assert_eq!(without.status, 200);
    assert_eq!(used(&stage, &without).await, "401 AUTH-7fs1e");
    let with = by_key(&stage, json!({}), AUDIENCE).await;
    assert_eq!(used(&stage, &with).await, "200");
}

#[tokio::test]
async fn the_clock_may_be_off_by_one_second() {
    let stage = stage().await;
    let now = stage.simulator.zitadel().now().as_second();
    for (iat, status) in [(now + 5, 400), (now - 5, 200), (now - 3595, 200), (now - 3605, 400)] {
        assert_eq!(by_key(&stage, json!({"iat": iat}), AUDIENCE).await.status, status, "{}", iat - now);
    }
    let refused = by_key(&stage, json!({"exp": now - 1}), AUDIENCE).await;
    assert_eq!((refused.status, &refused.body["error"]), (400, &json!("invalid_grant")));
}

#[tokio::test]
async fn the_audience_is_the_issuer_as_the_request_sees_it() {
    let stage = stage().await;
    let url = stage.simulator.zitadel().url().to_owned();
    let localhost = url.replace("127.0.0.1", "localhost");
    for (aud, status) in [
        (json!(url), 200),
        (json!([url]), 200),
        (json!(format!("{url}/")), 400),
        (json!(format!("{url}/oauth/v2/token")), 400),
        (json!(localhost), 400),
    ] {
        assert_eq!(by_key(&stage, json!({"aud": aud}), AUDIENCE).await.status, status, "{aud}");
    }
}

#[tokio::test]
async fn a_signature_is_really_verified() {
    let stage = stage().await;
    let good = assertion(stage.simulator.zitadel(), json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = assertion(stage.simulator.zitadel(), json!({"exp": 4_000_000_000_i64}))
        .rsplit_once('.')
        .map(|(one, other)| (one.to_owned(), other.to_owned()))
        .unwrap();
    let grant_type = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let form = |assertion: &str| [grant_type, ("scope", AUDIENCE), ("assertion", assertion)].map(own);
    let send = async |form: [(String, String); 3]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        token(&stage, &form).await.status
    };
    assert_eq!(send(form(&format!("{signed}.{signature}"))).await, 400, "the signature of other claims");
    assert_eq!(send(form(&good)).await, 200);
    stage.simulator.zitadel().remove_key(worlds::ZITADEL_KEY_ID);
    assert_eq!(send(form(&good)).await, 400, "the key is gone");
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_token_outlives_its_key_and_not_its_user() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    let signed_in = by_key(&stage, json!({}), AUDIENCE).await;
    zitadel.remove_key(worlds::ZITADEL_KEY_ID);
    assert_eq!(used(&stage, &signed_in).await, "200");
    zitadel.deactivate_user(worlds::ZITADEL_OPERATOR);
    assert_eq!(used(&stage, &signed_in).await, "401 AUTH-7fs1e");
    let refused = by_secret(&stage, worlds::ZITADEL_CLIENT_SECRET).await;
    assert_eq!(refused.body["error_description"], "Errors.User.NotActive");
    zitadel.reactivate_user(worlds::ZITADEL_OPERATOR);
    assert_eq!(used(&stage, &signed_in).await, "401 AUTH-7fs1e", "it stays refused");
    let pat = stage.call(zitadel.url(), worlds::ZITADEL_TOKEN, Method::GET, "/management/v1/orgs/me", Value::Null);
    assert_eq!(pat.await.status, 200, "a personal access token is taken again");
}

#[tokio::test]
async fn a_token_expires_at_its_configured_time() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.set_token_lifetime(Duration::from_secs(60));
    let signed_in = by_key(&stage, json!({}), AUDIENCE).await;
    assert_eq!(signed_in.body["expires_in"], 59);
    assert_eq!(used(&stage, &signed_in).await, "200");
    zitadel.set_clock_offset(SignedDuration::from_secs(61));
    assert_eq!(used(&stage, &signed_in).await, "401 AUTH-7fs1e");
}

#[tokio::test]
async fn a_wrong_secret_is_an_invalid_request() {
    let stage = stage().await;
    let right = by_secret(&stage, worlds::ZITADEL_CLIENT_SECRET).await;
    assert_eq!(used(&stage, &right).await, "200");
    let wrong = by_secret(&stage, "wrong").await;
    assert_eq!((wrong.status, &wrong.body["error"]), (400, &json!("invalid_request")));
}
