//! One seed from beginning to end: users act while faults occur, then the faults stop and the state must become stable.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use membership_operator::clock::Clock;
use membership_operator::lease;
use tokio::time::{Instant, sleep};

use crate::apiserver::ApiServer;
use crate::book::{Book, NAMESPACE};
use crate::kubernetes::ToKubernetes;
use crate::life::Life;
use crate::oracle;
use crate::process::Process;
use crate::providers::{Providers, TARGETS, ToProviders};
use crate::rng::Rng;
use crate::scheduler::{Failure, Odds, Scheduler, Server};
use crate::users::Users;

/// How long it may take, after the last fault, until everything is as expected: the longest temporary grant that ends
/// during the check, and the longest wait after failures.
const SETTLES: Duration = Duration::from_secs(20 * 60);
/// How often it is checked meanwhile.
const LOOKS: Duration = Duration::from_secs(15);
/// How long nothing may be written in the end: longer than the resync interval.
const RESTS: Duration = Duration::from_secs(75);

/// The result of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    /// What happened, in order.
    pub trace: Vec<String>,
    /// The invariant that didn't hold.
    pub failure: Option<Failure>,
}

/// The settings of a run, from its seed.
struct Plan {
    replicas: usize,
    odds: Odds,
    steps: u64,
    names: usize,
    targets: usize,
    /// The duration of the Lease in seconds.
    lease: u64,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 3);
        let quiet = rng.chance(150);
        let odds = if quiet {
            Odds::default()
        } else {
            Odds {
                kubernetes: *rng.one_of(&[0, 20, 60, 150]),
                providers: *rng.one_of(&[0, 30, 80, 200]),
                dies: *rng.one_of(&[0, 5, 20, 50]),
                watch: *rng.one_of(&[0, 100, 300]),
                still: 0,
            }
        };
        let replicas = if rng.chance(250) { 2 } else { 1 };
        let odds = Odds { still: if replicas > 1 && !quiet { *rng.one_of(&[0, 10, 40]) } else { 0 }, ..odds };
        Self {
            replicas,
            odds,
            steps: rng.between(3, 20),
            names: usize::try_from(rng.between(1, 4)).unwrap_or(1),
            targets: usize::try_from(rng.between(1, 3)).unwrap_or(1),
            lease: *rng.one_of(&[20, 60, 60]),
        }
    }
}

/// Runs a seed, on this thread.
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(running(seed)),
        Err(error) => Outcome {
            seed,
            trace: Vec::new(),
            failure: Some(Failure { invariant: "there is a runtime", what: error.to_string() }),
        },
    }
}

async fn running(seed: u64) -> Outcome {
    // So that an instant some hours ago can be represented, even shortly after the machine was booted.
    tokio::time::advance(Duration::from_secs(86_400)).await;
    let plan = Plan::of(seed);
    let clock = Clock::following("2026-01-01T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH));
    let scheduler = Scheduler::new(seed, plan.odds);
    let api = ApiServer::new(clock.clone());
    let providers = {
        let clock = clock.clone();
        Providers::new(move || clock.now())
    };
    let book = Book::new(api.clone(), scheduler.clone(), clock.clone());
    let mut rng = Rng::new(seed, 2);
    let mut users = Users {
        api: api.clone(),
        providers: providers.clone(),
        book: book.clone(),
        scheduler: scheduler.clone(),
        rng: Rng::new(seed, 4),
        targets: (0..plan.targets).map(|index| TARGETS[(index + seed as usize) % TARGETS.len()]).collect(),
        names: (0..plan.names).map(|index| format!("m{index}")).collect(),
    };
    users.set_up();
    let hosts = Hosts {
        api: api.clone(),
        providers: providers.clone(),
        book: book.clone(),
        scheduler: scheduler.clone(),
        clock: clock.clone(),
        lease: (plan.replicas > 1).then_some(plan.lease),
    };
    let replicas: Vec<Replica> = (0..plan.replicas).map(|number| hosts.start(number)).collect();
    for _ in 0..plan.steps {
        let pause = match rng.weighted(&[4, 4, 2]) {
            0 => rng.milliseconds(1, 500),
            1 => rng.milliseconds(500, 15_000),
            _ => rng.milliseconds(15_000, 120_000),
        };
        sleep(pause).await;
        if plan.odds.dies + plan.odds.kubernetes + plan.odds.providers > 0 && rng.chance(250) {
            breaks(&mut rng, &scheduler, &api, &replicas).await;
        } else {
            users.act(clock.now());
        }
        if scheduler.failure().is_some() {
            break;
        }
    }
    if scheduler.failure().is_none() {
        scheduler.faults_stop();
        for replica in &replicas {
            replica.current().pause(false);
        }
        settles(&scheduler, &api, &providers, &book, &clock).await;
    }
    for replica in replicas {
        replica.task.abort();
        drop(replica.task.await);
    }
    Outcome { seed, trace: scheduler.trace(), failure: scheduler.failure() }
}

/// A machine fails, or is repaired.
async fn breaks(rng: &mut Rng, scheduler: &Scheduler, api: &ApiServer, replicas: &[Replica]) {
    let replica = rng.one_of(replicas);
    let life = replica.current();
    match rng.weighted(&[3, 3, 2, 2, 1]) {
        0 => {
            scheduler.write(format!("{} is killed", life.name()));
            life.end();
        }
        1 => {
            let length = rng.milliseconds(500, 90_000);
            scheduler.write(format!("{} stands still for {length:?}", life.name()));
            life.stand_still(length);
        }
        2 => {
            let server = *rng.one_of(&[Server::Kubernetes, Server::Infisical, Server::Zitadel]);
            let length = rng.milliseconds(500, 60_000);
            scheduler.write(format!("{server:?} is down for {length:?}"));
            scheduler.is_down(server, true);
            let scheduler = scheduler.clone();
            tokio::spawn(async move {
                sleep(length).await;
                scheduler.is_down(server, false);
            });
        }
        3 => {
            scheduler.write("the API server forgets its history");
            api.compact();
        }
        _ => {
            scheduler.write("all replicas are killed");
            replicas.iter().for_each(|replica| replica.current().end());
        }
    }
}

/// Faults have stopped: everything must become as declared, and then remain so.
async fn settles(scheduler: &Scheduler, api: &ApiServer, providers: &Providers, book: &Book, clock: &Clock) {
    let until = Instant::now() + SETTLES;
    let mut wrong = vec![("", String::new())];
    while !wrong.is_empty() && Instant::now() < until {
        sleep(LOOKS).await;
        wrong = oracle::wrong(api, providers, book, clock.now());
    }
    for (invariant, what) in wrong {
        scheduler.fails(invariant, what);
    }
    // What only the resync shows, as the number of memberships of a provider object.
    sleep(RESTS).await;
    book.take_writes();
    loop {
        sleep(RESTS).await;
        let writes = book.take_writes();
        if writes.is_empty() {
            return;
        }
        // A grant may have ended, or a late write may not be possible any more.
        if Instant::now() >= until {
            scheduler.fails("it comes to rest", format!("in {RESTS:?}, {SETTLES:?} after the last fault: {writes:#?}"));
            return;
        }
    }
}

/// The environment of the replicas.
#[derive(Clone)]
struct Hosts {
    api: ApiServer,
    providers: Providers,
    book: Book,
    scheduler: Scheduler,
    clock: Clock,
    /// The duration of the Lease in seconds; `None`: there is none.
    lease: Option<u64>,
}

/// A replica: consecutive processes.
struct Replica {
    life: Arc<std::sync::Mutex<Life>>,
    task: tokio::task::JoinHandle<()>,
}

impl Replica {
    /// The current or last process.
    fn current(&self) -> Life {
        self.life.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Hosts {
    /// Starts a replica, which is started again whenever it ends.
    fn start(&self, number: usize) -> Replica {
        let name = move |start: u64| format!("replica-{number}.{start}");
        let life = Arc::new(std::sync::Mutex::new(Life::new(name(0))));
        let (hosts, shared) = (self.clone(), life.clone());
        let task = tokio::spawn(async move {
            for start in 0.. {
                let life = Life::new(name(start));
                *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = life.clone();
                hosts.process(life).run().await;
                let wait = hosts.scheduler.between(200, 20_000);
                hosts.scheduler.write(format!("{} is dead for {wait} ms", name(start)));
                sleep(Duration::from_millis(wait)).await;
            }
        });
        Replica { life, task }
    }

    fn process(&self, life: Life) -> Process {
        let book = self.book.clone();
        let kubernetes = ToKubernetes {
            server: self.api.clone(),
            scheduler: self.scheduler.clone(),
            life: life.clone(),
            sees: Arc::new(move |life, request| book.sees_kubernetes(life, request)),
        };
        let providers = ToProviders {
            providers: self.providers.clone(),
            scheduler: self.scheduler.clone(),
            life: life.clone(),
            witness: Arc::new(self.book.clone()),
        };
        let terms = self.lease.and_then(lease::LeaseTerms::seconds);
        let lease = terms.map(|terms| lease::LeaseConfig { namespace: NAMESPACE.to_owned(), terms });
        Process {
            life,
            kubernetes,
            providers: Arc::new(providers),
            lease,
            clock: self.clock.clone(),
            scheduler: self.scheduler.clone(),
            wired: Arc::new(|_| {}),
        }
    }
}
