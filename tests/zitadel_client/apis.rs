//! Which API is spoken.

use super::*;

#[tokio::test]
async fn management_v1_is_spoken_where_it_is_served() {
    let world = World::start().await;
    for (generation, api) in [
        (ServerGeneration::V3, "management/v1"),
        (ServerGeneration::V4, "management/v1"),
        (ServerGeneration::V2Only, "internal_permission/v2"),
        (ServerGeneration::V4, "management/v1"),
    ] {
        world.server().set_generation(generation);
        assert_eq!(world.verify().await, Ok(api), "{generation:?}");
        world.server().clear_requests();
        world.apply(&target(GRACE), &replace(&[VIEWER])).await.unwrap();
        let call = if api == "management/v1" { "PUT members" } else { "POST UpdateAdministrator" };
        assert!(world.calls().contains(&call.to_owned()), "{generation:?}: {:?}", world.calls());
    }
}

#[tokio::test]
async fn the_api_is_looked_for_once_by_reads() {
    let world = World::start().await.calling_as(TOKEN);
    world.server().clear_requests();
    world.list(&project()).await.unwrap();
    world.list(&project()).await.unwrap();
    assert_eq!(world.calls(), ["POST roles", "POST search", "POST search"]);
}

/// An upgrade took the routes of management v1 away while the operator ran.
#[tokio::test]
async fn a_route_that_is_gone_is_noticed() {
    let world = World::start().await;
    let version = world.shown(&target(GRACE)).await.unwrap().version;
    world.server().set_generation(ServerGeneration::V2Only);
    let error = world.apply(&target(GRACE), &replace(&[OWNER])).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { effect: Effect::None, .. }), "{error}");
    world.server().clear_requests();
    world.apply(&target(GRACE), &replace(&[OWNER])).await.unwrap();
    assert_eq!(world.calls(), ["POST roles", "POST ListAdministrators", "POST UpdateAdministrator"]);
    let shown = world.shown(&target(GRACE)).await.unwrap();
    assert_eq!(roles(Some(&shown)), [OWNER]);
    assert!(shown.version > version, "a date in microseconds is later than any sequence");
}

/// v3 and before: 400/9 PROJECT-LiaZi of a project's member, PROJECT-2n8vx of a grant's.
#[tokio::test]
async fn not_changed_is_no_error_of_either_generation() {
    let world = World::start().await;
    for generation in [ServerGeneration::V3, ServerGeneration::V4] {
        world.server().set_generation(generation);
        let shown = world.shown(&target(GRACE)).await.unwrap();
        let replaced = world.apply(&target(GRACE), &replace(&[VIEWER])).await;
        assert_eq!(replaced, Ok(Receipt { version: shown.version, ..Receipt::default() }), "{generation:?}");
    }
    world.server().set_roles((PROJECT, GRANT), GRACE, &[GRANT_VIEWER]);
    let user = member_of(&grant(), GRACE);
    let shown = world.shown(&user).await.unwrap();
    let detail = json!({"id": "PROJECT-2n8vx", "message": "Errors.Project.Member.RolesNotChanged"});
    let refused = Answer::new(400, json!({"code": 9, "message": "not changed", "details": [detail]}));
    world.order(Order::next(Fault::Status(refused)).on("PUT", "/grants/"));
    let replaced = world.apply(&user, &replace(&[GRANT_VIEWER])).await;
    assert_eq!(replaced, Ok(Receipt { version: shown.version, ..Receipt::default() }));
}
