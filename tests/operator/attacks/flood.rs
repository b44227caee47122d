//! A flood of memberships by one tenant: the others still converge within seconds, at the same server and at another.
//!
//! Seen failing: with `controller::write::write_slots` removed, all objects waited for the end of the flood at the API
//! server, and without round robin of namespaces in the provider's quota, all that share ZITADEL's one writer did.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use simulator::{Fault, Order};
use tokio::time::Instant;

use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::{Stage, binary, with_stage_on};
use crate::subject::Subject;
use crate::support::changed;

/// How many objects the flood has: `FLOOD=5000` in `make soak`.
fn flood() -> usize {
    std::env::var("FLOOD").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000)
}

/// The longest that another object may wait, while other tests use the same two cores. (That it does not wait for the end
/// of the flood is asserted by what is left of the flood, on a machine of any speed.)
const SECONDS: Duration = Duration::from_secs(30);

/// The number of these subjects without roles.
fn waiting(subjects: &[Subject]) -> usize {
    subjects.iter().filter(|subject| subject.holds().is_empty()).count()
}

/// Creates an object for each subject, many at once.
async fn create(stage: &Stage, subjects: &[Subject]) {
    let objects: Vec<Value> = subjects.iter().map(|s| s.declares(json!([{"role": s.names()[0]}]))).collect();
    futures::stream::iter(&objects).for_each_concurrent(32, async |object| stage.api.create(object).await).await;
}

#[tokio::test]
async fn a_flood_of_one_tenant_delays_the_others_by_seconds_only() {
    alone(async |plane, flooder| {
        let own = Operator::start(plane, binary(), "flooded").await.unwrap();
        with_stage_on(plane, async |other| {
            // The same ZITADEL, which accepts one write at a time, through the other's own provider object.
            let shared =
                changed(other.zitadel_provider(), "/spec/zitadel/url", json!(flooder.simulator.zitadel().url()));
            let shared = changed(shared, "/metadata/name", json!("shared"));
            other.api.apply(&[shared]).await;
            for (stage, provider) in
                [(&flooder, "infisical"), (&flooder, "zitadel"), (&other, "infisical"), (&other, "shared")]
            {
                stage.provider_is_ready(provider).await;
            }
            let slow = Fault::Delay(Duration::from_millis(60));
            flooder.simulator.zitadel().order(Order::always(slow).on("POST", "/management/*/members"));
            let of_infisical: Vec<Subject> =
                (0..flood() * 3 / 4).map(|n| flooder.identity(&format!("flood-{n}"))).collect();
            let of_zitadel: Vec<Subject> = (0..flood() / 4).map(|n| flooder.user(&format!("flood-{n}"))).collect();

            // The others are created last.
            own.signal("STOP").unwrap();
            create(&flooder, &of_zitadel).await;
            create(&flooder, &of_infisical).await;
            let (elsewhere, beside) = (other.identity("elsewhere"), flooder.user("beside"));
            let of_beside = beside.declares(json!([{"role": beside.names()[0]}]));
            let of_beside = changed(of_beside, "/spec/providerRef/name", json!("shared"));
            other.declare(&elsewhere, json!([{"role": "viewer"}])).await;
            other.api.apply(&[of_beside]).await;
            own.signal("CONT").unwrap();

            let began = Instant::now();
            elsewhere.has(&["viewer"]).await;
            other.ready(&elsewhere.object()).await;
            let (took, left) = (began.elapsed(), waiting(&of_infisical));
            eprintln!(
                "at another server: ready after {took:?}, with {left} of the flood of {} to come",
                of_infisical.len()
            );
            assert!(left > of_infisical.len() / 4, "who comes last waited for the flood's end: {left} were left");
            assert!(took < SECONDS, "{took:?}");
            beside.has(&[beside.names()[0]]).await;
            other.ready(&beside.object()).await;
            let (took, left) = (began.elapsed(), waiting(&of_zitadel));
            eprintln!(
                "at the same server: ready after {took:?}, with {left} of the flood of {} to come",
                of_zitadel.len()
            );
            assert!(left > of_zitadel.len() / 4, "who comes last waited for the flood's end: {left} were left");
            assert!(took < SECONDS, "{took:?}");
        })
        .await;
        own.kill().await.unwrap();
    })
    .await;
}
