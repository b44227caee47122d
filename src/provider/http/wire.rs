//! How a prepared request gets to its server, and the answer back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::failure::{self, cause};
use super::resolver::{self, NameService, Resolver};
use super::{CONNECT_LIMIT, IDLE_LIMIT, Policy, Proxies, RequestInfo, Trust};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::telemetry::RequestOutcome;
use crate::transport::replaceable::Replaceable;

/// Servers that live in this process: what a simulation answers with. Nothing that the operator is started with leads
/// here.
pub trait InProcessServer: Send + Sync {
    /// Carries a request out. Dropping the future recalls nothing, as with a real server.
    fn answer(&self, request: reqwest::Request) -> BoxFuture<'static, Result<reqwest::Response, NoResponse>>;
}

/// Why a server in this process gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// There was no connection: nothing was sent.
    NotConnected,
    /// The connection broke after the request was sent.
    BrokenOff,
}

/// Where requests go.
#[derive(Clone)]
pub(super) enum Destination {
    Network(Arc<Network>),
    InProcess(Arc<dyn InProcessServer>),
}

/// Connections to servers with certificates of the system's authorities, or of `trust`.
pub(super) struct Network {
    policy: Arc<Policy>,
    trust: Option<Trust>,
    connections: Replaceable<reqwest::Client>,
}

impl Network {
    async fn send(&self, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
        let (number, client) = self.connections.current();
        let mut under_way = RequestInFlight { network: self, number, answered: false };
        let answer = client.execute(request).await;
        under_way.answered = true;
        answer
    }
}

/// A request that was sent. Where it is given up without an answer, the next one is sent on a new connection.
struct RequestInFlight<'a> {
    network: &'a Network,
    number: u64,
    answered: bool,
}

impl Drop for RequestInFlight<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let Network { policy, trust, connections } = self.network;
            connections.replace(self.number, || self::connections(policy, trust.as_ref(), resolver::system()).ok());
        }
    }
}

impl Destination {
    /// New connections under `policy`, to servers with certificates of the system's authorities or of `trust`.
    ///
    /// A system without any is no reason not to start: those that are compiled in are used instead.
    pub(super) fn network(policy: &Arc<Policy>, trust: Option<&Trust>) -> Result<Self, Error> {
        let connect = |trust: Option<Trust>| {
            let connections = Replaceable::new(connections(policy, trust.as_ref(), resolver::system())?);
            Ok(Self::Network(Arc::new(Network { policy: Arc::clone(policy), trust, connections })))
        };
        match trust {
            Some(trust) => connect(Some(trust.clone())),
            None => connect(None).or_else(|error| connect(Some(Trust::compiled_in())).map_err(|_: Error| error)),
        }
    }

    /// Whether certificates are checked with the authorities that are compiled in, since the system has none.
    pub(super) fn trusts_compiled_in(&self) -> bool {
        matches!(self, Self::Network(network) if network.trust.as_ref().is_some_and(Trust::is_compiled_in))
    }

    /// The same with connections of its own that trust these authorities alone.
    pub(super) fn trusting(&self, policy: &Arc<Policy>, trust: &Trust) -> Result<Self, Error> {
        match self {
            Self::Network(_) => Self::network(policy, Some(trust)),
            Self::InProcess(_) => Ok(self.clone()),
        }
    }

    /// Sends a request. The answer's body is still to be read.
    pub(super) async fn send(
        &self,
        request: reqwest::Request,
        context: &RequestInfo,
    ) -> Result<reqwest::Response, (RequestOutcome, Error)> {
        match self {
            Self::Network(network) => network.send(request).await.map_err(|error| failure::failure(&error, context)),
            Self::InProcess(servers) => {
                servers.answer(request).await.map_err(|no_answer| failure::no_answer(no_answer, context))
            }
        }
    }
}

/// New connections under `policy`, to servers with certificates of the system's authorities or of `trust`.
pub(super) fn connections(
    policy: &Arc<Policy>,
    trust: Option<&Trust>,
    names: NameService,
) -> Result<reqwest::Client, Error> {
    let failed = |cause: String| Error::Unreachable {
        message: format!("the HTTP client can't be made: {cause}"),
        effect: Effect::None,
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("membership-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE_LIMIT)
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .dns_resolver(Resolver::new(Arc::clone(policy), names))
        // What the environment says is in the policy.
        .no_proxy();
    for proxy in
        policy.usable_proxies().map_or_else(|| Ok(Vec::new()), Proxies::build).map_err(|e| failed(e.to_string()))?
    {
        builder = builder.proxy(proxy);
    }
    if let Some(trust) = trust {
        builder = builder.tls_certs_only(trust.certificates());
    }
    builder.build().map_err(|error| failed(cause(&error)))
}
