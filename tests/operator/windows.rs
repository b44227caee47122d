//! When a grant is in effect: from its start until its end, and at no other time.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::in_memory::{in_memory, now};
use crate::stage::with_stage;
use crate::subject::{LATE, each, in_seconds, time, until};

#[tokio::test]
async fn a_permanent_role_stays_and_a_temporary_one_ends_at_its_instant() {
    with_stage(async |stage| {
        each(stage.both("ci"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "4s"}}])).await;
            subject.has(&[a, b]).await;
            let role = stage.role_is(&subject.object(), b, "Active").await;
            let end = time(&role["expirationTime"]);
            assert_eq!(end, time(&role["startTime"]) + SignedDuration::from_secs(4));
            subject.ends(b, end, "after 4 s").await;
            stage.role_is(&subject.object(), b, "Expired").await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "when the temporary role has ended");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_duration_and_expiration_time_is_the_end() {
    in_memory(async |stage| {
        let soon = in_seconds(5);
        let hour_ago = in_seconds(-3600);
        type Case = (&'static str, Value, fn(Timestamp, Timestamp) -> Timestamp);
        let cases: [Case; 4] = [
            ("duration-first", json!({"duration": "4s", "expirationTime": in_seconds(3600)}), |start, _| {
                start + SignedDuration::from_secs(4)
            }),
            ("expiration-first", json!({"duration": "1h", "expirationTime": soon}), |_, soon| soon),
            ("start-and-duration", json!({"startTime": hour_ago, "duration": "1h5s"}), |start, _| {
                start + SignedDuration::from_secs(3605)
            }),
            ("start-and-expiration", json!({"startTime": hour_ago, "expirationTime": soon}), |_, soon| soon),
        ];
        let cases = cases.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, temporary, end))| {
            let [_, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": b, "temporary": temporary}])).await;
            subject.has(&[b]).await;
            let role = stage.role_is(&subject.object(), b, "Active").await;
            let end = end(time(&role["startTime"]), soon);
            assert_eq!(time(&role["expirationTime"]), end, "{case}: {role:#}");
            if subject.is_at_infisical() {
                assert_eq!(subject.end_of(b), Some(end), "{case}: the end that was sent to Infisical");
            }
            subject.ends(b, end, case).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_role_is_not_sent_before_its_start() {
    in_memory(async |stage| {
        each(stage.both("later"), async |subject| {
            let [_, b, ..] = subject.names();
            let (start, end) = (in_seconds(4), in_seconds(8));
            let temporary = json!({"startTime": start, "expirationTime": end});
            stage.declare(&subject, json!([{"role": b, "temporary": temporary}])).await;
            stage.role_is(&subject.object(), b, "Scheduled").await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            let status = stage.api.get(&subject.object()).await["status"].clone();
            assert_eq!(time(&status["nextTransitionTime"]), start, "{status:#}");
            let began = subject.gains(b).await;
            assert!(began < start + LATE, "{} began at {began}, not at {start}", subject.name);
            let early: Vec<_> = subject.writes().into_iter().filter(|write| write.at < start).collect();
            assert!(early.is_empty(), "expected no write before {start}, there was: {early:#?}");
            subject.ends(b, end, "the scheduled role").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_over_is_never_sent() {
    in_memory(async |stage| {
        each(stage.both("past"), async |subject| {
            let [a, ..] = subject.names();
            let temporary = json!({"startTime": in_seconds(-60), "expirationTime": in_seconds(-30)});
            stage.declare(&subject, json!([{"role": a, "temporary": temporary}])).await;
            stage.role_is(&subject.object(), a, "Expired").await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            assert!(subject.writes().is_empty(), "expected no write, there was: {:#?}", subject.writes());
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_membership_goes_with_the_last_role_and_comes_back_with_a_scheduled_one() {
    in_memory(async |stage| {
        each(stage.both("shift"), async |subject| {
            let [a, b, ..] = subject.names();
            let start = in_seconds(8);
            let roles = json!([
                {"role": a, "temporary": {"expirationTime": in_seconds(4)}},
                {"role": b, "temporary": {"startTime": start, "duration": "1h"}},
            ]);
            stage.declare(&subject, roles).await;
            subject.has(&[a]).await;
            subject.is_member(0).await;
            let gone = now();
            assert!(gone < start, "{}: the membership went only at {gone}", subject.name);
            stage.ready(&subject.object()).await;
            subject.has(&[b]).await;
            assert_eq!(subject.memberships(), 1);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_shortened_ends_sooner_and_one_that_is_lengthened_later() {
    in_memory(async |stage| {
        each(stage.both("edited"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles = |first: Timestamp, second: Timestamp| {
                json!([{"role": a, "temporary": {"expirationTime": first}}, {"role": b, "temporary": {"expirationTime": second}}])
            };
            let (soon, later) = (in_seconds(5), in_seconds(3600));
            stage.declare(&subject, roles(later, soon)).await;
            subject.has(&[a, b]).await;
            stage.declare(&subject, roles(soon, later)).await;
            stage.is_seen(&subject.object()).await;
            subject.ends(a, soon, "shortened").await;
            until(soon + LATE).await;
            subject.has_now(&[b], "when the old end of the lengthened role has passed");
            if subject.is_at_infisical() {
                assert_eq!(subject.end_of(b), Some(later));
            }
        })
        .await;
    })
    .await;
}
