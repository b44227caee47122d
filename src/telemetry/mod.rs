//! What the operator says of itself: metrics, health, logs.

mod json;
mod metrics;
mod serve;

pub use metrics::Metrics;
pub use serve::{Readiness, serve};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// One line of text, for people.
    Human,
}

/// What is logged unless `RUST_LOG` says otherwise. What kube reports of each failing attempt is left out: the operator
/// reports what fails itself, once.
const FILTER: &str = "info,kube_client=warn,kube_client::client::builder=off,kube_runtime=error";

/// Starts logging to standard error. `RUST_LOG` says what is logged; without it, changes and what somebody should look at.
pub fn logs(format: LogFormat) {
    let of_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let filter = of_environment.and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.fmt_fields(JsonFields::new()).event_format(json::Flat).init(),
        LogFormat::Human => builder.init(),
    }
}

/// Becomes true on SIGTERM or SIGINT.
pub fn stop_signal() -> tokio::sync::watch::Receiver<bool> {
    use tokio::signal::unix::{SignalKind, signal};
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        if let (Ok(mut terminate), Ok(mut interrupt)) = signals {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = stop.send(true);
        }
        // Held so that the channel stays open.
        stop.closed().await;
    });
    stopped
}
