//! The server's own count of requests: nobody runs into a refusal that was announced.

use std::time::Duration;

use membership_operator::api::SubjectKind;
use membership_operator::provider::quota::RequestKind;
use membership_operator::provider::{Provider, Urgency};
use serde_json::json;
use simulator::{Answer, Fault, Order};

use crate::{Stage, web};

/// A list with the headers of rate-limit.json ("GET list, request 60").
fn list_with(remaining: &str) -> Answer {
    Answer::new(200, json!({"identityMemberships": []}))
        .header("x-ratelimit-limit", "60")
        .header("x-ratelimit-remaining", remaining)
        .header("x-ratelimit-reset", "57")
}

async fn may_begin(stage: &Stage, kind: RequestKind, urgency: Urgency) -> bool {
    tokio::time::timeout(Duration::from_millis(50), stage.quota.permit(kind, urgency, "team-a")).await.is_ok()
}

#[tokio::test]
async fn what_the_server_has_left_is_not_exceeded_and_its_last_tenth_is_for_revocations() {
    for (remaining, resync, revoke) in [("59", true, true), ("9", true, true), ("6", false, true), ("0", false, false)]
    {
        let stage = Stage::new().await;
        stage.server().order(Order::always(Fault::Status(list_with(remaining))).on("GET", "identity-memberships"));
        let permit = stage.read().await;
        stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap();
        drop(permit);
        assert_eq!(may_begin(&stage, RequestKind::Read, Urgency::Resync).await, resync, "{remaining} left");
        assert_eq!(may_begin(&stage, RequestKind::Read, Urgency::Revoke).await, revoke, "{remaining} left");
        assert!(may_begin(&stage, RequestKind::Write, Urgency::Grant).await, "reads and writes are counted apart");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(58)).await;
        assert!(may_begin(&stage, RequestKind::Read, Urgency::Resync).await, "{remaining} left, a minute later");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_sign_in_is_counted_for_itself() {
    let stage = Stage::new().await;
    let login =
        Answer::new(401, json!({"statusCode": 401, "error": "UnauthorizedError", "message": "Invalid credentials"}))
            .header("x-ratelimit-limit", "200")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "43");
    stage.server().order(Order::always(Fault::Status(login)).on("POST", "universal-auth/login"));
    let permit = stage.write().await;
    assert!(stage.infisical.verify(&permit).await.is_err());
    drop(permit);
    for kind in [RequestKind::Read, RequestKind::Write] {
        assert!(may_begin(&stage, kind, Urgency::Resync).await, "{kind:?}");
    }
}
