//! Which instance a request is for (`docs/reference/zitadel.md`, Headers and limits).

use reqwest::Method;
use serde_json::Value;

use super::id;
use super::support::{Got, Stage};

async fn my_org(stage: &Stage, headers: &[(&str, &str)]) -> Got {
    let url = stage.simulator.zitadel().url();
    stage.send(url, "operator", Method::GET, "/management/v1/orgs/me", headers, Value::Null).await.unwrap()
}

#[tokio::test]
async fn an_instance_is_known_by_its_host_or_by_a_header() {
    let stage = Stage::new().await;
    assert_eq!(my_org(&stage, &[]).await.status, 200, "without domains any host will do");
    stage.simulator.zitadel().set_domains(&["auth.acme.example"]);
    let unknown = my_org(&stage, &[]).await;
    assert_eq!((unknown.status, id(&unknown)), (404, ""), "and no id tells it");
    for (name, value) in [
        ("host", "auth.acme.example:8443"),
        ("x-zitadel-instance-host", "auth.acme.example"),
        ("x-forwarded-host", "auth.acme.example"),
        ("x-zitadel-forwarded", "host=\"auth.acme.example\""),
    ] {
        assert_eq!(my_org(&stage, &[(name, value)]).await.status, 200, "{name}");
    }
    let forwarded = [("forwarded", "host=auth.acme.example")];
    assert_eq!(my_org(&stage, &forwarded).await.status, 404, "this one counts for the OIDC endpoints only");
    let url = stage.simulator.zitadel().url();
    let path = "/.well-known/openid-configuration";
    let found = stage.send(url, "", Method::GET, path, &forwarded, Value::Null).await.unwrap();
    assert_eq!(found.body["issuer"], "http://auth.acme.example");
}
