//! Many grants that end together.

use serde_json::json;

use super::timed::{add_lateness, granted, lateness};
use crate::error::Result;
use crate::generator::Generator;
use crate::measure::{number, percentile};
use crate::progress::IN_FLIGHT;
use crate::progress::say;
use crate::provider::server::now;
use crate::report::Figures;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::targets::{Kind, targets};

/// Grants whose ends are spread over one second at Infisical.
pub async fn infisical(settings: &Settings, found: &mut Figures) -> Result<()> {
    let n = settings.ends();
    say(&format!("expiry: {n} grants that end within one second"));
    let projects = (n / 100).max(5);
    let stage = Stage::set(settings, projects, n).await?;
    stage.add_provider(Kind::Infisical, &json!({"maxInFlight": IN_FLIGHT})).await?;
    let operator = stage.operator().await?;
    let all = targets(Kind::Infisical, 0, n, projects);
    let first = now() + milliseconds(settings.until_ends(n));
    let ends: Vec<u64> = (0..n).map(|at| first + u64::try_from(at * 1000 / n).unwrap_or_default()).collect();
    granted(&stage, &all, &ends).await?;
    let late = lateness(&stage, &all, &ends).await?;
    let spread = format!("{n} ends within one second, {IN_FLIGHT} in flight, {} ms", settings.delay);
    add_lateness(found, "expiry", &late, spread);
    operator.stop().await?;
    stage.strike().await
}

/// Grants that end at the same instant at ZITADEL, which takes one write at a time.
pub async fn zitadel(settings: &Settings, found: &mut Figures) -> Result<()> {
    let n = settings.zitadel_ends();
    say(&format!("expiry-zitadel: {n} grants that end at the same instant"));
    let projects = (n / 100).max(2);
    // The last ones are for measuring the time of one write.
    let timed = 50;
    let stage = Stage::set(settings, projects, n + timed).await?;
    stage.add_provider(Kind::Zitadel, &json!({})).await?;
    let generator = Generator::new(&stage.cluster, &stage.providers, Kind::Zitadel)?;
    let one = generator.time_of_one_write(&targets(Kind::Zitadel, n, timed, projects)).await?.as_secs_f64();
    let operator = stage.operator().await?;
    let all = targets(Kind::Zitadel, 0, n, projects);
    let end = now() + milliseconds(settings.until_ends(n));
    let ends = vec![end; n];
    granted(&stage, &all, &ends).await?;
    let late = lateness(&stage, &all, &ends).await?;
    let note = format!("{n} ends, one write after another takes {:.1} ms", one * 1000.0);
    add_lateness(found, "expiry-zitadel", &late, note);
    let ratio = percentile(&late, 1.0) / (number(n) * one);
    found.add("expiry-zitadel", "last, ratio to the writes one after another", ratio, "×");
    operator.stop().await?;
    stage.strike().await
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
