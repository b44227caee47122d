//! Writing the memberships of machine identities and of groups: the same verbs on different paths, keyed by the
//! subject's id.

use super::{MembershipWrite, Removal};
use crate::api::SubjectKind;
use crate::core::member::{Change, Entry, Target};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::infisical::Infisical;
use crate::provider::infisical::api::{Family, Generation};
use crate::provider::infisical::errors::{self, Meaning};
use crate::provider::infisical::ids::subject_id;
use crate::provider::infisical::wire;
use crate::provider::session::PermitUse;

/// How many memberships of one subject are removed under one permit. Concurrent POSTs make as many as there are of
/// them (concurrency.json, `post_the_same_identity_8_times`).
const MOST: usize = 32;

/// The memberships of one identity or group in one project, to be written under one permit.
pub(crate) struct Membership<'a> {
    infisical: &'a Infisical,
    permit_use: &'a PermitUse<'a>,
    kind: SubjectKind,
    project: &'a str,
    subject: String,
}

impl<'a> Membership<'a> {
    pub(crate) fn new(
        infisical: &'a Infisical,
        permit_use: &'a PermitUse<'a>,
        project: &'a str,
        target: &Target,
    ) -> Result<Self, Error> {
        let kind = target.subject_kind;
        Ok(Self { infisical, permit_use, kind, project, subject: subject_id(kind, &target.subject_id)? })
    }

    /// Carries out a change. What a removal came to is said of [`Change::Remove`] alone.
    pub(crate) async fn apply(&self, change: &Change) -> Result<Removal, Error> {
        match change {
            Change::Create(entries) => self.create(entries).await?,
            Change::Replace(entries) => self.one().patch(&wire::items(entries)?).await?,
            Change::Recreate(entries) => self.recreate(entries).await?,
            Change::Remove => return self.remove().await,
        }
        Ok(Removal::Absent)
    }

    fn one(&self) -> MembershipWrite<'_> {
        let Self { infisical, permit_use, kind, project, subject } = self;
        MembershipWrite { infisical, permit_use, kind: *kind, project, subject, id: subject }
    }

    /// POST.
    async fn create(&self, entries: &[Entry]) -> Result<(), Error> {
        match self.one().post(&wire::items(entries)?).await {
            Err(Meaning::AlreadyMember(changed)) => self.repair(entries, changed).await,
            outcome => Ok(outcome?),
        }
    }

    /// DELETE until there is none, then one POST. Never a PATCH: it would write one of them, and maybe not the one that
    /// counts (docs/reference/infisical.md, "PATCH and time"); unless the server keeps the last one.
    async fn recreate(&self, entries: &[Entry]) -> Result<(), Error> {
        // What can't be sent is found out before anything is taken away.
        let items = wire::items(entries)?;
        let written = match self.remove().await? {
            Removal::Gone | Removal::Absent => self.one().post(&items).await,
            Removal::Kept(_) => self.one().patch(&items).await,
        };
        written.map_err(|refusal| errors::after_a_write(refusal.into()))
    }

    /// Takes all memberships away. That there is none is as good.
    async fn remove(&self) -> Result<Removal, Error> {
        let mut written = false;
        for _ in 0..MOST {
            match self.one().take_away().await {
                Ok(Removal::Gone) if self.removes_one_by_one() => written = true,
                Ok(removed) => return Ok(removed),
                Err(refusal) if written => {
                    return self.absent_all_the_same(errors::after_a_write(refusal.into())).await;
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
    async fn absent_all_the_same(&self, error: Error) -> Result<Removal, Error> {
        match error {
            Error::Unreachable { effect: Effect::Unknown, .. } | Error::ProjectNotFound { gone: false, .. } => {
                match self.one().get().await {
                    Err(Meaning::NotMember(_)) => Ok(Removal::Absent),
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
            Err(Meaning::NotMember(_)) => Ok(self.one().patch(&wire::items(entries)?).await?),
            // It can't be listed either, then.
            Err(Meaning::Other(error @ Error::Forbidden { .. })) => Err(error),
            Ok(_) | Err(_) => Err(changed),
        }
    }
}
