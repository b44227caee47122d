//! A pass's work at the provider: observe → plan → record → permit → plan again → apply → confirm, until nothing
//! differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::act::{self, Sent};
use super::admit::{Reading, record_of};
use super::clocks::needs_clock;
use super::context::Context;
use super::outcome::{Outcome, Stop, contested};
use super::precedence::wake_shadowed;
use super::reconcile::{interval, urgency};
use super::record::{self, entries};
use super::reporting;
use super::resolve::{Resolved, Scene, scene};
use super::targets::{Granted, Memory};
use crate::api::ProjectMembership;
use crate::api::membership::AdoptionPolicy;
use crate::controller::roster::{Asker, Roster, Sighting};
use crate::core::member::{Capabilities, Change, Term};
use crate::core::plan::{Plan, View, plan};
use crate::provider::error::Effect;
use crate::provider::quota::{Kind, Permit};
use crate::provider::{Error, Retry, Urgency};

/// In this many rounds another writer undid a write before it was confirmed; after that, the target is reported as
/// contested.
const ROUNDS: u32 = 3;
/// A list that a write relies on must have begun after the write was planned, and must not be older than this when the
/// write is sent.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// Minimum time between two lists of a project when the next one is needed to decide about new declarations.
const DECISION_SPACING: Duration = Duration::from_secs(1);
/// Minimum time between two lists of a project when the next one only confirms writes.
pub const CONFIRM_SPACING: Duration = Duration::from_millis(250);

/// A pass over one target on behalf of one object.
pub struct Pass<'a> {
    /// The context.
    pub ctx: &'a Context,
    /// The object that the pass was started for (the acting object).
    pub reference: &'a ObjectRef<ProjectMembership>,
    /// The provider and target of the acting object.
    pub resolved: &'a Resolved,
    /// The namespace whose share of the quota pays for the requests.
    pub namespace: &'a str,
    /// The urgency of the pass's list requests.
    pub urgency: Urgency,
    /// The subject's name in the object's spec, where the spec names it instead of giving an id.
    pub name: Option<String>,
    /// The roles that the object's status reported in force when the pass began.
    pub reported: BTreeMap<String, Term>,
}

/// An observation and what was planned from it.
pub struct Look {
    /// The declarations of the target through this provider object, as layers.
    pub scene: Scene,
    /// The member as the provider shows it.
    pub sighting: Sighting,
    /// The plan that removes the difference.
    pub plan: Plan,
    /// Whether the change only repairs drift: every declaration was carried out before, and no managed role ends or is
    /// revoked.
    pub repairs_drift: bool,
}

impl Pass<'_> {
    /// Changes the target until it matches the union of its layers. An observation that is older than `not_before`
    /// isn't used.
    pub async fn converge(&self, memory: &mut Memory, not_before: Option<Instant>) -> Result<Outcome, Stop> {
        let asked_since = not_before;
        // A list that was requested and failed is still required: an older one can't replace it.
        let mut not_before = not_before.max(memory.unanswered);
        let mut spacing = Duration::ZERO;
        let mut round = 0;
        let mut done: Option<Change> = None;
        // A change that was refused because the member differs from the one in the list.
        let mut missed: Option<Change> = None;
        // When a change was first planned that also writes unmanaged entries as a list shows them.
        let mut planned: Option<Instant> = None;
        // When a response was first requested for the sake of the provider's clock.
        let mut clock_asked: Option<Instant> = None;
        loop {
            let object = self.resolved.object(self.ctx, self.reference).ok_or(Stop::Gone)?;
            let object = record::after_an_edit(self.ctx, object, memory).await?;
            let notifier = self.ctx.targets.notifier(&object);
            let notified = notifier.notified();
            let undecided = self.undecided_since(memory);
            let look = self.look(memory, not_before, spacing).await?;
            wake_shadowed(self, memory);
            let look = match look {
                Ok(look) => look,
                Err(error) => {
                    memory.unanswered = not_before;
                    self.end_unlisted(memory).await?;
                    return self.failed(error, false);
                }
            };
            memory.unanswered = None;
            // A declaration is decided on a list that began after the declaration was received.
            if look.sighting.as_of < undecided.unwrap_or(look.sighting.as_of) && !creates(&look) {
                // Many declarations that arrive together are decided on few lists.
                spacing = if look.plan.revokes() { Duration::ZERO } else { DECISION_SPACING };
                not_before = not_before.max(undecided);
                continue;
            }
            if needs_clock(memory, &look, clock_asked) {
                (clock_asked, spacing) = (Some(Instant::now()), DECISION_SPACING);
                not_before = not_before.max(clock_asked);
                continue;
            }
            if record::speaks_of_another(memory, &look.scene) {
                continue;
            }
            if record::before_the_write(self, &look, memory).await? {
                // The object is read again after the record was written: only what the object itself says counts.
                continue;
            }
            if look.plan.change().is_none_or(|change| done.as_ref().is_some_and(|done| same(done, change))) {
                // Nothing remains to be sent, or this pass has already confirmed the planned change.
                memory.contested = 0;
                if look.plan.drift().is_empty() {
                    memory.repairs.no_drift(look.sighting.as_of, interval(&object, self.resolved));
                }
                return Ok(self.settled(look, memory));
            }
            if round == 0
                && let Some((error, removed)) = self.refused_before(memory, &look, asked_since)
            {
                return self.refused(memory, look, error, removed);
            }
            if look.repairs_drift
                && memory.repairs.waits(look.plan.drift(), Instant::now(), interval(&object, self.resolved))
            {
                return Ok(self.settled(look, memory));
            }
            if round >= ROUNDS || memory.contested >= ROUNDS {
                memory.contested = 0;
                return Ok(contested(look));
            }
            if look.plan.needs_fresh() && look.sighting.as_of < *planned.get_or_insert_with(Instant::now) {
                not_before = planned;
                continue;
            }
            let Some(permit) = self.permit(memory, &look, &notifier, notified).await? else {
                continue;
            };
            // Plan again under the permit: what was decided before the wait may be outdated. No request is made here
            // under the permit: a list needs a permit of its own, and the passes that wait for that list may hold all
            // permits there are.
            let Some(look) = self.known(memory, not_before)? else {
                permit.unused();
                continue;
            };
            if needs_clock(memory, &look, clock_asked) {
                // The wait for the permit was longer than a response's clock reading is valid for.
                permit.unused();
                continue;
            }
            let now = Instant::now();
            let stale = look.sighting.as_of < planned.unwrap_or(now) || look.sighting.as_of + FRESH < now;
            if look.plan.needs_fresh() && stale {
                permit.unused();
                planned = Some(now);
                not_before = planned;
                continue;
            }
            let Some(change) = look.plan.change().cloned() else {
                permit.unused();
                continue;
            };
            // The same change was refused twice because the member differs, although a list in between shows the row:
            // the provider lost a removal before.
            let cure = missed.as_ref().is_some_and(|missed| same(missed, &change))
                && look.sighting.member.is_some()
                && !self.capabilities().lists_are_current;
            let sent = self.send(permit, &look, change.clone(), cure, memory).await;
            wake_shadowed(self, memory);
            match sent {
                Ok(Sent::Confirmed) => {
                    if look.repairs_drift {
                        memory.repairs.repaired(look.plan.drift(), Instant::now());
                    }
                    done = Some(change);
                }
                Ok(Sent::Overtaken) => {
                    round += 1;
                    memory.contested += 1;
                }
                Ok(Sent::Unshown(error)) => return self.stalled(memory, look, change, error, false),
                Ok(Sent::Removed(error)) => return self.stalled(memory, look, change, error, true),
                // This ends, because each time another role is refused. The role may have been renamed since the list.
                Ok(Sent::Learnt) if look.scene.know_ids() => not_before = Some(Instant::now()),
                Ok(Sent::Learnt) => {}
                Ok(Sent::LookAgain) => {
                    round += 1;
                    missed = Some(change);
                    not_before = Some(Instant::now());
                }
                Err(error) => return self.stalled(memory, look, change, error, false),
            }
        }
    }

    /// Observes, reads the objects again and plans. The outer error ends the pass, the inner one is the provider's.
    pub(super) async fn look(
        &self,
        memory: &Memory,
        not_before: Option<Instant>,
        spacing: Duration,
    ) -> Result<Result<Look, Error>, Stop> {
        match self.observe(not_before, spacing).await {
            Ok(sighting) => Ok(Ok(self.planned(memory, sighting)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// When the latest of the declarations that are not carried out yet became known; `None` if there are none.
    fn undecided_since(&self, memory: &mut Memory) -> Option<Instant> {
        let undecided = self
            .declarations()
            .filter(|object| object.metadata.deletion_timestamp.is_none() && !record::settled(object));
        let versions: HashMap<String, i64> = undecided
            .filter_map(|object| Some((object.metadata.uid.clone()?, object.metadata.generation.unwrap_or_default())))
            .collect();
        memory.undecided.retain(|uid, (generation, _)| versions.get(uid) == Some(generation));
        let now = Instant::now();
        for (uid, generation) in versions {
            memory.undecided.entry(uid).or_insert((generation, now));
        }
        memory.undecided.values().map(|(_, since)| *since).max()
    }

    /// Observes with the urgency that the target's objects currently need: an end that comes due, or a deletion, during
    /// the wait for the quota raises the urgency with which the observation began.
    async fn observe(&self, not_before: Option<Instant>, spacing: Duration) -> Result<Sighting, Error> {
        let (roster, subject) = (self.roster(), &self.resolved.target.subject_id);
        let provider = &self.resolved.connection.provider;
        let notifier = self.resolved.object(self.ctx, self.reference).map(|object| self.ctx.targets.notifier(&object));
        let mut urgency = self.urgency;
        loop {
            let mut observing = pin!(roster.observe(provider, self.asker(urgency, spacing), subject, not_before));
            loop {
                let notified = async {
                    match &notifier {
                        Some(notifier) => notifier.notified().await,
                        None => std::future::pending().await,
                    }
                };
                let now = self.ctx.now();
                tokio::select! {
                    biased;
                    sighting = &mut observing => return sighting,
                    () = sleep_until(self.next_end(now), now) => {}
                    () = notified => {}
                }
                let most_urgent = self.most_urgent();
                if most_urgent < urgency {
                    urgency = most_urgent;
                    break;
                }
            }
        }
    }

    /// The declarations of the target through the same provider object, the acting one included.
    pub fn declarations(&self) -> impl Iterator<Item = Arc<ProjectMembership>> {
        let object = self.resolved.object(self.ctx, self.reference);
        let declarations = object.map_or_else(Vec::new, |object| self.ctx.targets.declarations(&object));
        declarations.into_iter().filter_map(|declarations| self.ctx.latest(&declarations))
    }

    /// The urgency of observing the target: the highest among its objects.
    fn most_urgent(&self) -> Urgency {
        let now = self.ctx.now();
        self.declarations().map(|object| urgency(&object, now)).min().unwrap_or(self.urgency)
    }

    /// The next end among the recorded roles of the target.
    fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends =
            self.declarations().flat_map(|object| record_of(&object, now)).filter_map(|role| role.expiration_time);
        ends.filter(|end| *end > now).min()
    }

    /// As [`Pass::look`], but without a request; `None` if what is known already isn't enough.
    pub(super) fn known(&self, memory: &Memory, not_before: Option<Instant>) -> Result<Option<Look>, Stop> {
        let known = self.roster().sighting(&self.resolved.target.subject_id, not_before);
        let look = known.and_then(Result::ok).map(|sighting| self.planned(memory, sighting)).transpose()?;
        Ok(look.filter(|look| !record::speaks_of_another(memory, &look.scene)))
    }

    fn planned(&self, memory: &Memory, sighting: Sighting) -> Result<Look, Stop> {
        let capabilities = self.capabilities();
        let observed = sighting.member.as_ref();
        let resolved = self.resolved.renewed(self.ctx).ok_or(Stop::Overtaken)?;
        let scene = scene(self.ctx, self.reference, &resolved, capabilities, observed).ok_or(Stop::Gone)?;
        let refused: BTreeSet<String> = memory.refused.keys().cloned().collect();
        let view = View { observed, capabilities, refused: &refused, spared: &scene.spared, now: scene.now };
        let plan = plan(&scene.layers(), &view);
        let repairs_drift =
            !plan.revokes() && !plan.drift().is_empty() && memory.repairs.are_carried_out(self.ctx, &scene);
        Ok(Look { scene, sighting, plan, repairs_drift })
    }

    /// What is known of the project's members.
    pub fn roster(&self) -> Arc<Roster> {
        let target = &self.resolved.target;
        self.resolved.connection.rosters.of(&target.project, target.subject_kind)
    }

    /// Waits for a write permit from the quota. `None` if something changed during the wait, so that the change must be
    /// planned again.
    async fn permit(
        &self,
        memory: &Memory,
        look: &Look,
        notifier: &Notify,
        notified: Notified<'_>,
    ) -> Result<Option<Permit>, Stop> {
        let urgency = urgency_of(look);
        let mut waiting = pin!(self.resolved.connection.quota.permit(Kind::Write, urgency, self.namespace));
        let mut notified = pin!(notified);
        loop {
            tokio::select! {
                biased;
                permit = &mut waiting => return Ok(Some(permit)),
                () = sleep_until(next_edge(&look.scene), look.scene.clock(self.ctx)) => return Ok(None),
                () = &mut notified => {
                    notified.set(notifier.notified());
                    // A revocation for another declaration may have become part of this target's plan: it must not wait
                    // with the urgency of a grant.
                    match self.known(memory, None)? {
                        Some(again) if again.plan.change().is_some() && urgency_of(&again) >= urgency => {}
                        Some(_) | None => return Ok(None),
                    }
                }
            }
        }
    }

    async fn send(
        &self,
        permit: Permit,
        look: &Look,
        change: Change,
        cure: bool,
        memory: &mut Memory,
    ) -> Result<Sent, Error> {
        let (uid, granted) = granted(look);
        if !look.scene.acting.records_first {
            memory.granted.insert(uid.clone(), granted);
        }
        let carried_out = act::carry_out(self, permit, look.sighting.member.as_ref(), &change, cure).await;
        if carried_out.as_ref().is_err_and(|error| error.effect() == Effect::None) {
            memory.granted.remove(&uid);
        } else {
            // The change may be in force from now on.
            let gained = |role: &String| look.plan.gained().contains(role);
            memory.tentative.retain(|(_, role)| !gained(role));
            memory.unsent.retain(|(_, role)| !gained(role));
        }
        match carried_out {
            Ok(sent) => {
                memory.stalled = None;
                if sent == Sent::Confirmed {
                    reporting::changed(self.ctx, &look.scene, &look.plan, &self.reported);
                    act::wake_not_allowed(self.ctx, &look.scene, &look.plan);
                }
                Ok(sent)
            }
            Err(error) => {
                if act::learn(memory, &look.scene, &look.plan, &change, &error) {
                    return Ok(Sent::Learnt);
                }
                if error.retry() == Retry::Terminal && self.fall_back(memory, &error).await {
                    return Ok(Sent::Removed(error));
                }
                Err(error)
            }
        }
    }

    /// The parameters with which this pass requests a list.
    pub fn asker(&self, urgency: Urgency, spacing: Duration) -> Asker<'_> {
        Asker { quota: &self.resolved.connection.quota, urgency, namespace: self.namespace, spacing }
    }

    /// The provider's capabilities for this kind of subject.
    pub fn capabilities(&self) -> Capabilities {
        self.resolved.capabilities()
    }

    /// The subject's name in the acting object's spec, where the spec names it instead of giving an id.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Whether the declarations lead to the creation of a member, now or after they are recorded. Such a change may be
/// decided on an older list, because the provider refuses it if the member exists. What `Refuse` refuses is never
/// recorded.
fn creates(look: &Look) -> bool {
    let object = &look.scene.object;
    let refuses = object.spec.adoption_policy == AdoptionPolicy::Refuse;
    match look.plan.change() {
        Some(change) => matches!(change, Change::Create(_)),
        None => look.sighting.member.is_none() && !refuses && object.metadata.deletion_timestamp.is_none(),
    }
}

/// Whether two changes have the same result: the same roles with the same ends.
fn same(a: &Change, b: &Change) -> bool {
    let key = |change: &Change| {
        let mut key: Vec<_> = change.outcome().iter().map(|entry| (entry.role.clone(), entry.term.end())).collect();
        key.sort();
        key
    };
    key(a) == key(b)
}

/// The record of the acting object as it will be after its grants are carried out, with the object's uid.
fn granted(look: &Look) -> (String, Granted) {
    let Look { scene, sighting, .. } = look;
    let Reading { layer, renames, .. } = &scene.acting;
    let generation = scene.object.metadata.generation.unwrap_or_default();
    let record = renames.written(&layer.record_before(scene.now), entries(sighting.member.as_ref()));
    (layer.uid.clone(), Granted { generation, record })
}

/// The urgency of the planned change.
pub fn urgency_of(look: &Look) -> Urgency {
    look.plan.urgency(record::settled(&look.scene.object))
}

/// The next start or end in any layer.
fn next_edge(scene: &Scene) -> Option<Timestamp> {
    let layers = scene.layers();
    let terms: Vec<_> =
        layers.iter().flat_map(|l| l.grants.iter().map(|g| g.term).chain(l.managed.values().copied())).collect();
    crate::core::grants::next_edge(&terms, scene.now)
}

async fn sleep_until(edge: Option<Timestamp>, now: Timestamp) {
    match edge {
        None => std::future::pending().await,
        Some(edge) => tokio::time::sleep(Duration::try_from(edge.duration_since(now)).unwrap_or_default()).await,
    }
}
