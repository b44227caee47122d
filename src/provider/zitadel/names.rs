//! Ids of projects and users by their names (docs/reference/zitadel.md, Names; name-resolution.json). The results are
//! compared with the requested name: an unknown comparison means "equals", and a field that a version doesn't know
//! matches every user.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::api::Api;
use super::client::{Calls, search};
use super::errors::{Meaning, Refusal};
use super::wire::{Page, ProjectView, UserView};
use crate::provider::Error;
use crate::provider::http::{Response, text};

const PROJECTS: &str = "/management/v1/projects/_search";
const PROJECTS_V2: &str = "/zitadel.project.v2.ProjectService/ListProjects";

/// The users of one organization. An owner of one of its projects may list them: its role has user.read (ZITADEL's
/// source, cmd/defaults.yaml, PROJECT_OWNER).
const USERS: &str = "/management/v1/users/_search";

/// The users of all organizations, as far as the caller has user.read in them: an owner of one project doesn't.
const USERS_V2: &str = "/v2/users";

/// Rows asked for: names are unique or nearly so.
const ROWS: usize = 100;

/// How names are compared. A name without an exact match is searched again in any letter case, for a message: project
/// and user names are unique regardless of case, but a name in another case is not resolved.
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

/// The ids of the projects of this name in an organization. Without one: v1 searches the caller's own, v2 all that the
/// caller may read.
pub(crate) async fn projects(calls: &Calls<'_>, name: &str, organization: Option<&str>) -> Result<Vec<String>, Error> {
    let found = projects_named(calls, name, organization, Compare::Exactly).await?;
    if !found.is_empty() {
        let ids: BTreeSet<String> = found.into_iter().map(|project| project.id).collect();
        return Ok(ids.into_iter().collect());
    }
    let similar = projects_named(calls, name, organization, Compare::IgnoringCase).await.unwrap_or_default();
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
    name: &str,
    organization: Option<&str>,
    compare: Compare,
) -> Result<Vec<ProjectView>, Error> {
    let asked = calls.about_instance();
    let api = calls.api().await?;
    let answer = match api {
        Api::ManagementV1 => {
            let query = json!({"nameQuery": {"name": name, "method": compare.method("TEXT_QUERY")}});
            calls.send(&asked, search(PROJECTS, &first_rows(&query))).await
        }
        Api::InternalPermissionV2 => {
            let name = json!({"projectNameFilter": {"projectName": name, "method": compare.method("TEXT_FILTER")}});
            // It may also find projects that are granted to the organization: the owner is checked in the results.
            let owner = organization.map(|id| json!({"organizationIdFilter": {"organizationId": id}}));
            let filters: Vec<Value> = std::iter::once(name).chain(owner).collect();
            let body = json!({"pagination": {"limit": ROWS}, "filters": filters});
            calls.send_about_none(&asked, search(PROJECTS_V2, &body)).await
        }
    };
    let answer = answer.map_err(|refusal| match is_forbidden(&refusal) {
        true => forbidden_project(calls, name, &refusal.id),
        false => refusal.into(),
    })?;
    let page: Page<ProjectView> = answer.json()?;
    if api == Api::InternalPermissionV2 && page.result.is_empty() && page.details.total_result > 0 {
        return Err(forbidden_project(calls, name, "some are hidden"));
    }
    let ours = page.result.into_iter().filter(|project| {
        let owner = match api {
            Api::ManagementV1 => &project.details.resource_owner,
            Api::InternalPermissionV2 => &project.organization_id,
        };
        compare.fits(&project.name, name)
            && organization.is_none_or(|organization| owner.is_empty() || owner == organization)
    });
    Ok(ours.collect())
}

fn is_forbidden(refusal: &Refusal) -> bool {
    matches!(refusal.meaning, Meaning::NoMembership | Meaning::NoPermission { by_server: true })
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

/// The ids of the users with this user name, login name or e-mail address: those of all organizations that the caller
/// may read, and those of the organization of `calls`, which may be read with fewer permissions.
pub(crate) async fn users(calls: &Calls<'_>, name: &str) -> Result<Vec<String>, Error> {
    let found = users_named(calls, name, Compare::Exactly).await?;
    if !found.users.is_empty() {
        return Ok(found.users.into_keys().collect());
    }
    let similar = users_named(calls, name, Compare::IgnoringCase).await.unwrap_or_default();
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

async fn users_named(calls: &Calls<'_>, name: &str, compare: Compare) -> Result<FoundUsers, Error> {
    let asked = calls.about_instance();
    let has_v1 = calls.api().await? == Api::ManagementV1;
    let mut found = FoundUsers::default();
    for query in queries(name, compare) {
        let body = first_rows(&query);
        found.take(calls.send_about_none(&asked, search(USERS_V2, &body)).await, name, compare)?;
        if has_v1 {
            found.take(calls.send(&asked, search(USERS, &body)).await, name, compare)?;
        }
    }
    Ok(found)
}

/// One kind of name each: v1 combines several by "and".
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

fn first_rows(query: &Value) -> Value {
    json!({"query": {"limit": ROWS}, "queries": [query]})
}

/// Users so far.
#[derive(Debug, Default)]
struct FoundUsers {
    /// The users by id, each with the name by which it was found.
    users: BTreeMap<String, String>,
    /// Why there may be more.
    hidden: Option<String>,
}

impl FoundUsers {
    fn take(&mut self, answer: Result<Response, Refusal>, name: &str, compare: Compare) -> Result<(), Error> {
        let page: Page<UserView> = match answer {
            Ok(answer) => answer.json()?,
            Err(refusal) if is_forbidden(&refusal) => {
                self.hidden = Some(refusal.id);
                return Ok(());
            }
            // This version doesn't have both of them.
            Err(Refusal { meaning: Meaning::NotHere, .. }) => return Ok(()),
            Err(refusal) => return Err(refusal.into()),
        };
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

/// The message for a name that exists only in another letter case.
fn in_another_case(calls: &Calls<'_>, what: &str, name: &str, found: &str, field: &str) -> String {
    format!(
        "there is no {what} named {:?} that the operator's credential can see at ZITADEL at {}, where upper and lower case \
         count, but one named {:?}: create the object again with that name or with {field}, if it is the intended one",
        shown(name),
        calls.endpoint(),
        shown(found)
    )
}

fn shown(name: &str) -> String {
    text::bounded(&text::filtered(name, &[]), 100)
}
