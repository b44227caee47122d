//! Objects, projects and endpoints that come and go: what the operator remembers of them goes too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use membership_operator::clock::Clock;
use membership_operator::controller::garbage;
use membership_operator::controller::providers::Checker;
use serde_json::{Value, json};
use simulator::worlds;
use tokio::time::{Instant, sleep};

use crate::apiserver::ApiServer;
use crate::book::{Book, MEMBERSHIPS, NAMESPACE};
use crate::kubernetes::ToKubernetes;
use crate::life::Life;
use crate::process::Process;
use crate::providers::{Providers, TARGETS, ToProviders};
use crate::rng::Rng;
use crate::scheduler::{Odds, Scheduler};
use crate::users::Users;

/// The longest that anything is waited for.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many entries there are about each kind of thing.
pub type Entries = Vec<(&'static str, usize)>;

/// What is remembered before any object came, while all are there, and when they are gone and some minutes have passed.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Before.
    pub before: Entries,
    /// While they are there.
    pub meanwhile: Entries,
    /// Afterwards.
    pub after: Entries,
}

/// Lets `count` memberships in as many projects, and as many provider objects with URLs of their own, come and go.
pub fn churn(count: usize) -> Result<Remembered, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(churning(count))
}

async fn churning(count: usize) -> Result<Remembered, String> {
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
    let life = Life::new("churn".to_owned());
    let checker: Arc<Mutex<Option<Arc<Checker>>>> = Arc::default();
    let wired = checker.clone();
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
            witness: Arc::new(book),
        }),
        life,
        lease: None,
        clock,
        scheduler,
        wired: Arc::new(move |checker| {
            *wired.lock().unwrap_or_else(PoisonError::into_inner) = Some(checker.clone());
        }),
    };
    let running = tokio::spawn(process.run());
    let entries = || {
        let checker = checker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        checker.map_or_else(Vec::new, |checker| garbage::entries(&checker).to_vec())
    };
    eventually("the providers are ready", || ready(&api.all("membershipproviders")) == 2).await?;
    let before = entries();
    for number in 0..count {
        comes(&api, &providers, number);
    }
    eventually("all memberships are Ready", || ready(&api.all(MEMBERSHIPS)) == count).await?;
    let meanwhile = entries();
    // Half of them go unseen: their deletions are missing from the history that the watch asks for.
    for number in 0..count {
        drop(api.delete(MEMBERSHIPS, (NAMESPACE, &format!("m{number}"))));
        if number == count / 2 {
            api.compact();
        }
    }
    eventually("all memberships are gone", || api.all(MEMBERSHIPS).is_empty()).await?;
    for number in 0..count {
        drop(api.delete("membershipproviders", (NAMESPACE, &format!("p{number}"))));
    }
    eventually("their providers are gone", || api.all("membershipproviders").len() == 2).await?;
    let until = Instant::now() + Duration::from_secs(300);
    while entries() != before && Instant::now() < until {
        sleep(Duration::from_secs(5)).await;
    }
    let after = entries();
    running.abort();
    Ok(Remembered { before, meanwhile, after })
}

/// A membership in a project of its own, and a provider object for a server that is not there.
fn comes(api: &ApiServer, providers: &Providers, number: usize) {
    let (project, subject) = (format!("5006234{number:011}"), format!("5006235{number:011}"));
    let zitadel = providers.simulator.zitadel();
    zitadel.add_project(&project, worlds::ZITADEL_PROJECT_ORG, &format!("project-{number}"));
    zitadel.add_user(&subject, worlds::ZITADEL_PROJECT_ORG, &format!("user-{number}"));
    let membership = json!({"metadata": {"name": format!("m{number}")}, "spec": {
        "providerRef": {"name": "zitadel"}, "project": {"id": project}, "subject": {"kind": "User", "id": subject},
        "roles": [{"role": "PROJECT_OWNER_VIEWER"}],
    }});
    drop(api.create(MEMBERSHIPS, NAMESPACE, &membership));
    let provider = json!({"metadata": {"name": format!("p{number}")}, "spec": {"zitadel": {
        "url": format!("https://{number}.zitadel.test"), "organizationId": worlds::ZITADEL_PROJECT_ORG,
        "auth": {"personalAccessTokenSecretRef": {"name": "zitadel", "key": "token"}},
    }}});
    drop(api.create("membershipproviders", NAMESPACE, &provider));
}

fn ready(objects: &[Value]) -> usize {
    let conditions = |object: &&Value| object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_ready = |object: &&Value| conditions(object).iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    let names: BTreeSet<String> = objects.iter().filter(is_ready).map(|o| o["metadata"]["name"].to_string()).collect();
    names.len()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let until = Instant::now() + LONGEST;
    while !is_so() {
        if Instant::now() > until {
            return Err(format!("not within {LONGEST:?}: {what}"));
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
