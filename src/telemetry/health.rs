//! The responses of `/healthz` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ApiReachability;
use crate::telemetry::liveness::{Passes, STALLED};

/// How long the API server may leave all requests unanswered before `/readyz` fails.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// Whether the caches are filled, or could be: see `controller::wiring`. Until then `/readyz` responds with 503.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Records that it is ready.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The passes that have not started.
pub trait Backlog: Send + Sync {
    /// How long the oldest pass that is due has been due, started or not.
    fn oldest_due(&self, now: Instant) -> Duration;

    /// What the pass is over that should have started first, and how late it is. All that is due starts at once.
    fn unstarted(&self, now: Instant) -> Option<(String, Duration)>;
}

/// The inputs of both health checks.
#[derive(Clone)]
pub struct Health {
    /// Whether the caches are filled.
    pub caches: Readiness,
    /// Whether the API server responds.
    pub reachability: Arc<ApiReachability>,
    /// The running passes.
    pub passes: Passes,
    /// The passes that are due.
    pub backlog: Arc<dyn Backlog>,
}

impl Health {
    /// Whether every pass that is due makes progress. If one does not, a restart may help.
    ///
    /// # Errors
    /// Names the pass that makes no progress.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let unstarted = || self.backlog.unstarted(now).filter(|(_, late)| *late > STALLED);
        match self.passes.stalled(now).or_else(unstarted) {
            None => Ok(()),
            Some((object, stalled)) => {
                Err(format!("the pass over {object} has made no progress for {} s", stalled.as_secs()))
            }
        }
    }

    /// Whether this replica knows all declarations and can receive changes, or could begin to.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        if !self.caches.is_ready() {
            return Err("the memberships and provider objects are not listed yet: see the log if this takes more than a few seconds".to_owned());
        }
        match self.reachability.unanswered_for(now) {
            unanswered if unanswered > UNREACHABLE => Err(format!(
                "the Kubernetes API server has not responded for {} s: check the network between it and this Pod",
                unanswered.as_secs()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass that should have started a time ago.
    struct Late(Duration);

    impl Backlog for Late {
        fn oldest_due(&self, _: Instant) -> Duration {
            self.0
        }

        fn unstarted(&self, _: Instant) -> Option<(String, Duration)> {
            Some(("ProjectMembership/team-a/ci".to_owned(), self.0))
        }
    }

    fn health(late: Duration) -> Health {
        let (caches, reachability, passes) = Default::default();
        Health { caches, reachability, passes, backlog: Arc::new(Late(late)) }
    }

    #[test]
    fn a_pass_that_never_starts_is_a_stall_after_five_minutes() {
        assert_eq!(health(STALLED).alive(Instant::now()), Ok(()));
        let stalled = health(STALLED + Duration::from_secs(1)).alive(Instant::now());
        let message = "the pass over ProjectMembership/team-a/ci has made no progress for 301 s";
        assert_eq!(stalled, Err(message.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_answers_nothing_makes_it_unready_until_it_answers() {
        let health = health(Duration::ZERO);
        health.caches.ready();
        let began = Instant::now();
        health.reachability.failed(began);
        health.reachability.failed(began + Duration::from_secs(10));
        assert_eq!(health.ready(began + UNREACHABLE), Ok(()));
        let later = began + UNREACHABLE + Duration::from_secs(1);
        assert!(health.ready(later).is_err_and(|what| what.contains("has not responded for 31 s")));
        assert_eq!(health.alive(later), Ok(()), "a restart does not repair the network");
        health.reachability.answered();
        assert_eq!(health.ready(later), Ok(()));
    }
}
