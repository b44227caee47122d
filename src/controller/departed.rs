//! Objects that went without our leave: somebody took our finalizer off, and what they granted is still at the provider.
//!
//! Such an object is kept as it was last seen, being deleted and with our finalizer, under a name that no object can have,
//! and takes the road of any other to its end: what it says is kept here instead of at the API server. A new object under
//! its old name is another one beside it. All of it is lost with the process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;

use super::connections::ProviderKey;
use super::context::Context;
use super::outcome::Stop;
use super::resolve::is_finalized;
use super::{in_use, reconcile, replaced, reporting, write};
use crate::api::event::Happening;
use crate::api::membership::{ProjectMembershipStatus, ProviderKind};
use crate::api::{DeletionPolicy, FINALIZER, ProjectMembership};

/// Stands between an object's name and its uid, and in no name.
const MARK: char = '/';
/// How soon a departed object is looked at again, at first.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The same after many looks. Nobody wakes it when its provider is back.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// No write takes longer: whoever was being brought in is found by then.
const LONGEST_WRITE: Duration = Duration::from_secs(35);

/// The departed objects, and whose finalizers are ours to miss.
#[derive(Debug, Default)]
pub struct Departed {
    state: Mutex<State>,
    found: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Objects that were seen with our finalizer, by uid.
    holds: HashMap<String, Hold>,
    /// What was held before a list that is under way.
    before: Vec<Arc<ProjectMembership>>,
    /// Objects that seem to have departed, as last seen, and nobody has looked after yet.
    waiting: Vec<Arc<ProjectMembership>>,
    /// The same as they are kept, until their end.
    objects: HashMap<ObjectRef<ProjectMembership>, Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Our finalizer is to be there.
    Ours,
    /// We have taken it off, or are about to.
    LetGo,
}

#[derive(Debug)]
struct Kept {
    object: Arc<ProjectMembership>,
    wake: Arc<Notify>,
}

/// Takes in what the watch shows. Must hear of an event before what we wrote of its object is forgotten.
///
/// Before this replica acts it only learns what is held: whoever led until then has taken finalizers off as well.
pub fn saw(ctx: &Context, event: &Event<ProjectMembership>) {
    let acts = ctx.begun.is_ready();
    let mut state = ctx.departed.lock();
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            ctx.written.saw(object, !acts);
            let uid = object.uid().unwrap_or_default();
            if is_finalized(object) {
                state.holds.entry(uid).or_insert(Hold::Ours);
            } else if object.metadata.deletion_timestamp.is_some() && state.misses(&uid) && acts {
                // Others' finalizers keep it for a while.
                state.holds.insert(uid, Hold::LetGo);
                state.found(ctx, Arc::new(object.clone()));
            }
        }
        Event::Delete(object) => {
            let held = state.holds.remove(&object.uid().unwrap_or_default());
            if held == Some(Hold::Ours) && acts {
                state.found(ctx, Arc::new(object.clone()));
            }
        }
        // The store still shows what was there before.
        Event::Init if acts => {
            let held = ctx.memberships.state_filter(|object| object.uid().is_some_and(|uid| state.misses(&uid)));
            state.before = held;
        }
        Event::Init => {}
        // What was deleted while the watch was broken off is told by nobody.
        Event::InitDone => {
            for object in std::mem::take(&mut state.before) {
                let there = ctx.memberships.get(&write::reference(&object));
                let uid = object.uid().unwrap_or_default();
                if there.is_none_or(|there| there.uid() != object.uid()) && state.misses(&uid) {
                    state.holds.remove(&uid);
                    state.found(ctx, ctx.written.newer(object));
                }
            }
        }
    }
    if !state.waiting.is_empty() {
        ctx.departed.found.notify_one();
    }
}

impl State {
    fn misses(&self, uid: &str) -> bool {
        self.holds.get(uid) == Some(&Hold::Ours)
    }

    fn found(&mut self, ctx: &Context, object: Arc<ProjectMembership>) {
        self.keep(ctx, &object, as_kept(&object, ctx.now()));
        self.waiting.push(object);
    }

    fn keep(&mut self, ctx: &Context, object: &ProjectMembership, mut kept: ProjectMembership) {
        if object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider
            && let Some(status) = &mut kept.status
        {
            let record = ctx.written.record(object).into_iter();
            status.managed_roles = record.filter(|managed| ctx.written.knows(object, &managed.role)).collect();
        }
        let kept = Arc::new(kept);
        self.objects.insert(write::reference(&kept), Kept { object: kept, wake: Arc::default() });
    }
}

impl Departed {
    /// Our finalizer is on this object.
    pub fn holds(&self, uid: &str) {
        self.lock().holds.entry(uid.to_owned()).or_insert(Hold::Ours);
    }

    /// We are about to take our finalizer off: that the object goes then is as it should be.
    pub fn lets_go(&self, uid: &str) {
        if let Some(hold) = self.lock().holds.get_mut(uid) {
            *hold = Hold::LetGo;
        }
    }

    /// Taking it off has failed.
    pub fn holds_on(&self, uid: &str) {
        if let Some(hold) = self.lock().holds.get_mut(uid) {
            *hold = Hold::Ours;
        }
    }

    /// Forgets what was held of objects that are gone. `there`: as for [`super::context::Written::forget_missing`].
    pub fn forget_missing(&self, there: impl FnOnce() -> Option<HashSet<String>>) {
        let mut state = self.lock();
        if !state.holds.is_empty()
            && let Some(there) = there()
        {
            state.holds.retain(|uid, _| there.contains(uid));
        }
    }

    /// Of how many objects a finalizer is remembered.
    pub fn held(&self) -> usize {
        self.lock().holds.len()
    }

    /// Whether somebody took our finalizer off an object that isn't being deleted.
    pub fn is_stripped(&self, object: &ProjectMembership) -> bool {
        let lives = object.metadata.deletion_timestamp.is_none() && !is_finalized(object);
        lives && object.uid().is_some_and(|uid| self.lock().misses(&uid))
    }

    /// A departed object.
    pub fn get(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        self.lock().objects.get(reference).map(|kept| kept.object.clone())
    }

    /// Asks for a pass over a departed object. `false`: it is none.
    pub fn wake(&self, reference: &ObjectRef<ProjectMembership>) -> bool {
        let state = self.lock();
        let kept = state.objects.get(reference);
        kept.inspect(|kept| kept.wake.notify_one()).is_some()
    }

    /// A departed object says something new. `None`: the object is none.
    pub fn says(&self, object: &ProjectMembership, status: &ProjectMembershipStatus) -> Option<Arc<ProjectMembership>> {
        let mut state = self.lock();
        let kept = state.objects.get_mut(&write::reference(object))?;
        kept.object = Arc::new(ProjectMembership { status: Some(status.clone()), ..(*kept.object).clone() });
        Some(kept.object.clone())
    }

    /// A departed object has come to its end. `false`: the object is none.
    pub fn ends(&self, object: &ProjectMembership) -> bool {
        self.lock().objects.remove(&write::reference(object)).is_some()
    }

    /// Those that name a provider object: it has to outlive them.
    pub fn of_provider(&self, key: &ProviderKey) -> Vec<Arc<ProjectMembership>> {
        let state = self.lock();
        let objects = state.objects.values().map(|kept| kept.object.clone());
        objects.filter(|object| ProviderKey::named_by(object) == *key).collect()
    }

    /// The uids of those that are kept.
    pub fn uids(&self) -> Vec<String> {
        self.lock().objects.values().filter_map(|kept| kept.object.uid()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a copy of an object for what it holds at the endpoint of a former provider object: it is revoked as that of an object
/// that is being deleted, while the object itself goes on with the new one.
pub fn leave_behind(ctx: &Context, object: &ProjectMembership, endpoint: &str) {
    let mut kept = as_kept(object, ctx.now());
    if object.metadata.deletion_timestamp.is_none() {
        // The policy is for whoever deletes the object.
        kept.spec.deletion_policy = DeletionPolicy::Delete;
    }
    let uid = format!("{}{MARK}{endpoint}", object.uid().unwrap_or_default());
    kept.metadata.name = Some(format!("{}{MARK}{uid}", object.name_any()));
    kept.metadata.uid = Some(uid);
    let mut state = ctx.departed.lock();
    state.keep(ctx, object, kept.clone());
    state.waiting.push(Arc::new(kept));
    ctx.departed.found.notify_one();
}

/// The endpoint that a copy of an object was left behind for; `None`: the object is none.
pub fn left_at(object: &ProjectMembership) -> Option<String> {
    object.metadata.name.as_deref()?.splitn(3, MARK).nth(2).map(str::to_owned)
}

/// The uid that a departed object had.
pub fn uid_of(uid: &str) -> &str {
    uid.split_once(MARK).map_or(uid, |(uid, _)| uid)
}

/// Whether an object of this name is a departed one.
pub fn is_one(name: &str) -> bool {
    name.contains(MARK)
}

/// The name that a departed object had.
pub fn name_of(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(name, _)| name)
}

/// Puts our finalizer back on an object that somebody took it off.
pub async fn put_back(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<Arc<ProjectMembership>, Stop> {
    tell(ctx, object, "somebody took the finalizer membership.dev/revoke off: it is put back");
    let provider = ctx.providers.find(&ProviderKey::named_by(object));
    let provider = provider.as_ref().and_then(|named| named.uid()).map_or("", String::as_str);
    match in_use::hold(ctx, object, provider).await {
        // Also where its provider object is gone.
        Err(Stop::Overtaken) => Ok(write::add_finalizer(ctx, object).await?),
        held => held,
    }
}

fn tell(ctx: &Context, object: &ProjectMembership, message: &str) {
    tracing::warn!(namespace = object.namespace(), name = object.name_any(), "{message}");
    ctx.events.tell(object, Happening::Failed, &[message.to_owned()], None);
}

/// Carries departed objects to their ends, until `stopped`: then what is under way is finished.
pub async fn run(ctx: Arc<Context>, stopped: impl Future<Output = ()> + Clone) {
    let mut under_way = FuturesUnordered::new();
    let mut stop = std::pin::pin!(stopped.clone());
    loop {
        let waiting = std::mem::take(&mut ctx.departed.lock().waiting);
        under_way.extend(waiting.into_iter().map(|object| to_its_end(&ctx, object, stopped.clone())));
        tokio::select! {
            () = &mut stop => break,
            () = ctx.departed.found.notified() => {}
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn to_its_end(ctx: &Arc<Context>, object: Arc<ProjectMembership>, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped.fuse());
    let left_behind = left_at(&object).is_some();
    let reference =
        if left_behind { write::reference(&object) } else { write::reference(&as_kept(&object, ctx.now())) };
    let Some((kept, wake)) = ctx.departed.lock().objects.get(&reference).map(|k| (k.object.clone(), k.wake.clone()))
    else {
        return;
    };
    let went = async {
        while !left_behind && !has_departed(ctx, &object).await? {
            tokio::time::sleep(FIRST_WAIT).await;
        }
        Some(())
    };
    tokio::select! {
        went = went => if went.is_none() {
            ctx.departed.ends(&kept);
            return;
        },
        () = &mut stopped => return,
    }
    if !left_behind {
        let message = "deleted after somebody took the finalizer membership.dev/revoke off: what it granted is revoked";
        tell(ctx, &object, message);
    }
    let object = kept;
    ctx.targets.saw(&object).iter().for_each(|other| ctx.wake(other));
    let mut wait = FIRST_WAIT;
    let named = object.spec.project.name.is_some() || object.spec.subject.name.is_some();
    if named && object.status.as_ref().is_none_or(|status| status.target.is_none()) {
        tokio::select! {
            () = tokio::time::sleep(LONGEST_WRITE) => {}
            () = &mut stopped => return,
        }
    }
    loop {
        // It has no API server to fail; when to look again is decided here.
        let _ = reconcile::reconcile(object.clone(), ctx.clone()).await;
        if ctx.departed.get(&reference).is_none() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            () = wake.notified() => {}
            () = &mut stopped => return,
        }
    }
    ctx.targets.lost(&object).iter().for_each(|other| ctx.wake(other));
    ctx.providers.wake_leaving(Some(&ProviderKey::named_by(&object)));
    replaced::forget_unneeded(ctx);
    tracing::info!(namespace = object.namespace(), name = object.name_any(), "nothing of it is left to revoke");
}

/// Whether the object is gone, or going without our finalizer, by the API server's own word: a list may be stale, and an
/// object that can't be read any more is missing from it as well. `None`: it is there, and nothing is to be revoked.
/// `false`: the API server doesn't answer.
async fn has_departed(ctx: &Context, object: &ProjectMembership) -> Option<bool> {
    ctx.outage.is_over().await;
    let named = ListParams::default().fields(&format!("metadata.name={}", object.name_any()));
    match write::api(ctx, object).list(&named).await {
        Err(error) => {
            reporting::fault(ctx, object, &error);
            Some(false)
        }
        Ok(list) => match list.items.into_iter().find(|there| there.meta().uid == object.metadata.uid) {
            None => Some(true),
            Some(there) => {
                let ours = there.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
                (there.meta().deletion_timestamp.is_some() && !ours).then_some(true)
            }
        },
    }
}

/// The object as one that is being deleted and that we hold.
fn as_kept(object: &ProjectMembership, now: Timestamp) -> ProjectMembership {
    let mut kept = object.clone();
    let uid = object.uid().unwrap_or_default();
    kept.metadata.name = Some(format!("{}{MARK}{uid}", object.name_any()));
    if !is_finalized(object) {
        kept.finalizers_mut().push(FINALIZER.to_owned());
    }
    if object.metadata.deletion_timestamp.is_none() {
        // Asking for the end of an object that is held raises its generation.
        kept.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
        kept.metadata.deletion_timestamp = Some(Time(now));
    }
    kept
}
