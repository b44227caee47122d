//! The shared observation of a project's members: one list serves all memberships of the project.
//!
//! A roster is keyed by connection and project, so that nothing that one credential may see is exposed through another.
//! It is listed when a pass needs a newer observation, and concurrent passes wait for one request. A write updates its
//! row in place, and a list that began before the write ended does not replace that row.

mod waits;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use waits::Waits;
pub use waits::{Follower, Requester, Wait};

use crate::api::SubjectKind;
use crate::core::error::Effect;
use crate::core::member::{Member, Project};
use crate::core::precedence::Evidence;
use crate::core::snapshot::Observation;
use crate::core::step::Spacing;
use crate::provider::quota::{Permit, Quota, RequestKind};
use crate::provider::{Error, Listing, Provider, Urgency};
use crate::telemetry::liveness::waiting;

/// How soon after a failed list the next one may begin: earlier requests get the same error.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A list that begins within this time follows the last one closely: twice the longest time between lists that confirm.
const CLOSE: Duration = Duration::from_secs(4);

/// The caller that requests a list, and how urgently.
#[derive(Clone, Copy)]
pub struct ListCaller<'a> {
    /// The provider's quota.
    pub quota: &'a Quota,
    /// The urgency of the list request.
    pub urgency: Urgency,
    /// The namespace to which the request is charged.
    pub namespace: &'a str,
    /// How long after the last list began the next one may begin, so that one list confirms many writes.
    pub spacing: Spacing,
}

/// The members of one kind of one project.
pub struct Roster {
    project: Project,
    kind: SubjectKind,
    state: Mutex<State>,
    /// One lock for each urgency, held while a list of that urgency waits for a permit or is in progress: a more urgent
    /// request does not wait for a less urgent one.
    listing: [tokio::sync::Mutex<()>; Urgency::LEVELS],
    /// The targets that wait for lists.
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct State {
    rows: HashMap<String, Member>,
    listed: Option<LastList>,
    failed: Option<(Instant, Error)>,
    /// The results of the operator's own writes, until a list that began after them shows them.
    written: HashMap<String, OwnWrite>,
    /// Subjects for which the response to a write was lost: only a list that began after this time shows the result.
    doubts: HashMap<String, Instant>,
    /// The last write was refused for lack of permissions.
    write_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct LastList {
    began: Instant,
    partial: bool,
    /// How many lists before it followed each other closely.
    in_a_row: u32,
}

#[derive(Clone, Debug)]
struct OwnWrite {
    member: Option<Member>,
    ended: Instant,
}

impl Roster {
    /// A roster that has not been listed.
    pub fn new(project: Project, kind: SubjectKind) -> Self {
        Self { project, kind, state: Mutex::default(), listing: Default::default(), waits: Mutex::default() }
    }

    /// When the list that it contains began; `None`: it has not been listed.
    pub fn began(&self) -> Option<Instant> {
        self.state.lock().listed.map(|listed| listed.began)
    }

    /// When the next list may begin; `None`: there was none.
    fn next(&self, spacing: Spacing) -> Option<Instant> {
        self.state.lock().listed.map(|listed| listed.began + spacing.after(listed.in_a_row))
    }

    /// What its requests have shown about the credential's permissions. A transient failure shows nothing.
    pub fn evidence(&self) -> Evidence {
        let state = self.state.lock();
        let passes = |error: &Error| matches!(error, Error::Unreachable { .. } | Error::RateLimited { .. });
        match (&state.failed, state.listed) {
            _ if state.write_refused => Evidence::Unable,
            (Some((_, error)), _) if !passes(error) => Evidence::Unable,
            (_, Some(_)) => Evidence::Able,
            (_, None) => Evidence::None,
        }
    }

    /// Records the response to a write to the project. An error that is unrelated to the credential's permissions
    /// changes nothing.
    pub fn write_answered(&self, error: Option<&Error>) {
        if error.is_none_or(Error::lacks_rights) {
            self.state.lock().write_refused = error.is_some();
        }
    }

    /// Returns the observation of `subject_id` by a list that began no earlier than `not_before`, or by a later write
    /// of the operator, and requests that list if it is needed.
    ///
    /// # Errors
    /// The provider's errors; and [`Error::Unreachable`] if the list is partial and lacks this subject, since a subject
    /// that a partial list lacks is not known to be absent.
    pub async fn observe(
        &self,
        provider: &dyn Provider,
        asker: ListCaller<'_>,
        subject_id: &str,
        not_before: Option<Instant>,
    ) -> Result<Observation, Error> {
        let asked = Instant::now();
        loop {
            if let Some(observation) = self.observation_since(subject_id, not_before) {
                return observation;
            }
            if let Some(next) = self.next(asker.spacing) {
                tokio::time::sleep_until(next).await;
            }
            let _one = waiting(self.listing[asker.urgency.level()].lock()).await;
            if let Some(observation) = self.observation_since(subject_id, not_before) {
                return observation;
            }
            if let Some(error) = self.recent_failure(asked) {
                return Err(error);
            }
            if self.next(asker.spacing).is_some_and(|next| Instant::now() < next) {
                // Another list began while this request waited for the lock.
                continue;
            }
            // On the heap: many wait for the lock, and few of them go on to a permit and a list.
            let permit = Box::pin(asker.quota.permit(RequestKind::Read, asker.urgency, asker.namespace)).await;
            // A more urgent list may have begun and ended before this request got its permit.
            if self.observation_since(subject_id, not_before).is_some() {
                continue;
            }
            Box::pin(self.list(provider, &permit)).await?;
        }
    }

    /// What is known of `subject_id` as of `not_before`; `None`: nothing recent enough.
    pub fn observation_since(
        &self,
        subject_id: &str,
        not_before: Option<Instant>,
    ) -> Option<Result<Observation, Error>> {
        let state = self.state.lock();
        let listed = state.listed?;
        let doubt = state.doubts.get(subject_id).copied();
        if listed.began < not_before.unwrap_or(listed.began) || doubt.is_some_and(|doubt| listed.began < doubt) {
            return None;
        }
        if let Some(written) = state.written.get(subject_id) {
            return Some(Ok(Observation {
                member: written.member.clone(),
                as_of: written.ended.into_std(),
                listed: listed.began.into_std(),
            }));
        }
        let member = state.rows.get(subject_id).cloned();
        if member.is_none() && listed.partial {
            return Some(Err(Error::Unreachable {
                message: format!(
                    "the list of members of project {} is incomplete, so that the roles of {subject_id} are unknown; trying again",
                    self.project.id
                ),
                effect: Effect::None,
            }));
        }
        let began = listed.began.into_std();
        Some(Ok(Observation { member, as_of: began, listed: began }))
    }

    /// The last observation of `subject_id`, regardless of its age; `None`: there is none.
    pub fn observation(&self, subject_id: &str) -> Option<Observation> {
        self.observation_since(subject_id, None)?.ok()
    }

    async fn list(&self, provider: &dyn Provider, permit: &Permit) -> Result<(), Error> {
        let began = Instant::now();
        let listing = provider.list(permit, &self.project, self.kind).await;
        let mut state = self.state.lock();
        match listing {
            Ok(listing) => {
                state.take(listing, began);
                Ok(())
            }
            Err(error) => {
                state.failed = Some((began, error.clone()));
                Err(error)
            }
        }
    }

    /// The outcome, for one that has waited since `asked`, of the request of another target; `None`: that request does not
    /// concern it.
    pub fn outcome(&self, subject_id: &str, not_before: Instant, asked: Instant) -> Option<Result<(), Error>> {
        let observed = self.observation_since(subject_id, Some(not_before)).map(|observed| observed.map(drop));
        observed.or_else(|| self.recent_failure(asked).map(Err))
    }

    /// The error of a list that began after `asked` or within the last [`AFTER_FAILURE`].
    fn recent_failure(&self, asked: Instant) -> Option<Error> {
        let state = self.state.lock();
        let (began, error) = state.failed.as_ref()?;
        (*began >= asked || began.elapsed() < AFTER_FAILURE).then(|| error.clone())
    }

    /// Records the row that results from a write that the provider reported as carried out.
    pub fn wrote(&self, subject_id: &str, member: Option<Member>) {
        let mut state = self.state.lock();
        state.doubts.remove(subject_id);
        state.written.insert(subject_id.to_owned(), OwnWrite { member, ended: Instant::now() });
    }

    /// Records that the effect of a write is unknown: the observation of this subject is stale from now on.
    pub fn doubt(&self, subject_id: &str) {
        let mut state = self.state.lock();
        state.written.remove(subject_id);
        state.doubts.insert(subject_id.to_owned(), Instant::now());
    }
}

impl State {
    fn take(&mut self, listing: Listing, began: Instant) {
        if self.listed.is_some_and(|known| known.began > began) {
            return;
        }
        self.rows = listing.members.into_iter().map(|member| (member.subject_id.clone(), member)).collect();
        let last = self.listed.filter(|last| began < last.began + CLOSE);
        let in_a_row = last.map_or(0, |last| last.in_a_row.saturating_add(1));
        self.listed = Some(LastList { began, partial: listing.partial, in_a_row });
        self.failed = None;
        self.written.retain(|_, written| written.ended > began);
        self.doubts.retain(|_, doubt| *doubt > began);
    }
}

/// The rosters of one connection.
#[derive(Default)]
pub struct Rosters(Mutex<HashMap<(Project, SubjectKind), Arc<Roster>>>);

impl Rosters {
    /// The roster of a project's members of one kind.
    pub fn of(&self, project: &Project, kind: SubjectKind) -> Arc<Roster> {
        let mut rosters = self.0.lock();
        let new = || Arc::new(Roster::new(project.clone(), kind));
        rosters.entry((project.clone(), kind)).or_insert_with(new).clone()
    }

    /// What requests about a project's members of one kind have shown about the credential's permissions.
    pub fn evidence(&self, project: &Project, kind: SubjectKind) -> Evidence {
        let rosters = self.0.lock();
        rosters.get(&(project.clone(), kind)).map_or(Evidence::None, |roster| roster.evidence())
    }

    /// Drops the projects that are no longer `needed`. A roster that a pass is reading is kept.
    pub fn forget_unneeded(&self, needed: impl Fn(&Project, SubjectKind) -> bool) {
        let mut rosters = self.0.lock();
        rosters.retain(|(project, kind), roster| Arc::strong_count(roster) > 1 || needed(project, *kind));
    }

    /// The number of rosters.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are no rosters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
