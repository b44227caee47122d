//! Writing memberships. [`MembershipWrite`] writes a single membership of any kind; [`members`] those of machine identities and groups,
//! [`users`] those of users.

mod members;
pub(crate) mod users;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::api::{Family, Generation};
use super::errors::{self, Meaning, Operation, RequestContext};
use super::ids::project_id;
use super::wire::{self, RoleItem};
use super::{Infisical, NO_ACCESS, routes};
use crate::api::SubjectKind;
use crate::core::member::{Change, Entry, Target};
use crate::provider::http::{Method, Response};
use crate::provider::session::PermitUse;
use crate::provider::{Error, Permit, Receipt, Retry};
use members::Membership;
use users::UserWrites;

/// Carries out a change of a target's membership.
pub(crate) async fn apply(
    infisical: &Infisical,
    permit: &Permit,
    target: &Target,
    name: Option<&str>,
    change: &Change,
) -> Result<Receipt, Error> {
    let (permit_use, project) = (PermitUse::new(permit), project_id(&target.project)?);
    let removed = match target.subject_kind {
        SubjectKind::User => {
            let users = UserWrites { infisical, permit_use: &permit_use, project: &project };
            infisical.in_time(users.apply(target, name, change)).await?
        }
        SubjectKind::Identity | SubjectKind::Group => {
            let membership = Membership::new(infisical, &permit_use, &project, target)?;
            infisical.in_time(membership.apply(change)).await?
        }
    };
    Ok(Receipt { version: None, kept: removed.kept() })
}

/// What every write answers, by kind, verb and generation. Nothing of it is needed but that it is this and no web page:
/// the roles in it are those that the request sent, not those that stand afterwards.
#[derive(Deserialize)]
pub(crate) struct WriteResponse {
    #[serde(rename = "roles", alias = "identityMembership", alias = "groupMembership", alias = "membership")]
    _written: IgnoredAny,
}

/// What became of a membership that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The server has removed it.
    Gone,
    /// The server says that there was none.
    Absent,
    /// It stays, without access, for this reason.
    Kept(&'static str),
}

impl Removal {
    /// For [`Receipt::kept`](crate::core::member::Receipt::kept).
    pub(crate) fn kept(self) -> Option<&'static str> {
        match self {
            Self::Gone | Self::Absent => None,
            Self::Kept(why) => Some(why),
        }
    }
}

/// One membership of one subject, to be written under one permit.
pub(crate) struct MembershipWrite<'a> {
    pub(crate) infisical: &'a Infisical,
    pub(crate) permit_use: &'a PermitUse<'a>,
    pub(crate) kind: SubjectKind,
    pub(crate) project: &'a str,
    /// The subject's id.
    pub(crate) subject: &'a str,
    /// What the path names: the subject's id, of users the membership's own.
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

    /// PATCH to the role that gives nothing.
    pub(crate) async fn empty(&self) -> Result<(), Meaning> {
        self.patch(&wire::items(&[Entry::permanent(NO_ACCESS)])?).await
    }

    /// DELETE. Where the server refuses that permanently, all access is taken away by a PATCH instead.
    ///
    /// Seen of identities that a project manages itself, whose removal is refused (docs/reference/infisical.md,
    /// "Project-scoped identities"), of a row of the literal `custom`, which is in the way of its own removal until a
    /// PATCH takes it out (identity-extras.json, "delete one with the literal custom"), of members who have more rights
    /// than the caller, who may take them away all the same (permissions.json, "update admin to no-access"), and of a
    /// caller who may edit and not delete.
    pub(crate) async fn take_away(&self) -> Result<Removal, Meaning> {
        let (refused, is_locked_out) = match self.delete().await {
            Ok(()) => return Ok(Removal::Gone),
            Err(Meaning::NotMember(_)) => return Ok(Removal::Absent),
            Err(Meaning::LockedOut(error)) => (error, true),
            Err(Meaning::Other(error)) if is_permanent(&error) => (error, false),
            Err(refusal) => return Err(refusal),
        };
        match self.empty().await {
            Ok(()) => {}
            Err(Meaning::NotMember(_)) => return Ok(Removal::Absent),
            Err(refusal) => {
                let error = Error::from(refusal);
                // Refused like the removal, it is the removal's refusal that says what to do.
                return Err(Meaning::Other(if error.retry() == Retry::Terminal { refused } else { error }));
            }
        }
        if is_locked_out {
            match self.delete().await {
                Ok(()) => return Ok(Removal::Gone),
                Err(Meaning::NotMember(_)) => return Ok(Removal::Absent),
                Err(refusal) => {
                    let error = Error::from(refusal);
                    if !is_permanent(&error) {
                        return Err(Meaning::Other(errors::after_a_write(error)));
                    }
                }
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
        self.infisical.send(self.permit_use, Family::Members(kind), &asked, request).await
    }
}

/// Whether trying again won't help, although the project is there, and another way may. The operator's own membership
/// isn't to be emptied.
fn is_permanent(error: &Error) -> bool {
    let is_ours = errors::is_of_ourselves(error);
    error.retry() == Retry::Terminal && !matches!(error, Error::ProjectNotFound { .. }) && !is_ours
}
