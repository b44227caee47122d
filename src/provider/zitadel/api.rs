//! Which of ZITADEL's APIs for members is spoken.
//!
//! Management v1 where it is served, since it has sequences to confirm a write by and lists 1,000 members in 27 ms, v2 in
//! 508 ms (concurrency.json); v2 where v1 isn't served any more (it is marked deprecated since v4.1.0).

use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::client::Calls;
use super::errors::messages::{self, RequestContext};
use super::errors::{Meaning, ServerRefusal};
use super::{v2, wire};
use crate::provider::Error;
use crate::provider::http::{Method, Request, Response};

/// The roles that a project member can have; a read that changes nothing.
const ROLES: &str = "/management/v1/projects/members/roles/_search";

/// An API for members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// REST.
    ManagementV1,
    /// Connect, `zitadel.internal_permission.v2`.
    InternalPermissionV2,
}

impl Api {
    /// For `status.api`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ManagementV1 => "management/v1",
            Self::InternalPermissionV2 => "internal_permission/v2",
        }
    }
}

/// The API that was found to be served; none before it was looked for, and after an answer said that it is gone.
#[derive(Debug, Default)]
pub(crate) struct DetectedApi(Mutex<Option<Api>>);

impl DetectedApi {
    /// The API, which is looked for where it isn't known.
    pub(crate) async fn get(&self, calls: &Calls<'_>) -> Result<Api, Error> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(api) => Ok(api),
            None => self.detect(calls).await,
        }
    }

    /// Looks for it again.
    pub(crate) async fn detect(&self, calls: &Calls<'_>) -> Result<Api, Error> {
        let found = detect(calls).await;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found.as_ref().ok().copied();
        found
    }

    /// It isn't served any more.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn detect(calls: &Calls<'_>) -> Result<Api, Error> {
    let answer = calls.send(Request::new(Method::Post, ROLES).json(&json!({})).reads()).await?;
    let not_v1 = match refused(calls, &answer) {
        None => {
            answer.json::<wire::Roles>()?;
            return Ok(Api::ManagementV1);
        }
        Some(ProbeRefusal::ByRights) => return Ok(Api::ManagementV1),
        Some(ProbeRefusal::NotServed(error)) => error,
        Some(ProbeRefusal::Otherwise(error)) => return Err(error),
    };
    let answer = v2::probe(calls).await?;
    match refused(calls, &answer) {
        None => v2::check(&answer).map(|()| Api::InternalPermissionV2),
        Some(ProbeRefusal::ByRights) => Ok(Api::InternalPermissionV2),
        Some(ProbeRefusal::NotServed(_)) => Err(not_v1),
        Some(ProbeRefusal::Otherwise(error)) => Err(error),
    }
}

enum ProbeRefusal {
    ByRights,
    NotServed(Error),
    Otherwise(Error),
}

/// A token that the server takes is all that can be verified without naming a project: an owner of one project may have no
/// right in its own organization, and is told so by 403 or AUTHZ-cdgFk (permissions.json).
fn refused(calls: &Calls<'_>, answer: &Response) -> Option<ProbeRefusal> {
    if answer.is_success() {
        return None;
    }
    let refusal = ServerRefusal::read(answer);
    let error = messages::error(&RequestContext::of_instance(calls.endpoint()), answer, &refusal);
    Some(match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { by_server: true } => ProbeRefusal::ByRights,
        Meaning::NotHere => ProbeRefusal::NotServed(error),
        _ => ProbeRefusal::Otherwise(error),
    })
}
