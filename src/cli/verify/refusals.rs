//! Errors that can be provoked without harm. Each is expected to have the right reason.

use uuid::Uuid;

use super::ServerCheck;
use super::arguments::Product;
use super::credentials;
use super::membership::{InMemoryMembership, held, permanent};
use super::report::{StopReason, UnexpectedResult};
use crate::api::Reason;
use crate::core::member::{Project, Target};
use crate::provider::quota::Permit;

/// A role that does not exist in any project. (ZITADEL would accept any name with the prefix PROJECT.)
const NO_ROLE: &str = "verify-provider-no-such-role";

/// A name that no subject and no project has. It is not an e-mail address, so that it cannot be invited.
const NO_NAME: &str = "verify-provider-no-such-name";

impl Product {
    /// An id of the right form that does not exist.
    fn unused_id(self) -> String {
        match self {
            Self::Infisical => Uuid::new_v4().to_string(),
            // 18 digits like ZITADEL's own ids, from a time long before ZITADEL existed.
            Self::Zitadel => format!("1{:017}", Uuid::new_v4().as_u128() % 10_u128.pow(17)),
        }
    }
}

impl ServerCheck {
    /// Provokes all errors, for a target that holds nothing, or the other role if the subject stays a member.
    pub async fn provoke_errors(&mut self, target: &Target) -> Result<(), StopReason> {
        let kind = self.config.arguments.provider;
        self.unknown_role(target).await?;
        let what = "a subject id that does not exist";
        if self.config.only_by_invitation() {
            self.report.skipped(what, "Infisical adds users by their e-mail addresses only");
        } else {
            let subject = Target { subject_id: kind.unused_id(), ..target.clone() };
            let role = self.config.role.clone();
            let result = self.grant(&subject, &role).await;
            self.expect_error(what, &[Reason::SubjectNotFound], result)?;
        }
        self.unknown_names(target).await?;
        let known = || target.project.clone();
        // The server looks up a grant by its own id, regardless of the project.
        let unknown = Project { id: kind.unused_id(), grant_id: None, ..known() };
        self.unknown_place("a project id that does not exist", unknown, target).await?;
        if kind == Product::Zitadel {
            let unknown = Project { grant_id: Some(kind.unused_id()), ..known() };
            self.unknown_place("a grant id that does not exist", unknown, target).await?;
            // v2 finds a grant by its members, regardless of the organization.
            let unknown = Project { organization_id: Some(kind.unused_id()), grant_id: None, ..known() };
            self.unknown_place("an organization id that does not exist", unknown, target).await?;
        }
        self.invalid_token().await
    }

    async fn unknown_role(&mut self, target: &Target) -> Result<(), StopReason> {
        let before = self.driver.observe(target).await.map(|shown| held(shown.as_ref()));
        let result = self.grant(target, NO_ROLE).await;
        self.expect_error("a role that does not exist", &[Reason::RoleNotFound], result)?;
        if let Ok(expected) = before {
            self.report.step("nothing was written", &expected, self.driver.expect(target, &expected).await)?;
        }
        Ok(())
    }

    /// Requests a role for a subject. If the server accepts it against expectation, it is revoked.
    async fn grant(&self, target: &Target, role: &str) -> Result<String, UnexpectedResult> {
        let mut membership = InMemoryMembership::new(&self.config.template, target);
        membership.declare(vec![permanent(role)]);
        let granted = self.driver.converge(&mut membership, false).await;
        if granted.as_ref().err().is_none_or(|failure| failure.reason.is_none()) {
            membership.delete([]);
            self.driver.converge(&mut membership, true).await?;
        }
        granted.map(|converged| held(converged.shown.as_ref()))
    }

    /// Looks up names that do not exist. A credential that may not look up names receives that error.
    async fn unknown_names(&mut self, target: &Target) -> Result<(), StopReason> {
        let Target { project, subject_kind: kind, .. } = target;
        let subject = self.driver.find_subject(project, *kind, NO_NAME).await;
        let subject = subject.and_then(|found| Ok(found?));
        self.expect_error(
            "a subject name that does not exist",
            &[Reason::SubjectNotFound, Reason::Forbidden],
            subject,
        )?;
        let project = self.driver.find_project(NO_NAME, project.organization_id.as_deref()).await;
        self.expect_error("a project name that does not exist", &[Reason::ProjectNotFound, Reason::Forbidden], project)
    }

    async fn unknown_place(&mut self, what: &str, project: Project, target: &Target) -> Result<(), StopReason> {
        // A caller without permissions in other projects may receive the second error, or nothing.
        let reasons = [Reason::ProjectNotFound, Reason::Forbidden];
        let listing = self.driver.list(&project, target.subject_kind).await;
        if listing.as_ref().is_ok_and(|listing| listing.partial) {
            let incomplete = "a list that is marked as incomplete".to_owned();
            return self.report.step(what, &any_of(&reasons), Ok(incomplete)).map(drop);
        }
        let result = listing.map(|listing| format!("a list of {} members", listing.members.len()));
        self.expect_error(what, &reasons, result)
    }

    /// A wrong *token* is refused once without harm; a wrong secret at a sign-in could do harm.
    async fn invalid_token(&mut self) -> Result<(), StopReason> {
        let provider = credentials::with_an_invalid_token(&self.config);
        let verified = self.driver.request(None, async |permit: &Permit| provider.verify(permit).await).await;
        let result = verified.map(|verified| format!("an accepted sign-in ({})", verified.api));
        self.expect_error("an access token that does not exist", &[Reason::Unauthorized], result)?;
        if self.config.arguments.credentials.client_secret_file.is_some() {
            let why = "a server may lock the credential for all its users; newer versions of Infisical do so after three attempts";
            self.report.skipped("a wrong client secret", why);
        }
        Ok(())
    }

    fn expect_error(
        &mut self,
        what: &str,
        reasons: &[Reason],
        result: Result<String, UnexpectedResult>,
    ) -> Result<(), StopReason> {
        let result = match result {
            Ok(unexpected) => Err(UnexpectedResult::unexpected(unexpected)),
            Err(failure) if failure.reason.is_some_and(|reason| reasons.contains(&reason)) => Ok(failure.to_string()),
            Err(failure) => Err(failure),
        };
        self.report.step(what, &any_of(reasons), result).map(drop)
    }
}

fn any_of(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| format!("{reason:?}")).collect::<Vec<_>>().join(" or ")
}
