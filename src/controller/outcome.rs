//! The result of a pass, and when the next one is due.

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

/// When the next pass is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At the next edge or the next resync.
    AtEdge,
    /// After a backoff.
    Backoff,
    /// As [`Again::Backoff`], but after at most a few seconds: an end or a revocation is due.
    Soon,
    /// After this time.
    After(Duration),
}

/// The result of a pass.
pub struct Outcome {
    /// The last snapshot of the target's declarations.
    pub scene: Scene,
    /// The member's row at the provider; the outer `None`: it is unknown; the inner `None`: there is no row.
    pub member: Option<Option<Member>>,
    /// When the list began that shows it.
    pub listed: Option<Instant>,
    /// The differences that were not repaired.
    pub drift: Vec<Drift>,
    /// Why the object is ready or not.
    pub told: Told,
    /// The provider's refusal or failure, if one ended the pass.
    pub error: Option<Error>,
    /// The provider refused the change, and its removals were carried out without its other parts.
    pub removed: bool,
    /// When the next pass is due.
    pub again: Again,
}

/// Why a pass ended early.
pub enum Stop {
    /// The acting object is gone.
    Gone,
    /// The inputs of the pass have changed: the pass starts again.
    Overtaken,
    /// The API server refused or failed a write.
    Kubernetes(Arc<kube::Error>),
    /// The API server refused or failed a write when nothing was left to do at the provider.
    Unreported(Arc<kube::Error>),
}

impl Stop {
    /// The same stop of a pass that has nothing left to do at the provider.
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
    /// The provider's earlier refusal of the same change for the same specs, if it was permanent and is no older than
    /// an observation may be. An end or a revocation is always tried again.
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

    /// As [`Pass::refused`], for a change that was sent.
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

    /// As [`Pass::failed`], for a refused change. What is refused to the other declarations does not concern a
    /// declaration that is suspended or only observes.
    pub(super) fn refused(&self, memory: &Memory, look: Look, error: Error, removed: bool) -> Result<Outcome, Stop> {
        let acting = &look.scene.acting;
        if acting.compares && acting.layer.managed.is_empty() {
            return Ok(self.settled(look, memory));
        }
        let concerned = |layer: &Layer| changes::concerns(&look.plan, layer, look.scene.now);
        let others = look.scene.other_objects.iter().zip(&look.scene.others);
        let others: Vec<_> = others.filter(|(_, other)| concerned(&other.layer)).map(|(object, _)| object).collect();
        if !removed && !others.is_empty() && !concerned(&acting.layer) {
            // The passes of those declarations try it again and report it.
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

    /// The outcome of a pass that the provider's refusal or failure ended, with the time of the next attempt.
    /// `removed`: the removals of the change were carried out all the same.
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
            // What is due is attempted regardless of how long the server asks to wait, one request at a time.
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

/// Roles of the refused change that other declarations declare or manage and the acting one does not.
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

/// The report of a target without differences. A membership that is kept without access is mentioned, because a user
/// who finds it in the provider's list would take it for a forgotten removal.
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
