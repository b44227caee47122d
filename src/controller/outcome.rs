//! What a pass came to, and when to look again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clocks;
use super::converge::{Look, Pass};
use super::record;
use super::resolve::{Scene, scene};
use super::targets::{Memory, Stalled};
use crate::api::Reason;
use crate::api::membership::Drift;
use crate::core::changes;
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Capabilities, Change, Member};
use crate::core::status::Told;
use crate::provider::quota::ATTEMPT_EVERY;
use crate::provider::{Error, Retry};

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At the next edge or the resync.
    AtEdge,
    /// Soon, then ever later.
    Backoff,
    /// As [`Again::Backoff`], but every few seconds at the latest: an end or a revocation is due.
    Soon,
    /// After this time.
    After(Duration),
}

/// What a pass came to.
pub struct Outcome {
    /// The objects on the target as last read.
    pub scene: Scene,
    /// The provider's row, where it is known; the inner `None`: there is none.
    pub member: Option<Option<Member>>,
    /// When the list behind it began.
    pub listed: Option<Instant>,
    /// What differs and was left so.
    pub drift: Vec<Drift>,
    /// Why the object is or isn't ready.
    pub told: Told,
    /// The provider's refusal or failure, where one ended the pass.
    pub error: Option<Error>,
    /// The provider refused the change, and what was to go went alone.
    pub removed: bool,
    /// When to look again.
    pub again: Again,
}

/// What ends a pass early.
pub enum Stop {
    /// The acting object is gone.
    Gone,
    /// What the pass was begun with is no more so: it begins anew.
    Overtaken,
    /// The API server refused or failed a write.
    Kubernetes(Arc<kube::Error>),
    /// The same, when nothing was left to do at the provider.
    Unreported(Arc<kube::Error>),
}

impl Stop {
    /// As it is when nothing was left to do at the provider.
    pub fn when_settled(self) -> Self {
        match self {
            Self::Kubernetes(error) => Self::Unreported(error),
            other => other,
        }
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Arc::new(error))
    }
}

impl From<Arc<kube::Error>> for Stop {
    fn from(error: Arc<kube::Error>) -> Self {
        Self::Kubernetes(error)
    }
}

impl Pass<'_> {
    /// The provider's refusal of this very change to these very specs, where it was for good and no older than an
    /// observation may be. An end or a revocation is always tried again.
    pub(super) fn refused_before(
        &self,
        memory: &Memory,
        look: &Look,
        asked_since: Option<Instant>,
    ) -> Option<(Error, bool)> {
        let scene = &look.scene;
        let stalled = memory.stalled.as_ref()?;
        let same = stalled.asked_by == scene.asked_by
            && look.plan.change().is_some_and(|change| *change == stalled.change)
            && stalled.connection.as_ptr() == Arc::as_ptr(&self.resolved.connection)
            && asked_since.is_none_or(|since| stalled.at >= since)
            && !look.plan.revokes();
        same.then(|| (stalled.error.clone(), stalled.removed))
    }

    /// As [`Pass::refused`], after a change was sent.
    pub(super) fn stalled(
        &self,
        memory: &mut Memory,
        look: Look,
        change: Change,
        error: Error,
        removed: bool,
    ) -> Result<Outcome, Stop> {
        if error.retry() == Retry::Terminal {
            let connection = Arc::downgrade(&self.resolved.connection);
            let asked_by = look.scene.asked_by.clone();
            let at = Instant::now();
            memory.stalled = Some(Stalled { asked_by, change, error: error.clone(), removed, connection, at });
        }
        self.refused(memory, look, error, removed)
    }

    /// As [`Pass::failed`], of a change: what the other declarations are refused says nothing of one that is suspended or
    /// only observes.
    pub(super) fn refused(&self, memory: &Memory, look: Look, error: Error, removed: bool) -> Result<Outcome, Stop> {
        let acting = &look.scene.acting;
        if acting.compares && acting.layer.managed.is_empty() {
            return Ok(self.settled(look, memory));
        }
        let concerned = |layer: &Layer| changes::concerns(&look.plan, layer, look.scene.now);
        let others = look.scene.other_objects.iter().zip(&look.scene.others);
        let others: Vec<_> = others.filter(|(_, other)| concerned(&other.layer)).map(|(object, _)| object).collect();
        if !removed && !others.is_empty() && !concerned(&acting.layer) {
            // Their own passes try it again, and report it.
            others.iter().for_each(|other| self.ctx.wake(other));
            return Ok(self.settled(look, memory));
        }
        let roles = roles_of_others(&look);
        let outcome = self.failed(error, removed)?;
        let message = changes::without_roles(&outcome.told.message, &roles);
        Ok(Outcome { told: Told::new(outcome.told.reason, message), ..outcome })
    }

    pub(super) fn settled(&self, look: Look, memory: &Memory) -> Outcome {
        let told = match &look.scene.acting.aside {
            Some(refusal) => Told::new(refusal.reason, refusal.message.clone()),
            None => record::renamed_role(&look.scene)
                .or_else(|| record::refused_role(&look.scene, memory))
                .or_else(|| clocks::skewed_role(&look.scene))
                .or_else(|| memory.repairs.told())
                .unwrap_or_else(|| converged(&look, self.capabilities())),
        };
        let drift = record::drift_of(&look.scene, &look.plan, look.sighting.member.as_ref(), self.capabilities());
        let again = if told.reason == Reason::Progressing { Again::Backoff } else { Again::AtEdge };
        self.outcome(look, told, drift, None, again)
    }

    fn outcome(&self, look: Look, told: Told, drift: Vec<Drift>, error: Option<Error>, again: Again) -> Outcome {
        let listed = self.roster().began();
        Outcome {
            scene: look.scene,
            member: Some(look.sighting.member),
            listed,
            drift,
            told,
            error,
            removed: false,
            again,
        }
    }

    /// The provider refused or failed: says so, and when to try again.
    /// `removed`: what was to go has gone all the same.
    pub(super) fn failed(&self, error: Error, removed: bool) -> Result<Outcome, Stop> {
        let member = self.roster().known(&self.resolved.target.subject_id);
        let observed = member.as_ref().and_then(Option::as_ref);
        let scene = scene(self.ctx, self.reference, self.resolved, self.capabilities(), observed).ok_or(Stop::Gone)?;
        let there = record::shown(observed);
        let due = scene.layers().iter().any(|layer| {
            let over = layer.managed.iter().filter(|(_, term)| layer.phase == Phase::Leaves || term.ended(scene.now));
            over.into_iter().any(|(role, _)| !removed || there.contains(role))
        });
        let again = match error.retry() {
            // What is due is attempted however long the server asks to wait, one request at a time.
            Retry::After(delay) if due => Again::After(delay.min(ATTEMPT_EVERY)),
            Retry::After(delay) => Again::After(delay),
            Retry::Backoff | Retry::Terminal if due => Again::Soon,
            Retry::Backoff => Again::Backoff,
            Retry::Terminal => Again::AtEdge,
        };
        let told = match &scene.acting.aside {
            Some(refusal) if !due && refusal.reason != Reason::Observed => {
                Told::new(refusal.reason, refusal.message.clone())
            }
            _ => Told::new(error.reason(), error.to_string()),
        };
        Ok(Outcome { scene, member, listed: None, drift: Vec::new(), told, error: Some(error), removed, again })
    }
}

/// Roles of the refused change that other declarations ask for or had, and the acting one does not.
fn roles_of_others(look: &Look) -> BTreeSet<String> {
    let has = |layer: &Layer, role: &String| {
        layer.managed.contains_key(role) || layer.grants.iter().any(|grant| grant.role == *role)
    };
    let acting = &look.scene.acting.layer;
    let sent = look.plan.change().into_iter().flat_map(|change| change.outcome()).map(|entry| &entry.role);
    let roles = sent.chain(look.plan.lost().iter().map(|(role, _)| role));
    let of_others = |role: &&String| look.scene.others.iter().any(|other| has(&other.layer, role));
    roles.filter(|role| !has(acting, role)).filter(of_others).cloned().collect()
}

/// The provider holds what is declared. A membership that is left without access is named, or whoever finds it in the
/// provider's list would take it for a removal that was forgotten.
fn converged(look: &Look, capabilities: Capabilities) -> Told {
    let acting = &look.scene.acting.layer;
    let declared = |role: &str| acting.has_in_effect(role, look.scene.now);
    let role = capabilities.empty_role.filter(|role| !declared(role)).unwrap_or_default();
    let kept = look.sighting.member.as_ref().is_some_and(|member| capabilities.is_without_access(member));
    let message = match kept && !role.is_empty() {
        true => format!(
            "the provider holds what is declared; the membership stays with the role {role:?}, which gives nothing"
        ),
        false => "the provider holds what is declared".to_owned(),
    };
    Told::new(Reason::Converged, message)
}

pub(super) fn contested(look: Look) -> Outcome {
    let drift = look.plan.drift().to_vec();
    let due = look.plan.revokes();
    Outcome {
        scene: look.scene,
        member: Some(look.sighting.member),
        listed: None,
        drift,
        told: Told::new(
            Reason::Contested,
            "another writer changed this member each time before our write was confirmed: find out who else manages it; trying again by itself",
        ),
        error: None,
        removed: false,
        again: if due { Again::Soon } else { Again::AtEdge },
    }
}
