//! One login for many calls, none for a credential that is refused.

use std::time::Duration;

use jiff::SignedDuration;
use membership_operator::api::SubjectKind;
use membership_operator::core::member::Change;
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{
    INFISICAL_CLIENT_ID, INFISICAL_CLIENT_SECRET, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_TOKEN,
};
use simulator::{ErrorStyle, Fault, Generations, Order};

use crate::{Stage, permanent, target, universal_auth, web};

const LOGIN: &str = "universal-auth/login";

async fn lists(stage: &Stage, calls: usize) -> Vec<Result<usize, Error>> {
    let list = |_| async {
        let permit = stage.read().await;
        stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.map(|listing| listing.members.len())
    };
    futures::future::join_all((0..calls).map(list)).await
}

/// Lets time pass for the client, not for the server.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn one_login_serves_many_calls_at_once() {
    let stage = Stage::new().await;
    for outcome in lists(&stage, 50).await {
        assert_eq!(outcome, Ok(2));
    }
    assert_eq!(stage.server().logins(), 1);
}

#[tokio::test]
async fn a_wrong_secret_is_not_tried_again_until_the_pause_is_over() {
    let stage = Stage::with(universal_auth("wrong-secret-0123")).await;
    let tried = || stage.server().count("POST", LOGIN);
    for outcome in lists(&stage, 30).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong-secret-0123"), "{error}");
    }
    assert_eq!(tried(), 1);
    // Never three in the 300 s in which newer servers count them.
    for (seconds, tries) in [(15, 1), (20, 2), (310, 2), (30, 3), (580, 3), (30, 4)] {
        pass(seconds).await;
        assert!(lists(&stage, 3).await.iter().all(Result::is_err));
        assert_eq!(tried(), tries, "after {seconds} s more");
    }
    assert_eq!(stage.server().count("GET", "identity-memberships"), 0);
}

#[tokio::test]
async fn a_secret_that_is_corrected_at_the_server_is_accepted_after_the_pause() {
    let stage = Stage::with(universal_auth("new-secret-0123")).await;
    assert!(lists(&stage, 1).await[0].is_err());
    stage.server().add_client(INFISICAL_CLIENT_ID, "new-secret-0123", INFISICAL_OPERATOR);
    assert!(lists(&stage, 1).await[0].is_err(), "still in the pause");
    pass(31).await;
    assert_eq!(lists(&stage, 1).await, [Ok(2)]);
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end() {
    let stage = Stage::new().await;
    stage.server().set_token_lives(INFISICAL_CLIENT_ID, Duration::from_secs(7200), Duration::from_secs(7200));
    assert_eq!(lists(&stage, 1).await, [Ok(2)]);
    pass(7100).await;
    assert_eq!(lists(&stage, 2).await, [Ok(2), Ok(2)]);
    assert_eq!(stage.server().logins(), 1);
    pass(45).await;
    assert_eq!(lists(&stage, 5).await, vec![Ok(2); 5]);
    assert_eq!(stage.server().logins(), 2);
    assert_eq!(stage.server().count("", "token/renew"), 0, "renewing would delete the token");
}

#[tokio::test]
async fn a_token_that_ended_or_was_revoked_is_replaced_by_one_login() {
    for style in [ErrorStyle::October2024, ErrorStyle::Current] {
        let stage = Stage::new().await;
        stage.be(Generations::G1AndG2, style);
        assert_eq!(lists(&stage, 1).await, [Ok(2)]);
        stage.server().revoke_token(INFISICAL_OPERATOR);
        assert_eq!(lists(&stage, 10).await, vec![Ok(2); 10], "{style:?}");
        assert_eq!(stage.server().logins(), 2, "{style:?}");
        // Its clock is ahead: for the server the token has expired.
        stage.server().set_clock_offset(SignedDuration::from_hours(3));
        let permit = stage.write().await;
        let change = Change::Create(permanent(&["viewer"]));
        assert!(stage.infisical.apply(&permit, &target(INFISICAL_DEPLOYER), None, &change).await.is_ok(), "{style:?}");
        assert_eq!(stage.server().logins(), 3, "{style:?}");
        assert_eq!(stage.server().memberships_of(&web().id, INFISICAL_DEPLOYER), 1, "{style:?}");
    }
}

#[tokio::test]
async fn tokens_that_are_refused_right_after_their_login_are_not_fetched_for_ever() {
    let stage = Stage::new().await;
    let refusal = simulator::Answer::new(
        403,
        serde_json::json!({"statusCode": 403, "error": "TokenError", "message": "The provided access token is invalid."}),
    );
    stage.server().order(Order::always(Fault::Status(refusal)).on("", "identity-memberships"));
    for outcome in lists(&stage, 10).await {
        assert!(matches!(outcome, Err(Error::Unauthorized { .. })), "{outcome:?}");
    }
    let (logins, requests) = (stage.server().logins(), stage.server().requests().len());
    assert!(logins <= 3, "{logins} logins");
    assert!(lists(&stage, 10).await.iter().all(Result::is_err));
    assert_eq!(stage.server().requests().len(), requests);
}

#[tokio::test]
async fn a_login_that_is_not_answered_is_one_failure_for_all_who_wait() {
    let stage = Stage::new().await;
    stage.server().order(Order::always(Fault::status(503)).on("POST", LOGIN));
    for outcome in lists(&stage, 20).await {
        assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    }
    assert_eq!(stage.server().count("POST", LOGIN), 1);
    stage.server().clear_orders();
    pass(2).await;
    assert_eq!(lists(&stage, 1).await, [Ok(2)]);
}

#[tokio::test]
async fn a_rate_limited_login_says_when_to_try_again() {
    let stage = Stage::new().await;
    stage.server().order(Order::next(Fault::infisical_rate_limited_2024(43)).on("POST", LOGIN));
    let permit = stage.read().await;
    match stage.infisical.verify(&permit).await {
        Err(Error::RateLimited { after, .. }) => assert_eq!(after, Some(Duration::from_secs(43))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_static_token_is_just_used() {
    let token = |text: &str| membership_operator::provider::infisical::Credentials::Token(text.to_owned().into());
    let stage = Stage::with(token(INFISICAL_TOKEN)).await;
    assert_eq!(lists(&stage, 3).await, [Ok(2), Ok(2), Ok(2)]);
    stage.server().revoke_token(INFISICAL_TOKEN);
    let error = lists(&stage, 1).await.remove(0).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(!error.to_string().contains(INFISICAL_TOKEN), "{error}");
    assert_eq!(stage.server().count("POST", LOGIN), 0);
}

#[tokio::test]
async fn no_secret_is_shown_by_debug() {
    let credentials = universal_auth(INFISICAL_CLIENT_SECRET);
    assert!(!format!("{credentials:?}").contains(INFISICAL_CLIENT_SECRET));
}

#[tokio::test]
async fn the_generation_is_found_by_reads_that_change_nothing() {
    let cases = [
        (Generations::All, ErrorStyle::Current, "projects/v1/memberships", Some("no-access")),
        (Generations::G3, ErrorStyle::Current, "projects/v1/memberships", Some("no-access")),
        (Generations::G1AndG2, ErrorStyle::Current, "projects/v1", Some("no-access")),
        (Generations::G1, ErrorStyle::October2024, "workspace/v2", None),
        (Generations::G1, ErrorStyle::June2025, "workspace/v2", None),
    ];
    for (generations, style, api, base) in cases {
        let stage = Stage::new().await;
        stage.be(generations, style);
        let permit = stage.read().await;
        assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, api);
        assert_eq!(stage.infisical.capabilities(SubjectKind::Identity).permanent_base, base);
        let writes: Vec<_> = stage.server().requests().into_iter().filter(|r| r.method != "GET").collect();
        assert_eq!(writes.len(), 1, "{writes:?}");
        assert_eq!(stage.server().count("POST", LOGIN), 1);
    }
}

#[tokio::test]
async fn a_route_that_has_gone_is_looked_for_once() {
    let stage = Stage::new().await;
    let permit = stage.read().await;
    assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, "projects/v1");
    // Rolled back to an older version.
    stage.server().be_october_2024();
    assert_eq!(lists(&stage, 1).await, [Ok(2)]);
    let permit = stage.write().await;
    let change = Change::Create(permanent(&["viewer"]));
    stage.infisical.apply(&permit, &target(INFISICAL_DEPLOYER), None, &change).await.unwrap();
    assert_eq!(stage.server().count("GET", "/api/v1/projects"), 5, "verify, the list, the probe: then never again");
    assert_eq!(stage.infisical.capabilities(SubjectKind::Identity).permanent_base, None);
}

#[tokio::test]
async fn a_server_that_is_no_infisical_says_what_to_write() {
    let stage = Stage::new().await;
    let gone = simulator::Answer::new(404, serde_json::json!({"error": "Not Found", "message": "Route not found"}));
    stage.server().order(Order::always(Fault::Status(gone)).on("GET", ""));
    let permit = stage.read().await;
    let error = stage.infisical.verify(&permit).await.unwrap_err();
    assert!(error.to_string().contains("check that the URL is Infisical's"), "{error}");
}
