//! Starting behind a proxy, and without CA certificates.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::api_server::{ANY, ApiServer, NAME, proxy};
use crate::launch::{Operator, nowhere};

/// A port without a listener.
const DEAD: &str = "http://127.0.0.1:9";

/// Seen to fail with kube's own reading of the environment: "configured proxy … requires the disabled feature", with
/// `NO_PROXY=*` as well.
#[tokio::test]
async fn the_api_server_is_reached_through_the_proxy_that_kubectl_would_use() {
    let (proxy, tunnels) = proxy().await;
    let cases = [
        ("NO_PROXY=*", ANY, None, Some(DEAD), Some("*"), false),
        ("NO_PROXY with its range", ANY, None, Some(DEAD), Some("10.0.0.0/8, 0.0.0.0/8"), false),
        ("a loopback address", "127.0.0.1", None, Some(DEAD), None, false),
        ("HTTPS_PROXY", NAME, None, Some(&*proxy), Some("other.example.com"), true),
        ("proxy-url before HTTPS_PROXY and NO_PROXY", NAME, Some(&*proxy), Some(DEAD), Some("*"), true),
        ("HTTPS_PROXY without a scheme", NAME, None, proxy.strip_prefix("http://"), None, true),
    ];
    for (case, name, proxy_url, https_proxy, no_proxy, through) in cases {
        let api_server = ApiServer::tls().await;
        let mut kubeconfig = api_server.kubeconfig(name);
        if let Some(url) = proxy_url {
            kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!(url);
        }
        let before = tunnels.load(Ordering::SeqCst);
        let mut operator = Operator::start(&kubeconfig, |command| {
            let set = [("HTTPS_PROXY", https_proxy), ("NO_PROXY", no_proxy)];
            command.envs(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
        });
        operator.is_alive().await;
        api_server.is_asked(3, || format!("{case}: {}", operator.log())).await;
        assert_eq!(tunnels.load(Ordering::SeqCst) > before, through, "{case}: {}", operator.log());
        assert_eq!(operator.log().contains("go through a proxy"), through, "{case}: {}", operator.log());
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    let api_server = ApiServer::tls().await;
    let mut kubeconfig = api_server.kubeconfig(NAME);
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!("ftp://me:hunter2@proxy.example.com");
    let mut operator = Operator::start(&kubeconfig, |_| {});
    assert_eq!(operator.ends().await.code(), Some(1));
    let log = operator.log();
    assert!(log.contains("proxy-url in the kubeconfig is not the URL of a proxy"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Seen to fail without `roots`: "No CA certificates were loaded from the system".
#[tokio::test]
async fn without_ca_certificates_the_compiled_in_ones_are_used_and_reported() {
    let api_server = ApiServer::tls().await;
    let mut kubeconfig = api_server.kubeconfig("127.0.0.1");
    let without = |command: &mut std::process::Command| {
        command.envs([("SSL_CERT_FILE", nowhere()), ("SSL_CERT_DIR", nowhere())]);
    };
    let mut operator = Operator::start(&kubeconfig, without);
    operator.is_alive().await;
    api_server.is_asked(1, || operator.log()).await;
    let reported = "those compiled into this binary are used for providers";
    assert_eq!(operator.log().matches(reported).count(), 1, "{}", operator.log());
    // A kubeconfig that names no authority is checked with the same.
    kubeconfig["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data");
    let mut operator = Operator::start(&kubeconfig, without);
    operator.is_alive().await;
    let log = operator.log();
    assert!(log.contains("those compiled into this binary are used for the Kubernetes API server"), "{log}");
    // With certificates nothing is reported.
    let mut operator = Operator::start(&api_server.kubeconfig("127.0.0.1"), |_| {});
    operator.is_alive().await;
    assert!(!operator.log().contains("compiled into this binary"), "{}", operator.log());
}
