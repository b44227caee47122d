//! The report: one line per step, the times, and the result.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use super::stop::{StopReason, StopSignal};
use crate::api::Reason;
use crate::controller::names::NotUnique;
use crate::core::policy::Refusal;
use crate::core::status::ReadyCondition;
use crate::provider::Error;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasuredRequest {
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

impl MeasuredRequest {
    const ALL: [(Self, &'static str); 5] = [
        (Self::SignIn, "sign in"),
        (Self::List, "list"),
        (Self::Write, "write"),
        (Self::Confirm, "confirm"),
        (Self::End, "end to gone"),
    ];
}

/// A result that was not expected.
#[derive(Clone, Debug)]
pub struct UnexpectedResult {
    /// The reason that the operator would report; `None`: the server did something else than expected.
    pub reason: Option<Reason>,
    message: String,
}

impl UnexpectedResult {
    /// The server did something else than expected.
    pub fn unexpected(result: impl Into<String>) -> Self {
        Self { reason: None, message: result.into() }
    }

    /// The result, if it is what is expected.
    pub fn unless(result: String, is_expected: bool) -> Result<String, Self> {
        if is_expected { Ok(result) } else { Err(Self::unexpected(result)) }
    }

    /// Whether further requests to the server are pointless.
    fn is_final(&self) -> bool {
        matches!(self.reason, Some(Reason::Unreachable | Reason::Unauthorized | Reason::RateLimited))
    }
}

impl From<ReadyCondition> for UnexpectedResult {
    fn from(ReadyCondition { reason, message }: ReadyCondition) -> Self {
        Self { reason: Some(reason), message }
    }
}

impl From<Refusal> for UnexpectedResult {
    fn from(Refusal { reason, message }: Refusal) -> Self {
        Self { reason: Some(reason), message }
    }
}

impl From<NotUnique> for UnexpectedResult {
    fn from((NotUnique::None(refusal) | NotUnique::Several(refusal)): NotUnique) -> Self {
        refusal.into()
    }
}

impl From<Error> for UnexpectedResult {
    fn from(error: Error) -> Self {
        Self { reason: Some(error.reason()), message: error.to_string() }
    }
}

impl Display for UnexpectedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{reason:?}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// What was reported so far.
#[derive(Debug)]
pub struct CheckReport {
    stop: StopSignal,
    passed: u32,
    failed: u32,
}

impl CheckReport {
    /// An empty report. `stop`: whether the user wants to stop.
    pub fn new(stop: StopSignal) -> Self {
        Self { stop, passed: 0, failed: 0 }
    }

    /// Prints a line. If nobody reads it any more, the check still continues, so that no project is left half changed.
    pub fn print(&self, line: impl Display) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Reports the expected and the actual result of a step. Returns whether it was as expected, or why no further step
    /// is made.
    pub fn step(
        &mut self,
        what: &str,
        expected: &str,
        result: Result<String, UnexpectedResult>,
    ) -> Result<bool, StopReason> {
        match &result {
            Ok(got) => self.print(format_args!("ok    {what}: expected {expected}; got {got}")),
            Err(got) => self.print(format_args!("FAIL  {what}: expected {expected}; got {got}")),
        }
        *(if result.is_ok() { &mut self.passed } else { &mut self.failed }) += 1;
        match result {
            Err(failure) if failure.is_final() => Err(StopReason::GivenUp),
            result => self.stop.check().map(|()| result.is_ok()),
        }
    }

    /// Reports a step that is not carried out, and why.
    pub fn skipped(&self, what: &str, why: &str) {
        self.print(format_args!("--    {what}: skipped: {why}"));
    }

    /// Waits for this long, or until the user wants to stop.
    pub async fn sleep(&mut self, length: Duration) -> Result<(), StopReason> {
        self.stop.sleep(length).await
    }

    /// Whether every step had the expected result.
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// Reports the times and the result.
    pub fn finish(&self, times: &[(MeasuredRequest, Duration)]) {
        if !times.is_empty() {
            self.print(format_args!(
                "\n{:<12} {:>6} {:>10} {:>10} {:>10}",
                "times", "count", "least", "median", "most"
            ));
        }
        for (timed, name) in MeasuredRequest::ALL {
            let mut of: Vec<Duration> = times.iter().filter(|(t, _)| *t == timed).map(|(_, took)| *took).collect();
            of.sort_unstable();
            if let (Some(least), Some(median), Some(most)) = (of.first(), of.get(of.len() / 2), of.last()) {
                let [least, median, most] =
                    [least, median, most].map(|took| format!("{:.1} ms", took.as_secs_f64() * 1000.0));
                self.print(format_args!("{name:<12} {:>6} {least:>10} {median:>10} {most:>10}", of.len()));
            }
        }
        self.print(format_args!("\nverify: {} passed, {} failed", self.passed, self.failed));
    }
}
