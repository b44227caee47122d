//! The name service, with the policy's word on what it answers.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::endpoint::{Policy, UrlError};
use super::proxy::Proxies;

/// Resolves names and hands out only addresses that the policy allows. What was checked here is what is connected
/// to: nobody asks the name service a second time, so a name that changes its answer gains nothing.
pub(super) struct Resolver {
    policy: Arc<Policy>,
    /// The proxies' own names: the operator's choice, whose addresses nobody restricts.
    proxies: Vec<String>,
}

impl Resolver {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        let proxies = policy.usable_proxies().map(Proxies::hosts).unwrap_or_default();
        Self { policy, proxies }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let is_proxy = self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            if is_proxy {
                return Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs);
            }
            let allowed = allowed(&policy, name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Those of `found` that may be used; an error where there are some and none may.
fn allowed(policy: &Policy, host: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, UrlError> {
    let mut refusal = None;
    let allowed: Vec<_> = found
        .filter(|address| match policy.check_address(host, address.ip()) {
            Ok(()) => true,
            Err(error) => {
                refusal.get_or_insert(error);
                false
            }
        })
        .collect();
    match refusal {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|t| SocketAddr::new(t.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn only_allowed_addresses_are_handed_out() {
        let policy = Policy { restrict_addresses: true, ..Policy::default() };
        let found = addresses(&["127.0.0.1", "10.0.0.1", "169.254.169.254"]);
        assert_eq!(allowed(&policy, "web", found.into_iter()).unwrap(), addresses(&["10.0.0.1"]));
        let error = allowed(&policy, "web", addresses(&["::ffff:127.0.0.1", "::1"]).into_iter()).unwrap_err();
        assert!(error.to_string().contains("--allow-address=::ffff:127.0.0.1"), "{error}");
        assert_eq!(allowed(&policy, "web", std::iter::empty()).unwrap(), []);
        let open = Policy::default();
        assert_eq!(allowed(&open, "web", addresses(&["127.0.0.1"]).into_iter()).unwrap().len(), 1);
    }
}
