//! Stopping early: what was changed must still be restored.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why no further step is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The check did not begin, for this reason: nothing was changed.
    Refused(String),
    /// The user wants to stop.
    Stopped,
    /// The server does not work well enough to continue.
    GivenUp,
}

/// Whether to stop: SIGTERM, Ctrl-C, or a terminal that is closed.
#[derive(Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// `signalled` is the operator's own signal. SIGHUP counts as well here, because the user is at a terminal.
    pub fn new(mut signalled: watch::Receiver<bool>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let hangup = signal(SignalKind::hangup());
        tokio::spawn(async move {
            let hung_up = async {
                match hangup {
                    Ok(mut hangup) => drop(hangup.recv().await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = signalled.wait_for(|signalled| *signalled) => {}
                () = hung_up => {}
            }
            stop.send_replace(true);
        });
        Self(stopped)
    }

    /// An error once the user wants to stop.
    pub fn check(&self) -> Result<(), StopReason> {
        if *self.0.borrow() { Err(StopReason::Stopped) } else { Ok(()) }
    }

    /// Waits for this long, or until the user wants to stop.
    pub async fn sleep(&mut self, length: std::time::Duration) -> Result<(), StopReason> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            _ = self.0.wait_for(|stop| *stop) => Err(StopReason::Stopped),
        }
    }
}
