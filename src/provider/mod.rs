//! The contract with a provider, on one page. Wire formats stay inside the provider's own module.
//!
//! A provider only ever reads, or carries out a [`Change`] that [`crate::core::plan`] made. It decides nothing about
//! roles or time. Each call is made under a [`Permit`] of the provider's [`quota`].
//!
//! What is implemented for a kind of server is two traits: [`Backend`], which says how to make a client of a server, and
//! [`Provider`], which that client is. Each kind has one folder, and all folders have the same files: `mod.rs` (the two
//! traits), `api.rs` (which generation of its API the server has), `auth.rs` (how to sign in), `client.rs` (requests under
//! one permit), `wire.rs` (what is sent and read), `list.rs` and `write.rs` (memberships), `names.rs` and `ids.rs` (what an
//! object may call things), `errors/` (what a refusal means, and how it is told); and one file for each peculiarity of the
//! server that deserves one. [`registry`] has one line for each kind. `docs/adding-a-provider.md` shows how one is added.

pub mod address;
pub mod http;
pub mod infisical;
pub mod quota;
pub(crate) mod registry;
pub(crate) mod session;
pub mod zitadel;

pub use crate::core::error::{self, Error, Retry};
pub use quota::{EndpointQuota, Permit, Urgency};
pub use registry::AnyProvider;

use crate::api::SubjectKind;
use crate::api::provider::Limits;
use crate::core::clocks::ProviderClock;
pub use crate::core::member::Receipt;
use crate::core::member::{Capabilities, Change, Member, Project, Target};
use http::{Client, Endpoint};

/// What [`Provider::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[warn(missing_docs)]
pub struct Verified {
    /// The generation of the API, for `status.api`. Infisical's is that of the paths of identity memberships:
    /// `projects/v1/memberships` (`/api/v1/projects/{p}/memberships/identities`, since about October 2025), `projects/v1`
    /// (`/api/v1/projects/{p}/identity-memberships`), `workspace/v2` (`/api/v2/workspace/{p}/identity-memberships`).
    /// ZITADEL's is `management/v1`.
    pub api: &'static str,
}

/// A project's members as one list showed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[warn(missing_docs)]
pub struct Listing {
    /// One row a subject: several memberships of one subject are folded into one row that says so.
    pub members: Vec<Member>,
    /// The list was short, doubled or out of order: what it lacks isn't known to be absent.
    pub partial: bool,
}

/// A kind of server: what has to be known of it to make a client.
#[warn(missing_docs)]
pub trait Backend: Provider + Sized {
    /// What a provider object says of a server of this kind, besides its URL and how to sign in.
    type Spec;

    /// A credential, with the secrets that the provider object refers to.
    type Credentials;

    /// The kind's name in messages and metrics.
    const NAME: &'static str;

    /// Whether a server is sent one write at a time, by all provider objects that name it.
    const ONE_WRITER: bool;

    /// The limits of servers that are known to have some, where a provider object sets none.
    fn default_limits(_endpoint: &Endpoint) -> Limits {
        Limits::default()
    }

    /// The limits that a provider object sets, and the default for each that it doesn't set.
    fn limits(set: Limits, endpoint: &Endpoint) -> Limits {
        let default = Self::default_limits(endpoint);
        Limits {
            reads_per_minute: set.reads_per_minute.or(default.reads_per_minute),
            writes_per_minute: set.writes_per_minute.or(default.writes_per_minute),
            max_in_flight: set.max_in_flight.or(default.max_in_flight),
            ..set
        }
    }

    /// A client of the server at `endpoint` with `credentials`. Nothing is sent yet.
    fn connect(client: &Client, endpoint: Endpoint, spec: &Self::Spec, credentials: Self::Credentials) -> Self;
}

/// A provider of project memberships: one server, as one credential sees it. The methods without a default are what every
/// provider has to do; each default is right for a server without the peculiarity that the method is for.
#[warn(missing_docs)]
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

    /// Carries out a change. `Ok` is the server's own word, and no proof until a list shows it.
    ///
    /// [`Error::Changed`] where the membership isn't what the change takes it for (created or removed meanwhile):
    /// look again and plan again. [`Change::Remove`] of a membership that the server says isn't there is `Ok`, and so is
    /// one that took all access away and left the membership ([`Receipt::kept`]).
    ///
    /// `name` is what the object calls the subject, where it names it: Infisical adds users by name only. Anyone who is
    /// found under it counts only with the target's own id.
    fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// Brings a user into the project by name and returns the user's id. Only where [`Capabilities::invites`]. The new
    /// member has no rights when this returns; when it is cut short it may have [`Capabilities::creation_role`].
    fn invite(
        &self,
        _permit: &Permit,
        _project: &Project,
        name: &str,
    ) -> impl Future<Output = Result<String, Error>> + Send {
        let message = format!("{name:?} can't be invited: users of this provider are created there first");
        std::future::ready(Err(Error::Rejected { message }))
    }

    /// Repairs a write that the server accepted and that an observation doesn't show. It writes only roles of `wanted` or
    /// `shown`, at whatever moment it is interrupted. `shown` is what an observation after the write shows, `name` as in
    /// [`Provider::apply`].
    ///
    /// By default the list is stated again, in the form that what is shown needs. That is right where a server carries out
    /// what it accepts, and only other writers can have changed it: Infisical may unite the lists of two writers, and make
    /// several memberships of one subject (docs/reference/infisical.md, "PATCH and time").
    fn repair(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        let again = wanted.stated_again(shown);
        async move { self.apply(permit, target, name, &again).await }
    }

    /// Why a member that the server accepted isn't listed: [`Error::MemberNotListed`] where it never will be
    /// (docs/reference/zitadel.md, trap 5), [`Error::SubjectNotFound`] where the subject is gone; `Ok` where nothing
    /// speaks against it, which is the default.
    fn explain_absence(&self, _permit: &Permit, _target: &Target) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// The id of the subject that the credential is, once that is known; it is nobody's to grant roles to or to take them
    /// from. `None`, the default: neither the credential nor the response to a sign-in says it.
    fn signed_in_as(&self) -> Option<String> {
        None
    }

    /// Forgets what it remembers of projects, project grants and subjects whose ids (in lower case) are in use no more.
    /// What is forgotten is found out again when it is needed.
    fn forget_unused(&self, _in_use: &dyn Fn(&str) -> bool) {}

    /// The server's clock, by the `Date` of its last response; `None`, the default: not known, and no temporary grant
    /// begins.
    fn clock(&self) -> Option<ProviderClock> {
        None
    }
}
