//! `make bench`: what the operator costs.
//!
//! A real etcd (with fsync) and kube-apiserver, the simulated providers as a process with a delay for each request, and
//! the operator as a process under its own ServiceAccount. Requests are counted at the API server and at the providers,
//! correctness is read at the providers, memory and processor time are the kernel's. In the same run, a bare generator
//! sends the fewest requests possible, so that a busy machine slows down both. `docs/performance.md` explains the table.

mod bounds;
mod cluster;
mod error;
mod generator;
mod growth;
mod machine;
mod measure;
mod operator;
mod plot;
mod progress;
mod provider;
mod report;
mod rows;
mod settings;
mod stage;
mod table;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use error::{Doing, Error, Result};
use report::{Failure, Figures, Report};
use rows::{arrival, backlog, expiry, outage, replacements, variants};
use settings::{Row, Settings};
use targets::Kind;

/// Measures what the operator costs.
#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, print the table, and write the report and the plot.
    Run(Settings),
    /// Compare reports of runs with different N.
    Growth(Growth),
    /// Serve the simulated providers: the bench starts this itself.
    #[command(hide = true)]
    Provider(Provider),
}

#[derive(Args)]
struct Growth {
    /// Reports of runs.
    #[arg(required = true, num_args = 2..)]
    reports: Vec<PathBuf>,
    /// Assert the bounds.
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
struct Provider {
    /// The port on which the bench asks.
    #[arg(long)]
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    // reqwest has to be given which implementation of TLS to use; it fails only if it has one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Arguments::parse().command {
        Command::Provider(Provider { port }) => provider::server::run(port).await.map(|()| true),
        Command::Run(settings) => run(settings).await,
        Command::Growth(growth) => compare(&growth),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures. Whether everything was measured and, if it is asserted, within its bounds.
async fn run(settings: Settings) -> Result<bool> {
    if !settings.operator.is_file() {
        let message =
            format!("{} is no file: build the operator first, as make bench does", settings.operator.display());
        return Err(Error::new(message));
    }
    let (began, started) = (Instant::now(), jiff::Timestamp::now());
    let machine = machine::describe(&std::env::temp_dir());
    let (mut found, mut failures) = (Figures::default(), Vec::new());
    for group in GROUPS {
        if !settings.has_any(group) {
            continue;
        }
        let Some(row) = group.first().copied() else { continue };
        if let Err(error) = measure(&settings, row, &mut found).await {
            progress::say(&format!("{}: {error}", row.name()));
            failures.push(Failure { row: row.name(), message: error.to_string() });
        }
    }
    let mut report = Report {
        n: settings.n,
        command: settings.command(),
        commit: machine::commit(),
        machine,
        began: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        seconds: began.elapsed().as_secs_f64(),
        figures: found.figures,
        curves: found.curves,
        failures,
    };
    report.bound(bounds::BOUNDS);
    write(&report, &settings.output)?;
    println!("{}", table::of(&report));
    Ok(conclude(&report, settings.check))
}

/// Rows that share a control plane, named by the first of them.
const GROUPS: &[&[Row]] = &[
    &[Row::Arrival, Row::Restart, Row::Idle, Row::Drift, Row::Deletion],
    &[Row::Temporary],
    &[Row::Names],
    &[Row::Zitadel],
    &[Row::Expiry],
    &[Row::ExpiryZitadel],
    &[Row::Replacements],
    &[Row::Outage],
    &[Row::Backlog],
];

async fn measure(settings: &Settings, group: Row, found: &mut Figures) -> Result<()> {
    match group {
        Row::Temporary | Row::Names => variants::run(settings, group, found).await,
        Row::Zitadel => arrival::run(settings, Kind::Zitadel, found).await,
        Row::Expiry => expiry::infisical(settings, found).await,
        Row::ExpiryZitadel => expiry::zitadel(settings, found).await,
        Row::Replacements => replacements::run(settings, found).await,
        Row::Outage => outage::run(settings, found).await,
        Row::Backlog => backlog::run(settings, found).await,
        _ => arrival::run(settings, Kind::Infisical, found).await,
    }
}

/// Writes the report, and the plot beside it.
fn write(report: &Report, path: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report).doing("write the report as JSON")?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).doing(&format!("create {}", folder.display()))?;
    }
    std::fs::write(path, json + "\n").doing(&format!("write {}", path.display()))?;
    if let Some(svg) = plot::of(report) {
        let path = path.with_extension("svg");
        std::fs::write(&path, svg).doing(&format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Prints what is violated. Whether everything was measured and, if `check`, within its bounds.
fn conclude(report: &Report, check: bool) -> bool {
    let (passed, failed) = report.verdict();
    if check {
        failed.iter().for_each(|line| println!("FAILED {line}"));
        println!("bench: {passed} passed, {} failed", failed.len());
        return failed.is_empty();
    }
    report.failures.is_empty()
}

fn compare(growth: &Growth) -> Result<bool> {
    let read = |path: &PathBuf| -> Result<Report> {
        let text = std::fs::read_to_string(path).doing(&format!("read {}", path.display()))?;
        serde_json::from_str(&text).doing(&format!("read {} as a report", path.display()))
    };
    let mut runs = growth.reports.iter().map(read).collect::<Result<Vec<Report>>>()?;
    let found = growth::of(&runs)?;
    runs.sort_by_key(|run| run.n);
    let Some(mut report) = runs.pop() else { return Ok(false) };
    (report.figures, report.failures) = (found.figures, Vec::new());
    report.bound(bounds::BOUNDS);
    println!("{}", table::of(&report));
    Ok(conclude(&report, growth.check))
}
