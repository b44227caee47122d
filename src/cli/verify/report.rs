//! The report: one line per step, the times, and the result.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::Reason;
use crate::controller::names::NotUnique;
use crate::core::status::ReadyCondition;
use crate::provider::Error;

/// Why no further step is carried out. What was changed must still be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The check did not begin, for this reason: nothing was changed.
    Refused(String),
    /// The user wants to stop.
    Stopped,
    /// The server does not work well enough to continue.
    GivenUp,
}

/// What is measured, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign in",
            Self::List => "list",
            Self::Write => "write",
            Self::Confirm => "confirm",
            Self::End => "end to gone",
        }
    }
}

/// All measurements.
pub type Times = BTreeMap<MeasuredRequest, Vec<Duration>>;

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
    /// Whether the user wants to stop.
    stop: watch::Receiver<bool>,
    passed: u32,
    failed: u32,
}

impl CheckReport {
    /// An empty report. `stop`: whether the user wants to stop.
    pub fn new(stop: watch::Receiver<bool>) -> Self {
        Self { stop, passed: 0, failed: 0 }
    }

    /// Prints a line. If standard output is closed, the check still continues, so that no project is left partly
    /// changed.
    pub fn print(&self, line: impl Display) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Reports the expected and the actual result of a step. Returns whether it was as expected, or why no further step
    /// is carried out.
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
            _ if *self.stop.borrow() => Err(StopReason::Stopped),
            result => Ok(result.is_ok()),
        }
    }

    /// Reports a step without which the check cannot continue, and returns its result.
    pub fn require(
        &mut self,
        what: &str,
        expected: &str,
        result: Result<String, UnexpectedResult>,
    ) -> Result<String, StopReason> {
        self.step(what, expected, result.clone())?;
        result.map_err(|_| StopReason::GivenUp)
    }

    /// Reports a step that is not carried out, and why.
    pub fn skipped(&self, what: &str, why: &str) {
        self.print(format_args!("--    {what}: skipped: {why}"));
    }

    /// Waits for this long, or until the user wants to stop.
    pub async fn sleep(&mut self, length: Duration) -> Result<(), StopReason> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            _ = self.stop.wait_for(|stop| *stop) => Err(StopReason::Stopped),
        }
    }

    /// Reports the times and the result. Returns whether every step had the expected result.
    pub fn finish(&self, times: Times) -> bool {
        if !times.is_empty() {
            self.print(format_args!(
                "\n{:<12} {:>6} {:>10} {:>10} {:>10}",
                "times", "count", "least", "median", "most"
            ));
        }
        for (measured, mut took) in times {
            took.sort_unstable();
            let count = took.len();
            let [least, median, most] =
                [0, count / 2, count - 1].map(|index| format!("{:.1} ms", took[index].as_secs_f64() * 1000.0));
            self.print(format_args!("{:<12} {count:>6} {least:>10} {median:>10} {most:>10}", measured.name()));
        }
        self.print(format_args!("\nverify: {} passed, {} failed", self.passed, self.failed));
        self.failed == 0
    }
}
