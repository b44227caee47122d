//! Grants that end behind a backlog of grants that a limit per minute holds back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::timed::{add_lateness, granted, lateness};
use crate::error::Result;
use crate::measure::number;
use crate::progress::IN_FLIGHT;
use crate::progress::say;
use crate::provider::requests::overtaking;
use crate::provider::server::now;
use crate::report::Figures;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::targets::{Kind, permanent, targets};

/// How many grants end.
const ENDS: usize = 20;
/// Writes in any 60 seconds: the limit of Infisical Cloud's smallest plan.
const WRITES: u32 = 90;
/// A write that was in flight at the end is not counted as one that overtook, in milliseconds.
const IN_PROGRESS: i64 = 100;

/// Measures the row.
pub async fn run(settings: &Settings, found: &mut Figures) -> Result<()> {
    let n = settings.backlog();
    say(&format!("backlog: {ENDS} grants that end behind {n} that wait for {WRITES} writes a minute"));
    let projects = (n / 100).max(5);
    let stage = Stage::set(settings, projects, n + ENDS).await?;
    stage.add_provider(Kind::Infisical, &json!({"maxInFlight": IN_FLIGHT, "writesPerMinute": WRITES})).await?;
    let operator = stage.operator().await?;
    let ending = targets(Kind::Infisical, n, ENDS, projects);
    let end = now() + u64::try_from(settings.until_ends(n).as_millis()).unwrap_or_default().max(20_000);
    let ends = vec![end; ENDS];
    granted(&stage, &ending, &ends).await?;
    let waiting = targets(Kind::Infisical, 0, n, projects);
    stage
        .cluster
        .create("creating the backlog", waiting.iter().map(|target| target.declares(&permanent(target.kind))).collect())
        .await?;
    stage.providers.forget_requests().await?;
    let late = lateness(&stage, &ending, &ends).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let paths: BTreeSet<String> = ending
        .iter()
        .map(|target| format!("/api/v1/projects/{}/identity-memberships/{}", target.project(), target.subject()))
        .collect();
    let due = i64::try_from(end).unwrap_or_default() + IN_PROGRESS;
    let overtook = overtaking(&stage.providers.requests().await?, due, &paths);
    let note = format!("{ENDS} ends, {n} grants wait, {WRITES} writes a minute");
    found.add_with("backlog", "grants sent before the last due revocation", number(overtook), "", note);
    add_lateness(found, "backlog", &late, "a write may have to wait for the minute of those before it".to_owned());
    found.add("backlog", "peak memory", operator.usage()?.peak_memory, "MB");
    operator.stop().await?;
    stage.strike().await
}
