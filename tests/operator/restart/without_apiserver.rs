//! The API server goes away and comes back.

use serde_json::json;

use super::{alone, operator};
use crate::subject::{each, in_seconds, until};

#[tokio::test]
async fn without_the_api_server_ends_are_kept_and_with_it_all_goes_on() {
    alone(async |plane, stage| {
        let own = operator(plane).await;
        let end = in_seconds(5);
        let subjects = stage.both("cut-off");
        for subject in &subjects {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            stage.ready(&subject.object()).await;
        }
        plane.kill_apiserver().await.unwrap();
        until(end).await;
        each(&subjects, async |subject| subject.ends(subject.names()[1], end, "without the API server").await).await;
        plane.start_apiserver().await.unwrap();
        let after = stage.both("after");
        each(subjects.iter().chain(&after), async |subject| {
            let [a, b, c, _] = subject.names();
            if subject.name.starts_with("after") {
                stage.declare(subject, json!([{"role": a}, {"role": c}])).await;
            } else {
                stage.role_is(&subject.object(), b, "Expired").await;
                stage.change(subject, json!({"roles": [{"role": a}, {"role": c}]})).await;
            }
            stage.ready_in_time(&subject.object()).await;
            subject.has_now(&[a, c], "with the API server back");
        })
        .await;
        own.stop().await.unwrap();
    })
    .await;
}
