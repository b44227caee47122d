use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

/// One of each level.
const ALL: [Urgency; Urgency::LEVELS] = [
    Urgency::End(Timestamp::UNIX_EPOCH),
    Urgency::Revoke,
    Urgency::Exchange,
    Urgency::Grant,
    Urgency::Drift,
    Urgency::Resync,
];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn limits(reads: Option<u32>, writes: Option<u32>, in_flight: u32) -> Limits {
    Limits { reads_per_minute: reads, writes_per_minute: writes, max_in_flight: Some(in_flight), ..Limits::default() }
}

/// Grants all that may begin at `now`; what comes after the grants.
fn grants(queue: &mut RequestQueue, now: Instant) -> (Vec<WaiterId>, QueueDecision) {
    let mut granted = Vec::new();
    loop {
        match queue.next(now) {
            QueueDecision::Grant(id) => granted.push(id),
            next => return (granted, next),
        }
    }
}

#[test]
fn the_most_urgent_request_begins_first_in_any_order_of_arrival() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    let mut ids: Vec<WaiterId> =
        ALL.iter().rev().map(|urgency| queue.join(quota, RequestKind::Write, *urgency, "a")).collect();
    assert_eq!(queue.waiting(quota), [1; Urgency::LEVELS]);
    ids.reverse();
    for (served, id) in ids.into_iter().enumerate() {
        assert_eq!(grants(&mut queue, now), (vec![id], QueueDecision::Idle), "the {served}th");
        queue.end(quota, RequestKind::Write);
    }
    assert_eq!(queue.waiting(quota), [0; Urgency::LEVELS]);
}

#[test]
fn namespaces_are_served_round_robin_and_within_one_the_first_to_come_is_first() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    let mut join = |namespace| queue.join(quota, RequestKind::Write, Urgency::Grant, namespace);
    let (a1, a2, a3, b1, c1, b2) = (join("a"), join("a"), join("a"), join("b"), join("c"), join("b"));
    for (permit_use, id) in [a1, b1, c1, a2, b2, a3].into_iter().enumerate() {
        assert_eq!(grants(&mut queue, now), (vec![id], QueueDecision::Idle), "turn {permit_use}");
        queue.end(quota, RequestKind::Write);
    }
}

#[test]
fn of_ends_the_one_that_was_due_first_begins_first_whichever_came_first() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    let due = |second| Urgency::End(Timestamp::from_second(second).unwrap());
    let mut join = |urgency, namespace| queue.join(quota, RequestKind::Write, urgency, namespace);
    let exchanges: Vec<WaiterId> = (0..300).map(|_| join(Urgency::Exchange, "a")).collect();
    let (late, soon, other) = (join(due(30), "a"), join(due(10), "a"), join(due(20), "b"));
    let first = queue.next(now);
    assert_eq!(first, QueueDecision::Grant(soon), "an end doesn't wait behind 300 exchanges");
    queue.end(quota, RequestKind::Write);
    for id in [other, late, exchanges[0]] {
        assert_eq!(queue.next(now), QueueDecision::Grant(id));
        queue.end(quota, RequestKind::Write);
    }
}

#[test]
fn an_end_is_attempted_while_the_server_asks_to_wait() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    queue.change(quota, |usage| usage.pause(now + seconds(120)));
    let grant = queue.join(quota, RequestKind::Write, Urgency::Grant, "a");
    let end = queue.join(quota, RequestKind::Write, ALL[0], "a");
    assert_eq!(queue.next(now), QueueDecision::Grant(end));
    let again = queue.join(quota, RequestKind::Write, ALL[0], "a");
    queue.end(quota, RequestKind::Write);
    assert_eq!(queue.next(now), QueueDecision::At(now + seconds(10)), "it was refused");
    assert_eq!(queue.next(now + seconds(10)), QueueDecision::Grant(again));
    queue.change(quota, Usage::answered);
    queue.end(quota, RequestKind::Write);
    assert_eq!(queue.next(now + seconds(11)), QueueDecision::At(now + seconds(120)));
    assert_eq!(queue.next(now + seconds(120)), QueueDecision::Grant(grant));
}

#[test]
fn one_writer_holds_for_all_quotas_of_the_endpoint_and_for_writes_only() {
    let now = Instant::now();
    for (one_writer, together) in [(true, 1), (false, 2)] {
        let mut queue = RequestQueue::new(one_writer);
        let (one, two) = (queue.add_quota(Limits::default()), queue.add_quota(Limits::default()));
        queue.join(one, RequestKind::Write, Urgency::Grant, "a");
        queue.join(two, RequestKind::Write, Urgency::Grant, "b");
        assert_eq!(grants(&mut queue, now).0.len(), together, "one writer: {one_writer}");
        queue.join(one, RequestKind::Read, Urgency::Resync, "a");
        queue.join(two, RequestKind::Read, Urgency::Resync, "b");
        assert_eq!(grants(&mut queue, now).0.len(), 2, "reads go beside a write");
    }
}

#[test]
fn a_backlog_of_grants_leaves_a_revocation_its_part_of_the_minute() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(limits(None, Some(90), 16));
    for _ in 0..500 {
        queue.join(quota, RequestKind::Write, Urgency::Grant, "a");
    }
    let mut served = 0;
    while let QueueDecision::Grant(_) = queue.next(now) {
        queue.end(quota, RequestKind::Write);
        served += 1;
    }
    assert_eq!(served, 81, "grants may use nine tenths");
    for _ in 0..9 {
        let revocation = queue.join(quota, RequestKind::Write, Urgency::Revoke, "b");
        assert_eq!(queue.next(now), QueueDecision::Grant(revocation), "no wait behind 419 grants");
        queue.end(quota, RequestKind::Write);
    }
    queue.join(quota, RequestKind::Write, Urgency::Revoke, "b");
    assert_eq!(queue.next(now), QueueDecision::At(now + seconds(60)), "the limit itself holds for revocations too");
}

#[test]
fn a_revocation_waits_for_one_request_at_most() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    let backlog: Vec<WaiterId> = (0..500).map(|_| queue.join(quota, RequestKind::Write, Urgency::Grant, "a")).collect();
    assert_eq!(grants(&mut queue, now).0, backlog[..1]);
    let revocation = queue.join(quota, RequestKind::Write, Urgency::Revoke, "b");
    assert_eq!(queue.next(now), QueueDecision::Idle);
    queue.end(quota, RequestKind::Write);
    assert_eq!(queue.next(now), QueueDecision::Grant(revocation));
}

#[test]
fn a_quota_that_is_paused_delays_no_other() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let (paused, free) = (queue.add_quota(Limits::default()), queue.add_quota(Limits::default()));
    queue.change(paused, |usage| usage.pause(now + seconds(30)));
    let held = queue.join(paused, RequestKind::Write, Urgency::Revoke, "a");
    let (a, b) = (
        queue.join(free, RequestKind::Write, Urgency::Resync, "a"),
        queue.join(free, RequestKind::Write, Urgency::Resync, "b"),
    );
    assert_eq!(queue.next(now), QueueDecision::Grant(a), "the same namespace in another quota goes on");
    queue.end(free, RequestKind::Write);
    assert_eq!(queue.next(now), QueueDecision::Grant(b));
    queue.end(free, RequestKind::Write);
    assert_eq!(queue.next(now), QueueDecision::At(now + seconds(30)));
    assert_eq!(queue.next(now + seconds(30)), QueueDecision::Grant(held));
}

#[test]
fn reads_and_writes_of_a_quota_are_served_round_robin() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(false);
    let quota = queue.add_quota(limits(None, None, 1));
    let reads: Vec<WaiterId> = (0..3).map(|_| queue.join(quota, RequestKind::Read, Urgency::Resync, "a")).collect();
    let writes: Vec<WaiterId> = (0..2).map(|_| queue.join(quota, RequestKind::Write, Urgency::Resync, "b")).collect();
    for (id, kind) in [
        (reads[0], RequestKind::Read),
        (writes[0], RequestKind::Write),
        (reads[1], RequestKind::Read),
        (writes[1], RequestKind::Write),
        (reads[2], RequestKind::Read),
    ] {
        assert_eq!(grants(&mut queue, now).0, [id]);
        queue.end(quota, kind);
    }
}

#[test]
fn who_leaves_is_forgotten() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(Limits::default());
    let gone = queue.join(quota, RequestKind::Write, Urgency::Revoke, "a");
    let stays = queue.join(quota, RequestKind::Write, Urgency::Grant, "a");
    queue.leave(gone);
    queue.leave(gone);
    assert_eq!(queue.waiting(quota), [0, 0, 0, 1, 0, 0]);
    assert_eq!(grants(&mut queue, now), (vec![stays], QueueDecision::Idle));
    queue.leave(stays);
    assert!(!queue.remove_unused(quota, now), "its write is in flight");
    queue.end(quota, RequestKind::Write);
    assert!(queue.remove_unused(quota, now));
}

#[test]
fn a_second_write_under_one_permit_takes_its_part_of_the_minute() {
    let now = Instant::now();
    let mut queue = RequestQueue::new(true);
    let quota = queue.add_quota(limits(None, Some(3), 16));
    queue.join(quota, RequestKind::Write, Urgency::Revoke, "a");
    queue.next(now);
    queue.change(quota, |usage| usage.charge(RequestKind::Write, now + seconds(1)));
    queue.change(quota, |usage| usage.charge(RequestKind::Write, now + seconds(2)));
    queue.end(quota, RequestKind::Write);
    let next = queue.join(quota, RequestKind::Write, Urgency::Revoke, "a");
    assert_eq!(queue.next(now + seconds(3)), QueueDecision::At(now + seconds(60)));
    assert_eq!(queue.next(now + seconds(60)), QueueDecision::Grant(next));
}

/// One thing that happens to the queue.
#[derive(Clone, Debug)]
enum Step {
    Join { quota: usize, kind: RequestKind, urgency: Urgency, namespace: usize },
    Leave(usize),
    End(usize),
    Pause { quota: usize, seconds: u64 },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(RequestKind::Read), Just(RequestKind::Write)];
    // Ends have separate rules while a quota is paused, and separate tests.
    let urgency = proptest::sample::select(&ALL[1..]);
    prop_oneof![
        6 => (0..2_usize, kind, urgency, 0..3_usize)
            .prop_map(|(quota, kind, urgency, namespace)| Step::Join { quota, kind, urgency, namespace }),
        1 => any::<usize>().prop_map(Step::Leave),
        4 => any::<usize>().prop_map(Step::End),
        1 => (0..2_usize, 0..90_u64).prop_map(|(quota, seconds)| Step::Pause { quota, seconds }),
        3 => (0..40_u64).prop_map(Step::Wait),
    ]
}

/// A request in the model of the property.
#[derive(Clone, Debug)]
struct Request {
    id: WaiterId,
    quota: usize,
    kind: RequestKind,
    urgency: Urgency,
    namespace: usize,
}

/// A simple second implementation of what the queue guarantees: it scans everything and keeps nothing in order.
struct Model {
    one_writer: bool,
    limits: [Limits; 2],
    waiting: Vec<Request>,
    in_flight: Vec<Request>,
    began: Vec<(Instant, usize, RequestKind)>,
    paused_until: [Option<Instant>; 2],
}

impl Model {
    fn may_begin(&self, request: &Request, now: Instant) -> bool {
        let part = |limit: u32| match request.urgency {
            Urgency::End(_) | Urgency::Revoke => limit as usize,
            Urgency::Resync => (limit as usize / 2).max(1),
            _ => ((limit * 9 / 10) as usize).max(1),
        };
        let limits = &self.limits[request.quota];
        let minute = match request.kind {
            RequestKind::Read => limits.reads_per_minute,
            RequestKind::Write => limits.writes_per_minute,
        };
        let recent = self.began.iter().filter(|(at, quota, kind)| {
            *quota == request.quota && *kind == request.kind && now.duration_since(*at) < seconds(60)
        });
        let writing = self.in_flight.iter().any(|other| other.kind == RequestKind::Write);
        let in_flight = self.in_flight.iter().filter(|other| other.quota == request.quota).count();
        minute.is_none_or(|minute| recent.count() < part(minute))
            && in_flight < part(limits.max_in_flight.unwrap_or(16))
            && !(self.one_writer && request.kind == RequestKind::Write && writing)
            && self.paused_until[request.quota].is_none_or(|until| until <= now)
    }

    fn granted(&mut self, id: WaiterId, now: Instant) {
        let index = self.waiting.iter().position(|request| request.id == id).expect("a grant to one who waits");
        let request = self.waiting.remove(index);
        assert!(self.may_begin(&request, now), "{request:?} was granted beyond a limit");
        for other in self.waiting.iter().filter(|other| self.may_begin(other, now)) {
            assert!(other.urgency >= request.urgency, "{request:?} was granted before {other:?}");
            let alike = (other.quota, other.kind, other.urgency, other.namespace)
                == (request.quota, request.kind, request.urgency, request.namespace);
            assert!(!alike || other.id > request.id, "{request:?} was granted before {other:?}, which came first");
        }
        self.began.push((now, request.quota, request.kind));
        self.in_flight.push(request);
    }

    fn none_may_begin(&self, now: Instant) {
        for request in &self.waiting {
            assert!(!self.may_begin(request, now), "{request:?} may begin and is left waiting");
        }
    }
}

fn settle(queue: &mut RequestQueue, model: &mut Model, now: Instant) -> QueueDecision {
    loop {
        match queue.next(now) {
            QueueDecision::Grant(id) => model.granted(id, now),
            next => {
                model.none_may_begin(now);
                return next;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// For all requests in any order: no limit is exceeded in any window, nothing overtakes a more urgent request,
    /// nothing that may begin is left waiting, and in the end, when all that began has ended, every request was served.
    #[test]
    fn limits_urgency_and_service_hold_for_any_requests(
        steps in proptest::collection::vec(step(), 1..120),
        one_writer: bool,
        reads in proptest::option::of(1..6_u32),
        writes in proptest::option::of(1..6_u32),
        in_flight in 1..5_u32,
    ) {
        let mut now = Instant::now();
        let mut queue = RequestQueue::new(one_writer);
        let limits = [limits(reads, writes, in_flight), limits(None, writes, 3)];
        let quotas = limits.clone().map(|limits| queue.add_quota(limits));
        let mut model = Model {
            one_writer, limits, waiting: vec![], in_flight: vec![], began: vec![], paused_until: [None; 2],
        };
        for step in steps {
            match step {
                Step::Join { quota, kind, urgency, namespace } => {
                    let id = queue.join(quotas[quota], kind, urgency, ["a", "b", "c"][namespace]);
                    model.waiting.push(Request { id, quota, kind, urgency, namespace });
                }
                Step::Leave(index) if !model.waiting.is_empty() => {
                    queue.leave(model.waiting.remove(index % model.waiting.len()).id);
                }
                Step::End(index) if !model.in_flight.is_empty() => {
                    let ended = model.in_flight.remove(index % model.in_flight.len());
                    queue.end(quotas[ended.quota], ended.kind);
                }
                Step::Pause { quota, seconds: n } => {
                    queue.change(quotas[quota], |usage| usage.pause(now + seconds(n)));
                    model.paused_until[quota] = model.paused_until[quota].max(Some(now + seconds(n)));
                }
                Step::Wait(n) => now += seconds(n),
                Step::Leave(_) | Step::End(_) => {}
            }
            settle(&mut queue, &mut model, now);
        }
        while !model.waiting.is_empty() {
            for ended in std::mem::take(&mut model.in_flight) {
                queue.end(quotas[ended.quota], ended.kind);
            }
            if let QueueDecision::At(instant) = settle(&mut queue, &mut model, now) && model.in_flight.is_empty() {
                prop_assert!(instant > now, "no progress");
                // Not a nanosecond too late: just before the instant no request may begin, at the instant one may.
                model.none_may_begin(instant - Duration::from_nanos(1));
                prop_assert!(model.waiting.iter().any(|request| model.may_begin(request, instant)), "woken for nothing");
                now = instant;
            }
        }
        for quota in quotas {
            prop_assert_eq!(queue.waiting(quota), [0; Urgency::LEVELS]);
        }
    }

    /// Two namespaces that both always have something waiting have been served equally often, give or take one.
    #[test]
    fn two_namespaces_are_served_equally(
        kind in prop_oneof![Just(RequestKind::Read), Just(RequestKind::Write)],
        urgency in proptest::sample::select(&ALL[..]),
        backlog in 1..60_usize,
        in_flight in 1..5_u32,
        rounds in 1..100_usize,
    ) {
        let now = Instant::now();
        let mut queue = RequestQueue::new(true);
        let quota = queue.add_quota(limits(None, None, in_flight));
        let mut owner = HashMap::new();
        for _ in 0..backlog {
            owner.insert(queue.join(quota, kind, urgency, "flood"), 0);
        }
        owner.insert(queue.join(quota, kind, urgency, "quiet"), 1);
        let mut served = [0_usize; 2];
        for _ in 0..rounds {
            if let QueueDecision::Grant(id) = queue.next(now) {
                let namespace = owner[&id];
                served[namespace] += 1;
                owner.insert(queue.join(quota, kind, urgency, ["flood", "quiet"][namespace]), namespace);
            } else {
                queue.end(quota, kind);
            }
            prop_assert!(served[0].abs_diff(served[1]) <= 1, "{served:?}");
        }
    }
}
