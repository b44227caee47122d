//! The JSON of the v2 services, as far as it is read (ZITADEL's source, proto/zitadel/internal_permission/v2 and
//! proto/zitadel/project/v2). As in v1, numbers of 64 bits are strings and what is empty is left out.

use jiff::Timestamp;
use serde::Deserialize;

use crate::provider::zitadel::wire::{object, uint64};

/// How much of a list there is.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pagination {
    /// How many rows there are on all pages, those that aren't shown among them; 0 past the end.
    #[serde(deserialize_with = "uint64")]
    pub(crate) total_result: u64,
    /// Rows a page.
    #[serde(deserialize_with = "uint64")]
    pub(crate) applied_limit: u64,
}

/// A page of administrators. An empty one has its pagination all the same; without it, it is no answer of ZITADEL's.
#[derive(Deserialize, Debug)]
pub(crate) struct Administrators {
    #[serde(deserialize_with = "object")]
    pub(crate) pagination: Pagination,
    #[serde(default)]
    pub(crate) administrators: Vec<AdministratorItem>,
}

/// A member of a project or a project grant, or of something else that isn't read.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdministratorItem {
    pub user: User,
    pub(crate) change_date: Option<Timestamp>,
    pub(crate) project: Option<ProjectResource>,
    pub(crate) project_grant: Option<GrantResource>,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
}

#[derive(Deserialize, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
}

/// Which project a row is of.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectResource {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) organization_id: String,
}

/// Which grant a row is of.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantResource {
    pub(crate) id: String,
    pub(crate) project_id: String,
    /// The organization that the project is granted to.
    pub(crate) granted_organization_id: String,
}

/// What a write answers: when it was carried out. A removal that found nothing has no date.
#[derive(Deserialize, Debug)]
pub(crate) struct WriteResponse {
    #[serde(alias = "creationDate", alias = "changeDate", alias = "deletionDate")]
    pub(crate) date: Option<Timestamp>,
}

#[derive(Deserialize, Debug)]
pub(crate) struct ProjectById {
    pub(crate) project: ProjectItem,
}

/// A page of projects.
#[derive(Deserialize, Debug)]
pub(crate) struct Projects {
    #[serde(deserialize_with = "object")]
    pub(crate) pagination: Pagination,
    #[serde(default)]
    pub(crate) projects: Vec<ProjectItem>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectItem {
    pub(crate) project_id: String,
    #[serde(default)]
    pub(crate) organization_id: String,
    #[serde(default)]
    pub(crate) name: String,
}

/// A page of grants. They have no ids here.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Grants {
    #[serde(deserialize_with = "object")]
    pub(crate) pagination: Pagination,
    #[serde(default)]
    pub(crate) project_grants: Vec<GrantItem>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantItem {
    pub(crate) project_id: String,
    /// The organization that the project is granted to.
    pub(crate) granted_organization_id: String,
}
