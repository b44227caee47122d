//! A provider with arbitrary responses: endless, very slow, redirected, with tokens in its errors.

use serde_json::json;
use simulator::{Answer, Fault, Order, worlds};
use std::time::Duration;
use tokio::time::Instant;

use crate::evidence::{Call, assert_presentable, writes};
use crate::operator::Operator;
use crate::stage::{binary, shared, with_stage};
use crate::subject::each;
use crate::support::{SOON, assert_contains, eventually};

/// The memory limit of the container, in KiB (`deploy/base/deployment.yaml`).
const MEMORY: u64 = 512 << 10;

#[tokio::test]
async fn a_gigabyte_and_a_slow_drip_cost_little_memory_and_a_bounded_time() {
    crate::restart::alone(async |plane, stage| {
        let own = Operator::start(plane, binary(), "swamped").await.unwrap();
        let subject = stage.identity("swamped");
        let beside = stage.user("beside");
        let (object, front) = (subject.object(), stage.at(&subject));
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.ready(&object).await;
        let (method, path) = subject.call(Call::List);
        // As much as is accepted of a list, all of it rows.
        let rows = format!(r#"{{"identityMemberships":[{}1]}}"#, "1,".repeat(30 << 20));
        let cases = [
            ("more than 64 MiB", Fault::Gigabyte),
            ("JSON of another shape", Fault::Bytes(rows.into_bytes())),
            ("did not respond completely within 30 s", Fault::Drip(Duration::from_millis(500))),
        ];
        for (phrase, fault) in cases {
            front.order(Order::always(fault).on(method, &path));
            let began = Instant::now();
            stage.api.annotate(&object, "membership.dev/reconcile-at", phrase).await;
            eventually(SOON, phrase, async || {
                let there = stage.api.get(&object).await["status"]["conditions"].to_string();
                if there.contains(phrase) { Ok(()) } else { Err(there) }
            })
            .await;
            assert!(began.elapsed() < Duration::from_secs(45), "{phrase}: {:?}", began.elapsed());
            assert_presentable(&stage.waits(&object, "Unreachable").await);
            subject.has_now(&["viewer"], phrase);
            if phrase.contains("30 s") {
                // Meanwhile the others are served.
                stage.declare(&beside, json!([{"role": beside.names()[0]}])).await;
                stage.ready(&beside.object()).await;
            }
            front.clear_orders();
            stage.ready_in_time(&object).await;
        }
        let most = own.most_memory().unwrap();
        eprintln!("the most memory: {} MiB", most >> 10);
        assert!(most < MEMORY, "{most} KiB of {MEMORY}");
        own.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_redirect_to_a_metadata_or_other_address_is_reported_and_not_followed() {
    with_stage(async |stage| {
        each(stage.both("led"), async |subject| {
            let [a, b, ..] = subject.names();
            let (object, front) = (subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let elsewhere = simulator::Simulator::start().await.unwrap();
            let bait = format!("{}/latest/meta-data?token=hunter2", elsewhere.infisical().url());
            let written = writes(front).len();
            for location in ["http://169.254.169.254/latest/meta-data/iam", bait.as_str()] {
                for (call, status) in [(Call::List, 302), (Call::List, 307), (Call::Change, 308)] {
                    let (method, path) = subject.call(call);
                    let redirect = Answer::new(status, json!(null)).header("location", location);
                    front.order(Order::always(Fault::Status(redirect)).on(method, &path));
                    let role = if call == Call::Change { b } else { a };
                    stage.change(&subject, json!({"roles": [{ "role": role }]})).await;
                    stage.reconcile_now(&object).await;
                    let message = stage.waits(&object, "Unreachable").await;
                    assert_presentable(&message);
                    assert_contains(&message, location.split('?').next().unwrap());
                    assert!(!message.contains("hunter2"), "{message}");
                    subject.has_now(&[a], "led elsewhere");
                    front.clear_orders();
                    stage.change(&subject, json!({"roles": [{ "role": a }]})).await;
                    stage.ready(&object).await;
                }
            }
            assert!(writes(front).len() >= written, "the writes were tried");
            assert!(elsewhere.infisical().requests().is_empty(), "{:#?}", elsewhere.infisical().requests());
        })
        .await;
    })
    .await;
}

/// What must not be shown anywhere: the credential in use, tokens, and terminal control sequences.
const PLANTED: [&str; 2] = ["st.0123456789abcdef.planted", "eyJhbGciOiJIUzI1NiJ9.cGxhbnRlZA"];

#[tokio::test]
async fn tokens_and_control_characters_in_an_error_reach_no_condition_event_log_or_metric() {
    with_stage(async |stage| {
        let hidden = |text: &str| {
            let secrets = [worlds::INFISICAL_CLIENT_SECRET, worlds::INFISICAL_TOKEN, worlds::ZITADEL_TOKEN];
            assert!(secrets.iter().chain(&PLANTED).all(|secret| !text.contains(secret)), "a secret: {text}");
        };
        each(stage.both("noisy"), async |subject| {
            let [a, b, ..] = subject.names();
            let (object, front) = (subject.object(), stage.at(&subject));
            let own = if subject.is_at_infisical() { worlds::INFISICAL_CLIENT_SECRET } else { worlds::ZITADEL_TOKEN };
            let noise = format!("PLANTED \u{1b}[2J\u{7}\r\n{own} Bearer {} \u{202e}{}", PLANTED[0], PLANTED[1]);
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            // A permanent refusal is reported in an event, and the removal is sent alone.
            for (status, call) in [(500, Call::List), (400, Call::Change), (500, Call::Change), (403, Call::Change)] {
                let (method, path) = subject.call(call);
                let id = [noise.as_str(), "x"].concat();
                let body = json!({
                    "statusCode": status, "code": 3, "message": noise, "error": noise, "reqId": id,
                    "details": [{"id": id, "message": noise}],
                });
                front.order(Order::always(Fault::Status(Answer::new(status, body))).on(method, &path));
                stage.change(&subject, json!({"roles": [{ "role": b }]})).await;
                stage.reconcile_now(&object).await;
                let conditions = stage.api.get(&object).await["status"]["conditions"].clone();
                let ready = conditions.as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap().clone();
                assert_presentable(ready["message"].as_str().unwrap());
                front.clear_orders();
                stage.change(&subject, json!({"roles": [{ "role": a }]})).await;
                stage.ready(&object).await;
            }
            let events = stage.api.events(&object).await;
            let notes: Vec<&str> = events.iter().filter_map(|event| event["note"].as_str()).collect();
            assert!(notes.iter().any(|note| note.contains("PLANTED")), "the errors were reported: {notes:#?}");
            for note in notes {
                assert_presentable(note);
                hidden(note);
            }
        })
        .await;
        let operator = &shared().await.1;
        let log = std::fs::read_to_string(operator.log_file()).unwrap();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(stage.namespace())).collect();
        assert!(lines.iter().any(|line| line.contains("PLANTED")), "the errors are in the log");
        let metrics = operator.metrics().await;
        assert!(!metrics.contains("PLANTED"), "a provider's words in the metrics");
        for text in [lines.join("\n"), metrics] {
            hidden(&text);
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "control characters");
        }
    })
    .await;
}
