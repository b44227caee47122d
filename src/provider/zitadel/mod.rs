//! ZITADEL: the members of projects and of project grants (docs/reference/zitadel.md).
//!
//! The files are those of every provider ([`provider`](crate::provider)). The requests about members, by management v1
//! ([`v1`]) or its successor ([`v2`]), are separate from what is done with their responses ([`members`]) and from the
//! procedure that makes a write take effect ([`write`](mod@write)); [`api`] detects which API is served. Besides,
//! [`repair`] repairs a write whose response was 200 and that was never carried out, [`absence`] determines why a
//! member isn't listed, and [`key_file`] reads the key of a machine user.

mod absence;
mod api;
mod auth;
mod client;
mod errors;
mod ids;
mod key_file;
mod list;
mod members;
mod names;
mod repair;
mod v1;
mod v2;
mod wire;
mod write;

use std::sync::Mutex;

pub use auth::Credentials;
pub use key_file::{KeyFile, KeyFileError};

use async_trait::async_trait;

use super::http::{Client, Endpoint, Server};
use super::session::Session;
use super::{Backend, Error, Listing, Permit, Provider, Receipt, Verified};
use crate::api::SubjectKind;
use crate::api::provider::{Limits, Zitadel as Spec};
use crate::core::clocks::ProviderClock;
use crate::core::member::{Capabilities, Change, Member, Project, Target};
use api::Api;
use auth::Login;
use client::Calls;
use members::{ProjectMember, ProjectMembers};

/// One ZITADEL instance with one credential.
pub struct Zitadel {
    server: Server,
    session: Session<Login>,
    /// The detected API; none before the detection, and after a response has shown that it was removed.
    api: Mutex<Option<Api>>,
    /// v2: the organizations that received the grants.
    granted_to: v2::GrantedTo,
}

impl Zitadel {
    /// An instance and the credential of one of its machine users. The instance is the one that the URL's host names, or
    /// else `instance_host`, as calls inside a cluster need it. Nothing is sent yet.
    pub fn new(client: &Client, endpoint: Endpoint, credentials: Credentials, instance_host: Option<String>) -> Self {
        Self {
            server: client.server(Self::NAME, endpoint),
            session: Session::new(Login { credentials, instance_host }),
            api: Mutex::default(),
            granted_to: v2::GrantedTo::default(),
        }
    }

    fn calls<'a>(&'a self, permit: &'a Permit, project: &'a Project) -> Calls<'a> {
        Calls::new(self, permit, project.organization_id.as_deref())
    }
}

impl Backend for Zitadel {
    type Spec = Spec;
    type Credentials = Credentials;

    const NAME: &'static str = "ZITADEL";
    /// Concurrent writes to one instance fail or are lost (docs/reference/zitadel.md, trap 4).
    const ONE_WRITER: bool = true;

    /// ZITADEL Cloud allows 50 requests a second (docs/reference/zitadel.md, "Headers and limits"): half of them are for
    /// reads, half for writes.
    fn default_limits(endpoint: &Endpoint) -> Limits {
        let requests = endpoint.host().ends_with(".zitadel.cloud").then_some(1500);
        Limits { reads_per_minute: requests, writes_per_minute: requests, ..Limits::default() }
    }

    fn connect(client: &Client, endpoint: Endpoint, spec: &Spec, credentials: Credentials) -> Self {
        Self::new(client, endpoint, credentials, spec.instance_host.clone())
    }
}

#[async_trait]
impl Provider for Zitadel {
    fn capabilities(&self, _: SubjectKind) -> Capabilities {
        Capabilities {
            // "Nothing in a member has an expiry" (docs/reference/zitadel.md, Replacement and expiry).
            enforces_expiry: false,
            permanent_base: None,
            empty_role: None,
            lists_are_current: false,
            creation_role: None,
            invites: false,
        }
    }

    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        let api = Calls::new(self, permit, None).detect_api().await?;
        Ok(Verified { api: api.name() })
    }

    async fn find_project(
        &self,
        permit: &Permit,
        name: &str,
        organization_id: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        ids::check_organization(organization_id)?;
        let calls = Calls::new(self, permit, organization_id);
        calls.noticing(names::projects(&calls, name, organization_id)).await
    }

    async fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        ids::check_project(project)?;
        ids::check_kind(kind)?;
        let calls = self.calls(permit, project);
        calls.noticing(names::users(&calls, name)).await
    }

    async fn list(&self, permit: &Permit, project: &Project, _: SubjectKind) -> Result<Listing, Error> {
        ids::check_project(project)?;
        let calls = self.calls(permit, project);
        calls.noticing(async { ProjectMembers::of(&calls, project).await?.list().await }).await
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        _: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        ids::check_target(target)?;
        let calls = self.calls(permit, &target.project);
        calls.noticing(async { write::apply(&ProjectMember::of(&calls, target).await?, change).await }).await
    }

    async fn repair(
        &self,
        permit: &Permit,
        target: &Target,
        _: Option<&str>,
        wanted: &Change,
        observed: Option<&Member>,
    ) -> Result<Receipt, Error> {
        ids::check_target(target)?;
        let calls = self.calls(permit, &target.project);
        let repaired = async { repair::repair(&ProjectMember::of(&calls, target).await?, wanted, observed).await };
        calls.noticing(repaired).await
    }

    async fn explain_absence(&self, permit: &Permit, target: &Target) -> Result<(), Error> {
        ids::check_target(target)?;
        let calls = self.calls(permit, &target.project);
        calls.noticing(absence::explain(&calls, target)).await
    }

    fn signed_in_as(&self) -> Option<String> {
        self.session.signed_in_as()
    }

    fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        self.granted_to.forget_unused(in_use);
    }

    fn clock(&self) -> Option<ProviderClock> {
        self.server.clock()
    }
}
