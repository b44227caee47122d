//! Sends a prepared request to its server and returns the response.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use scopeguard::ScopeGuard;

use super::failure::{self, FailedRequest, cause};
use super::resolver::{self, NameService, Resolver};
use super::{CONNECT_LIMIT, IDLE_LIMIT, Policy, Proxies, RequestInfo, Trust};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::transport::replaceable::Replaceable;

/// Servers in this process, for simulations. No argument of the operator selects them.
pub trait InProcessServer: Send + Sync {
    /// Carries out a request. Dropping the future undoes nothing, as with a real server.
    fn answer(&self, request: reqwest::Request) -> BoxFuture<'static, Result<reqwest::Response, NoResponse>>;
}

/// Why a server in this process did not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// There was no connection: nothing was sent.
    NotConnected,
    /// The connection broke after the request was sent.
    BrokenOff,
}

/// The destination of requests.
#[derive(Clone)]
pub(super) enum Destination {
    Network {
        connections: Arc<Replaceable<reqwest::Client>>,
        /// Whether certificates are verified with the compiled-in authorities because the system has none.
        trusts_compiled_in: bool,
    },
    InProcess(Arc<dyn InProcessServer>),
}

impl Destination {
    /// New connections under `policy`, to servers with certificates of the system's authorities. A system without any
    /// doesn't prevent the start: the compiled-in ones are used instead.
    pub(super) fn network(policy: &Arc<Policy>) -> Result<Self, Error> {
        let connect = |trust: Option<Trust>| {
            let trusts_compiled_in = trust.is_some();
            Ok(Self::Network { connections: replaceable(policy, trust)?, trusts_compiled_in })
        };
        connect(None).or_else(|error| connect(Some(Trust::compiled_in())).map_err(|_: Error| error))
    }

    /// The same with separate connections that trust only these authorities.
    pub(super) fn trusting(&self, policy: &Arc<Policy>, trust: &Trust) -> Result<Self, Error> {
        match self {
            Self::Network { .. } => {
                let connections = replaceable(policy, Some(trust.clone()))?;
                Ok(Self::Network { connections, trusts_compiled_in: false })
            }
            Self::InProcess(_) => Ok(self.clone()),
        }
    }

    /// Sends a request. The response's body is still to be read.
    pub(super) async fn send(
        &self,
        request: reqwest::Request,
        context: &RequestInfo,
    ) -> Result<reqwest::Response, FailedRequest> {
        match self {
            Self::Network { connections, .. } => {
                let (number, client) = connections.current();
                // If the request is abandoned without a response, the next one is sent on a new connection.
                let abandoned = scopeguard::guard((), |()| connections.replace(number));
                let answer = client.execute(request).await;
                ScopeGuard::into_inner(abandoned);
                answer.map_err(|error| failure::failure(&error, context))
            }
            Self::InProcess(servers) => {
                servers.answer(request).await.map_err(|no_answer| failure::no_answer(no_answer, context))
            }
        }
    }
}

/// New connections as [`connections`] makes them, with the system's name service.
fn replaceable(policy: &Arc<Policy>, trust: Option<Trust>) -> Result<Arc<Replaceable<reqwest::Client>>, Error> {
    let policy = Arc::clone(policy);
    let make = move || connections(&policy, trust.as_ref(), resolver::system());
    Ok(Arc::new(Replaceable::new(make()?, move || make().ok())))
}

/// New connections under `policy`, to servers with certificates of the system's authorities or of `trust`.
pub(super) fn connections(
    policy: &Arc<Policy>,
    trust: Option<&Trust>,
    names: NameService,
) -> Result<reqwest::Client, Error> {
    let failed = |cause: String| Error::Unreachable {
        message: format!("the HTTP client can't be created: {cause}"),
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
        // The policy contains the settings of the environment.
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
