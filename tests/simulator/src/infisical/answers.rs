//! The bodies of responses about memberships, field by field as recorded (membership-lifecycle.json,
//! user-memberships.json, group-memberships.json); for the newer paths according to their documentation and source.

use serde_json::{Value, json};

use super::errors::Errors;
use super::state::{Membership, Row, State, StoredRole};
use super::subjects::{Identity, Kind};
use super::time::written;

/// The value in place of a user's key, which is not read.
const PUBLIC_KEY: &str = "simulated-public-key";

/// An identity's membership as GET and the list show it, on the first two generations.
pub(crate) fn shown(state: &State, errors: Errors, membership: &Membership) -> Value {
    let identity = state.identities.get(&membership.subject);
    let project = state.projects.get(&membership.project);
    let mut shown = json!({
        "id": membership.id,
        "identityId": membership.subject,
        "createdAt": written(membership.created),
        // A PATCH does not change it.
        "updatedAt": written(membership.created),
        "roles": shown_roles(state, membership),
        "identity": {"name": identity.map(|i| &i.name), "id": membership.subject},
        "project": {"name": project.map(|p| &p.name), "id": membership.project},
    });
    let (name, methods) = auth_method(errors, identity);
    shown["identity"][name] = methods;
    shown
}

/// How an identity signs in: one method in October 2024, a list since. Several are written with commas.
pub(crate) fn auth_method(errors: Errors, identity: Option<&Identity>) -> (&'static str, Value) {
    let method = identity.and_then(|identity| identity.auth_method.as_deref());
    if errors.since_2025() {
        return ("authMethods", method.into_iter().flat_map(|method| method.split(',')).collect::<Vec<_>>().into());
    }
    ("authMethod", method.into())
}

/// An identity's membership as GET shows it on the third generation: without `identityId` and `project`, and with roles
/// that have no `customRoleId` (`getIdentityById`, in the same file as `findIdentities`).
pub(crate) fn newest(state: &State, membership: &Membership) -> Value {
    let identity = state.identities.get(&membership.subject);
    let mut shown = json!({
        "id": membership.id,
        "createdAt": written(membership.created),
        "updatedAt": written(membership.created),
        "roles": shown_roles(state, membership),
        "identity": {
            "name": identity.map(|i| &i.name),
            "id": membership.subject,
            "orgId": identity.map(|i| &i.org),
            "projectId": identity.and_then(|i| i.managed_by.as_ref()),
            "authMethods": identity.and_then(|i| i.auth_method.as_deref()).into_iter().collect::<Vec<_>>(),
            "metadata": [],
        },
        "lastLoginAuthMethod": null,
        "lastLoginTime": null,
    });
    for role in shown["roles"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        role.remove("customRoleId");
    }
    shown
}

/// The same in the list, whose roles also lack `customRoleName` (`findIdentities` selects neither).
pub(crate) fn newest_in_list(state: &State, membership: &Membership) -> Value {
    let mut shown = newest(state, membership);
    for role in shown["roles"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        role.remove("customRoleName");
    }
    shown
}

/// A user's membership as October 2024 shows it.
pub(crate) fn shown_user(state: &State, membership: &Membership) -> Value {
    let user = state.users.get(&membership.subject);
    json!({
        "id": membership.id,
        "userId": membership.subject,
        "projectId": membership.project,
        "user": {
            "email": user.map(|u| &u.email),
            "firstName": user.and_then(|u| u.first_name.as_ref()),
            "lastName": user.and_then(|u| u.last_name.as_ref()),
            "id": membership.subject,
            "publicKey": PUBLIC_KEY,
        },
        "roles": shown_roles(state, membership),
    })
}

/// A user's membership as the current server shows it, everywhere but in `details`.
pub(crate) fn shown_user_now(state: &State, membership: &Membership) -> Value {
    let mut shown = shown_user(state, membership);
    shown["createdAt"] = written(membership.created).into();
    shown["user"]["username"] = state.users.get(&membership.subject).map(|user| user.username.as_str()).into();
    shown
}

/// A group's membership as GET and the list show it, but on the newest path.
pub(crate) fn shown_group(state: &State, membership: &Membership) -> Value {
    let group = state.groups.get(&membership.subject);
    json!({
        "id": membership.id,
        "groupId": membership.subject,
        "createdAt": written(membership.created),
        "updatedAt": written(membership.created),
        "roles": shown_roles(state, membership),
        "group": {"name": group.map(|g| &g.name), "id": membership.subject, "slug": group.map(|g| &g.slug)},
    })
}

/// A group's membership on the newest path
/// (infisical.com/docs/api-reference/endpoints/project-group-memberships/list).
pub(crate) fn newest_group(state: &State, membership: &Membership) -> Value {
    let mut shown = shown_group(state, membership);
    shown["projectId"] = membership.project.as_str().into();
    shown["group"]["orgId"] = state.groups.get(&membership.subject).map(|group| group.org.as_str()).into();
    for (role, row) in shown["roles"].as_array_mut().into_iter().flatten().zip(&membership.rows) {
        role["createdAt"] = written(row.created).into();
        role["updatedAt"] = written(row.created).into();
    }
    shown
}

fn shown_roles(state: &State, membership: &Membership) -> Value {
    let shown = |row: &Row| {
        let custom = match &row.role {
            StoredRole::Custom(id) => state.custom_role(&membership.project, id),
            _ => None,
        };
        let mut role = common(row);
        role["customRoleName"] = custom.map(|role| role.name.as_str()).into();
        role["customRoleSlug"] = custom.map(|role| role.slug.as_str()).into();
        role
    };
    membership.rows.iter().map(shown).collect()
}

/// A row in a response to PATCH: without the slug of a custom role.
pub(crate) fn written_role(membership: &str, row: &Row) -> Value {
    let mut role = common(row);
    role["projectMembershipId"] = membership.into();
    role["createdAt"] = written(row.created).into();
    role["updatedAt"] = written(row.created).into();
    role
}

fn common(row: &Row) -> Value {
    let (role, custom) = match &row.role {
        StoredRole::BuiltIn(slug) => (slug.as_str(), None),
        StoredRole::Custom(id) => ("custom", Some(id)),
        StoredRole::LiteralCustom => ("custom", None),
    };
    let window = row.window.as_ref();
    json!({
        "id": row.id,
        "role": role,
        "customRoleId": custom,
        "isTemporary": window.is_some(),
        "temporaryMode": window.map(|_| "relative"),
        "temporaryRange": window.map(|w| &w.range),
        "temporaryAccessStartTime": window.map(|w| written(w.start)),
        "temporaryAccessEndTime": window.map(|w| written(w.end)),
    })
}

/// A membership in a response to POST and DELETE: without roles.
pub(crate) fn bare(membership: &Membership) -> Value {
    let mut bare = json!({
        "id": membership.id,
        "projectId": membership.project,
        "createdAt": written(membership.created),
        "updatedAt": written(membership.created),
    });
    let subject = match membership.kind {
        Kind::Identity => "identityId",
        Kind::User => "userId",
        Kind::Group => "groupId",
    };
    bare[subject] = membership.subject.as_str().into();
    bare
}
