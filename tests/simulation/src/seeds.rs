//! Many seeds, on as many threads as the machine has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Outcome, run};
use crate::scheduler::Failure;

/// How many lines of a trace are shown.
const SHOWN: usize = 120;

/// The result of many seeds.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of seeds that ran.
    pub seeds: u64,
    /// Those that failed, by seed.
    pub failed: Vec<Outcome>,
}

/// Runs seeds from `first` on: at most `most`, and none that begins after `limit`. Ends early after `failures` failures.
pub fn run_many(first: u64, most: u64, limit: Option<Duration>, failures: usize) -> Report {
    let (next, ran) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Vec<Outcome>> = Mutex::default();
    let began = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().unwrap_or_else(PoisonError::into_inner).len() >= failures;
                    if number >= most || limit.is_some_and(|limit| began.elapsed() >= limit) || enough {
                        return;
                    }
                    let outcome = guarded(first.wrapping_add(number));
                    ran.fetch_add(1, Ordering::Relaxed);
                    if outcome.failure.is_some() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|outcome| outcome.seed);
    Report { seeds: ran.into_inner(), failed }
}

/// A panic of the operator's is a failure of the seed.
fn guarded(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let failure = Failure { invariant: "nothing panics", what: text.unwrap_or_default() };
        Outcome { seed, trace: Vec::new(), failure: Some(failure) }
    })
}

/// The output for a failed seed: the violated invariant, its trace, and how to run it again.
pub fn shown(outcome: &Outcome) -> String {
    let Some(Failure { invariant, what }) = &outcome.failure else {
        return format!("seed {}: all invariants hold", outcome.seed);
    };
    let from = outcome.trace.len().saturating_sub(SHOWN);
    format!(
        "{}\n\nseed {}: {invariant}\n  {what}\n  again, with the whole trace: SEED={} make simulate",
        outcome.trace[from..].join("\n"),
        outcome.seed,
        outcome.seed
    )
}
