//! Writing the memberships of machine identities and of groups: the same verbs on different paths, keyed by the
//! subject's id.

use super::{MembershipWrite, Removal};
use crate::core::member::{Change, Entry};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::infisical::api::{Family, Generation};
use crate::provider::infisical::errors::{self, Meaning};
use crate::provider::infisical::wire;

/// How many memberships of one subject are removed under one permit. Concurrent POSTs create one each
/// (concurrency.json, `post_the_same_identity_8_times`).
const MOST: usize = 32;

/// Carries out a change. The result of a removal is reported for [`Change::Remove`] only.
pub(crate) async fn apply(membership: &MembershipWrite<'_>, change: &Change) -> Result<Removal, Error> {
    match change {
        Change::Create(entries) => create(membership, entries).await?,
        Change::Replace(entries) => membership.patch(&wire::items(entries)?).await?,
        Change::Recreate(entries) => recreate(membership, entries).await?,
        Change::Remove => return remove(membership).await,
    }
    Ok(Removal::Absent)
}

/// POST.
async fn create(membership: &MembershipWrite<'_>, entries: &[Entry]) -> Result<(), Error> {
    match membership.post(&wire::items(entries)?).await {
        Err(Meaning::AlreadyMember(changed)) => repair(membership, entries, changed).await,
        outcome => Ok(outcome?),
    }
}

/// DELETE until there is none, then one POST. Never a PATCH: it would write one of them, possibly not the one in
/// effect (docs/reference/infisical.md, "PATCH and time"); unless the server keeps the last one.
async fn recreate(membership: &MembershipWrite<'_>, entries: &[Entry]) -> Result<(), Error> {
    // A list that can't be sent is detected before anything is removed.
    let items = wire::items(entries)?;
    let written = match remove(membership).await? {
        Removal::Gone | Removal::Absent => membership.post(&items).await,
        Removal::Kept(_) => membership.patch(&items).await,
    };
    written.map_err(|refusal| errors::after_a_write(refusal.into()))
}

/// Removes all memberships. It is also a success if there is none.
async fn remove(membership: &MembershipWrite<'_>) -> Result<Removal, Error> {
    let mut written = false;
    for _ in 0..MOST {
        match membership.take_away().await {
            Ok(Removal::Gone) if removes_one_by_one(membership) => written = true,
            Ok(removed) => return Ok(removed),
            Err(refusal) if written => {
                return absent_all_the_same(membership, errors::after_a_write(refusal)).await;
            }
            Err(refusal) => return absent_all_the_same(membership, refusal).await,
        }
    }
    let what = format!("{MOST} memberships of {} were removed, and there are more", membership.subject);
    Err(membership.calls.unfinished(&what))
}

/// Whether DELETE removes one of several memberships: see [`Generation::G3`].
fn removes_one_by_one(membership: &MembershipWrite<'_>) -> bool {
    membership.calls.infisical.found(Family::Members(membership.kind)) == Some(Generation::G3)
}

/// Current servers respond to the removal of an identity that doesn't exist with 500 (issue #7255), and October
/// 2024 to that of a membership without roles with 403 (identity-extras.json, "delete"): a read then shows whether
/// there is a membership that grants anything. Otherwise it is `error`.
async fn absent_all_the_same(membership: &MembershipWrite<'_>, error: Error) -> Result<Removal, Error> {
    match error {
        Error::Unreachable { effect: Effect::Unknown, .. } | Error::ProjectNotFound { gone: false, .. } => {
            match membership.get().await {
                Err(Meaning::NotMember(_)) => Ok(Removal::Absent),
                Ok(_) | Err(_) => Err(error),
            }
        }
        _ => Err(error),
    }
}

/// There is a membership although none is listed. Usually another writer was faster: `changed`. But a membership
/// that was created with an empty list is never listed and can only be repaired (identity-extras.json, "create
/// again").
async fn repair(membership: &MembershipWrite<'_>, entries: &[Entry], changed: Error) -> Result<(), Error> {
    match membership.get().await {
        Err(Meaning::NotMember(_)) => Ok(membership.patch(&wire::items(entries)?).await?),
        // It can't be listed either, then.
        Err(Meaning::Other(error @ Error::Forbidden { .. })) => Err(error),
        Ok(_) | Err(_) => Err(changed),
    }
}
