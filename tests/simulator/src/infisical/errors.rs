//! How Infisical refuses, in both styles (`docs/reference/infisical.md`, Errors; errors.json and identity-extras.json).
//! The errors of October 2024 are recorded; of the current server only the status, the error's name and the beginning
//! of the message are known.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::credentials::Denied;
use super::rights::LockedOut;
use super::state::ErrorStyle;
use super::subjects::Kind;

mod groups;
mod names;
mod users;

/// A refusal, ready to be sent.
pub(crate) struct Refusal {
    status: u16,
    body: Value,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, answered(&self.body)).into_response()
    }
}

/// A body as the server sends it.
pub(crate) fn answered(body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Makes refusals in one style.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errors(pub(crate) ErrorStyle);

impl Errors {
    /// Whether these are the errors of the current source.
    pub(crate) fn current(self) -> bool {
        self.0 == ErrorStyle::Current
    }

    /// Whether these are the errors of June 2025.
    pub(crate) fn june_2025(self) -> bool {
        self.0 == ErrorStyle::June2025
    }

    /// Whether these are the errors of June 2025 or later: with `reqId`, `details`, and 422 for invalid requests.
    pub(crate) fn since_2025(self) -> bool {
        self.0 != ErrorStyle::October2024
    }

    /// The spelling in messages of old servers.
    fn id_word(self) -> &'static str {
        if self.june_2025() { "ID" } else { "id" }
    }

    pub(crate) fn refusal(self, status: u16, error: &str, message: impl Into<Value>) -> Refusal {
        let mut body = json!({"statusCode": status, "message": message.into(), "error": error});
        if self.since_2025() {
            body["reqId"] = format!("req-{}", &Uuid::new_v4().simple().to_string()[..14]).into();
        }
        Refusal { status, body }
    }

    fn with_details(self, status: u16, error: &str, message: &str, details: Value) -> Refusal {
        let mut refusal = self.refusal(status, error, message);
        if self.since_2025() {
            refusal.body["details"] = details;
        }
        refusal
    }

    /// The server has no such route: `Not Found` with a space, the message of its HTTP framework.
    pub(crate) fn no_route(method: &str, path_and_query: &str) -> Refusal {
        let body = json!({
            "message": format!("Route {method}:{path_and_query} not found"),
            "error": "Not Found",
            "statusCode": 404,
        });
        Refusal { status: 404, body }
    }

    pub(crate) fn went_wrong(self, error: &str) -> Refusal {
        self.refusal(500, error, "Something went wrong")
    }

    /// The body has the wrong form. October 2024 responds with 401.
    pub(crate) fn validation(self, issues: Vec<Value>) -> Refusal {
        self.refusal(if self.since_2025() { 422 } else { 401 }, "ValidationFailure", issues)
    }

    /// Too many requests. October 2024 reports it as an internal failure (rate-limit.json).
    pub(crate) fn rate_limited(self, seconds: i64) -> Refusal {
        if self.since_2025() {
            let message = format!("Rate limit exceeded. Please try again in {seconds} seconds");
            return self.refusal(429, "RateLimitExceeded", message);
        }
        self.went_wrong("InternalServerError")
    }

    pub(crate) fn denied(self, denied: Denied) -> Refusal {
        let (status, error, message) = match denied {
            Denied::Missing => (401, "UnauthorizedError", "Token missing"),
            Denied::Malformed => (403, "TokenError", MALFORMED),
            Denied::Invalid => (403, "TokenError", INVALID),
            Denied::Expired => (403, "TokenError", "Your token has expired. Please re-authenticate."),
            Denied::TtlOver if self.june_2025() => {
                (403, "TokenError", "Your token has expired. Please re-authenticate.")
            }
            Denied::TtlOver => (401, "UnauthorizedError", "Failed to renew MI access token due to TTL expiration"),
            Denied::Gone => (401, "UnauthorizedError", "No identity access token found"),
            Denied::PastMaxTtl => (401, "UnauthorizedError", PAST_MAX_TTL),
            Denied::UsedUp => (401, "UnauthorizedError", USED_UP),
            Denied::Orphaned => (500, "InternalServerError", "Something went wrong"),
            Denied::UnknownClient => (404, "NotFound", "No identity with specified client ID was found"),
            Denied::WrongSecret => (401, "UnauthorizedError", "Invalid credentials"),
            Denied::SecretUsedUp => {
                (401, "UnauthorizedError", "Access denied due to client secret usage limit reached")
            }
            Denied::SecretExpired => (401, "UnauthorizedError", "Access denied due to expired client secret"),
            Denied::LockedOut => (401, "UnauthorizedError", TEMPORARILY_LOCKED),
        };
        self.refusal(status, error, message)
    }

    pub(crate) fn missing_project(self, project: &str) -> Refusal {
        self.refusal(404, "NotFound", format!("Project with ID '{project}' not found"))
    }

    pub(crate) fn locked_out(self, why: LockedOut, project: &str) -> Refusal {
        match (why, self.0) {
            // The message for users differs from that for identities (user-memberships.json, 63 and 88).
            (LockedOut::CustomNotFound(Kind::User), _) => {
                self.refusal(404, "The permission was not found", "The requested entity is not found")
            }
            (LockedOut::CustomNotFound(_), _) => {
                self.refusal(404, "Custom permission not found", "The requested entity is not found")
            }
            (LockedOut::NotMember(kind), ErrorStyle::October2024) => {
                let error = match kind {
                    Kind::User => "User not a part of the specified project",
                    _ => "Identity is not a member of the specified project",
                };
                self.refusal(403, error, NO_ACCESS)
            }
            (LockedOut::NotMember(kind), ErrorStyle::June2025) => {
                let error = match kind {
                    Kind::User => "User not a part of the specified project".to_owned(),
                    _ => format!("Identity is not a member of the specified project with ID '{project}'"),
                };
                self.refusal(403, &error, NO_ACCESS)
            }
            (LockedOut::NotMember(_), ErrorStyle::Current) => {
                self.refusal(403, "You are not member of this project", NO_ACCESS)
            }
        }
    }

    /// The caller lacks a permission: `action` on the subject of permissions.
    pub(crate) fn may_not(self, action: &str, subject: &str) -> Refusal {
        let message = format!("You are not allowed to {action} on {subject}");
        let details = match self.june_2025() {
            true => json!([]),
            false => json!([{"action": action, "subject": subject, "inverted": false}]),
        };
        self.with_details(403, "PermissionDenied", &message, details)
    }

    /// A role of the list has permissions that the caller lacks.
    pub(crate) fn escalation(self, kind: Kind, role: &str) -> Refusal {
        if self.since_2025() {
            let message = format!("Failed to change to a more privileged role: {role}");
            let details = json!({"missingPermissions": [{"action": "assign-role", "subject": kind.subject()}]});
            return self.with_details(403, "PermissionBoundaryError", &message, details);
        }
        let message = match kind {
            Kind::Group => "Failed to assign group to a more privileged role",
            _ => "Failed to change to a more privileged role",
        };
        self.refusal(403, "ForbiddenError", message)
    }

    /// The caller may not grant any role, under the privilege system of March 2025
    /// (infisical-june-2025/permissions.json; `constructPermissionErrorMessage` in Infisical's
    /// `backend/src/ee/services/permission/permission-fns.ts`).
    pub(crate) fn may_not_grant(self, kind: Kind, creates: bool) -> Refusal {
        let what = match (self.current(), creates) {
            (true, true) => "Failed to create identity project membership",
            (true, false) => "Failed to update identity project membership",
            (false, true) => "Failed to assign to role",
            (false, false) => "Failed to change role",
        };
        let subject = kind.subject();
        let message = format!("{what}. Actor is missing permission {GRANT_PRIVILEGES} on {subject}");
        let details = json!({"missingPermissions": [{"action": GRANT_PRIVILEGES, "subject": subject}]});
        self.with_details(403, "PermissionBoundaryError", &message, details)
    }

    /// A project of a product whose members are stored elsewhere (Infisical's
    /// `backend/src/server/plugins/block-cert-manager-project-access.ts`).
    pub(crate) fn kept_elsewhere(self) -> Refusal {
        let message = "This Certificate Manager project does not support project-level memberships. \
                       Use /api/v1/cert-manager/access/* instead.";
        self.refusal(403, "ForbiddenError", message)
    }

    /// An identity that a project manages itself (`onDeleteMembershipIdentityGuard` in Infisical's
    /// `backend/src/services/membership-identity/project/project-membership-identity-factory.ts`, and its siblings).
    pub(crate) fn of_a_project(self, verb: &str) -> Refusal {
        self.refusal(400, "BadRequest", format!("Failed to {verb} project membership for a project scoped identity"))
    }

    pub(crate) fn more_privileged(self) -> Refusal {
        let error = if self.since_2025() { "PermissionBoundaryError" } else { "ForbiddenError" };
        self.with_details(403, error, "Failed to delete more privileged identity", json!({"missingPermissions": []}))
    }

    pub(crate) fn membership_not_found(self, project: &str, identity: &str) -> Refusal {
        let message = match self.june_2025() {
            // The quotation marks are the server's own.
            true => {
                format!("Project membership for identity with ID '{identity} in project with ID '{project}' not found")
            }
            false => format!("Membership not found for identity {identity}"),
        };
        self.refusal(404, "NotFound", message)
    }

    /// PATCH of a subject that is not a member.
    pub(crate) fn no_member_to_change(self, project: &str, identity: &str, identity_exists: bool) -> Refusal {
        match (self.0, identity_exists) {
            (ErrorStyle::October2024 | ErrorStyle::June2025, _) => {
                let id = self.id_word();
                let message = format!("Identity with {id} {identity} doesn't exists in project with {id} {project}");
                self.refusal(404, "NotFound", message)
            }
            (ErrorStyle::Current, true) => self.no_membership_of(Kind::Identity),
            // Issue #7255.
            (ErrorStyle::Current, false) => self.went_wrong("InternalServerError"),
        }
    }

    /// DELETE of a subject that is not a member.
    pub(crate) fn no_member_to_remove(self, identity: &str, identity_exists: bool) -> Refusal {
        match (self.0, identity_exists) {
            (ErrorStyle::October2024 | ErrorStyle::June2025, _) => self.identity_not_found(identity),
            (ErrorStyle::Current, true) => self.no_membership_of(Kind::Identity),
            (ErrorStyle::Current, false) => self.went_wrong("InternalServerError"),
        }
    }

    /// PATCH or DELETE of a subject that the project doesn't have, at the current server.
    pub(crate) fn no_membership_of(self, kind: Kind) -> Refusal {
        self.refusal(400, "BadRequest", format!("{} doesn't have membership", kind.name()))
    }

    pub(crate) fn already_a_member(self, project: &str, identity: &str) -> Refusal {
        let message = if self.current() {
            "Identity is already a member".to_owned()
        } else {
            let id = self.id_word();
            format!("Identity with {id} {identity} already exists in project with {id} {project}")
        };
        self.refusal(400, "BadRequest", message)
    }

    /// POST for an identity that the organisation does not have.
    pub(crate) fn identity_not_found(self, identity: &str) -> Refusal {
        if self.current() {
            return self.refusal(400, "BadRequest", format!("Identity {identity} is missing organization membership"));
        }
        self.refusal(404, "NotFound", format!("Failed to find identity with {} {identity}", self.id_word()))
    }

    pub(crate) fn role_not_found(self, kind: Kind, slug: &str) -> Refusal {
        let message = match kind {
            _ if self.current() => format!("Specified roles '{slug}' was not found in the project"),
            // No slug is named here (user-memberships.json, 57).
            Kind::User => "Custom project roles not found".to_owned(),
            _ => format!("Specified role was not found: {slug}"),
        };
        self.refusal(404, "NotFound", message)
    }

    /// One custom role given twice. The current server looks for roles that are missing and names none.
    pub(crate) fn custom_role_twice(self, kind: Kind) -> Refusal {
        if self.current() {
            return self.role_not_found(kind, "");
        }
        let message = match kind {
            _ if self.june_2025() => "One or more custom project roles not found",
            Kind::Group => "Custom role/s not found: ",
            _ => "Custom project roles not found",
        };
        self.refusal(404, "NotFound", message)
    }

    pub(crate) fn only_temporary(self, kind: Kind) -> Refusal {
        self.refusal(400, "BadRequest", format!("{} must have at least one permanent role", kind.name()))
    }

    pub(crate) fn yourself(self) -> Refusal {
        self.refusal(400, "BadRequest", "You can't delete your own membership")
    }
}

/// The permission that the privilege system of March 2025 requires.
pub(crate) const GRANT_PRIVILEGES: &str = "grant-privileges";

const MALFORMED: &str =
    "The provided access token is malformed. Please use a valid token or generate a new one and try again.";
const INVALID: &str =
    "The provided access token is invalid. Please use a valid token or generate a new one and try again.";
const NO_ACCESS: &str = "You are not allowed to access this resource";
const USED_UP: &str = "Unable to renew because access token number of uses limit reached";
const PAST_MAX_TTL: &str = "Failed to renew MI access token past its Max TTL expiration";
const TEMPORARILY_LOCKED: &str = "This identity auth method is temporarily locked, please try again later";
