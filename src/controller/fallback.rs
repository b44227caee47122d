//! What is sent where the change itself can't be: the removals alone.

use std::time::Duration;

use tokio::time::Instant;

use super::act::{self, Sent};
use super::converge::{FRESH, Look, Pass};
use super::outcome::Stop;
use super::reporting;
use super::targets::Memory;
use crate::core::member::Change;
use crate::core::plan::Plan;
use crate::provider::Error;
use crate::provider::quota::Kind;

impl Pass<'_> {
    /// The list failed: ends what is due to end on the row that was last known, where that gives nobody anything. The
    /// next list confirms it.
    pub(super) async fn end_unlisted(&self, memory: &Memory) -> Result<(), Stop> {
        let due = |look: &Look| look.plan.end_unlisted().is_some();
        let Some(look) = self.known(memory, None)?.filter(due) else {
            return Ok(());
        };
        let quota = &self.resolved.connection.quota;
        let permit = quota.permit(Kind::Write, look.plan.urgency_of_removals(), self.namespace).await;
        let look = self.known(memory, None)?;
        let Some((end, row)) = look.as_ref().and_then(|l| Some((l.plan.end_unlisted()?, l.sighting.member.as_ref())))
        else {
            permit.unused();
            return Ok(());
        };
        if let Err(error) = act::carry_out(self, permit, row, end, false).await {
            tracing::warn!(object = %self.reference, %error, "the list of members and the removal of ended roles both fail");
        }
        Ok(())
    }

    /// The list was refused for good: what is to go goes all the same, alone. Whether it went.
    pub(super) async fn fall_back(&self, memory: &Memory, error: &Error) -> bool {
        let mut since = Instant::now();
        let mut attempt = 0;
        loop {
            // What is sent carries others' entries on the word of the list.
            let Ok(Ok(look)) = self.look(memory, Some(since), Duration::ZERO).await else {
                return false;
            };
            if attempt >= look.plan.fallbacks().len() {
                return false;
            }
            let quota = &self.resolved.connection.quota;
            let permit = quota.permit(Kind::Write, look.plan.urgency_of_removals(), self.namespace).await;
            let look = match self.known(memory, Some(since)) {
                Ok(Some(look)) if look.sighting.as_of + FRESH >= Instant::now() => look,
                Ok(_) | Err(_) => {
                    // The permit came late: the same fallback is tried on another list, and none is skipped.
                    permit.unused();
                    since = Instant::now();
                    continue;
                }
            };
            let Some(fallback) = look.plan.fallbacks().get(attempt) else {
                permit.unused();
                return false;
            };
            attempt += 1;
            if !is_worth_a_try(&look.plan, fallback, error) {
                permit.unused();
                continue;
            }
            match act::carry_out(self, permit, look.sighting.member.as_ref(), fallback, false).await {
                Ok(Sent::Confirmed | Sent::Overtaken) => {
                    reporting::lost(self.ctx, &look.scene, &look.plan);
                    act::wake_not_allowed(self.ctx, &look.scene, &look.plan);
                    return true;
                }
                // It may be in force: what is tried next would take strangers' roles for nothing.
                Ok(Sent::Unshown(_)) => return false,
                Ok(Sent::LookAgain | Sent::Learnt | Sent::Removed(_)) | Err(_) => {}
            }
        }
    }
}

/// Whether a fallback may be accepted after `error`. Where the credential may grant nothing, every role list is refused,
/// and no entry of it is in the way: then the whole membership may be removed, but only where that takes nothing from
/// others.
fn is_worth_a_try(plan: &Plan, fallback: &Change, error: &Error) -> bool {
    match (error, fallback) {
        (Error::MayNotGrant { .. }, Change::Remove) => !plan.removal_takes_others(),
        (Error::MayNotGrant { .. }, _) => false,
        _ => true,
    }
}
