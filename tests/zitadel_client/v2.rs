//! What is peculiar to v2.

use super::*;

/// The organization is the project's own regardless of the header: none is sent, and rows and the project are compared.
#[tokio::test]
async fn a_wrong_organization_is_noticed_without_a_header() {
    let world = World::of_v2().await;
    let wrong = Target { project: under(Some(OTHER_ORG)), ..target(GRACE) };
    let error = world.list(&wrong.project).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    assert!(error.to_string().contains("organizationId"), "{error}");
    world.server().remove_member(PROJECT, GRACE);
    let error = world.list(&wrong.project).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "without any row: {error}");
    // With the header this is 403 AUTH-Bs7Ds.
    let error = world.list(&under(Some("999999999999999999"))).await.unwrap_err();
    assert!(error.to_string().contains("doesn't belong to organization 999999999999999999"), "{error}");
}

#[tokio::test]
async fn an_empty_list_is_believed_only_of_a_project_that_is_there() {
    let world = World::of_v2().await;
    world.server().remove_member(PROJECT, GRACE);
    assert_eq!(world.list(&project()).await, Ok(Listing::default()));
    assert_eq!(world.calls(), ["POST ListAdministrators", "POST GetProject"]);
    let refused = recorded("internal-permissions-v2", "no rights: update");
    world.order(Order::next(Fault::Status(refused)).on("POST", "GetProject"));
    assert!(matches!(world.list(&project()).await, Err(Error::Forbidden { .. })));
}

/// 200, no rows and a total: never an empty list.
#[tokio::test]
async fn rows_that_are_hidden_are_no_empty_list() {
    let world = World::of_v2().await;
    world.order(Order::next(Fault::Status(recorded("internal-permissions-v2", "no rights: list"))));
    let error = world.list(&project()).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("PROJECT_OWNER"), "{error}");
    // One who may see its own row only.
    let world = world.calling_as("viewer-token");
    world.server().add_user("510", ORG, "viewer");
    world.server().add_pat("viewer-token", "510");
    world.server().set_roles(PROJECT, "510", &[GRANT_OWNER]);
    let listing = world.list(&project()).await.unwrap();
    assert_eq!((listing.members.len(), listing.partial), (1, true));
}

/// An unknown filter lists the administrators of everything.
#[tokio::test]
async fn a_misspelt_filter_lists_everything() {
    let world = World::of_v2().await;
    let row = |user: &str, of: &str, resource: Value| json!({"changeDate": "2026-11-21T18:42:37Z", "user": {"id": user}, "roles": [OWNER], of: resource});
    let of_grant = |id: &str, project: &str, to: &str| json!({"id": id, "projectId": project, "organizationId": ORG, "grantedOrganizationId": to});
    let everything = json!({
        "pagination": {"totalResult": "7", "appliedLimit": "1000"},
        "administrators": [
            row(ADA, "instance", json!(true)),
            row(ADA, "organization", json!({"id": ORG, "name": "acme"})),
            row(GRACE, "project", json!({"id": PROJECT, "name": "shop", "organizationId": ORG})),
            row(ADA, "project", json!({"id": "77", "name": "other", "organizationId": ORG})),
            row(OPERATOR, "projectGrant", of_grant(GRANT, PROJECT, GRANTED_ORG)),
            row(ADA, "projectGrant", of_grant("501", PROJECT, "500")),
            row(ADA, "projectGrant", of_grant("502", "77", GRANTED_ORG)),
        ],
    });
    for project in [project(), grant()] {
        world.order(Order::next(Fault::Status(Answer::new(200, everything.clone()))).on("POST", "ListAdministrators"));
        let listing = world.list(&project).await.unwrap();
        assert!(!listing.partial);
        let expected = if project.grant_id.is_some() { OPERATOR } else { GRACE };
        let users: Vec<&str> = listing.members.iter().map(|member| member.subject_id.as_str()).collect();
        assert_eq!(users, [expected], "{project:?}");
    }
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page_in_one_order() {
    let world = World::of_v2().await;
    for user in 0..1_004 {
        let id = (600_000 + user).to_string();
        world.server().add_user(&id, ORG, &format!("bot-{user}"));
        world.server().set_roles(PROJECT, &id, &[VIEWER]);
    }
    world.server().clear_requests();
    let listing = world.list(&project()).await.unwrap();
    assert_eq!((listing.members.len(), listing.partial), (1_005, false));
    let pages: Vec<Value> = world.bodies().iter().map(|body| body["pagination"].clone()).collect();
    let page = |offset: &str| json!({"offset": offset, "limit": 1000, "asc": true});
    assert_eq!(pages, [page("0"), page("1000")], "1,001 is refused: QUERY-4M0fs");
    assert!(world.bodies().iter().all(|body| body["sortingColumn"] == "ADMINISTRATOR_FIELD_NAME_USER_ID"));
}

/// Dates have no time zone to mistake and microseconds at most: a row's is exactly the write's.
#[tokio::test]
async fn a_version_is_the_date_in_microseconds() {
    let world = World::of_v2().await;
    let answer = recorded("internal-permissions-v2", "update to two roles");
    world.order(Order::next(Fault::Status(answer)).on("POST", "UpdateAdministrator"));
    let receipt = world.apply(&target(GRACE), &replace(&[OWNER, VIEWER])).await.unwrap();
    let date: jiff::Timestamp = "2026-11-21T18:42:37.563772Z".parse().unwrap();
    assert_eq!(receipt.version, Some(u64::try_from(date.as_microsecond()).unwrap()));
    world.order(Order::next(Fault::Status(Answer::new(200, json!({})))).on("POST", "UpdateAdministrator"));
    let error = world.apply(&target(GRACE), &replace(&[OWNER])).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "200 and no date is no answer to a change: {error}");
}

/// v2 names a grant by the organization that the project is granted to.
#[tokio::test]
async fn a_grant_is_found_by_its_organization_or_by_its_members() {
    let mut world = World::of_v2().await;
    world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    world.server().add_org("500", "initech");
    world.server().add_project_grant("501", PROJECT, "500");
    let of = |organization: Option<&str>, id: &str| Project {
        organization_id: organization.map(str::to_owned),
        grant_id: Some(id.to_owned()),
        ..project()
    };
    // By the organization that it is to: one list of grants, once.
    let user = member_of(&of(Some("500"), "501"), ADA);
    world.server().clear_requests();
    world.apply(&user, &create(&[GRANT_OWNER])).await.unwrap();
    world.apply(&user, &replace(&[GRANT_VIEWER])).await.unwrap();
    assert_eq!(world.calls(), ["POST ListProjectGrants", "POST CreateAdministrator", "POST UpdateAdministrator"]);
    assert_eq!(world.server().roles((PROJECT, "501"), ADA), [GRANT_VIEWER]);
    // By its members, where the organization is the project's owner or none.
    for organization in [Some(ORG), None] {
        world = world.calling_as(TOKEN);
        let listing = world.list(&of(organization, "501")).await.unwrap();
        assert_eq!(listing.members.len(), 1, "{organization:?}");
    }
    // There are no members, or there is no such grant: that can't be distinguished here.
    world.server().remove_member((PROJECT, "501"), ADA);
    world = world.calling_as(TOKEN);
    let error = world.list(&of(Some(ORG), "501")).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    assert!(error.to_string().contains("organizationId"), "{error}");
    // Another grant of the organization that was named.
    let error = world.list(&of(Some(GRANTED_ORG), "501")).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    assert!(error.to_string().contains(GRANT), "{error}");
}
