//! The report: one line per step, the durations, and the result.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// Signing in and detecting the generation of the API.
    SignIn,
    /// A list of the project's members.
    List,
    /// A write until its response.
    Write,
    /// From the response of a write until a list showed the write.
    Confirm,
    /// From the end of a temporary role until a list showed that it was gone.
    End,
}

impl Timed {
    const ALL: [(Self, &'static str); 5] = [
        (Self::SignIn, "sign in"),
        (Self::List, "list"),
        (Self::Write, "write"),
        (Self::Confirm, "confirm"),
        (Self::End, "end to gone"),
    ];
}

/// Everything that was reported and measured so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    /// Prints a line. If nobody reads it any more, the check still continues, so that no project is left half changed.
    pub fn say(&self, line: impl Display) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Reports the expectation and the result of a step: `Ok` as expected, `Err` not. Returns whether it was as
    /// expected.
    pub fn step(&mut self, what: &str, expected: &str, came: &Result<String, String>) -> bool {
        let (word, came) = match came {
            Ok(came) => ("ok  ", came),
            Err(came) => ("FAIL", came),
        };
        self.say(format_args!("{word}  {what}: expected {expected}; came {came}"));
        match word {
            "FAIL" => self.failed += 1,
            _ => self.passed += 1,
        }
        word != "FAIL"
    }

    /// Reports what is not tried, and why.
    pub fn left_out(&self, what: &str, why: &str) {
        self.say(format_args!("--    {what}: not tried: {why}"));
    }

    /// Whether every step had the expected result.
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// Reports how long things took and the result.
    pub fn finish(&self, times: &[(Timed, Duration)]) {
        if !times.is_empty() {
            self.say(format_args!("\n{:<12} {:>6} {:>10} {:>10} {:>10}", "times", "count", "least", "median", "most"));
        }
        for (timed, name) in Timed::ALL {
            let mut of: Vec<Duration> = times.iter().filter(|(t, _)| *t == timed).map(|(_, took)| *took).collect();
            of.sort_unstable();
            let (Some(least), Some(median), Some(most)) = (of.first(), of.get(of.len() / 2), of.last()) else {
                continue;
            };
            let ms = |took: &Duration| format!("{:.1} ms", took.as_secs_f64() * 1000.0);
            self.say(format_args!("{name:<12} {:>6} {:>10} {:>10} {:>10}", of.len(), ms(least), ms(median), ms(most)));
        }
        self.say(format_args!("\nverify: {} passed, {} failed", self.passed, self.failed));
    }
}
