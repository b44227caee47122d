//! What converged memberships cost: a restart, several resyncs without a change, and the repair of drift.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::{Error, Result};
use crate::measure::{number, seconds_since, shares};
use crate::operator::Operator;
use crate::progress::say;
use crate::provider::requests::Counts;
use crate::provider::server::now;
use crate::report::Figures;
use crate::settings::Row;
use crate::stage::Stage;
use crate::targets::{Kind, Target};

/// Resync intervals over which the idle operator is observed.
const INTERVALS: u32 = 2;

/// Measures these rows with memberships that have converged; returns the operator that runs then.
pub async fn run(stage: &Stage<'_>, operator: Operator, targets: &[Target], found: &mut Figures) -> Result<Operator> {
    let settings = stage.settings;
    let mut operator = operator;
    if settings.has(Row::Restart) {
        say("restart with everything converged");
        operator.stop().await?;
        operator = restart(stage, found).await?;
    }
    if settings.has_any(&[Row::Idle, Row::Drift]) {
        let interval = json!({"resyncInterval": format!("{}s", settings.resync())});
        stage.cluster.change_provider(Kind::Infisical, &interval).await?;
        listed(stage, settings.projects(), settings.limit(targets.len())).await?;
        if settings.has(Row::Idle) {
            idle(stage, &operator, found).await?;
        }
        if settings.has(Row::Drift) {
            drift(stage, targets, found).await?;
        }
        stage.cluster.change_provider(Kind::Infisical, &json!({"resyncInterval": "12h"})).await?;
        stage.cluster.until_quiet("after the rows of the steady state", settings.limit(targets.len())).await?;
    }
    Ok(operator)
}

async fn restart(stage: &Stage<'_>, found: &mut Figures) -> Result<Operator> {
    let projects = stage.settings.projects();
    stage.providers.forget_requests().await?;
    let mark = stage.cluster.mark()?;
    let operator = stage.operator().await?;
    let limit = stage.settings.limit(stage.settings.n);
    listed(stage, projects, limit).await?;
    let took = seconds_since(operator.started, &[now()]).first().copied().unwrap_or_default();
    stage.cluster.until_quiet("after the restart", limit).await?;
    let (counts, asked, usage) =
        (Counts::of(&stage.providers.requests().await?), stage.cluster.asked(mark)?, operator.usage()?);
    found.add("restart", "time until all projects are listed", took, "s");
    found.add_with("restart", "Kubernetes writes", number(asked.all_writes()), "", "without the Lease".to_owned());
    found.add("restart", "provider writes", number(counts.writes), "");
    found.add_with(
        "restart",
        "most lists of one project",
        number(counts.most_lists),
        "",
        format!("{} lists of {} projects", counts.lists, counts.listed),
    );
    found.add_with("restart", "peak memory", usage.peak_memory, "MB", format!("afterwards {:.1} MB", usage.memory));
    found.add("restart", "CPU seconds per 1,000", usage.cpu / number(stage.settings.n) * 1000.0, "s");
    Ok(operator)
}

/// Waits until so many projects were listed.
async fn listed(stage: &Stage<'_>, projects: usize, limit: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let listed = Counts::of(&stage.providers.requests().await?).listed;
        if listed >= projects {
            return Ok(());
        }
        if began.elapsed() > limit {
            return Err(Error::new(format!("after {limit:?} only {listed} of {projects} projects were listed")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn idle(stage: &Stage<'_>, operator: &Operator, found: &mut Figures) -> Result<()> {
    let interval = Duration::from_secs(stage.settings.resync());
    say(&format!("idle for {INTERVALS} resync intervals of {interval:?}"));
    // The first interval begins with the change of the provider object.
    tokio::time::sleep(interval).await;
    stage.providers.forget_requests().await?;
    let (mark, cpu, began) = (stage.cluster.mark()?, operator.usage()?.cpu, Instant::now());
    tokio::time::sleep(interval * INTERVALS).await;
    let (counts, asked) = (Counts::of(&stage.providers.requests().await?), stage.cluster.asked(mark)?);
    let intervals = began.elapsed().as_secs_f64() / interval.as_secs_f64();
    let resyncs = number(stage.settings.projects()) * intervals;
    found.add_with(
        "idle",
        "Kubernetes writes",
        number(asked.all_writes()),
        "",
        format!("in {intervals:.1} resync intervals of {interval:?}"),
    );
    found.add("idle", "provider writes", number(counts.writes), "");
    found.add("idle", "lists per project and resync", number(counts.lists) / resyncs, "");
    let cpu = (operator.usage()?.cpu - cpu) / intervals / number(stage.settings.n) * 1000.0;
    found.add("idle", "CPU seconds per 1,000 and resync", cpu, "s");
    Ok(())
}

async fn drift(stage: &Stage<'_>, targets: &[Target], found: &mut Figures) -> Result<()> {
    let settings = stage.settings;
    let step = 100.min(targets.len().max(1));
    let drifting: Vec<_> = targets.iter().step_by(step).map(|target| target.holds(&[target.kind.role()])).collect();
    say(&format!("drift of {} memberships", drifting.len()));
    stage.providers.forget_requests().await?;
    let (mark, n) = (stage.cluster.mark()?, drifting.len());
    stage.providers.remove(&drifting).await?;
    let began = now();
    stage.providers.watch(drifting).await?;
    let times =
        stage.providers.until_correct("drift", settings.limit(n) + Duration::from_secs(3 * settings.resync())).await?;
    stage.cluster.until_quiet("after the repair of drift", settings.limit(n)).await?;
    let (counts, asked) = (Counts::of(&stage.providers.requests().await?), stage.cluster.asked(mark)?);
    let shares = shares(&seconds_since(began, &times));
    let note = format!("50 % after {:.1} s; resync interval {} s", shares.half, settings.resync());
    found.add_with("drift", "time until all is repaired", shares.all, "s", note);
    found.add("drift", "provider writes per drifted membership", number(counts.writes) / number(n), "");
    found.add("drift", "Kubernetes writes per drifted membership", number(asked.writes()) / number(n), "");
    Ok(())
}
