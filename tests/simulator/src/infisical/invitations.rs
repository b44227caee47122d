//! How users are added to a project and removed by name; this creates accounts and mails (user-memberships.json; for
//! the current server `createMembership` in Infisical's
//! `backend/src/services/membership-user/membership-user-service.ts`).

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Infisical;
use super::answers::bare;
use super::auth::{Call, json_body, valid};
use super::credentials::Caller;
use super::errors::{Refusal, answered};
use super::state::{Membership, Row, State as Held, new_id};
use super::subjects::{Kind, OrgRole, Seat};
use super::time;
use super::validation::{Names, RoleInput, is_email, names};
use super::writes::{Writes, pause};

const TO_ORGANIZATION: &str = "Infisical organization invitation";
const TO_PROJECT: &str = "Infisical project invitation";

/// Users who join, each with its rows.
type Joining = Vec<(String, Vec<Row>)>;

/// Makes users members: existing members are skipped silently, unknown names create accounts and mails.
pub(crate) async fn invite(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let names = valid(call.errors, names(&json_body(call.errors, &body)?, call.errors.current()))?;
    let now = infisical.now();
    let joining = {
        let mut held = infisical.state();
        if call.errors.current() {
            bring_in(&mut held, &call, &names)?;
            joining(&mut held, &call, &project, &names, now)?
        } else {
            joining_before_october_2025(&mut held, &call, &project, &names, now)?
        }
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    let mut made = Vec::new();
    for (user, rows) in joining {
        held.insert(&project, &user, rows, time::cut(now));
        made.extend(held.shown_membership(&project, &user).map(bare));
    }
    Ok(answered(&json!({"memberships": made})))
}

/// October 2024: every user becomes `member`, regardless of `roleSlugs` (user-memberships.json, 24); at June 2025 it
/// counts (infisical-june-2025/user-memberships.json, 13). A user without a seat in the organisation needs a caller
/// that may grant one.
fn joining_before_october_2025(
    held: &mut Held,
    call: &Call,
    project: &str,
    names: &Names,
    now: Timestamp,
) -> Result<Joining, Refusal> {
    let org = held.projects.get(project).map(|p| p.org.clone()).ok_or_else(|| call.errors.no_project_to_invite_to())?;
    let rights = call.may(held, project, Kind::User, "create", now)?;
    let seated = |held: &Held, name: &str| held.user_named(name).is_some_and(|user| user.seats.contains_key(&org));
    let unknown: Vec<String> = names.all().into_iter().filter(|name| !seated(held, name)).collect();
    if !unknown.is_empty() && held.org_role(&org, &call.caller) != Some(OrgRole::Admin) {
        return Err(call.errors.may_not("create", Kind::User.subject()));
    }
    for name in &unknown {
        let user = account(held, name);
        seat(held, &user, &org);
    }
    let slugs = names.role_slugs.clone().filter(|slugs| call.errors.june_2025() && !slugs.is_empty());
    let slugs = slugs.unwrap_or_else(|| vec!["member".to_owned()]);
    let roles: Vec<RoleInput> = slugs.into_iter().map(|slug| RoleInput { slug, temporary: None }).collect();
    let mut joining = Vec::new();
    for name in names.all() {
        let Some(user) = held.user_named(&name).map(|user| user.id.clone()) else {
            continue;
        };
        if held.written_membership(project, &user).is_none() {
            joining.push((user, call.new_rows(held, (project, Kind::User), &rights, Writes::Creates(&roles), now)?));
        }
    }
    tell_members(held, &org, &joining);
    Ok(joining)
}

/// The current server: first every user gets a seat in the caller's organisation. The accounts are created before
/// permissions are checked, so a refusal leaves them behind.
fn bring_in(held: &mut Held, call: &Call, names: &Names) -> Result<(), Refusal> {
    let names = names.all();
    let unknown: Vec<&String> = names.iter().filter(|name| held.user_named(name).is_none()).collect();
    let invalid: Vec<String> = unknown.into_iter().filter(|name| !is_email(name)).cloned().collect();
    if !invalid.is_empty() {
        return Err(call.errors.invalid_emails(&invalid));
    }
    let users: Vec<String> = names.iter().map(|name| account(held, name)).collect();
    let org = held.org_of(&call.caller);
    let unseated: Vec<&String> = users.iter().filter(|user| !held.users[*user].seats.contains_key(&org)).collect();
    if unseated.is_empty() {
        return Ok(());
    }
    if held.org_role(&org, &call.caller) != Some(OrgRole::Admin) {
        return Err(call.errors.may_not("create", Kind::User.subject()));
    }
    let unseated: Vec<String> = unseated.into_iter().cloned().collect();
    for user in unseated {
        seat(held, &user, &org);
    }
    Ok(())
}

/// The current server, in the project. Whether every user is already a member is determined by comparing the numbers of
/// users and of found memberships.
fn joining(held: &mut Held, call: &Call, project: &str, names: &Names, now: Timestamp) -> Result<Joining, Refusal> {
    let users: Vec<String> =
        names.all().iter().filter_map(|name| held.user_named(name)).map(|user| user.id.clone()).collect();
    let found: usize = users.iter().map(|user| held.memberships.of(project, user).len()).sum();
    if found == users.len() {
        return Ok(Vec::new());
    }
    let rights = call.may(held, project, Kind::User, "create", now)?;
    let slugs = names.role_slugs.clone().unwrap_or_else(|| vec!["member".to_owned()]);
    let roles: Vec<RoleInput> = slugs.into_iter().map(|slug| RoleInput { slug, temporary: None }).collect();
    let mut joining = Vec::new();
    for user in users {
        if held.written_membership(project, &user).is_none() {
            joining.push((user, call.new_rows(held, (project, Kind::User), &rights, Writes::Creates(&roles), now)?));
        }
    }
    let org = held.org_of(&call.caller);
    tell_members(held, &org, &joining);
    Ok(joining)
}

/// The account of this name, which is made if there is none: a typo makes one too (user-memberships.json, 35 and 36).
fn account(held: &mut Held, name: &str) -> String {
    if let Some(user) = held.user_named(name) {
        return user.id.clone();
    }
    let id = new_id();
    held.add_account(&id, name);
    id
}

/// Gives a user a seat in the organisation, and sends a mail about it.
fn seat(held: &mut Held, user: &str, org: &str) {
    let Some(user) = held.users.get_mut(user) else {
        return;
    };
    user.seats.insert(org.to_owned(), Seat { role: OrgRole::NoAccess, accepted: false });
    let email = user.email.clone();
    held.send(&email, TO_ORGANIZATION);
}

/// Sends a mail to those who have accepted their seat in the organisation that they have joined a project.
fn tell_members(held: &mut Held, org: &str, joining: &Joining) {
    let accepted = |user: &str| {
        let user = held.users.get(user)?;
        user.seats.get(org).is_some_and(|seat| seat.accepted).then(|| user.email.clone())
    };
    let emails: Vec<String> = joining.iter().filter_map(|(user, _)| accepted(user)).collect();
    for email in emails {
        held.send(&email, TO_PROJECT);
    }
}

/// Removes people by name. The names are made lower-case first, and all of them must be found, each once
/// (user-memberships.json, 96 to 101; infisical/concurrency.json, 31).
pub(crate) async fn remove_named(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let names = valid(call.errors, names(&json_body(call.errors, &body)?, call.errors.current()))?;
    let now = infisical.now();
    let found: Vec<Membership> = {
        let held = infisical.state();
        call.may(&held, &project, Kind::User, "delete", now)?;
        let names: BTreeSet<String> = names.all().iter().map(|name| name.to_lowercase()).collect();
        let users: Vec<&str> = names.iter().filter_map(|n| held.user_named(n)).map(|u| u.id.as_str()).collect();
        let found: Vec<&Membership> = users.iter().flat_map(|user| held.memberships.of(&project, user)).collect();
        if found.len() != names.len() {
            return Err(call.errors.not_part_of_project());
        }
        if found.iter().any(|m| call.caller == Caller::Subject(m.subject.clone())) {
            return Err(call.errors.remove_yourself());
        }
        found.into_iter().cloned().collect()
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    for membership in &found {
        held.memberships.remove_one(&project, &membership.subject, &membership.id);
    }
    Ok(answered(&json!({"memberships": found.iter().map(bare).collect::<Vec<Value>>()})))
}
