//! The provider is down while memberships are changed.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::measure::{seconds_since, shares};
use crate::progress::IN_FLIGHT;
use crate::progress::say;
use crate::provider::server::now;
use crate::report::Figures;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::targets::{Kind, Target, permanent, targets};

/// How many memberships there are.
const MEMBERSHIPS: usize = 100;
/// How many of them are changed.
const CHANGED: usize = 50;

/// Measures the row.
pub async fn run(settings: &Settings, found: &mut Figures) -> Result<()> {
    let length = settings.outage();
    say(&format!("outage of {length:?}, {CHANGED} memberships are changed meanwhile"));
    let projects = 5;
    let stage = Stage::set(settings, projects, MEMBERSHIPS).await?;
    stage.add_provider(Kind::Infisical, &json!({"maxInFlight": IN_FLIGHT})).await?;
    let operator = stage.operator().await?;
    let all = targets(Kind::Infisical, 0, MEMBERSHIPS, projects);
    stage.providers.watch(all.iter().map(|target| target.holds(&[target.kind.role()])).collect()).await?;
    let objects = all.iter().map(|target| target.declares(&permanent(target.kind))).collect();
    stage.cluster.create("creating objects", objects).await?;
    stage.providers.until_correct("memberships", settings.limit(MEMBERSHIPS)).await?;
    stage.cluster.until_quiet("before the outage", settings.limit(MEMBERSHIPS)).await?;

    stage.providers.begin_outage().await?;
    let changed: Vec<Target> = all.into_iter().take(CHANGED).collect();
    let roles = json!([{"role": Kind::Infisical.other_role()}]);
    let changes: Vec<(Target, Value)> = changed.iter().map(|target| (*target, json!({"roles": roles}))).collect();
    stage.cluster.change("changing roles", changes).await?;
    tokio::time::sleep(length).await;
    stage.providers.forget_requests().await?;
    stage.providers.watch(changed.iter().map(|target| target.holds(&[target.kind.other_role()])).collect()).await?;
    let ended = now();
    stage.providers.end_outage().await?;
    let times = stage.providers.until_correct("recovery", settings.limit(CHANGED) + length).await?;
    let requests = stage.providers.requests().await?;
    let answered = requests.iter().find(|request| request.3.is_some_and(|status| status < 500));
    let first = answered.and_then(|request| u64::try_from(request.0).ok());
    let first = first.ok_or_else(|| Error::new("nothing was answered after the outage"))?;
    let after_end = shares(&seconds_since(ended, &times)).all;
    let note = format!("{CHANGED} memberships, outage of {length:?}; {after_end:.1} s after the end of the outage");
    found.add_with("outage", "recovery after the first answer", shares(&seconds_since(first, &times)).all, "s", note);
    operator.stop().await?;
    stage.strike().await
}
