//! What the operator's own user needs (docs/providers/zitadel.md, "Rights"), by either API: with each role exactly what
//! the page lists works, and everything else is refused with the role to grant. As recorded (permissions.json and
//! name-resolution.json).

use super::*;

/// What a role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    Everything,
    Look,
    Nothing,
}

/// Where the operator's user has its only role.
#[derive(Clone, Copy, Debug)]
enum Seat {
    Org(&'static str),
    Project,
    Grant,
}

/// A world whose operator has one role.
async fn with(v2: bool, seat: Seat, role: &str) -> World {
    let world = if v2 { World::of_v2().await } else { World::start().await };
    let server = world.server();
    server.take_rights(OPERATOR, &Scope::Org(ORG.to_owned()));
    server.set_roles((PROJECT, GRANT), OPERATOR, &[]);
    server.set_roles((PROJECT, GRANT), BARBARA, &[GRANT_VIEWER]);
    match seat {
        Seat::Org(org) => server.grant(OPERATOR, Scope::Org(org.to_owned()), role),
        Seat::Project => server.set_roles(PROJECT, OPERATOR, &[role]),
        Seat::Grant => server.set_roles((PROJECT, GRANT), OPERATOR, &[role]),
    }
    world
}

/// What the client is answered: a list, and the three writes.
async fn outcomes(world: &World, project: &Project) -> (Result<(), Error>, Vec<Result<(), Error>>) {
    let (role, other, member) = match project.grant_id {
        None => (OWNER, VIEWER, GRACE),
        Some(_) => (GRANT_OWNER, GRANT_VIEWER, BARBARA),
    };
    let listed = world.list(project).await.map(drop);
    let mut written = Vec::new();
    for (user, change) in
        [(DEPLOYER, create(&[other])), (member, replace(&[role])), (member, Change::Remove), (ADA, Change::Remove)]
    {
        written.push(world.apply(&member_of(project, user), &change).await.map(drop));
    }
    (listed, written)
}

async fn holds(project: &Project, seat: Seat, role: &str, may: May) {
    for v2 in [false, true] {
        let world = with(v2, seat, role).await;
        let (listed, written) = outcomes(&world, project).await;
        let case = format!("{role} {seat:?}, v2: {v2}: {listed:?} {written:?}");
        assert_eq!(listed.is_ok(), may != May::Nothing, "{case}");
        let needs = if project.grant_id.is_some() { "PROJECT_GRANT_OWNER of the grant" } else { "PROJECT_OWNER" };
        for error in std::iter::once(&listed).chain(&written).filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(error, Error::Forbidden { .. }), "{case}");
            assert!(error.to_string().contains(needs), "{case}");
        }
        let writes = written.iter().filter(|outcome| outcome.is_ok()).count();
        // With v2 the removal of a missing member succeeds for every caller who may read the project.
        let most = usize::from(v2);
        match may {
            May::Everything => assert_eq!(writes, written.len(), "{case}"),
            May::Look | May::Nothing => assert!(writes <= most, "{case}"),
        }
        let member = if project.grant_id.is_some() { BARBARA } else { GRACE };
        let resource = simulator::Resource::new(PROJECT, project.grant_id.as_deref());
        let left = world.server().effective_roles(resource, member, world.server().now());
        assert_eq!(left.is_empty(), may == May::Everything, "{case}: {left:?}");
    }
}

#[tokio::test]
async fn the_members_of_a_project_need_its_owner() {
    for (seat, role, may) in [
        (Seat::Project, OWNER, May::Everything),
        (Seat::Project, VIEWER, May::Look),
        (Seat::Org(ORG), "ORG_OWNER", May::Everything),
        (Seat::Org(ORG), "ORG_OWNER_VIEWER", May::Look),
        (Seat::Org(ORG), "ORG_PROJECT_PERMISSION_EDITOR", May::Look),
        (Seat::Org(ORG), "ORG_USER_MANAGER", May::Nothing),
        (Seat::Grant, GRANT_OWNER, May::Nothing),
    ] {
        holds(&project(), seat, role, may).await;
    }
}

/// docs/reference/zitadel.md, "Grant members differ": permission is checked in the granted organization.
#[tokio::test]
async fn the_members_of_a_grant_need_its_owner_or_that_of_the_organization_it_is_to() {
    for (seat, role, may) in [
        (Seat::Grant, GRANT_OWNER, May::Everything),
        (Seat::Grant, GRANT_VIEWER, May::Look),
        (Seat::Org(GRANTED_ORG), "ORG_OWNER", May::Everything),
        (Seat::Org(GRANTED_ORG), "ORG_OWNER_VIEWER", May::Look),
    ] {
        holds(&grant(), seat, role, may).await;
    }
}

/// docs/reference/zitadel.md, "Least privilege".
#[tokio::test]
async fn an_owner_of_the_project_from_another_organization_does_with_the_organization_named() {
    for v2 in [false, true] {
        let world = with(v2, Seat::Org(OTHER_ORG), "ORG_SETTINGS_MANAGER").await;
        world.server().add_user("400623000000000001", OTHER_ORG, "operator-of-another");
        world.server().add_pat("another-token", "400623000000000001");
        world.server().set_roles(PROJECT, "400623000000000001", &[OWNER]);
        let world = world.calling_as("another-token");
        let (listed, written) = outcomes(&world, &project()).await;
        assert!(listed.is_ok() && written.iter().all(Result::is_ok), "v2: {v2}: {listed:?} {written:?}");
    }
}

async fn finds(world: &World, name: &str) -> Result<Vec<String>, Error> {
    world.zitadel.find_subject(&world.permit().await, &project(), SubjectKind::User, name).await
}

/// docs/reference/zitadel.md, "Names".
#[tokio::test]
async fn a_project_is_found_by_its_name_by_each_of_its_members() {
    for v2 in [false, true] {
        for (seat, role) in [(Seat::Project, OWNER), (Seat::Project, VIEWER), (Seat::Org(ORG), "ORG_OWNER_VIEWER")] {
            let world = with(v2, seat, role).await;
            let found = world.zitadel.find_project(&world.permit().await, "shop", Some(ORG)).await;
            assert_eq!(found.unwrap(), [PROJECT], "{role}, v2: {v2}");
        }
        let world = with(v2, Seat::Org(ORG), "ORG_SETTINGS_MANAGER").await;
        let refused = world.zitadel.find_project(&world.permit().await, "shop", Some(ORG)).await;
        let reported = refused.as_ref().is_err_and(|error| error.to_string().contains("write project.id"));
        assert!(reported && matches!(refused, Err(Error::Forbidden { .. })), "v2: {v2}: {refused:?}");
    }
}

#[tokio::test]
async fn a_user_is_found_by_name_with_rights_in_the_users_organization() {
    for v2 in [false, true] {
        for (org, name, id) in [(ORG, "ada", ADA), (GRANTED_ORG, "barbara", BARBARA)] {
            for role in ["ORG_OWNER_VIEWER", "ORG_USER_MANAGER"] {
                let world = with(v2, Seat::Org(org), role).await;
                assert_eq!(finds(&world, name).await.unwrap(), [id], "{role} of {org}, v2: {v2}");
            }
        }
        // An owner of the project sees the users of its organization by v1 only, and no other organization's by either.
        let world = with(v2, Seat::Project, OWNER).await;
        let (ada, barbara) = (finds(&world, "ada").await, finds(&world, "barbara").await);
        assert_eq!(ada.as_deref() == Ok(&[ADA.to_owned()]), !v2, "v2: {v2}: {ada:?}");
        for unseen in [&barbara, &ada].into_iter().take(if v2 { 2 } else { 1 }) {
            match unseen {
                Ok(found) => assert!(found.is_empty(), "v2: {v2}: {found:?}"),
                Err(error) => assert!(error.to_string().contains("write subject.id"), "v2: {v2}: {error}"),
            }
        }
    }
}
