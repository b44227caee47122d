//! Runs seeds: `simulation` (see `make simulate`). `SEED`: only this one, with its whole trace. `SEEDS`: the number of
//! seeds, from `FIRST` on (unset: from a random one); `SECONDS`: the duration.

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use simulation::seeds::{run_many, shown};

/// The maximum number of failures.
const ENOUGH: usize = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).and_then(|text| text.parse().ok())
}

fn main() -> ExitCode {
    if let Some(seed) = number("SEED") {
        let outcome = simulation::run(seed);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!(
            "{}",
            outcome
                .failure
                .as_ref()
                .map_or_else(|| "all invariants hold".to_owned(), |f| format!("{}\n{}", f.invariant, f.what))
        );
        return if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let first = number("FIRST").unwrap_or_else(|| RandomState::new().hash_one("seed") >> 16);
    let limit = number("SECONDS").map(Duration::from_secs);
    let most = number("SEEDS").unwrap_or(if limit.is_some() { u64::MAX } else { 2_000 });
    let began = Instant::now();
    let report = run_many(first, most, limit, ENOUGH);
    for outcome in &report.failed {
        println!("{}\n", shown(outcome));
    }
    for outcome in &report.failed {
        if let Some(failure) = &outcome.failure {
            println!("seed {}: {}", outcome.seed, failure.invariant);
        }
    }
    println!(
        "{} seeds from {first} on in {:.0} s, {} failed",
        report.seeds,
        began.elapsed().as_secs_f64(),
        report.failed.len()
    );
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
