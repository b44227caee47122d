//! The JSON of the v2 services, as far as it is read (ZITADEL's source, proto/zitadel/internal_permission/v2 and
//! proto/zitadel/project/v2). As in v1, 64-bit numbers are strings and empty fields are omitted.

use jiff::Timestamp;
use serde::Deserialize;

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

/// The project of a row.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectResource {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) organization_id: String,
}

/// The grant of a row.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantResource {
    pub(crate) id: String,
    pub(crate) project_id: String,
    /// The organization that the project is granted to.
    pub(crate) granted_organization_id: String,
}

/// The response to a write: when it was carried out. A removal that found nothing has no date.
#[derive(Deserialize, Debug)]
pub(crate) struct WriteResponse {
    #[serde(alias = "creationDate", alias = "changeDate", alias = "deletionDate")]
    pub(crate) date: Option<Timestamp>,
}

/// A grant of a project. It has no id here.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantItem {
    pub(crate) project_id: String,
    /// The organization that the project is granted to.
    pub(crate) granted_organization_id: String,
}
