//! `docs/security.md` names tests: each of them exists, so that every claim of the page is tested.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to stop it")]

use std::collections::BTreeSet;
use std::path::Path;

/// The functions under a folder that are marked as tests, properties among them.
fn tests_under(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            tests_under(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let mut marked = false;
            for line in std::fs::read_to_string(&entry).unwrap().lines().map(str::trim) {
                let name =
                    line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                match name {
                    Some(name) if marked => drop(found.insert(name.to_owned())),
                    _ => {}
                }
                let stands_between = line.starts_with("#[") || line.starts_with("//");
                let marks = line == "#[test]" || line.starts_with("#[tokio::test");
                marked = marks || (marked && stands_between);
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_under(&root.join(folder), &mut tests);
    }
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack")).collect();
    assert!(rows.len() >= 20, "{} attacks", rows.len());
    for row in rows {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test shows it: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name:?}");
        }
    }
}
