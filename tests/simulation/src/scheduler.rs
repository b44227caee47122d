//! What decides: at each call that leaves the operator whether it succeeds, fails before or after it takes effect, is
//! delayed, or the process dies there; and what is written down of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::life::Life;
use crate::rng::Rng;

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// The API server.
    Kubernetes,
    Infisical,
    Zitadel,
}

/// How often something goes wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// A call to the API server.
    pub kubernetes: u64,
    /// A call to a provider.
    pub providers: u64,
    /// The process dies at a call.
    pub dies: u64,
    /// It stands still at a call, long enough for another to take the Lease.
    pub still: u64,
    /// A watch event comes late; a watch breaks off.
    pub watch: u64,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// After how long it is carried out; `None`: never.
    pub there: Option<Duration>,
    /// What the caller is told.
    pub end: End,
    /// So long the process stands still from when the request has left it.
    pub still: Option<Duration>,
}

/// How a call ends for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer is there so long after it was carried out.
    Answered(Duration),
    /// Answered so, whatever was done; with this `Retry-After` in seconds.
    Refused(u16, Option<u64>),
    /// The connection breaks off, so long after.
    BrokenOff(Duration),
    /// There is no connection.
    NotConnected,
    /// The answer breaks off in the middle of its body.
    Truncated,
    /// The process dies when the request leaves it.
    Dies,
}

/// What the caller is told of a call that has met its fate.
#[derive(Clone, Debug)]
pub enum CallResult<T> {
    Answer(T),
    /// Half of the answer.
    Half(T),
    /// This code instead.
    Code(u16, Option<u64>),
    /// No answer.
    BrokenOff,
    /// No connection.
    NotConnected,
}

impl Fate {
    /// Whether nothing is wrong with it.
    pub fn is_ordinary(self) -> bool {
        self.there.is_some_and(|there| there < Duration::from_millis(50))
            && matches!(self.end, End::Answered(..))
            && self.still.is_none()
    }

    /// Lets a call of a process meet its fate. What was sent can't be recalled: it is carried out though nobody waits.
    pub async fn met<T: Send + 'static>(
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

/// The one who decides. Clones are one.
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
}

/// An invariant that didn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl Scheduler {
    /// Of a seed. Time begins now.
    pub fn new(seed: u64, odds: Odds) -> Self {
        let state = State { rng: Rng::new(seed, 1), odds, trace: Vec::new(), failure: None, down: Vec::new() };
        Self(Arc::new(Shared { seed, state: Mutex::new(state), began: Instant::now(), faults: AtomicBool::new(true) }))
    }

    /// From now on nothing goes wrong any more.
    pub fn faults_stop(&self) {
        self.0.faults.store(false, Ordering::Relaxed);
        self.lock().down.clear();
        self.write("faults stop");
    }

    /// Whether anything may still go wrong.
    pub fn faults(&self) -> bool {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// A server can't be reached, or can again.
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

    /// Decides what becomes of a call.
    pub fn fate(&self, server: Server, writes: bool) -> Fate {
        let mut state = self.lock();
        if state.down.contains(&server) {
            return Fate { there: None, end: End::NotConnected, still: None };
        }
        let odds = state.odds;
        let rng = &mut state.rng;
        let (there, back) = (rng.milliseconds(1, 40), rng.milliseconds(1, 40));
        let ordinary = Fate { there: Some(there), end: End::Answered(back), still: None };
        if !self.faults() {
            return ordinary;
        }
        if rng.chance(odds.dies) {
            return Fate { there: rng.chance(500).then_some(there), end: End::Dies, still: None };
        }
        if rng.chance(odds.still) {
            return Fate { still: Some(rng.milliseconds(5_000, 120_000)), ..ordinary };
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
            0 => Fate { there: Some(long), ..ordinary },
            1 => Fate { end: End::Answered(long), ..ordinary },
            2 => Fate { there: None, end: End::NotConnected, still: None },
            3 => {
                let code = *rng.one_of(codes);
                let wait = (code == 429 && rng.chance(700) || rng.chance(150)).then(|| rng.between(1, 20));
                Fate { there: None, end: End::Refused(code, wait), still: None }
            }
            4 => Fate { there: done, end: End::BrokenOff(back), still: None },
            5 => Fate { there: done, end: End::BrokenOff(long), still: None },
            6 => Fate { there: Some(long), end: End::BrokenOff(back), still: None },
            7 => Fate { there: None, end: End::BrokenOff(long), still: None },
            _ if server == Server::Kubernetes => Fate { there: done, end: End::Refused(504, None), still: None },
            _ if writes => Fate { there: done, end: End::Refused(*rng.one_of(&[502, 504]), None), still: None },
            _ => Fate { there: done, end: End::Truncated, still: None },
        }
    }

    /// How long a watch event is under way, and whether the watch breaks off at it.
    pub fn watch_event(&self) -> (Duration, bool) {
        let mut state = self.lock();
        let odds = state.odds;
        let rng = &mut state.rng;
        if !self.faults() || !rng.chance(odds.watch) {
            return (rng.milliseconds(1, 60), false);
        }
        (rng.milliseconds(100, 8_000), rng.chance(300))
    }

    /// How many objects a page of a list has at most.
    pub fn page(&self) -> usize {
        let mut state = self.lock();
        if state.rng.chance(700) { 500 } else { 1 }
    }

    /// How long it takes until a pass over a target that is requested now begins. It depends on the name and the time
    /// alone: in which order several are requested, the maps on the way decide.
    pub fn dispatch_of(&self, name: &str) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.0.seed, name, self.0.began.elapsed().as_millis()).hash(&mut hasher);
        let mut rng = Rng::new(hasher.finish(), 2);
        if rng.chance(900) { Duration::ZERO } else { rng.milliseconds(1, 400) }
    }

    /// How long it takes until a pass that is due begins.
    pub fn dispatch(&self) -> Duration {
        let mut state = self.lock();
        if state.rng.chance(900) { Duration::ZERO } else { state.rng.milliseconds(1, 400) }
    }

    /// A number of the sequence that decides.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.lock().rng.between(low, high)
    }

    /// Writes something down.
    pub fn write(&self, what: impl AsRef<str>) {
        let passed = self.0.began.elapsed();
        let line = format!("{:>9}.{:03}  {}", passed.as_secs(), passed.subsec_millis(), what.as_ref());
        self.lock().trace.push(line);
    }

    /// Notes that an invariant doesn't hold. The first counts.
    pub fn fails(&self, invariant: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.write(format!("FAILED {invariant}: {what}"));
        self.lock().failure.get_or_insert(Failure { invariant, what });
    }

    /// The invariant that didn't hold.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// What was written down.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
