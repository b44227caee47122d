//! All memberships are deleted while the operator runs.

use crate::error::Result;
use crate::measure::number;
use crate::operator::Operator;
use crate::provider::requests::Counts;
use crate::report::Figures;
use crate::stage::Stage;
use crate::targets::Target;

/// Deletes all, waits until the provider holds none and the objects are gone, and returns how long it took in seconds.
pub async fn of_operator(
    stage: &Stage<'_>,
    operator: &Operator,
    targets: &[Target],
    is_reported: bool,
    found: &mut Figures,
) -> Result<f64> {
    let limit = stage.settings.limit(targets.len());
    stage.providers.watch(targets.iter().map(|target| target.holds(&[])).collect()).await?;
    stage.providers.forget_requests().await?;
    let mark = stage.cluster.mark()?;
    let cpu = operator.usage()?.cpu;
    let began = std::time::Instant::now();
    let asked = stage.cluster.delete("deleting objects", targets).await?;
    stage.providers.until_correct("revocations", limit).await?;
    stage.cluster.until_gone("operator, deleting", limit).await?;
    let took = began.elapsed().as_secs_f64();
    stage.cluster.until_quiet("after the deletion", limit).await?;
    if is_reported {
        let n = number(targets.len());
        let (counts, usage) = (Counts::of(&stage.providers.requests().await?), operator.usage()?);
        let writes = stage.cluster.asked(mark)?;
        let note = format!("the requests for the deletion were accepted after {:.1} s", asked.as_secs_f64());
        found.add_with("deletion", "time until all are gone", took, "s", note);
        found.add("deletion", "Kubernetes writes per membership", number(writes.writes()) / n, "");
        found.add("deletion", "events per membership", number(writes.events()) / n, "");
        found.add("deletion", "provider writes per membership", number(counts.writes) / n, "");
        found.add("deletion", "lists per project", counts.lists_per_project(), "");
        found.add("deletion", "peak memory", usage.peak_memory, "MB");
        found.add("deletion", "CPU seconds per 1,000", (usage.cpu - cpu) / n * 1000.0, "s");
    }
    Ok(took)
}
