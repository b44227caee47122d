//! The contract with a provider, on one page. Wire formats are internal to the provider's own module. A provider only
//! reads, or carries out a [`Change`] from [`crate::core::plan`]. It decides nothing about roles or time. Each call is
//! made under a [`Permit`] of the provider's [`quota`]. A kind of server implements two traits: [`Backend`], which
//! creates a client of a server, and [`Provider`], the client. Each kind has one directory, and all directories have
//! the same files: `mod.rs` (the two traits), `api.rs` (which generation of its API the server has), `auth.rs` (how to
//! sign in), `client.rs` (requests under one permit), `wire.rs` (what is sent and read), `list.rs` and `write.rs`
//! (memberships), `names.rs` and `ids.rs` (the names and ids in an object), `errors/` (what a refusal means, and its
//! message); and one file for each larger peculiarity of the server.
//! `docs/adding-a-provider.md` shows how one is added.

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

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::api::SubjectKind;
use crate::api::provider::Limits;
use crate::core::clocks::ProviderClock;
pub use crate::core::member::Receipt;
use crate::core::member::{Capabilities, Change, Member, Project, Target};
use http::{Client, Endpoint};

/// The result of [`Provider::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[warn(missing_docs)]
pub struct Verified {
    /// The generation of the API, for `status.api`. Infisical's is that of the paths of identity memberships:
    /// `projects/v1/memberships` (`/api/v1/projects/{p}/memberships/identities`, since about October 2025), `projects/v1`
    /// (`/api/v1/projects/{p}/identity-memberships`), `workspace/v2` (`/api/v2/workspace/{p}/identity-memberships`).
    /// ZITADEL's is `management/v1`.
    pub api: &'static str,
}

/// A project's members as shown by one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[warn(missing_docs)]
pub struct Listing {
    /// One row per subject: several memberships of one subject are merged into one row that records it.
    pub members: Vec<Member>,
    /// The list was incomplete, had duplicates or was out of order: what it lacks isn't known to be absent.
    pub partial: bool,
}

/// A kind of server, with what is needed to create a client.
#[warn(missing_docs)]
pub trait Backend: Provider + Sized {
    /// The settings in a provider object for a server of this kind, besides its URL and how to sign in.
    type Spec;

    /// A credential, with the secrets that the provider object refers to.
    type Credentials;

    /// The kind's name in messages and metrics.
    const NAME: &'static str;

    /// Whether a server is sent one write at a time by all provider objects for it.
    const ONE_WRITER: bool;

    /// The known limits of servers, used if a provider object sets none.
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

/// A provider of project memberships: one server with one credential. Every provider has to implement the methods
/// without a default; each default is right for a server without the peculiarity that the method is for.
#[async_trait]
#[warn(missing_docs)]
pub trait Provider: Send + Sync {
    /// Its capabilities and needs for subjects of this kind. Known after [`Provider::verify`].
    fn capabilities(&self, kind: SubjectKind) -> Capabilities;

    /// Signs in and detects, by reads that change nothing, which generation of the API the server has. If that is
    /// known, one read verifies that the server responds and accepts the credential.
    async fn verify(&self, permit: &Permit) -> Result<Verified, Error>;

    /// The ids of all projects with exactly this name (Infisical: slug; ZITADEL: name, in the organization or, without
    /// one, in the credential's own). None and several are valid results too.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the credential may not look it up; [`Error::ProjectNotFound`] if the name exists only in
    /// another letter case, which the message shows.
    async fn find_project(
        &self,
        permit: &Permit,
        name: &str,
        organization_id: Option<&str>,
    ) -> Result<Vec<String>, Error>;

    /// The ids of all subjects of this kind with exactly this name that could be members of the project (Infisical: the
    /// identity's name, the user's e-mail or username, the group's slug; ZITADEL: the user's name, login name or
    /// e-mail). The results are compared with the requested name: the server's filters match more.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the credential may not look it up; [`Error::SubjectNotFound`] if the name exists only in
    /// another letter case, which the message shows.
    async fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error>;

    /// Lists the members of this kind of a project, all pages. An empty list is returned only if the project is known
    /// to exist under the requested organization (docs/reference/zitadel.md, trap 3: the response for a wrong
    /// organization is an empty list).
    async fn list(&self, permit: &Permit, project: &Project, kind: SubjectKind) -> Result<Listing, Error>;

    /// Carries out a change. `Ok` is the server's confirmation, and no proof until a list shows it. [`Error::Changed`]
    /// if the membership isn't what the change assumes (created or removed meanwhile): observe and plan again.
    /// [`Change::Remove`] of a membership that doesn't exist according to the server is `Ok`, and so is one that
    /// revoked all access and left the membership ([`Receipt::kept`]). `name` is the subject's name in the object, if
    /// it has one: Infisical adds users by name only. A user found under it counts only if it has the target's id.
    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error>;

    /// Invites a user to the project by name and returns the user's id. Only with [`Capabilities::invites`]. The new
    /// member has no permissions when this returns; if it is interrupted, the member may have
    /// [`Capabilities::creation_role`].
    async fn invite(&self, _permit: &Permit, _project: &Project, name: &str) -> Result<String, Error> {
        let message = format!("{name:?} can't be invited: users of this provider are created there first");
        Err(Error::Rejected { message })
    }

    /// Repairs a write that the server accepted and that an observation doesn't show. It writes only roles of `wanted`
    /// or `shown`, even if it is interrupted. `shown` is what an observation after the write shows, `name` as in
    /// [`Provider::apply`]. By default the list is written again, in the form that `shown` needs. That is right if a
    /// server carries out what it accepts, and only other writers can have changed it: Infisical may merge the lists of
    /// two writers, and create several memberships of one subject (docs/reference/infisical.md, "PATCH and time").
    async fn repair(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> Result<Receipt, Error> {
        self.apply(permit, target, name, &wanted.stated_again(shown)).await
    }

    /// Why a member that the server accepted isn't listed: [`Error::MemberNotListed`] if it never will be
    /// (docs/reference/zitadel.md, trap 5), [`Error::SubjectNotFound`] if the subject no longer exists; `Ok`, the
    /// default, if there is no such reason.
    async fn explain_absence(&self, _permit: &Permit, _target: &Target) -> Result<(), Error> {
        Ok(())
    }

    /// The id of the credential's own subject, once it is known; its roles must not be changed. `None`, the default:
    /// neither the credential nor the response to a sign-in shows it.
    fn signed_in_as(&self) -> Option<String> {
        None
    }

    /// Drops cached facts about projects, project grants and subjects whose ids (in lower case) are no longer in use.
    /// They are determined again when needed.
    fn forget_unused(&self, _in_use: &dyn Fn(&str) -> bool) {}

    /// The server's clock, by the `Date` of its last response; `None`, the default: unknown, and no temporary grant is
    /// started.
    fn clock(&self) -> Option<ProviderClock> {
        None
    }
}

/// The content of a mutex, also after a panic of a holder.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
