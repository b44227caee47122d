//! Detects which generation of the API a server has.

use uuid::Uuid;

use super::client::Calls;
use super::errors::{self, Meaning};
use super::list::Memberships;
use super::write::WriteResponse;
use super::{Infisical, routes};
use crate::api::SubjectKind;
use crate::provider::http::{Method, Request, url_hint};
use crate::provider::{Error, Provider, locked};

/// A generation of the paths (docs/reference/infisical.md, "Three generations…").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::G1 => "workspace/v2",
            Self::G2 => "projects/v1",
            Self::G3 => "projects/v1/memberships",
        }
    }
}

/// A set of routes that were added and removed together. Each family has its own generation: a server may have the
/// newer path of one family and not yet that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// Memberships of subjects of this kind.
    Members(SubjectKind),
    /// The project itself.
    Projects,
}

impl Family {
    /// Newest first: the order in which they are probed.
    pub(crate) fn generations(self) -> &'static [Generation] {
        match self {
            Self::Members(SubjectKind::Identity | SubjectKind::Group) => {
                &[Generation::G3, Generation::G2, Generation::G1]
            }
            Self::Members(SubjectKind::User) | Self::Projects => &[Generation::G2, Generation::G1],
        }
    }

    /// A read of something that doesn't exist, for which only a server with this path has a route. For the third
    /// generation it must be one of a single member: a server of the second interprets a list as a user's membership,
    /// and responds to the id `identities` with a failure instead of a missing route.
    pub(crate) fn probe<'a>(self, generation: Generation, missing: &'a str) -> Request<'a> {
        match self {
            Self::Members(SubjectKind::User) => routes::members(SubjectKind::User, generation, missing),
            Self::Members(kind) => routes::member(kind, generation, Method::Get, missing, missing),
            Self::Projects => routes::project(generation, missing),
        }
    }
}

/// The known properties of a family of routes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FamilyState {
    /// The detected generation; `None`: not detected yet, or its route was removed.
    pub(crate) generation: Option<Generation>,
    /// The server has refused a list with temporary roles only.
    pub(crate) wants_permanent: bool,
}

impl Calls<'_> {
    /// The generation of a family, detected by reads of something that doesn't exist.
    pub(crate) async fn probe(&self, family: Family) -> Result<Generation, Error> {
        for &generation in family.generations() {
            if self.has_route(family, generation).await? {
                self.infisical.change(family, |known| known.generation = Some(generation));
                return Ok(generation);
            }
        }
        let endpoint = self.infisical.server.endpoint();
        let hint = url_hint(endpoint.as_str()).unwrap_or_else(|| "check that the URL is Infisical's".to_owned());
        Err(Error::Rejected {
            message: format!("the server at {endpoint} has none of the paths of project memberships: {hint}"),
        })
    }

    /// Whether the server has this generation's path of a family: one read of something that doesn't exist.
    pub(crate) async fn has_route(&self, family: Family, generation: Generation) -> Result<bool, Error> {
        // October 2024 responds to a look-up of a missing project with a failure (name-resolution.json): no other is
        // left then.
        if (family, generation) == (Family::Projects, Generation::G1) {
            return Ok(true);
        }
        let answer = self.present(family.probe(generation, &Uuid::nil().to_string())).await?;
        if answer.is_success() {
            // A web page that is served for any path is neither.
            answer
                .json::<Memberships>()
                .map(drop)
                .or_else(|error| answer.json::<WriteResponse>().map(drop).map_err(|_| error))?;
            return Ok(true);
        }
        match errors::failure(&answer) {
            Some(Meaning::NoRoute) => Ok(false),
            Some(failure) => Err(failure.into()),
            None => Ok(true),
        }
    }
}

impl Infisical {
    /// The generation of a family, if it is known.
    pub(crate) fn found(&self, family: Family) -> Option<Generation> {
        self.known(family).generation
    }

    pub(crate) fn known(&self, family: Family) -> FamilyState {
        locked(&self.known).get(&family).copied().unwrap_or_default()
    }

    fn change(&self, family: Family, change: impl FnOnce(&mut FamilyState)) {
        change(locked(&self.known).entry(family).or_default());
    }

    pub(crate) fn forget(&self, family: Family, generation: Generation) {
        self.change(family, |known| known.generation = known.generation.filter(|&found| found != generation));
    }

    /// A server that only has the old path may also refuse a list with temporary roles only: from then on the base is
    /// required, and the change is planned again with it.
    pub(crate) fn only_temporary(&self, kind: SubjectKind, error: Error) -> Error {
        let asked_for = self.capabilities(kind).permanent_base.is_some();
        self.change(Family::Members(kind), |known| known.wants_permanent = true);
        if asked_for { error } else { Error::Changed { message: error.to_string() } }
    }
}
