//! Runs the tests of all rows, each once, and hands on what `cargo test` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use crate::rows::Row;

/// Runs them and returns the log. What is printed meanwhile is `cargo`'s.
pub fn run(rows: &[Row]) -> Result<String, String> {
    let mut log = String::new();
    for (binary, names) in by_binary(rows) {
        log.push_str(&run_one(binary, &names)?);
    }
    Ok(log)
}

fn by_binary(rows: &[Row]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut binaries: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (binary, names) in rows.iter().flat_map(|row| &row.tests) {
        binaries.entry(binary).or_default().extend(names.iter().map(String::as_str));
    }
    binaries
}

/// A name that ends in `*` is a filter for the beginning, and those that are found in the middle belong to no row: the
/// judgement compares names only.
fn run_one(binary: &str, names: &BTreeSet<&str>) -> Result<String, String> {
    let (several, exact): (Vec<&str>, Vec<&str>) = names.iter().copied().partition(|name| name.ends_with('*'));
    let mut log = String::new();
    if !exact.is_empty() {
        log.push_str(&cargo_test(binary, &[&["--exact"], &exact[..]].concat())?);
    }
    if !several.is_empty() {
        let filters: Vec<&str> = several.iter().map(|name| name.trim_end_matches('*')).collect();
        log.push_str(&cargo_test(binary, &filters)?);
    }
    Ok(log)
}

fn cargo_test(binary: &str, arguments: &[&str]) -> Result<String, String> {
    let which: &[&str] = match binary {
        "lib" => &["--package", "membership-operator", "--lib"],
        binary => &["--workspace", "--test", binary],
    };
    let mut child = Command::new("cargo")
        .args([&["test"], which, &["--"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo can't be started: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // Cargo says which binary it runs on stderr, before the binary writes to stdout.
    let stderr = thread::spawn(move || err.map(shown).unwrap_or_default());
    let tests = out.map(shown).unwrap_or_default();
    let stderr = stderr.join().map_err(|_| "the reader of cargo's stderr broke off".to_owned())?;
    // That a test failed is in the log.
    child.wait().map_err(|error| format!("cargo can't be waited for: {error}"))?;
    Ok(stderr + &tests)
}

/// Shows each line as it comes, and returns them all.
fn shown(stream: impl Read) -> String {
    let mut text = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        eprintln!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    text
}
