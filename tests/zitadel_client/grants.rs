//! What is peculiar to members of project grants in management v1 (docs/reference/zitadel.md, "Grant members differ").

use super::*;

fn by(organization: &str) -> Project {
    Project { organization_id: Some(organization.to_owned()), ..grant() }
}

/// The owning and the granted organization may be named, and whichever it is, rows say that they are the owner's.
#[tokio::test]
async fn members_are_shown_to_either_organization() {
    let world = World::start().await;
    world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    for organization in [ORG, GRANTED_ORG] {
        world.apply(&member_of(&by(organization), BARBARA), &Change::Recreate(entries(&[GRANT_OWNER]))).await.unwrap();
        let listing = world.list(&by(organization)).await.unwrap();
        assert_eq!((listing.members.len(), listing.partial), (2, false), "{organization}");
    }
}

/// Trap 3: PUT and DELETE work under any organization, and search is empty under a third.
#[tokio::test]
async fn a_third_organization_does_not_look_like_a_clean_revoke() {
    let world = World::start().await;
    world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    let wrong = member_of(&by(OTHER_ORG), BARBARA);
    for error in
        [world.list(&wrong.project).await.unwrap_err(), world.apply(&wrong, &Change::Remove).await.unwrap_err()]
    {
        assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
        for word in [GRANT, PROJECT, OTHER_ORG, "organizationId"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }
    assert_eq!(world.server().roles((PROJECT, GRANT), OPERATOR), [GRANT_OWNER]);
}

#[tokio::test]
async fn an_empty_list_is_believed_only_of_a_grant_that_is_there() {
    let world = World::start().await;
    world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    world.server().remove_member((PROJECT, GRANT), OPERATOR);
    for (organization, calls) in [
        (ORG, vec!["POST search", "GET grant"]),
        (GRANTED_ORG, vec!["POST search", "GET grant", "GET granted project"]),
    ] {
        world.server().clear_requests();
        assert_eq!(world.list(&by(organization)).await, Ok(Listing::default()), "{organization}");
        assert_eq!(world.calls(), calls, "{organization}");
    }
    let refused = recorded("permissions", "ORG_PROJECT_CREATOR: GET the project");
    world.order(Order::next(Fault::Status(refused)).on("GET", "/grants/"));
    assert!(matches!(world.list(&by(ORG)).await, Err(Error::Forbidden { .. })));
}

/// What lets the deletion of an object finish.
#[tokio::test]
async fn a_grant_that_is_gone_is_positively_gone() {
    // By the removal of the grant, and by the deletion of the organization that received it: PUT then continues
    // answering 200.
    for organization_deleted in [false, true] {
        let world = World::start().await;
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.apply(&member_of(&by(ORG), GRACE), &create(&[GRANT_OWNER])).await.unwrap();
        match organization_deleted {
            true => world.server().delete_org(GRANTED_ORG),
            false => world.server().delete_project_grant(GRANT),
        }
        let replaced = world.apply(&member_of(&by(ORG), GRACE), &replace(&[GRANT_VIEWER])).await;
        match organization_deleted {
            true => assert!(replaced.is_ok(), "{replaced:?}"),
            false => assert!(matches!(replaced, Err(Error::Changed { .. })), "{replaced:?}"),
        }
        for error in [
            world.list(&by(ORG)).await.unwrap_err(),
            world.apply(&member_of(&by(ORG), ADA), &Change::Remove).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{error}");
            assert!(error.to_string().contains(GRANT), "{error}");
        }
        if !organization_deleted {
            let created = world.apply(&member_of(&by(ORG), ADA), &create(&[GRANT_OWNER])).await.unwrap_err();
            assert!(matches!(created, Error::ProjectNotFound { gone: true, .. }), "{created}");
        }
    }
}

/// The server looks a grant up by its own id: the path's project has no say.
#[tokio::test]
async fn a_wrong_grant_id_is_named() {
    let world = World::start().await;
    world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    let none = Project { grant_id: Some("999999999999999999".to_owned()), ..by(ORG) };
    let error = world.list(&none).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{error}");
    assert!(error.to_string().contains("999999999999999999") && error.to_string().contains("grantId"), "{error}");
    let view = json!({"grantId": GRANT, "projectId": "77", "details": {"resourceOwner": ORG}});
    world.order(Order::next(Fault::Status(Answer::new(200, json!({"projectGrant": view})))).on("GET", "/grants/"));
    world.server().remove_member((PROJECT, GRANT), OPERATOR);
    let error = world.list(&by(ORG)).await.unwrap_err();
    assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
    assert!(error.to_string().contains("project 77"), "{error}");
}

/// Members of a project and of its grants are different lists.
#[tokio::test]
async fn members_of_a_grant_are_none_of_the_project() {
    let world = World::start().await;
    let ids = |listing: Listing| listing.members.into_iter().map(|member| member.subject_id).collect::<Vec<_>>();
    assert_eq!(ids(world.list(&project()).await.unwrap()), [GRACE]);
    assert_eq!(ids(world.list(&grant()).await.unwrap()), [OPERATOR]);
}
