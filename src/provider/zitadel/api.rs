//! Detects which of ZITADEL's APIs for members to use. Management v1 if it is served, since it has sequences to confirm
//! a write by and lists 1,000 members in 27 ms, v2 in 508 ms (concurrency.json); v2 if v1 is no longer served (it is
//! marked deprecated since v4.1.0).

use serde_json::json;

use super::client::Calls;
use super::errors::{Meaning, Refusal};
use super::{v2, wire};
use crate::provider::http::{Method, Request};
use crate::provider::{Error, locked};

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

impl Calls<'_> {
    /// The API to use, which is detected if it isn't known.
    pub(crate) async fn api(&self) -> Result<Api, Error> {
        let known = *locked(&self.zitadel.api);
        match known {
            Some(api) => Ok(api),
            None => self.detect_api().await,
        }
    }

    /// Detects it again.
    pub(crate) async fn detect_api(&self) -> Result<Api, Error> {
        let found = detect(self).await;
        *locked(&self.zitadel.api) = found.as_ref().ok().copied();
        found
    }
}

async fn detect(calls: &Calls<'_>) -> Result<Api, Error> {
    let not_v1 = match is_served(probe_v1(calls).await) {
        Ok(()) => return Ok(Api::ManagementV1),
        Err(Refusal { meaning: Meaning::NotHere, error, .. }) => error,
        Err(refusal) => return Err(refusal.into()),
    };
    match is_served(v2::probe(calls).await) {
        Ok(()) => Ok(Api::InternalPermissionV2),
        Err(Refusal { meaning: Meaning::NotHere, .. }) => Err(not_v1),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn probe_v1(calls: &Calls<'_>) -> Result<(), Refusal> {
    let request = Request::new(Method::Post, ROLES).json(&json!({})).reads();
    calls.send(&calls.about_instance(), request).await?.json::<wire::Roles>()?;
    Ok(())
}

/// An accepted token is all that can be verified without naming a project: an owner of one project may have no
/// permission in its own organization, for which the response is 403 or AUTHZ-cdgFk (permissions.json).
fn is_served(probed: Result<(), Refusal>) -> Result<(), Refusal> {
    match probed {
        Err(Refusal { meaning: Meaning::NoMembership | Meaning::NoPermission { by_server: true }, .. }) => Ok(()),
        probed => probed,
    }
}
