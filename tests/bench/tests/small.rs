//! The smallest bench, as a process: what it writes is complete and plausible.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to stop it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Memberships: a row takes seconds.
const N: usize = 50;

/// The operator, which the tests of the workspace have built already; a build for release would take minutes.
fn operator() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    // With all that the tests need, so that it is built with the same features, and not once more. The build script of
    // ring would run again for another package's name.
    cargo.current_dir(&root).args(["test", "--quiet", "--workspace", "--no-run"]);
    let of_this_package = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars().map(|(name, _)| name).filter(of_this_package) {
        cargo.env_remove(name);
    }
    assert!(cargo.status().unwrap().success(), "the operator can't be built");
    Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("membership-operator")
}

fn figure(report: &Value, row: &str, name: &str) -> f64 {
    let figures = report["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["row"] == row && figure["name"] == name);
    found.and_then(|figure| figure["value"].as_f64()).unwrap_or_else(|| panic!("no {row}: {name} in {figures:#?}"))
}

/// Runs the bench with `N` memberships. Returns its report, what it printed, and its plot.
fn bench(more: &[&str]) -> (Value, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("bench.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    for variable in ["N", "ONLY", "DELAY", "CHECK", "PAIRS", "OUTAGE"] {
        bench.env_remove(variable);
    }
    bench.args(["run", &format!("--n={N}"), "--pairs=1"]).args(more);
    let ran = bench.arg("--operator").arg(operator()).arg("--output").arg(&output).output().unwrap();
    let printed = format!("{}\n{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    assert!(ran.status.success(), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(0), "{printed}");
    let plot = std::fs::read_to_string(output.with_extension("svg")).unwrap();
    (report, printed, plot)
}

/// What a busy machine does not change.
fn check(report: &Value, printed: &str, bounds: &[(&str, &str, f64, f64)]) {
    for (row, name, least, most) in bounds {
        let value = figure(report, row, name);
        assert!((*least..=*most).contains(&value), "{row}: {name} is {value}:\n{printed}");
    }
}

const QUICK: [(&str, &str, f64, f64); 6] = [
    ("arrival", "Kubernetes writes per membership", 2.0, 4.0),
    ("arrival", "provider writes per membership", 1.0, 1.5),
    ("arrival", "lists per project", 1.0, 100.0),
    ("arrival", "time, ratio to the generator", 0.01, 1000.0),
    ("arrival", "peak memory", 1.0, 500.0),
    ("deletion", "provider writes per membership", 1.0, 1.5),
];

#[test]
fn a_small_bench_measures_and_plots() {
    let (report, printed, plot) = bench(&["--only=arrival"]);
    check(&report, &printed, &QUICK);
    assert_eq!(plot.matches("<polyline").count(), 2, "{plot}");
}

#[test]
#[ignore = "takes minutes: `cargo test -p bench -- --ignored`"]
fn a_small_bench_measures_every_row() {
    let (report, printed, _) = bench(&[]);
    for row in [
        "arrival",
        "restart",
        "idle",
        "drift",
        "deletion",
        "temporary",
        "names",
        "zitadel",
        "expiry",
        "expiry-zitadel",
        "replacements",
        "outage",
        "backlog",
    ] {
        assert!(printed.contains(&format!("| {row} ")), "no row {row} in the table:\n{printed}");
    }
    check(&report, &printed, &QUICK);
    let more = [
        ("restart", "provider writes", 0.0, 0.0),
        ("idle", "provider writes", 0.0, 0.0),
        ("zitadel", "provider writes per membership", 1.0, 1.5),
        ("expiry", "lateness p50", 0.0, 60.0),
    ];
    check(&report, &printed, &more);
}
