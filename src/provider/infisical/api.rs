//! Which generation of the API a server has, and how that is found out.

use uuid::Uuid;

use super::client::locked;
use super::errors::{self, ServerFailure};
use super::list::Memberships;
use super::write::WriteResponse;
use super::{Infisical, routes};
use crate::api::SubjectKind;
use crate::provider::http::{Method, Request, url_hint};
use crate::provider::session::PermitUse;
use crate::provider::{Error, Provider};

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

/// A set of routes that came and went together. Each has a generation of its own: a server has the newer path of one
/// before that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Memberships of subjects of this kind.
    Members(SubjectKind),
    /// The project itself.
    Projects,
}

impl Family {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// Newest first: the order in which they are looked for.
    pub(crate) fn generations(self) -> &'static [Generation] {
        match self {
            Self::Members(SubjectKind::Identity | SubjectKind::Group) => {
                &[Generation::G3, Generation::G2, Generation::G1]
            }
            Self::Members(SubjectKind::User) | Self::Projects => &[Generation::G2, Generation::G1],
        }
    }

    /// The place of the family in a table.
    pub(crate) fn index(self) -> usize {
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
    pub(crate) fn probe<'a>(self, generation: Generation, nobody: &'a str) -> Request<'a> {
        match self {
            Self::Members(SubjectKind::User) => routes::members(SubjectKind::User, generation, nobody),
            Self::Members(kind) => routes::member(kind, generation, Method::Get, nobody, nobody),
            Self::Projects => routes::project(generation, nobody),
        }
    }
}

/// What is known of a family of routes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FamilyState {
    /// The generation that was found; `None`: not looked for yet, or its route has gone.
    pub(crate) generation: Option<Generation>,
    /// The server has refused a list of temporary roles only.
    pub(crate) wants_permanent: bool,
}

impl Infisical {
    /// The generation of a family, found by reads of what nobody has.
    pub(crate) async fn probe(&self, permit_use: &PermitUse<'_>, family: Family) -> Result<Generation, Error> {
        for &generation in family.generations() {
            if self.has_route(permit_use, family, generation).await? {
                self.change(family, |known| known.generation = Some(generation));
                return Ok(generation);
            }
        }
        let endpoint = self.server.endpoint();
        let hint = url_hint(endpoint.as_str()).unwrap_or_else(|| "check that the URL is Infisical's".to_owned());
        Err(Error::Rejected {
            message: format!("the server at {endpoint} has none of the paths of project memberships: {hint}"),
        })
    }

    /// Whether the server has this generation's path of a family: one read of what nobody has.
    pub(crate) async fn has_route(
        &self,
        permit_use: &PermitUse<'_>,
        family: Family,
        generation: Generation,
    ) -> Result<bool, Error> {
        // October 2024 answers a look-up of no project with a failure (name-resolution.json): no other is left then.
        if (family, generation) == (Family::Projects, Generation::G1) {
            return Ok(true);
        }
        let nobody = Uuid::nil().to_string();
        let answer = self.session.present(&self.server, permit_use, family.probe(generation, &nobody)).await?;
        if answer.is_success() {
            // A web page that is answered for any path is neither.
            answer
                .json::<Memberships>()
                .map(drop)
                .or_else(|error| answer.json::<WriteResponse>().map(drop).map_err(|_| error))?;
            return Ok(true);
        }
        match errors::failure(&answer) {
            Some(ServerFailure::NoRoute) => Ok(false),
            Some(failure) => Err(errors::failed(failure, &answer)),
            None => Ok(true),
        }
    }

    /// The generation of a family, if it is known.
    pub(crate) fn found(&self, family: Family) -> Option<Generation> {
        self.known(family).generation
    }

    pub(crate) fn known(&self, family: Family) -> FamilyState {
        locked(&self.known).get(family.index()).copied().unwrap_or_default()
    }

    fn change(&self, family: Family, change: impl FnOnce(&mut FamilyState)) {
        if let Some(known) = locked(&self.known).get_mut(family.index()) {
            change(known);
        }
    }

    pub(crate) fn forget(&self, family: Family, generation: Generation) {
        self.change(family, |known| known.generation = known.generation.filter(|&found| found != generation));
    }

    /// A server that only has the old path may refuse a list of temporary roles only all the same: from then on the base
    /// is asked for, and the change planned again with it.
    pub(crate) fn only_temporary(&self, kind: SubjectKind, error: Error) -> Error {
        let asked_for = self.capabilities(kind).permanent_base.is_some();
        self.change(Family::Members(kind), |known| known.wants_permanent = true);
        if asked_for { error } else { Error::Changed { message: error.to_string() } }
    }
}
