//! Specs that the API server would refuse today: stored before a rule existed, or restored past it. The operator checks
//! everything again, and a spec that isn't admitted lengthens nothing.

use control_plane::{ControlPlane, Options};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::operator::Operator;
use crate::stage::{Stage, binary, with_stage_on};
use crate::subject::{Subject, each, time};
use crate::support::{self, SOON, eventually};

static UNCHECKED: OnceCell<(ControlPlane, Operator)> = OnceCell::const_new();

/// A control plane whose kinds have no validation rules, with its own operator.
async fn unchecked() -> &'static (ControlPlane, Operator) {
    UNCHECKED
        .get_or_init(async || {
            let plane = support::start(Options::default()).await.unwrap();
            let kubectl = plane.kubectl();
            let name = "projectmemberships.membership.dev";
            let mut kind: Value =
                serde_json::from_str(&kubectl.ok(&["get", "crd", name, "--output=json"]).await.unwrap()).unwrap();
            without_rules(&mut kind["spec"]);
            kubectl.ok_with_input(&["replace", "--filename=-"], &kind.to_string()).await.unwrap();
            let operator = Operator::start(&plane, binary(), "unchecked").await.unwrap();
            (plane, operator)
        })
        .await
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

/// Applies a spec that is only accepted here. The API server drops the rules a moment after their removal.
async fn apply_unchecked(stage: &Stage, subject: &Subject, spec: Value) {
    let patch = json!({ "spec": spec }).to_string();
    eventually(SOON, &format!("{patch} is taken"), async || {
        let output = stage.kubectl().run(&["patch", &subject.object(), "--type=merge", "--patch", &patch], "").await;
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    })
    .await;
}

#[tokio::test]
async fn a_role_ends_in_time_regardless_of_a_spec_that_is_not_admitted() {
    with_stage_on(&unchecked().await.0, async |stage| {
        // In each there is something that isn't admitted, and the running role is permanent, longer or missing.
        type Change = fn(&str, &str) -> Value;
        let cases: [(&str, Change); 4] = [
            ("for-good", |a, b| json!([{"role": a}, {"role": b}, {"role": "custom"}])),
            ("longer", |a, b| json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}, {"role": "custom"}])),
            ("taken-out", |a, _| json!([{"role": a}, {"role": "custom"}])),
            ("endless", |a, b| json!([{"role": a}, {"role": b, "temporary": {"startTime": "2026-01-01T00:00:00Z"}}])),
        ];
        let cases = cases.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, roles))| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "8s"}}])).await;
            subject.has(&[a, b]).await;
            let end = time(&stage.role_is(&subject.object(), b, "Active").await["expirationTime"]);
            apply_unchecked(&stage, &subject, json!({"roles": roles(a, b)})).await;
            stage.has_condition(&subject.object(), "Stalled", "True", "InvalidSpec").await;
            // What has no end yet is held: neither removed nor restored.
            subject.ends(b, end, case).await;
            subject.has_now(&[a], &format!("{case}: after the end"));
            stage.has_condition(&subject.object(), "Ready", "False", "InvalidSpec").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_object_with_an_invalid_spec_blocks_no_other_and_revokes_what_it_granted() {
    with_stage_on(&unchecked().await.0, async |stage| {
        each(stage.both("invalid"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            apply_unchecked(&stage, &subject, json!({"roles": [{"role": "custom"}]})).await;
            stage.reason_is(&subject.object(), "InvalidSpec").await;
            let other = format!("other-{}", subject.name);
            stage.api.apply(&[subject.layer(&other, json!([{"role": b}]))]).await;
            subject.has(&[a, b]).await;
            stage.has_condition(&format!("pm/{other}"), "Ready", "True", "Converged").await;
            // The valid spec is restored.
            apply_unchecked(&stage, &subject, json!({"roles": [{"role": a}]})).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            apply_unchecked(&stage, &subject, json!({"roles": [{"role": "custom"}]})).await;
            stage.reason_is(&subject.object(), "InvalidSpec").await;
            stage.delete(&subject.object()).await;
            subject.has(&[b]).await;
        })
        .await;
    })
    .await;
}
