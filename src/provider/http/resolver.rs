//! The name service, with the policy's word on what it answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::endpoint::{Policy, UrlError};
use crate::transport::Proxies;

/// What asking the name service comes to.
pub(super) type AddressLookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The name service: from a name to its addresses, at the time of asking.
pub(super) type NameService = Arc<dyn Fn(&str) -> AddressLookup + Send + Sync>;

/// The system's.
pub(super) fn system() -> NameService {
    Arc::new(|name| {
        let name = name.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

/// Resolves names and hands out only addresses that the policy allows. What was checked here is what is connected
/// to: nobody asks the name service a second time, so a name that changes its answer gains nothing.
pub(super) struct Resolver {
    policy: Arc<Policy>,
    names: NameService,
    /// The proxies' own names: the operator's choice, whose addresses nobody restricts.
    proxies: Vec<String>,
}

impl Resolver {
    pub(super) fn new(policy: Arc<Policy>, names: NameService) -> Self {
        let proxies = policy.usable_proxies().map(Proxies::hosts).unwrap_or_default();
        Self { policy, names, proxies }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let is_proxy = self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name.as_str()));
        let asking = (self.names)(name.as_str());
        Box::pin(async move {
            let found = asking.await?;
            if is_proxy {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let allowed = allowed(&policy, name.as_str(), found.into_iter())?;
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
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::wire::connections;
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

    /// A server at an address of this machine that says who it is, and counts who came.
    async fn server(address: &str, port: u16) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(AtomicUsize::new(0));
        let count = came.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut head = vec![0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        });
        (port, came)
    }

    /// Seen failing with a resolver that looks the name up, checks what it found, and looks it up again to connect.
    #[tokio::test]
    async fn a_name_that_changes_its_answer_between_check_and_connect_gains_nothing() {
        const ALLOWED: &str = "127.0.0.2";
        const METADATA: &str = "127.0.0.1";
        let (port, allowed_came) = server(ALLOWED, 0).await;
        let (_, metadata_came) = server(METADATA, port).await;
        let asked = Arc::new(Mutex::new(0_usize));
        let names: NameService = {
            let asked = asked.clone();
            Arc::new(move |_| {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                let answer = match *asked % 4 {
                    1 => vec![ALLOWED],
                    3 => vec![METADATA, ALLOWED],
                    _ => vec![METADATA],
                };
                Box::pin(async move { Ok(addresses(&answer)) })
            })
        };
        let policy = Policy {
            allow_http: vec!["rebinding.example".into()],
            allow_address: vec![ALLOWED.parse().unwrap()],
            restrict_addresses: true,
            ..Policy::default()
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = connections(&Arc::new(policy), None, names).unwrap();
        for request in 1..=12 {
            let answer = client.get(format!("http://rebinding.example:{port}/")).send().await;
            assert_eq!(answer.is_ok(), request % 2 == 1, "request {request}: {answer:?}");
            assert_eq!(*asked.lock().unwrap(), request, "each connection asks once");
        }
        assert_eq!((allowed_came.load(Ordering::SeqCst), metadata_came.load(Ordering::SeqCst)), (6, 0));
    }
}
