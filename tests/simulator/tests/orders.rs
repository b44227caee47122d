//! Faults to order, the log, the clock: what the simulator does besides being a provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Answer, Fault, Order};
use support::{Got, IDENTITY, PROJECT, Stage, USER, permanent};

fn is_member(stage: &Stage) -> bool {
    stage.simulator.infisical().memberships_of(PROJECT, IDENTITY) > 0
}

async fn becomes_member(stage: &Stage) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_member(stage) {
        assert!(Instant::now() < deadline, "the request was never carried out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A POST of a membership, which may come to nothing.
async fn post(stage: &Stage) -> reqwest::Result<Got> {
    let path = format!("/api/v2/workspace/{PROJECT}/identity-memberships/{IDENTITY}");
    let url = stage.simulator.infisical().url();
    stage.send(url, "operator", Method::POST, &path, &[], json!({"role": "viewer"})).await
}

async fn with(order: Order) -> (Stage, reqwest::Result<Got>, Duration) {
    let stage = Stage::new().await;
    stage.simulator.infisical().order(order.on("POST", "identity-memberships"));
    let begun = Instant::now();
    let got = post(&stage).await;
    (stage, got, begun.elapsed())
}

#[tokio::test]
async fn a_delay_comes_before_the_effect() {
    let stage = Stage::new().await;
    let delay = Fault::Delay(Duration::from_secs(1));
    stage.simulator.infisical().order(Order::next(delay));
    let (got, was_member) = tokio::join!(post(&stage), async {
        stage.arrived("POST").await;
        is_member(&stage)
    });
    assert!(!was_member && is_member(&stage));
    assert_eq!(got.unwrap().status, 200);
}

#[tokio::test]
async fn a_delay_after_comes_after_the_effect() {
    let stage = Stage::new().await;
    let delay = Fault::DelayAfter(Duration::from_secs(1));
    stage.simulator.infisical().order(Order::next(delay));
    let (answered_at, member_at) = tokio::join!(
        async {
            assert_eq!(post(&stage).await.unwrap().status, 200);
            Instant::now()
        },
        async {
            becomes_member(&stage).await;
            Instant::now()
        }
    );
    assert!(member_at < answered_at);
}

#[tokio::test]
async fn a_status_has_no_effect() {
    let answer = Answer::new(429, json!({"error": "RateLimitExceeded"})).header("retry-after", "7");
    let (stage, got, _) = with(Order::next(Fault::Status(answer))).await;
    let got = got.unwrap();
    assert_eq!((got.status, &got.body["error"]), (429, &json!("RateLimitExceeded")));
    assert!(!is_member(&stage));
}

#[tokio::test]
async fn an_ordered_header_is_sent() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.order(Order::next(Fault::infisical_rate_limited(7)));
    let response = stage.client.get(format!("{}/api/status", infisical.url())).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"7".parse().unwrap()));
}

#[tokio::test]
async fn a_status_after_has_its_effect() {
    let (stage, got, _) = with(Order::next(Fault::StatusAfter(Answer::new(504, json!("timeout"))))).await;
    assert_eq!(got.unwrap().status, 504);
    assert!(is_member(&stage));
}

#[tokio::test]
async fn a_reset_has_no_effect_and_no_answer() {
    let (stage, got, _) = with(Order::next(Fault::Reset)).await;
    assert!(got.is_err());
    assert!(!is_member(&stage));
    assert_eq!(stage.simulator.infisical().requests().last().unwrap().status, None);
    assert_eq!(post(&stage).await.unwrap().status, 200, "the next one is answered");
}

#[tokio::test]
async fn a_reset_after_has_its_effect_and_no_answer() {
    let (stage, got, _) = with(Order::next(Fault::ResetAfter)).await;
    assert!(got.is_err());
    assert!(is_member(&stage));
}

#[tokio::test]
async fn html_is_answered_200_without_effect() {
    let (stage, got, _) = with(Order::next(Fault::Html)).await;
    let got = got.unwrap();
    assert!(got.status == 200 && got.body.as_str().unwrap().starts_with("<!doctype html>"), "{got:?}");
    assert!(!is_member(&stage));
}

#[tokio::test]
async fn a_truncated_answer_is_no_json() {
    let (stage, got, _) = with(Order::next(Fault::Truncated)).await;
    let got = got.unwrap();
    assert!(got.status == 200 && got.body.as_str().unwrap().starts_with('{'), "{got:?}");
    assert!(is_member(&stage));
}

#[tokio::test]
async fn a_partial_list_lacks_rows_and_keeps_its_total() {
    let stage = Stage::new().await;
    post(&stage).await.unwrap();
    stage.simulator.infisical().order(Order::next(Fault::PartialList { drop: 1 }).on("GET", ""));
    let listed = stage.infisical(Method::GET, "", Value::Null).await.body;
    assert_eq!(listed["identityMemberships"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["totalCount"], 2);
    stage.post_member(&["PROJECT_OWNER"]).await;
    stage.simulator.zitadel().order(Order::next(Fault::PartialList { drop: 1 }));
    let searched = stage.search().await.body;
    assert_eq!((&searched["result"], &searched["details"]["totalResult"]), (&json!([]), &json!("1")));
}

#[tokio::test]
async fn an_order_meets_the_nth_or_the_next_n_that_match() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.order(Order::nth(2, Fault::status(503)).on("GET", "identity-memberships"));
    infisical.order(Order::next_n(2, Fault::status(502)).on("GET", "/api/status"));
    let get = async |path: &str| {
        let path = path.replace("LIST", &format!("/api/v2/workspace/{PROJECT}/identity-memberships"));
        stage.call(infisical.url(), "operator", Method::GET, &path, Value::Null).await.status
    };
    assert_eq!([get("LIST").await, get("LIST").await, get("LIST").await], [200, 503, 200]);
    assert_eq!([get("/api/status").await, get("/api/status").await, get("/api/status").await], [502, 502, 200]);
    assert!(infisical.orders().is_empty(), "what is used up is gone");
    infisical.order(Order::always(Fault::status(500)));
    assert_eq!([get("LIST").await, get("LIST").await], [500, 500]);
    infisical.clear_orders();
    assert_eq!(get("LIST").await, 200);
}

#[tokio::test]
async fn a_request_is_carried_out_though_the_client_gave_up() {
    let stage = Stage::new().await;
    // Long enough for a busy machine to look in between.
    let delay = Fault::Delay(Duration::from_secs(2));
    stage.simulator.infisical().order(Order::next(delay));
    tokio::select! {
        _ = post(&stage) => panic!("answered before the delay was over"),
        () = stage.arrived("POST") => {}
    }
    assert!(!is_member(&stage), "the client has gone before anything was done");
    becomes_member(&stage).await;
}

#[tokio::test]
async fn the_delay_of_a_bench_is_before_every_request() {
    let stage = Stage::new().await;
    stage.simulator.infisical().set_delay(Duration::from_millis(60));
    let begun = Instant::now();
    stage.get().await;
    stage.get().await;
    assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_log_says_who_asked_what_and_keeps_no_credential() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.add_client("client", "s3cret", support::OPERATOR);
    let login = json!({"clientId": "client", "clientSecret": "s3cret"});
    stage.call(infisical.url(), "", Method::POST, "/api/v1/auth/universal-auth/login", login).await;
    stage.infisical(Method::GET, "?limit=5", Value::Null).await;
    stage.patch(json!({"roles": [permanent("viewer")]})).await;
    let requests = infisical.requests();
    let seen: Vec<_> = requests.iter().map(|r| (r.method.as_str(), r.caller.as_str(), r.status)).collect();
    assert_eq!(seen, [("POST", "", Some(200)), ("GET", "operator", Some(200)), ("PATCH", "operator", Some(400))]);
    assert_eq!(requests[1].query, "limit=5");
    assert!(requests[2].body.contains("viewer"));
    let everything = serde_json::to_string(&requests).unwrap();
    assert!(!everything.contains("s3cret") && !everything.contains("Bearer"), "{everything}");
    assert_eq!(infisical.count("PATCH", "/api/*/identity-memberships/*"), 1);
    assert_eq!((infisical.count("", "identity-memberships"), infisical.logins()), (2, 1));
    infisical.clear_requests();
    assert!(infisical.requests().is_empty());
}

#[tokio::test]
async fn the_clock_can_be_moved() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_clock_offset(SignedDuration::from_hours(-5));
    let response = stage.client.get(format!("{}/api/status", infisical.url())).send().await.unwrap();
    let date = response.headers()["date"].to_str().unwrap().to_owned();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    let behind = Timestamp::now().duration_since(date);
    assert!((behind - SignedDuration::from_hours(5)).abs() < SignedDuration::from_secs(10), "{behind:?}");
    let now: Value = response.json().await.unwrap();
    let now: Timestamp = now["date"].as_str().unwrap().parse().unwrap();
    assert!((now.duration_since(date)).abs() < SignedDuration::from_secs(10));
}

#[tokio::test]
async fn everything_can_be_asked_for_over_http_as_well() {
    let stage = Stage::new().await;
    let (infisical, zitadel) = (stage.simulator.infisical(), stage.simulator.zitadel());
    let infisical_url = format!("{}/_simulator", infisical.url());
    let zitadel_url = format!("{}/_simulator", zitadel.url());
    let ask = async |base: &str, method, path: &str, body| stage.call(base, "", method, path, body).await;
    let roles = json!({"project": PROJECT, "identity": IDENTITY, "roles": [{"role": "viewer"}]});
    assert_eq!(ask(&infisical_url, Method::POST, "/roles", roles).await.status, 204);
    let target = format!("?project={PROJECT}&subject={IDENTITY}");
    let effective = ask(&infisical_url, Method::GET, &format!("/effective{target}"), Value::Null).await;
    assert_eq!(effective.body["roles"], json!(["viewer"]));
    let seen = ask(&infisical_url, Method::GET, &format!("/roles{target}"), Value::Null).await;
    assert_eq!((&seen.body["memberships"], &seen.body["roles"][0]["role"]), (&json!(1), &json!("viewer")));
    let order = json!({"method": "PATCH", "pathContains": "x", "when": {"next": 2}, "kind": {"delay": 500}});
    assert_eq!(ask(&infisical_url, Method::POST, "/orders", order.clone()).await.body, json!([order]));
    assert_eq!(ask(&infisical_url, Method::POST, "/orders", json!({"kind": "resett"})).await.status, 400);
    assert_eq!(ask(&infisical_url, Method::DELETE, "/orders", Value::Null).await.status, 204);
    assert!(infisical.orders().is_empty());
    let clock = ask(&infisical_url, Method::POST, "/clock", json!({"offsetSeconds": 60})).await;
    assert_eq!(clock.body["offsetSeconds"], 60);
    assert_eq!(ask(&infisical_url, Method::DELETE, &format!("/identities/{IDENTITY}"), Value::Null).await.status, 204);
    assert!(!is_member(&stage));
    stage.post_member(&["PROJECT_OWNER"]).await;
    let world = ask(&zitadel_url, Method::GET, "/world", Value::Null).await;
    assert_eq!(world.body["members"][0]["user"], USER);
    let requests = ask(&zitadel_url, Method::GET, "/requests?method=POST", Value::Null).await;
    assert_eq!(requests.body["count"], 1, "control requests are not among them");
    let lag = async |milliseconds: u64| {
        let body = json!({"milliseconds": milliseconds});
        assert_eq!(ask(&zitadel_url, Method::POST, "/lag", body).await.status, 204);
    };
    lag(3_600_000).await;
    let gone = ask(&zitadel_url, Method::DELETE, &format!("/users/{USER}"), Value::Null).await;
    assert_eq!(gone.status, 204);
    assert!(!zitadel.projected_roles(support::SHOP, USER).is_empty());
    lag(0).await;
    assert!(zitadel.projected_roles(support::SHOP, USER).is_empty());
}
