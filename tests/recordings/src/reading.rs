//! What a recorded body says, read without the client's code: a small interpreter of the rules that
//! docs/reference states ("key on `customRoleSlug ?? role`", "zero values are left out", …).
//!
//! Both sides of a comparison are texts of the same form, so that a difference can be read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::expected::Drive;
use crate::recording::Exchange;

/// A member as a text: `<id>: viewer; deployer <start>/<end>`, roles in the order of their names.
pub struct Row {
    pub subject: String,
    pub roles: BTreeSet<String>,
    /// How many memberships it has.
    pub memberships: u32,
    /// The version that the server gives it.
    pub version: Option<u64>,
}

/// The text of a listing.
pub fn listing(rows: &[Row], partial: bool) -> String {
    let mut lines: Vec<String> = rows
        .iter()
        .map(|Row { subject, roles, memberships, version }| {
            let several = if *memberships > 1 { format!(" ({memberships} memberships)") } else { String::new() };
            let version = version.map_or_else(String::new, |version| format!(" @{version}"));
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            format!("{subject}{several}{version}: {}", roles.join("; "))
        })
        .collect();
    lines.sort();
    let whole = if partial { "partial" } else { "complete" };
    if lines.is_empty() { format!("nobody, {whole}") } else { format!("{whole}:\n      {}", lines.join("\n      ")) }
}

/// The text of a role's window.
pub fn window(role: &str, start: Timestamp, end: Timestamp) -> String {
    format!("{role} {start}/{end}")
}

/// The text of ids that were found.
pub fn found(ids: &[String]) -> String {
    let mut ids: Vec<String> = ids.iter().map(|id| id.to_lowercase()).collect();
    ids.sort();
    if ids.is_empty() { "found nobody".to_owned() } else { format!("found {}", ids.join(", ")) }
}

/// The text of a write that was done.
pub fn done(version: Option<u64>) -> String {
    version.map_or_else(|| "done".to_owned(), |version| format!("done @{version}"))
}

/// What the body says to whoever made this call, and asked for `name`. `None`: it isn't what such a call answers.
pub fn read(provider: &str, drive: Drive, exchange: &Exchange, name: &str) -> Option<String> {
    let body = &exchange.response.body;
    match (provider, drive) {
        ("infisical", Drive::List) => infisical_listing(body),
        ("infisical", Drive::Create | Drive::Replace | Drive::Remove) => Some(done(None)),
        ("zitadel", Drive::List) => zitadel_listing(body, exchange.request.body.as_ref()),
        ("zitadel", Drive::Create | Drive::Replace | Drive::Remove) => Some(done(zitadel_version(body))),
        (_, Drive::FindProject | Drive::FindSubject) => Some(found(&ids_named(body, name))),
        (_, Drive::Invite) => {
            let row = body["memberships"].as_array()?.first()?;
            Some(found(&[row["userId"].as_str()?.to_owned()]))
        }
        (_, Drive::SignIn | Drive::SignInKubernetes | Drive::SignInOidc) => {
            let token = body["accessToken"].as_str().or(body["access_token"].as_str())?;
            let life = body["expiresIn"].as_u64().or(body["expires_in"].as_u64())?;
            Some(format!("signed in with {token:?} for {life} s"))
        }
        (_, Drive::Discover) => Some(format!("signs for {:?}", body["issuer"].as_str()?)),
        (_, Drive::ExplainAbsence) => Some("nothing speaks against it".to_owned()),
        _ => None,
    }
}

/// Infisical's lists. `totalCount` counts rows that are never listed (identity-extras.json, "list"), so it says nothing;
/// what stands in the list twice, or can't be read, makes it partial.
fn infisical_listing(body: &Value) -> Option<String> {
    let (rows, id, inner) = [
        ("identityMemberships", "identityId", "identity"),
        ("memberships", "userId", "user"),
        ("groupMemberships", "groupId", "group"),
    ]
    .iter()
    .find_map(|(list, id, inner)| Some((body[list].as_array()?, *id, *inner)))?;
    let mut members: BTreeMap<String, Row> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut partial = false;
    for row in rows {
        let subject = row[id].as_str().or(row[inner]["id"].as_str())?.to_lowercase();
        partial |= !seen.insert(row["id"].as_str()?.to_owned());
        let member = members.entry(subject.clone()).or_insert_with(|| Row {
            subject,
            roles: BTreeSet::new(),
            memberships: 0,
            version: None,
        });
        member.memberships += 1;
        member.roles.extend(row["roles"].as_array()?.iter().map(infisical_role));
    }
    Some(listing(&members.into_values().collect::<Vec<_>>(), partial))
}

/// "Key on `customRoleSlug ?? role`"; "temporary fields without `isTemporary: true` make a permanent role".
fn infisical_role(row: &Value) -> String {
    let role = row["customRoleSlug"].as_str().or(row["role"].as_str()).unwrap_or_default();
    if row["isTemporary"] != true {
        return role.to_owned();
    }
    let time = |field: &str| row[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match (time("temporaryAccessStartTime"), time("temporaryAccessEndTime")) {
        (Some(start), Some(end)) => window(role, start, end),
        _ => format!("{role}, of which nobody can say until when"),
    }
}

/// ZITADEL's lists, v1 and v2. A list that its total doesn't reach is partial. v2 lists everybody where it doesn't know a
/// filter: rows of something else than the project, or the grant, that was asked for are not its members.
fn zitadel_listing(body: &Value, asked: Option<&Value>) -> Option<String> {
    let filters = asked.and_then(|asked| asked["filters"].as_array()).cloned().unwrap_or_default();
    let resource = filters.iter().map(|filter| &filter["resource"]).find(|resource| !resource.is_null());
    let is_ours = |row: &Value| match resource {
        _ if row["user"].is_null() => true,
        Some(resource) if resource["projectGrant"].is_object() => {
            let grant = &resource["projectGrant"];
            row["projectGrant"]["projectId"] == grant["projectId"]
                && row["projectGrant"]["grantedOrganizationId"] == grant["organizationId"]
        }
        Some(resource) => row["project"]["id"] == resource["projectId"] && !row["project"].is_null(),
        None => false,
    };
    let rows = body["result"].as_array().or(body["administrators"].as_array()).cloned().unwrap_or_default();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let total = number(&body["details"]["totalResult"]).or(number(&body["pagination"]["totalResult"])).unwrap_or(0);
    let mut members = Vec::new();
    for row in rows.iter().filter(|row| is_ours(row)) {
        let subject = row["userId"].as_str().or(row["user"]["id"].as_str())?.to_owned();
        let roles = row["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let version = zitadel_version(row);
        members.push(Row { subject, roles: roles.collect(), memberships: 1, version });
    }
    Some(listing(&members, total != rows.len() as u64))
}

/// v1: `details.sequence`; left out it is zero, and then there is none. v2 has a date instead, which is counted in
/// microseconds since 1970.
fn zitadel_version(body: &Value) -> Option<u64> {
    if let Some(sequence) = body["details"]["sequence"].as_str() {
        return sequence.parse().ok().filter(|sequence| *sequence > 0);
    }
    let date = ["changeDate", "deletionDate", "creationDate"].iter().find_map(|field| body[*field].as_str())?;
    date.parse::<Timestamp>().ok()?.as_microsecond().try_into().ok()
}

/// The ids of the things in a body that have exactly this name, wherever the endpoint puts it.
fn ids_named(body: &Value, name: &str) -> Vec<String> {
    let lists = ["identityMemberships", "memberships", "groupMemberships", "result", "projects", "workspaces", "users"];
    let rows = lists.iter().find_map(|list| body[list].as_array()).or(body.as_array()).cloned();
    let one = ["membership", "project", "user"].iter().find_map(|field| body.get(field)).cloned();
    let rows = rows.unwrap_or_else(|| one.or_else(|| body.get("id").map(|_| body.clone())).into_iter().collect());
    let mut ids = BTreeSet::new();
    for row in &rows {
        let of = |field: &str| {
            let inner = [&row["identity"], &row["user"], &row["group"], row];
            inner.into_iter().filter_map(|thing| thing[field].as_str()).map(str::to_owned).collect::<Vec<_>>()
        };
        let names = ["name", "slug", "email", "username", "userName", "preferredLoginName"].iter().flat_map(|f| of(f));
        let logins = row["loginNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let email = [&row["human"]["email"]["email"]].into_iter().filter_map(|v| v.as_str()).map(str::to_owned);
        if names.chain(logins).chain(email).any(|n| n == name) {
            let id = ["identityId", "userId", "groupId", "projectId"].iter().find_map(|field| row[field].as_str());
            ids.extend(id.or(row["id"].as_str()).map(str::to_owned));
        }
    }
    ids.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_memberships_of_one_identity_are_one_row() {
        let role = |role: &str| json!([{"role": role, "isTemporary": false}]);
        let body = json!({"identityMemberships": [
            {"id": "m1", "identityId": "I", "roles": role("viewer")},
            {"id": "m2", "identityId": "I", "roles": role("admin")}]});
        assert_eq!(infisical_listing(&body).unwrap(), "complete:\n      i (2 memberships): admin; viewer");
    }

    #[test]
    fn a_total_that_the_rows_do_not_reach_is_partial() {
        let rows = json!([{"userId": "1", "details": {"sequence": "7"}, "roles": ["PROJECT_OWNER"]}]);
        let body = json!({"details": {"totalResult": "2"}, "result": rows});
        assert_eq!(zitadel_listing(&body, None).unwrap(), "partial:\n      1 @7: PROJECT_OWNER");
        assert_eq!(zitadel_listing(&json!({"details": {}}), None).unwrap(), "nobody, complete");
    }

    #[test]
    fn only_the_exact_name_is_found() {
        let row = |id: &str, name: &str| json!({"id": "m", "identityId": id, "identity": {"name": name, "id": id}});
        let body = json!({"identityMemberships": [row("1", "robot"), row("2", "Robot"), row("3", "robot"), row("4", "robot-2")]});
        assert_eq!(found(&ids_named(&body, "robot")), "found 1, 3");
    }
}
