//! The caller of a request, and its organisation (zitadel/auth.json, organization-header.json).

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Zitadel;
use super::errors::{self, Refusal};
use super::permission::Permission;
use super::state::{State, UserState};
use crate::front::Faults;

/// A request of a known user in an organisation that exists or existed.
pub(crate) struct Call {
    pub(crate) user: String,
    /// The organisation of the header, or else the caller's own.
    pub(crate) org: String,
    pub(crate) faults: Faults,
}

impl FromRequestParts<Zitadel> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, zitadel: &Zitadel) -> Result<Self, Refusal> {
        let token = bearer(&parts.headers)?;
        let now = zitadel.now();
        let state = zitadel.state();
        let user = state.credentials.user_of(token, now).ok_or_else(errors::bad_token)?;
        let known = state.live_user(user).filter(|user| user.state != UserState::Inactive);
        let known = known.ok_or_else(errors::bad_token)?;
        let org = match org_header(&parts.headers) {
            None => known.org.clone(),
            Some(org) if state.orgs.contains_key(org) => org.to_owned(),
            Some(_) => return Err(errors::no_such_org()),
        };
        let faults = parts.extensions.get::<Faults>().copied().unwrap_or_default();
        Ok(Self { user: user.to_owned(), org, faults })
    }
}

impl Call {
    /// Refuses a caller without permission, by the present state.
    pub(crate) fn allowed(
        &self,
        zitadel: &Zitadel,
        permission: Permission,
        thing: Option<&str>,
    ) -> Result<(), Refusal> {
        let mut held = zitadel.state();
        held.catch_up();
        self.may(&held, permission, thing)
    }

    /// Refuses a caller without permission.
    pub(crate) fn may(&self, state: &State, permission: Permission, thing: Option<&str>) -> Result<(), Refusal> {
        state.may(&self.user, &self.org, permission, thing).map_err(errors::may_not)
    }
}

/// The token: after `Bearer` in just these letters, blanks around it don't matter.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
    if header.is_empty() {
        return Err(errors::no_authorization());
    }
    header.strip_prefix("Bearer ").map(str::trim).ok_or_else(errors::bad_authorization)
}

/// The organisation of the header: the first of two counts, an empty one is none, the gateway's form is taken too.
fn org_header(headers: &HeaderMap) -> Option<&str> {
    ["x-zitadel-orgid", "grpc-metadata-x-zitadel-orgid"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .map(str::trim)
        .find(|org| !org.is_empty())
}

/// The name of the caller, for the log.
pub(crate) fn caller_name(state: &State, headers: &HeaderMap) -> String {
    let token = bearer(headers).ok().and_then(|token| state.credentials.tokens.get(token));
    let user = token.map(|token| &token.user);
    user.map(|id| state.users.get(id).map_or_else(|| id.clone(), |user| user.display_name())).unwrap_or_default()
}
