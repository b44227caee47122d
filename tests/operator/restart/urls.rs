//! URLs that the operator isn't configured to trust.

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Simulator, worlds};

use super::alone;
use crate::evidence::assert_presentable;
use crate::operator::Operator;
use crate::stage::binary;
use crate::subject::{time, until};
use crate::support::{SOON, assert_contains, changed, eventually};

#[tokio::test]
async fn a_url_that_is_not_allowed_is_refused_with_the_flag_named() {
    alone(async |plane, stage| {
        let own = Operator::start_exactly(plane, binary(), "untrusting", &[]).await.unwrap();
        let loopback = stage.simulator.infisical().url().replace("http://", "https://");
        let cases = [
            ("plain", stage.simulator.infisical().url().to_owned(), "InvalidSpec", "--allow-http=127.0.0.1"),
            ("loopback", loopback, "InvalidSpec", "--allow-address=127.0.0.1"),
            ("metadata", "https://169.254.169.254".to_owned(), "InvalidSpec", "--allow-address=169.254.169.254"),
            ("decimal", "https://2130706433".to_owned(), "InvalidSpec", "--allow-address=127.0.0.1"),
            ("mapped", "https://[::ffff:127.0.0.1]".to_owned(), "InvalidSpec", "--allow-address="),
            // The addresses of a name are only known when it is resolved.
            ("named", "https://localhost:1".to_owned(), "Unreachable", "--allow-address="),
        ];
        stage.simulator.infisical().clear_requests();
        for (name, url, reason, flag) in cases {
            let provider = changed(stage.infisical_provider(), "/metadata/name", json!(name));
            stage.api.apply(&[changed(provider, "/spec/infisical/url", json!(url))]).await;
            let identity = stage.identity(name);
            identity.by_hand(&["viewer"]);
            let object = identity.declares(json!([{"role": "deployer"}]));
            stage.api.apply(&[changed(object, "/spec/providerRef/name", json!(name))]).await;
            let message = stage.has_condition(&format!("membershipprovider/{name}"), "Ready", "False", reason).await;
            assert_presentable(&message);
            assert_contains(&message, flag);
            let message = stage.waits(&identity.object(), "ProviderNotReady").await;
            assert_contains(&message, flag);
            identity.has_now(&["viewer"], name);
        }
        let asked = stage.simulator.infisical().requests();
        assert!(asked.is_empty(), "no server was called, but there was {asked:#?}");
        own.stop().await.unwrap();
    })
    .await;
}

/// Seen failing without `replaced::part`: no event, and `managedRoles` of the former endpoint count at the new one.
#[tokio::test]
async fn access_at_an_endpoint_that_no_connection_is_left_to_is_reported_role_by_role() {
    alone(async |plane, stage| {
        let other = Simulator::start().await.unwrap();
        other.load(&worlds::demo());
        let own = Operator::start(plane, binary(), "own").await.unwrap();
        let subject = stage.identity("ci-deployer");
        stage.declare(&subject, json!([{"role": "viewer"}, {"role": "deployer"}])).await;
        stage.ready(&subject.object()).await;
        own.stop().await.unwrap();
        // Kubernetes keeps whole seconds, and the object has to be older than the new provider object.
        let created = time(&stage.api.get(&subject.object()).await["metadata"]["creationTimestamp"]);
        until(created + SignedDuration::from_secs(1)).await;
        stage.delete_by_force("membershipprovider/infisical").await;
        let new = changed(stage.infisical_provider(), "/spec/infisical/url", json!(other.infisical().url()));
        stage.api.apply(&[new]).await;

        let own = Operator::start(plane, binary(), "own-2").await.unwrap();
        for role in ["viewer", "deployer"] {
            stage.has_event(&subject.object(), "Abandoned", &format!("the role {role:?} was granted at")).await;
        }
        let metric = "membership_abandoned_total 1";
        eventually(SOON, metric, async || {
            let metrics = own.metrics().await;
            if metrics.contains(metric) { Ok(()) } else { Err(metrics) }
        })
        .await;
        let log = std::fs::read_to_string(own.log_file()).unwrap();
        assert!(log.contains("revoke it at that server"), "no line states what to do");
        subject.has_now(&["viewer", "deployer"], "where no connection is left to");
        own.stop().await.unwrap();
    })
    .await;
}
