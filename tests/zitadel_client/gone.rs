//! Projects, grants and organizations that were deleted, as credentials of different rights see them: only a proof
//! counts (permissions.json; organization-header.json, "GET the project").

use super::*;

const CALLER: &str = "400623000000000001";
const CALLER_TOKEN: &str = "caller-token";
/// An organization of its own for the caller.
const HOME: &str = "400623000000000002";

/// A world whose operator is a user of [`HOME`] with its only role on the project or on the grant that is meant.
async fn world(project: &Project, v2: bool) -> World {
    let world = if v2 { World::of_v2().await } else { World::start().await };
    let server = world.server();
    server.add_org(HOME, "home");
    server.add_user(CALLER, HOME, "caller");
    server.add_pat(CALLER_TOKEN, CALLER);
    let role = if project.grant_id.is_some() { GRANT_OWNER } else { OWNER };
    server.set_roles(resource(project), CALLER, &[role]);
    let world = world.calling_as(CALLER_TOKEN);
    world.list(project).await.expect("it may read the members");
    world.find_out().await;
    world
}

fn resource(project: &Project) -> simulator::Resource {
    simulator::Resource::new(PROJECT, project.grant_id.as_deref())
}

fn views_its_own_organization(world: &World) {
    world.server().grant(CALLER, Scope::Org(HOME.to_owned()), "ORG_OWNER_VIEWER");
}

/// What is asked of a project by the operator: a list, and each kind of write.
async fn answers(world: &World, project: &Project) -> Vec<Result<(), Error>> {
    let role = if project.grant_id.is_some() { GRANT_OWNER } else { OWNER };
    let user = member_of(project, BARBARA);
    let mut answers = vec![world.list(project).await.map(drop)];
    for change in [create(&[role]), replace(&[role]), Change::Remove] {
        answers.push(world.apply(&user, &change).await.map(drop));
    }
    answers
}

/// How something goes.
type Ending = (&'static str, fn(&simulator::Zitadel));

const OF_A_PROJECT: [Ending; 2] = [
    ("project deleted", |server| server.delete_project(PROJECT)),
    ("organization deleted", |server| server.delete_org(ORG)),
];

const OF_A_GRANT: [Ending; 4] = [
    ("grant removed", |server| server.delete_project_grant(GRANT)),
    ("granted organization deleted", |server| server.delete_org(GRANTED_ORG)),
    ("project deleted", |server| server.delete_project(PROJECT)),
    ("organization deleted", |server| server.delete_org(ORG)),
];

fn endings() -> impl Iterator<Item = (Project, Ending)> {
    let of_project = OF_A_PROJECT.into_iter().map(|ending| (project(), ending));
    of_project.chain(OF_A_GRANT.into_iter().map(|ending| (grant(), ending)))
}

/// It is refused as a user without any role, or as the owner of another project.
#[tokio::test]
async fn a_credential_that_lost_its_only_role_with_the_project_gets_a_message_that_says_what_would_prove_the_deletion()
{
    for (project, (name, goes)) in endings() {
        for elsewhere in [false, true] {
            let world = world(&project, false).await;
            if elsewhere {
                world.server().add_project("801", ORG, "another");
                world.server().set_roles("801", CALLER, &[OWNER]);
            }
            goes(world.server());
            for answer in answers(&world, &project).await {
                let error = answer.unwrap_err();
                assert!(matches!(error, Error::Forbidden { .. }), "{name}, {elsewhere}: {error}");
                for word in ["was deleted", "ORG_OWNER_VIEWER of its own organization", "make its user PROJECT_"] {
                    assert!(error.to_string().contains(word), "{name}, {elsewhere}: {word}: {error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_deleted_is_proven_by_what_the_credentials_own_organization_lets_it_read() {
    for (project, (name, goes)) in endings() {
        let world = world(&project, false).await;
        views_its_own_organization(&world);
        goes(world.server());
        for answer in answers(&world, &project).await {
            let error = answer.unwrap_err();
            assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{name}: {error}");
        }
    }
}

/// docs/providers/zitadel.md, "Deleted projects, grants and organizations".
#[tokio::test]
async fn a_role_of_the_projects_organization_proves_what_that_organization_outlives_and_one_of_the_instance_everything()
{
    for (of, (name, goes)) in endings() {
        for (scope, role) in [(Scope::Org(ORG.to_owned()), "ORG_OWNER_VIEWER"), (Scope::Instance, "IAM_OWNER_VIEWER")] {
            let world = world(&of, false).await;
            let proves = scope == Scope::Instance || name != "organization deleted";
            world.server().grant(CALLER, scope, role);
            goes(world.server());
            let project = Project { organization_id: Some(ORG.to_owned()), ..of.clone() };
            let error = world.list(&project).await.unwrap_err();
            let gone = matches!(error, Error::ProjectNotFound { gone: true, .. });
            assert_eq!(gone, proves, "{role}, {name}: {error}");
        }
    }
}

/// MANAG-SFf2a and its like: it is there, and only the role is gone.
#[tokio::test]
async fn what_still_exists_is_not_taken_for_deleted() {
    for (project, home) in [(project(), false), (project(), true), (grant(), false), (grant(), true)] {
        let world = world(&project, false).await;
        if home {
            views_its_own_organization(&world);
        }
        world.server().remove_member(resource(&project), CALLER);
        for answer in answers(&world, &project).await {
            let error = answer.unwrap_err();
            assert!(matches!(error, Error::Forbidden { .. }), "{project:?}, {home}: {error}");
            assert_eq!(error.to_string().contains("was deleted"), !home, "{project:?}, {home}: {error}");
        }
    }
}

/// Another organization is named for it than the credential's own, which it belongs to.
#[tokio::test]
async fn a_project_under_a_wrong_organization_is_not_taken_for_deleted() {
    let world = World::start().await;
    world.server().add_org(HOME, "home");
    world.server().add_org("500", "deleted");
    world.server().delete_org("500");
    for organization in [HOME, "500", "999999999999999999"] {
        let error = world.list(&under(Some(organization))).await.unwrap_err();
        let gone = matches!(error, Error::ProjectNotFound { gone: true, .. });
        assert!(!gone && error.to_string().contains("set organizationId"), "{organization}: {error}");
        assert!(!error.to_string().contains("was deleted"), "{organization}: {error}");
    }
}

/// The recorded answers of the real server, each to the request that it was recorded of.
#[tokio::test]
async fn only_a_project_that_is_missing_from_the_whole_instance_is_gone() {
    let without_role = || recorded("permissions", "no role at all: search");
    for (own, gone) in [
        (recorded("organization-header", "GET a project that does not exist, right organization"), Some(true)),
        (
            recorded(
                "organization-header",
                "GET the project, header absent (the caller belongs to another organization)",
            ),
            None,
        ),
        (recorded("permissions", "PROJECT_OWNER of another project: GET the project"), None),
        (recorded("permissions", "no role at all: GET the project"), None),
        (Answer::new(503, json!({})), None),
        (Answer::new(404, json!({"code": 5, "message": "Not Found"})), None),
        (Answer::new(200, json!({})), None),
    ] {
        let world = World::start().await;
        world.order(Order::next(Fault::Status(without_role())).on("POST", "_search"));
        world.order(Order::nth(1, Fault::Status(without_role())).on("GET", "/projects/"));
        world.order(Order::nth(2, Fault::Status(own.clone())).on("GET", "/projects/"));
        let error = world.list(&project()).await.unwrap_err();
        match gone {
            Some(gone) => assert!(
                matches!(&error, Error::ProjectNotFound { gone: found, .. } if *found == gone),
                "{own:?}: {error}"
            ),
            None => assert!(matches!(error, Error::Forbidden { .. }), "{own:?}: {error}"),
        }
        assert_eq!(world.calls(), ["POST search", "GET project", "GET project"]);
    }
}

/// v2 returns QUERY-fk2fs before it checks permissions.
#[tokio::test]
async fn by_v2_a_deleted_project_is_proven_to_every_credential() {
    for (name, goes) in OF_A_PROJECT {
        let world = world(&project(), true).await;
        goes(world.server());
        let user = target(BARBARA);
        for error in [
            world.list(&project()).await.unwrap_err(),
            world.apply(&user, &create(&[OWNER])).await.unwrap_err(),
            world.apply(&user, &Change::Remove).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn by_v2_a_removed_grant_is_proven_to_who_may_read_its_project() {
    for reads in [false, true] {
        let world = world(&grant(), true).await;
        if reads {
            world.server().grant(CALLER, Scope::Org(ORG.to_owned()), "ORG_OWNER_VIEWER");
        }
        world.server().delete_project_grant(GRANT);
        let user = member_of(&grant(), BARBARA);
        for error in [world.list(&grant()).await.unwrap_err(), world.apply(&user, &Change::Remove).await.unwrap_err()] {
            if reads {
                assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{error}");
            } else {
                assert!(matches!(error, Error::Forbidden { .. }), "{error}");
                let phrase = "ORG_OWNER_VIEWER of the organization that owns the project";
                assert!(error.to_string().contains(phrase), "{error}");
            }
        }
    }
}
