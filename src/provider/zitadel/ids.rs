//! Checks ids for ZITADEL's form before they are used in a URL or a header.

use crate::api::SubjectKind;
use crate::core::member::{Project, Target};
use crate::provider::Error;
use crate::provider::http::text;

/// An id has 18 digits today and is a 64-bit number: 20 at most.
const MOST_DIGITS: usize = 20;

/// Checks a project's ids.
pub(crate) fn check_project(project: &Project) -> Result<(), Error> {
    check("project", "project.id", &project.id)?;
    check_organization(project.organization_id.as_deref())?;
    project.grant_id.as_deref().map_or(Ok(()), |id| check("project grant", "project.grantId", id))
}

/// Checks an organization's id, if there is one.
pub(crate) fn check_organization(id: Option<&str>) -> Result<(), Error> {
    id.map_or(Ok(()), |id| check("organization", "organizationId", id))
}

/// Checks a target's ids and its subject's kind.
pub(crate) fn check_target(target: &Target) -> Result<(), Error> {
    check_project(&target.project)?;
    check_kind(target.subject_kind)?;
    check("user", "subject.id", &target.subject_id)
}

/// Checks that a subject is of a kind that can be a member.
pub(crate) fn check_kind(kind: SubjectKind) -> Result<(), Error> {
    match kind {
        SubjectKind::User => Ok(()),
        kind @ (SubjectKind::Identity | SubjectKind::Group) => Err(Error::Rejected {
            message: format!("ZITADEL has no subjects of kind {kind:?}: use subject.kind User, for machine users too"),
        }),
    }
}

fn check(what: &str, field: &str, id: &str) -> Result<(), Error> {
    if (1..=MOST_DIGITS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let shown = text::bounded(&text::filtered(id, &[]), 40);
    Err(Error::Rejected {
        message: format!(
            "{shown:?} is no id of a ZITADEL {what}: {field} takes the digits that the console shows as \"Resource Id\", \
             as 400623434683386918, not a name"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_up_to_twenty_digits() {
        for good in ["1", "400623434683386918", "18446744073709551615"] {
            assert_eq!(check("user", "subject.id", good), Ok(()), "{good}");
        }
        for bad in
            ["", " 1", "-1", "1/../2", "ada@zitadel.test", "400623434683386918 ", "184467440737095516150", "٤", "%31"]
        {
            let error = check("user", "subject.id", bad).unwrap_err();
            assert!(matches!(error, Error::Rejected { .. }), "{bad}");
            assert!(error.to_string().contains("subject.id"), "{error}");
        }
    }

    #[test]
    fn all_ids_of_a_target_are_checked() {
        let target = |organization: Option<&str>, project: &str, user: &str| Target {
            project: Project {
                organization_id: organization.map(str::to_owned),
                id: project.to_owned(),
                grant_id: None,
            },
            subject_kind: SubjectKind::User,
            subject_id: user.to_owned(),
        };
        assert_eq!(check_target(&target(Some("1"), "2", "3")), Ok(()));
        assert_eq!(check_target(&target(None, "2", "3")), Ok(()));
        for (target, field) in [
            (target(Some("acme"), "2", "3"), "organizationId"),
            (target(None, "shop", "3"), "project.id"),
            (target(None, "2", "ada"), "subject.id"),
            (
                Target {
                    project: Project { grant_id: Some("x".to_owned()), ..target(None, "2", "3").project },
                    ..target(None, "2", "3")
                },
                "grantId",
            ),
            (Target { subject_kind: SubjectKind::Identity, ..target(None, "2", "3") }, "subject.kind"),
        ] {
            assert!(check_target(&target).unwrap_err().to_string().contains(field), "{target:?}");
        }
    }
}
