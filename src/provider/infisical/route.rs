//! The paths of each generation of the API.

use crate::api::SubjectKind;
use crate::provider::http::{Method, Request};

/// A generation of the paths (docs/reference/infisical.md, "Three generations…").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// `/api/v1/workspace/…` and `/api/v2/workspace/…`, the only ones before September 2025.
    G1,
    /// `/api/v1/projects/…/identity-memberships`, `…/memberships` (users) and `…/groups`.
    G2,
    /// `/api/v1/projects/…/memberships/identities` and `…/memberships/groups`. Its DELETE removes one of several
    /// memberships, where older servers remove all of a subject (Infisical's
    /// `backend/src/services/membership-identity/membership-identity-service.ts`, `deleteMembership`).
    G3,
}

impl Generation {
    /// For `status.api`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::G1 => "workspace/v2",
            Self::G2 => "projects/v1",
            Self::G3 => "projects/v1/memberships",
        }
    }
}

/// A set of routes that came and went together. Each has a generation of its own: a server has the newer path of one
/// before that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Memberships of subjects of this kind.
    Members(SubjectKind),
    /// The project itself.
    Projects,
}

impl Family {
    /// How many there are.
    pub(super) const COUNT: usize = 4;

    /// Newest first: the order in which they are looked for.
    pub(super) fn generations(self) -> &'static [Generation] {
        match self {
            Self::Members(SubjectKind::Identity | SubjectKind::Group) => {
                &[Generation::G3, Generation::G2, Generation::G1]
            }
            Self::Members(SubjectKind::User) | Self::Projects => &[Generation::G2, Generation::G1],
        }
    }

    /// The place of the family in a table.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Members(SubjectKind::Identity) => 0,
            Self::Members(SubjectKind::User) => 1,
            Self::Members(SubjectKind::Group) => 2,
            Self::Projects => 3,
        }
    }

    /// A read that only a server with this path has a route for, of things that nobody has. For the third generation it
    /// must be one of a single member: a list is taken for a user's membership by a server of the second, whose answer
    /// to the id `identities` is a failure and no missing route.
    pub(super) fn probe<'a>(self, generation: Generation, nobody: &'a str) -> Request<'a> {
        match self {
            Self::Members(SubjectKind::User) => members(SubjectKind::User, generation, nobody),
            Self::Members(kind) => member(kind, generation, Method::Get, nobody, nobody),
            Self::Projects => project(generation, nobody),
        }
    }
}

/// A request for all memberships of a project. Without limit: pages lose and double rows (docs/reference/infisical.md,
/// "Speed"), and where there is no limit all rows come, in every generation.
pub(super) fn members<'a>(kind: SubjectKind, generation: Generation, project: &'a str) -> Request<'a> {
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

/// A request about one membership: `id` is the identity's or the group's, but of users the membership's own.
pub(super) fn member<'a>(
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
pub(super) fn invitation<'a>(generation: Generation, project: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v2/workspace/{project}/memberships",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}/memberships",
    };
    Request::new(Method::Post, route).id(project)
}

/// A request for the membership of the user of one name.
pub(super) fn details<'a>(generation: Generation, project: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v1/workspace/{project}/memberships/details",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}/memberships/details",
    };
    Request::new(Method::Post, route).id(project).reads()
}

/// A request for a project by its id.
pub(super) fn project<'a>(generation: Generation, id: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v1/workspace/{project}",
        Generation::G2 | Generation::G3 => "/api/v1/projects/{project}",
    };
    Request::get(route).id(id)
}

/// A request for a project by its slug (`backend/src/server/routes/v1/project-router.ts`, "getProjectBySlug", and
/// name-resolution.json).
pub(super) fn project_by_slug<'a>(generation: Generation, slug: &'a str) -> Request<'a> {
    let route = match generation {
        Generation::G1 => "/api/v2/workspace/{slug}",
        Generation::G2 | Generation::G3 => "/api/v1/projects/slug/{slug}",
    };
    Request::get(route).id(slug)
}

/// A request for the roles of a project. It is made on the newest path only.
pub(super) fn roles<'a>(project: &'a str) -> Request<'a> {
    Request::get("/api/v1/projects/{project}/roles").id(project).list()
}

/// A request for the identities of an organization whose names match `search`. The path is the same on every server
/// (`backend/src/server/routes/v2/identity-org-router.ts`).
pub(super) fn identities<'a>(organization: &'a str) -> Request<'a> {
    Request::get("/api/v2/organizations/{organization}/identity-memberships").id(organization).list()
}

/// A request for the groups of the caller's organization. The path is the same on every server.
pub(super) fn groups<'a>() -> Request<'a> {
    Request::get("/api/v1/groups").list()
}
