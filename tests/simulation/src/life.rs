//! The life cycle of a process: it may be killed at any moment, or suspended for some time.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// A process's life cycle. Clones share it.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    /// The name of the process, for the trace.
    name: String,
    over: Notify,
    paused: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    passes: AtomicUsize,
    most_passes: AtomicUsize,
}

impl Life {
    /// A new one.
    pub fn new(name: String) -> Self {
        Self(Arc::new(Inner {
            name,
            over: Notify::new(),
            paused: AtomicBool::new(false),
            wakers: Mutex::default(),
            passes: AtomicUsize::new(0),
            most_passes: AtomicUsize::new(0),
        }))
    }

    /// The name of the process.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs a pass of the process.
    pub async fn pass<T>(&self, pass: impl Future<Output = T>) -> T {
        let running = self.0.passes.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_passes.fetch_max(running, Ordering::Relaxed);
        let result = self.live(pass).await;
        self.0.passes.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// The most passes that have run at once.
    pub fn most_passes(&self) -> usize {
        self.0.most_passes.load(Ordering::Relaxed)
    }

    /// Kills the process.
    pub fn end(&self) {
        self.0.over.notify_one();
    }

    /// Completes when the process is killed.
    pub async fn over(&self) {
        self.0.over.notified().await;
    }

    /// Suspends the process, as SIGSTOP does, or resumes it.
    pub fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Suspends the process for this duration.
    pub fn stand_still(&self, length: Duration) {
        self.pause(true);
        let life = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            life.pause(false);
        });
    }

    /// Whether the process is suspended.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// The work of the process, which stops while it is suspended.
    pub fn live<F: Future>(&self, doing: F) -> Living<F> {
        Living { life: self.clone(), doing: Box::pin(doing) }
    }
}

/// The work of a process.
pub struct Living<F> {
    life: Life,
    doing: Pin<Box<F>>,
}

impl<F: Future> Future for Living<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.life.is_paused() {
            self.life.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(context.waker().clone());
            return Poll::Pending;
        }
        self.doing.as_mut().poll(context)
    }
}
