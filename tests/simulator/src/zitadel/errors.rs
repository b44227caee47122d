//! ZITADEL's refusals (`docs/reference/zitadel.md`, Management v1): a gRPC code, a text that may be localised, and an
//! id that isn't.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::permission::Refused;

/// A refusal, ready to be sent in the form of REST; [`connect`](super::connect) sends the same in its own.
#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: u8,
    pub(crate) text: String,
    pub(crate) id: Option<&'static str>,
}

impl Refusal {
    /// The text with the id behind it, as it is shown.
    pub(crate) fn message(&self) -> String {
        self.id.map_or_else(|| self.text.clone(), |id| format!("{} ({id})", self.text))
    }

    /// The same refusal with something before its text.
    pub(crate) fn after(mut self, before: &str) -> Self {
        self.text.insert_str(0, before);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.id {
            None => json!({"code": self.code, "message": self.text}),
            Some(id) => json!({
                "code": self.code,
                "message": self.message(),
                "details": [{
                    "@type": "type.googleapis.com/zitadel.v1.ErrorDetail",
                    "id": id,
                    "message": self.text,
                }],
            }),
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, answered(&body)).into_response();
        if status == StatusCode::UNAUTHORIZED
            && let Ok(message) = HeaderValue::from_str(&self.message())
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, message);
        }
        response.extensions_mut().insert(self);
        response
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

/// A refusal of the gateway in front of the server, without an id.
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

/// A refusal by the layer before the methods of management v1.
pub(crate) fn may_not(why: Refused) -> Refusal {
    match why {
        Refused::NoMembership => with_id(404, 5, "membership not found".to_owned(), "AUTHZ-cdgFk"),
        Refused::NoPermission => with_id(403, 7, "No matching permissions found".to_owned(), "AUTH-5mWD2"),
        Refused::ElsewhereOnly => with_id(403, 7, "No matching permissions found".to_owned(), "AUTH-3jknH"),
    }
}

/// A method itself refuses, which is where v2 checks permissions (permissions.json, `summary`).
pub(crate) fn method_may_not(why: Refused) -> Refusal {
    let id = match why {
        Refused::NoMembership => return may_not(why),
        Refused::NoPermission => "AUTH-AWfge",
        Refused::ElsewhereOnly => "AUTH-Swrgg2",
    };
    with_id(403, 7, "No matching permissions found".to_owned(), id)
}

/// PUT: the only response that means "POST it".
pub(crate) fn no_member() -> Refusal {
    with_id(404, 5, "Errors.NotFound".to_owned(), "PROJECT-D8JxR")
}

/// PUT of a user who is not a member of the grant.
pub(crate) fn no_grant_member() -> Refusal {
    with_id(404, 5, "Errors.NotFound".to_owned(), "PROJECT-37fug")
}

/// POST of a grant's member that is one already: the id and the code of "not found" (project-grant-members.json, 10).
pub(crate) fn grant_member_exists() -> Refusal {
    with_id(404, 5, "Errors.AlreadyExists".to_owned(), "PROJECT-37fug")
}

/// POST of a grant's member, without such a grant (project-grant-members.json, 37 and 38).
pub(crate) fn no_grant_to_add_to() -> Refusal {
    with_id(404, 5, "Project Grant not found".to_owned(), "PROJECT-D8JxR")
}

/// GET of a grant under an organisation that has nothing to do with it.
pub(crate) fn grant_of_another_org(id: &'static str) -> Refusal {
    with_id(404, 5, "Errors.ProjectGrant.NotFound".to_owned(), id)
}

/// GET of a missing grant: `ProjectGrantByID` in ZITADEL's `internal/query/project_grant.go`.
pub(crate) fn no_grant() -> Refusal {
    with_id(404, 5, "Errors.ProjectGrant.NotFound".to_owned(), "QUERY-n98GGs")
}

/// Empty or unknown roles.
pub(crate) fn invalid_member(id: &'static str) -> Refusal {
    with_id(400, 3, "Project member is invalid".to_owned(), id)
}

/// Empty or unknown roles of a grant's member.
pub(crate) fn invalid_grant_member(id: &'static str) -> Refusal {
    with_id(400, 3, "Errors.Project.Grant.Member.Invalid".to_owned(), id)
}

/// v2: no resource that can have administrators.
pub(crate) fn no_resource(id: &'static str) -> Refusal {
    with_id(400, 3, "Errors.Invalid.Argument".to_owned(), id)
}

/// v2: more rows than a page can have.
pub(crate) fn limit_exceeded() -> Refusal {
    with_id(400, 3, "Limit exceeded".to_owned(), "QUERY-4M0fs")
}

/// GET of a missing user.
pub(crate) fn user_not_found() -> Refusal {
    with_id(404, 5, "User could not be found".to_owned(), "QUERY-Dfbg2")
}

/// GET of a user of another organisation.
pub(crate) fn user_of_another_org() -> Refusal {
    with_id(404, 5, "User could not be found".to_owned(), "MANAG-fpo4B")
}

/// The instance of a request is unknown (auth.json, 80 and 89).
pub(crate) fn no_instance(text: String) -> Refusal {
    without_id(404, 5, text)
}

/// PUT of the same roles, up to v3: the id of empty roles, under another code.
pub(crate) fn unchanged() -> Refusal {
    with_id(400, 9, "Errors.Project.Member.RolesNotChanged".to_owned(), "PROJECT-LiaZi")
}

/// The same of a grant's member: ZITADEL's `internal/command/project_grant_member.go` of that time.
pub(crate) fn grant_unchanged() -> Refusal {
    with_id(400, 9, "Errors.Project.Member.RolesNotChanged".to_owned(), "PROJECT-2n8vx")
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

/// POST of a grant's member that is one already, under another organisation's header than the owning one's
/// (project-grant-members.json, 9).
pub(crate) fn grant_member_exists_by_now() -> Refusal {
    with_id(409, 6, "Project member already exists".to_owned(), "V3-DKcYh")
}

/// GET of a project that is missing or deleted.
pub(crate) fn no_project() -> Refusal {
    with_id(404, 5, "Project not found".to_owned(), "QUERY-fk2fs")
}

/// GET of a project of another organisation.
pub(crate) fn project_of_another_org() -> Refusal {
    with_id(404, 5, "Project not found".to_owned(), "MANAG-SFf2a")
}
