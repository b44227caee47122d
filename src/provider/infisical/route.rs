//! The paths of the membership routes in each generation of the API.

use crate::provider::http::{Method, Request};

/// A generation of the identity-membership path (reference/infisical.md, "Three generations…").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// `/api/v2/workspace/…`, the only one before September 2025.
    G1,
    /// `/api/v1/projects/…/identity-memberships`.
    G2,
}

impl Generation {
    /// Newest first: the order in which they are looked for.
    pub(super) const ALL: [Self; 2] = [Self::G2, Self::G1];

    /// For `status.api`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::G1 => "workspace/v2",
            Self::G2 => "projects/v1",
        }
    }

    /// A request for all identity memberships of a project.
    pub(super) fn members<'a>(self, project: &'a str) -> Request<'a> {
        let route = match self {
            Self::G1 => "/api/v2/workspace/{project}/identity-memberships",
            Self::G2 => "/api/v1/projects/{project}/identity-memberships",
        };
        Request::get(route).id(project).list()
    }

    /// A request for one identity's membership.
    pub(super) fn member<'a>(self, method: Method, project: &'a str, identity: &'a str) -> Request<'a> {
        let route = match self {
            Self::G1 => "/api/v2/workspace/{project}/identity-memberships/{identity}",
            Self::G2 => "/api/v1/projects/{project}/identity-memberships/{identity}",
        };
        Request::new(method, route).id(project).id(identity)
    }
}
