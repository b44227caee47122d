//! Growth: exponents of time and memory between runs of different sizes.

use crate::error::{Error, Result};
use crate::measure::{exponent, number};
use crate::report::{Figures, Report};

/// Adds the exponents between the smallest and the largest of these runs.
pub fn of(runs: &[Report]) -> Result<Figures> {
    let smallest = runs.iter().min_by_key(|run| run.n);
    let largest = runs.iter().max_by_key(|run| run.n);
    let (Some(small), Some(large)) = (smallest, largest) else {
        return Err(Error::new("growth needs the reports of two runs"));
    };
    if small.n == large.n {
        return Err(Error::new("growth needs the reports of two runs with different N"));
    }
    let mut found = Figures::default();
    for (name, figure) in
        [("exponent of the time", "time until all are correct"), ("exponent of the memory", "peak memory")]
    {
        let (from, to) = (value(small, figure)?, value(large, figure)?);
        let exponent = exponent((number(small.n), from), (number(large.n), to));
        let note = format!("{figure}: {from:.1} at {}, {to:.1} at {}", small.n, large.n);
        found.add_with("growth", name, exponent, "", note);
    }
    Ok(found)
}

fn value(run: &Report, name: &str) -> Result<f64> {
    let found = run.figures.iter().find(|figure| figure.row == "arrival" && figure.name == name);
    let missing = || Error::new(format!("the report of N={} has no row arrival with {name}", run.n));
    found.map(|figure| figure.value).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn run(n: usize, time: f64, memory: f64) -> Report {
        let mut found = Figures::default();
        found.add("arrival", "time until all are correct", time, "s");
        found.add("arrival", "peak memory", memory, "MB");
        Report { n, figures: found.figures, ..report(1.0, None) }
    }

    #[test]
    fn exponents_are_between_the_smallest_and_the_largest_run() {
        let found = of(&[run(10_000, 60.0, 50.0), run(1_000, 5.0, 10.0), run(100_000, 500.0, 400.0)]).unwrap();
        assert!((found.figures[0].value - 1.0).abs() < 1e-9, "{found:?}");
        assert!((found.figures[1].value - 0.801).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn one_size_shows_no_growth() {
        assert!(of(&[run(1_000, 5.0, 10.0), run(1_000, 5.0, 10.0)]).is_err());
        assert!(of(&[]).is_err());
    }
}
