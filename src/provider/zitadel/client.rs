//! The calls made under one permit.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Zitadel;
use super::auth::{Credentials, Login};
use super::errors::{Meaning, ServerRefusal};
use crate::core::clocks::ProviderClock;
use crate::provider::http::{Client, Endpoint, Request, Response, Server};
use crate::provider::session::{PermitUse, Session};
use crate::provider::{Backend, Error, Permit};

/// Names the organization that a request is about (docs/reference/zitadel.md, Headers and limits).
const ORGANIZATION: &str = "x-zitadel-orgid";

/// An instance and the credential to use there.
pub(crate) struct Instance {
    server: Server,
    session: Session<Login>,
}

impl Instance {
    /// To the instance that the URL's host names, or else `instance_host`.
    pub(crate) fn new(
        client: &Client,
        endpoint: Endpoint,
        credentials: Credentials,
        instance_host: Option<String>,
    ) -> Self {
        let session = Session::new(Login::new(credentials, instance_host));
        Self { server: client.server(Zitadel::NAME, endpoint), session }
    }

    /// The id of the user whom the credential is, where that is known.
    pub(crate) fn signed_in_as(&self) -> Option<String> {
        self.session.signed_in_as()
    }

    /// The instance's clock, by its last response.
    pub(crate) fn clock(&self) -> Option<ProviderClock> {
        self.server.clock()
    }
}

/// The calls of one operation: under one permit, about one organization.
pub(crate) struct Calls<'a> {
    connection: &'a Instance,
    permit_use: PermitUse<'a>,
    organization: Option<&'a str>,
    /// Whether an answer said that a route isn't served.
    route_gone: AtomicBool,
}

impl<'a> Calls<'a> {
    /// None yet. Without an organization the caller's own is meant.
    pub(crate) fn new(connection: &'a Instance, permit: &'a Permit, organization: Option<&'a str>) -> Self {
        Self { connection, permit_use: PermitUse::new(permit), organization, route_gone: AtomicBool::new(false) }
    }

    /// Whether an answer said that its route isn't served.
    pub(crate) fn route_is_gone(&self) -> bool {
        self.route_gone.load(Ordering::Relaxed)
    }

    /// Where they go.
    pub(crate) fn endpoint(&self) -> &'a str {
        self.connection.server.endpoint().as_str()
    }

    /// Sends a request about the organization. Every one but the first is charged to the permit.
    pub(crate) async fn send<'r>(&'r self, request: Request<'r>) -> Result<Response, Error> {
        let request = match self.organization {
            Some(organization) => request.header(ORGANIZATION, organization),
            None => request,
        };
        self.send_about_none(request).await
    }

    /// Sends a request that names no organization.
    pub(crate) async fn send_about_none<'r>(&'r self, request: Request<'r>) -> Result<Response, Error> {
        let Instance { server, session } = self.connection;
        let answer = session.present(server, &self.permit_use, session.way().to_instance(request)).await?;
        if !answer.is_success() && ServerRefusal::read(&answer).meaning() == Meaning::NotHere {
            self.route_gone.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }
}
