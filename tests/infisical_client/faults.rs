//! What an answer that makes no sense, or none, is taken for.

use std::time::Duration;

use jiff::SignedDuration;
use membership_operator::api::SubjectKind;
use membership_operator::core::member::Change;
use membership_operator::provider::error::Effect;
use membership_operator::provider::http::{BEGIN_LIMIT, TIME_LIMIT};
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_ON_CALL, INFISICAL_PROJECT};
use simulator::{Answer, Fault, Order};

use crate::{Stage, held, permanent, target, web};

#[tokio::test]
async fn a_list_is_never_read_as_empty() {
    let faults = [
        Fault::Html,
        Fault::Truncated,
        Fault::Reset,
        Fault::ResetAfter,
        Fault::status(500),
        Fault::status(502),
        Fault::StatusAfter(Answer::new(504, serde_json::json!("<html>gateway</html>"))),
        Fault::Status(Answer::new(200, serde_json::json!({}))),
        Fault::Status(Answer::new(200, serde_json::json!(""))),
        Fault::Status(Answer::new(403, serde_json::json!("<html>blocked</html>"))),
        Fault::Status(Answer::new(404, serde_json::json!("<html>Not Found</html>"))),
    ];
    for fault in faults {
        let stage = Stage::new().await;
        let permit = stage.read().await;
        stage.infisical.verify(&permit).await.unwrap();
        stage.server().order(Order::next(fault.clone()).on("GET", INFISICAL_PROJECT));
        let error = stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { effect: Effect::None, .. }), "{fault:?}: {error:?}");
        assert!(!error.to_string().contains("<html>"), "{fault:?}: {error}");
        assert_eq!(stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap().members.len(), 2);
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_in_doubt() {
    let faults = [
        (Fault::Html, false),
        (Fault::Truncated, true),
        (Fault::Reset, false),
        (Fault::ResetAfter, true),
        (Fault::status(500), false),
        (Fault::StatusAfter(Answer::new(504, serde_json::json!("gateway"))), true),
    ];
    for (fault, carried_out) in faults {
        for method in ["PATCH", "DELETE"] {
            let stage = Stage::new().await;
            let permit = stage.write().await;
            stage.infisical.verify(&permit).await.unwrap();
            stage.server().order(Order::next(fault.clone()).on(method, INFISICAL_ON_CALL));
            let change = if method == "PATCH" { Change::Replace(permanent(&["member"])) } else { Change::Remove };
            let outcome = stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &change).await;
            if method == "DELETE" && carried_out {
                // The removal was carried out, and the server was asked: there is nothing left.
                assert!(outcome.is_ok(), "{fault:?}: {outcome:?}");
            } else {
                let error = outcome.unwrap_err();
                assert!(matches!(error, Error::Unreachable { effect: Effect::Unknown, .. }), "{fault:?}: {error:?}");
            }
            let patched = if carried_out { held(&["member"]) } else { held(&["viewer"]) };
            let removed = if carried_out { held(&[]) } else { held(&["viewer"]) };
            assert_eq!(stage.held(INFISICAL_ON_CALL), if method == "PATCH" { patched } else { removed }, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn an_identity_created_again_after_its_removal_is_unknown_until_its_response() {
    let stage = Stage::new().await;
    let permit = stage.write().await;
    stage.infisical.verify(&permit).await.unwrap();
    let recreate = Change::Recreate(permanent(&["viewer"]));
    for fault in [Fault::Reset, Fault::infisical_rate_limited(1)] {
        stage.server().order(Order::next(fault.clone()).on("POST", "identity-memberships"));
        let error = stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &recreate).await.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown, "{fault:?}: {error:?}");
        assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_ON_CALL), 0);
    }
    stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &recreate).await.unwrap();
    assert_eq!(stage.held(INFISICAL_ON_CALL), held(&["viewer"]));
}

#[tokio::test]
async fn a_rate_limit_says_when_and_pauses_the_quota() {
    let limits = [(Fault::infisical_rate_limited(7), 7), (Fault::infisical_rate_limited_2024(53), 53)];
    for (fault, seconds) in limits {
        let stage = Stage::new().await;
        let permit = stage.write().await;
        stage.infisical.verify(&permit).await.unwrap();
        stage.server().order(Order::next(fault).on("POST", "identity-memberships"));
        let change = Change::Create(permanent(&["viewer"]));
        match stage.infisical.apply(&permit, &target(INFISICAL_DEPLOYER), None, &change).await {
            Err(Error::RateLimited { after, .. }) => assert_eq!(after, Some(Duration::from_secs(seconds))),
            other => panic!("{other:?}"),
        }
        drop(permit);
        let soon = tokio::time::timeout(Duration::from_millis(20), stage.read()).await;
        assert!(soon.is_err(), "the lane isn't paused");
    }
}

#[tokio::test]
async fn a_list_that_lacks_rows_shows_the_others() {
    let stage = Stage::new().await;
    stage.server().order(Order::next(Fault::PartialList { drop: 1 }).on("GET", INFISICAL_PROJECT));
    let permit = stage.read().await;
    assert_eq!(stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap().members.len(), 1);
    // The server's own word keeps the missing row from being made a second time.
    let create = Change::Create(permanent(&["admin"]));
    let error = stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &create).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert_eq!(stage.held(INFISICAL_ON_CALL), held(&["viewer"]));
}

#[tokio::test]
async fn the_servers_clock_is_known_from_its_answers() {
    let stage = Stage::new().await;
    let permit = stage.read().await;
    assert_eq!(stage.infisical.clock(), None);
    for minutes in [0, 5, -5] {
        stage.server().set_clock_offset(SignedDuration::from_mins(minutes));
        stage.infisical.verify(&permit).await.unwrap();
        let clock = stage.infisical.clock().unwrap();
        let skew = clock.skew(jiff::Timestamp::now(), std::time::Instant::now());
        let off = (skew - SignedDuration::from_mins(minutes)).abs();
        assert!(off < SignedDuration::from_secs(2), "{minutes} min: off by {off}");
    }
}

#[tokio::test]
async fn each_request_is_counted_once_by_method_route_and_code() {
    let stage = Stage::new().await;
    let permit = stage.write().await;
    stage.infisical.verify(&permit).await.unwrap();
    stage.server().order(Order::next(Fault::Reset).on("PATCH", ""));
    let replace = Change::Replace(permanent(&["member"]));
    let _ = stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &replace).await;
    let seen = stage.observed.0.lock().unwrap().clone();
    let newer = "/api/v1/projects/{project}/memberships/identities/{identity}";
    let one = "/api/v1/projects/{project}/identity-memberships/{identity}";
    let expected = [
        ("POST", "/api/v1/auth/universal-auth/login", "200"),
        ("GET", newer, "404"),
        ("GET", one, "404"),
        ("PATCH", one, "broken"),
    ];
    assert_eq!(seen, expected.map(|(method, route, code)| (method, route, code.to_owned())));
}

#[tokio::test]
async fn a_change_of_several_requests_takes_no_longer_than_one() {
    let stage = Stage::new().await;
    let permit = stage.write().await;
    stage.infisical.verify(&permit).await.unwrap();
    for method in ["DELETE", "POST"] {
        stage.server().order(Order::next(Fault::Delay(BEGIN_LIMIT * 9 / 10)).on(method, "identity-memberships"));
    }
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let recreate = Change::Recreate(permanent(&["viewer"]));
    let error = stage.infisical.apply(&permit, &target(INFISICAL_ON_CALL), None, &recreate).await.unwrap_err();
    assert!(began.elapsed() < TIME_LIMIT + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(error.effect(), Effect::Unknown);
}
