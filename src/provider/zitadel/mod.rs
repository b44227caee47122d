//! ZITADEL: the members of projects and of project grants (docs/reference/zitadel.md).
//!
//! The files are those of every provider ([`provider`](crate::provider)). The requests that write a member, by
//! management v1 ([`v1`]) or its successor ([`v2`]), are separate from the procedure that makes a write take effect
//! ([`write`](mod@write)): each API is one [`write::Members`], and [`api`] detects which of them is served. Besides,
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
mod names;
mod repair;
mod v1;
mod v2;
mod wire;
mod write;

pub use auth::Credentials;
pub use key_file::{KeyFile, KeyFileError};

use async_trait::async_trait;

use super::http::{Client, Endpoint};
use super::{Backend, Error, Listing, Permit, Provider, Receipt, Verified};
use crate::api::SubjectKind;
use crate::api::provider::{Limits, Zitadel as Spec};
use crate::core::clocks::ProviderClock;
use crate::core::member::{Capabilities, Change, Member, Project, Target};
use api::Api;
use client::{Calls, Instance};

/// One ZITADEL instance with one credential.
pub struct Zitadel {
    connection: Instance,
    api: api::DetectedApi,
    /// v2: the organizations that received the grants.
    granted_to: v2::GrantedTo,
}

impl Zitadel {
    /// An instance and the credential of one of its machine users. The instance is the one that the URL's host names, or
    /// else `instance_host`, as calls inside a cluster need it. Nothing is sent yet.
    pub fn new(client: &Client, endpoint: Endpoint, credentials: Credentials, instance_host: Option<String>) -> Self {
        let connection = Instance::new(client, endpoint, credentials, instance_host);
        Self { connection, api: api::DetectedApi::default(), granted_to: v2::GrantedTo::default() }
    }

    fn calls<'a>(&'a self, permit: &'a Permit, project: &'a Project) -> Calls<'a> {
        Calls::new(&self.connection, permit, project.organization_id.as_deref())
    }

    /// If a response showed that a route was removed, the API is detected again before the next call.
    fn noticing<T>(&self, calls: &Calls<'_>, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() && calls.route_is_gone() {
            self.api.forget();
        }
        result
    }

    async fn list_members(&self, calls: &Calls<'_>, project: &Project) -> Result<Listing, Error> {
        match self.api.get(calls).await? {
            Api::ManagementV1 => v1::list(calls, project).await,
            Api::InternalPermissionV2 => {
                let resource = self.granted_to.resource(calls, project).await?;
                v2::list(calls, project, &resource).await
            }
        }
    }

    /// Carries out an action on the member that a target names, with the served API.
    async fn with_member(&self, calls: &Calls<'_>, target: &Target, what: MemberWrite<'_>) -> Result<Receipt, Error> {
        match self.api.get(calls).await? {
            Api::ManagementV1 => what.on(&v1::ManagementMember::new(calls, target)).await,
            Api::InternalPermissionV2 => {
                let resource = self.granted_to.resource(calls, &target.project).await?;
                what.on(&v2::Administrator::new(calls, target, &resource)).await
            }
        }
    }
}

/// An action on a member.
#[derive(Clone, Copy)]
enum MemberWrite<'a> {
    Apply(&'a Change),
    Repair(&'a Change, Option<&'a Member>),
}

impl MemberWrite<'_> {
    async fn on(self, member: &impl write::Members) -> Result<Receipt, Error> {
        match self {
            Self::Apply(change) => write::apply(member, change).await,
            Self::Repair(wanted, observed) => repair::repair(member, wanted, observed).await,
        }
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
        let api = self.api.detect(&Calls::new(&self.connection, permit, None)).await?;
        Ok(Verified { api: api.name() })
    }

    async fn find_project(
        &self,
        permit: &Permit,
        name: &str,
        organization_id: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        ids::check_organization(organization_id)?;
        let calls = Calls::new(&self.connection, permit, organization_id);
        let found = async { names::projects(&calls, self.api.get(&calls).await?, name, organization_id).await };
        self.noticing(&calls, found.await)
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
        let found = async { names::users(&calls, self.api.get(&calls).await?, name).await };
        self.noticing(&calls, found.await)
    }

    async fn list(&self, permit: &Permit, project: &Project, _: SubjectKind) -> Result<Listing, Error> {
        ids::check_project(project)?;
        let calls = self.calls(permit, project);
        self.noticing(&calls, self.list_members(&calls, project).await)
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
        self.noticing(&calls, self.with_member(&calls, target, MemberWrite::Apply(change)).await)
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
        self.noticing(&calls, self.with_member(&calls, target, MemberWrite::Repair(wanted, observed)).await)
    }

    async fn explain_absence(&self, permit: &Permit, target: &Target) -> Result<(), Error> {
        ids::check_target(target)?;
        let calls = self.calls(permit, &target.project);
        let explained = async { absence::explain(&calls, self.api.get(&calls).await?, target).await };
        self.noticing(&calls, explained.await)
    }

    fn signed_in_as(&self) -> Option<String> {
        self.connection.signed_in_as()
    }

    fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        self.granted_to.forget_unused(in_use);
    }

    fn clock(&self) -> Option<ProviderClock> {
        self.connection.clock()
    }
}
