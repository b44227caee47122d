//! What the operator reports about itself: metrics, health, logs.

mod exposition;
mod health;
mod json;
pub mod liveness;
mod metrics;
mod observer;
mod reachability;
mod serve;

pub use exposition::Format;
pub use health::{Backlog, Health, Readiness};
pub use metrics::Metrics;
pub use observer::{ObservedRequest, Observer, RequestOutcome};
pub use reachability::ApiReachability;
pub use serve::serve;

use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

/// How many log lines may wait to be written. Further lines are dropped.
const WAITING_LINES: usize = 2_000;
/// How long the process waits at its end until the remaining lines are written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// One line of text, for people.
    Human,
}

/// What is logged if `RUST_LOG` is not set. kube's reports of individual failed attempts are left out, because the
/// operator itself reports each failure once.
const FILTER: &str = "info,kube_client=warn,kube_client::client::builder=off,kube_runtime=error";

/// Starts logging to standard error. `RUST_LOG` selects what is logged; without it, changes and problems that need
/// attention are logged. Logging never blocks the process: a separate thread writes the lines, so that nothing waits
/// for a pipe that is not read, and a line that cannot be written is lost.
pub fn logs(format: LogFormat) -> Logs {
    let of_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let filter = of_environment.and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(FILTER));
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("logs")
        .finish(std::io::stderr());
    // tracing-subscriber would print its own errors to standard error, which has just failed, and would panic.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match format {
        LogFormat::Json => builder.fmt_fields(JsonFields::new()).event_format(json::Flat).init(),
        LogFormat::Human => builder.init(),
    }
    Logs(Some(worker))
}

/// The log. When it is dropped, the remaining lines are written, if that is possible within [`LAST_LINES`].
pub struct Logs(Option<WorkerGuard>);

impl Drop for Logs {
    fn drop(&mut self) {
        let worker = self.0.take();
        let (done, written) = std::sync::mpsc::channel();
        // If too many lines wait, the guard reports that on standard output, which may block or panic.
        let waiter = std::thread::Builder::new().spawn(move || {
            drop(worker);
            let _ = done.send(());
        });
        if waiter.is_ok() {
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

/// Becomes true on the first of these signals.
pub fn stop_signal(kinds: &[SignalKind]) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    for kind in kinds {
        // Here and not in the task: a signal that arrives before the task first runs counts as well.
        let received = signal(*kind);
        let stop = stop.clone();
        tokio::spawn(async move {
            if let Ok(mut received) = received {
                received.recv().await;
                stop.send_replace(true);
            }
            // Keeps the sender alive, so that the channel stays open.
            stop.closed().await;
        });
    }
    stopped
}
