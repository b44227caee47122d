//! The proxy between the operator and the API server.

use std::net::IpAddr;

use axum::http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kube::Config;
use kube::config::Kubeconfig;

use crate::transport::Proxies;

/// Why a proxy cannot be used. The URL of a proxy may contain a password: no part of it is repeated.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error(
    "{0} is not the URL of a proxy that can be used for the Kubernetes API server: write it as \
     http://proxy.example.com:3128 (http, https or socks5), or name the API server in NO_PROXY"
)]
pub struct ProxyError(&'static str);

/// The proxy that kubectl would use: the `proxy-url` of the kubeconfig, or else that of the environment; none for a
/// loopback address or if `NO_PROXY` names the API server. In a cluster no proxy is used: the API server is inside, and
/// the environment's proxy, which is for servers outside, can rarely reach it.
pub(super) fn of(config: &Config, environment: &Proxies) -> Result<Option<Intercept>, ProxyError> {
    // Only the configuration of a Pod has its certificates in a file that is read again.
    if config.root_cert_file.is_some() {
        return Ok(None);
    }
    let kubeconfig = Kubeconfig::read().ok();
    choose(&config.cluster_url, kubeconfig.as_ref().and_then(proxy_url), environment)
}

/// The `proxy-url` of the current context's cluster.
fn proxy_url(kubeconfig: &Kubeconfig) -> Option<&str> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == *current)?.context.as_ref()?;
    let named = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?;
    named.cluster.as_ref()?.proxy_url.as_deref().filter(|url| !url.is_empty())
}

fn choose(server: &Uri, proxy_url: Option<&str>, environment: &Proxies) -> Result<Option<Intercept>, ProxyError> {
    if let Some(proxy_url) = proxy_url {
        let proxy = Matcher::builder().all(proxy_url).build().intercept(server);
        return usable(proxy, "proxy-url in the kubeconfig").map(Some);
    }
    let (name, proxy) = match server.scheme_str() {
        Some("http") => ("HTTP_PROXY", environment.http.as_deref()),
        _ => ("HTTPS_PROXY", environment.https.as_deref()),
    };
    let except = environment.except.as_deref().unwrap_or_default();
    let any = Matcher::builder().all("http://any.invalid").no(except).build();
    let excepted = environment.except_all() || any.intercept(server).is_none();
    match proxy {
        Some(proxy) if !excepted && !is_loopback(server) => {
            usable(Matcher::builder().all(proxy).build().intercept(server), name).map(Some)
        }
        _ => Ok(None),
    }
}

fn usable(proxy: Option<Intercept>, name: &'static str) -> Result<Intercept, ProxyError> {
    let schemes = ["http", "https", "socks5", "socks5h"];
    let known = |proxy: &Intercept| proxy.uri().scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    proxy.filter(known).ok_or(ProxyError(name))
}

/// As in Go, and so in kubectl: the proxy of the environment is not used for the local machine.
fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_the_one_that_kubectl_would_use() {
        let chosen = |server: &str, proxy_url: Option<&str>, except: &str| {
            let environment = Proxies {
                https: Some("proxy.lab:3128".to_owned()),
                http: Some("http://plain.lab".to_owned()),
                except: Some(except.to_owned()),
            };
            let proxy = choose(&server.parse().unwrap(), proxy_url, &environment).unwrap();
            proxy.map_or_else(|| "none".to_owned(), |proxy| proxy.uri().to_string())
        };
        for (server, proxy_url, except, proxy) in [
            ("https://api.lab:6443", None, "", "http://proxy.lab:3128/"),
            ("http://api.lab:8080", None, "", "http://plain.lab/"),
            ("https://api.lab:6443", None, "*", "none"),
            ("https://10.1.2.3:6443", None, "*", "none"),
            ("https://[fd00::1]:6443", None, "10.0.0.0/8,*", "none"),
            ("https://10.1.2.3:6443", None, "192.168.0.0/16, 10.0.0.0/8", "none"),
            ("https://10.1.2.3:6443", None, "192.168.0.0/16", "http://proxy.lab:3128/"),
            ("https://api.lab:6443", None, ".lab", "none"),
            ("https://api.lab:6443", None, "lab", "none"),
            ("https://api.lab:6443", None, "other.lab", "http://proxy.lab:3128/"),
            ("https://localhost:6443", None, "", "none"),
            ("https://127.0.0.1:6443", None, "", "none"),
            ("https://[::1]:6443", None, "", "none"),
            ("https://127.0.0.1:6443", Some("http://own.lab:80"), "*", "http://own.lab:80/"),
            ("https://api.lab:6443", Some("socks5://own.lab:1080"), "", "socks5://own.lab:1080/"),
        ] {
            assert_eq!(
                chosen(server, proxy_url, except),
                proxy,
                "{server}, proxy-url {proxy_url:?}, NO_PROXY={except}"
            );
        }
    }

    #[test]
    fn a_pod_calls_its_api_server_without_a_proxy() {
        let environment = Proxies { https: Some("http://proxy.lab:3128".to_owned()), ..Proxies::default() };
        let mut config = Config::new("https://10.96.0.1:443".parse().unwrap());
        config.root_cert_file = Some("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into());
        assert!(of(&config, &environment).unwrap().is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        let server = "https://api.lab:6443".parse().unwrap();
        let environment = Proxies { https: Some("http://me:hunter2@:bad:port".to_owned()), ..Proxies::default() };
        for (error, name) in [
            (choose(&server, Some("ftp://me:hunter2@own.lab"), &environment), "proxy-url in the kubeconfig"),
            (choose(&server, None, &environment), "HTTPS_PROXY"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
        let excepted = Proxies { except: Some("*".to_owned()), ..environment };
        assert!(choose(&server, None, &excepted).unwrap().is_none(), "a proxy that is not used may be anything");
    }
}
