//! Memberships that arrive at once, in pairs with the generator; what follows once they have converged; their deletion.

use std::fmt::Write;

use serde_json::json;

use super::{Arrived, arrive, deletion, steady};
use crate::error::Result;
use crate::generator::{Generator, Template};
use crate::measure::{curve, median, seconds_since, shares};
use crate::progress::IN_FLIGHT;
use crate::progress::say;
use crate::report::Figures;
use crate::settings::{Row, Settings};
use crate::stage::Stage;
use crate::targets::{Kind, Target, permanent, targets};

/// What the pairs have shown so far.
#[derive(Default)]
struct Pairs {
    operator: Vec<f64>,
    generator: Vec<f64>,
    drained: Vec<f64>,
    generator_drained: Vec<f64>,
    peaks: Vec<f64>,
    template: Option<Template>,
}

/// Measures the rows that belong to the arrival at a provider.
pub async fn run(settings: &Settings, kind: Kind, found: &mut Figures) -> Result<()> {
    let (row, n, projects) = match kind {
        Kind::Infisical => ("arrival", settings.n, settings.projects()),
        Kind::Zitadel => ("zitadel", settings.zitadel(), settings.zitadel_projects()),
    };
    let stage = Stage::set(settings, projects, n).await?;
    stage.add_provider(kind, &json!({"maxInFlight": IN_FLIGHT})).await?;
    let targets = targets(kind, 0, n, projects);
    let mut pairs = Pairs::default();
    for pair in 0..settings.pairs() {
        say(&format!("{row}: pair {} of {}, {n} memberships", pair + 1, settings.pairs()));
        // They alternate, so that an etcd that grows slows down neither more than the other.
        let order = if pair.is_multiple_of(2) { [true, false] } else { [false, true] };
        for is_operator in order {
            create(&stage, &targets).await?;
            match is_operator {
                true => of_operator(&stage, kind, &targets, &mut pairs, found).await?,
                false => of_generator(&stage, kind, &targets, &mut pairs, found).await?,
            }
        }
    }
    pairs.add_to(found, row, settings.has(Row::Deletion) && kind == Kind::Infisical);
    stage.strike().await
}

async fn create(stage: &Stage<'_>, targets: &[Target]) -> Result<()> {
    let objects = targets.iter().map(|target| target.declares(&permanent(target.kind))).collect();
    let took = stage.cluster.create("creating objects", objects).await?;
    say(&format!("  {} objects created in {:.1} s", targets.len(), took.as_secs_f64()));
    Ok(())
}

async fn of_operator(
    stage: &Stage<'_>,
    kind: Kind,
    targets: &[Target],
    pairs: &mut Pairs,
    found: &mut Figures,
) -> Result<()> {
    let is_first = pairs.operator.is_empty();
    let (mut operator, arrived) = arrive(stage, targets, kind.role()).await?;
    let Arrived { times, usage, .. } = &arrived;
    let all = shares(times).all;
    say(&format!("  operator: all correct after {all:.1} s, peak memory {:.1} MB", usage.peak_memory));
    pairs.operator.push(all);
    pairs.peaks.push(usage.peak_memory);
    if is_first {
        let row = if kind == Kind::Infisical { "arrival" } else { "zitadel" };
        arrived.add_to(found, row);
        if kind == Kind::Infisical {
            found.add_curve("operator", curve(times));
        }
        if let Some(first) = targets.first() {
            pairs.template = Some(Template::of(&stage.cluster.get(*first).await?)?);
        }
        if kind == Kind::Infisical && stage.settings.has_any(&[Row::Restart, Row::Idle, Row::Drift]) {
            operator = steady::run(stage, operator, targets, found).await?;
        }
    }
    let took = deletion::of_operator(stage, &operator, targets, is_first && kind == Kind::Infisical, found).await?;
    say(&format!("  operator: all deleted after {took:.1} s"));
    pairs.drained.push(took);
    operator.stop().await
}

async fn of_generator(
    stage: &Stage<'_>,
    kind: Kind,
    targets: &[Target],
    pairs: &mut Pairs,
    found: &mut Figures,
) -> Result<()> {
    let Some(template) = &pairs.template else { return Ok(()) };
    let limit = stage.settings.limit(targets.len());
    let generator = Generator::new(&stage.cluster, &stage.providers, kind)?;
    stage.providers.watch(targets.iter().map(|target| target.holds(&[kind.role()])).collect()).await?;
    let began = generator.converge(targets, template).await?;
    let times = seconds_since(began, &stage.providers.until_correct("generator", limit).await?);
    let all = shares(&times).all;
    say(&format!("  generator: all correct after {all:.1} s"));
    if pairs.generator.is_empty() && kind == Kind::Infisical {
        found.add_curve(&format!("bare generator, {IN_FLIGHT} in flight"), curve(&times));
    }
    pairs.generator.push(all);
    let took = generator.drain(targets).await?.as_secs_f64();
    stage.cluster.until_gone("generator, deleting", limit).await?;
    say(&format!("  generator: all deleted after {took:.1} s"));
    pairs.generator_drained.push(took);
    Ok(())
}

impl Pairs {
    fn add_to(&self, found: &mut Figures, row: &str, with_deletion: bool) {
        let (ratio, note) = ratios(&self.operator, &self.generator);
        found.add_with(row, "time, ratio to the generator", ratio, "×", note);
        if with_deletion {
            let (ratio, note) = ratios(&self.drained, &self.generator_drained);
            found.add_with("deletion", "time, ratio to the generator", ratio, "×", note);
        }
    }
}

/// The median of the ratios of all pairs, and all of them.
fn ratios(operator: &[f64], generator: &[f64]) -> (f64, String) {
    let pairs: Vec<(f64, f64)> = operator.iter().copied().zip(generator.iter().copied()).collect();
    let all: Vec<f64> = pairs.iter().map(|(operator, generator)| operator / generator).collect();
    let mut note = String::new();
    for ((operator, generator), ratio) in pairs.iter().zip(&all) {
        let separator = if note.is_empty() { "" } else { ", " };
        let _ = write!(note, "{separator}{ratio:.2} ({operator:.1} s / {generator:.1} s)");
    }
    (median(&all), note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_ratio_is_the_median_of_the_pairs() {
        let (ratio, note) = ratios(&[8.0, 30.0, 9.0], &[10.0, 10.0, 10.0]);
        assert!((ratio - 0.9).abs() < 1e-9);
        assert_eq!(note, "0.80 (8.0 s / 10.0 s), 3.00 (30.0 s / 10.0 s), 0.90 (9.0 s / 10.0 s)");
    }
}
