//! Writing the memberships of machine identities.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use uuid::Uuid;

use super::refusal::{self, Asked, Operation, Refusal};
use super::roles::{self, RoleItem};
use super::{Generation, Infisical, NO_ACCESS, Turn};
use crate::api::SubjectKind;
use crate::member::{Change, Entry, Project, Target};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Answer, Method};

/// The answer of POST and DELETE. Nothing of it is needed but that it is this and no web page.
#[derive(Deserialize)]
struct One {
    #[serde(rename = "identityMembership")]
    _membership: IgnoredAny,
}

/// The answer of PATCH.
#[derive(Deserialize)]
struct Roles {
    #[serde(rename = "roles")]
    _roles: Vec<IgnoredAny>,
}

/// The membership of one identity in one project, to be written under one permit.
pub(super) struct Membership<'a> {
    infisical: &'a Infisical,
    turn: &'a Turn<'a>,
    project: String,
    identity: String,
}

/// A project's id in lower case. What isn't a UUID is answered with 500 (errors.json), so it isn't sent.
pub(super) fn project_id(project: &Project) -> Result<String, Error> {
    uuid(&project.id).ok_or_else(|| Error::ProjectNotFound {
        gone: false,
        message: format!(
            "{:?} is no id of an Infisical project, which is a UUID: copy it from Project Settings → Overview",
            project.id
        ),
    })
}

fn uuid(text: &str) -> Option<String> {
    // Other spellings (braces, no hyphens) are UUIDs as well, but not to Infisical.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(|id| id.to_string())
}

impl<'a> Membership<'a> {
    pub(super) fn new(infisical: &'a Infisical, turn: &'a Turn<'a>, target: &Target) -> Result<Self, Error> {
        if target.subject_kind != SubjectKind::Identity {
            return Err(Error::Rejected {
                message: format!(
                    "Infisical has no subjects of the kind {:?} here: write Identity",
                    target.subject_kind
                ),
            });
        }
        let identity = uuid(&target.subject_id).ok_or_else(|| Error::SubjectNotFound {
            message: format!(
                "{:?} is no id of an Infisical identity, which is a UUID: copy it from Organization → Access Control → \
                 Identities",
                target.subject_id
            ),
        })?;
        Ok(Self { infisical, turn, project: project_id(&target.project)?, identity })
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

    /// DELETE, which removes all memberships of the identity, then one POST. Never a PATCH: it would write one of them,
    /// and maybe not the one that counts (reference/infisical.md, "PATCH and time").
    async fn recreate(&self, entries: &[Entry]) -> Result<(), Error> {
        // What can't be sent is found out before anything is taken away.
        let items = roles::items(entries)?;
        self.remove().await?;
        self.post(&items).await.map_err(|refusal| refusal::after_a_write(refusal.into()))
    }

    /// DELETE. That there is no membership is as good.
    async fn remove(&self) -> Result<(), Error> {
        match self.delete().await {
            Ok(()) | Err(Refusal::NotMember(_)) => Ok(()),
            // A row of the literal `custom` is in the way of its own removal until a PATCH takes it out
            // (identity-extras.json, "delete one with the literal custom").
            Err(Refusal::LockedOut(_)) => {
                self.patch(&roles::items(&[Entry::permanent(NO_ACCESS)])?).await?;
                match self.delete().await {
                    Ok(()) | Err(Refusal::NotMember(_)) => Ok(()),
                    Err(refusal) => Err(refusal::after_a_write(refusal.into())),
                }
            }
            Err(refusal) => self.absent_all_the_same(refusal.into()).await,
        }
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
        let asked = self.asked(Operation::Look, &[]);
        let request = |generation: Generation| generation.member(Method::Get, &self.project, &self.identity);
        self.infisical.send(self.turn, &asked, request).await
    }

    async fn post(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        let answer = self.write(Operation::Create, Method::Post, items).await?;
        answer.json::<One>()?;
        Ok(())
    }

    async fn patch(&self, items: &[RoleItem]) -> Result<(), Refusal> {
        let answer = self.write(Operation::Replace, Method::Patch, items).await?;
        answer.json::<Roles>()?;
        Ok(())
    }

    async fn write(&self, operation: Operation, method: Method, items: &[RoleItem]) -> Result<Answer, Refusal> {
        let roles: Vec<String> = items.iter().map(|item| item.role().to_owned()).collect();
        let asked = self.asked(operation, &roles);
        let body = json!({ "roles": items });
        let request = |generation: Generation| generation.member(method, &self.project, &self.identity).json(&body);
        self.infisical.send(self.turn, &asked, request).await
    }

    async fn delete(&self) -> Result<(), Refusal> {
        let asked = self.asked(Operation::Remove, &[]);
        let request = |generation: Generation| generation.member(Method::Delete, &self.project, &self.identity);
        let answer = self.infisical.send(self.turn, &asked, request).await?;
        answer.json::<One>()?;
        Ok(())
    }

    fn asked<'b>(&'b self, operation: Operation, roles: &'b [String]) -> Asked<'b> {
        Asked { operation, project: &self.project, subject: &self.identity, roles }
    }
}
