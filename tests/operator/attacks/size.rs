//! Objects near the size that can be stored: what isn't recorded isn't granted permanently, and no other object waits.

use serde_json::{Map, Value, json};

use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, with};

/// The most bytes that etcd accepts.
const MOST: usize = 1_572_864;

/// Creates a subject's object so large that about `left` bytes can still be added.
async fn create(stage: &Stage, subject: &Subject, fields: &Value, left: usize) {
    let mut labels = (MOST - left) / 400;
    loop {
        let mut object = with(subject.declares(json!([{"role": subject.names()[0]}])), fields.clone());
        // Their number isn't bounded; each is stored twice, since its owner is recorded as well.
        let label = |n: usize| (format!("{}.example/{n:0>60}", "x".repeat(100)), json!("y".repeat(60)));
        object["metadata"]["labels"] = Value::Object((0..labels).map(label).collect::<Map<String, Value>>());
        if stage.api.try_create(&object).await.is_ok() {
            return;
        }
        labels -= 1;
    }
}

#[tokio::test]
async fn an_object_near_the_size_limit_holds_up_no_other_and_leaves_nothing_behind() {
    with_stage(async |stage| {
        let cases = [
            ("tight", 0, json!({})),
            ("snug", 1500, json!({})),
            ("wide", 200_000, json!({})),
            ("recorded", 0, json!({"roleManagement": "Additive"})),
        ];
        let cases: Vec<_> =
            cases.into_iter().map(|(name, left, fields)| (stage.identity(name), left, fields)).collect();
        each(&cases, async |(subject, left, fields)| create(&stage, subject, fields, *left).await).await;
        each(stage.both("beside"), async |subject| {
            stage.declare(&subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[subject.names()[0]], "beside objects that are too large");
        })
        .await;
        let (wide, ..) = &cases[2];
        stage.ready(&wide.object()).await;
        each(&cases, async |(subject, ..)| {
            stage.delete(&subject.object()).await;
            // Not immediately: the API server is slow with such objects, and a finalizer that is added while one is
            // being deleted is lost. The operator doesn't observe it.
            subject.has(&[]).await;
            // A release whose response comes too late counts as none, and the removal is asked for again.
            let writes = subject.carried_out();
            assert!(writes.len() <= 2, "{}: granted once and revoked once: {writes:#?}", subject.name);
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
