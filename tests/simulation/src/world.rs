//! One operator that acts on an API server and on providers that live in this process, on a simulated clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use membership_operator::clock::Clock;
use membership_operator::controller::context::Context;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::apiserver::ApiServer;
use crate::book::Book;
use crate::kubernetes::ToKubernetes;
use crate::life::Life;
use crate::process::Process;
use crate::providers::{Providers, TARGETS, ToProviders};
use crate::rng::Rng;
use crate::scheduler::{Odds, Scheduler};
use crate::users::Users;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3600);

/// The environment of one operator.
pub struct World {
    pub api: ApiServer,
    pub providers: Providers,
    /// The scheduler, without faults unless configured.
    pub scheduler: Scheduler,
    /// What was written.
    pub book: Book,
    context: Arc<Mutex<Option<Arc<Context>>>>,
    running: JoinHandle<()>,
}

/// Runs a test on a clock that jumps to the next awaited time.
pub fn paused<T>(test: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(test)
}

impl World {
    /// Starts the operator, with a provider object for each provider, and waits until these are Ready.
    pub async fn start(name: &str) -> Result<Self, String> {
        tokio::time::advance(Duration::from_secs(86_400)).await;
        let clock = Clock::following("2026-01-01T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH));
        let scheduler = Scheduler::new(1, Odds::default());
        let api = ApiServer::new(clock.clone());
        let providers = {
            let clock = clock.clone();
            Providers::new(move || clock.now())
        };
        let book = Book::new(api.clone(), scheduler.clone(), clock.clone());
        let users = Users {
            api: api.clone(),
            providers: providers.clone(),
            book: book.clone(),
            scheduler: scheduler.clone(),
            rng: Rng::new(1, 4),
            targets: TARGETS.to_vec(),
            names: Vec::new(),
        };
        users.set_up();
        let life = Life::new(name.to_owned());
        let context: Arc<Mutex<Option<Arc<Context>>>> = Arc::default();
        let wired = context.clone();
        let process = Process {
            kubernetes: ToKubernetes {
                server: api.clone(),
                scheduler: scheduler.clone(),
                life: life.clone(),
                sees: Arc::new(|_, _| {}),
            },
            providers: Arc::new(ToProviders {
                providers: providers.clone(),
                scheduler: scheduler.clone(),
                life: life.clone(),
                witness: Arc::new(book.clone()),
            }),
            life,
            lease: None,
            clock,
            scheduler: scheduler.clone(),
            wired: Arc::new(move |context| {
                *wired.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.clone());
            }),
        };
        let running = tokio::spawn(process.run());
        let world = Self { api, providers, scheduler, book, context, running };
        eventually("the providers are ready", || ready(&world.api.all("membershipproviders")) == 2).await?;
        Ok(world)
    }

    /// The parts of the operator.
    pub fn context(&self) -> Option<Arc<Context>> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// How many objects are Ready, in their present generation.
pub fn ready(objects: &[Value]) -> usize {
    let is_ready = |object: &&Value| {
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    objects.iter().filter(is_ready).count()
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let until = Instant::now() + LONGEST;
    while !is_so() {
        if Instant::now() > until {
            return Err(format!("not within {LONGEST:?}: {what}"));
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
