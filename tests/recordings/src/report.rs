//! What came of a run: a line a file and direction, the failures, what was left out, and one last line.

use std::collections::BTreeMap;
use std::fmt;

/// Something that isn't as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `infisical/errors.json 7`
    pub place: String,
    /// The exchange's name and request; or what is wrong with a file.
    pub what: String,
    /// What was expected; empty where `what` says it all.
    pub expected: String,
    /// What came.
    pub came: String,
    /// Where the expectation follows from.
    pub because: String,
}

impl Failure {
    /// Something is wrong with a file.
    pub fn of_file(file: &str, what: &str) -> Self {
        let [expected, came, because] = [const { String::new() }; 3];
        Self { place: file.to_owned(), what: what.to_owned(), expected, came, because }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED {}: {}", self.place, self.what)?;
        for (title, text) in [("expected", &self.expected), ("came", &self.came), ("because", &self.because)] {
            if !text.is_empty() {
                write!(f, "\n    {title}: {text}")?;
            }
        }
        Ok(())
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    files: Vec<String>,
    passed: usize,
    failures: Vec<Failure>,
    /// By direction, provider and reason: how many.
    left_out: BTreeMap<(String, String, String), usize>,
}

impl Report {
    /// A file in one direction.
    pub fn file(&mut self, file: &str, direction: &str, passed: usize, judged: usize, left_out: usize) {
        let rest = if left_out > 0 { format!(", {left_out} left out") } else { String::new() };
        self.files.push(format!("{file:<44} {direction} {passed} of {judged}{rest}"));
        self.passed += passed;
    }

    /// Something isn't as it is written down.
    pub fn fail(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// An exchange was left out.
    pub fn leave_out(&mut self, direction: &str, provider: &str, because: &str) {
        let key = [direction, provider, because].map(str::to_owned).into();
        *self.left_out.entry(key).or_default() += 1;
    }

    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.passed += other.passed;
        self.failures.extend(other.failures);
        for (key, count) in other.left_out {
            *self.left_out.entry(key).or_default() += count;
        }
    }

    /// What isn't as it is written down.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many exchanges are as they are written down.
    pub fn passed(&self) -> usize {
        self.passed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files: Vec<&String> = self.files.iter().collect();
        files.sort();
        for file in files {
            writeln!(f, "{file}")?;
        }
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "left out:")?;
        }
        for ((direction, provider, because), count) in &self.left_out {
            writeln!(f, "  {direction} {count:>4} {provider}: {because}")?;
        }
        write!(f, "contracts: {} passed, {} failed", self.passed, self.failures.len())
    }
}
