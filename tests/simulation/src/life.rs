//! The life of a process: it may die at any moment, and stand still for a while.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// A process's life. Clones are one.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    /// Which process it is, for whoever reads what was written down.
    name: String,
    over: Notify,
    paused: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Life {
    /// A new one.
    pub fn new(name: String) -> Self {
        Self(Arc::new(Inner { name, over: Notify::new(), paused: AtomicBool::new(false), wakers: Mutex::default() }))
    }

    /// Which process it is.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The process dies, where it is.
    pub fn end(&self) {
        self.0.over.notify_one();
    }

    /// Ends when the process dies.
    pub async fn over(&self) {
        self.0.over.notified().await;
    }

    /// The process stands still, as after SIGSTOP, or goes on.
    pub fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The process stands still for so long.
    pub fn stand_still(&self, length: Duration) {
        self.pause(true);
        let life = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            life.pause(false);
        });
    }

    /// Whether the process stands still.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// What the process does, and doesn't while it stands still.
    pub fn live<F: Future>(&self, doing: F) -> Living<F> {
        Living { life: self.clone(), doing: Box::pin(doing) }
    }
}

/// What a process does.
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
