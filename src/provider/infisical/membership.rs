//! Writing the memberships of machine identities and of groups: the same verbs on different paths, keyed by the
//! subject's id.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::refusal::{self, Asked, Operation, Refusal};
use super::roles::{self, RoleItem};
use super::route::{self, Family, Generation};
use super::{Infisical, NO_ACCESS, Turn, subject_id};
use crate::api::SubjectKind;
use crate::member::{Change, Entry, Target};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Answer, Method};

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

/// The membership of one subject in one project, to be written under one permit.
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

    /// Carries out a change.
    pub(super) async fn apply(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Create(entries) => self.create(entries).await,
            Change::Replace(entries) => self.replace(entries).await,
            Change::Recreate(entries) => self.recreate(entries).await,
            Change::Remove => self.remove().await,
        }
    }

    /// POST.
    async fn create(&self, entries: &[Entry]) -> Result<(), Error> {
        match self.post(&roles::items(entries)?).await {
            Err(Refusal::AlreadyMember(changed)) => self.repair(entries, changed).await,
            outcome => Ok(outcome?),
        }
    }

    /// PATCH: the whole list.
    async fn replace(&self, entries: &[Entry]) -> Result<(), Error> {
        Ok(self.patch(&roles::items(entries)?).await?)
    }

    /// DELETE until there is none, then one POST. Never a PATCH: it would write one of them, and maybe not the one that
    /// counts (reference/infisical.md, "PATCH and time").
    async fn recreate(&self, entries: &[Entry]) -> Result<(), Error> {
        // What can't be sent is found out before anything is taken away.
        let items = roles::items(entries)?;
        self.remove().await?;
        self.post(&items).await.map_err(|refusal| refusal::after_a_write(refusal.into()))
    }

    /// DELETE. That there is no membership is as good.
    async fn remove(&self) -> Result<(), Error> {
        let mut written = false;
        let mut repaired = false;
        for _ in 0..MOST {
            match self.delete().await {
                Err(Refusal::NotMember(_)) => return Ok(()),
                Ok(()) if !self.removes_one_by_one() => return Ok(()),
                Ok(()) => written = true,
                // A row of the literal `custom` is in the way of its own removal until a PATCH takes it out
                // (identity-extras.json, "delete one with the literal custom"). So are the rights of one who has more
                // than the operator, who may take them away all the same (permissions.json, "update admin to
                // no-access").
                Err(Refusal::LockedOut(_)) if !repaired => {
                    self.patch(&roles::items(&[Entry::permanent(NO_ACCESS)])?).await?;
                    (written, repaired) = (true, true);
                }
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
    async fn absent_all_the_same(&self, error: Error) -> Result<(), Error> {
        match error {
            Error::Unreachable { effect: Effect::Unknown, .. } | Error::ProjectNotFound { gone: false, .. } => {
                match self.get().await {
                    Err(Refusal::NotMember(_)) => Ok(()),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            _ => Err(error),
        }
    }

    /// There is a membership although none is listed. Usually somebody was faster: `changed`. But a membership that was
    /// created with an empty list is never listed and can only be repaired (identity-extras.json, "create again").
    async fn repair(&self, entries: &[Entry], changed: Error) -> Result<(), Error> {
        match self.get().await {
            Err(Refusal::NotMember(_)) => self.replace(entries).await,
            // It can't be listed either, then.
            Err(Refusal::Other(error @ Error::Forbidden { .. })) => Err(error),
            Ok(_) | Err(_) => Err(changed),
        }
    }

    async fn get(&self) -> Result<Answer, Refusal> {
        self.send(Operation::Look, Method::Get, None).await
    }

    async fn post(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        self.write(Operation::Create, Method::Post, Some(items)).await
    }

    async fn patch(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        self.write(Operation::Replace, Method::Patch, Some(items)).await
    }

    async fn delete(&self) -> Result<(), Refusal> {
        self.write(Operation::Remove, Method::Delete, None).await
    }

    async fn write(&self, operation: Operation, method: Method, items: Option<&[RoleItem]>) -> Result<(), Refusal> {
        self.send(operation, method, items).await?.json::<Written>()?;
        Ok(())
    }

    async fn send(&self, operation: Operation, method: Method, items: Option<&[RoleItem]>) -> Result<Answer, Refusal> {
        let roles: Vec<String> = items.into_iter().flatten().map(|item| item.role().to_owned()).collect();
        let (kind, project, subject) = (self.kind, self.project, self.subject.as_str());
        let asked = Asked { operation, kind, project, subject, roles: &roles };
        let body = items.map(|items| json!({ "roles": items }));
        let request = |generation: Generation| {
            let request = route::member(kind, generation, method, project, subject);
            body.iter().fold(request, |request, body| request.json(body))
        };
        self.infisical.send(self.turn, Family::Members(kind), &asked, request).await
    }
}
