//! A server of June 2025 (docs/reference/infisical.md, "A server of June 2025"), and what no server's wording may
//! decide.

use super::subjects::{of_groups, of_users};
use super::*;

const FOLDERS: [&str; 2] = ["infisical", "infisical-june-2025"];

/// What an operation's path tells, of identities, users or groups.
type OperationOf = fn(&str, &str) -> Option<Operation>;

const KINDS: [(SubjectKind, OperationOf); 3] =
    [(SubjectKind::Identity, of_identities), (SubjectKind::User, of_users), (SubjectKind::Group, of_groups)];

#[test]
fn the_server_of_june_2025_is_read_as_the_reference_says() {
    use Operation::*;
    let id = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
    let not_in_it = format!("Identity is not a member of the specified project with ID '{id}'");
    let gone = format!("Project with ID '{id}' not found");
    let cases = [
        (List, 403, not_in_it.as_str(), "You are not allowed to access this resource", Kind::ProjectAmbiguous),
        (Replace, 403, &not_in_it, "You are not allowed to access this resource", Kind::ProjectAmbiguous),
        (LookAtProject, 403, &not_in_it, "You are not allowed to access this resource", Kind::ProjectAmbiguous),
        (LookAtProject, 404, "NotFound", &gone, Kind::ProjectGone),
        (
            Create,
            403,
            "PermissionBoundaryError",
            "Failed to assign to role. Actor is missing permission grant-privileges on identity",
            Kind::MayNotGrant,
        ),
        (
            Replace,
            403,
            "PermissionBoundaryError",
            "Failed to change role. Actor is missing permission grant-privileges on identity",
            Kind::MayNotGrant,
        ),
        (Replace, 403, "PermissionBoundaryError", "Failed to change to a more privileged role", Kind::Forbidden),
        (Replace, 404, "NotFound", "One or more custom project roles not found", Kind::RoleNotFound),
        (
            Replace,
            404,
            "NotFound",
            "Identity with ID c7e4e5d3 doesn't exists in project with ID 6ec3d92b",
            Kind::NotMember,
        ),
        (
            Look,
            404,
            "NotFound",
            "Project membership for identity with ID 'c7e4e5d3 in project with ID '6ec3d92b' not found",
            Kind::NotMember,
        ),
        (Remove, 404, "NotFound", "Failed to find identity with ID c7e4e5d3", Kind::NotMember),
        (Create, 404, "NotFound", "Failed to find identity with ID c7e4e5d3", Kind::SubjectNotFound),
        (
            Create,
            400,
            "BadRequest",
            "Identity with ID c7e4e5d3 already exists in project with ID 6ec3d92b",
            Kind::AlreadyMember,
        ),
        (FindProject, 404, "NotFound", "Project with slug 'no-such-slug' not found", Kind::NoSuchName),
        (Replace, 422, "ValidationFailure", "At least one long lived role is required", Kind::OnlyTemporary),
        (List, 403, "TokenError", "Your token has expired. Please re-authenticate.", Kind::Token),
    ];
    for (operation, status, error, message, expected) in cases {
        let answer = made_up(operation, status, error, message);
        assert_eq!(kind(&answer, &asked(operation, &[])), expected, "{operation:?} {status} {error}: {message}");
    }
}

/// Two wordings of the same hook (Infisical's `block-cert-manager-project-access.ts`).
#[test]
fn a_product_whose_members_are_kept_elsewhere_is_not_taken_for_a_lack_of_rights() {
    use Operation::*;
    for product in ["Certificate Manager", "Cert Manager"] {
        let message = format!("This {product} project does not support project-level memberships.");
        for operation in [List, Look, Create, Replace, Remove, Invite] {
            let answer = made_up(operation, 403, "ForbiddenError", &message);
            assert_eq!(kind(&answer, &asked(operation, &[])), Kind::Elsewhere, "{operation:?}: {message}");
        }
    }
    // Only what reads can't be refused for what it grants.
    let answer = made_up(List, 403, "ForbiddenError", "Something new");
    assert_eq!(kind(&answer, &asked(List, &[])), Kind::Elsewhere);
}

/// Seen failing with any of the beginnings compared as a whole sentence, as it was before.
#[test]
fn no_classification_depends_on_how_a_sentence_or_a_name_ends() {
    let mut looked_at = 0;
    for (of, operation_of) in KINDS {
        for (name, operation, answer) in FOLDERS.iter().flat_map(|folder| recorded_in(folder, operation_of)) {
            let asked = RequestContext { kind: of, ..asked(operation, &[]) };
            let expected = kind(&answer, &asked);
            let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
            // Names like `NotFound` are stable; the others are sentences.
            for (field, is_sentence) in [("message", true), ("error", body["error"].as_str().unwrap().contains(' '))] {
                // `Not Found` is the framework's own name.
                if let (true, Some(text)) = (is_sentence && expected != Kind::NoRoute, body[field].as_str()) {
                    body[field] = format!("{}, as a newer server says", text.trim_end_matches('.')).into();
                }
            }
            let reworded =
                Response::made_up(answer.status, answer.context.writes, answer.retry_after, &body.to_string());
            assert_eq!(kind(&reworded, &asked), expected, "{name}: {body}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 400, "only {looked_at} refusals");
}
