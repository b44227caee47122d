//! The traps of docs/reference/zitadel.md as management v1 has them for members of projects; what v2 and grants have in
//! common with them is in `everywhere`.

use super::*;

/// Trap 3.
#[tokio::test]
async fn a_wrong_organization_does_not_look_like_a_clean_revoke() {
    let world = World::start().await;
    world.server().grant(simulator::worlds::ZITADEL_OPERATOR, Scope::Instance, "IAM_OWNER");
    world.server().add_org("500", "deleted");
    world.server().delete_org("500");
    for organization in [OTHER_ORG, "500", "999999999999999999"] {
        let wrong = Target { project: under(Some(organization)), ..target(GRACE) };
        for error in [
            world.list(&wrong.project).await.unwrap_err(),
            world.apply(&wrong, &Change::Remove).await.unwrap_err(),
            world.apply(&wrong, &create(&[OWNER])).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{organization}: {error}");
            assert!(error.to_string().contains("organizationId"), "{organization}: {error}");
        }
    }
    assert_eq!(world.server().roles(PROJECT, GRACE), [VIEWER]);
}

/// zitadel issue #12482.
#[tokio::test]
async fn a_server_that_ignores_the_organization_is_noticed() {
    let world = World::start().await;
    let owner = json!({"sequence": "9", "resourceOwner": OTHER_ORG});
    let body =
        json!({"details": {"totalResult": "1"}, "result": [{"userId": ADA, "details": owner, "roles": [OWNER]}]});
    world.order(Order::next(Fault::Status(Answer::new(200, body))).on("POST", "_search"));
    let error = world.list(&project()).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    let answer = Answer::new(200, json!({"details": {"resourceOwner": OTHER_ORG}}));
    world.order(Order::next(Fault::Status(answer)).on("DELETE", ""));
    let error = world.apply(&target(GRACE), &Change::Remove).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
}

#[tokio::test]
async fn an_empty_list_is_believed_only_of_a_project_that_is_there() {
    let world = World::start().await;
    world.server().remove_member(PROJECT, GRACE);
    world.server().clear_requests();
    assert_eq!(world.list(&project()).await, Ok(Listing::default()));
    assert_eq!(world.calls(), ["POST search", "GET project"]);
    // A 403 is no word on whether it is there.
    let refused = recorded("permissions", "ORG_PROJECT_CREATOR: GET the project");
    world.order(Order::always(Fault::Status(refused)).on("GET", "/projects/"));
    assert!(matches!(world.list(&project()).await, Err(Error::Forbidden { .. })));
    world.server().clear_orders();
    world.order(Order::next(Fault::status(503)).on("GET", "/projects/"));
    assert!(matches!(world.list(&project()).await, Err(Error::Unreachable { .. })));
    // And so it is with a removal that found nothing.
    let refused = recorded("permissions", "ORG_PROJECT_CREATOR: GET the project");
    world.order(Order::always(Fault::Status(refused)).on("GET", "/projects/"));
    let removed = world.apply(&target(ADA), &Change::Remove).await;
    assert!(matches!(removed, Err(Error::Forbidden { .. })), "{removed:?}");
    world.server().clear_orders();
    assert_eq!(world.apply(&target(ADA), &Change::Remove).await, Ok(Receipt { version: None, kept: None }));
}

#[tokio::test]
async fn every_further_write_of_a_cure_is_charged() {
    let mut world = World::start().await;
    let limits = Limits { writes_per_minute: Some(2), ..Limits::default() };
    let user = target(GRACE);
    let shown = world.shown(&user).await;
    world.quota = EndpointQuota::new(true).quota("test".to_owned(), limits);
    let permit = world.permit().await;
    world.zitadel.repair(&permit, &user, None, &replace(&[OWNER]), shown.as_ref()).await.unwrap();
    drop(permit);
    let next = world.quota.permit(RequestKind::Write, Urgency::Revoke, "test");
    assert!(tokio::time::timeout(Duration::from_millis(100), next).await.is_err(), "two writes took the whole minute");
}

/// Trap 5.
#[tokio::test]
async fn a_user_that_search_never_shows_is_named() {
    let world = World::start().await;
    let user = target(ADA);
    world.server().lose_login_name(ADA);
    world.apply(&user, &create(&[OWNER])).await.expect("the server accepts it");
    assert_eq!(world.shown(&user).await, None);
    let mut found = recorded("name-resolution", "user, v1: by id");
    found.body["user"]["id"] = json!(ADA);
    let known = found.clone();
    found.body["user"].as_object_mut().unwrap().remove("loginNames");
    world.order(Order::next(Fault::Status(found)).on("GET", "/users/"));
    let absence = world.explain_absence(&user).await.unwrap_err();
    assert!(matches!(absence, Error::MemberNotListed { .. }), "{absence}");
    assert!(absence.to_string().contains("login name"), "{absence}");
    world.order(Order::next(Fault::Status(known)).on("GET", "/users/"));
    assert_eq!(world.explain_absence(&user).await, Ok(()));
    // A second try meets 409: it is written once more, and doesn't go round in circles.
    world.server().clear_requests();
    world.apply(&user, &create(&[VIEWER])).await.unwrap();
    assert_eq!(world.calls(), ["POST members", "POST search", "POST search", "PUT members"]);
}

#[tokio::test]
async fn what_may_not_be_read_of_a_user_proves_nothing() {
    let world = World::start().await;
    let user = target(ADA);
    for (first, second, expected) in [
        (recorded("permissions", "ORG_USER_MANAGER: search"), None, Ok(())),
        (recorded("permissions", "no role at all: search"), None, Ok(())),
        (recorded("name-resolution", "user, v1: by id, another organization"), Some(Fault::status(403)), Ok(())),
        (
            recorded("name-resolution", "user, v1: by id, another organization"),
            Some(Fault::Status(recorded("name-resolution", "user, v2: get, missing"))),
            Ok(()),
        ),
        (
            recorded("name-resolution", "user, v1: by id, another organization"),
            Some(Fault::Status(Answer::new(200, json!({"user": {"userId": ADA}})))),
            Err("MemberNotListed"),
        ),
        (Answer::new(200, json!({"user": {"id": GRACE, "loginNames": ["grace"]}})), None, Err("Unreachable")),
        (recorded("auth", "bad token"), None, Err("Unauthorized")),
    ] {
        world.server().clear_orders();
        world.order(Order::next(Fault::Status(first.clone())).on("GET", "/management/v1/users/"));
        if let Some(second) = second {
            world.order(Order::next(second).on("GET", "/v2/users/"));
        }
        let absence = world.explain_absence(&user).await;
        let found = absence.map_err(|error| format!("{:?}", error.reason()));
        assert_eq!(found, expected.map_err(str::to_owned), "{first:?}");
    }
}
