//! Writing memberships. [`MembershipWrite`] writes a single membership of any kind; [`members`] those of machine identities and groups,
//! [`users`] those of users.

mod members;
pub(crate) mod users;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::api::{Family, Generation};
use super::client::Calls;
use super::errors::{self, Meaning, Operation, RequestContext};
use super::ids::{project_id, subject_id};
use super::wire::{self, RoleItem};
use super::{NO_ACCESS, routes};
use crate::api::SubjectKind;
use crate::core::member::{Change, Entry, Target};
use crate::provider::http::{Method, Response};
use crate::provider::{Error, Receipt, Retry};
use users::UserWrites;

/// Carries out a change of a target's membership.
pub(crate) async fn apply(
    calls: &Calls<'_>,
    target: &Target,
    name: Option<&str>,
    change: &Change,
) -> Result<Receipt, Error> {
    let (kind, project) = (target.subject_kind, project_id(&target.project)?);
    let (project, subject) = (project.as_str(), subject_id(kind, &target.subject_id)?);
    let removed = match kind {
        SubjectKind::User => {
            let users = UserWrites { calls, project };
            calls.in_time(users.apply(&subject, name, change)).await?
        }
        SubjectKind::Identity | SubjectKind::Group => {
            let membership = MembershipWrite { calls, kind, project, subject: &subject, id: &subject };
            calls.in_time(members::apply(&membership, change)).await?
        }
    };
    let kept = match removed {
        Removal::Gone | Removal::Absent => None,
        Removal::Kept(why) => Some(why),
    };
    Ok(Receipt { version: None, kept })
}

/// The response to a write, by kind, verb and generation. It is only checked to be this and not a web page: its roles
/// are those of the request, not those that are in force afterwards.
#[derive(Deserialize)]
pub(crate) struct WriteResponse {
    #[serde(rename = "roles", alias = "identityMembership", alias = "groupMembership", alias = "membership")]
    _written: IgnoredAny,
}

/// The result of the removal of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The server has removed it.
    Gone,
    /// The server reports that there was none.
    Absent,
    /// It remains, without access, for this reason.
    Kept(&'static str),
}

/// One membership of one subject, to be written under one permit.
pub(crate) struct MembershipWrite<'a> {
    pub(crate) calls: &'a Calls<'a>,
    pub(crate) kind: SubjectKind,
    pub(crate) project: &'a str,
    /// The subject's id.
    pub(crate) subject: &'a str,
    /// The id in the path: the subject's, but for users the membership's own.
    pub(crate) id: &'a str,
}

impl MembershipWrite<'_> {
    pub(crate) async fn get(&self) -> Result<Response, Meaning> {
        self.send(Operation::Look, Method::Get, None).await
    }

    pub(crate) async fn post(&self, items: &[RoleItem]) -> Result<(), Meaning> {
        self.write(Operation::Create, Method::Post, Some(items)).await
    }

    pub(crate) async fn patch(&self, items: &[RoleItem]) -> Result<(), Meaning> {
        self.write(Operation::Replace, Method::Patch, Some(items)).await
    }

    pub(crate) async fn delete(&self) -> Result<(), Meaning> {
        self.write(Operation::Remove, Method::Delete, None).await
    }

    /// PATCH to the role that grants nothing.
    pub(crate) async fn empty(&self) -> Result<(), Meaning> {
        self.patch(&wire::items(&[Entry::permanent(NO_ACCESS)])?).await
    }

    /// DELETE. If the server refuses it permanently, a PATCH revokes all access instead. Observed for identities that a
    /// project manages itself, whose removal is refused (docs/reference/infisical.md, "Project-scoped identities"), for
    /// a row of the literal `custom`, which prevents its own removal until a PATCH removes it (identity-extras.json,
    /// "delete one with the literal custom"), for members with more permissions than the caller, who may revoke them
    /// nevertheless (permissions.json, "update admin to no-access"), and for a caller who may edit and not delete.
    pub(crate) async fn take_away(&self) -> Result<Removal, Error> {
        let (refused, is_locked_out) = match self.try_to_remove().await {
            Err(Meaning::LockedOut(error)) => (error, true),
            Err(Meaning::Other(error)) if is_permanent(&error) => (error, false),
            outcome => return Ok(outcome?),
        };
        match self.empty().await {
            Ok(()) => {}
            Err(Meaning::NotMember(_)) => return Ok(Removal::Absent),
            Err(refusal) => {
                let error = Error::from(refusal);
                // If it is refused like the removal, the removal's refusal explains what to do.
                return Err(if error.retry() == Retry::Terminal { refused } else { error });
            }
        }
        if is_locked_out {
            match self.try_to_remove().await.map_err(Error::from) {
                Err(error) if is_permanent(&error) => {}
                outcome => return outcome.map_err(errors::after_a_write),
            }
        }
        tracing::warn!(
            project = self.project,
            subject = self.subject,
            error = %refused,
            "the membership can't be removed and was changed to the role {NO_ACCESS}"
        );
        Ok(Removal::Kept(errors::why_kept(&refused)))
    }

    async fn try_to_remove(&self) -> Result<Removal, Meaning> {
        match self.delete().await {
            Ok(()) => Ok(Removal::Gone),
            Err(Meaning::NotMember(_)) => Ok(Removal::Absent),
            Err(refusal) => Err(refusal),
        }
    }

    async fn write(&self, operation: Operation, method: Method, items: Option<&[RoleItem]>) -> Result<(), Meaning> {
        self.send(operation, method, items).await?.json::<WriteResponse>()?;
        Ok(())
    }

    async fn send(
        &self,
        operation: Operation,
        method: Method,
        items: Option<&[RoleItem]>,
    ) -> Result<Response, Meaning> {
        let roles: Vec<String> = items.into_iter().flatten().map(|item| item.role().to_owned()).collect();
        let (kind, project, subject) = (self.kind, self.project, self.subject);
        let asked = RequestContext { operation, kind, project, subject, roles: &roles };
        let body = items.map(|items| json!({ "roles": items }));
        let request = |generation: Generation| {
            let request = routes::member(kind, generation, method, project, self.id);
            body.iter().fold(request, |request, body| request.json(body))
        };
        self.calls.send(Family::Members(kind), &asked, request).await
    }
}

/// Whether a retry won't help although the project exists, but another way may. The operator's own membership must not
/// be emptied.
fn is_permanent(error: &Error) -> bool {
    let is_ours = errors::is_of_ourselves(error);
    error.retry() == Retry::Terminal && !matches!(error, Error::ProjectNotFound { .. }) && !is_ours
}
