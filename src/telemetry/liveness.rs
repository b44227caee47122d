//! Whether the running passes make progress.
//!
//! A pass that fails has ended, so that a provider that is down is no stall. A pass that waits for a quota, or for another
//! pass on the same target, cannot make progress, and a restart would not help. Such waits are marked with [`waiting`] and
//! do not count as a stall. (How long passes have been due, the queue knows: `controller::queue`.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a pass may make no progress before `/healthz` fails. Every request of a pass has a time limit of 30 s at
/// most, and only a few requests follow each other without a wait for the next permit.
pub const STALLED: Duration = Duration::from_secs(300);

tokio::task_local! {
    /// The running pass. Code that waits reads it, far below the code that knows which pass it is.
    static RUNNING: Handle;
}

/// The running passes of one process. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Passes(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    passes: HashMap<u64, Pass>,
    last: u64,
}

#[derive(Debug)]
struct Pass {
    /// What it works on, as `ProjectMembership/team-a/ci`.
    name: String,
    /// When it last made progress: when it started, or when its last wait ended.
    progress: Instant,
    /// The number of current waits that it cannot finish itself.
    waits: u32,
}

impl Passes {
    /// Runs a pass, or a request that a pass has left to wait for.
    pub async fn run<T>(&self, name: String, pass: impl Future<Output = T>) -> T {
        let number = {
            let mut running = self.lock();
            running.last += 1;
            let number = running.last;
            running.passes.insert(number, Pass { name, progress: Instant::now(), waits: 0 });
            number
        };
        let handle = Handle { passes: self.clone(), number };
        let _finishes = scopeguard::guard(handle.clone(), |handle| drop(handle.passes.lock().passes.remove(&number)));
        RUNNING.scope(handle, pass).await
    }

    /// The pass that has made no progress for the longest time, if that is longer than [`STALLED`].
    pub fn stalled(&self, now: Instant) -> Option<(String, Duration)> {
        let running = self.lock();
        let oldest = running.passes.values().filter(|pass| pass.waits == 0).min_by_key(|pass| pass.progress)?;
        let stalled = now.saturating_duration_since(oldest.progress);
        (stalled > STALLED).then(|| (oldest.name.clone(), stalled))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for something that the running pass cannot finish itself: a quota, or another pass.
pub async fn waiting<T>(wait: impl Future<Output = T>) -> T {
    let running = RUNNING.try_with(Handle::clone);
    let _waits = running.map(|handle| {
        handle.change(|pass| pass.waits += 1);
        scopeguard::guard(handle, |handle| {
            handle.change(|pass| {
                pass.waits = pass.waits.saturating_sub(1);
                pass.progress = Instant::now();
            });
        })
    });
    wait.await
}

#[derive(Clone)]
struct Handle {
    passes: Passes,
    number: u64,
}

impl Handle {
    fn change(&self, change: impl FnOnce(&mut Pass)) {
        self.passes.lock().passes.get_mut(&self.number).map(change);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::Notify;
    use tokio::time::{advance, sleep};

    use super::*;

    const OBJECT: &str = "ProjectMembership/team-a/ci";
    const MINUTE: Duration = Duration::from_secs(60);

    fn stalled(passes: &Passes) -> Option<String> {
        passes.stalled(Instant::now()).map(|(object, _)| object)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_does_not_finish_is_a_stall_and_one_that_finishes_with_an_error_is_none() {
        let passes = Passes::default();
        let never = Notify::new();
        let mut hung = Box::pin(passes.run(OBJECT.to_owned(), never.notified()));
        assert!(hung.as_mut().now_or_never().is_none());
        for _ in 0..6 {
            advance(MINUTE).await;
            let failed: Result<(), ()> = passes.run("ProjectMembership/team-b/ci".to_owned(), async { Err(()) }).await;
            assert!(failed.is_err());
        }
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT));
        drop(hung);
        assert_eq!(stalled(&passes), None);
        assert!(passes.lock().passes.is_empty(), "what has ended leaves nothing behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_waits_for_a_quota_is_due_and_no_stall() {
        let passes = Passes::default();
        let quota = Notify::new();
        let pass = passes.run(OBJECT.to_owned(), async {
            waiting(quota.notified()).await;
            sleep(STALLED + MINUTE).await;
        });
        let mut pass = Box::pin(pass);
        assert!(pass.as_mut().now_or_never().is_none());
        advance(60 * MINUTE).await;
        assert_eq!(stalled(&passes), None);
        quota.notify_one();
        assert!(pass.as_mut().now_or_never().is_none());
        advance(MINUTE).await;
        assert_eq!(stalled(&passes), None, "it has made progress a minute ago");
        advance(STALLED).await;
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT), "it waits for nothing but itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_does_not_hide_a_stall() {
        let passes = Passes::default();
        let pass = passes.run(OBJECT.to_owned(), async {
            let _ = tokio::time::timeout(MINUTE, waiting(futures::future::pending::<()>())).await;
            sleep(2 * STALLED).await;
        });
        let mut pass = Box::pin(pass);
        assert!(pass.as_mut().now_or_never().is_none());
        advance(MINUTE).await;
        assert!(pass.as_mut().now_or_never().is_none());
        advance(STALLED + MINUTE).await;
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT));
    }
}
