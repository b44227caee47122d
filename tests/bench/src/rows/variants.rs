//! The arrival with temporary roles, and by names: what it costs, without a generator.

use serde_json::{Value, json};

use super::arrive;
use crate::error::Result;
use crate::progress::IN_FLIGHT;
use crate::progress::say;
use crate::report::Figures;
use crate::settings::{Row, Settings};
use crate::stage::Stage;
use crate::targets::{Kind, Target, permanent, targets};

/// Measures one of the two rows.
pub async fn run(settings: &Settings, row: Row, found: &mut Figures) -> Result<()> {
    let (name, n) = (row.name(), settings.variants());
    let projects = (n / 100).max(5);
    say(&format!("{name}: {n} memberships"));
    let stage = Stage::set(settings, projects, n).await?;
    stage.add_provider(Kind::Infisical, &json!({"maxInFlight": IN_FLIGHT})).await?;
    let targets = targets(Kind::Infisical, 0, n, projects);
    let declared = |target: &Target| -> Value {
        match row {
            Row::Temporary => target.declares(&json!([{"role": target.kind.role(), "temporary": {"duration": "12h"}}])),
            _ => target.declares_by_name(&permanent(target.kind)),
        }
    };
    stage.cluster.create("creating objects", targets.iter().map(declared).collect()).await?;
    let (operator, arrived) = arrive(&stage, &targets, Kind::Infisical.role()).await?;
    arrived.add_to(found, &name);
    operator.stop().await?;
    stage.strike().await
}
