//! The clients of the Kubernetes API server.
//!
//! The time limits of all requests are enforced here ([`exchange`]), below all code that sends requests, so that no
//! caller can forget them. kube's own stack has no limit on the time until a response, and its pool keeps returning
//! connections that stopped responding; the other layers are kube's. Requests are not retried here, because the caller
//! may hold locks or permits meanwhile: the caller retries.

mod exchange;
mod proxy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Request, Uri, header};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

pub use exchange::{ApiResponse, TimeLimits};
pub use proxy::ProxyError;

use crate::telemetry::ApiReachability;
use crate::telemetry::Metrics;
use crate::transport::Proxies;
use crate::transport::roots;
use exchange::Exchange;

/// The requested duration of one watch, in seconds; the client then resumes the watch. If a watch is open without
/// events for longer, its connection no longer works ([`TimeLimits::watch_silence`]).
pub const WATCH_SECONDS: u32 = 30;
/// How long a connection may take to be established, including the proxy and TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may be without traffic before the kernel probes it, and the interval of the probes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How many unanswered probes close a connection.
const KEEPALIVE_RETRIES: u32 = 2;

/// Why no client can be created.
#[derive(thiserror::Error, Debug)]
pub enum ClientError {
    /// No configuration was found.
    #[error(
        "no configuration for the Kubernetes API server was found: {0}. A Pod has one; outside of a cluster set KUBECONFIG"
    )]
    Config(#[from] kube::config::InferConfigError),
    /// The proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificates or the credential of the configuration cannot be used.
    #[error("the configuration for the Kubernetes API server cannot be used: {0}")]
    Unusable(#[from] kube::Error),
}

/// The service that a client of the API server is built on.
pub type Stack = BoxService<Request<Body>, ApiResponse, BoxError>;

/// The API server and how the operator reaches it.
pub struct ApiServer {
    config: Config,
    proxy: Option<Intercept>,
    limits: TimeLimits,
    metrics: Arc<Metrics>,
    reachability: Arc<ApiReachability>,
}

impl ApiServer {
    /// The API server that the kubeconfig or the Pod's ServiceAccount describes, through the proxy that kubectl would
    /// use.
    ///
    /// # Errors
    /// If no configuration is found, or it names a proxy that cannot be used.
    pub async fn infer(
        proxies: &Proxies,
        metrics: Arc<Metrics>,
        reachability: Arc<ApiReachability>,
    ) -> Result<Self, ClientError> {
        let mut config = Config::infer().await?;
        let agent = concat!("membership-operator/", env!("CARGO_PKG_VERSION"));
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(agent)));
        let proxy = proxy::of(&config, proxies)?;
        if let Some(proxy) = &proxy {
            tracing::info!(proxy = %proxy.uri(), "requests to the Kubernetes API server go through a proxy");
        }
        if config.root_cert.is_none() && config.rustls_client_config().is_err() {
            config.root_cert = Some(roots::compiled_in().map(|root| root.to_vec()).collect());
            roots::report_fallback("the Kubernetes API server");
        }
        Ok(Self { config, proxy, limits: TimeLimits::default(), metrics, reachability })
    }

    /// A client with separate connections, to which layers may be added.
    ///
    /// # Errors
    /// If the certificates or the credential of the configuration cannot be used.
    pub fn client(&self) -> Result<ClientBuilder<Stack>, ClientError> {
        let tcp = tcp();
        let stack = match &self.proxy {
            None => self.stack(tcp),
            Some(proxy) => match proxy.uri().scheme_str() {
                Some("socks5" | "socks5h") => {
                    let socks = SocksV5::new(proxy.uri().clone(), tcp);
                    self.stack(match proxy.raw_auth() {
                        Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
                        None => socks,
                    })
                }
                Some("https") => self.stack(tunnel(proxy, self.config.rustls_https_connector_with_connector(tcp)?)),
                _ => self.stack(tunnel(proxy, tcp)),
            },
        };
        Ok(ClientBuilder::new(stack?, self.config.default_namespace.clone()))
    }

    fn stack<C>(&self, connector: C) -> Result<Stack, kube::Error>
    where
        C: Service<Uri, Error: std::error::Error + Send + Sync + 'static, Future: Send + 'static>,
        C: Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let mut connector = TimeoutConnector::new(self.config.rustls_https_connector_with_connector(connector)?);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let exchange = Arc::new(Exchange {
            connections: exchange::connections(connector),
            limits: self.limits,
            metrics: self.metrics.clone(),
            reachability: self.reachability.clone(),
        });
        let stack = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .option_layer(self.config.auth_layer()?)
            .layer(self.config.extra_headers_layer()?)
            .service_fn(move |request| exchange.clone().send(request));
        Ok(stack.map_err(BoxError::from).boxed())
    }
}

/// Connections that the kernel closes if the other end is gone, before any limit here is reached.
fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(KEEPALIVE * (KEEPALIVE_RETRIES + 1)));
    tcp
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(credential) => tunnel.with_auth(credential.clone()),
        None => tunnel,
    }
}
