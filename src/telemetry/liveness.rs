//! Which passes are due and have not finished.
//!
//! A pass is due from when it is requested until it finishes, with any result: a provider that is down makes passes
//! fail, and a failed pass is finished. A pass that waits for a quota, or for another pass on the same target, is due
//! but cannot make progress, and a restart would not help. Such waits are marked with [`waiting`] and do not count as a
//! stall.

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

/// The passes of one process. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Passes(Arc<Mutex<HashMap<Arc<str>, ObjectPasses>>>);

/// The passes over one object, whose name has the form `ProjectMembership/team-a/ci`.
#[derive(Clone, Copy, Debug, Default)]
struct ObjectPasses {
    /// Since when a pass that has not started has been requested.
    asked: Option<Instant>,
    running: Option<Pass>,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    /// Since when the pass has been due.
    due: Instant,
    /// When the pass last made progress: when it started, or when its last wait ended.
    progress: Instant,
    /// The number of current waits of the pass that it cannot finish itself.
    waits: u32,
}

impl Passes {
    /// A pass over an object is due from now on, unless one was due already.
    pub fn asked(&self, object: &str) {
        self.lock().entry(object.into()).or_default().asked.get_or_insert_with(Instant::now);
    }

    /// Runs a pass over an object.
    pub async fn run<T>(&self, object: impl Into<Arc<str>>, pass: impl Future<Output = T>) -> T {
        let handle = self.begin(object.into(), 0);
        let _finishes = scopeguard::guard(handle.clone(), Handle::finish);
        RUNNING.scope(handle, pass).await
    }

    fn begin(&self, object: Arc<str>, waits: u32) -> Handle {
        let mut passes = self.lock();
        let entry = passes.entry(object.clone()).or_default();
        let due = entry.asked.take().unwrap_or_else(Instant::now);
        entry.running = Some(Pass { due, progress: Instant::now(), waits });
        Handle { passes: self.clone(), object }
    }

    /// Runs what a pass over an object has left to wait for. It has a name of its own, because the next pass may run at the
    /// same time: neither hides that the other makes no progress.
    pub async fn ticket<T>(&self, object: &str, ticket: impl Future<Output = T>) -> T {
        self.run(ticket_of(object), ticket).await
    }

    /// As [`Passes::ticket`], of something that waits until it is called. Dropping what this returns ends the wait.
    pub fn waits(&self, object: &str) -> impl Send + use<> {
        scopeguard::guard(self.begin(ticket_of(object), 1), Handle::finish)
    }

    /// The object is gone: no pass over it is due any more. A running pass continues.
    pub fn forget(&self, object: &str) {
        self.settle(object, |entry| entry.asked = None);
    }

    /// As [`Passes::forget`], for each object of a kind for which `exists` returns false.
    pub fn forget_missing(&self, kind: &str, exists: impl Fn(&str) -> bool) {
        let of_kind = |object: &str| object.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
        self.lock().retain(|object, entry| {
            if of_kind(object) && !exists(object) {
                entry.asked = None;
            }
            entry.is_needed()
        });
    }

    /// How long the oldest pass that is due has been due.
    pub fn oldest_due(&self, now: Instant) -> Duration {
        let due = |entry: &ObjectPasses| entry.running.map(|pass| pass.due).into_iter().chain(entry.asked).min();
        let oldest = self.lock().values().filter_map(due).min();
        oldest.map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// The pass that has made no progress for the longest time, if that is longer than [`STALLED`].
    pub fn stalled(&self, now: Instant) -> Option<(String, Duration)> {
        let since = |entry: &ObjectPasses| match entry.running {
            // A pass that was requested in the meantime waits for this one.
            Some(pass) => (pass.waits == 0).then_some(pass.progress),
            None => entry.asked,
        };
        let passes = self.lock();
        let (object, since) = passes
            .iter()
            .filter_map(|(object, entry)| Some((object, since(entry)?)))
            .min_by_key(|(_, since)| *since)?;
        let stalled = now.saturating_duration_since(since);
        (stalled > STALLED).then(|| (object.to_string(), stalled))
    }

    /// Changes what is known about an object, and removes the entry if nothing is left.
    fn settle(&self, object: &str, change: impl FnOnce(&mut ObjectPasses)) {
        let mut passes = self.lock();
        if let Some(entry) = passes.get_mut(object) {
            change(entry);
            if !entry.is_needed() {
                passes.remove(object);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, ObjectPasses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectPasses {
    fn is_needed(&self) -> bool {
        self.asked.is_some() || self.running.is_some()
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
    object: Arc<str>,
}

fn ticket_of(object: &str) -> Arc<str> {
    format!("{object} (ticket)").into()
}

impl Handle {
    fn finish(self) {
        self.passes.settle(&self.object, |entry| entry.running = None);
    }

    fn change(&self, change: impl FnOnce(&mut Pass)) {
        self.passes.settle(&self.object, |entry| {
            if let Some(pass) = &mut entry.running {
                change(pass);
            }
        });
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
    async fn a_pass_that_was_asked_for_and_never_starts_is_a_stall_after_five_minutes() {
        let passes = Passes::default();
        passes.asked(OBJECT);
        advance(STALLED).await;
        assert_eq!(stalled(&passes), None);
        passes.asked(OBJECT);
        advance(MINUTE).await;
        assert_eq!(
            passes.oldest_due(Instant::now()),
            STALLED + MINUTE,
            "it counts from the first time it was asked for"
        );
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT));
        passes.run(OBJECT.to_owned(), async {}).await;
        assert_eq!((stalled(&passes), passes.oldest_due(Instant::now())), (None, Duration::ZERO));
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
        assert_eq!((stalled(&passes), passes.oldest_due(Instant::now())), (None, Duration::ZERO));
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
        assert_eq!(passes.oldest_due(Instant::now()), 60 * MINUTE);
        quota.notify_one();
        assert!(pass.as_mut().now_or_never().is_none());
        advance(MINUTE).await;
        assert_eq!(stalled(&passes), None, "it has made progress a minute ago");
        advance(STALLED).await;
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT), "it waits for nothing but itself");
    }

    /// Seen failing when a ticket had the name of its target: it took the request of a pass for its own, and the end of
    /// either counted as the end of both.
    #[tokio::test(start_paused = true)]
    async fn a_ticket_hides_no_stall_of_a_pass_and_a_pass_none_of_a_ticket() {
        let passes = Passes::default();
        let never = Notify::new();
        passes.asked(OBJECT);
        let waits = waiting(never.notified());
        let mut waits = Box::pin(passes.ticket(OBJECT, waits));
        assert!(waits.as_mut().now_or_never().is_none());
        advance(STALLED + MINUTE).await;
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT), "the pass that was asked for never starts");
        let mut hung = Box::pin(passes.run(OBJECT.to_owned(), never.notified()));
        assert!(hung.as_mut().now_or_never().is_none());
        drop(waits);
        advance(STALLED + MINUTE).await;
        assert_eq!(stalled(&passes).as_deref(), Some(OBJECT), "the pass does not end with the ticket");
        drop(hung);
        let mut hung = Box::pin(passes.ticket(OBJECT, never.notified()));
        assert!(hung.as_mut().now_or_never().is_none());
        passes.run(OBJECT.to_owned(), async {}).await;
        advance(STALLED + MINUTE).await;
        assert!(stalled(&passes).is_some(), "nor the ticket with the pass");
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

    #[tokio::test(start_paused = true)]
    async fn no_pass_over_an_object_that_is_gone_is_due() {
        let passes = Passes::default();
        passes.asked(OBJECT);
        passes.forget(OBJECT);
        assert_eq!(passes.lock().len(), 0);
        passes.asked("ProjectMembership/team-a/unseen");
        passes.asked("MembershipProvider/team-a/infisical");
        passes.forget_missing("ProjectMembership", |_| false);
        assert_eq!(passes.lock().keys().map(|key| &**key).collect::<Vec<_>>(), ["MembershipProvider/team-a/infisical"]);
        passes.run(OBJECT.to_owned(), async { passes.forget(OBJECT) }).await;
        assert_eq!(passes.lock().len(), 1, "what has finished leaves nothing behind");
    }
}
