//! Figures from times: percentiles, medians, ratios, curves.

use serde::{Deserialize, Serialize};

/// So many points of a curve are kept.
const POINTS: usize = 200;

/// How many memberships were correct after how many seconds, in order.
pub type Curve = Vec<(f64, usize)>;

/// When a share of the memberships was correct, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Half of them.
    pub half: f64,
    /// 99 %.
    pub p99: f64,
    /// All of them.
    pub all: f64,
}

/// The value below which a share of `sorted` lies (nearest rank); 0 without values.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

/// The median: of an even number of values, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), middle.checked_sub(1).and_then(|below| sorted.get(below))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*upper, *lower),
        (Some(value), _) => *value,
        (None, _) => 0.0,
    }
}

/// Seconds from `began` to each of these instants (milliseconds since 1970), sorted.
pub fn seconds_since(began: u64, times: &[u64]) -> Vec<f64> {
    let mut seconds: Vec<f64> = times.iter().map(|time| milliseconds(*time) - milliseconds(began)).collect();
    seconds.iter_mut().for_each(|value| *value /= 1000.0);
    seconds.sort_by(f64::total_cmp);
    seconds
}

fn milliseconds(value: u64) -> f64 {
    value as f64
}

/// When half, 99 % and all of them were correct.
pub fn shares(sorted: &[f64]) -> Shares {
    Shares { half: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), all: percentile(sorted, 1.0) }
}

/// The curve of these times.
pub fn curve(sorted: &[f64]) -> Curve {
    let step = sorted.len().div_ceil(POINTS).max(1);
    let mut curve = vec![(0.0, 0)];
    for (index, at) in sorted.iter().enumerate() {
        let count = index + 1;
        if count.is_multiple_of(step) || count == sorted.len() {
            curve.push((*at, count));
        }
    }
    curve
}

/// The exponent of growth between two runs: 1 is linear.
pub fn exponent((n1, v1): (f64, f64), (n2, v2): (f64, f64)) -> f64 {
    (v2 / v1).ln() / (n2 / n1).ln()
}

/// A count as a number that can be divided.
pub fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            is(percentile(&values, share), expected);
        }
        is(percentile(&[3.0], 0.5), 3.0);
        is(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn the_median_is_between_the_two_in_the_middle() {
        is(median(&[3.0, 1.0, 2.0]), 2.0);
        is(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        is(median(&[7.0]), 7.0);
        is(median(&[]), 0.0);
    }

    #[test]
    fn times_are_counted_from_the_beginning_even_if_they_are_before_it() {
        assert_eq!(seconds_since(10_000, &[12_000, 11_500, 9_900]), [-0.1, 1.5, 2.0]);
    }

    #[test]
    fn a_curve_ends_with_all_and_has_few_points() {
        let times: Vec<f64> = (0..10_001).map(|n| f64::from(n) / 100.0).collect();
        let curve = curve(&times);
        assert!(curve.len() <= POINTS + 2, "{}", curve.len());
        assert_eq!((curve[0], curve[curve.len() - 1]), ((0.0, 0), (100.0, 10_001)));
    }

    #[test]
    fn growth_is_linear_if_ten_times_as_many_cost_ten_times_as_much() {
        is(exponent((1000.0, 5.0), (10_000.0, 50.0)), 1.0);
        is(exponent((1000.0, 5.0), (10_000.0, 500.0)), 2.0);
    }
}
