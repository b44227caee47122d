//! How long a manual change may last: resyncInterval, and the annotation that requests a reconcile now.

use std::time::Duration;

use serde_json::json;
use simulator::RoleRow;
use tokio::time::Instant;

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, with};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn drift_is_put_right_within_the_objects_own_interval() {
    with_stage(async |stage| {
        each(stage.both("own"), async |subject| {
            let [a, b, c, _] = subject.names();
            let object = subject.declares_with(json!([{"role": a}, {"role": b}]), json!({"resyncInterval": "1s"}));
            stage.api.apply(&[object]).await;
            subject.has(&[a, b]).await;
            for by_hand in [&[a, b, c][..], &[a], &[c], &[]] {
                stage.ready(&subject.object()).await;
                subject.by_hand(by_hand);
                subject.has(&[a, b]).await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_window_changed_by_hand_is_put_right() {
    in_memory(async |stage| {
        let subject = stage.identity("window");
        let roles = json!([{"role": "viewer"}, {"role": "admin", "temporary": {"duration": "1h"}}]);
        stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
        subject.has(&["viewer", "admin"]).await;
        stage.ready(&subject.object()).await;
        let (rows, end) = (subject.rows(), subject.end_of("admin").unwrap());
        let tampered = [
            vec![RoleRow::permanent("viewer"), RoleRow::permanent("admin")],
            vec![RoleRow::permanent("viewer"), RoleRow::temporary("admin", in_seconds(0), "2h")],
            vec![RoleRow::permanent("viewer"), RoleRow::temporary("admin", in_seconds(0), "1m")],
            vec![RoleRow::temporary("viewer", in_seconds(0), "1h"), rows[1].clone()],
        ];
        for tampered in tampered {
            subject.rows_by_hand(tampered.clone());
            let permanent = |role: &str| subject.rows().iter().any(|row| row.role == role && row.temporary.is_none());
            eventually(SOON, "viewer permanently, admin until its end", async || {
                let right = permanent("viewer") && subject.end_of("admin") == Some(end);
                if right { Ok(()) } else { Err(format!("{:#?} from {tampered:#?}", subject.rows())) }
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn drift_is_put_right_within_the_providers_interval_where_the_object_names_none() {
    in_memory(async |stage| {
        for provider in [stage.infisical_provider(), stage.zitadel_provider()] {
            stage.api.apply(&[with(provider, json!({"resyncInterval": "1s"}))]).await;
        }
        each(stage.both("default"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            subject.by_hand(&[b]);
            subject.has(&[a]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_annotation_asks_for_a_reconcile_now() {
    in_memory(async |stage| {
        each(stage.both("asked"), async |subject| {
            let [a, b, ..] = subject.names();
            // The provider's interval is ten minutes.
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            for value in ["first", "second"] {
                subject.by_hand(&[b]);
                stage.api.annotate(&subject.object(), "membership.dev/reconcile-at", value).await;
                subject.has(&[a]).await;
                eventually(SOON, "status.lastHandledReconcileAt", async || {
                    let status = stage.api.get(&subject.object()).await["status"].clone();
                    if status["lastHandledReconcileAt"] == value { Ok(()) } else { Err(format!("{status:#}")) }
                })
                .await;
            }
        })
        .await;
    })
    .await;
}

/// Seen failing with intervals that are not raised.
#[tokio::test(start_paused = true)]
async fn a_shorter_interval_than_the_provider_allows_is_raised() {
    in_memory(async |stage| {
        let limited = json!({"limits": {"minResyncInterval": "3s"}});
        stage.api.apply(&[with(stage.infisical_provider(), limited)]).await;
        let central = stage.central_zitadel("central", json!([stage.rule(&["*"], json!({}))]));
        stage.api.apply(&[central]).await;
        stage.ready(&format!("clustermembershipprovider/{}", stage.central_name("central"))).await;
        let [limited, shared] = stage.both("often");
        let often = json!({"resyncInterval": "1s"});
        let objects = [&limited, &shared].map(|subject| {
            let object = subject.declares_with(json!([{"role": subject.names()[0]}]), often.clone());
            if subject.is_at_infisical() { object } else { stage.by("central", object) }
        });
        stage.api.apply(&objects).await;
        each([&limited, &shared], async |subject| stage.ready(&subject.object()).await).await;
        let (of_shared, began) = (shared.lists(), Instant::now());
        limited.is_listed(1).await;
        let first = began.elapsed();
        limited.is_listed(2).await;
        let apart = (began.elapsed() - first) / 2;
        assert!(apart >= Duration::from_millis(2_900), "listed every {apart:?}");
        // In these seconds, less than the minimum of a minute under a ClusterMembershipProvider.
        assert_eq!(shared.lists(), of_shared);
    })
    .await;
}

/// Seen failing without `RecurringDrift::waits`: the fourth manual change is undone, too.
#[tokio::test(start_paused = true)]
async fn drift_that_comes_back_at_three_resyncs_in_a_row_is_contested_and_delays_no_end() {
    in_memory(async |stage| {
        each(stage.both("fought-over"), async |subject| {
            let ([a, b, c, _], object) = (subject.names(), subject.object());
            let end = in_seconds(60);
            let roles = json!([{"role": a}, {"role": c, "temporary": {"expirationTime": end}}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "3s"}))]).await;
            subject.has(&[a, c]).await;
            stage.ready(&object).await;
            let adds = || {
                let mut rows = subject.rows();
                rows.push(RoleRow::permanent(b));
                match subject.is_at_infisical() {
                    true => subject.rows_by_hand(rows),
                    false => subject.by_hand(&[a, b, c]),
                }
            };
            for _ in 0..3 {
                adds();
                subject.has(&[a, c]).await;
                subject.is_confirmed().await;
            }
            stage.has_condition(&object, "Stalled", "True", "Contested").await;
            let writes = subject.writes().len();
            adds();
            stage.has_condition(&object, "Drifted", "True", "Drifted").await;
            subject.is_listed(2).await;
            assert_eq!(subject.writes().len(), writes, "{}: {:#?}", subject.name, subject.writes());
            subject.has_now(&[a, b, c], "while its repair waits");
            subject.ends(c, end, "on a contested target").await;

            // A requested reconcile takes place, and a deletion doesn't wait.
            stage.reconcile_now(&object).await;
            subject.has(&[a]).await;
            for _ in 0..3 {
                subject.by_hand(&[a, b]);
                subject.has(&[a]).await;
                subject.is_confirmed().await;
            }
            stage.has_condition(&object, "Stalled", "True", "Contested").await;
            stage.delete(&object).await;
            subject.has_now(&[], "after the deletion");
        })
        .await;
    })
    .await;
}
