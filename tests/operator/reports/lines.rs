//! The log at the default level: one line for each change, and none that is superfluous.

use serde_json::{Value, json};
use simulator::{Fault, Order};

use super::event;
use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::binary;
use crate::support::{SOON, eventually};

/// Seen failing with requests logged at INFO.
#[tokio::test]
async fn the_life_of_a_membership_is_a_line_for_each_change() {
    alone(async |plane, stage| {
        let operator = Operator::start_at_default_level(plane, binary(), "lines").await.unwrap();
        let log = operator.log_file().to_owned();
        let subject = stage.user("life");
        let (object, [a, b, c, _]) = (subject.object(), subject.names());
        let declare = async |roles: Value| {
            stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
        };
        declare(json!([{"role": a}, {"role": b, "temporary": {"duration": "4s"}}])).await;
        stage.role_is(&object, b, "Expired").await;
        stage.ready(&object).await;
        subject.by_hand(&[a, c]);
        event(&stage, &object, "Drifted", &["revoked", c]).await;
        stage.ready(&object).await;
        // Several requests fail, and the provider is unavailable for a moment.
        stage.simulator.zitadel().order(Order::always(Fault::status(503)));
        stage.has_condition("membershipprovider/zitadel", "Ready", "False", "Unreachable").await;
        stage.simulator.zitadel().clear_orders();
        stage.has_condition("membershipprovider/zitadel", "Ready", "True", "Verified").await;
        stage.ready(&object).await;
        stage.delete(&object).await;
        event(&stage, &object, "Revoked", &[a]).await;
        let stuck = stage.identity("stuck");
        stage.declare(&stuck, json!([{"role": "viewer"}])).await;
        stage.ready(&stuck.object()).await;
        stage.simulator.infisical().order(Order::always(Fault::status(503)).on("DELETE", &stuck.id));
        stage.api.ask_to_delete(&stuck.object()).await;
        event(&stage, &stuck.object(), "RevokeFailed", &["could not revoke"]).await;
        overdue_are(&operator, 1).await;
        stage.api.annotate(&stuck.object(), "membership.dev/abandon", "true").await;
        stage.api.is_gone(&stuck.object()).await;
        // The state of the object is dropped with it.
        overdue_are(&operator, 0).await;
        operator.stop().await.unwrap();
        let log = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let about = |name: &str| -> Vec<(&str, &str)> {
            lines
                .iter()
                .filter(|line| line["name"] == name)
                .map(|line| (line["level"].as_str().unwrap_or_default(), line["message"].as_str().unwrap_or_default()))
                .collect()
        };
        let expected = [("INFO", "Granted"), ("INFO", "Expired"), ("INFO", "Drifted"), ("INFO", "Revoked")];
        assert_eq!(about(&subject.name), expected, "{log}");
        let of_stuck: Vec<&str> = about(&stuck.name).into_iter().map(|(level, _)| level).collect();
        assert_eq!(of_stuck, ["INFO", "WARN", "WARN"], "granted, not revoked, abandoned: {log}");
        let started = lines.iter().find(|line| line["message"] == "starting").unwrap_or_else(|| panic!("{log}"));
        assert_eq!(started["version"], env!("CARGO_PKG_VERSION"), "{started:#}");
        assert_eq!(lines.last().map(|line| &line["message"]), Some(&json!("stopped")), "{log}");
        let of_provider = |level: &str, provider: &str| {
            let fits = |line: &&Value| {
                let of = line["provider"].as_str().is_some_and(|of| of.ends_with(provider));
                of && line["name"].is_null() && line["level"] == level
            };
            lines.iter().filter(fits).count()
        };
        assert_eq!(
            (of_provider("INFO", "/zitadel"), of_provider("WARN", "/zitadel")),
            (2, 1),
            "ready, away, ready: {log}"
        );
        assert!(lines.len() <= 20, "{} lines:\n{log}", lines.len());
    })
    .await;
}

/// Waits until this number of objects has access that should have ended.
async fn overdue_are(operator: &Operator, expected: usize) {
    let line = format!("membership_overdue_revocations {expected}");
    eventually(SOON, &line, async || {
        let text = operator.metrics().await;
        if text.lines().any(|found| found == line) { Ok(()) } else { Err(text) }
    })
    .await;
}
