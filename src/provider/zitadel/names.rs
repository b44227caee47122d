//! Ids of projects and users by their names (docs/reference/zitadel.md, Names; name-resolution.json).
//!
//! What comes back is compared with what was asked for: an unknown comparison means "equals", and a field that a version
//! doesn't know matches everybody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::api::Api;
use super::client::Calls;
use super::errors::messages::{self, RequestContext};
use super::errors::{Meaning, ServerRefusal};
use super::{v2, wire};
use crate::provider::Error;
use crate::provider::http::{Method, Request, Response, text};

const PROJECTS: &str = "/management/v1/projects/_search";
const PROJECTS_V2: &str = "/zitadel.project.v2.ProjectService/ListProjects";

/// The users of one organization. An owner of one of its projects may ask: its role has user.read (ZITADEL's source,
/// cmd/defaults.yaml, PROJECT_OWNER).
const USERS: &str = "/management/v1/users/_search";

/// The users of all organizations, as far as the caller has user.read in them: an owner of one project hasn't.
const USERS_V2: &str = "/v2/users";

/// Rows asked for: names are unique or nearly so.
const ROWS: usize = 100;

/// How names are compared. What isn't found exactly is looked for once more in any letter case, for a message: project and
/// user names are unique whatever the case, but a name in another case stands for nothing.
#[derive(Clone, Copy)]
enum Compare {
    Exactly,
    /// In another letter case.
    IgnoringCase,
}

impl Compare {
    /// The name of the server's method, which ends so in both APIs.
    fn method(self, kind: &str) -> String {
        match self {
            Self::Exactly => format!("{kind}_METHOD_EQUALS"),
            Self::IgnoringCase => format!("{kind}_METHOD_EQUALS_IGNORE_CASE"),
        }
    }

    fn fits(self, found: &str, name: &str) -> bool {
        match self {
            Self::Exactly => found == name,
            Self::IgnoringCase => found != name && found.to_lowercase() == name.to_lowercase(),
        }
    }
}

/// The ids of the projects of this name in an organization. Without one: v1 takes the caller's own, v2 looks in all that
/// the caller may read.
pub(crate) async fn projects(
    calls: &Calls<'_>,
    api: Api,
    name: &str,
    organization: Option<&str>,
) -> Result<Vec<String>, Error> {
    let found = projects_named(calls, api, name, organization, Compare::Exactly).await?;
    if !found.is_empty() {
        let ids: BTreeSet<String> = found.into_iter().map(|project| project.id).collect();
        return Ok(ids.into_iter().collect());
    }
    let similar = projects_named(calls, api, name, organization, Compare::IgnoringCase).await.unwrap_or_default();
    match similar.into_iter().next() {
        Some(similar) => Err(Error::ProjectNotFound {
            gone: false,
            message: in_another_case(calls, "project", name, &similar.name, "project.id"),
        }),
        None => Ok(Vec::new()),
    }
}

async fn projects_named(
    calls: &Calls<'_>,
    api: Api,
    name: &str,
    organization: Option<&str>,
    compare: Compare,
) -> Result<Vec<wire::NamedProject>, Error> {
    let found = match api {
        Api::ManagementV1 => projects_v1(calls, name, compare).await?,
        Api::InternalPermissionV2 => projects_v2(calls, name, organization, compare).await?,
    };
    let ours = found.into_iter().filter(|project| {
        let owner = &project.details.resource_owner;
        compare.fits(&project.name, name)
            && organization.is_none_or(|organization| owner.is_empty() || owner == organization)
    });
    Ok(ours.collect())
}

async fn projects_v1(calls: &Calls<'_>, name: &str, compare: Compare) -> Result<Vec<wire::NamedProject>, Error> {
    let query = json!({"nameQuery": {"name": name, "method": compare.method("TEXT_QUERY")}});
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
    compare: Compare,
) -> Result<Vec<wire::NamedProject>, Error> {
    let name_filter = json!({"projectNameFilter": {"projectName": name, "method": compare.method("TEXT_FILTER")}});
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

fn refused_project(calls: &Calls<'_>, answer: &Response, name: &str) -> Error {
    let refusal = ServerRefusal::read(answer);
    match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { by_server: true } => {
            forbidden_project(calls, name, &answer.filtered(&refusal.id))
        }
        _ => messages::error(&RequestContext::of_instance(calls.endpoint()), answer, &refusal),
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
pub(crate) async fn users(calls: &Calls<'_>, api: Api, name: &str) -> Result<Vec<String>, Error> {
    let found = users_named(calls, api, name, Compare::Exactly).await?;
    if !found.users.is_empty() {
        return Ok(found.users.into_keys().collect());
    }
    let similar = users_named(calls, api, name, Compare::IgnoringCase).await.unwrap_or_default();
    if let Some(similar) = similar.users.into_values().next() {
        return Err(Error::SubjectNotFound { message: in_another_case(calls, "user", name, &similar, "subject.id") });
    }
    match found.hidden {
        Some(why) => Err(Error::Forbidden {
            message: format!(
                "the credential may not look up user {:?} by its name at ZITADEL at {} ({why}): make its user ORG_OWNER_VIEWER \
                 of the user's organization, or PROJECT_OWNER of the project where the user is of the project's \
                 organization, or write subject.id",
                shown(name),
                calls.endpoint()
            ),
        }),
        None => Ok(Vec::new()),
    }
}

async fn users_named(calls: &Calls<'_>, api: Api, name: &str, compare: Compare) -> Result<FoundUsers, Error> {
    let mut found = FoundUsers::default();
    for query in queries(name, compare) {
        let request = Request::new(Method::Post, USERS_V2).json(&search(&query)).reads().list();
        found.take(calls, calls.send_about_none(request).await?, name, compare)?;
        if api == Api::ManagementV1 {
            let request = Request::new(Method::Post, USERS).json(&search(&query)).reads().list();
            found.take(calls, calls.send(request).await?, name, compare)?;
        }
    }
    Ok(found)
}

/// One kind of name each: v1 joins several by "and".
fn queries(name: &str, compare: Compare) -> Vec<Value> {
    let method = compare.method("TEXT_QUERY");
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
struct FoundUsers {
    /// By id, with the name by which each was found.
    users: BTreeMap<String, String>,
    /// Why there may be more.
    hidden: Option<String>,
}

impl FoundUsers {
    fn take(&mut self, calls: &Calls<'_>, answer: Response, name: &str, compare: Compare) -> Result<(), Error> {
        if !answer.is_success() {
            let refusal = ServerRefusal::read(&answer);
            return match refusal.meaning() {
                Meaning::NoMembership | Meaning::NoPermission { by_server: true } => {
                    self.hidden = Some(answer.filtered(&refusal.id));
                    Ok(())
                }
                // This version hasn't both of them.
                Meaning::NotHere => Ok(()),
                _ => Err(messages::error(&RequestContext::of_instance(calls.endpoint()), &answer, &refusal)),
            };
        }
        let page: wire::Users = answer.json()?;
        if page.result.is_empty() && page.details.total_result > 0 {
            self.hidden = Some("some are hidden".to_owned());
        }
        let named = page.result.into_iter().filter_map(|user| {
            let mut names = [user.user_name, user.human.email.email].into_iter().chain(user.login_names);
            Some((user.id, names.find(|found| compare.fits(found, name))?))
        });
        self.users.extend(named);
        Ok(())
    }
}

/// What to say of a name that nothing has, and something has in another letter case.
fn in_another_case(calls: &Calls<'_>, what: &str, name: &str, found: &str, field: &str) -> String {
    format!(
        "there is no {what} named {:?} that the operator's credential can see at ZITADEL at {}, where upper and lower case \
         count, but one named {:?}: create the object again with that name or with {field}, if it is meant",
        shown(name),
        calls.endpoint(),
        shown(found)
    )
}

fn shown(name: &str) -> String {
    text::bounded(&text::filtered(name, &[]), 100)
}
