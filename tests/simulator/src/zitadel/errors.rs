//! How ZITADEL refuses (`reference/zitadel.md`, Management v1): a gRPC code, a text that may be localised, and an id
//! that isn't.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::permission::Refused;

/// A refusal, ready to be sent.
pub(crate) struct Refusal {
    status: u16,
    code: u8,
    text: String,
    id: Option<&'static str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.id {
            None => json!({"code": self.code, "message": self.text}),
            Some(id) => json!({
                "code": self.code,
                "message": format!("{} ({id})", self.text),
                "details": [{
                    "@type": "type.googleapis.com/zitadel.v1.ErrorDetail",
                    "id": id,
                    "message": self.text,
                }],
            }),
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, answered(&body)).into_response()
    }
}

/// A body as the server sends it.
pub(crate) fn answered(body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const fn with_id(status: u16, code: u8, text: String, id: &'static str) -> Refusal {
    Refusal { status, code, text, id: Some(id) }
}

/// What the gateway before the server refuses carries no id.
const fn without_id(status: u16, code: u8, text: String) -> Refusal {
    Refusal { status, code, text, id: None }
}

pub(crate) fn malformed(text: String) -> Refusal {
    without_id(400, 3, text)
}

pub(crate) fn no_route() -> Refusal {
    without_id(404, 5, "Not Found".to_owned())
}

pub(crate) fn wrong_method() -> Refusal {
    without_id(405, 12, "Method Not Allowed".to_owned())
}

pub(crate) fn no_authorization() -> Refusal {
    without_id(401, 16, "auth header missing".to_owned())
}

pub(crate) fn bad_authorization() -> Refusal {
    with_id(401, 16, "invalid auth header".to_owned(), "AUTH-toLo1")
}

pub(crate) fn bad_token() -> Refusal {
    with_id(401, 16, "Errors.Token.Invalid".to_owned(), "AUTH-7fs1e")
}

pub(crate) fn no_such_org() -> Refusal {
    with_id(403, 7, "Organisation doesn't exist".to_owned(), "AUTH-Bs7Ds")
}

pub(crate) fn may_not(why: Refused) -> Refusal {
    match why {
        Refused::NoMembership => with_id(404, 5, "membership not found".to_owned(), "AUTHZ-cdgFk"),
        Refused::NoPermission => with_id(403, 7, "No matching permissions found".to_owned(), "AUTH-5mWD2"),
        Refused::ElsewhereOnly => with_id(403, 7, "No matching permissions found".to_owned(), "AUTH-3jknH"),
    }
}

/// PUT: the only answer that means "POST it".
pub(crate) fn no_member() -> Refusal {
    with_id(404, 5, "Errors.NotFound".to_owned(), "PROJECT-D8JxR")
}

/// Empty or unknown roles.
pub(crate) fn invalid_member(id: &'static str) -> Refusal {
    with_id(400, 3, "Project member is invalid".to_owned(), id)
}

/// PUT of the same roles, up to v3: the id of empty roles, under another code.
pub(crate) fn unchanged() -> Refusal {
    with_id(400, 9, "Errors.Project.Member.RolesNotChanged".to_owned(), "PROJECT-LiaZi")
}

pub(crate) fn no_user() -> Refusal {
    with_id(400, 9, "User could not be found".to_owned(), "COMMAND-uXHNj")
}

/// POST: no such project, or another organisation's.
pub(crate) fn no_project_to_add_to() -> Refusal {
    with_id(400, 9, "Project not found".to_owned(), "COMMAND-EbFMN")
}

pub(crate) fn member_exists() -> Refusal {
    with_id(409, 6, "Project member already exists".to_owned(), "PROJECT-PtXi1")
}

/// POST that lost a race against another (zitadel/concurrency.json, 2).
pub(crate) fn member_exists_by_now() -> Refusal {
    with_id(409, 6, "Member already exists".to_owned(), "V3-DKcYh")
}

/// GET of a project that is missing or deleted.
pub(crate) fn no_project() -> Refusal {
    with_id(404, 5, "Project not found".to_owned(), "QUERY-fk2fs")
}

/// GET of a project that is another organisation's.
pub(crate) fn project_of_another_org() -> Refusal {
    with_id(404, 5, "Project not found".to_owned(), "MANAG-SFf2a")
}
