//! What a run found: `target/bench.json`.

use serde::{Deserialize, Serialize};

use crate::bounds::{self, Bound};
use crate::measure::Curve;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many memberships.
    pub n: usize,
    /// The command that repeats it.
    pub command: String,
    /// The commit that was measured.
    pub commit: String,
    /// The machine.
    pub machine: Machine,
    /// When it began, in UTC.
    pub began: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The figures, in the order in which they were measured.
    pub figures: Vec<Figure>,
    /// How many memberships were correct at the provider after how long.
    pub curves: Vec<NamedCurve>,
    /// Rows that could not be measured, and why.
    pub failures: Vec<Failure>,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// Memory in GB (10^9 bytes).
    pub memory: f64,
    /// The version of the kernel.
    pub kernel: String,
    /// The file system that etcd writes to.
    pub disk: String,
    /// The load average of the last minute when the run began: far above 0, others were using the machine.
    pub load_before: f64,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The row that it belongs to, as `ONLY` names it.
    pub row: String,
    /// Which figure of the row.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The unit of the value.
    pub unit: String,
    /// All values that the value is the median of, or what else explains it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The largest value that is accepted at this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Where the bound comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A row that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The row.
    pub row: String,
    /// Why.
    pub message: String,
}

/// A curve of the plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedCurve {
    /// Whose it is.
    pub name: String,
    /// The curve.
    pub points: Curve,
}

/// The figures of one row, as they are found.
#[derive(Debug, Default)]
pub struct Figures {
    /// The figures.
    pub figures: Vec<Figure>,
    /// The curves.
    pub curves: Vec<NamedCurve>,
}

impl Figures {
    /// Adds a figure.
    pub fn add(&mut self, row: &str, name: &str, value: f64, unit: &str) {
        self.add_with(row, name, value, unit, String::new());
    }

    /// Adds a figure with what explains it.
    pub fn add_with(&mut self, row: &str, name: &str, value: f64, unit: &str, note: String) {
        let (row, name, unit) = (row.to_owned(), name.to_owned(), unit.to_owned());
        self.figures.push(Figure { row, name, value, unit, note, bound: None, reason: String::new() });
    }

    /// Adds a curve.
    pub fn add_curve(&mut self, name: &str, points: Curve) {
        self.curves.push(NamedCurve { name: name.to_owned(), points });
    }
}

impl Figure {
    /// Whether it is within its bound; `None`: it has none.
    pub fn is_within(&self) -> Option<bool> {
        self.bound.map(|most| self.value <= most)
    }
}

impl Report {
    /// Notes the bounds of all figures that have one at this size.
    pub fn bound(&mut self, table: &[Bound]) {
        for figure in &mut self.figures {
            if let Some(bound) = bounds::of(table, &figure.row, &figure.name, self.n) {
                (figure.bound, figure.reason) = (Some(bound.most), bound.why.to_owned());
            }
        }
    }

    /// One line for each violated bound and each row that could not be measured, and how many figures passed.
    pub fn verdict(&self) -> (usize, Vec<String>) {
        let passed = self.figures.iter().filter(|figure| figure.is_within() == Some(true)).count();
        let violated = self.figures.iter().filter(|figure| figure.is_within() == Some(false)).map(|figure| {
            let Figure { row, name, value, unit, bound, reason, .. } = figure;
            let most = bound.unwrap_or_default();
            format!("{row}: {name} is {value:.3} {unit}, and at most {most:.3} is accepted ({reason})")
        });
        let failed = self.failures.iter().map(|failure| format!("{}: {}", failure.row, failure.message));
        (passed, violated.chain(failed).collect())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report of one figure.
    pub fn report(value: f64, bound: Option<f64>) -> Report {
        let mut found = Figures::default();
        found.add_with("arrival", "time, ratio to the generator", value, "×", "0.8, 0.9".to_owned());
        found.figures[0].bound = bound;
        "because".clone_into(&mut found.figures[0].reason);
        Report {
            n: 1000,
            command: "make bench N=1000".to_owned(),
            commit: "0000000".to_owned(),
            machine: Machine::default(),
            began: "2026-01-01T00:00:00Z".to_owned(),
            seconds: 1.0,
            figures: found.figures,
            curves: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_violation_names_the_row_and_both_figures() {
        let (passed, failed) = report(1.25, Some(0.85)).verdict();
        assert_eq!(passed, 0);
        assert_eq!(
            failed,
            ["arrival: time, ratio to the generator is 1.250 ×, and at most 0.850 is accepted (because)"]
        );
        assert_eq!(report(0.8, Some(0.85)).verdict(), (1, Vec::new()));
        assert_eq!(report(0.8, None).verdict(), (0, Vec::new()));
    }

    #[test]
    fn a_row_that_could_not_be_measured_is_a_failure() {
        let failure = Failure { row: "outage".to_owned(), message: "no answer".to_owned() };
        let report = Report { failures: vec![failure], ..report(0.8, None) };
        assert_eq!(report.verdict(), (0, vec!["outage: no answer".to_owned()]));
    }
}
