use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::*;

mod june_2025;
mod subjects;

const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
const IDENTITY: &str = "c7e4e5d3-f44e-42c0-b7cd-f56f9b698566";

/// What an answer is to be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    NoRoute,
    AlreadyMember,
    NotMember,
    LockedOut,
    OnlyTemporary,
    NoSuchName,
    RateLimited,
    Unreachable,
    Forbidden,
    MayNotGrant,
    Elsewhere,
    RoleNotFound,
    SubjectNotFound,
    ProjectAmbiguous,
    ProjectGone,
    Rejected,
}

fn kind(answer: &Response, asked: &RequestContext<'_>) -> Kind {
    if token(answer).is_some() {
        return Kind::Token;
    }
    match read(answer, asked) {
        Meaning::NoRoute => Kind::NoRoute,
        Meaning::AlreadyMember(_) => Kind::AlreadyMember,
        Meaning::NotMember(_) => Kind::NotMember,
        Meaning::LockedOut(_) => Kind::LockedOut,
        Meaning::OnlyTemporary(_) => Kind::OnlyTemporary,
        Meaning::NoSuchName => Kind::NoSuchName,
        Meaning::Unclear(Error::Forbidden { .. }) => Kind::Elsewhere,
        Meaning::Unclear(error) | Meaning::Other(error) => match error {
            Error::RateLimited { .. } => Kind::RateLimited,
            Error::Unreachable { .. } => Kind::Unreachable,
            Error::Forbidden { .. } => Kind::Forbidden,
            Error::MayNotGrant { .. } => Kind::MayNotGrant,
            Error::RoleNotFound { .. } => Kind::RoleNotFound,
            Error::SubjectNotFound { .. } => Kind::SubjectNotFound,
            Error::ProjectNotFound { gone: false, .. } => Kind::ProjectAmbiguous,
            Error::ProjectNotFound { gone: true, .. } => Kind::ProjectGone,
            Error::Rejected { .. } => Kind::Rejected,
            other => panic!("no refusal of Infisical's means {other:?}"),
        },
    }
}

fn asked(operation: Operation, roles: &[String]) -> RequestContext<'_> {
    RequestContext { operation, kind: SubjectKind::Identity, project: PROJECT, subject: IDENTITY, roles }
}

fn made_up(operation: Operation, status: u16, error: &str, message: &str) -> Response {
    let writes = !matches!(operation, Operation::List | Operation::Look);
    Response::made_up(status, writes, None, &serde_json::json!({"error": error, "message": message}).to_string())
}

/// October 2024's refusals, by what was asked, the status, `error` and the beginning of `message`
/// (docs/reference/infisical.md, "Errors", column "October 2024").
const OCTOBER_2024: [Row; 25] = {
    use Operation::*;
    [
        (&[Remove], 403, "ForbiddenError", "Failed to delete more privileged", Kind::LockedOut),
        (
            &[List, Look, Create, Replace, Remove],
            403,
            "Identity is not a member of the specified project",
            "You are not allowed",
            Kind::ProjectAmbiguous,
        ),
        (&[Create, Replace], 403, "ForbiddenError", "Failed to change to a more privileged role", Kind::Forbidden),
        (&[List, Look, Create, Replace, Remove], 403, "PermissionDenied", "You are not allowed to", Kind::Forbidden),
        (&[Remove], 404, "Custom permission not found", "The requested entity", Kind::LockedOut),
        (&[List, Look], 404, "Custom permission not found", "The requested entity", Kind::Forbidden),
        (&[Remove], 404, "NotFound", "Failed to find identity with id", Kind::NotMember),
        (&[Look], 404, "NotFound", "Membership not found for identity", Kind::NotMember),
        (&[Replace], 404, "NotFound", "Identity with id", Kind::NotMember),
        (&[Create], 404, "NotFound", "Failed to find identity with id", Kind::SubjectNotFound),
        (&[Create], 400, "BadRequest", "Identity with id", Kind::AlreadyMember),
        (&[Replace], 404, "NotFound", "Specified role was not found:", Kind::RoleNotFound),
        (&[Replace], 404, "NotFound", "Custom project roles not found", Kind::RoleNotFound),
        (&[Replace], 404, "Not Found", "Route PATCH:", Kind::NoRoute),
        (
            &[List, Look, Create, Replace],
            401,
            "UnauthorizedError",
            "Failed to renew MI access token due to TTL",
            Kind::Token,
        ),
        (&[List, Look], 401, "UnauthorizedError", "No identity access token found", Kind::Token),
        (&[List, Look], 401, "UnauthorizedError", "Token missing", Kind::Token),
        (&[List, Look], 401, "UnauthorizedError", "Unable to renew because access token number of uses", Kind::Token),
        (&[List, Look], 403, "TokenError", "The provided access token is malformed", Kind::Token),
        (&[List, Look], 403, "TokenError", "Your token has expired", Kind::Token),
        (&[List, Look, Create, Replace], 401, "ValidationFailure", "", Kind::Rejected),
        (&[List, Look, Replace], 500, "InternalServerError", "Something went wrong", Kind::Unreachable),
        (&[List, Replace], 500, "IdAccessTokenFindOne", "Something went wrong", Kind::Unreachable),
        (&[Replace], 500, "Find one", "Something went wrong", Kind::Unreachable),
        (&[List], 403, "Identity is not apart of this organization", "You are not allowed", Kind::Forbidden),
    ]
};

/// The refusals of October 2024 of the requests that `operation` knows, by method and path.
fn recorded(operation: impl Fn(&str, &str) -> Option<Operation>) -> Vec<(String, Operation, Response)> {
    recorded_in("infisical", operation)
}

/// The same of a folder of recordings.
fn recorded_in(
    folder: &str,
    operation: impl Fn(&str, &str) -> Option<Operation>,
) -> Vec<(String, Operation, Response)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts").join(folder);
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recording: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for exchange in recording["exchanges"].as_array().unwrap() {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let (Some(method), Some(path_asked)) = (request["method"].as_str(), request["path"].as_str()) else {
                continue;
            };
            let Some(operation) = operation(method, path_asked) else { continue };
            let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
            if status < 400 {
                continue;
            }
            let wait = response["headers"]["retry-after"].as_str().map(|s| Duration::from_secs(s.parse().unwrap()));
            let writes = !matches!(operation, Operation::List | Operation::Look);
            let answer = Response::made_up(status, writes, wait, &response["body"].to_string());
            let name = format!("{}: {}", path.file_name().unwrap().display(), exchange["name"].as_str().unwrap());
            found.push((name, operation, answer));
        }
    }
    found
}

fn of_identities(method: &str, path: &str) -> Option<Operation> {
    let (_, below) = path.split_once("/identity-memberships")?;
    verb(method, below.starts_with('/'))
}

/// What a request to a list (`one`: to one of its members) is for.
fn verb(method: &str, one: bool) -> Option<Operation> {
    Some(match (method, one) {
        ("GET", false) => Operation::List,
        ("GET", true) => Operation::Look,
        ("POST", _) => Operation::Create,
        ("PATCH", _) => Operation::Replace,
        ("DELETE", _) => Operation::Remove,
        _ => return None,
    })
}

/// A row of a table: for which operations, the status, `error`, the beginning of `message`, and what it means.
type Row = (&'static [Operation], u16, &'static str, &'static str, Kind);

/// That each answer is in a row of the table and is read as it says.
fn read_as(table: &[Row], of: SubjectKind, recorded: Vec<(String, Operation, Response)>) {
    let mut used = BTreeSet::new();
    for (name, operation, answer) in recorded {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let message = answer.said();
        let expected = if answer.retry_after.is_some() {
            // October 2024's rate limit (rate-limit.json).
            Kind::RateLimited
        } else {
            let row = table
                .iter()
                .position(|(operations, status, error, prefix, _)| {
                    operations.contains(&operation)
                        && *status == answer.status
                        && body["error"] == *error
                        && message.starts_with(prefix)
                })
                .unwrap_or_else(|| panic!("{name}: {operation:?} {} {body} is in no row", answer.status));
            used.insert(row);
            table[row].4
        };
        let asked = RequestContext { kind: of, ..asked(operation, &[]) };
        assert_eq!(kind(&answer, &asked), expected, "{name}: {body}");
    }
    let unused: Vec<&Row> =
        table.iter().enumerate().filter(|(row, _)| !used.contains(row)).map(|(_, row)| row).collect();
    assert!(unused.is_empty(), "nothing like it was recorded: {unused:?}");
}

#[test]
fn every_recorded_refusal_is_read_as_the_reference_says() {
    let recorded = recorded(of_identities);
    assert!(recorded.len() > 150, "only {} recorded refusals", recorded.len());
    read_as(&OCTOBER_2024, SubjectKind::Identity, recorded);
}

/// The current server's words for what October 2024 said otherwise (docs/reference/infisical.md, "Errors", column
/// "now").
#[test]
fn the_current_server_is_read_as_the_reference_says() {
    use Operation::*;
    let cases = [
        (List, 404, "NotFound", "Project with ID '6ec3d92b-3251-4084-9a12-ffb509a03ffc' not found", Kind::ProjectGone),
        (
            Remove,
            404,
            "NotFound",
            "Project with ID '6ec3d92b-3251-4084-9a12-ffb509a03ffc' not found",
            Kind::ProjectGone,
        ),
        (Remove, 404, "NotFound", "Project with ID 'another' not found", Kind::ProjectAmbiguous),
        (
            List,
            403,
            "You are not member of this project",
            "You are not allowed to access this resource",
            Kind::ProjectAmbiguous,
        ),
        (Look, 404, "NotFound", "Identity with ID 'c7e4e5d3' not found", Kind::NotMember),
        (Create, 400, "BadRequest", "Identity c7e4e5d3 is missing organization membership", Kind::SubjectNotFound),
        (Replace, 400, "BadRequest", "Identity doesn't have membership", Kind::NotMember),
        (Remove, 400, "BadRequest", "Identity doesn't have membership", Kind::NotMember),
        (Create, 400, "BadRequest", "Identity is already a member", Kind::AlreadyMember),
        (Replace, 404, "NotFound", "Specified roles 'nope' was not found in the project", Kind::RoleNotFound),
        (Replace, 404, "NotFound", "Specified roles '' was not found in the project", Kind::RoleNotFound),
        (Replace, 400, "BadRequest", "Identity must have at least one permanent role", Kind::OnlyTemporary),
        (Replace, 403, "PermissionBoundaryError", "Failed to change to a more privileged role", Kind::Forbidden),
        (Replace, 403, "PermissionDenied", "You are not allowed to edit on identity", Kind::Forbidden),
        (Remove, 400, "BadRequest", "You can't delete your own membership", Kind::Rejected),
        (Replace, 422, "ValidationFailure", "", Kind::Rejected),
        (Replace, 400, "BadRequest", "Temporary access is not available on your current plan. Upgrade", Kind::Rejected),
        (Create, 400, "BadRequest", "Failed to create due to plan restriction of rbac", Kind::Rejected),
        (List, 429, "RateLimitExceeded", "Rate limit exceeded. Please try again in 57 seconds", Kind::RateLimited),
        (Replace, 500, "InternalServerError", "Something went wrong", Kind::Unreachable),
        (List, 502, "Bad Gateway", "", Kind::Unreachable),
        (Replace, 403, "TokenError", "The provided access token is invalid", Kind::Token),
        (Replace, 401, "UnauthorizedError", "Token revoked", Kind::Token),
        (List, 404, "Not Found", "Route GET:/api/v1/projects/x not found", Kind::NoRoute),
    ];
    for (operation, status, error, message, expected) in cases {
        let answer = made_up(operation, status, error, message);
        assert_eq!(kind(&answer, &asked(operation, &[])), expected, "{operation:?} {status} {error}: {message}");
    }
}

#[test]
fn what_is_no_error_of_infisicals_decides_nothing() {
    for body in ["", "<html>Not Found</html>", "{", "[]", "{\"message\":\"Identity doesn't have membership\"}"] {
        for status in [400, 401, 403, 404] {
            for operation in [Operation::List, Operation::Remove, Operation::Replace] {
                let answer = Response::made_up(status, operation != Operation::List, None, body);
                assert_eq!(kind(&answer, &asked(operation, &[])), Kind::Unreachable, "{status} {body:?}");
            }
        }
    }
}

#[test]
fn a_server_error_leaves_a_write_in_doubt_and_a_rate_limit_does_not() {
    let write = made_up(Operation::Replace, 500, "InternalServerError", "Something went wrong");
    assert_eq!(Error::from(read(&write, &asked(Operation::Replace, &[]))).effect(), Effect::Unknown);
    let wait = Some(Duration::from_secs(57));
    let limited =
        Response::made_up(500, true, wait, r#"{"error":"InternalServerError","message":"Something went wrong"}"#);
    match Error::from(read(&limited, &asked(Operation::Replace, &[]))) {
        error @ Error::RateLimited { after, .. } => {
            assert_eq!(after, wait);
            assert_eq!(error.effect(), Effect::None);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_missing_role_is_named() {
    let cases: [(&str, &[&str], Option<&str>); 9] = [
        ("Specified role was not found: nope", &["viewer", "nope"], Some("nope")),
        ("Specified role was not found:  nope ", &["viewer", " nope "], Some(" nope ")),
        ("Specified roles 'nope' was not found in the project", &["viewer", "nope", "deployer"], Some("nope")),
        ("Specified roles 'a,nope' was not found", &["viewer", "nope", "deployer"], Some("nope")),
        ("Custom project roles not found", &["viewer", "deployer"], Some("deployer")),
        ("Custom project roles not found", &["reader", "deployer"], None),
        ("Specified roles '' was not found in the project", &["no-access", "reader"], Some("reader")),
        ("Specified role was not found: <b>other</b>", &["reader", "deployer"], None),
        ("Specified role was not found: x", &["viewer"], None),
    ];
    for (message, roles, named) in cases {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        let answer = made_up(Operation::Replace, 404, "NotFound", message);
        match read(&answer, &asked(Operation::Replace, &roles)) {
            Meaning::Other(Error::RoleNotFound { role, .. }) => assert_eq!(role.as_deref(), named, "{message}"),
            other => panic!("{message}: {other:?}"),
        }
    }
}

#[test]
fn messages_say_what_is_wrong_where_and_what_to_do() {
    let roles = ["deployr".to_owned()];
    let answer = made_up(Operation::Replace, 404, "NotFound", "Specified role was not found: deployr");
    assert_eq!(
        Error::from(read(&answer, &asked(Operation::Replace, &roles))).to_string(),
        "role \"deployr\" does not exist in project 6ec3d92b-3251-4084-9a12-ffb509a03ffc (Infisical): check the slug under \
         Access Control → Roles"
    );
    let answer = made_up(Operation::Replace, 400, "BadRequest", "hunter2hunter2\n is eyJhbGciOiJIUzI1NiJ9.e30.x");
    let text = Error::from(read(&answer, &asked(Operation::Replace, &roles))).to_string();
    assert!(text.contains("(400 [redacted] is [redacted])"), "{text}");
}
