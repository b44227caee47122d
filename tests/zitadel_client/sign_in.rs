//! Signing in: assertions that the server takes, secrets that it doesn't, and one sign-in for many calls.

use std::sync::{Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use membership_operator::provider::zitadel::KeyFile;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::PemObject;

use super::*;

const KEY: &str = include_str!("../keys/rsa-pkcs1.pem");
const ROBOT: &str = "400624046615563302";
const KEY_ID: &str = "400624056296016934";
const SECRET: &str = "s3cr3t+with/odd=characters%";
const SCOPE: &str = "openid urn:zitadel:iam:org:project:id:zitadel:aud";

/// An instance's token endpoint and one call of its API, as auth.json has them.
#[derive(Clone, Default)]
struct Instance(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// What the instance takes itself for; empty: what it is called.
    issuer: String,
    /// The instance's own domain where calls must name it.
    named: Option<String>,
    /// How far its clock is ahead.
    ahead: SignedDuration,
    /// Its answer to sign-ins in the place of a token.
    refuses: Option<Answer>,
    /// Sign-ins that were taken; the token is the number.
    sign_ins: usize,
    /// Requests to the token endpoint.
    asked: usize,
    /// No token that was given so far is taken any more.
    revoked: usize,
    /// Takes no token at all.
    takes_none: bool,
    calls: usize,
}

impl Instance {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::now() + self.seen().ahead
    }
}

async fn answer(State(instance): State<Instance>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let date = instance.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let named = instance.seen().named.clone();
    let (status, body) = match (named, uri.path()) {
        (Some(named), _) if header("x-zitadel-instance-host") != named => (
            404,
            json!("unable to set instance using origin &{127.0.0.1  http}: ID=QUERY-1kIjX Message=Instance not found"),
        ),
        (named, "/.well-known/openid-configuration") => {
            (200, json!({"issuer": issuer(&instance, named, &header("host"))}))
        }
        (named, "/oauth/v2/token") => {
            token(&instance, &issuer(&instance, named, &header("host")), &header("authorization"), &body)
        }
        _ => call(&instance, &header("authorization")),
    };
    let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json".to_owned()), ("date", date)], body)
}

fn issuer(instance: &Instance, named: Option<String>, host: &str) -> String {
    let issuer = instance.seen().issuer.clone();
    if issuer.is_empty() { format!("http://{}", named.unwrap_or_else(|| host.to_owned())) } else { issuer }
}

fn token(instance: &Instance, issuer: &str, authorization: &str, body: &[u8]) -> (u16, Value) {
    let form: std::collections::HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    instance.seen().asked += 1;
    if let Some(refusal) = &instance.seen().refuses {
        return (refusal.status, refusal.body.clone());
    }
    assert_eq!(field("scope"), SCOPE);
    let taken = match field("grant_type").as_str() {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => is_taken(&field("assertion"), issuer, instance.now()),
        "client_credentials" => {
            let pair = |id: &str, secret: &str| {
                let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                format!("Basic {}", STANDARD.encode(format!("{}:{}", part(id), part(secret))))
            };
            if authorization == pair("robot-1e7216", SECRET) {
                Ok(())
            } else {
                Err(recorded("auth", "client credentials: wrong secret").body)
            }
        }
        other => panic!("{other:?}"),
    };
    if let Err(refusal) = taken {
        return (400, refusal);
    }
    let mut seen = instance.seen();
    seen.sign_ins += 1;
    (
        200,
        json!({"access_token": format!("token-{}", seen.sign_ins), "token_type": "Bearer", "expires_in": 43199, "id_token": "x"}),
    )
}

/// Checks an assertion as the recordings show that the server does.
fn is_taken(assertion: &str, issuer: &str, now: Timestamp) -> Result<(), Value> {
    let invalid = || json!({"error": "invalid_grant", "error_description": "invalid assertion"});
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(invalid()) };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let (head, payload): (Value, Value) =
        (serde_json::from_slice(&bytes(header)).unwrap(), serde_json::from_slice(&bytes(claims)).unwrap());
    let der = PrivatePkcs1KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    let signed = public.verify(format!("{header}.{claims}").as_bytes(), &bytes(signature)).is_ok();
    let (iat, exp) = (payload["iat"].as_i64().unwrap(), payload["exp"].as_i64().unwrap());
    let now = now.as_second();
    let right = signed
        && head == json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID})
        && (&payload["iss"], &payload["sub"], &payload["aud"]) == (&json!(ROBOT), &json!(ROBOT), &json!(issuer))
        && (now - 3600..=now + 1).contains(&iat)
        && exp > now;
    if right { Ok(()) } else { Err(invalid()) }
}

fn call(instance: &Instance, authorization: &str) -> (u16, Value) {
    let mut seen = instance.seen();
    seen.calls += 1;
    let sign_in = authorization.strip_prefix("Bearer token-").and_then(|number| number.parse::<usize>().ok());
    match sign_in {
        Some(number) if number > seen.revoked && !seen.takes_none => (200, json!({"result": ["PROJECT_OWNER"]})),
        _ => (401, recorded("auth", "bad token").body),
    }
}

fn key() -> Credentials {
    let file = json!({
        "type": "serviceaccount", "keyId": KEY_ID, "key": KEY, "expirationDate": "2036-01-01T00:00:00Z", "userId": ROBOT,
    });
    Credentials::PrivateKeyJwt(KeyFile::parse(&SecretString::from(file.to_string())).unwrap())
}

fn secret(secret: &str) -> Credentials {
    Credentials::ClientCredentials { client_id: "robot-1e7216".to_owned(), client_secret: secret.into() }
}

async fn verify(zitadel: &Zitadel) -> Result<&'static str, Error> {
    let permit = EndpointQuota::new(true).quota("test".to_owned(), Limits::default());
    let permit = permit.permit(RequestKind::Read, Urgency::Resync, "test").await;
    zitadel.verify(&permit).await.map(|verified| verified.api)
}

/// Lets time pass for the client, not for the server.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_key_and_a_client_secret_sign_in_once_for_many_calls_and_again_before_the_end() {
    for credentials in [key(), secret(SECRET)] {
        let instance = Instance::default();
        let zitadel = signing_in(&instance.start().await, credentials.clone(), None);
        for outcome in futures::future::join_all((0..20).map(|_| verify(&zitadel))).await {
            assert_eq!(outcome, Ok("management/v1"), "{credentials:?}");
        }
        assert_eq!(instance.seen().sign_ins, 1, "{credentials:?}");
        // It is replaced a minute before its end; half a minute to either side is for a busy machine.
        pass(43_199 - 90).await;
        assert!(verify(&zitadel).await.is_ok());
        assert_eq!(instance.seen().sign_ins, 1, "{credentials:?}");
        pass(60).await;
        assert!(verify(&zitadel).await.is_ok());
        assert_eq!(instance.seen().sign_ins, 2, "{credentials:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let instance = Instance::default();
    let zitadel = signing_in(&instance.start().await, key(), None);
    assert!(verify(&zitadel).await.is_ok());
    instance.seen().revoked = 1;
    for outcome in futures::future::join_all((0..10).map(|_| verify(&zitadel))).await {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    assert_eq!(instance.seen().sign_ins, 2);
    instance.seen().takes_none = true;
    let error = verify(&zitadel).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let counts = || {
        let seen = instance.seen();
        (seen.sign_ins, seen.calls)
    };
    let before = counts();
    for _ in 0..5 {
        assert!(verify(&zitadel).await.is_err());
    }
    assert_eq!(counts(), before, "no more until the pause is over");
}

#[tokio::test]
async fn the_assertion_is_for_the_instance_as_it_calls_itself_and_for_no_other() {
    // In the cluster: the URL is the Service's, the instance is named, and it takes itself for https behind TLS.
    for (named, issuer, taken) in [
        (Some("auth.example.com"), "", true),
        (Some("auth.example.com"), "https://auth.example.com", true),
        (Some("auth.example.com:8443"), "https://auth.example.com:8443", true),
        (None, "https://127.0.0.1", true),
        (None, "https://auth.example.com", false),
        (Some("auth.example.com"), "https://auth.example.com.evil.example", false),
        (None, "nonsense", false),
    ] {
        let instance = Instance::default();
        *instance.seen() = Seen { named: named.map(str::to_owned), issuer: issuer.to_owned(), ..Seen::default() };
        let zitadel = signing_in(&instance.start().await, key(), named);
        match verify(&zitadel).await {
            Ok(_) => assert!(taken, "{named:?} {issuer}"),
            Err(error) => {
                assert!(!taken, "{named:?} {issuer}: {error}");
                assert!(error.to_string().contains("calls itself"), "{error}");
                assert_eq!(instance.seen().asked, 0, "{issuer}: nothing is signed");
            }
        }
    }
}

#[tokio::test]
async fn a_host_that_no_instance_has_says_what_to_name() {
    for credentials in [key(), secret(SECRET)] {
        let instance = Instance::default();
        instance.seen().named = Some("auth.example.com".to_owned());
        let error = verify(&signing_in(&instance.start().await, credentials, None)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("name one of them in instanceHost"), "{error}");
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_stops_no_sign_in() {
    for seconds in [-7200, -90, 90, 7200] {
        let instance = Instance::default();
        instance.seen().ahead = SignedDuration::from_secs(seconds);
        let found = verify(&signing_in(&instance.start().await, key(), None)).await;
        assert!(found.is_ok(), "{seconds} s ahead: {found:?}");
    }
}

#[tokio::test]
async fn what_the_token_endpoint_refuses_says_what_to_check_and_is_left_alone() {
    for (credentials, name, phrase) in [
        (key(), "JWT profile: unknown kid", "key 400624056296016934 of user 400624046615563302 is still there"),
        (key(), "JWT profile: a deactivated user", "the user active"),
        (secret("wrong-secret-0123"), "client credentials: wrong secret", "a new one replaces the old"),
        (secret(SECRET), "client credentials: unknown client", "the machine user's name and not its id"),
    ] {
        let instance = Instance::default();
        instance.seen().refuses = Some(recorded("auth", name));
        let zitadel = signing_in(&instance.start().await, credentials, None);
        for (seconds, asked) in [(0, 1), (29, 1), (2, 2), (329, 2), (2, 3)] {
            pass(seconds).await;
            let error = verify(&zitadel).await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{name}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(phrase), "{name}: {text}");
            assert!(!text.contains("wrong-secret") && !text.contains("eyJ"), "{name}: {text}");
            assert_eq!(instance.seen().asked, asked, "{name}, after {seconds} s more");
        }
    }
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_no_refusal() {
    for (status, body, reason) in [
        (500, json!({"error": "server_error", "error_description": "x"}), "Unreachable"),
        (503, Value::Null, "Unreachable"),
        (429, json!({"code": 8, "message": "x", "details": [{"id": "QUOTA-vjAy8"}]}), "RateLimited"),
        (404, json!("page not found"), "Unreachable"),
        (403, json!("<html>"), "Unreachable"),
    ] {
        let instance = Instance::default();
        instance.seen().refuses = Some(Answer::new(status, body));
        let zitadel = signing_in(&instance.start().await, key(), None);
        let error = verify(&zitadel).await.unwrap_err();
        assert_eq!(format!("{:?}", error.reason()), reason, "{status}: {error}");
        instance.seen().refuses = None;
        pass(2).await;
        if reason == "Unreachable" {
            assert!(verify(&zitadel).await.is_ok(), "{status}");
        }
    }
}
