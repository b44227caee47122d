//! Grants that end: how they are declared, and how late they end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::measure::{percentile, seconds_since};
use crate::provider::server::now;
use crate::report::Figures;
use crate::stage::Stage;
use crate::targets::{Expected, Target};

/// A role that ends at an instant (milliseconds since 1970).
pub fn ending(role: &str, end: u64) -> Result<Value> {
    let end = i64::try_from(end).ok().and_then(|end| Timestamp::from_millisecond(end).ok());
    let end = end.ok_or_else(|| Error::new("an end is beyond all calendars"))?;
    Ok(json!([{"role": role, "temporary": {"expirationTime": end.to_string()}}]))
}

/// Creates memberships that end at these instants, and waits until all are granted.
pub async fn granted(stage: &Stage<'_>, targets: &[Target], ends: &[u64]) -> Result<()> {
    let declared =
        targets.iter().zip(ends).map(|(target, end)| Ok(target.declares(&ending(target.kind.role(), *end)?)));
    let declared = declared.collect::<Result<Vec<Value>>>()?;
    stage.providers.watch(targets.iter().map(|target| target.holds(&[target.kind.role()])).collect()).await?;
    stage.cluster.create("creating grants that end", declared).await?;
    let first = ends.iter().copied().min().unwrap_or_default();
    let left = Duration::from_millis(first.saturating_sub(now()));
    stage.providers.until_correct("grants that end", left).await?;
    if first.saturating_sub(now()) < 500 {
        return Err(Error::new("the first grant ended before all were granted: the machine is too slow for this row"));
    }
    Ok(())
}

/// Waits until the memberships are gone, and returns how long after their ends, in seconds, sorted.
pub async fn lateness(stage: &Stage<'_>, targets: &[Target], ends: &[u64]) -> Result<Vec<f64>> {
    let first = ends.iter().copied().min().unwrap_or_default();
    let expected: Vec<Expected> = targets.iter().map(|target| target.holds(&[])).collect();
    stage.providers.watch_closely(expected, first).await?;
    let limit = Duration::from_millis(first.saturating_sub(now())) + stage.settings.limit(targets.len());
    let times = stage.providers.until_correct("ends", limit).await?;
    let mut late: Vec<f64> =
        times.iter().zip(ends).filter_map(|(time, end)| seconds_since(*end, &[*time]).first().copied()).collect();
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// Adds the lateness to a row.
pub fn add_lateness(found: &mut Figures, row: &str, late: &[f64], note: String) {
    found.add_with(row, "lateness p50", percentile(late, 0.5), "s", note);
    found.add(row, "lateness p99", percentile(late, 0.99), "s");
    found.add(row, "lateness max", percentile(late, 1.0), "s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_milliseconds() {
        let roles = ending("viewer", 1_767_225_600_123).unwrap();
        assert_eq!(roles[0]["temporary"]["expirationTime"], "2026-01-01T00:00:00.123Z");
    }
}
