//! Decides for each call of the operator whether it succeeds, fails before or after it takes effect, is delayed, or the
//! process is killed there; and writes the trace.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::life::Life;
use crate::rng::Rng;

/// The destination of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// The API server.
    Kubernetes,
    Infisical,
    Zitadel,
}

/// The probabilities of faults, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// A call to the API server.
    pub kubernetes: u64,
    /// A call to a provider.
    pub providers: u64,
    /// The process is killed at a call.
    pub dies: u64,
    /// It is suspended at a call, long enough for another replica to take the Lease.
    pub still: u64,
    /// A watch event is delayed; a watch is interrupted.
    pub watch: u64,
}

/// The delivery of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The time until it is carried out; `None`: never.
    pub there: Option<Duration>,
    /// How it ends for the caller.
    pub end: End,
    /// How long the process is suspended after sending the request.
    pub still: Option<Duration>,
}

/// How a call ends for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response arrives this long after the call was carried out.
    Answered(Duration),
    /// This status, regardless of the effect; with this `Retry-After` in seconds.
    Refused(u16, Option<u64>),
    /// The connection is closed after this time.
    BrokenOff(Duration),
    /// There is no connection.
    NotConnected,
    /// The response is truncated in the middle of its body.
    Truncated,
    /// The process is killed when it sends the request.
    Dies,
}

/// The result of a call for its caller.
#[derive(Clone, Debug)]
pub enum CallResult<T> {
    Answer(T),
    /// Half of the response.
    Half(T),
    /// This code instead.
    Code(u16, Option<u64>),
    /// No response.
    BrokenOff,
    /// No connection.
    NotConnected,
}

impl Delivery {
    /// Whether it is without a fault.
    pub fn is_ordinary(self) -> bool {
        self.there.is_some_and(|there| there < Duration::from_millis(50))
            && matches!(self.end, End::Answered(..))
            && self.still.is_none()
    }

    /// Applies the delivery to a call of a process. What was sent can't be recalled: it is carried out even if its
    /// caller no longer waits.
    pub async fn apply<T: Send + 'static>(
        self,
        life: &Life,
        call: impl Future<Output = T> + Send + 'static,
    ) -> CallResult<T> {
        let carried_out = self.there.map(|there| {
            tokio::spawn(async move {
                tokio::time::sleep(there).await;
                call.await
            })
        });
        if let Some(length) = self.still {
            life.stand_still(length);
        }
        if self.end == End::Dies {
            life.end();
            return std::future::pending().await;
        }
        let answer = match carried_out {
            Some(carried_out) => carried_out.await.ok(),
            None => None,
        };
        match (self.end, answer) {
            (End::Answered(back), Some(answer)) => {
                tokio::time::sleep(back).await;
                CallResult::Answer(answer)
            }
            (End::Truncated, Some(answer)) => CallResult::Half(answer),
            (End::Refused(code, wait), _) => CallResult::Code(code, wait),
            (End::BrokenOff(after), _) => {
                tokio::time::sleep(after).await;
                CallResult::BrokenOff
            }
            (End::NotConnected | End::Dies | End::Answered(_) | End::Truncated, _) => CallResult::NotConnected,
        }
    }
}

/// The scheduler. Clones share it.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

struct Shared {
    seed: u64,
    state: Mutex<State>,
    began: Instant,
    faults: AtomicBool,
}

struct State {
    rng: Rng,
    odds: Odds,
    trace: Vec<String>,
    failure: Option<Failure>,
    /// Servers that can't be reached.
    down: Vec<Server>,
    /// How late the watches of a kind are, besides the faults.
    lags: BTreeMap<String, Duration>,
}

/// An invariant that didn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl Scheduler {
    /// The scheduler of a seed. Its time begins now.
    pub fn new(seed: u64, odds: Odds) -> Self {
        let (rng, lags) = (Rng::new(seed, 1), BTreeMap::new());
        let state = State { rng, odds, trace: Vec::new(), failure: None, down: Vec::new(), lags };
        Self(Arc::new(Shared { seed, state: Mutex::new(state), began: Instant::now(), faults: AtomicBool::new(true) }))
    }

    /// Stops all faults.
    pub fn faults_stop(&self) {
        self.0.faults.store(false, Ordering::Relaxed);
        self.lock().down.clear();
        self.write("faults stop");
    }

    /// Whether faults may still occur.
    pub fn faults(&self) -> bool {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// Makes a server unreachable, or reachable again.
    pub fn is_down(&self, server: Server, down: bool) {
        let mut state = self.lock();
        state.down.retain(|other| *other != server);
        if down {
            state.down.push(server);
        }
    }

    /// Whether a server can be reached.
    pub fn reaches(&self, server: Server) -> bool {
        !self.lock().down.contains(&server)
    }

    /// Decides the delivery of a call.
    pub fn delivery(&self, server: Server, writes: bool) -> Delivery {
        let mut state = self.lock();
        if state.down.contains(&server) {
            return Delivery { there: None, end: End::NotConnected, still: None };
        }
        let odds = state.odds;
        let rng = &mut state.rng;
        let (there, back) = (rng.milliseconds(1, 40), rng.milliseconds(1, 40));
        let ordinary = Delivery { there: Some(there), end: End::Answered(back), still: None };
        if !self.faults() {
            return ordinary;
        }
        if rng.chance(odds.dies) {
            return Delivery { there: rng.chance(500).then_some(there), end: End::Dies, still: None };
        }
        if rng.chance(odds.still) {
            return Delivery { still: Some(rng.milliseconds(5_000, 120_000)), ..ordinary };
        }
        let wrong = if server == Server::Kubernetes { odds.kubernetes } else { odds.providers };
        if !rng.chance(wrong) {
            return ordinary;
        }
        let long = if rng.chance(300) { rng.milliseconds(5_000, 45_000) } else { rng.milliseconds(50, 3_000) };
        let codes: &[u16] = match (server, writes) {
            (Server::Kubernetes, true) => &[409, 500, 503, 429, 403],
            (Server::Kubernetes, false) => &[500, 503, 429],
            _ => &[500, 502, 503, 504, 429, 429],
        };
        let done = Some(there);
        match rng.weighted(&[2, 2, 2, 4, 3, 3, 1, 2, 1]) {
            0 => Delivery { there: Some(long), ..ordinary },
            1 => Delivery { end: End::Answered(long), ..ordinary },
            2 => Delivery { there: None, end: End::NotConnected, still: None },
            3 => {
                let code = *rng.one_of(codes);
                let wait = (code == 429 && rng.chance(700) || rng.chance(150)).then(|| rng.between(1, 20));
                Delivery { there: None, end: End::Refused(code, wait), still: None }
            }
            4 => Delivery { there: done, end: End::BrokenOff(back), still: None },
            5 => Delivery { there: done, end: End::BrokenOff(long), still: None },
            6 => Delivery { there: Some(long), end: End::BrokenOff(back), still: None },
            7 => Delivery { there: None, end: End::BrokenOff(long), still: None },
            _ if server == Server::Kubernetes => Delivery { there: done, end: End::Refused(504, None), still: None },
            _ if writes => Delivery { there: done, end: End::Refused(*rng.one_of(&[502, 504]), None), still: None },
            _ => Delivery { there: done, end: End::Truncated, still: None },
        }
    }

    /// Makes each event in the watches of a kind this late.
    pub fn watch_lags(&self, plural: &str, by: Duration) {
        self.lock().lags.insert(plural.to_owned(), by);
    }

    /// The delay of an event in a watch of a kind, and whether the watch is interrupted at it.
    pub fn watch_event(&self, plural: &str) -> (Duration, bool) {
        let mut state = self.lock();
        let odds = state.odds;
        let lag = state.lags.get(plural).copied().unwrap_or_default();
        let rng = &mut state.rng;
        if !self.faults() || !rng.chance(odds.watch) {
            return (lag + rng.milliseconds(1, 60), false);
        }
        (rng.milliseconds(100, 8_000), rng.chance(300))
    }

    /// The maximum number of objects in a page of a list.
    pub fn page(&self) -> usize {
        let mut state = self.lock();
        if state.rng.chance(700) { 500 } else { 1 }
    }

    /// The time until a pass or check that is requested now begins. It depends on the name and the time only,
    /// because the order of several requests depends on maps.
    pub fn dispatch_of(&self, name: &str) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.0.seed, name, self.0.began.elapsed().as_millis()).hash(&mut hasher);
        let mut rng = Rng::new(hasher.finish(), 2);
        if rng.chance(900) { Duration::ZERO } else { rng.milliseconds(1, 400) }
    }

    /// The next number of the sequence.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.lock().rng.between(low, high)
    }

    /// Adds a line to the trace.
    pub fn write(&self, what: impl AsRef<str>) {
        let passed = self.0.began.elapsed();
        let line = format!("{:>9}.{:03}  {}", passed.as_secs(), passed.subsec_millis(), what.as_ref());
        self.lock().trace.push(line);
    }

    /// Records a violated invariant. Only the first is kept.
    pub fn fails(&self, invariant: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.write(format!("FAILED {invariant}: {what}"));
        self.lock().failure.get_or_insert(Failure { invariant, what });
    }

    /// The invariant that didn't hold.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// The trace.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
