//! The driver: it carries out what the operator decides ([`step::next_step`]) for a membership in memory, at a real
//! server, under a real quota.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::membership::{InMemoryMembership, NAME, expect, held, shown};
use super::report::{MeasuredRequest, Times, UnexpectedResult};
use crate::api::SubjectKind;
use crate::api::membership::Drift;
use crate::api::provider::Limits;
use crate::controller::apply::carry_out;
use crate::controller::names::{NotUnique, one_project, one_subject};
use crate::controller::roster::{ListCaller, Rosters};
use crate::core::clocks;
use crate::core::late_writes::LateWrites;
use crate::core::member::{Change, Member, Project, Target};
use crate::core::memory::Memory;
use crate::core::policy::resync::Resync;
use crate::core::report::reports;
use crate::core::snapshot::{ProviderView, Snapshot};
use crate::core::step::{self, Observe, Spacing, Step};
use crate::core::write::{PlannedWrite, WritePurpose};
use crate::provider::http::Endpoint;
use crate::provider::quota::{EndpointQuota, Permit, Quota, RequestKind, Urgency};
use crate::provider::{AnyProvider, Error, Listing};

/// How often a request is sent at most while the server reports too many requests. The quota waits in between.
const ATTEMPTS: u32 = 4;
/// How long drift may remain: irrelevant here, because nothing is decided on an earlier list.
const RESYNC: Duration = Duration::from_secs(600);

/// A server, with the credential to check.
pub struct Driver {
    /// The client.
    pub provider: AnyProvider,
    endpoint: String,
    quota: Quota,
    rosters: Rosters,
    /// All measurements.
    pub times: RefCell<Times>,
    /// The number of writes that were sent, with any result.
    pub writes: Cell<u32>,
}

/// The operations until the provider held what a membership declares.
#[derive(Clone, Debug, Default)]
pub struct Converged {
    /// The number of writes.
    pub writes: u32,
    /// The drift that was repaired.
    pub drift: Vec<Drift>,
    /// The row in the last list.
    pub shown: Option<Member>,
    /// When a list first showed the last write.
    pub confirmed: Option<Timestamp>,
}

impl Driver {
    /// A server to which nothing was sent yet, with the limits that the operator would use.
    pub fn new(provider: AnyProvider, endpoint: &Endpoint) -> Self {
        let limits = provider.limits(Limits::default(), endpoint);
        Self {
            endpoint: endpoint.as_str().to_owned(),
            quota: EndpointQuota::new(provider.one_writer()).quota(NAME.to_owned(), limits),
            provider,
            rosters: Rosters::default(),
            times: RefCell::default(),
            writes: Cell::default(),
        }
    }

    /// Records a measurement.
    pub fn note(&self, measured: MeasuredRequest, took: Duration) {
        self.times.borrow_mut().entry(measured).or_default().push(took);
    }

    async fn timed<T>(&self, measured: MeasuredRequest, request: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let answer = request.await;
        self.note(measured, began.elapsed());
        answer
    }

    /// Sends one request, under a permit. `measured`: what is measured, if anything.
    pub async fn request<T>(
        &self,
        measured: Option<MeasuredRequest>,
        send: impl AsyncFn(&Permit) -> Result<T, Error>,
    ) -> Result<T, UnexpectedResult> {
        let (kind, urgency) = match measured {
            Some(MeasuredRequest::Write) => (RequestKind::Write, Urgency::Grant),
            _ => (RequestKind::Read, Urgency::Resync),
        };
        self.writes.set(self.writes.get() + u32::from(kind == RequestKind::Write));
        let mut attempt = 1;
        loop {
            let permit = self.quota.permit(kind, urgency, NAME).await;
            let began = Instant::now();
            let answer = send(&permit).await;
            measured.into_iter().for_each(|measured| self.note(measured, began.elapsed()));
            match answer {
                Err(Error::RateLimited { .. }) if attempt < ATTEMPTS => attempt += 1,
                answer => return answer.map_err(UnexpectedResult::from),
            }
        }
    }

    /// The members of this kind in a project.
    pub async fn list(&self, project: &Project, kind: SubjectKind) -> Result<Listing, UnexpectedResult> {
        let list = async |permit: &Permit| self.provider.list(permit, project, kind).await;
        self.request(Some(MeasuredRequest::List), list).await
    }

    /// The target's row in a new list.
    pub async fn observe(&self, target: &Target) -> Result<Option<Member>, UnexpectedResult> {
        row(&self.list(&target.project, target.subject_kind).await?, &target.subject_id)
    }

    /// The description of the target's row in a new list; an error if it differs from the expected one.
    pub async fn expect(&self, target: &Target, expected: &str) -> Result<String, UnexpectedResult> {
        expect(self.observe(target).await?.as_ref(), expected)
    }

    /// The id of the only project with a name.
    pub async fn find_project(&self, name: &str, organization_id: Option<&str>) -> Result<String, UnexpectedResult> {
        let find = async |permit: &Permit| self.provider.find_project(permit, name, organization_id).await;
        Ok(one_project(self.request(None, find).await?, name)?)
    }

    /// The id of the only subject with a name that could be a member of the project.
    pub async fn find_subject(
        &self,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Result<String, NotUnique>, UnexpectedResult> {
        let find = async |permit: &Permit| self.provider.find_subject(permit, project, kind, name).await;
        Ok(one_subject(self.request(None, find).await?, kind, name, project))
    }

    /// The present time, by the clock that decides about ends.
    pub fn now(&self) -> Timestamp {
        let (wall, at) = (Timestamp::now(), Instant::now().into_std());
        wall.saturating_add(clocks::lead(self.provider.clock().as_ref(), wall, at)).unwrap_or(Timestamp::MAX)
    }

    fn snapshot(&self, membership: &InMemoryMembership) -> Snapshot {
        let (wall, at) = (Timestamp::now(), Instant::now().into_std());
        let target = membership.target.clone();
        Snapshot {
            provider: ProviderView {
                name: NAME.to_owned(),
                endpoint: self.endpoint.clone(),
                capabilities: self.provider.capabilities(target.subject_kind),
                unready: None,
                is_gone: false,
                leaving: None,
                cluster: None,
                is_ourselves: self.provider.signed_in_as().is_some_and(|id| id == target.subject_id),
                resync: Resync::every(RESYNC),
                connection: 0,
            },
            declarations: vec![membership.declaration()],
            shadowed: false,
            now: self.now(),
            at,
            clocks: clocks::agreement(self.provider.clock().as_ref(), wall, at),
            target,
        }
    }

    /// Carries out a membership as the operator does, until the provider holds what it declares or a failure is
    /// reported. `repairs`: a write that the server accepted and does not show is repaired; otherwise that is a
    /// failure.
    pub async fn converge(
        &self,
        membership: &mut InMemoryMembership,
        repairs: bool,
    ) -> Result<Converged, UnexpectedResult> {
        let target = membership.target.clone();
        let roster = self.rosters.of(&target.project, target.subject_kind);
        let late_writes = LateWrites::without_predecessor();
        let mut memory = Memory { required: Some(Instant::now().into_std()), late_writes, ..Memory::default() };
        let (mut converged, mut attempt, mut permit) = (Converged::default(), 1, None);
        loop {
            let snapshot = self.snapshot(membership);
            let observation = roster.observation(&target.subject_id);
            let sent = memory.attempt.sent.as_ref().map(|sent| sent.ended);
            let (confirmed, next) = step::decide(&snapshot, observation.as_ref(), &mut memory);
            if let (Some(_), Some(sent)) = (confirmed, sent) {
                self.note(MeasuredRequest::Confirm, sent.elapsed());
                converged.confirmed = Some(self.now());
            }
            match (next.step, permit.take()) {
                (Step::Record { records, .. }, _) => {
                    for record in records {
                        memory.recording(&record);
                        membership.record(record);
                    }
                }
                (Step::Observe(Observe { not_before, urgency, .. }), _) => {
                    sleep_until(not_before.into()).await;
                    let asker = ListCaller { quota: &self.quota, urgency, namespace: NAME, spacing: Spacing::NONE };
                    let list = roster.observe(&*self.provider, asker, &target.subject_id, Some(not_before.into()));
                    memory.listed(not_before, self.timed(MeasuredRequest::List, list).await.map(drop));
                }
                (Step::Apply(apply), _) if apply.purpose == WritePurpose::Repair && !repairs => {
                    roster.doubt(&target.subject_id);
                    return Err(not_shown(&apply));
                }
                (Step::Apply(apply), None) => {
                    permit = Some(self.quota.permit(RequestKind::Write, apply.urgency, NAME).await);
                }
                (Step::Apply(apply), Some(permit)) => {
                    self.writes.set(self.writes.get() + 1);
                    let write = carry_out(&self.provider, &roster, &snapshot, permit, &apply);
                    let answer = self.timed(MeasuredRequest::Write, write).await;
                    converged.writes += u32::from(answer.is_ok());
                    converged.drift.extend(apply.drift.clone().unwrap_or_default());
                    memory.answered(*apply, answer, |role| snapshot.declares(role), Instant::now().into_std());
                }
                (Step::Explain(urgency), _) => {
                    let permit = self.quota.permit(RequestKind::Read, urgency, NAME).await;
                    memory.explained(self.provider.explain_absence(&permit, &target).await, &snapshot);
                }
                (Step::Release(_), _) => return Ok(converged),
                (Step::Report(outcome), _) => {
                    let reports = reports(&snapshot, &outcome, &memory);
                    if memory.end(&snapshot, &outcome) {
                        roster.doubt(&target.subject_id);
                    }
                    let reported = membership.reported(reports);
                    converged.shown = observation.and_then(|observation| observation.member);
                    match outcome.kind {
                        step::PassEnd::Failed { error: Error::RateLimited { .. }, .. } if attempt < ATTEMPTS => {
                            attempt += 1
                        }
                        step::PassEnd::Failed { error, .. } => return Err(error.into()),
                        _ => return reported.map(|()| converged),
                    }
                }
            }
        }
    }
}

/// The row of a subject in a list; `None`: the list is complete and has none.
pub fn row(listing: &Listing, subject_id: &str) -> Result<Option<Member>, UnexpectedResult> {
    match listing.members.iter().find(|member| member.subject_id == subject_id) {
        None if listing.partial => Err(UnexpectedResult::unexpected(format!(
            "the list of members is incomplete, so that it is not known what {subject_id} holds: try again"
        ))),
        member => Ok(member.cloned()),
    }
}

/// The server accepted a write and does not show it.
fn not_shown(PlannedWrite { change, before, .. }: &PlannedWrite) -> UnexpectedResult {
    let written = if *change == Change::Remove { "a removal".to_owned() } else { shown(change.outcome()) };
    let listed = held(before.as_ref());
    UnexpectedResult::unexpected(format!("a list that shows {listed}, although the server accepted {written}"))
}
