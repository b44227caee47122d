//! Grants that end while the roles of many memberships are replaced at ZITADEL, in the same namespace.

use std::time::Duration;

use serde_json::{Value, json};

use super::timed::{add_lateness, granted, lateness};
use crate::error::Result;
use crate::progress::say;
use crate::provider::server::now;
use crate::report::Figures;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::targets::{Kind, Target, permanent, targets};

/// How many grants end.
const ENDS: usize = 8;
/// How long before the ends the replacements begin, in milliseconds.
const BEFORE: u64 = 1_500;

/// Measures the row.
pub async fn run(settings: &Settings, found: &mut Figures) -> Result<()> {
    let n = settings.replacements();
    say(&format!("replacements: {ENDS} grants that end while {n} roles are replaced"));
    let projects = (n / 100).max(2);
    let stage = Stage::set(settings, projects, n + ENDS).await?;
    stage.add_provider(Kind::Zitadel, &json!({})).await?;
    let operator = stage.operator().await?;
    let replaced = targets(Kind::Zitadel, 0, n, projects);
    stage.providers.watch(replaced.iter().map(|target| target.holds(&[target.kind.role()])).collect()).await?;
    let objects = replaced.iter().map(|target| target.declares(&permanent(target.kind))).collect();
    stage.cluster.create("creating objects", objects).await?;
    stage.providers.until_correct("memberships", settings.limit(n)).await?;
    stage.cluster.until_quiet("before the replacements", settings.limit(n)).await?;

    let ending = targets(Kind::Zitadel, n, ENDS, projects);
    let end = now() + u64::try_from(settings.until_ends(ENDS).as_millis()).unwrap_or_default() + BEFORE;
    let ends = vec![end; ENDS];
    granted(&stage, &ending, &ends).await?;
    tokio::time::sleep(Duration::from_millis((end - BEFORE).saturating_sub(now()))).await;
    let roles: Value = json!([{"role": Kind::Zitadel.other_role()}]);
    let changes: Vec<(Target, Value)> = replaced.iter().map(|target| (*target, json!({"roles": roles}))).collect();
    let changing = stage.cluster.change("replacing roles", changes);
    let (changed, late) = tokio::join!(changing, lateness(&stage, &ending, &ends));
    changed?;
    add_lateness(
        found,
        "replacements",
        &late?,
        format!("{ENDS} ends during {n} replacements, {} ms", settings.delay / 2),
    );
    stage.providers.watch(replaced.iter().map(|target| target.holds(&[target.kind.other_role()])).collect()).await?;
    stage.providers.until_correct("replacements", settings.limit(n)).await?;
    operator.stop().await?;
    stage.strike().await
}
