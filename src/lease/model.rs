//! A model of several replicas and an API server, in which requests take time, responses are lost, processes pause at
//! any moment, and no two clocks agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::election::{Election, LeaseRecord, LeaseStep, LeaseTerms};
use super::leadership::Leadership;

/// The state of the API server: the Lease and its resourceVersion.
#[derive(Default)]
struct Server {
    lease: Option<LeaseRecord>,
    version: u64,
}

/// The state of a replica's request.
enum Request {
    None,
    Look { served: Option<(Option<LeaseRecord>, u64)> },
    Write { record: LeaseRecord, over: u64, began: Instant, served: Option<bool> },
}

struct Replica {
    election: Election,
    leadership: Arc<Leadership>,
    /// The resourceVersion that the replica read last. `None`: it has to read.
    version: Option<u64>,
    request: Request,
    /// Its clock: what it showed at the beginning, and its speed in thousandths.
    offset: Duration,
    rate: u32,
}

impl Replica {
    fn clock(&self, origin: Instant, passed: Duration) -> Instant {
        origin + self.offset + passed * self.rate / 1000
    }

    /// The next event of this replica. `lost`: a response does not arrive.
    fn goes_on(&mut self, server: &mut Server, now: Instant, wall: Timestamp, lost: bool) {
        self.request = match std::mem::replace(&mut self.request, Request::None) {
            Request::None => match (self.version, self.election.step(now)) {
                (_, LeaseStep::Lost { .. }) => Request::None,
                (Some(over), LeaseStep::Take) => {
                    Request::Write { record: self.election.record(wall), over, began: now, served: None }
                }
                (Some(_), LeaseStep::Wait(_)) if self.election.is_ours() => Request::None,
                _ => Request::Look { served: None },
            },
            Request::Look { served: None } => Request::Look { served: Some((server.lease.clone(), server.version)) },
            Request::Look { served: Some((lease, version)) } => {
                if !lost {
                    self.election.observe(lease, now);
                    self.version = Some(version);
                    if !self.election.is_ours() {
                        self.leadership.held_until(None);
                    }
                }
                Request::None
            }
            Request::Write { record, over, began, served: None } => {
                let carried_out = server.version == over;
                if carried_out {
                    server.lease = Some(record.clone());
                    server.version += 1;
                }
                Request::Write { record, over, began, served: Some(carried_out) }
            }
            Request::Write { record, over, began, served: Some(carried_out) } => {
                self.version = None;
                if carried_out && !lost {
                    self.election.wrote(record, began);
                    self.leadership.held_until(self.election.until());
                    self.version = Some(over + 1);
                }
                Request::None
            }
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is slow, lost or paused: a write that one replica starts is over before another replica may start one.
    #[test]
    fn two_never_write_at_once(
        clocks in vec((0u64..100_000, 985u32..=1015), 3),
        leases in vec(5u64..=20, 3),
        steps in vec((0u64..2_500, 0usize..3, 1usize..6, prop::bool::weighted(0.15)), 1..400),
    ) {
        let origin = Instant::now();
        let mut server = Server::default();
        let mut replicas: Vec<Replica> = clocks.iter().zip(&leases).enumerate().map(|(index, ((offset, rate), lease))| {
            let terms = LeaseTerms::seconds(*lease).unwrap();
            Replica {
                election: Election::new(index.to_string(), terms),
                leadership: Leadership::elected(terms),
                version: None,
                request: Request::None,
                offset: Duration::from_millis(*offset),
                rate: *rate,
            }
        }).collect();
        let mut passed = Duration::ZERO;
        // Until when a write that was started may still be carried out, and whose write it is.
        let mut writing: Option<(usize, Duration)> = None;
        for (milliseconds, who, times, lost) in steps {
            passed += Duration::from_millis(milliseconds);
            for _ in 0..times {
                let now = replicas[who].clock(origin, passed);
                // The wall clock of one replica has no meaning for the others.
                let wall = Timestamp::from_second(i64::try_from(replicas[who].offset.as_secs()).unwrap()).unwrap()
                    + jiff::SignedDuration::try_from(passed).unwrap();
                replicas[who].goes_on(&mut server, now, wall, lost);
            }
            for (index, replica) in replicas.iter().enumerate() {
                let now = replica.clock(origin, passed);
                if replica.leadership.begin(now).is_none() {
                    continue;
                }
                if let Some((other, until)) = writing {
                    prop_assert!(other == index || until <= passed, "{other} writes until {until:?}, {index} at {passed:?}");
                }
                let limit = replica.leadership.write_limit();
                // A time that is measured with a slow clock takes longer.
                let until = passed + limit * 1000 / replica.rate;
                writing = Some((index, until));
            }
            let leading = replicas.iter().filter(|r| r.leadership.leads(r.clock(origin, passed))).count();
            prop_assert!(leading <= 1, "{leading} lead at {passed:?}");
        }
    }
}
