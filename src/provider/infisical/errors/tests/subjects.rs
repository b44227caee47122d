//! Users, groups and names: every recorded refusal, and today's words for the same.

use super::*;

/// Users of a project (user-memberships.json, permissions.json, concurrency.json, custom-roles.json).
const USERS: [Row; 17] = {
    use Operation::*;
    [
        (&[Replace], 403, "ForbiddenError", "Forbidden member update", Kind::NotMember),
        (
            &[List, Invite, Replace, Remove, FindSubject],
            403,
            "Identity is not a member of the specified project",
            "You are not allowed",
            Kind::ProjectAmbiguous,
        ),
        (
            &[List, Invite, Replace, Remove, FindSubject],
            403,
            "PermissionDenied",
            "You are not allowed",
            Kind::Forbidden,
        ),
        (&[Invite], 403, "ForbiddenError", "Access denied to one or more of the specified", Kind::ProjectAmbiguous),
        (&[FindSubject], 404, "NotFound", "Project membership not found for user", Kind::NotMember),
        (&[Replace], 404, "NotFound", "Custom project roles not found", Kind::RoleNotFound),
        (&[Replace], 400, "BadRequest", "Failed to assign custom role due to RBAC", Kind::Rejected),
        (&[Replace], 401, "ValidationFailure", "roles: At least one long lived role", Kind::OnlyTemporary),
        (&[Invite, FindSubject, Replace], 401, "ValidationFailure", "", Kind::Rejected),
        (&[Replace, Remove], 500, "InternalServerError", "Something went wrong", Kind::Unreachable),
        (&[Replace, Remove], 500, "Find user by project membership id", "Something went wrong", Kind::Unreachable),
        (&[List, Look, Replace], 404, "Not Found", "Route ", Kind::NoRoute),
        // Told to people, never to an operator.
        (&[List], 403, "User not a part of the specified project", "You are not allowed", Kind::ProjectAmbiguous),
        (&[List], 404, "The permission was not found", "The requested entity", Kind::Forbidden),
        // Paths that the operator doesn't call: removal by e-mail, and a list of organization memberships.
        (&[Remove], 400, "Delete project membership", "Some users are not part of project", Kind::Rejected),
        (&[Remove], 400, "Delete project membership", "Cannot remove yourself", Kind::Rejected),
        (&[Invite], 400, "BadRequest", "Some users are not part of org", Kind::Rejected),
    ]
};

/// Groups of a project (group-memberships.json, permissions.json).
const GROUPS: [Row; 14] = {
    use Operation::*;
    [
        (&[Look], 404, "NotFound", "Cannot find group membership", Kind::NotMember),
        (&[Replace, Remove], 404, "NotFound", "Failed to find group with ID", Kind::NotMember),
        (&[Create], 404, "NotFound", "Failed to find group with ID", Kind::SubjectNotFound),
        // Of other projects than the one that `asked` is about.
        (&[List, Create], 404, "NotFound", "Failed to find project with ID", Kind::ProjectAmbiguous),
        (&[Create], 400, "BadRequest", "Group with ID", Kind::AlreadyMember),
        (&[Create, Replace], 404, "NotFound", "Specified role was not found", Kind::RoleNotFound),
        (&[Replace], 404, "NotFound", "Custom role/s not found", Kind::RoleNotFound),
        (&[Create, Replace], 403, "ForbiddenError", "Failed to assign group to a more privileged", Kind::Forbidden),
        (
            &[List, Look, Create, Replace, Remove],
            403,
            "Identity is not a member of the specified project",
            "You are not allowed",
            Kind::ProjectAmbiguous,
        ),
        (&[List, Look, Create, Replace, Remove], 403, "PermissionDenied", "You are not allowed", Kind::Forbidden),
        (&[Create, Replace], 401, "ValidationFailure", "", Kind::Rejected),
        (&[List, Look], 404, "Not Found", "Route ", Kind::NoRoute),
        (&[Look], 500, "FindByProjectId", "Something went wrong", Kind::Unreachable),
        (&[Create, Replace], 500, "Find one", "Something went wrong", Kind::Unreachable),
    ]
};

/// Names (name-resolution.json).
const NAMES: [Row; 5] = {
    use Operation::*;
    [
        (&[FindProject], 500, "Failed to find project by slug", "Something went wrong", Kind::NoSuchName),
        (&[FindProject], 401, "ValidationFailure", "", Kind::NoSuchName),
        (
            &[FindProject],
            403,
            "Identity is not a member of the specified project",
            "You are not allowed",
            Kind::ProjectAmbiguous,
        ),
        (&[FindSubject], 403, "PermissionDenied", "You are not allowed to read on", Kind::Forbidden),
        (&[FindSubject], 403, "Identity is not apart of this organization", "You are not allowed", Kind::Forbidden),
    ]
};

pub(crate) fn of_users(method: &str, path: &str) -> Option<Operation> {
    let path = path.split('?').next().unwrap_or_default();
    let (before, below) = path.split_once("/memberships")?;
    if !(before.contains("/workspace/") || before.contains("/projects/")) || below.starts_with("/groups") {
        return None;
    }
    match (method, below) {
        ("POST", "/details") => Some(Operation::FindSubject),
        ("POST", "") => Some(Operation::Invite),
        _ => verb(method, below.starts_with('/')),
    }
}

pub(crate) fn of_groups(method: &str, path: &str) -> Option<Operation> {
    let (before, below) = path.split_once("/groups")?;
    let project = before.contains("/workspace/") || before.contains("/projects/");
    project.then(|| verb(method, below.starts_with('/'))).flatten()
}

fn of_names(method: &str, path: &str) -> Option<Operation> {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    match (method, &segments[..]) {
        ("GET", ["v2", "workspace", _]) => Some(Operation::FindProject),
        ("GET", ["v1", "groups"] | ["v2", "organizations", _, "identity-memberships"]) if !path.contains('?') => {
            Some(Operation::FindSubject)
        }
        _ => None,
    }
}

#[test]
fn every_recorded_refusal_of_users_groups_and_names_is_read_as_the_reference_says() {
    let users = recorded(of_users);
    assert!(users.len() > 80, "only {} recorded refusals", users.len());
    read_as(&USERS, SubjectKind::User, users);
    let groups = recorded(of_groups);
    assert!(groups.len() > 80, "only {} recorded refusals", groups.len());
    read_as(&GROUPS, SubjectKind::Group, groups);
    let names: Vec<_> = recorded(of_names)
        .into_iter()
        // Forms of a query that the operator doesn't send.
        .filter(|(_, operation, answer)| *operation == Operation::FindProject || answer.status == 403)
        .collect();
    assert!(names.len() > 20, "only {} recorded refusals", names.len());
    read_as(&NAMES, SubjectKind::Identity, names);
}

/// Today's words (Infisical's `backend/src/services/membership-{user,group,identity}/…` and `convertor-service.ts`).
#[test]
fn the_current_server_is_read_as_its_source_says() {
    use Operation::*;
    use SubjectKind::{Group, Identity, User};
    let cases = [
        (User, Replace, 404, "NotFound", "Membership with id 5f40b12a not found", Kind::NotMember),
        (User, Remove, 404, "NotFound", "Membership with id 5f40b12a not found", Kind::NotMember),
        (User, Remove, 400, "BadRequest", "User doesn't have membership", Kind::NotMember),
        (User, Replace, 400, "BadRequest", "User must have at least one permanent role", Kind::OnlyTemporary),
        (User, Replace, 404, "NotFound", "One or more custom roles not found", Kind::RoleNotFound),
        (User, Invite, 404, "NotFound", "One or more custom roles not found", Kind::RoleNotFound),
        (User, Invite, 400, "BadRequest", "Users carl@acme.example not part of organization", Kind::SubjectNotFound),
        (User, Invite, 400, "BadRequest", "Invalid emails: carl", Kind::Rejected),
        (User, Invite, 422, "ValidationFailure", "", Kind::Rejected),
        (User, FindSubject, 404, "NotFound", "Project membership not found for user 'x'", Kind::NotMember),
        (Group, Look, 404, "NotFound", "Group membership not found", Kind::NotMember),
        (Group, Create, 400, "BadRequest", "Group is already a member", Kind::AlreadyMember),
        (Group, Create, 400, "BadRequest", "Group 866559bf is missing organization membership", Kind::SubjectNotFound),
        (Group, Replace, 400, "BadRequest", "Group doesn't have membership", Kind::NotMember),
        (Group, Remove, 400, "BadRequest", "Group details not found", Kind::NotMember),
        (Group, Replace, 400, "BadRequest", "Group must have at least one permanent role", Kind::OnlyTemporary),
        (Identity, FindProject, 404, "NotFound", "Project with slug 'nope' not found", Kind::NoSuchName),
        (Identity, FindProject, 422, "ValidationFailure", "", Kind::NoSuchName),
        (Identity, FindProject, 403, "You are not member of this project", "", Kind::ProjectAmbiguous),
    ];
    for (of, operation, status, error, message, expected) in cases {
        let answer = made_up(operation, status, error, message);
        let asked = RequestContext { kind: of, ..asked(operation, &[]) };
        assert_eq!(kind(&answer, &asked), expected, "{of:?} {operation:?} {status} {error}: {message}");
    }
}

#[test]
fn a_permanent_refusal_says_what_to_do() {
    for (message, says) in [
        ("Temporary access is not available on your current plan. Please upgrade", "upgrade it"),
        ("Failed to assign custom role to group due to plan RBAC restriction. Upgrade to", "upgrade it"),
        ("Certificate Manager only supports Admin and Member roles", "admin and member only"),
        ("Failed to create project membership for a project scoped identity", "belongs to a project"),
        ("You can't delete your own membership", "the identity that the operator signs in as"),
        ("Invalid emails: carl", "e-mail address"),
    ] {
        for of in [SubjectKind::Identity, SubjectKind::User, SubjectKind::Group] {
            let answer = made_up(Operation::Replace, 400, "BadRequest", message);
            let asked = RequestContext { kind: of, ..asked(Operation::Replace, &[]) };
            let error = Error::from(read(&answer, &asked));
            assert!(matches!(error, Error::Rejected { .. }), "{message}: {error:?}");
            assert!(error.to_string().contains(says), "{message}: {error}");
        }
    }
}
