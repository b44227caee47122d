//! The calls made under one permit.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::Zitadel;
use super::errors::messages::RequestContext;
use super::errors::{Meaning, Refusal};
use crate::core::member::Project;
use crate::provider::http::{Method, Request, Response};
use crate::provider::session::PermitUse;
use crate::provider::{Error, Permit, locked};

/// Names the organization that a request is about (docs/reference/zitadel.md, Headers and limits).
const ORGANIZATION: &str = "x-zitadel-orgid";

/// A request for a list by POST.
pub(crate) fn search(route: &'static str, body: &Value) -> Request<'static> {
    Request::new(Method::Post, route).json(body).reads().list()
}

/// The calls of one operation: under one permit, about one organization.
pub(crate) struct Calls<'a> {
    pub(crate) zitadel: &'a Zitadel,
    permit_use: PermitUse<'a>,
    organization: Option<&'a str>,
    /// Whether a response showed that a route isn't served.
    route_gone: AtomicBool,
}

impl<'a> Calls<'a> {
    /// No calls yet. Without an organization they are about the caller's own.
    pub(crate) fn new(zitadel: &'a Zitadel, permit: &'a Permit, organization: Option<&'a str>) -> Self {
        Self { zitadel, permit_use: PermitUse::new(permit), organization, route_gone: AtomicBool::new(false) }
    }

    /// The result of an operation. If a response showed that a route was removed, the API is detected again before the
    /// next one.
    pub(crate) async fn noticing<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let result = operation.await;
        if result.is_err() && self.route_gone.load(Ordering::Relaxed) {
            *locked(&self.zitadel.api) = None;
        }
        result
    }

    /// The endpoint of the calls.
    pub(crate) fn endpoint(&self) -> &'a str {
        self.zitadel.server.endpoint().as_str()
    }

    /// A request about the instance.
    pub(crate) fn about_instance(&self) -> RequestContext<'a> {
        RequestContext::of_instance(self.endpoint())
    }

    /// A request about a project.
    pub(crate) fn about<'p>(&'p self, project: &'p Project) -> RequestContext<'p> {
        RequestContext { project: Some(project), ..self.about_instance() }
    }

    /// Sends a request about the organization. Every one but the first is charged to the permit.
    pub(crate) async fn send<'r>(
        &'r self,
        asked: &RequestContext<'_>,
        request: Request<'r>,
    ) -> Result<Response, Refusal> {
        let request = match self.organization {
            Some(organization) => request.header(ORGANIZATION, organization),
            None => request,
        };
        self.send_about_none(asked, request).await
    }

    /// Sends a request that names no organization.
    pub(crate) async fn send_about_none<'r>(
        &'r self,
        asked: &RequestContext<'_>,
        request: Request<'r>,
    ) -> Result<Response, Refusal> {
        let Zitadel { server, session, .. } = self.zitadel;
        let answer = session.present(server, &self.permit_use, session.way().to_instance(request)).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        let refusal = Refusal::read(&answer, asked);
        if refusal.meaning == Meaning::NotHere {
            self.route_gone.store(true, Ordering::Relaxed);
        }
        Err(refusal)
    }
}
