//! What `cargo test` wrote, read.

use std::collections::BTreeMap;

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It wasn't run.
    Ignored,
}

/// What became of each test, by binary and name.
pub type Outcomes = BTreeMap<(String, String), Outcome>;

/// Reads the lines `Running tests/operator/main.rs (target/debug/deps/operator-1ba0c16f2c00a7ff)` and
/// `test restart::urls::a_test ... ok` of a log; all others are skipped.
pub fn outcomes(log: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut binary = String::new();
    for line in log.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("Running ") {
            binary = binary_of(path).unwrap_or_default();
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(outcome_of) {
            outcomes.insert((binary.clone(), name), outcome);
        }
    }
    outcomes
}

/// The library's own tests are called `lib` for every library, and other packages' by their library's name.
fn binary_of(running: &str) -> Option<String> {
    let (what, path) = running.split_once(" (")?;
    let file = path.trim_end_matches(')').rsplit('/').next()?;
    let (name, _) = file.rsplit_once('-')?;
    let own = what == "unittests src/lib.rs" && name == "membership_operator";
    Some(if own { "lib" } else { name }.to_owned())
}

fn outcome_of(line: &str) -> Option<(String, Outcome)> {
    let (name, result) = line.split_once(" ... ")?;
    let outcome = match result.split([',', ' ']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    // `test a_test - should panic ... ok`
    Some((name.split(' ').next()?.to_owned(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_known_by_its_binary_and_name() {
        let log = "
     Running unittests src/lib.rs (target/debug/deps/membership_operator-0a1b)
test plan::tests::a ... ok
     Running tests/operator/main.rs (target/debug/deps/operator-1ba0)
test slow has been running for over 60 seconds
test slow ... FAILED
test left_out ... ignored, for a reason
test wrong - should panic ... ok
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
     Running unittests src/lib.rs (target/debug/deps/simulator-77)
test plan::tests::a ... ok
";
        let expected = [
            (("lib", "plan::tests::a"), Outcome::Passed),
            (("operator", "left_out"), Outcome::Ignored),
            (("operator", "slow"), Outcome::Failed),
            (("operator", "wrong"), Outcome::Passed),
            (("simulator", "plan::tests::a"), Outcome::Passed),
        ];
        let expected: Outcomes = expected.into_iter().map(|((b, n), o)| ((b.to_owned(), n.to_owned()), o)).collect();
        assert_eq!(outcomes(log), expected);
    }
}
