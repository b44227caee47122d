//! The rows of the table. Each module measures one group of rows that share a control plane.

pub mod arrival;
pub mod backlog;
pub mod deletion;
pub mod expiry;
pub mod outage;
pub mod replacements;
pub mod steady;
pub mod timed;
pub mod variants;

use crate::cluster::Asked;
use crate::error::Result;
use crate::measure::{number, seconds_since, shares};
use crate::operator::Usage;
use crate::provider::requests::Counts;
use crate::report::Figures;
use crate::stage::Stage;
use crate::targets::Target;

/// The operator confirms the writes of this time, in seconds, with one list of a project (docs/design.md, "Observing the
/// provider").
const CONFIRM_INTERVAL: f64 = 2.0;
/// The lists of a project until its interval has grown to that.
const UNTIL_GROWN: f64 = 8.0;

/// What one arrival cost.
pub struct Arrived {
    /// Seconds from the beginning until each was correct, sorted.
    pub times: Vec<f64>,
    /// What the provider was asked.
    pub counts: Counts,
    /// What the API server was asked.
    pub asked: Asked,
    /// What the operator had used afterwards.
    pub usage: Usage,
    /// How many there were.
    pub n: usize,
}

/// Starts the operator on memberships that are there already, and waits until all are correct and the operator is idle.
pub async fn arrive(stage: &Stage<'_>, targets: &[Target], role: &str) -> Result<(crate::operator::Operator, Arrived)> {
    let limit = stage.settings.limit(targets.len());
    stage.providers.watch(targets.iter().map(|target| target.holds(&[role])).collect()).await?;
    stage.providers.forget_requests().await?;
    let mark = stage.cluster.mark()?;
    let operator = stage.operator().await?;
    let times = stage.providers.until_correct("operator, arrival", limit).await?;
    stage.cluster.until_quiet("after the arrival", limit).await?;
    let arrived = Arrived {
        times: seconds_since(operator.started, &times),
        counts: Counts::of(&stage.providers.requests().await?),
        asked: stage.cluster.asked(mark)?,
        usage: operator.usage()?,
        n: targets.len(),
    };
    Ok((operator, arrived))
}

impl Arrived {
    /// Adds the figures of an arrival to those of a row.
    pub fn add_to(&self, found: &mut Figures, row: &str) {
        let n = number(self.n);
        let shares = shares(&self.times);
        let note = format!("50 % after {:.1} s, 99 % after {:.1} s", shares.half, shares.p99);
        found.add_with(row, "time until all are correct", shares.all, "s", note);
        let writes = number(self.asked.writes()) / n;
        let note = format!(
            "{} metadata, {} status",
            self.asked.of("patch projectmemberships"),
            self.asked.of("patch projectmemberships/status")
        );
        found.add_with(row, "Kubernetes writes per membership", writes, "", note);
        found.add(row, "events per membership", number(self.asked.events()) / n, "");
        found.add(row, "provider writes per membership", number(self.counts.writes) / n, "");
        let note = format!(
            "{} lists of {} projects, {} of one at most",
            self.counts.lists, self.counts.listed, self.counts.most_lists
        );
        found.add_with(row, "lists per project", self.counts.lists_per_project(), "", note);
        let allowed = 1.0 + UNTIL_GROWN + (shares.all / CONFIRM_INTERVAL).ceil();
        let beyond = (number(self.counts.most_lists) - allowed).max(0.0);
        found.add(row, "lists beyond one per project and confirm interval", beyond, "");
        found.add_with(
            row,
            "peak memory",
            self.usage.peak_memory,
            "MB",
            format!("afterwards {:.1} MB", self.usage.memory),
        );
        found.add(row, "CPU seconds per 1,000", self.usage.cpu / n * 1000.0, "s");
    }
}
