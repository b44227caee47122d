//! The smallest bench there is, as a process: it measures every row, and what it writes is complete and sane.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Memberships: a row takes seconds.
const N: usize = 50;

/// The operator, which `cargo test --workspace` has built already; a build for release would take minutes.
fn operator() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    let built = cargo.current_dir(&root).args(["build", "--quiet", "--bin", "membership-operator"]).status().unwrap();
    assert!(built.success(), "the operator can't be built");
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    bench.with_file_name("membership-operator")
}

fn figure(report: &Value, row: &str, name: &str) -> f64 {
    let figures = report["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["row"] == row && figure["name"] == name);
    found.and_then(|figure| figure["value"].as_f64()).unwrap_or_else(|| panic!("no {row}: {name} in {figures:#?}"))
}

#[test]
fn a_small_bench_measures_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("bench.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    for variable in ["N", "ONLY", "DELAY", "CHECK", "PAIRS", "OUTAGE"] {
        bench.env_remove(variable);
    }
    bench
        .args(["run", &format!("--n={N}"), "--pairs=1"])
        .arg("--operator")
        .arg(operator())
        .arg("--output")
        .arg(&output);
    let ran = bench.output().unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
    assert!(ran.status.success(), "{said}");

    let report: Value = serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(0), "{said}");
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
        assert!(said.contains(&format!("| {row} ")), "no row {row} in the table:\n{said}");
    }
    // What a busy machine does not change.
    for (row, name, least, most) in [
        ("arrival", "Kubernetes writes per membership", 2.0, 4.0),
        ("arrival", "provider writes per membership", 1.0, 1.5),
        ("arrival", "lists per project", 1.0, 100.0),
        ("arrival", "time, ratio to the generator", 0.01, 1000.0),
        ("arrival", "peak memory", 1.0, 500.0),
        ("restart", "provider writes", 0.0, 0.0),
        ("idle", "provider writes", 0.0, 0.0),
        ("deletion", "provider writes per membership", 1.0, 1.5),
        ("zitadel", "provider writes per membership", 1.0, 1.5),
        ("expiry", "lateness p50", 0.0, 60.0),
    ] {
        let value = figure(&report, row, name);
        assert!((least..=most).contains(&value), "{row}: {name} is {value}:\n{said}");
    }
    let plot = std::fs::read_to_string(output.with_extension("svg")).unwrap();
    assert_eq!(plot.matches("<polyline").count(), 2, "{plot}");
}
