//! Whether a row holds, by what became of its tests.

use std::fmt;

use crate::log::{Outcome, Outcomes};
use crate::rows::Row;

/// What became of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many tests of it were run.
    pub tests: usize,
    /// Why it doesn't hold; empty: it holds.
    pub wrong: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.wrong.is_empty() { "passed" } else { "failed" };
        let tests = if self.tests == 1 { "test" } else { "tests" };
        write!(f, "{verdict} ({} {tests})", self.tests)?;
        if self.wrong.is_empty() { Ok(()) } else { write!(f, " [{}]", self.wrong.join("; ")) }
    }
}

/// Judges each row. One without a test doesn't hold, nor one of which a test isn't there or wasn't run.
pub fn judge(rows: &[Row], outcomes: &Outcomes) -> Vec<Verdict> {
    rows.iter().map(|row| judge_one(row, outcomes)).collect()
}

fn judge_one(row: &Row, outcomes: &Outcomes) -> Verdict {
    let (mut tests, mut wrong) = (0, Vec::new());
    for (binary, name) in row.tests.iter().flat_map(|(binary, names)| names.iter().map(move |name| (binary, name))) {
        let found: Vec<(&str, Outcome)> = (outcomes.iter())
            .filter(|((of, test), _)| of == binary && is_meant(name, test))
            .map(|((_, test), outcome)| (test.as_str(), *outcome))
            .collect();
        tests += found.len();
        if found.is_empty() {
            wrong.push(format!("there is no {binary} {name}, or it didn't run"));
        }
        for (test, outcome) in found {
            match outcome {
                Outcome::Passed => {}
                Outcome::Failed => wrong.push(format!("{binary} {test} failed")),
                Outcome::Ignored => wrong.push(format!("{binary} {test} is ignored")),
            }
        }
    }
    if tests == 0 && wrong.is_empty() {
        wrong.push("no test shows it".to_owned());
    }
    Verdict { tests, wrong }
}

/// Whether a name of `rows.yaml` means a test.
pub fn is_meant(name: &str, test: &str) -> bool {
    name.strip_suffix('*').map_or(name == test, |beginning| test.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_row_holds_only_where_each_of_its_tests_was_run_and_passed() {
        let outcome = |name: &str, outcome| (("operator".to_owned(), name.to_owned()), outcome);
        let outcomes: Outcomes = [
            outcome("down::one", Outcome::Passed),
            outcome("down::two", Outcome::Passed),
            outcome("lost::one", Outcome::Failed),
            outcome("late::one", Outcome::Ignored),
        ]
        .into();
        let cases: [(&[&str], &str); 8] = [
            (&["down::one"], "passed (1 test)"),
            (&["down::one", "down::two"], "passed (2 tests)"),
            (&["down::*"], "passed (2 tests)"),
            (&[], "failed (0 tests) [no test shows it]"),
            (&["down::one", "down::thre"], "failed (1 test) [there is no operator down::thre, or it didn't run]"),
            (&["up::*"], "failed (0 tests) [there is no operator up::*, or it didn't run]"),
            (&["lost::one"], "failed (1 test) [operator lost::one failed]"),
            (&["late::one"], "failed (1 test) [operator late::one is ignored]"),
        ];
        for (names, expected) in cases {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let tests = BTreeMap::from([("operator".to_owned(), names)]);
            let verdicts = judge(&[Row { row: 1, fault: String::new(), tests }], &outcomes);
            assert_eq!(verdicts.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
    }

    #[test]
    fn a_test_of_the_same_name_in_another_binary_shows_nothing() {
        let outcomes = Outcomes::from([(("laws".to_owned(), "one".to_owned()), Outcome::Passed)]);
        let tests = BTreeMap::from([("operator".to_owned(), vec!["one".to_owned()])]);
        let verdicts = judge(&[Row { row: 1, fault: String::new(), tests }], &outcomes);
        assert_eq!(verdicts.len(), 1);
        assert!(verdicts.iter().all(|verdict| !verdict.wrong.is_empty()), "{verdicts:?}");
    }
}
