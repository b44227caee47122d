//! The responses of a healthy Infisical to everything except the recorded request. It has one member, the subject of
//! the scene.

use std::collections::BTreeMap;

use membership_operator::api::SubjectKind;
use serde_json::{Value, json};

use super::{MEMBERSHIP, is_paged, is_uuid};
use crate::client::ReplayCase;
use crate::expected::Drive;
use crate::server::{Answer, Asked};

/// A project that doesn't exist: a client requests it to detect which routes there are.
const MISSING: &str = "00000000-0000-0000-0000-000000000000";
/// A refusal that is true of every project that isn't the caller's.
const AMBIGUOUS: (&str, &str) =
    ("Identity is not a member of the specified project", "You are not allowed to access this resource");

/// The server, as far as the scene needs it.
pub struct Healthy {
    project: String,
    subject: String,
    membership: String,
    name: String,
    organization: String,
    drive: Drive,
    /// Whether the subject is a member.
    there: bool,
    /// The recorded route, where it is one that October 2024 doesn't have.
    newer: Option<String>,
    /// The recorded answer says that it hasn't that route any more.
    loses_it: bool,
    /// The recorded answer is a page; what comes after it is empty.
    pages: bool,
}

impl Healthy {
    /// The server of a scene.
    pub fn new(case: &ReplayCase<'_>) -> Self {
        let value = |name: &str| case.value(name).to_owned();
        let pattern = case.pattern.fill(&BTreeMap::new());
        Self {
            project: value("project"),
            subject: value("subject"),
            membership: value("membership"),
            name: case.name.clone(),
            organization: value("organization"),
            drive: case.drive,
            there: case.is_member() || case.drive == Drive::Look,
            newer: newer_route(&pattern),
            loses_it: case.exchange.response.body["error"] == "Not Found",
            pages: is_paged(case),
        }
    }

    /// Its answer; `served`: how often the recorded one was given before. `None`: it has none.
    pub fn answer(&mut self, asked: &Asked, served: usize) -> Option<Answer> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let Some(route) = newer_route(path)
            && !self.has(&route, served)
        {
            return Some(no_route(asked));
        }
        if parts.contains(&MISSING) {
            return Some(refused(403, AMBIGUOUS.0, AMBIGUOUS.1));
        }
        match (asked.method.as_str(), parts.as_slice()) {
            (_, [.., "auth", _, "login"]) => Some(Answer::json(
                200,
                &json!({"accessToken": "another", "expiresIn": 7200, "accessTokenMaxTTL": 7200, "tokenType": "Bearer"}),
            )),
            ("POST", [.., "memberships", "details"]) => Some(self.details()),
            ("GET", ["api", "v2", "organizations", of, "identity-memberships"]) => Some(self.identities(of)),
            ("GET", ["api", "v1", "groups"]) => Some(Answer::json(200, &json!([]))),
            ("GET", ["api", "v1", "workspace", _]) => Some(self.project(Some("workspace"))),
            ("GET", ["api", "v1", "projects", _]) => Some(self.project(Some("project"))),
            ("GET", ["api", "v2", "workspace", _] | [.., "slug", _]) => Some(self.project(None)),
            (method, parts) => {
                let (kind, one) = members(parts)?;
                self.member(method, kind, one)
            }
        }
    }

    /// Whether there is this route below `/api/v1/projects`. A recorded one was there at least until it was asked for; a
    /// server that has those of the third generation has those of the second too.
    fn has(&self, route: &str, served: usize) -> bool {
        let third =
            |route: &str| route.starts_with("memberships/identities") || route.starts_with("memberships/groups");
        let lost = self.loses_it && served > 0;
        self.newer.as_ref().is_some_and(|newer| !lost && (third(newer) || !third(route)))
    }

    fn member(&mut self, method: &str, kind: SubjectKind, one: bool) -> Option<Answer> {
        let (list, id, inner, single) = match kind {
            SubjectKind::Identity => ("identityMemberships", "identityId", "identity", "identityMembership"),
            SubjectKind::User => ("memberships", "userId", "user", "membership"),
            SubjectKind::Group => ("groupMemberships", "groupId", "group", "groupMembership"),
        };
        let row = self.row(id, inner);
        let body = match (method, one) {
            // A subject that is looked up is only found in the recorded response.
            ("GET", false) => {
                let rows = if self.there && self.drive != Drive::FindSubject { vec![row] } else { Vec::new() };
                json!({list: rows, "totalCount": rows.len()})
            }
            ("GET", true) => json!({single: row}),
            ("POST", true) if self.drive == Drive::Look => {
                let noun = if kind == SubjectKind::Group { "Group with ID" } else { "Identity with id" };
                let message = format!("{noun} x already exists in project with id y");
                return Some(refused(400, "BadRequest", &message));
            }
            ("POST", false) => {
                self.there = true;
                json!({"memberships": [{"id": self.membership, "userId": self.subject, "projectId": self.project}]})
            }
            ("POST" | "DELETE", true) => json!({single: {"id": self.membership, "projectId": self.project}}),
            ("PATCH", true) => json!({"roles": [role("viewer")]}),
            _ => return None,
        };
        Some(Answer::json(200, &body))
    }

    fn row(&self, id: &str, inner: &str) -> Value {
        let name = &self.name;
        json!({"id": self.membership, id: self.subject, "projectId": self.project, "roles": [role("viewer")],
               inner: {"id": self.subject, "name": name, "slug": name, "email": name, "username": name}})
    }

    fn details(&self) -> Answer {
        if self.there {
            return Answer::json(200, &json!({"membership": self.row("userId", "user")}));
        }
        refused(404, "NotFound", "Project membership not found for user x")
    }

    /// The identities of the organization that the project is of, and of no other.
    fn identities(&self, of: &str) -> Answer {
        let found = vec![json!({"id": self.membership, "identity": {"id": self.subject, "name": self.name}})];
        let rows = if of == self.organization && !self.pages { found } else { Vec::new() };
        Answer::json(200, &json!({"totalCount": rows.len(), "identityMemberships": rows}))
    }

    /// The project; by its slug it comes without a wrapping.
    fn project(&self, wrapping: Option<&str>) -> Answer {
        let project = json!({"id": self.project, "slug": self.name, "name": self.name, "orgId": self.organization});
        Answer::json(200, &wrapping.map_or(project.clone(), |wrapping| json!({wrapping: project})))
    }
}

/// The kind of a memberships path of any generation, and whether it is about a single one.
fn members(parts: &[&str]) -> Option<(SubjectKind, bool)> {
    use SubjectKind::{Group, Identity, User};
    Some(match parts {
        [.., "identity-memberships"] | [.., "memberships", "identities"] => (Identity, false),
        [.., "identity-memberships", _] | [.., "memberships", "identities", _] => (Identity, true),
        [_, _, _, _, "groups"] | [.., "memberships", "groups"] => (Group, false),
        [_, _, _, _, "groups", _] | [.., "memberships", "groups", _] => (Group, true),
        [.., "memberships"] => (User, false),
        [.., "memberships", _] => (User, true),
        _ => return None,
    })
}

/// Of a path below `/api/v1/projects/{project}`: what it is about, without ids.
fn newer_route(path: &str) -> Option<String> {
    let below = path.strip_prefix("/api/v1/projects/")?;
    let is_id = |part: &&str| part.starts_with('{') || is_uuid(part);
    Some(below.split('/').filter(|part| !is_id(part)).collect::<Vec<_>>().join("/"))
}

fn role(slug: &str) -> Value {
    json!({"id": MEMBERSHIP, "role": slug, "customRoleId": null, "customRoleSlug": null, "isTemporary": false,
           "temporaryMode": null, "temporaryRange": null, "temporaryAccessStartTime": null, "temporaryAccessEndTime": null})
}

fn refused(status: u16, name: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"statusCode": status, "message": message, "error": name}))
}

/// With a space: the words of the HTTP framework (docs/reference/infisical.md, "Three generations").
fn no_route(asked: &Asked) -> Answer {
    refused(404, "Not Found", &format!("Route {}:{} not found", asked.method, asked.path))
}
