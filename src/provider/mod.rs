//! The contract with a provider, on one page. Wire formats stay inside the provider's own module.
//!
//! A provider only ever reads, or carries out a [`Change`] that [`crate::plan`] made. It decides nothing about
//! roles or time. Each call is made under a [`Permit`] of the provider's [`budget`].

pub mod address;
pub mod error;
pub mod http;
pub mod infisical;
pub mod quota;
pub mod session;
pub mod zitadel;

pub use error::{Error, Retry};
pub use quota::{EndpointQuota, Permit, Urgency};

use crate::api::SubjectKind;
use crate::clock::ProviderClock;
use crate::member::{Capabilities, Change, Member, Project, Target};

/// What [`Provider::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The generation of the API, for `status.api`. Infisical's is that of the paths of identity memberships:
    /// `projects/v1/memberships` (`/api/v1/projects/{p}/memberships/identities`, since about October 2025), `projects/v1`
    /// (`/api/v1/projects/{p}/identity-memberships`), `workspace/v2` (`/api/v2/workspace/{p}/identity-memberships`).
    /// ZITADEL's is `management/v1`.
    pub api: &'static str,
}

/// A project's members as one list showed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// One row a subject: several memberships of one subject are folded into one row that says so.
    pub members: Vec<Member>,
    /// The list was short, doubled or out of order: what it lacks isn't known to be absent.
    pub partial: bool,
}

/// What a write's answer said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The version of the row that shows the write (ZITADEL: `details.sequence`), where the provider has one.
    pub version: Option<u64>,
    /// Why a removal left the membership in place, with nothing but [`Capabilities::empty_role`] in it: the provider
    /// refuses the removal permanently and accepts a change.
    pub kept: Option<&'static str>,
}

/// A provider of project memberships.
pub trait Provider: Send + Sync {
    /// What it can and needs for subjects of this kind. Known after [`Provider::verify`].
    fn capabilities(&self, kind: SubjectKind) -> Capabilities;

    /// Signs in and finds out, by reads that change nothing, which generation of the API the server has. Where that is
    /// known, one read shows that the server answers and accepts the credential.
    fn verify(&self, permit: &Permit) -> impl Future<Output = Result<Verified, Error>> + Send;

    /// The ids of all projects with exactly this name (Infisical: slug; ZITADEL: name, in the organization or, without
    /// one, in the credential's own). None and several are answers too.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the credential may not look it up; [`Error::ProjectNotFound`] where nothing has this
    /// name and something has it in other letters, which the message shows.
    fn find_project(
        &self,
        permit: &Permit,
        name: &str,
        organization_id: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// The ids of all subjects of this kind with exactly this name that could be members of the project (Infisical:
    /// the identity's name, the user's e-mail or username, the group's slug; ZITADEL: the user's name, login name or
    /// e-mail). What the server answers is compared with what was asked for: its filters match more.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the credential may not look it up; [`Error::SubjectNotFound`] where nobody has this name
    /// and somebody has it in other letters, which the message shows.
    fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Brings a user into the project by name and returns the user's id. Only where [`Capabilities::invites`]. The new
    /// member has no rights when this returns; when it is cut short it may have [`Capabilities::creation_role`].
    fn invite(
        &self,
        permit: &Permit,
        project: &Project,
        name: &str,
    ) -> impl Future<Output = Result<String, Error>> + Send;

    /// Lists the members of this kind of a project, all pages.
    ///
    /// An empty list is returned only where the project is known to exist and to be looked at rightly
    /// (docs/reference/zitadel.md, trap 3: a wrong organization is answered with an empty list).
    fn list(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
    ) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// Carries out a change. `Ok` is the server's own word, not yet proof (see [`crate::roster`]).
    ///
    /// [`Error::Changed`] where the membership isn't what the change takes it for (created or removed meanwhile):
    /// look again and plan again. [`Change::Remove`] of a membership that the server says isn't there is `Ok`, and so is
    /// one that took all access away and left the membership ([`Receipt::kept`]).
    ///
    /// `name` is what the object calls the subject, where it names it: Infisical adds users by name only. Whoever is
    /// found under it counts only with the target's own id.
    fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// Cures a write that was answered with yes and never carried out. It writes only roles of `wanted` or `shown`,
    /// whatever moment it is cut short at. `shown` is what an observation after the write shows, `name` as in
    /// [`Provider::apply`].
    fn heal(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// Why a member that the server took isn't listed: [`Error::MemberNotListed`] where it never will be
    /// (docs/reference/zitadel.md, trap 5), [`Error::SubjectNotFound`] where the subject is gone; `Ok` where nothing
    /// speaks against it.
    fn explain_absence(&self, permit: &Permit, target: &Target) -> impl Future<Output = Result<(), Error>> + Send;

    /// The id of the subject that the credential is, once that is known; it is nobody's to grant roles to or to take them
    /// from. `None` where neither the credential nor a sign-in's answer tells it.
    fn signed_in_as(&self) -> Option<String>;

    /// Forgets what it remembers of projects, project grants and subjects whose ids (in lower case) are in use no more.
    /// What is forgotten is found out again when it is needed.
    fn forget_unused(&self, _in_use: &dyn Fn(&str) -> bool) {}

    /// The server's clock, by the `Date` of its last response.
    fn clock(&self) -> Option<ProviderClock>;
}

/// The provider of a MembershipProvider object.
#[allow(clippy::large_enum_variant, reason = "there is one for each provider object, and it stays where it is")]
pub enum AnyProvider {
    /// Infisical.
    Infisical(infisical::Infisical),
    /// ZITADEL.
    Zitadel(zitadel::Zitadel),
}

/// Calls the same method of whichever provider it is.
macro_rules! whichever {
    ($any:expr, $provider:ident => $call:expr) => {
        match $any {
            AnyProvider::Infisical($provider) => $call,
            AnyProvider::Zitadel($provider) => $call,
        }
    };
}

impl Provider for AnyProvider {
    fn capabilities(&self, kind: SubjectKind) -> Capabilities {
        whichever!(self, provider => provider.capabilities(kind))
    }

    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        whichever!(self, provider => provider.verify(permit).await)
    }

    async fn find_project(
        &self,
        permit: &Permit,
        name: &str,
        organization_id: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        whichever!(self, provider => provider.find_project(permit, name, organization_id).await)
    }

    async fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        whichever!(self, provider => provider.find_subject(permit, project, kind, name).await)
    }

    async fn invite(&self, permit: &Permit, project: &Project, name: &str) -> Result<String, Error> {
        whichever!(self, provider => provider.invite(permit, project, name).await)
    }

    async fn list(&self, permit: &Permit, project: &Project, kind: SubjectKind) -> Result<Listing, Error> {
        whichever!(self, provider => provider.list(permit, project, kind).await)
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        whichever!(self, provider => provider.apply(permit, target, name, change).await)
    }

    async fn heal(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> Result<Receipt, Error> {
        whichever!(self, provider => provider.heal(permit, target, name, wanted, shown).await)
    }

    async fn explain_absence(&self, permit: &Permit, target: &Target) -> Result<(), Error> {
        whichever!(self, provider => provider.explain_absence(permit, target).await)
    }

    fn signed_in_as(&self) -> Option<String> {
        whichever!(self, provider => provider.signed_in_as())
    }

    fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        whichever!(self, provider => provider.forget_unused(in_use));
    }

    fn clock(&self) -> Option<ProviderClock> {
        whichever!(self, provider => provider.clock())
    }
}
