//! The JSON of the v2 services, as far as it is read (ZITADEL's source, proto/zitadel/internal_permission/v2 and
//! proto/zitadel/project/v2). As in v1, numbers of 64 bits are strings and what is empty is left out.

use jiff::Timestamp;
use serde::Deserialize;

use crate::provider::zitadel::wire::{object, uint64};

/// How much of a list there is.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Pagination {
    /// How many rows there are on all pages, those that aren't shown among them; 0 past the end.
    #[serde(deserialize_with = "uint64")]
    pub total_result: u64,
    /// Rows a page.
    #[serde(deserialize_with = "uint64")]
    pub applied_limit: u64,
}

/// A page of administrators. An empty one has its pagination all the same; without it, it is no answer of ZITADEL's.
#[derive(Deserialize, Debug)]
pub struct Administrators {
    #[serde(deserialize_with = "object")]
    pub pagination: Pagination,
    #[serde(default)]
    pub administrators: Vec<Administrator>,
}

/// A member of a project or a project grant, or of something else that isn't read.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Administrator {
    pub user: User,
    pub change_date: Option<Timestamp>,
    pub project: Option<OfProject>,
    pub project_grant: Option<OfGrant>,
    #[serde(default)]
    pub roles: Vec<String>,
}

#[derive(Deserialize, Debug)]
pub struct User {
    pub id: String,
}

/// Which project a row is of.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct OfProject {
    pub id: String,
    #[serde(default)]
    pub organization_id: String,
}

/// Which grant a row is of.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct OfGrant {
    pub id: String,
    pub project_id: String,
    /// The organization that the project is granted to.
    pub granted_organization_id: String,
}

/// What a write answers: when it was carried out. A removal that found nothing has no date.
#[derive(Deserialize, Debug)]
pub struct Written {
    #[serde(alias = "creationDate", alias = "changeDate", alias = "deletionDate")]
    pub date: Option<Timestamp>,
}

/// A project by its id.
#[derive(Deserialize, Debug)]
pub struct ProjectById {
    pub project: Project,
}

/// A page of projects.
#[derive(Deserialize, Debug)]
pub struct Projects {
    #[serde(deserialize_with = "object")]
    pub pagination: Pagination,
    #[serde(default)]
    pub projects: Vec<Project>,
}

/// A project.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    pub project_id: String,
    #[serde(default)]
    pub organization_id: String,
    #[serde(default)]
    pub name: String,
}

/// A page of grants. They have no ids here.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Grants {
    #[serde(deserialize_with = "object")]
    pub pagination: Pagination,
    #[serde(default)]
    pub project_grants: Vec<Grant>,
}

/// A grant.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub project_id: String,
    /// The organization that the project is granted to.
    pub granted_organization_id: String,
}
