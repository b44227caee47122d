//! The responses of `/healthz` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ApiReachability;
use crate::telemetry::liveness::Passes;

/// How long the API server may leave all requests unanswered before `/readyz` fails.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// Whether the caches are filled. Until then no pass runs, and `/readyz` responds with 503.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Records that the caches are filled.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the caches are filled.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The inputs of both health checks.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Whether the caches are filled.
    pub caches: Readiness,
    /// Whether the API server answers.
    pub reachability: Arc<ApiReachability>,
    /// The passes that are due.
    pub passes: Passes,
}

impl Health {
    /// Whether every pass that is due makes progress. If one does not, a restart may help.
    ///
    /// # Errors
    /// Names the pass that makes no progress.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        match self.passes.stalled(now) {
            None => Ok(()),
            Some((object, stalled)) => {
                Err(format!("the pass over {object} has made no progress for {} s", stalled.as_secs()))
            }
        }
    }

    /// Whether this replica knows all declarations, and can receive changes.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn ready(&self, now: Instant) -> Result<(), String> {
        if !self.caches.is_ready() {
            return Err("the caches aren't filled yet".to_owned());
        }
        match self.reachability.unanswered_for(now) {
            unanswered if unanswered > UNREACHABLE => Err(format!(
                "the Kubernetes API server has answered no request for {} s: check the network between it and this Pod",
                unanswered.as_secs()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_answers_nothing_makes_it_unready_until_it_answers() {
        let health = Health::default();
        health.caches.ready();
        let began = Instant::now();
        health.reachability.failed(began);
        health.reachability.failed(began + Duration::from_secs(10));
        assert_eq!(health.ready(began + UNREACHABLE), Ok(()));
        let later = began + UNREACHABLE + Duration::from_secs(1);
        assert!(health.ready(later).is_err_and(|what| what.contains("answered no request for 31 s")));
        assert_eq!(health.alive(later), Ok(()), "no restart mends the network");
        health.reachability.answered();
        assert_eq!(health.ready(later), Ok(()));
    }
}
