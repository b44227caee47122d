//! A fixed set of seeds that every change is tested with; and that a seed is reproducible.

use simulation::seeds::{run_many, shown};

/// The first seed and the number of seeds: about half a minute on two cores. `make simulate` runs others.
const FIRST: u64 = 1;
const SEEDS: u64 = 200;

#[test]
fn after_any_fault_all_comes_to_be_as_declared_and_nothing_else() {
    let report = run_many(FIRST, SEEDS, None, 3);
    let failed: Vec<String> = report.failed.iter().map(shown).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert_eq!(report.seeds, SEEDS);
}

#[test]
fn a_seed_replays_exactly() {
    let mut lines = 0;
    for seed in [2, 3, 5, 8, 13, 21, 34, 55] {
        let (first, second) = (simulation::run(seed), simulation::run(seed));
        let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}:\n  {}\n  {}", first.trace[at], second.trace[at]);
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        lines += first.trace.len();
    }
    assert!(lines > 400, "these seeds do next to nothing: {lines} lines");
}
