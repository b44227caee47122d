//! One pass's work at the provider: observe → plan → write down → permit → plan again → act → confirm, until nothing
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

/// Rounds in which somebody else undid what was written before it was confirmed; then the target is contested.
const ROUNDS: u32 = 3;
/// A list that a write relies on began after the write was planned, and is no older than this when it is sent.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// How long after one list of a project the next may begin for the sake of declarations that came since.
const DECISION_SPACING: Duration = Duration::from_secs(1);
/// How long after one list of a project the next may begin when it only confirms writes.
pub const CONFIRM_SPACING: Duration = Duration::from_millis(250);

/// A pass over one target on behalf of one object.
pub struct Pass<'a> {
    /// The context.
    pub ctx: &'a Context,
    /// The acting object.
    pub reference: &'a ObjectRef<ProjectMembership>,
    /// Its provider and target.
    pub resolved: &'a Resolved,
    /// The namespace that is charged.
    pub namespace: &'a str,
    /// How urgent it is to look.
    pub urgency: Urgency,
    /// What the object calls its subject, where it names it.
    pub name: Option<String>,
    /// The roles that the object's status reported in force when the pass began.
    pub reported: BTreeMap<String, Term>,
}

/// What one look came to.
pub struct Look {
    /// The objects on the target.
    pub scene: Scene,
    /// The provider's row.
    pub sighting: Sighting,
    /// What differs.
    pub plan: Plan,
    /// The change only repairs drift: every declaration was carried out before, and nothing of ours ends or is revoked.
    pub repairs_drift: bool,
}

impl Pass<'_> {
    /// Brings the target to what its layers come to. `not_before`: how old an observation may be.
    pub async fn converge(&self, memory: &mut Memory, not_before: Option<Instant>) -> Result<Outcome, Stop> {
        let asked_since = not_before;
        // A list that was asked for and failed is still asked for: an older one is no answer.
        let mut not_before = not_before.max(memory.unanswered);
        let mut spacing = Duration::ZERO;
        let mut round = 0;
        let mut done: Option<Change> = None;
        // A change that met another member than the list shows.
        let mut missed: Option<Change> = None;
        // Since when a change was planned that carries others' entries on the word of a list.
        let mut planned: Option<Instant> = None;
        // Since when a response has been asked for that shows the provider's clock.
        let mut clock_asked: Option<Instant> = None;
        loop {
            let object = self.resolved.object(self.ctx, self.reference).ok_or(Stop::Gone)?;
            let object = record::after_an_edit(self.ctx, object, memory).await?;
            let knock = self.ctx.targets.knock(&object);
            let knocked = knock.notified();
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
            // A declaration is decided on a list that began after it came.
            if look.sighting.as_of < undecided.unwrap_or(look.sighting.as_of) && !creates(&look) {
                // Many that come together are decided on few lists.
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
                // What was written down is read again: only what the object says counts.
                continue;
            }
            if look.plan.change().is_none_or(|change| done.as_ref().is_some_and(|done| same(done, change))) {
                // What was asked for because a list isn't proof has been answered.
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
            let Some(permit) = self.permit(memory, &look, &knock, knocked).await? else {
                continue;
            };
            // Permit, then plan: what was decided before waiting may be over by now. Nothing is asked under the permit:
            // a list needs one of its own, and those who wait for it may hold all there are.
            let Some(look) = self.known(memory, not_before)? else {
                permit.unused();
                continue;
            };
            if needs_clock(memory, &look, clock_asked) {
                // The wait for the permit was longer than a response is good for.
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
            // Met twice, with a list in between that shows the row all the same: a removal was lost before.
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
                // Each time another role, so that this has an end. It may have been renamed since the list.
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

    /// Observes, reads the objects anew and plans. The outer error ends the pass, the inner one is the provider's.
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

    /// Since when the latest of the declarations that are not carried out yet has been known; `None`: there is none.
    fn undecided_since(&self, memory: &mut Memory) -> Option<Instant> {
        let undecided =
            self.kin().filter(|object| object.metadata.deletion_timestamp.is_none() && !record::settled(object));
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

    /// Observes, as urgently as the target's objects ask for by now: an end that comes due while this waits for a budget,
    /// or a deletion, doesn't wait as the look for whose sake it began.
    async fn observe(&self, not_before: Option<Instant>, spacing: Duration) -> Result<Sighting, Error> {
        let (roster, subject) = (self.roster(), &self.resolved.target.subject_id);
        let provider = &self.resolved.connection.provider;
        let knock = self.resolved.object(self.ctx, self.reference).map(|object| self.ctx.targets.knock(&object));
        let mut urgency = self.urgency;
        loop {
            let mut observing = pin!(roster.observe(provider, self.asker(urgency, spacing), subject, not_before));
            loop {
                let knocked = async {
                    match &knock {
                        Some(knock) => knock.notified().await,
                        None => std::future::pending().await,
                    }
                };
                let now = self.ctx.now();
                tokio::select! {
                    biased;
                    sighting = &mut observing => return sighting,
                    () = sleep_until(self.next_end(now), now) => {}
                    () = knocked => {}
                }
                let most_urgent = self.most_urgent();
                if most_urgent < urgency {
                    urgency = most_urgent;
                    break;
                }
            }
        }
    }

    /// The objects on the target.
    pub fn kin(&self) -> impl Iterator<Item = Arc<ProjectMembership>> {
        let object = self.resolved.object(self.ctx, self.reference);
        let kin = object.map_or_else(Vec::new, |object| self.ctx.targets.kin(&object));
        kin.into_iter().filter_map(|kin| self.ctx.latest(&kin))
    }

    /// How urgent it is to look at the target: as urgent as for any of its objects.
    fn most_urgent(&self) -> Urgency {
        let now = self.ctx.now();
        self.kin().map(|object| urgency(&object, now)).min().unwrap_or(self.urgency)
    }

    /// The next end of what is written down of the target.
    fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.kin().flat_map(|object| record_of(&object, now)).filter_map(|role| role.expiration_time);
        ends.filter(|end| *end > now).min()
    }

    /// As [`Pass::look`], on what is known already; `None`: that isn't enough.
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

    /// Waits for the provider's budget. `None`: something changed meanwhile, so that the plan must be made anew.
    async fn permit(
        &self,
        memory: &Memory,
        look: &Look,
        knock: &Notify,
        knocked: Notified<'_>,
    ) -> Result<Option<Permit>, Stop> {
        let urgency = urgency_of(look);
        let mut waiting = pin!(self.resolved.connection.quota.permit(Kind::Write, urgency, self.namespace));
        let mut knocked = pin!(knocked);
        loop {
            tokio::select! {
                biased;
                permit = &mut waiting => return Ok(Some(permit)),
                () = sleep_until(next_edge(&look.scene), look.scene.clock(self.ctx)) => return Ok(None),
                () = &mut knocked => {
                    knocked.set(knock.notified());
                    // Somebody's revocation may have become part of this target's plan: it doesn't wait as a grant.
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
            // It may be in force from now on.
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

    /// Who asks for a list.
    pub fn asker(&self, urgency: Urgency, spacing: Duration) -> Asker<'_> {
        Asker { quota: &self.resolved.connection.quota, urgency, namespace: self.namespace, spacing }
    }

    /// What the provider can and needs for this kind of subject.
    pub fn capabilities(&self) -> Capabilities {
        self.resolved.capabilities()
    }

    /// What the acting object calls its subject, where it names it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Whether what is declared comes to the creation of a member, now or once it is written down: the provider refuses that
/// where the member is there, so that it may be decided on an older list. What `Refuse` refuses is never written down.
fn creates(look: &Look) -> bool {
    let object = &look.scene.object;
    let refuses = object.spec.adoption_policy == AdoptionPolicy::Refuse;
    match look.plan.change() {
        Some(change) => matches!(change, Change::Create(_)),
        None => look.sighting.member.is_none() && !refuses && object.metadata.deletion_timestamp.is_none(),
    }
}

/// Whether two changes leave the same behind.
fn same(a: &Change, b: &Change) -> bool {
    let key = |change: &Change| {
        let mut key: Vec<_> = change.outcome().iter().map(|entry| (entry.role.clone(), entry.term.end())).collect();
        key.sort();
        key
    };
    key(a) == key(b)
}

/// What the acting object manages once its grants are carried out.
fn granted(look: &Look) -> (String, Granted) {
    let Look { scene, sighting, .. } = look;
    let Reading { layer, renames, .. } = &scene.acting;
    let generation = scene.object.metadata.generation.unwrap_or_default();
    let record = renames.written(&layer.record_before(scene.now), entries(sighting.member.as_ref()));
    (layer.uid.clone(), Granted { generation, record })
}

/// How urgent what a look came to is.
pub fn urgency_of(look: &Look) -> Urgency {
    look.plan.urgency(record::settled(&look.scene.object))
}

/// The next start or end of any layer.
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
