//! Ids of projects and users by their names (reference/zitadel.md, Names; name-resolution.json).
//!
//! What comes back is compared with what was asked for: an unknown comparison means "equals", and a field that a version
//! doesn't know matches everybody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::api::Api;
use super::calls::Calls;
use super::explain::{self, Asked};
use super::refusal::{Meaning, Refusal};
use super::{v2, wire};
use crate::provider::Error;
use crate::provider::http::{Answer, Method, Request, text};

const PROJECTS: &str = "/management/v1/projects/_search";
const PROJECTS_V2: &str = "/zitadel.project.v2.ProjectService/ListProjects";

/// The users of one organization. An owner of one of its projects may ask: its role has user.read (ZITADEL's source,
/// cmd/defaults.yaml, PROJECT_OWNER).
const USERS: &str = "/management/v1/users/_search";

/// The users of all organizations, as far as the caller has user.read in them: an owner of one project hasn't.
const USERS_V2: &str = "/v2/users";

/// Rows asked for: names are unique or nearly so.
const ROWS: usize = 100;

/// The ids of the projects of this name in an organization. Without one: v1 takes the caller's own, v2 looks in all that
/// the caller may read.
pub async fn projects(
    calls: &Calls<'_>,
    api: Api,
    name: &str,
    organization: Option<&str>,
) -> Result<Vec<String>, Error> {
    let found = match api {
        Api::ManagementV1 => projects_v1(calls, name).await?,
        Api::InternalPermissionV2 => projects_v2(calls, name, organization).await?,
    };
    let ours = found.into_iter().filter(|project| {
        let owner = &project.details.resource_owner;
        project.name == name && organization.is_none_or(|organization| owner.is_empty() || owner == organization)
    });
    Ok(ours.map(|project| project.id).collect::<BTreeSet<_>>().into_iter().collect())
}

async fn projects_v1(calls: &Calls<'_>, name: &str) -> Result<Vec<wire::NamedProject>, Error> {
    let query = json!({"nameQuery": {"name": name, "method": "TEXT_QUERY_METHOD_EQUALS"}});
    let request = Request::new(Method::Post, PROJECTS).json(&search(&query)).reads().list();
    let answer = calls.send(request).await?;
    if !answer.is_success() {
        return Err(refused_project(calls, &answer, name));
    }
    Ok(answer.json::<wire::Projects>()?.result)
}

async fn projects_v2(
    calls: &Calls<'_>,
    name: &str,
    organization: Option<&str>,
) -> Result<Vec<wire::NamedProject>, Error> {
    let name_filter = json!({"projectNameFilter": {"projectName": name, "method": "TEXT_FILTER_METHOD_EQUALS"}});
    // It may also find what is granted to the organization: whose a project is, is looked at in what comes.
    let owner = organization.map(|id| json!({"organizationIdFilter": {"organizationId": id}}));
    let filters: Vec<Value> = std::iter::once(name_filter).chain(owner).collect();
    let body = json!({"pagination": {"limit": ROWS}, "filters": filters});
    let answer = calls.send_about_none(Request::new(Method::Post, PROJECTS_V2).json(&body).reads().list()).await?;
    if !answer.is_success() {
        return Err(refused_project(calls, &answer, name));
    }
    let page: v2::Projects = answer.json()?;
    if page.projects.is_empty() && page.pagination.total_result > 0 {
        return Err(forbidden_project(calls, name, "some are hidden"));
    }
    let row = |project: v2::NamedProject| wire::NamedProject {
        id: project.project_id,
        name: project.name,
        details: wire::Details { resource_owner: project.organization_id, ..wire::Details::default() },
    };
    Ok(page.projects.into_iter().map(row).collect())
}

fn refused_project(calls: &Calls<'_>, answer: &Answer, name: &str) -> Error {
    let refusal = Refusal::read(answer);
    match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { by_server: true } => {
            forbidden_project(calls, name, &answer.filtered(&refusal.id))
        }
        _ => explain::error(&Asked::of_instance(calls.endpoint()), answer, &refusal),
    }
}

fn forbidden_project(calls: &Calls<'_>, name: &str, why: &str) -> Error {
    Error::Forbidden {
        message: format!(
            "the credential may not look up project {:?} by its name at ZITADEL at {} ({why}): make its user PROJECT_OWNER \
             of the project, check organizationId, or write project.id",
            shown(name),
            calls.endpoint()
        ),
    }
}

/// The ids of the users with this user name, login name or e-mail address: those of all organizations that the caller may
/// read, and those of the organization of `calls`, which may be read with less.
pub async fn users(calls: &Calls<'_>, api: Api, name: &str) -> Result<Vec<String>, Error> {
    let mut found = Found::default();
    for query in queries(name) {
        let request = Request::new(Method::Post, USERS_V2).json(&search(&query)).reads().list();
        found.take(calls, calls.send_about_none(request).await?, name)?;
        if api == Api::ManagementV1 {
            let request = Request::new(Method::Post, USERS).json(&search(&query)).reads().list();
            found.take(calls, calls.send(request).await?, name)?;
        }
    }
    match found.hidden {
        Some(why) if found.ids.is_empty() => Err(Error::Forbidden {
            message: format!(
                "the credential may not look up user {:?} by its name at ZITADEL at {} ({why}): make its user ORG_OWNER_VIEWER \
                 of the user's organization, or PROJECT_OWNER of the project where the user is of the project's \
                 organization, or write subject.id",
                shown(name),
                calls.endpoint()
            ),
        }),
        _ => Ok(found.ids.into_iter().collect()),
    }
}

/// One kind of name each: v1 joins several by "and".
fn queries(name: &str) -> Vec<Value> {
    let method = "TEXT_QUERY_METHOD_EQUALS";
    let mut queries = vec![
        json!({"userNameQuery": {"userName": name, "method": method}}),
        json!({"loginNameQuery": {"loginName": name, "method": method}}),
    ];
    if name.contains('@') {
        queries.push(json!({"emailQuery": {"emailAddress": name, "method": method}}));
    }
    queries
}

fn search(query: &Value) -> Value {
    json!({"query": {"limit": ROWS}, "queries": [query]})
}

/// Users so far.
#[derive(Debug, Default)]
struct Found {
    ids: BTreeSet<String>,
    /// Why there may be more.
    hidden: Option<String>,
}

impl Found {
    fn take(&mut self, calls: &Calls<'_>, answer: Answer, name: &str) -> Result<(), Error> {
        if !answer.is_success() {
            let refusal = Refusal::read(&answer);
            return match refusal.meaning() {
                Meaning::NoMembership | Meaning::NoPermission { by_server: true } => {
                    self.hidden = Some(answer.filtered(&refusal.id));
                    Ok(())
                }
                // This version hasn't both of them.
                Meaning::NotHere => Ok(()),
                _ => Err(explain::error(&Asked::of_instance(calls.endpoint()), &answer, &refusal)),
            };
        }
        let page: wire::Users = answer.json()?;
        if page.result.is_empty() && page.details.total_result > 0 {
            self.hidden = Some("some are hidden".to_owned());
        }
        let named = page.result.into_iter().filter(|user| {
            user.user_name == name || user.human.email.email == name || user.login_names.iter().any(|one| one == name)
        });
        self.ids.extend(named.map(|user| user.id));
        Ok(())
    }
}

fn shown(name: &str) -> String {
    text::bounded(&text::filtered(name, &[]), 100)
}
