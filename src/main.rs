//! The subcommands, one call each.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use membership_operator::api::crds;
use membership_operator::cli::arguments::{Arguments, Command, Run};
use membership_operator::cli::verify;
use membership_operator::{controller, telemetry};
use tokio::signal::unix::SignalKind;

// One arena and no idle pages (`.cargo/config.toml`): docs/performance.md.
#[cfg(not(feature = "heap-profile"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "heap-profile")]
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "heap-profile")]
    let _profile = dhat::Profiler::new_heap();
    let result = match Arguments::parse().command {
        Command::Crds(to) => crds::print(to.directory.as_deref()),
        Command::Run(arguments) => return run(arguments).await,
        Command::VerifyProvider(verify) => {
            // A user is at a terminal, which may be closed.
            let stop = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
            return verify::run(*verify, telemetry::stop_signal(&stop)).await;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Unlike `eprintln!`, this does not panic if the other end of standard error is closed.
            let _ = writeln!(std::io::stderr(), "membership-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Run) -> ExitCode {
    let _logs = telemetry::logs(arguments.log_format);
    let stop = [SignalKind::terminate(), SignalKind::interrupt()];
    let result = match arguments.config() {
        Ok(config) => controller::run(config, telemetry::stop_signal(&stop)).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
