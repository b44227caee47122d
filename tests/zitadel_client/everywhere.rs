//! What holds for members of projects and of grants, by management v1 and by v2.

use super::*;

/// Members of one kind by one API.
struct Place {
    name: &'static str,
    world: World,
    project: Project,
    /// Two roles in the order of the alphabet.
    owner: &'static str,
    viewer: &'static str,
    /// The user who is a viewer, and those who are no members.
    member: &'static str,
    non_member: &'static str,
    other: &'static str,
    /// What the calls that change something are called in orders: method and path.
    add: (&'static str, &'static str),
    change: (&'static str, &'static str),
    remove: (&'static str, &'static str),
    v2: bool,
}

impl Place {
    async fn all() -> [Self; 4] {
        [
            Self::new("project, v1", false, false).await,
            Self::new("grant, v1", true, false).await,
            Self::new("project, v2", false, true).await,
            Self::new("grant, v2", true, true).await,
        ]
    }

    async fn new(name: &'static str, of_grant: bool, v2: bool) -> Self {
        let world = if v2 { World::of_v2().await } else { World::start().await };
        let (project, owner, viewer) =
            if of_grant { (grant(), GRANT_OWNER, GRANT_VIEWER) } else { (project(), OWNER, VIEWER) };
        if of_grant {
            world.server().set_roles((PROJECT, GRANT), GRACE, &[GRANT_VIEWER]);
            world.list(&project).await.unwrap();
            world.server().clear_requests();
        }
        let (add, change, remove) = match v2 {
            true => (("POST", "CreateAdmin"), ("POST", "UpdateAdmin"), ("POST", "DeleteAdmin")),
            false => (("POST", "/members"), ("PUT", "/members/"), ("DELETE", "/members/")),
        };
        let (member, non_member, other) = (GRACE, ADA, DEPLOYER);
        Self { name, world, project, owner, viewer, member, non_member, other, add, change, remove, v2 }
    }

    fn user(&self, user: &str) -> Target {
        member_of(&self.project, user)
    }

    fn resource(&self) -> simulator::Resource {
        simulator::Resource::new(PROJECT, self.project.grant_id.as_deref())
    }

    /// What search and rights say.
    fn in_force(&self, user: &str) -> Vec<String> {
        self.world.server().effective_roles(self.resource(), user, self.world.server().now()).into_iter().collect()
    }

    fn loses(&self, (method, path): (&str, &str)) {
        self.world.order(Order::next(Fault::LostWrite).on(method, path));
    }
}

#[tokio::test]
async fn a_member_is_created_changed_listed_and_removed() {
    for place in Place::all().await {
        let Place { name, world, owner, viewer, .. } = &place;
        let user = place.user(place.other);
        let created = world.apply(&user, &create(&[owner])).await.unwrap();
        let shown = world.shown(&user).await;
        assert_eq!(roles(shown.as_ref()), [*owner], "{name}");
        assert_eq!(shown.unwrap().version, created.version, "{name}: the row's version is the write's");
        let changed = world.apply(&user, &replace(&[viewer, owner])).await.unwrap();
        assert!(changed.version > created.version, "{name}");
        let shown = world.shown(&user).await;
        assert_eq!(roles(shown.as_ref()), [*owner, *viewer], "{name}");
        assert_eq!(shown.unwrap().version, changed.version, "{name}");
        let removed = world.apply(&user, &Change::Remove).await.unwrap();
        assert!(removed.version > changed.version, "{name}");
        assert_eq!(world.shown(&user).await, None, "{name}");
        let again = world.apply(&user, &Change::Remove).await.unwrap();
        assert_eq!(again.version, removed.version, "{name}: a second time is no error");
        let never = world.apply(&place.user(place.non_member), &Change::Remove).await;
        assert_eq!(never, Ok(Receipt { version: None, ..Receipt::default() }), "{name}");
        world.apply(&user, &Change::Recreate(entries(&[viewer]))).await.unwrap();
        assert_eq!(roles(world.shown(&user).await.as_ref()), [*viewer], "{name}");
    }
}

/// Trap 2.
#[tokio::test]
async fn the_order_of_roles_makes_no_event() {
    for place in Place::all().await {
        let Place { name, world, owner, viewer, .. } = &place;
        let user = place.user(place.other);
        let created = world.apply(&user, &create(&[viewer, owner, viewer])).await.unwrap();
        let again = world.apply(&user, &replace(&[owner, viewer])).await.unwrap();
        assert_eq!(again.version, created.version, "{name}");
        assert_eq!(world.written(), [json!([owner, viewer]), json!([owner, viewer])], "{name}");
    }
}

/// "Grant members differ": POST of one who is there is 404 with the id of "not found" there.
#[tokio::test]
async fn already_exists_as_404_on_grants() {
    for place in Place::all().await {
        let Place { name, world, project, owner, viewer, .. } = &place;
        let organizations: &[&str] = if project.grant_id.is_some() { &[ORG, GRANTED_ORG] } else { &[ORG] };
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        for organization in organizations {
            let project = Project { organization_id: Some((*organization).to_owned()), ..project.clone() };
            let created = world.apply(&member_of(&project, place.member), &create(&[owner])).await;
            assert!(
                matches!(&created, Err(Error::Changed { message }) if message.contains("is a member")),
                "{name}, {organization}: {created:?}"
            );
            assert_eq!(world.server().roles(place.resource(), place.member), [*viewer], "{name}, {organization}");
            let replaced = world.apply(&member_of(&project, place.non_member), &replace(&[owner])).await;
            assert!(
                matches!(&replaced, Err(Error::Changed { message }) if message.contains("is no member")),
                "{name}, {organization}: {replaced:?}"
            );
            assert!(world.server().roles(place.resource(), place.non_member).is_empty(), "{name}, {organization}");
        }
    }
}

/// Trap 4.
#[tokio::test]
async fn a_lost_put_is_repaired() {
    for place in Place::all().await {
        let Place { name, world, owner, viewer, .. } = &place;
        let user = place.user(place.member);
        let wanted = replace(&[owner]);
        place.loses(place.change);
        let lost = world.apply(&user, &wanted).await.unwrap();
        let shown = world.shown(&user).await;
        assert_eq!(roles(shown.as_ref()), [*viewer], "{name}");
        assert!(shown.unwrap().version < lost.version, "{name}: the row's version shows it");
        assert_eq!(world.apply(&user, &wanted).await, Ok(lost), "{name}: the same once more repairs nothing");
        assert_eq!(place.in_force(place.member), [*viewer], "{name}");
        world.server().clear_requests();
        let repaired = world.repair(&user, &wanted).await.unwrap();
        assert!(repaired.version > lost.version, "{name}");
        let shown = world.shown(&user).await;
        assert_eq!(roles(shown.as_ref()), [*owner], "{name}");
        assert_eq!(shown.unwrap().version, repaired.version, "{name}");
        let lists = if place.v2 { [json!([owner]), json!([owner])] } else { [json!([owner, owner]), json!([owner])] };
        assert_eq!(world.written(), lists, "{name}: no other role for a moment");
        let removed = world
            .server()
            .requests()
            .iter()
            .any(|request| request.method == place.remove.0 && request.path.contains(place.remove.1));
        assert_eq!(removed, place.v2, "{name}: v2 takes no role twice, and a single one has no other order");
    }
}

/// Trap 4: a list of several roles is repaired by another order where none may be repeated.
#[tokio::test]
async fn a_lost_put_of_two_roles_is_repaired() {
    for place in Place::all().await {
        let Place { name, world, owner, viewer, .. } = &place;
        let user = place.user(place.member);
        let wanted = replace(&[owner, viewer]);
        place.loses(place.change);
        world.apply(&user, &wanted).await.unwrap();
        world.server().clear_requests();
        world.repair(&user, &wanted).await.unwrap();
        assert_eq!(roles(world.shown(&user).await.as_ref()), [*owner, *viewer], "{name}");
        let other = if place.v2 { json!([viewer, owner]) } else { json!([owner, viewer, viewer]) };
        assert_eq!(world.written(), [other, json!([owner, viewer])], "{name}");
    }
}

/// Trap 4. The server has no such member, the row and the rights stay: the POST that must come before the second DELETE
/// is stuck until the fifth event, and there is no other writer.
#[tokio::test]
async fn a_lost_delete_is_repaired_at_once_on_a_quiet_instance() {
    for place in Place::all().await {
        let Place { name, world, viewer, .. } = &place;
        let user = place.user(place.member);
        place.loses(place.remove);
        let lost = world.apply(&user, &Change::Remove).await.unwrap();
        assert_eq!(roles(world.shown(&user).await.as_ref()), [*viewer], "{name}");
        assert_eq!(world.apply(&user, &Change::Remove).await, Ok(lost), "{name}: the same once more repairs nothing");
        let changed = world.apply(&user, &replace(&[viewer])).await;
        assert!(matches!(changed, Err(Error::Changed { .. })), "{name}: {changed:?}");
        world.server().clear_requests();
        world.repair(&user, &Change::Remove).await.unwrap();
        let only_what_is_in_force = json!([viewer]);
        assert_eq!(world.written(), vec![only_what_is_in_force; 3], "{name}");
        assert_eq!(world.shown(&user).await, None, "{name}");
        assert!(place.in_force(place.member).is_empty(), "{name}");
    }
}

/// Trap 4: another writer's removal was lost, and the member is to have a role.
#[tokio::test]
async fn a_member_whose_removal_was_lost_is_given_its_role() {
    for place in Place::all().await {
        let Place { name, world, owner, .. } = &place;
        let user = place.user(place.member);
        place.loses(place.remove);
        world.apply(&user, &Change::Remove).await.unwrap();
        world.repair(&user, &replace(&[owner])).await.unwrap();
        assert_eq!(roles(world.shown(&user).await.as_ref()), [*owner], "{name}");
    }
}

/// Events of any project are tries: on a busy instance fewer writes are enough.
#[tokio::test]
async fn a_repair_ends_when_search_shows_the_removal() {
    for place in Place::all().await {
        let Place { name, world, viewer, .. } = &place;
        let user = place.user(place.member);
        place.loses(place.remove);
        world.apply(&user, &Change::Remove).await.unwrap();
        world.server().add_project("801", ORG, "busy");
        world.order(Order::next(Fault::DelayAfter(Duration::from_millis(300))).on(place.remove.0, place.remove.1));
        world.server().clear_requests();
        let others = async {
            while world.server().requests().len() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for role in [OWNER, VIEWER, OWNER] {
                world.server().set_roles("801", ADA, &[role]);
            }
        };
        let (repaired, ()) = tokio::join!(world.repair(&user, &Change::Remove), others);
        repaired.unwrap();
        assert_eq!(world.written(), [json!([viewer])], "{name}");
        assert_eq!(world.shown(&user).await, None, "{name}");
    }
}

/// Trap 4. A change of a member without a row makes none: it is removed and added.
#[tokio::test]
async fn a_lost_post_is_repaired() {
    for place in Place::all().await {
        let Place { name, world, owner, .. } = &place;
        let user = place.user(place.non_member);
        place.loses(place.add);
        world.apply(&user, &create(&[owner])).await.unwrap();
        assert_eq!(world.shown(&user).await, None, "{name}");
        let repaired = world.repair(&user, &create(&[owner])).await.unwrap();
        let shown = world.shown(&user).await;
        assert_eq!(roles(shown.as_ref()), [*owner], "{name}");
        assert_eq!(shown.unwrap().version, repaired.version, "{name}");
    }
}

/// Trap 1: for a deleted user a project's PUT still returns 200, a grant's responds that it is not a member.
#[tokio::test]
async fn a_ghost_of_a_deleted_user_is_a_subject_that_is_gone() {
    for place in Place::all().await {
        let Place { name, world, project, owner, viewer, .. } = &place;
        let user = place.user(place.other);
        world.apply(&user, &create(&[owner])).await.unwrap();
        world.server().delete_user(place.other);
        let replaced = world.apply(&user, &replace(&[viewer])).await;
        match project.grant_id.is_some() {
            true => assert!(matches!(replaced, Err(Error::Changed { .. })), "{name}: {replaced:?}"),
            false => assert!(replaced.is_ok(), "{name}: the server accepts it: {replaced:?}"),
        }
        assert_eq!(world.shown(&user).await, None, "{name}");
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        let absence = world.explain_absence(&user).await;
        assert!(matches!(absence, Err(Error::SubjectNotFound { .. })), "{name}: {absence:?}");
        let refused = world.apply(&user, &create(&[viewer])).await;
        assert!(matches!(refused, Err(Error::SubjectNotFound { .. })), "{name}: {refused:?}");
    }
}

/// Trap 1: adding one returns "exists", search shows no row.
#[tokio::test]
async fn a_ghost_of_a_deleted_organization_is_no_endless_collision() {
    for place in Place::all().await {
        let Place { name, world, owner, viewer, .. } = &place;
        world.server().add_org("500", "partner");
        world.server().add_user("501", "500", "guest");
        let user = place.user("501");
        world.apply(&user, &create(&[owner])).await.unwrap();
        world.server().delete_org("500");
        world.server().clear_requests();
        world.apply(&user, &create(&[viewer])).await.expect("the server accepts it");
        let writes = world.server().requests().iter().filter(|request| request.body.contains("roles")).count();
        assert_eq!((writes, world.calls().len()), (2, 4), "{name}: {:?}", world.calls());
        assert_eq!(world.shown(&user).await, None, "{name}");
    }
}

/// Trap 1: the project is gone, and PUT of a former member still returns 200.
#[tokio::test]
async fn a_ghost_of_a_deleted_project_is_no_member_of_a_project_that_is_there() {
    for place in Place::all().await {
        let Place { name, world, project, owner, viewer, .. } = &place;
        if project.grant_id.is_some() {
            // Not recorded of grants.
            continue;
        }
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.apply(&place.user(place.other), &create(&[owner])).await.unwrap();
        world.server().delete_project(PROJECT);
        world.apply(&place.user(place.other), &replace(&[viewer])).await.expect("the server accepts it");
        let error = world.list(project).await.unwrap_err();
        assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{name}: {error}");
    }
}

/// Trap 5.
#[tokio::test]
async fn a_member_that_search_will_never_show_is_named() {
    for place in Place::all().await {
        let Place { name, world, owner, .. } = &place;
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        let user = place.user(place.non_member);
        assert_eq!(world.explain_absence(&user).await, Ok(()), "{name}");
        world.server().lose_login_name(place.non_member);
        world.apply(&user, &create(&[owner])).await.expect("the server accepts it");
        assert_eq!(world.shown(&user).await, None, "{name}");
        let absence = world.explain_absence(&user).await.unwrap_err();
        assert!(matches!(absence, Error::MemberNotListed { .. }), "{name}: {absence}");
        assert!(absence.to_string().contains("login name"), "{name}: {absence}");
    }
}

/// Trap 1, and how a revocation in a deleted project ends.
#[tokio::test]
async fn a_deleted_project_is_positively_gone() {
    for place in Place::all().await {
        let Place { name, world, project, owner, .. } = &place;
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.server().delete_project(PROJECT);
        for error in [
            world.list(project).await.unwrap_err(),
            world.apply(&place.user(place.other), &create(&[owner])).await.unwrap_err(),
            world.apply(&place.user(place.non_member), &Change::Remove).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::ProjectNotFound { gone: true, .. }), "{name}: {error}");
        }
    }
}

/// "All writes on one project share its sequence": nothing was written, and the same succeeds when it is repeated.
#[tokio::test]
async fn a_collision_on_a_project_s_sequence_wrote_nothing() {
    for place in Place::all().await {
        let Place { name, world, owner, .. } = &place;
        let user = place.user(place.member);
        world.order(Order::next(Fault::zitadel_collision()).on(place.change.0, place.change.1));
        let error = world.apply(&user, &replace(&[owner])).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { effect: Effect::None, .. }), "{name}: {error}");
        assert!(error.to_string().contains("collisions"), "{name}: {error}");
        world.apply(&user, &replace(&[owner])).await.unwrap();
        assert_eq!(roles(world.shown(&user).await.as_ref()), [*owner], "{name}");
    }
}

#[tokio::test]
async fn a_role_that_no_member_can_have_is_named() {
    for place in Place::all().await {
        let Place { name, world, owner, .. } = &place;
        // A project takes the roles of grants, which give no right there; a grant doesn't take those of projects.
        let bad = if place.project.grant_id.is_some() { OWNER } else { "deployer" };
        for change in [create(&[owner, bad]), replace(&[owner, bad])] {
            let user = if matches!(change, Change::Create(_)) { place.non_member } else { place.member };
            let error = world.apply(&place.user(user), &change).await.unwrap_err();
            let Error::RoleNotFound { role, message } = &error else { panic!("{name}: {error}") };
            assert_eq!(role.as_deref(), Some(bad), "{name}");
            assert!(message.contains(owner) && message.contains("user grants"), "{name}: {message}");
        }
    }
}

#[tokio::test]
async fn a_lack_of_rights_is_reported_with_the_missing_role() {
    for place in Place::all().await {
        let Place { name, world, owner, project, .. } = &place;
        world.server().take_rights(OPERATOR, &Scope::Org(ORG.to_owned()));
        world.server().set_roles((PROJECT, GRANT), OPERATOR, &[]);
        // A role somewhere in these organizations, so that it has a role there.
        world.server().grant(OPERATOR, Scope::Org(ORG.to_owned()), "ORG_SETTINGS_MANAGER");
        world.server().grant(OPERATOR, Scope::Org(GRANTED_ORG.to_owned()), "ORG_SETTINGS_MANAGER");
        let needs = if project.grant_id.is_some() { "PROJECT_GRANT_OWNER of the grant" } else { "PROJECT_OWNER" };
        for error in [
            world.list(project).await.unwrap_err(),
            world.apply(&place.user(place.non_member), &create(&[owner])).await.unwrap_err(),
            world.apply(&place.user(place.member), &replace(&[owner])).await.unwrap_err(),
            world.apply(&place.user(place.member), &Change::Remove).await.unwrap_err(),
            world.apply(&place.user(place.non_member), &Change::Remove).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Forbidden { .. }), "{name}: {error}");
            assert!(error.to_string().contains(needs), "{name}: {error}");
        }
    }
}
