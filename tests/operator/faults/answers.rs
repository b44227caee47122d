//! Writes that were carried out and whose responses were lost.

use std::time::Duration;

use serde_json::json;
use simulator::{Answer, Fault, Order};

use crate::evidence::{Call, is_ready, sees};
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each};

fn lost_answers() -> [(&'static str, Fault); 3] {
    [
        ("a connection that breaks", Fault::ResetAfter),
        ("a gateway that gives up", Fault::StatusAfter(Answer::new(504, json!("<html>gateway timeout</html>")))),
        ("half of an answer", Fault::Truncated),
    ]
}

fn once(stage: &Stage, subject: &Subject, call: Call, fault: &Fault) {
    let (method, path) = subject.call(call);
    stage.at(subject).order(Order::next(fault.clone()).on(method, &path));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_looked_at_before_it_is_tried_again() {
    with_stage(async |stage| {
        each(stage.both("answer"), async |first| {
            for (n, (case, fault)) in lost_answers().into_iter().enumerate() {
                let subject = match first.is_at_infisical() {
                    true => stage.identity(&format!("answer-{n}")),
                    false => stage.user(&format!("answer-{n}")),
                };
                let ([a, b, c, _], object) = (subject.names(), subject.object());
                once(&stage, &subject, Call::Create, &fault);
                stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
                stage.ready(&object).await;
                subject.has_now(&[a, b], case);
                subject.was_written(1, case);
                let (granted, end) = (stage.role_is(&object, b, "Active").await, subject.end_of(b));

                once(&stage, &subject, Call::Change, &fault);
                let temporary = json!({"role": b, "temporary": {"duration": "1h"}});
                stage.change(&subject, json!({"roles": [{"role": a}, {"role": c}, temporary]})).await;
                stage.ready(&object).await;
                subject.has_now(&[a, b, c], case);
                subject.was_written(2, case);
                assert_eq!(stage.role_is(&object, b, "Active").await, granted, "{case}: the recorded window");
                assert_eq!(subject.end_of(b), end, "{case}: the end at the provider");

                once(&stage, &subject, Call::Remove, &fault);
                stage.api.ask_to_delete(&object).await;
                subject.has(&[]).await;
                // Absence from a list proves nothing: the request is repeated, and the provider's response counts.
                let removals = subject.writes().len() - 2;
                assert!(removals <= 2, "{}, {case}: {removals} removals: {:#?}", subject.name, subject.writes());
                assert_eq!(subject.memberships(), 0, "{}, {case}", subject.name);
                // A write that had no response may still be carried out.
                let stays = "is released when the provider doesn't show the access a minute later";
                let message = stage.has_condition(&object, "Reconciling", "True", "Progressing").await;
                assert!(message.contains(stays), "{message}");
            }
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

/// Longer than the operator waits for a response.
const NEVER: Duration = Duration::from_secs(40);

#[tokio::test(start_paused = true)]
async fn a_write_that_is_never_answered_is_looked_at_before_it_is_tried_again() {
    in_memory(async |stage| {
        each(stage.both("never"), async |subject| {
            let ([a, b, ..], object) = (subject.names(), subject.object());
            once(&stage, &subject, Call::Create, &Fault::DelayAfter(NEVER));
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
            subject.has(&[a, b]).await;
            assert!(!is_ready(&stage.api.get(&object).await), "an unknown result is not reported as Ready");
            stage.ready_in_time(&object).await;
            subject.has_now(&[a, b], "after an answer that never came");
            subject.was_written(1, "after an answer that never came");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_another_writer_made_of_a_write_whose_answer_is_lost_is_not_taken_for_it() {
    in_memory(async |stage| {
        each(stage.both("else"), async |subject| {
            let ([a, _, c, _], object) = (subject.names(), subject.object());
            let (method, path) = subject.call(Call::Create);
            // Nothing is carried out, and before the next observation another writer has made the subject a member.
            stage.at(&subject).order(Order::next(Fault::Delay(Duration::from_secs(2))).on(method, &path));
            stage.declare(&subject, json!([{ "role": a }])).await;
            sees("the creation is under way", || stage.at(&subject).count(method, &path) == 1).await;
            subject.by_hand(&[c]);
            stage.ready(&object).await;
            subject.has_now(&[a], "as declared, and no more");
            assert_eq!(subject.memberships(), 1, "{}", subject.name);
            let status = stage.api.get(&object).await["status"].clone();
            assert_eq!(
                status["managedRoles"],
                json!([{ "role": a }]),
                "another writer's role isn't managed: {status:#}"
            );
            stage.delete(&object).await;
            subject.has_now(&[], "when the object is gone");
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
