//! Signing in with a service account's token: Kubernetes auth and OIDC auth, as recorded, and against the simulator's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use membership_operator::api::Reason;
use membership_operator::api::SubjectKind;
use membership_operator::core::member::Change;
use membership_operator::provider::http::Endpoint;
use membership_operator::provider::infisical::{Credentials, Infisical, TokenSource};
use membership_operator::provider::quota::RequestKind;
use membership_operator::provider::{Error, Provider, Urgency};
use serde_json::{Value, json};
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_TOKEN};
use simulator::{Answer, Fault, Jwt, KubernetesLogin, OidcLogin, Order, Review};

use crate::raw::{self, Raw};
use crate::{AGES, Stage, client, held, permanent, quota, web};

const IDENTITY: &str = "31b3d5ca-697c-40ea-a4f9-09cdf131ad1f";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl";

type Make = fn(TokenSource) -> Credentials;

fn kubernetes(token: TokenSource) -> Credentials {
    Credentials::Kubernetes { identity_id: IDENTITY.to_owned(), token }
}

fn oidc(token: TokenSource) -> Credentials {
    Credentials::Oidc { identity_id: IDENTITY.to_owned(), token }
}

const WAYS: [(&str, Make); 2] = [("kubernetes-auth", kubernetes), ("oidc-auth", oidc)];

fn jwt() -> TokenSource {
    TokenSource::new(|| Ok(JWT.to_owned().into()))
}

/// The answers of all logins of a recording: name, status, body.
fn logins(file: &str) -> Vec<(String, u16, Value)> {
    let path = format!("{}/tests/contracts/infisical/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let recording: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let exchanges = recording["exchanges"].as_array().unwrap().clone();
    exchanges
        .into_iter()
        .filter(|exchange| exchange["request"]["path"].as_str().unwrap().ends_with(&format!("{file}/login")))
        .map(|mut exchange| {
            let status = u16::try_from(exchange["response"]["status"].as_u64().unwrap()).unwrap();
            (exchange["name"].as_str().unwrap().to_owned(), status, exchange["response"]["body"].take())
        })
        .collect()
}

/// A server that answers the logins with tokens that it knows.
fn grant(stage: &Stage, file: &str) {
    let granted =
        json!({"accessToken": INFISICAL_TOKEN, "expiresIn": 7200, "accessTokenMaxTTL": 14400, "tokenType": "Bearer"});
    stage.server().order(Order::always(Fault::Status(Answer::new(200, granted))).on("POST", &format!("{file}/login")));
}

async fn list(stage: &Stage) -> Result<usize, Error> {
    let permit = stage.read().await;
    stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.map(|listing| listing.members.len())
}

async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_token_is_read_again_for_each_login_and_one_login_serves_many_calls() {
    for (file, way) in WAYS {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let source = TokenSource::new(move || Ok(format!("{JWT}{}", counted.fetch_add(1, Ordering::SeqCst)).into()));
        let stage = Stage::with(way(source)).await;
        grant(&stage, file);
        let calls = futures::future::join_all((0..20).map(|_| list(&stage))).await;
        assert!(calls.iter().all(|call| *call == Ok(2)), "{file}: {calls:?}");
        pass(7100).await;
        assert_eq!(list(&stage).await, Ok(2));
        assert_eq!(reads.load(Ordering::SeqCst), 1, "{file}: before the end");
        pass(45).await;
        assert_eq!(list(&stage).await, Ok(2));
        assert_eq!(reads.load(Ordering::SeqCst), 2, "{file}: just before it");
        assert_eq!(stage.server().count("POST", &format!("{file}/login")), 2);
        assert_eq!(stage.server().count("", "token/renew"), 0);
    }
}

#[tokio::test]
async fn every_recorded_refusal_is_the_credentials_or_the_servers_and_says_what_to_check() {
    for (file, way) in WAYS {
        let mut seen = 0;
        for (name, status, body) in logins(file) {
            if status == 200 {
                continue;
            }
            let stage = Stage::with(way(jwt())).await;
            let answer = Answer::new(status, body.clone());
            stage.server().order(Order::always(Fault::Status(answer)).on("POST", &format!("{file}/login")));
            let error = list(&stage).await.unwrap_err();
            let reason = if status == 500 { Reason::Unreachable } else { Reason::Unauthorized };
            assert_eq!(error.reason(), reason, "{file}, {name}: {error}");
            let text = error.to_string();
            assert!(text.len() < 900 && !text.contains(JWT), "{file}, {name}: {text}");
            let phrase = match (file, status, body["error"].as_str().unwrap()) {
                ("kubernetes-auth", 500, _) => "a slash at its end",
                ("oidc-auth", 500, _) => "boundAudiences: leave them empty",
                (_, 404, _) => "check identityId",
                (_, _, "KubernetesTokenReviewRequestError") => "Token Reviewer JWT",
                ("kubernetes-auth", ..) => "allowed namespaces",
                _ => "issuer",
            };
            assert!(text.contains(phrase), "{file}, {name}: {text}");
            seen += 1;
        }
        assert!(seen >= 15, "only {seen} refusals in {file}");
    }
}

#[tokio::test]
async fn a_refused_token_is_left_alone_for_as_long_as_a_refused_secret() {
    for (file, way) in WAYS {
        let stage = Stage::with(way(jwt())).await;
        let tried = || stage.server().count("POST", &format!("{file}/login"));
        let refusal = json!({"statusCode": 401, "error": "UnauthorizedError", "message": "Access denied"});
        stage.server().order(Order::always(Fault::Status(Answer::new(401, refusal))).on("POST", "/login"));
        for (seconds, tries) in [(0, 1), (15, 1), (20, 2), (310, 2), (30, 3), (580, 3), (30, 4)] {
            pass(seconds).await;
            for _ in 0..3 {
                assert!(list(&stage).await.is_err());
            }
            assert_eq!(tried(), tries, "{file}, after {seconds} s more");
        }
    }
}

#[tokio::test]
async fn a_server_that_fails_is_asked_ever_less_often() {
    let stage = Stage::with(oidc(jwt())).await;
    stage.server().order(Order::always(Fault::status(500)).on("POST", "/login"));
    let mut tries = Vec::new();
    for _ in 0..60 {
        assert!(list(&stage).await.is_err());
        tries.push(stage.server().count("POST", "/login"));
        pass(1).await;
    }
    let last = *tries.last().unwrap();
    assert!((5..=8).contains(&last), "{tries:?}");
}

#[tokio::test]
async fn a_token_file_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let stage = Stage::with(kubernetes(TokenSource::file(&path))).await;
    grant(&stage, "kubernetes-auth");
    let error = list(&stage).await.unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    std::fs::write(&path, " \n").unwrap();
    pass(2).await;
    let error = list(&stage).await.unwrap_err();
    assert!(error.to_string().contains("it is empty"), "{error}");
    std::fs::write(&path, format!("{JWT}\n")).unwrap();
    pass(4).await;
    assert_eq!(list(&stage).await, Ok(2));
}

#[tokio::test]
async fn the_login_names_the_identity_and_carries_the_token_as_it_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{JWT}\n")).unwrap();
    for (file, way) in WAYS {
        let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
        let server = Raw::start(move |mut stream| {
            let sent = sent.clone();
            async move {
                let head = raw::request(&mut stream).await;
                let _ = sent.send((head.clone(), raw::body(&mut stream, &head).await));
            }
        })
        .await;
        let endpoint = Endpoint::parse(&server.url).unwrap();
        let infisical = Infisical::new(&client(Arc::new(())), endpoint, way(TokenSource::file(&path)));
        let permit = quota().permit(RequestKind::Read, Urgency::Resync, "team-a").await;
        assert!(infisical.list(&permit, &web(), SubjectKind::Identity).await.is_err());
        let (head, body) = received.recv().await.unwrap();
        assert!(head.starts_with(&format!("POST /api/v1/auth/{file}/login ")), "{head}");
        assert!(!head.contains("authorization"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({"identityId": IDENTITY, "jwt": JWT}), "{file}");
    }
}

/// A token of the service account `team-a/operator`, good for an hour.
pub fn service_account() -> Jwt {
    Jwt::service_account("team-a", "operator", &["infisical"], jiff::Timestamp::now())
}

/// The operator's identity signs in with this token where the simulator itself answers.
pub async fn signing_in(way: &str, token: Jwt) -> Stage {
    let (identity_id, token) = (INFISICAL_OPERATOR.to_owned(), TokenSource::new(move || Ok(token.written().into())));
    let stage = Stage::with(match way {
        "kubernetes-auth" => Credentials::Kubernetes { identity_id, token },
        _ => Credentials::Oidc { identity_id, token },
    })
    .await;
    let identity = INFISICAL_OPERATOR.to_owned();
    stage.server().set_kubernetes_login(KubernetesLogin {
        identity: identity.clone(),
        allowed_namespaces: "team-a".to_owned(),
        allowed_names: "operator".to_owned(),
        allowed_audience: "infisical".to_owned(),
        ..KubernetesLogin::default()
    });
    stage.server().set_oidc_login(OidcLogin {
        identity,
        bound_issuer: "https://127.0.0.1:17443".to_owned(),
        bound_subject: "system:serviceaccount:team-a:operator".to_owned(),
        ..OidcLogin::default()
    });
    stage
}

#[tokio::test]
async fn a_service_account_signs_in_and_writes_at_every_age_of_the_server() {
    for (generations, style) in AGES {
        for (way, _) in WAYS {
            let stage = signing_in(way, service_account()).await;
            stage.be(generations, style);
            let case = format!("{way} {generations:?} {style:?}");
            assert_eq!(list(&stage).await, Ok(2), "{case}");
            let created = Change::Create(permanent(&["viewer"]));
            stage.apply(SubjectKind::Identity, INFISICAL_DEPLOYER, created).await.unwrap();
            assert_eq!(stage.held(INFISICAL_DEPLOYER), held(&["viewer"]), "{case}");
            assert_eq!(stage.server().count("POST", &format!("{way}/login")), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn a_token_that_the_server_forgets_is_replaced_by_another_login() {
    for (way, _) in WAYS {
        let stage = signing_in(way, service_account()).await;
        assert_eq!(list(&stage).await, Ok(2), "{way}");
        stage.server().revoke_token(INFISICAL_OPERATOR);
        assert_eq!(list(&stage).await, Ok(2), "{way}");
        assert_eq!(stage.server().count("POST", &format!("{way}/login")), 2, "{way}");
    }
}

#[tokio::test]
async fn what_the_simulated_server_refuses_says_what_to_check_and_is_left_alone() {
    type Spoil = fn(&Stage);
    let spoilt: [(&str, Jwt, Spoil, Reason, &str); 7] = [
        ("kubernetes-auth", service_account().signed("forged"), |_| {}, Reason::Unauthorized, "allowed namespaces"),
        (
            "kubernetes-auth",
            Jwt::service_account("team-b", "operator", &["infisical"], jiff::Timestamp::now()),
            |_| {},
            Reason::Unauthorized,
            "allowed namespaces",
        ),
        (
            "kubernetes-auth",
            service_account(),
            |stage| {
                let identity = INFISICAL_OPERATOR.to_owned();
                let review = Review::Forbidden;
                stage.server().set_kubernetes_login(KubernetesLogin { identity, review, ..KubernetesLogin::default() });
            },
            Reason::Unauthorized,
            "Token Reviewer JWT",
        ),
        (
            "kubernetes-auth",
            service_account(),
            |stage| stage.server().remove_cluster_login(INFISICAL_OPERATOR),
            Reason::Unauthorized,
            "check identityId",
        ),
        ("oidc-auth", service_account().signed("forged"), |_| {}, Reason::Unauthorized, "issuer"),
        (
            "oidc-auth",
            Jwt::service_account("team-a", "other", &["infisical"], jiff::Timestamp::now()),
            |_| {},
            Reason::Unauthorized,
            "issuer",
        ),
        (
            "oidc-auth",
            service_account(),
            |stage| stage.server().remove_cluster_login(INFISICAL_OPERATOR),
            Reason::Unauthorized,
            "check identityId",
        ),
    ];
    for (way, token, spoil, reason, phrase) in spoilt {
        for (generations, style) in [AGES[0], AGES[3]] {
            let stage = signing_in(way, token.clone()).await;
            stage.be(generations, style);
            spoil(&stage);
            let error = list(&stage).await.unwrap_err();
            let text = error.to_string();
            assert_eq!(error.reason(), reason, "{way} {style:?}: {text}");
            assert!(text.contains(phrase), "{way} {style:?}: {text}");
            assert!(!text.contains("eyJ"), "{way} {style:?}: {text}");
            let asked = stage.server().count("POST", &format!("{way}/login"));
            assert!(list(&stage).await.is_err());
            assert_eq!(stage.server().count("POST", &format!("{way}/login")), asked, "{way}: it is left alone");
        }
    }
}
