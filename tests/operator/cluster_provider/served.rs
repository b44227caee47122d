//! Only one of the two kinds of provider objects is needed to start.

use serde_json::json;

use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::binary;
use crate::support::path;

#[tokio::test]
async fn the_operator_works_without_one_of_the_kinds_and_takes_it_up_when_it_comes() {
    alone(async |plane, stage| {
        let kubectl = plane.kubectl();
        kubectl.ok(&["delete", "crd", "clustermembershipproviders.membership.dev"]).await.unwrap();
        let _operator = Operator::start(plane, binary(), "one-kind").await.unwrap();
        let subject = stage.identity("one-kind");
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        kubectl.ok(&["apply", "--filename", &path("crds/clustermembershipproviders.yaml")]).await.unwrap();
        let crd = "crd/clustermembershipproviders.membership.dev";
        kubectl.ok(&["wait", "--for=condition=Established", crd, "--timeout=30s"]).await.unwrap();
        let rules = json!([stage.rule(&["deployer"], json!({}))]);
        stage.api.apply(&[stage.central("late", rules)]).await;
        stage.ready(&format!("clustermembershipprovider/{}", stage.central_name("late"))).await;
    })
    .await;
}
