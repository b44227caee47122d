//! Writing the memberships of machine identities and of groups: the same verbs on different paths, keyed by the
//! subject's id. [`One`] writes a single membership of any kind.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::refusal::{self, Asked, Operation, Refusal};
use super::roles::{self, RoleItem};
use super::route::{self, Family, Generation};
use super::{Infisical, NO_ACCESS, Turn, subject_id};
use crate::api::SubjectKind;
use crate::member::{Change, Entry, Target};
use crate::provider::error::Effect;
use crate::provider::http::{Answer, Method};
use crate::provider::{Error, Retry};

/// How many memberships of one subject are removed under one permit. Concurrent POSTs make as many as there are of
/// them (concurrency.json, `post_the_same_identity_8_times`).
const MOST: usize = 32;

/// What every write answers, by kind, verb and generation. Nothing of it is needed but that it is this and no web page:
/// the roles in it are those that the request sent, not those that stand afterwards.
#[derive(Deserialize)]
pub(super) struct Written {
    #[serde(rename = "roles", alias = "identityMembership", alias = "groupMembership", alias = "membership")]
    _written: IgnoredAny,
}

/// What became of a membership that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    /// The server has removed it.
    Gone,
    /// The server says that there was none.
    Absent,
    /// It stays, without access, for this reason.
    Kept(&'static str),
}

impl Removed {
    /// For [`Receipt::kept`](crate::provider::Receipt::kept).
    pub(super) fn kept(self) -> Option<&'static str> {
        match self {
            Self::Gone | Self::Absent => None,
            Self::Kept(why) => Some(why),
        }
    }
}

/// One membership of one subject, to be written under one permit.
pub(super) struct One<'a> {
    pub(super) infisical: &'a Infisical,
    pub(super) turn: &'a Turn<'a>,
    pub(super) kind: SubjectKind,
    pub(super) project: &'a str,
    /// The subject's id.
    pub(super) subject: &'a str,
    /// What the path names: the subject's id, of users the membership's own.
    pub(super) id: &'a str,
}

impl One<'_> {
    pub(super) async fn get(&self) -> Result<Answer, Refusal> {
        self.send(Operation::Look, Method::Get, None).await
    }

    pub(super) async fn post(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        self.write(Operation::Create, Method::Post, Some(items)).await
    }

    pub(super) async fn patch(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        self.write(Operation::Replace, Method::Patch, Some(items)).await
    }

    pub(super) async fn delete(&self) -> Result<(), Refusal> {
        self.write(Operation::Remove, Method::Delete, None).await
    }

    /// PATCH to the role that gives nothing.
    pub(super) async fn empty(&self) -> Result<(), Refusal> {
        self.patch(&roles::items(&[Entry::permanent(NO_ACCESS)])?).await
    }

    /// DELETE. Where the server refuses that permanently, all access is taken away by a PATCH instead.
    ///
    /// Seen of identities that a project manages itself, whose removal is refused (docs/reference/infisical.md,
    /// "Project-scoped identities"), of a row of the literal `custom`, which is in the way of its own removal until a
    /// PATCH takes it out (identity-extras.json, "delete one with the literal custom"), of members who have more rights
    /// than the caller, who may take them away all the same (permissions.json, "update admin to no-access"), and of a
    /// caller who may edit and not delete.
    pub(super) async fn take_away(&self) -> Result<Removed, Refusal> {
        let (refused, is_locked_out) = match self.delete().await {
            Ok(()) => return Ok(Removed::Gone),
            Err(Refusal::NotMember(_)) => return Ok(Removed::Absent),
            Err(Refusal::LockedOut(error)) => (error, true),
            Err(Refusal::Other(error)) if is_permanent(&error) => (error, false),
            Err(refusal) => return Err(refusal),
        };
        match self.empty().await {
            Ok(()) => {}
            Err(Refusal::NotMember(_)) => return Ok(Removed::Absent),
            Err(refusal) => {
                let error = Error::from(refusal);
                // Refused like the removal, it is the removal's refusal that says what to do.
                return Err(Refusal::Other(if error.retry() == Retry::Terminal { refused } else { error }));
            }
        }
        if is_locked_out {
            match self.delete().await {
                Ok(()) => return Ok(Removed::Gone),
                Err(Refusal::NotMember(_)) => return Ok(Removed::Absent),
                Err(refusal) => {
                    let error = Error::from(refusal);
                    if !is_permanent(&error) {
                        return Err(Refusal::Other(refusal::after_a_write(error)));
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
        Ok(Removed::Kept(refusal::why_kept(&refused)))
    }

    async fn write(&self, operation: Operation, method: Method, items: Option<&[RoleItem]>) -> Result<(), Refusal> {
        self.send(operation, method, items).await?.json::<Written>()?;
        Ok(())
    }

    async fn send(&self, operation: Operation, method: Method, items: Option<&[RoleItem]>) -> Result<Answer, Refusal> {
        let roles: Vec<String> = items.into_iter().flatten().map(|item| item.role().to_owned()).collect();
        let (kind, project, subject) = (self.kind, self.project, self.subject);
        let asked = Asked { operation, kind, project, subject, roles: &roles };
        let body = items.map(|items| json!({ "roles": items }));
        let request = |generation: Generation| {
            let request = route::member(kind, generation, method, project, self.id);
            body.iter().fold(request, |request, body| request.json(body))
        };
        self.infisical.send(self.turn, Family::Members(kind), &asked, request).await
    }
}

/// Whether trying again won't help, although the project is there, and another way may. The operator's own membership
/// isn't to be emptied.
fn is_permanent(error: &Error) -> bool {
    let is_ours = refusal::is_of_ourselves(error);
    error.retry() == Retry::Terminal && !matches!(error, Error::ProjectNotFound { .. }) && !is_ours
}

/// The memberships of one identity or group in one project, to be written under one permit.
pub(super) struct Membership<'a> {
    infisical: &'a Infisical,
    turn: &'a Turn<'a>,
    kind: SubjectKind,
    project: &'a str,
    subject: String,
}

impl<'a> Membership<'a> {
    pub(super) fn new(
        infisical: &'a Infisical,
        turn: &'a Turn<'a>,
        project: &'a str,
        target: &Target,
    ) -> Result<Self, Error> {
        let kind = target.subject_kind;
        Ok(Self { infisical, turn, kind, project, subject: subject_id(kind, &target.subject_id)? })
    }

    /// Carries out a change. What a removal came to is said of [`Change::Remove`] alone.
    pub(super) async fn apply(&self, change: &Change) -> Result<Removed, Error> {
        match change {
            Change::Create(entries) => self.create(entries).await?,
            Change::Replace(entries) => self.one().patch(&roles::items(entries)?).await?,
            Change::Recreate(entries) => self.recreate(entries).await?,
            Change::Remove => return self.remove().await,
        }
        Ok(Removed::Absent)
    }

    fn one(&self) -> One<'_> {
        let Self { infisical, turn, kind, project, subject } = self;
        One { infisical, turn, kind: *kind, project, subject, id: subject }
    }

    /// POST.
    async fn create(&self, entries: &[Entry]) -> Result<(), Error> {
        match self.one().post(&roles::items(entries)?).await {
            Err(Refusal::AlreadyMember(changed)) => self.repair(entries, changed).await,
            outcome => Ok(outcome?),
        }
    }

    /// DELETE until there is none, then one POST. Never a PATCH: it would write one of them, and maybe not the one that
    /// counts (docs/reference/infisical.md, "PATCH and time"); unless the server keeps the last one.
    async fn recreate(&self, entries: &[Entry]) -> Result<(), Error> {
        // What can't be sent is found out before anything is taken away.
        let items = roles::items(entries)?;
        let written = match self.remove().await? {
            Removed::Gone | Removed::Absent => self.one().post(&items).await,
            Removed::Kept(_) => self.one().patch(&items).await,
        };
        written.map_err(|refusal| refusal::after_a_write(refusal.into()))
    }

    /// Takes all memberships away. That there is none is as good.
    async fn remove(&self) -> Result<Removed, Error> {
        let mut written = false;
        for _ in 0..MOST {
            match self.one().take_away().await {
                Ok(Removed::Gone) if self.removes_one_by_one() => written = true,
                Ok(removed) => return Ok(removed),
                Err(refusal) if written => {
                    return self.absent_all_the_same(refusal::after_a_write(refusal.into())).await;
                }
                Err(refusal) => return self.absent_all_the_same(refusal.into()).await,
            }
        }
        Err(self
            .infisical
            .unfinished(&format!("{MOST} memberships of {} were removed, and there are more", self.subject)))
    }

    /// Whether DELETE removes one of several memberships: see [`Generation::G3`].
    fn removes_one_by_one(&self) -> bool {
        self.infisical.found(Family::Members(self.kind)) == Some(Generation::G3)
    }

    /// Current servers answer the removal of an identity that doesn't exist with 500 (issue #7255), and October 2024 that
    /// of a membership without roles with 403 (identity-extras.json, "delete"): whether there is a membership that
    /// gives anything is then asked for. Otherwise `error` stands.
    async fn absent_all_the_same(&self, error: Error) -> Result<Removed, Error> {
        match error {
            Error::Unreachable { effect: Effect::Unknown, .. } | Error::ProjectNotFound { gone: false, .. } => {
                match self.one().get().await {
                    Err(Refusal::NotMember(_)) => Ok(Removed::Absent),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            _ => Err(error),
        }
    }

    /// There is a membership although none is listed. Usually somebody was faster: `changed`. But a membership that was
    /// created with an empty list is never listed and can only be repaired (identity-extras.json, "create again").
    async fn repair(&self, entries: &[Entry], changed: Error) -> Result<(), Error> {
        match self.one().get().await {
            Err(Refusal::NotMember(_)) => Ok(self.one().patch(&roles::items(entries)?).await?),
            // It can't be listed either, then.
            Err(Refusal::Other(error @ Error::Forbidden { .. })) => Err(error),
            Ok(_) | Err(_) => Err(changed),
        }
    }
}
