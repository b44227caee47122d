//! The bodies of answers about memberships, field by field as recorded (membership-lifecycle.json).

use serde_json::{Value, json};

use super::state::{Membership, Row, State, StoredRole};
use super::time::written;

/// A membership as GET and the list show it.
pub(crate) fn shown(state: &State, membership: &Membership) -> Value {
    let identity = state.identities.get(&membership.identity);
    let project = state.projects.get(&membership.project);
    json!({
        "id": membership.id,
        "identityId": membership.identity,
        "createdAt": written(membership.created),
        // A PATCH does not touch it.
        "updatedAt": written(membership.created),
        "roles": membership.rows.iter().map(|row| shown_role(state, membership, row)).collect::<Vec<_>>(),
        "identity": {
            "name": identity.map(|i| &i.name),
            "id": membership.identity,
            "authMethod": identity.and_then(|i| i.auth_method.as_ref()),
        },
        "project": {"name": project.map(|p| &p.name), "id": membership.project},
    })
}

fn shown_role(state: &State, membership: &Membership, row: &Row) -> Value {
    let custom = match &row.role {
        StoredRole::Custom(id) => state.custom_role(&membership.project, id),
        _ => None,
    };
    let mut role = common(row);
    role["customRoleName"] = custom.map(|role| role.name.as_str()).into();
    role["customRoleSlug"] = custom.map(|role| role.slug.as_str()).into();
    role
}

/// A row as PATCH answers it: without the slug of a custom role.
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

/// A membership as POST and DELETE answer it: without roles.
pub(crate) fn bare(membership: &Membership) -> Value {
    json!({"identityMembership": {
        "id": membership.id,
        "projectId": membership.project,
        "identityId": membership.identity,
        "createdAt": written(membership.created),
        "updatedAt": written(membership.created),
    }})
}
