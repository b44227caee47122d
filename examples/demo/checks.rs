//! What was checked, said as it happens, and counted.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The checks so far.
#[derive(Debug, Default)]
pub struct Checks {
    passed: u32,
    /// How many failed.
    pub failed: u32,
}

impl Checks {
    /// One check.
    pub fn is(&mut self, what: &str, holds: bool, found: impl FnOnce() -> String) {
        if holds {
            self.passed += 1;
            println!("  ok    {what}");
        } else {
            self.failed += 1;
            println!("  FAIL  {what}: {}", found());
        }
    }

    /// Waits until `found` is what is expected, and says how long it took.
    pub async fn becomes<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        limit: Duration,
        expected: T,
        mut found: impl FnMut() -> T,
    ) {
        let began = Instant::now();
        while found() != expected && began.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let last = found();
        let what = format!("{what} ({:.2} s)", began.elapsed().as_secs_f64());
        self.is(&what, last == expected, || format!("expected {expected:?} at the provider, found {last:?}"));
    }

    /// The last line, and the exit code.
    pub fn close(self) -> ExitCode {
        println!("\ndemo: {} checks passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Role names as a provider answers them.
pub fn roles(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A heading.
pub fn scene(title: &str) {
    println!("\n{title}");
}
