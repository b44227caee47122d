//! Members of projects by management v1.

use super::*;
use simulator::ServerGeneration;

/// v3 and before: 400/9 PROJECT-LiaZi, the id of an empty list.
#[tokio::test]
async fn a_server_that_refuses_an_unchanged_list_has_it_already() {
    let world = World::start().await;
    world.server().set_generation(ServerGeneration::V3);
    let user = target(GRACE);
    let shown = world.shown(&user).await.unwrap();
    assert_eq!(
        world.apply(&user, &replace(&[VIEWER])).await,
        Ok(Receipt { version: shown.version, ..Receipt::default() })
    );
    // Where search shows another list, the server has it and search has lost it: nothing is confirmed by that.
    world.order(Order::next(Fault::LostWrite).on("PUT", ""));
    world.apply(&user, &replace(&[OWNER])).await.unwrap();
    assert_eq!(world.apply(&user, &replace(&[OWNER])).await, Ok(Receipt { version: None, ..Receipt::default() }));
}

#[tokio::test]
async fn without_an_organization_the_caller_s_own_is_meant() {
    let world = World::start().await;
    assert_eq!(world.list(&under(None)).await.unwrap().members.len(), 1, "the operator's own");
    world.server().add_user("502", OTHER_ORG, "outsider");
    world.server().add_pat("outsider-token", "502");
    world.server().grant("502", Scope::Org(OTHER_ORG.to_owned()), "ORG_OWNER");
    let world = world.calling_as("outsider-token");
    let error = world.list(&under(None)).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    let error = world.list(&project()).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "AUTHZ-cdgFk: {error}");
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let world = World::start().await;
    for user in 0..2_344 {
        let id = (600_000 + user).to_string();
        world.server().add_user(&id, ORG, &format!("bot-{user}"));
        world.server().set_roles(PROJECT, &id, &[VIEWER]);
    }
    world.server().clear_requests();
    let listing = world.list(&project()).await.unwrap();
    assert_eq!((listing.members.len(), listing.partial), (2_345, false));
    assert_eq!(world.server().count("POST", "_search"), 3);
    let queries: Vec<Value> = world.bodies().iter().map(|body| body["query"].clone()).collect();
    assert_eq!(
        queries,
        [
            json!({"offset": "0", "limit": 1000}),
            json!({"offset": "1000", "limit": 1000}),
            json!({"offset": "2000", "limit": 1000}),
        ]
    );
    // A page without its last row, and a first page that comes a second time.
    world.order(Order::nth(3, Fault::PartialList { drop: 1 }).on("POST", "_search"));
    assert!(!world.list(&project()).await.unwrap().partial, "the row that was left out is asked for again");
    world.order(Order::nth(3, Fault::PartialList { drop: 1 }).on("POST", "_search"));
    world.order(Order::nth(4, Fault::PartialList { drop: 1 }).on("POST", "_search"));
    let listing = world.list(&project()).await.unwrap();
    assert_eq!((listing.members.len(), listing.partial), (2_344, true));
    let first = json!({"details": {"totalResult": "2345"}, "result": [{"userId": GRACE, "roles": [VIEWER]}]});
    world.order(Order::nth(2, Fault::Status(Answer::new(200, first))).on("POST", "_search"));
    assert!(world.list(&project()).await.unwrap().partial, "doubled");
}

#[tokio::test]
async fn a_member_that_search_is_late_to_show_is_not_taken_for_a_ghost() {
    let world = World::start().await;
    world.server().set_search_lag(Duration::from_millis(100));
    world.server().set_roles(PROJECT, ADA, &[VIEWER]);
    let created = world.apply(&target(ADA), &create(&[OWNER])).await;
    assert!(matches!(created, Err(Error::Changed { .. })), "{created:?}");
    assert_eq!(world.server().roles(PROJECT, ADA), [VIEWER]);
}

#[tokio::test]
async fn an_owner_of_the_project_can_do_all_of_it() {
    let world = World::start().await;
    world.server().add_user("511", OTHER_ORG, "guest");
    world.server().add_pat("guest-token", "511");
    world.server().set_roles(PROJECT, "511", &[OWNER]);
    let world = world.calling_as("guest-token");
    let user = target(ADA);
    world.apply(&user, &create(&[OWNER])).await.unwrap();
    world.apply(&user, &replace(&[VIEWER])).await.unwrap();
    assert_eq!(roles(world.shown(&user).await.as_ref()), [VIEWER]);
    world.apply(&user, &Change::Remove).await.unwrap();
    assert_eq!(world.shown(&user).await, None);
    // And is Forbidden when it isn't owner any more.
    world.server().set_roles(PROJECT, "511", &[VIEWER]);
    let error = world.apply(&user, &create(&[OWNER])).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("PROJECT_OWNER"), "{error}");
}

#[tokio::test]
async fn ids_that_are_none_are_never_sent() {
    let world = World::start().await;
    world.server().clear_requests();
    let odd = "1/../../../admin";
    assert!(matches!(world.list(&Project { id: odd.to_owned(), ..project() }).await, Err(Error::Rejected { .. })));
    assert!(matches!(world.list(&under(Some("acme"))).await, Err(Error::Rejected { .. })));
    for change in [create(&[OWNER]), replace(&[OWNER]), Change::Remove, create(&[])] {
        let user = if change == create(&[]) { ADA } else { odd };
        let applied = world.apply(&target(user), &change).await;
        assert!(matches!(applied, Err(Error::Rejected { .. })), "{change:?}: {applied:?}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn the_server_s_clock_is_noticed() {
    let world = World::start().await.calling_as(TOKEN);
    assert_eq!(world.zitadel.clock(), None);
    world.server().set_clock_offset(jiff::SignedDuration::from_secs(300));
    world.list(&project()).await.unwrap();
    let skew = world.zitadel.clock().unwrap().skew(jiff::Timestamp::now(), std::time::Instant::now());
    assert!((297..=300).contains(&skew.as_secs()), "{skew}");
}
