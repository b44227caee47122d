//! Stopping early: what was changed must still be restored.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why no further step is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user wants to stop.
    Stopped,
    /// The server does not work well enough to continue.
    GivenUp,
}

/// Whether to stop: SIGTERM, Ctrl-C, or a terminal that is closed.
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// `told` is the operator's own signal. SIGHUP counts as well here, because the user is at a terminal.
    pub fn new(mut told: watch::Receiver<bool>) -> Self {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let hung_up = async {
                match signal(SignalKind::hangup()) {
                    Ok(mut hangup) => drop(hangup.recv().await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = told.wait_for(|told| *told) => {}
                () = hung_up => {}
            }
            let _ = stop.send(true);
            // Keeps the sender alive, so that the channel stays open.
            stop.closed().await;
        });
        Self(stopped)
    }

    /// An error once the user wants to stop.
    pub fn check(&self) -> Result<(), Ended> {
        if *self.0.borrow() { Err(Ended::Stopped) } else { Ok(()) }
    }

    /// Waits for this long, or until the user wants to stop.
    pub async fn sleep(&mut self, length: std::time::Duration) -> Result<(), Ended> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            _ = self.0.wait_for(|stop| *stop) => Err(Ended::Stopped),
        }
    }
}
