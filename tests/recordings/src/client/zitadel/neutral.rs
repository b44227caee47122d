//! What a healthy ZITADEL answers to everything but the recorded request: the project is where it is looked for, the user
//! has a login name, and is a member where the scene presupposes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{INSTANCE_HOST, ORGANIZATION, is_knock, is_v2};
use crate::client::ReplayCase;
use crate::expected::{Drive, error_of};
use crate::server::{Answer, Asked};

/// Nothing has this id, whatever the recording.
const NOTHING: &str = "999999999999999999";
/// Who can't be added because he is there, is there.
const MEMBER_ALREADY: [&str; 3] = ["PROJECT-37fug", "PROJECT-PtXi1", "V3-DKcYh"];

/// The server, as far as the scene needs it.
pub struct Healthy {
    project: String,
    user: String,
    grant: String,
    organization: String,
    /// Management v1 isn't served.
    v2: bool,
    /// The grant is one that the organization was given: the path of those that it made doesn't show it.
    given: bool,
    /// Lists show the user. The page after the recorded one, and the list of a project without members, are empty.
    listed: bool,
}

impl Healthy {
    /// The server of a scene.
    pub fn new(case: &ReplayCase<'_>) -> Self {
        let value = |name: &str| case.value(name).to_owned();
        let there = case.is_member() || MEMBER_ALREADY.contains(&error_of(case.exchange).as_str());
        Self {
            project: value("project"),
            user: value("user"),
            grant: value("grant"),
            organization: Some(value("organization")).filter(|id| !id.is_empty()).unwrap_or(ORGANIZATION.to_owned()),
            v2: is_v2(case),
            given: case.pattern.fill(&BTreeMap::new()).contains("/granted_projects/"),
            listed: there && !matches!(case.drive, Drive::List | Drive::LookAtProject),
        }
    }

    /// Its answer; `None`: it has none.
    pub fn answer(&self, asked: &Asked) -> Option<Answer> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let body = match (asked.method.as_str(), parts.as_slice()) {
            (_, ["management", ..]) if self.v2 => return Some(refused("Not Found", "")),
            ("GET", ["management", "v1", "projects", id]) if *id == NOTHING => {
                return Some(refused("Project not found (QUERY-fk2fs)", "QUERY-fk2fs"));
            }
            ("GET", ["management", "v1", "projects", _, "grants", _]) if self.given => {
                return Some(refused("Errors.ProjectGrant.NotFound (MANAG-d3g31)", "MANAG-d3g31"));
            }
            ("POST", [_, "GetProject"]) if asked.body["projectId"] == NOTHING => return Some(missing_v2()),
            (method, parts) => self
                .sign_in(parts)
                .or_else(|| self.v1(method, parts))
                .or_else(|| self.users(method, parts))
                .or_else(|| self.v2(parts, asked))?,
        };
        Some(Answer::json(200, &body))
    }

    fn sign_in(&self, parts: &[&str]) -> Option<Value> {
        Some(match parts {
            [".well-known", "openid-configuration"] => json!({"issuer": format!("http://{INSTANCE_HOST}")}),
            ["oauth", "v2", "token"] => {
                json!({"access_token": "another", "token_type": "Bearer", "expires_in": 43199})
            }
            _ => return None,
        })
    }

    fn v1(&self, method: &str, parts: &[&str]) -> Option<Value> {
        let organization = &self.organization;
        let details = json!({"sequence": "9000", "resourceOwner": organization});
        Some(match (method, parts) {
            ("POST", [.., "roles", "_search"]) => json!({"result": ["PROJECT_OWNER_GLOBAL"]}),
            ("POST", [.., "members", "_search"]) if self.listed => {
                let row = json!({"userId": self.user, "details": details, "roles": ["PROJECT_OWNER_VIEWER"]});
                json!({"details": {"totalResult": "1"}, "result": [row]})
            }
            ("POST", [.., "_search"]) => json!({"details": {}}),
            ("POST", [.., "members"]) | ("PUT" | "DELETE", [.., "members", _]) => json!({"details": details}),
            ("GET", ["management", "v1", "projects", id]) => {
                json!({"project": {"id": id, "details": {"sequence": "1", "resourceOwner": organization}}})
            }
            ("GET", ["management", "v1", kind, id, "grants", of]) => {
                let found = json!({"projectId": id, "grantId": of, "grantedOrgId": organization, "details": details});
                let field = if *kind == "projects" { "projectGrant" } else { "grantedProject" };
                json!({field: found})
            }
            _ => return None,
        })
    }

    fn users(&self, method: &str, parts: &[&str]) -> Option<Value> {
        Some(match (method, parts) {
            ("GET", ["management", "v1", "users", _]) => json!({"user": {"id": self.user, "loginNames": ["deployer"]}}),
            ("GET", ["v2", "users", _]) => json!({"user": {"userId": self.user, "loginNames": ["deployer"]}}),
            ("POST", ["v2", "users"]) => json!({"details": {}}),
            _ => return None,
        })
    }

    fn v2(&self, parts: &[&str], asked: &Asked) -> Option<Value> {
        let [_, method] = parts else { return None };
        let (project, organization) = (&self.project, &self.organization);
        Some(match *method {
            "ListAdministrators" if self.listed && !is_knock(asked) => {
                json!({"pagination": {"totalResult": "1", "appliedLimit": "1000"}, "administrators": [self.administrator()]})
            }
            "ListAdministrators" => json!({"pagination": {"appliedLimit": "1000"}}),
            "CreateAdministrator" => json!({"creationDate": "2026-11-21T19:00:00Z"}),
            "UpdateAdministrator" => json!({"changeDate": "2026-11-21T19:00:00Z"}),
            "DeleteAdministrator" => json!({"deletionDate": "2026-11-21T19:00:00Z"}),
            "GetProject" => {
                json!({"project": {"projectId": asked.body["projectId"], "organizationId": organization}})
            }
            "ListProjectGrants" => {
                json!({"pagination": {"totalResult": "1"},
                       "projectGrants": [{"projectId": project, "grantedOrganizationId": organization}]})
            }
            _ => return None,
        })
    }

    fn administrator(&self) -> Value {
        let (project, organization) = (&self.project, &self.organization);
        let (field, of) = if self.grant.is_empty() {
            ("project", json!({"id": project, "organizationId": organization}))
        } else {
            ("projectGrant", json!({"id": self.grant, "projectId": project, "grantedOrganizationId": organization}))
        };
        json!({"user": {"id": self.user}, "changeDate": "2026-11-21T18:00:00Z", "roles": ["PROJECT_OWNER_VIEWER"], field: of})
    }
}

fn refused(message: &str, id: &str) -> Answer {
    let details = if id.is_empty() { json!([]) } else { json!([{"id": id, "message": message}]) };
    Answer::json(404, &json!({"code": 5, "message": message, "details": details}))
}

fn missing_v2() -> Answer {
    let debug = json!({"id": "QUERY-fk2fs", "message": "Project not found"});
    Answer::json(404, &json!({"code": "not_found", "message": "Project not found", "details": [{"debug": debug}]}))
}
