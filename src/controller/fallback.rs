//! What is sent if the change itself can't be: the removals alone.

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
    /// After a failed list: removes the roles that are due to end, based on the last known row, if that change gives no
    /// access to anybody. The next list confirms it.
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

    /// After the provider has refused the change permanently: sends the removals alone. Returns whether they were
    /// carried out.
    pub(super) async fn fall_back(&self, memory: &Memory, error: &Error) -> bool {
        let mut since = Instant::now();
        let mut attempt = 0;
        loop {
            // The change that is sent includes other writers' entries as the list shows them, so that the list must be
            // recent.
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
                    // The permit came late: the same fallback is tried with another list, and none is skipped.
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
                // The change may be in force: the next fallback would take away unmanaged roles without need.
                Ok(Sent::Unshown(_)) => return false,
                Ok(Sent::LookAgain | Sent::Learnt | Sent::Removed(_)) | Err(_) => {}
            }
        }
    }
}

/// Whether the provider may accept a fallback after `error`. If the credential may grant nothing, every list of roles
/// is refused, and no single entry is the reason. Then the whole membership may be removed, but only if that takes away
/// nothing from others.
fn is_worth_a_try(plan: &Plan, fallback: &Change, error: &Error) -> bool {
    match (error, fallback) {
        (Error::MayNotGrant { .. }, Change::Remove) => !plan.removal_takes_others(),
        (Error::MayNotGrant { .. }, _) => false,
        _ => true,
    }
}
