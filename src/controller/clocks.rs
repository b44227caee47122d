//! Temporary grants wait until the provider's clock is known and agrees with the operator's.

use tokio::time::Instant;

use super::converge::Look;
use super::resolve::Scene;
use super::targets::Memory;
use crate::api::Reason;
use crate::clock::{self, Agreement};
use crate::core::grants::Grant;
use crate::core::layers::Layer;
use crate::core::member::Term;
use crate::core::status::Told;

/// Whether a temporary grant begins or is repaired, and a response that shows the provider's clock is needed first. If
/// the responses of a provider don't show its clock, one is requested at most once per period for which a response
/// would have been valid.
pub fn needs_clock(memory: &Memory, look: &Look, asked: Option<Instant>) -> bool {
    let Look { scene, plan, .. } = look;
    if scene.clocks != Agreement::Unknown || asked.is_some_and(|asked| asked.elapsed() < clock::KNOWN_FOR) {
        return false;
    }
    let gains = |layer: &Layer| {
        let temporary = layer.in_effect(scene.now).filter(|grant| grant.term != Term::Permanent);
        temporary.into_iter().any(|grant| plan.gained().contains(&grant.role))
    };
    begins_temporary(scene, |role| memory.refused.contains_key(role)) || scene.layers().iter().any(gains)
}

/// Whether a temporary grant of the acting object is in effect and is not recorded yet.
fn begins_temporary(scene: &Scene, refused: impl Fn(&str) -> bool) -> bool {
    let layer = &scene.acting.layer;
    let begins = |grant: &Grant| grant.term != Term::Permanent && !layer.managed.contains_key(&grant.role);
    layer.in_effect(scene.now).any(|grant| begins(grant) && !refused(&grant.role))
}

/// What to report if temporary roles do not begin because the two clocks disagree, or because the provider's clock is
/// unknown.
pub fn skewed_role(scene: &Scene) -> Option<Told> {
    let message = match scene.clocks {
        Agreement::Agree => return None,
        Agreement::Differ(skew) => format!(
            "the provider's clock is about {} s off the operator's, so that no temporary role is begun: set both clocks right",
            // Rounded to half a minute, so that the message stays the same from pass to pass.
            (skew.unsigned_abs().as_secs() + 15) / 30 * 30
        ),
        Agreement::Unknown => "the provider's clock is not known, so that no temporary role begins: its responses need a Date header, which a proxy in between may have removed".to_owned(),
    };
    begins_temporary(scene, |_| false).then(|| Told::new(Reason::Progressing, message))
}
