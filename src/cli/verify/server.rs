//! The checked server: the real client under a real quota. Every call is measured.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::object::{Object, held};
use super::report::Timed;
use crate::api::SubjectKind;
use crate::api::membership::Drift;
use crate::api::provider::Limits;
use crate::controller::roster::{Asker, Roster, Rosters};
use crate::core::confirm::{Confirmation, confirmation};
use crate::core::member::{Capabilities, Change, Member, Project, Target};
use crate::provider::http::Endpoint;
use crate::provider::quota::{EndpointQuota, Kind, Permit, Quota, Urgency};
use crate::provider::{AnyProvider, Error, Listing, Provider, Receipt, Verified};

/// How long a write may stay unshown, as in the controller.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a write is repaired, if repairs are wanted.
const REPAIRS: u32 = 2;
/// The maximum number of rounds in which the member was changed meanwhile, or the server reports too many requests.
const ROUNDS: u32 = 4;
/// The namespace that the quota charges for the requests.
const NAMESPACE: &str = "verify-provider";

/// A server with the credential to check.
pub struct Server {
    provider: AnyProvider,
    quota: Quota,
    rosters: Rosters,
    times: RefCell<Vec<(Timed, Duration)>>,
    /// The roles that were sent for each subject, including refused ones: they may have to be removed.
    sent: RefCell<Vec<(Target, BTreeSet<String>)>>,
}

/// Why the result of a call is not the expected one.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The server refused, or did not respond.
    Provider(Error),
    /// The server accepted the write, and its list shows something else.
    Unshown {
        /// The write.
        change: Change,
        /// The row in the list.
        shown: Option<Member>,
    },
    /// In each round, another writer had changed the row meanwhile.
    Contested {
        /// The row in the list.
        shown: Option<Member>,
    },
}

/// The work that was needed until a target held what an object declares.
#[derive(Clone, Debug, Default)]
pub struct Converged {
    /// The number of writes.
    pub writes: u32,
    /// The differences in the beginning.
    pub drift: Vec<Drift>,
    /// The row in a list at the end.
    pub shown: Option<Member>,
    /// When a list first showed the last write.
    pub confirmed: Option<Timestamp>,
}

impl Server {
    /// A server to which nothing was sent yet, with the limits that the controller would use.
    pub fn new(provider: AnyProvider, endpoint: &Endpoint) -> Self {
        let quota = EndpointQuota::new(provider.one_writer());
        let quota = quota.quota(NAMESPACE.to_owned(), provider.limits(Limits::default(), endpoint));
        Self { provider, quota, rosters: Rosters::default(), times: RefCell::default(), sent: RefCell::default() }
    }

    /// The client.
    pub fn provider(&self) -> &AnyProvider {
        &self.provider
    }

    /// What the provider supports and requires for a target.
    pub fn capabilities(&self, target: &Target) -> Capabilities {
        self.provider.capabilities(target.subject_kind)
    }

    /// All measurements.
    pub fn times(&self) -> Vec<(Timed, Duration)> {
        self.times.borrow().clone()
    }

    /// Records a measurement.
    pub fn note(&self, timed: Timed, took: Duration) {
        self.times.borrow_mut().push((timed, took));
    }

    /// The roles that were sent for a target. `None`: nothing was sent.
    pub fn sent(&self, target: &Target) -> Option<BTreeSet<String>> {
        self.sent.borrow().iter().find(|(known, _)| known == target).map(|(_, roles)| roles.clone())
    }

    /// A permit for a request.
    pub async fn permit(&self) -> Permit {
        self.quota.permit(Kind::Read, Urgency::Resync, NAMESPACE).await
    }

    /// Signs in and detects the generation of the API.
    pub async fn verify(&self) -> Result<Verified, Error> {
        patiently(async || {
            let permit = self.permit().await;
            let began = Instant::now();
            let verified = self.provider.verify(&permit).await;
            self.note(Timed::SignIn, began.elapsed());
            verified
        })
        .await
    }

    /// The members of this kind in a project.
    pub async fn list(&self, project: &Project, kind: SubjectKind) -> Result<Listing, Error> {
        patiently(async || {
            let permit = self.permit().await;
            let began = Instant::now();
            let listing = self.provider.list(&permit, project, kind).await;
            self.note(Timed::List, began.elapsed());
            listing
        })
        .await
    }

    /// What a list that begins now shows of a target.
    pub async fn observe(&self, target: &Target) -> Result<Option<Member>, Error> {
        patiently(async || {
            let began = Instant::now();
            let asker =
                Asker { quota: &self.quota, urgency: Urgency::Resync, namespace: NAMESPACE, spacing: Duration::ZERO };
            let sighting = self.roster(target).observe(&self.provider, asker, &target.subject_id, Some(began)).await;
            self.note(Timed::List, began.elapsed());
            sighting.map(|sighting| sighting.member)
        })
        .await
    }

    fn roster(&self, target: &Target) -> Arc<Roster> {
        self.rosters.of(&target.project, target.subject_kind)
    }

    /// Sends a change. `Ok` means that the server accepted it, which is no proof.
    pub async fn write(&self, target: &Target, change: &Change, urgency: Urgency) -> Result<Receipt, Error> {
        self.remember(target, change.outcome().iter().map(|entry| entry.role.clone()));
        patiently(async || {
            let permit = self.quota.permit(Kind::Write, urgency, NAMESPACE).await;
            let began = Instant::now();
            let receipt = self.provider.apply(&permit, target, None, change).await;
            self.note(Timed::Write, began.elapsed());
            receipt
        })
        .await
    }

    /// The ids of the projects with a name.
    pub async fn find_project(&self, name: &str, organization_id: Option<&str>) -> Result<Vec<String>, Error> {
        patiently(async || self.provider.find_project(&self.permit().await, name, organization_id).await).await
    }

    /// The ids of the subjects with a name that could be members of the project.
    pub async fn find_subject(&self, project: &Project, kind: SubjectKind, name: &str) -> Result<Vec<String>, Error> {
        patiently(async || self.provider.find_subject(&self.permit().await, project, kind, name).await).await
    }

    /// Invites a user into the project by name, which sends the user an e-mail.
    pub async fn invite(&self, project: &Project, name: &str) -> Result<String, Error> {
        patiently(async || {
            let permit = self.quota.permit(Kind::Write, Urgency::Grant, NAMESPACE).await;
            let began = Instant::now();
            let invited = self.provider.invite(&permit, project, name).await;
            self.note(Timed::Write, began.elapsed());
            invited
        })
        .await
    }

    /// A subject was added by an invitation: the roles that this may leave behind may have to be removed.
    pub fn brought_in(&self, target: &Target) {
        self.remember(target, self.capabilities(target).left_by_an_invitation().map(str::to_owned));
    }

    fn remember(&self, target: &Target, roles: impl Iterator<Item = String>) {
        let mut sent = self.sent.borrow_mut();
        match sent.iter_mut().find(|(known, _)| known == target) {
            Some((_, known)) => known.extend(roles),
            None => sent.push((target.clone(), roles.collect())),
        }
    }

    /// Waits until a list that began after a write shows it. `cure`: a write that the server lost is repaired.
    pub async fn confirm(
        &self,
        target: &Target,
        change: &Change,
        mut receipt: Receipt,
        cure: bool,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        for repairs_left in (0..=if cure { REPAIRS } else { 0 }).rev() {
            let deadline = Instant::now() + DEADLINE;
            let mut pause = Duration::from_millis(20);
            let shown = loop {
                let shown = self.observe(target).await?;
                match confirmation(change, receipt, shown.as_ref(), self.capabilities(target)) {
                    Confirmation::Shown => {
                        self.note(Timed::Confirm, began.elapsed());
                        return Ok(());
                    }
                    Confirmation::Overtaken => return Err(Failure::Unshown { change: change.clone(), shown }),
                    Confirmation::NotYet if Instant::now() >= deadline => break shown,
                    Confirmation::NotYet => {}
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(500));
            };
            if repairs_left == 0 {
                return Err(Failure::Unshown { change: change.clone(), shown });
            }
            let permit = self.quota.permit(Kind::Write, Urgency::Revoke, NAMESPACE).await;
            receipt = self.provider.repair(&permit, target, None, change, shown.as_ref()).await?;
        }
        Ok(())
    }

    /// Makes the object's target hold what the object declares, until a list shows it.
    pub async fn converge(&self, object: &mut Object, cure: bool) -> Result<Converged, Failure> {
        let target = object.target().clone();
        let mut converged: Option<Converged> = None;
        let mut done: Option<Change> = None;
        for _ in 0..ROUNDS {
            let shown = self.observe(&target).await?;
            // A server may turn out to require more than was known.
            let capabilities = self.capabilities(&target);
            let plan = object.plan(shown.as_ref(), capabilities, Timestamp::now());
            let converged =
                converged.get_or_insert_with(|| Converged { drift: plan.drift().to_vec(), ..Default::default() });
            // A confirmed change is requested once more if a list is no proof.
            let Some(change) = plan.change().filter(|change| done.as_ref() != Some(change)) else {
                object.saw(shown.as_ref(), capabilities, Timestamp::now());
                return Ok(Converged { shown, ..converged.clone() });
            };
            match self.write(&target, change, plan.urgency(false)).await {
                Ok(receipt) => {
                    converged.writes += 1;
                    self.confirm(&target, change, receipt, cure).await?;
                    converged.confirmed = Some(Timestamp::now());
                    done = Some(change.clone());
                }
                Err(Error::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::Contested { shown: self.observe(&target).await? })
    }
}

/// Repeats a request if the server reports too many requests. The quota waits as long as the server asks.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ROUNDS {
        match ask().await {
            Err(Error::RateLimited { .. }) => {}
            done => return done,
        }
    }
    ask().await
}

impl Failure {
    /// Whether further requests to the server are pointless.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Provider(error) => {
                matches!(error, Error::Unreachable { .. } | Error::Unauthorized { .. } | Error::RateLimited { .. })
            }
            Self::Unshown { .. } | Self::Contested { .. } => false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Provider(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(error) => f.write_str(&said(error)),
            Self::Unshown { change, shown } => {
                let roles =
                    super::object::roles(change.outcome().iter().map(|entry| (entry.role.as_str(), entry.term)));
                let written = if *change == Change::Remove { "a removal".to_owned() } else { roles };
                let shown = held(shown.as_ref());
                write!(
                    f,
                    "a yes to {written}, and a list that shows {shown} (waited for {} s at most)",
                    DEADLINE.as_secs()
                )
            }
            Self::Contested { shown } => {
                write!(f, "each time something that was written meanwhile, at last {}", held(shown.as_ref()))
            }
        }
    }
}

/// A description of an error with its reason.
pub fn said(error: &Error) -> String {
    format!("{:?}: {error}", error.reason())
}
