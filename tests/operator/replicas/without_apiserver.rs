//! The leader can't reach the API server: it acts as long as its lease allows, and continues when it is available
//! again.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::{leads_within, replica};
use crate::restart::alone;
use crate::subject::{in_seconds, until};

/// 17 s of it are counted on, and a write needs 10 s: without renewals writing stops after 7 s.
const LEASE: u64 = 20;

/// Seen to fail without the check of the lease in `Server::call`: the second end was carried out.
#[tokio::test]
async fn a_leader_without_an_api_server_writes_no_longer_than_its_lease_allows() {
    alone(async |plane, stage| {
        let own = replica(plane, "own", LEASE).await;
        leads_within(&own, Duration::from_secs(30)).await;
        // ZITADEL stores no ends: they are writes of the operator.
        let subject = stage.user("cut-off");
        let [a, b, c, _] = subject.names();
        let (soon, late) = (in_seconds(6), in_seconds(15));
        let roles = json!([
            {"role": a},
            {"role": b, "temporary": {"expirationTime": soon}},
            {"role": c, "temporary": {"expirationTime": late}},
        ]);
        stage.declare(&subject, roles).await;
        stage.ready(&subject.object()).await;
        until(soon - SignedDuration::from_secs(2)).await;
        plane.kill_apiserver().await.unwrap();
        subject.ends(b, soon, "while the lease leaves time").await;
        let written = subject.writes().len();
        subject.keeps(c, late + SignedDuration::from_secs(3), "without time for a write").await;
        assert_eq!(subject.writes().len(), written, "nothing was sent without time for it: {:#?}", subject.writes());
        plane.start_apiserver().await.unwrap();
        subject.has(&[a]).await;
        stage.role_is(&subject.object(), c, "Expired").await;
        own.stop().await.unwrap();
    })
    .await;
}
