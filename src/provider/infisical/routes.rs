//! The paths of each generation of the API.

use super::api::Generation;
use crate::api::SubjectKind;
use crate::provider::http::{Method, Request};

/// A request for all memberships of a project. Without a limit: pages lose and duplicate rows
/// (docs/reference/infisical.md, "Speed"), and without a limit the response has all rows, in every generation.
pub(crate) fn members<'a>(kind: SubjectKind, generation: Generation, project: &'a str) -> Request<'a> {
    use Generation::{G1, G2, G3};
    let route = match (kind, generation) {
        (SubjectKind::Identity, G1) => "/api/v2/workspace/{project}/identity-memberships",
        (SubjectKind::Identity, G2) => "/api/v1/projects/{project}/identity-memberships",
        (SubjectKind::Identity, G3) => "/api/v1/projects/{project}/memberships/identities",
        (SubjectKind::User, G1) => "/api/v1/workspace/{project}/memberships",
        (SubjectKind::User, G2 | G3) => "/api/v1/projects/{project}/memberships",
        (SubjectKind::Group, G1) => "/api/v2/workspace/{project}/groups",
        (SubjectKind::Group, G2) => "/api/v1/projects/{project}/groups",
        (SubjectKind::Group, G3) => "/api/v1/projects/{project}/memberships/groups",
    };
    Request::get(route).id(project).list()
}

/// A request about one membership: `id` is the identity's or the group's, but for users the membership's own.
pub(crate) fn member<'a>(
    kind: SubjectKind,
    generation: Generation,
    method: Method,
    project: &'a str,
    id: &'a str,
) -> Request<'a> {
    use Generation::{G1, G2, G3};
    let route = match (kind, generation) {
        (SubjectKind::Identity, G1) => "/api/v2/workspace/{project}/identity-memberships/{identity}",
        (SubjectKind::Identity, G2) => "/api/v1/projects/{project}/identity-memberships/{identity}",
        (SubjectKind::Identity, G3) => "/api/v1/projects/{project}/memberships/identities/{identity}",
        (SubjectKind::User, G1) => "/api/v1/workspace/{project}/memberships/{membership}",
        (SubjectKind::User, G2 | G3) => "/api/v1/projects/{project}/memberships/{membership}",
        (SubjectKind::Group, G1) => "/api/v2/workspace/{project}/groups/{group}",
        (SubjectKind::Group, G2) => "/api/v1/projects/{project}/groups/{group}",
        (SubjectKind::Group, G3) => "/api/v1/projects/{project}/memberships/groups/{group}",
    };
    Request::new(method, route).id(project).id(id)
}

/// A request that adds users to a project by name.
pub(crate) fn invitation<'a>(generation: Generation, project: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v2/workspace/{project}/memberships",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}/memberships",
    };
    Request::new(Method::Post, route).id(project)
}

/// A request for the membership of the user of one name.
pub(crate) fn details<'a>(generation: Generation, project: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v1/workspace/{project}/memberships/details",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}/memberships/details",
    };
    Request::new(Method::Post, route).id(project).reads()
}

/// A request for a project by its id.
pub(crate) fn project<'a>(generation: Generation, id: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v1/workspace/{project}",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}",
    };
    Request::get(route).id(id)
}

/// A request for a project by its slug (`backend/src/server/routes/v1/project-router.ts`, "getProjectBySlug", and
/// name-resolution.json).
pub(crate) fn project_by_slug<'a>(generation: Generation, slug: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v2/workspace/{slug}",
        Generation::G2 | Generation::G3 => "/api/v1/projects/slug/{slug}",
    };
    Request::get(route).id(slug)
}

/// A request for the roles of a project. It is made on the newest path only.
pub(crate) fn roles<'a>(project: &'a str) -> Request<'a> {
    Request::get("/api/v1/projects/{project}/roles").id(project).list()
}

/// A request for the identities of an organization whose names match `search`. The path is the same on every server
/// (`backend/src/server/routes/v2/identity-org-router.ts`).
pub(crate) fn identities<'a>(organization: &'a str) -> Request<'a> {
    Request::get("/api/v2/organizations/{organization}/identity-memberships").id(organization).list()
}

/// A request for the groups of the caller's organization. The path is the same on every server.
pub(crate) fn groups<'a>() -> Request<'a> {
    Request::get("/api/v1/groups").list()
}
