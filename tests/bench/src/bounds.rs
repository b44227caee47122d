//! The bounds, as one table. `docs/performance.md` explains each of them; `make bench CHECK=1` asserts them.

/// The largest value of a figure that is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The row.
    pub row: &'static str,
    /// The figure.
    pub name: &'static str,
    /// From which number of memberships on it holds.
    pub from: usize,
    /// Up to which number it holds.
    pub to: usize,
    /// The largest value.
    pub most: f64,
    /// Where it comes from.
    pub why: &'static str,
}

const ANY: usize = usize::MAX;

const fn bound(
    row: &'static str,
    name: &'static str,
    (from, to): (usize, usize),
    most: f64,
    why: &'static str,
) -> Bound {
    Bound { row, name, from, to, most, why }
}

/// All bounds.
///
/// The ratios of times hold from 10,000 memberships on (arrival, deletion) or at the full size of their row: below, the
/// start of the process is a large part of the time.
#[rustfmt::skip]
pub const BOUNDS: &[Bound] = &[
    bound("arrival", "time, ratio to the generator", (10_000, ANY), 0.85, "first measured: 0.72 at 3,000, 0.82 at 10,000"),
    bound("arrival", "Kubernetes writes per membership", (0, ANY), 2.05, "the record and the status; 2.5 % for repeated writes"),
    bound("arrival", "provider writes per membership", (0, ANY), 1.0, "the floor"),
    bound("arrival", "lists beyond one per project and confirm interval", (0, ANY), 0.0, "one list confirms all writes of an interval"),
    bound("arrival", "peak memory", (0, 500), 20.0, "the smallest Pod that is worth running"),
    bound("arrival", "peak memory", (501, 10_000), 60.0, "half of the request of the Deployment"),
    bound("arrival", "peak memory", (10_001, ANY), 400.0, "below the limit of the Deployment, 512 Mi"),
    bound("temporary", "Kubernetes writes per membership", (0, ANY), 2.05, "as for permanent roles"),
    bound("temporary", "provider writes per membership", (0, ANY), 1.0, "the floor"),
    bound("names", "Kubernetes writes per membership", (0, ANY), 3.05, "one more for the ids that the names stand for"),
    bound("names", "provider writes per membership", (0, ANY), 1.0, "the floor"),
    bound("restart", "Kubernetes writes", (0, ANY), 0.0, "nothing differs"),
    bound("restart", "provider writes", (0, ANY), 0.0, "nothing differs"),
    bound("restart", "most lists of one project", (0, ANY), 1.0, "one list serves all memberships of a project"),
    bound("restart", "peak memory", (0, 500), 20.0, "as when they arrive"),
    bound("restart", "peak memory", (501, 10_000), 60.0, "as when they arrive"),
    bound("restart", "peak memory", (10_001, ANY), 400.0, "as when they arrive"),
    bound("idle", "Kubernetes writes", (0, ANY), 0.0, "nothing differs"),
    bound("idle", "provider writes", (0, ANY), 0.0, "nothing differs"),
    bound("idle", "lists per project and resync", (0, ANY), 1.1, "one, and a tenth for an interval that begins within the measurement"),
    bound("drift", "provider writes per drifted membership", (0, ANY), 1.0, "the floor"),
    bound("deletion", "time, ratio to the generator", (10_000, ANY), 1.3, "the requests of the floor, in two processes"),
    bound("deletion", "provider writes per membership", (0, ANY), 1.0, "the floor"),
    bound("expiry", "lateness p50", (1_000, ANY), 0.06, "1,000 ends in one second are less than 32 in flight can carry out"),
    bound("expiry", "lateness p99", (1_000, ANY), 0.5, "the same"),
    bound("expiry", "lateness max", (1_000, ANY), 1.0, "the same"),
    bound("expiry-zitadel", "last, ratio to the writes one after another", (0, ANY), 1.2, "one write at a time, and 200 ms to begin"),
    bound("backlog", "grants sent before the last due revocation", (0, ANY), 0.0, "ends come before grants"),
    bound("replacements", "lateness max", (0, ANY), 1.0, "previously 33 to 43 s at a real server"),
    bound("outage", "recovery after the first answer", (0, ANY), 10.0, "previously 173 to 236 s"),
    bound("zitadel", "time, ratio to the generator", (10_000, ANY), 1.1, "one write after another"),
    bound("zitadel", "Kubernetes writes per membership", (0, ANY), 2.05, "as at Infisical"),
    bound("zitadel", "provider writes per membership", (0, ANY), 1.0, "the floor"),
    bound("zitadel", "lists beyond one per project and confirm interval", (0, ANY), 0.0, "one list confirms all writes of an interval"),
    bound("growth", "exponent of the time", (0, ANY), 1.05, "linear"),
    bound("growth", "exponent of the memory", (0, ANY), 1.05, "linear"),
];

/// The bound of a figure for a run of `n` memberships.
pub fn of<'a>(table: &'a [Bound], row: &str, name: &str, n: usize) -> Option<&'a Bound> {
    table.iter().find(|bound| bound.row == row && bound.name == name && (bound.from..=bound.to).contains(&n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(row: &str, name: &str, n: usize) -> Option<f64> {
        of(BOUNDS, row, name, n).map(|bound| bound.most)
    }

    #[test]
    fn the_bound_of_a_figure_depends_on_the_size() {
        for (n, expected) in [(50, 20.0), (500, 20.0), (1_000, 60.0), (10_000, 60.0), (100_000, 400.0)] {
            assert_eq!(most("arrival", "peak memory", n), Some(expected), "{n}");
        }
        assert_eq!(most("arrival", "time, ratio to the generator", 1_000), None);
        assert_eq!(most("arrival", "time, ratio to the generator", 10_000), Some(0.85));
        assert_eq!(most("arrival", "something else", 10_000), None);
    }

    #[test]
    fn no_figure_has_two_bounds_at_one_size_and_each_says_why() {
        for (at, one) in BOUNDS.iter().enumerate() {
            assert!(!one.why.is_empty() && one.from <= one.to, "{one:?}");
            for other in &BOUNDS[at + 1..] {
                let same = one.row == other.row && one.name == other.name;
                assert!(!same || one.to < other.from || other.to < one.from, "{one:?} {other:?}");
            }
        }
    }
}
