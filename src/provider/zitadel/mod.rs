//! ZITADEL: the members of projects, by the management API v1 (reference/zitadel.md).
//!
//! What a member is written with ([`project_members`]) is kept apart from how a write is made to hold ([`flow`]) and
//! how one is cured that was answered with yes and never carried out ([`heal`]): another API, or members of project
//! grants, is one more [`flow::Members`]. What the server's answers mean is decided in one place, [`refusal`], and put
//! into words in another, [`explain`].

mod absence;
mod calls;
mod explain;
mod flow;
mod heal;
mod ids;
mod key_file;
mod list;
mod owner;
mod project_members;
mod refusal;
mod sign_in;
mod wire;

use jiff::SignedDuration;
use serde_json::json;

pub use key_file::{KeyFile, KeyFileError};
pub use sign_in::Credentials;

use super::http::{Client, Endpoint, Method, Request};
use super::{Error, Listing, Permit, Provider, Receipt, Verified};
use crate::api::SubjectKind;
use crate::member::{Capabilities, Change, Member, Project, Target};
use calls::{Calls, Connection};
use explain::Asked;
use project_members::ProjectMembers;
use refusal::{Meaning, Refusal};

/// The API that is spoken, for `status.api`.
const MANAGEMENT_V1: &str = "management/v1";

/// The roles that a project member can have; a read that changes nothing.
const ROLES: &str = "/management/v1/projects/members/roles/_search";

/// One ZITADEL instance, as one credential sees it.
pub struct Zitadel {
    connection: Connection,
}

impl Zitadel {
    /// An instance and the credential of one of its machine users. The instance is the one that the URL's host names, or
    /// else `instance_host`, as calls inside a cluster need it. Nothing is sent yet.
    pub fn new(client: Client, endpoint: Endpoint, credentials: Credentials, instance_host: Option<String>) -> Self {
        Self { connection: Connection::new(&client, endpoint, credentials, instance_host) }
    }

    fn calls<'a>(&'a self, permit: &'a Permit, project: &'a Project) -> Calls<'a> {
        Calls::new(&self.connection, permit, project.organization_id.as_deref())
    }

    fn members<'a>(&self, calls: &'a Calls<'a>, target: &'a Target) -> Result<ProjectMembers<'a>, Error> {
        ids::check_target(target)?;
        Ok(ProjectMembers::new(calls, target))
    }
}

impl Provider for Zitadel {
    fn capabilities(&self, _: SubjectKind) -> Capabilities {
        Capabilities {
            // "Nothing in a member has an expiry" (reference/zitadel.md, Replacement and expiry).
            enforces_expiry: false,
            permanent_base: None,
            one_writer: true,
            lists_are_current: false,
            creation_role: None,
            invites: false,
        }
    }

    /// A token that the server takes is all that can be verified without naming a project: an owner of one project may
    /// have no right in its own organization, and is told so by 403 or AUTHZ-cdgFk (permissions.json).
    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        let calls = Calls::new(&self.connection, permit, None);
        let answer = calls.send(Request::new(Method::Post, ROLES).json(&json!({})).reads()).await?;
        let refused = if answer.is_success() {
            answer.json::<wire::Roles>()?;
            None
        } else {
            let refusal = Refusal::read(&answer);
            let taken = matches!(refusal.meaning(), Meaning::NoMembership | Meaning::NoPermission { by_server: true });
            (!taken).then(|| explain::error(&Asked::of_instance(calls.endpoint()), &answer, &refusal))
        };
        refused.map_or(Ok(Verified { api: MANAGEMENT_V1 }), Err)
    }

    async fn find_project(&self, _: &Permit, name: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        Err(Error::Rejected { message: format!("project {name:?} can't be looked up: write its id") })
    }

    async fn find_subject(&self, _: &Permit, _: &Project, kind: SubjectKind, name: &str) -> Result<Vec<String>, Error> {
        Err(Error::Rejected { message: format!("{kind:?} {name:?} can't be looked up: write its id") })
    }

    async fn invite(&self, _: &Permit, _: &Project, name: &str) -> Result<String, Error> {
        Err(Error::Rejected { message: format!("{name:?} can't be invited") })
    }

    async fn list(&self, permit: &Permit, project: &Project, _: SubjectKind) -> Result<Listing, Error> {
        ids::check_project(project)?;
        list::list(&self.calls(permit, project), project).await
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        _: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        let calls = self.calls(permit, &target.project);
        flow::apply(&self.members(&calls, target)?, change).await
    }

    async fn heal(
        &self,
        permit: &Permit,
        target: &Target,
        _: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> Result<Receipt, Error> {
        let calls = self.calls(permit, &target.project);
        heal::heal(&self.members(&calls, target)?, wanted, shown).await
    }

    async fn explain_absence(&self, permit: &Permit, target: &Target) -> Result<(), Error> {
        ids::check_target(target)?;
        absence::explain(&self.calls(permit, &target.project), target).await
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.connection.clock_skew()
    }
}
