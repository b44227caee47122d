//! A target in status that isn't the spec's: forged by a user who may write the status, or out of date.

use serde_json::json;
use simulator::worlds;

use crate::stage::with_stage;
use crate::subject::each;
use crate::support::{SOON, eventually};

#[tokio::test]
async fn a_forged_target_is_ignored_fixed_and_reported() {
    with_stage(async |stage| {
        let forged = stage.both("forger");
        let others = stage.both("victim");
        each(forged.iter().zip(&others), async |(subject, other_subject)| {
            let [a, b, ..] = subject.names();
            let object = subject.object();
            other_subject.by_hand(&[b]);
            stage.declare(subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let target = stage.api.get(&object).await["status"]["target"].clone();
            let cases = [
                ("subjectId", other_subject.id.as_str()),
                ("projectId", worlds::INFISICAL_OTHER_PROJECT),
                ("endpoint", "https://other.example"),
                ("provider", "MembershipProvider/elsewhere/other"),
            ];
            for (field, value) in cases {
                stage.api.merge_status(&object, &json!({"status": {"target": {field: value}}})).await;
                eventually(SOON, &format!("{object}: status.target.{field} is put right"), async || {
                    let there = stage.api.get(&object).await["status"]["target"].clone();
                    if there == target { Ok(()) } else { Err(format!("{there:#}")) }
                })
                .await;
                stage.has_event(&object, "Failed", value).await;
                subject.has_now(&[a], field);
                other_subject.has_now(&[b], field);
            }
            stage.delete(&object).await;
            subject.has_now(&[], "when its object is gone");
            other_subject.has_now(&[b], "when the object is gone");
            assert!(
                other_subject.writes().is_empty(),
                "the other subject was written to: {:#?}",
                other_subject.writes()
            );
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
