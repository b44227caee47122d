//! The process: both simulators, and a port on which the bench reads their state.
//!
//! What is correct is read from the state of the simulators, here, because reading it over HTTP thousands of times would
//! disturb what is measured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use simulator::worlds::World;
use simulator::{Fault, Front, Order, RoleRow, Simulator};
use tokio::net::TcpListener;

use crate::error::{Doing, Result};
use crate::targets::{Expected, Kind};

/// What the bench asks the process to watch.
#[derive(Serialize, Deserialize)]
pub struct Watch {
    /// What each membership is to be.
    pub expected: Vec<Expected>,
    /// From when on to look, in milliseconds since 1970.
    pub from: u64,
    /// How long to wait between two looks, in milliseconds.
    pub every: u64,
}

/// What has become of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How many memberships are watched.
    pub total: usize,
    /// How many have been seen to be correct.
    pub correct: usize,
}

/// When each was first seen to be correct, in the order of what was asked, in milliseconds since 1970.
pub type Times = Vec<Option<u64>>;

/// One request that a provider received: when (in milliseconds since 1970), the method, the path, the status.
pub type Request = (i64, String, String, Option<u16>);

/// Where the providers listen.
#[derive(Serialize, Deserialize)]
pub struct Urls {
    /// Infisical.
    pub infisical: String,
    /// ZITADEL.
    pub zitadel: String,
}

/// A delay before each request, in milliseconds.
#[derive(Serialize, Deserialize)]
pub struct Delays {
    /// At Infisical.
    pub infisical: u64,
    /// At ZITADEL.
    pub zitadel: u64,
}

#[derive(Default)]
struct Watched {
    /// Distinguishes this watch from those before it, whose tasks end.
    number: u64,
    expected: Arc<Vec<Expected>>,
    times: Times,
    correct: usize,
}

struct Inner {
    simulator: Simulator,
    watched: Mutex<Watched>,
}

type Shared = Arc<Inner>;

/// Now, in milliseconds since 1970: the clock that all processes of a bench share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Serves until the process is ended.
pub async fn run(port: u16) -> Result<()> {
    let simulator = Simulator::start().await.doing("start the simulated providers")?;
    let shared = Arc::new(Inner { simulator, watched: Mutex::default() });
    let routes = Router::new()
        .route("/urls", get(urls))
        .route("/world", post(load))
        .route("/delays", post(set_delays))
        .route("/watch", get(progress).post(watch))
        .route("/times", get(times))
        .route("/wrong", get(wrong))
        .route("/requests", get(requests).delete(clear))
        .route("/remove", post(remove))
        .route("/outage", post(begin_outage).delete(end_outage))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(shared);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.doing("listen for the bench")?;
    axum::serve(listener, routes).await.doing("serve the bench")
}

impl Inner {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fronts(&self) -> [&Front; 2] {
        [self.simulator.infisical(), self.simulator.zitadel()]
    }

    fn is_correct(&self, expected: &Expected) -> bool {
        let mut held: Vec<String> = match expected.kind {
            Kind::Infisical => {
                let rows: Vec<RoleRow> = self.simulator.infisical().roles(&expected.project, &expected.subject);
                // A row that gives nothing accompanies temporary roles on some servers.
                rows.into_iter().map(|row| row.role).filter(|role| role != "no-access").collect()
            }
            Kind::Zitadel => self.simulator.zitadel().roles(expected.project.as_str(), &expected.subject),
        };
        held.sort_unstable();
        held == expected.roles
    }
}

async fn urls(State(shared): State<Shared>) -> Json<Urls> {
    let [infisical, zitadel] = shared.fronts().map(|front| front.url().to_owned());
    Json(Urls { infisical, zitadel })
}

async fn load(State(shared): State<Shared>, Json(world): Json<World>) -> StatusCode {
    shared.simulator.load(&world);
    StatusCode::NO_CONTENT
}

async fn set_delays(State(shared): State<Shared>, Json(delays): Json<Delays>) -> StatusCode {
    shared.simulator.infisical().set_delay(Duration::from_millis(delays.infisical));
    shared.simulator.zitadel().set_delay(Duration::from_millis(delays.zitadel));
    StatusCode::NO_CONTENT
}

async fn watch(State(shared): State<Shared>, Json(watch): Json<Watch>) -> StatusCode {
    let expected = Arc::new(watch.expected);
    let number = {
        let mut watched = shared.watched();
        watched.number += 1;
        watched.times = vec![None; expected.len()];
        watched.correct = 0;
        watched.expected = expected.clone();
        watched.number
    };
    tokio::spawn(look(shared, number, expected, watch.from, Duration::from_millis(watch.every.max(1))));
    StatusCode::NO_CONTENT
}

/// Looks again and again at those that have not been correct yet.
async fn look(shared: Shared, number: u64, expected: Arc<Vec<Expected>>, from: u64, every: Duration) {
    tokio::time::sleep(Duration::from_millis(from.saturating_sub(now()))).await;
    let mut pending: Vec<usize> = (0..expected.len()).collect();
    while !pending.is_empty() {
        let correct: Vec<usize> =
            pending.iter().copied().filter(|at| expected.get(*at).is_some_and(|it| shared.is_correct(it))).collect();
        let seen = now();
        {
            let mut watched = shared.watched();
            if watched.number != number {
                return;
            }
            watched.correct += correct.len();
            for at in &correct {
                if let Some(time) = watched.times.get_mut(*at) {
                    *time = Some(seen);
                }
            }
            let times = &watched.times;
            pending.retain(|at| times.get(*at).is_some_and(Option::is_none));
        }
        tokio::time::sleep(every).await;
    }
}

async fn progress(State(shared): State<Shared>) -> Json<Progress> {
    let watched = shared.watched();
    Json(Progress { total: watched.times.len(), correct: watched.correct })
}

async fn times(State(shared): State<Shared>) -> Json<Times> {
    Json(shared.watched().times.clone())
}

/// How many memberships aren't as they should be now: what was correct once may have been changed since.
async fn wrong(State(shared): State<Shared>) -> Json<usize> {
    let expected = shared.watched().expected.clone();
    Json(expected.iter().filter(|expected| !shared.is_correct(expected)).count())
}

async fn requests(State(shared): State<Shared>) -> Json<Vec<Request>> {
    let all = shared.fronts().into_iter().flat_map(Front::requests);
    let mut all: Vec<Request> =
        all.map(|request| (request.at.as_millisecond(), request.method, request.path, request.status)).collect();
    all.sort_by_key(|request| request.0);
    Json(all)
}

async fn clear(State(shared): State<Shared>) -> StatusCode {
    shared.fronts().into_iter().for_each(Front::clear_requests);
    StatusCode::NO_CONTENT
}

/// Removes memberships by hand: drift.
async fn remove(State(shared): State<Shared>, Json(drifting): Json<Vec<Expected>>) -> StatusCode {
    for it in drifting {
        match it.kind {
            Kind::Infisical => drop(shared.simulator.infisical().remove_member(&it.project, &it.subject)),
            Kind::Zitadel => drop(shared.simulator.zitadel().remove_member(it.project.as_str(), &it.subject)),
        }
    }
    StatusCode::NO_CONTENT
}

async fn begin_outage(State(shared): State<Shared>) -> StatusCode {
    shared.fronts().into_iter().for_each(|front| front.order(Order::always(Fault::Reset)));
    StatusCode::NO_CONTENT
}

async fn end_outage(State(shared): State<Shared>) -> StatusCode {
    shared.fronts().into_iter().for_each(Front::clear_orders);
    StatusCode::NO_CONTENT
}
