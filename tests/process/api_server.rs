//! A server in place of the API server, without any kind, that counts requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A name that no name service resolves: it is only reachable through a proxy.
pub const NAME: &str = "api.example.invalid";
/// This machine, as an address that is not a loopback one.
pub const ANY: &str = "0.0.0.0";

const DEADLINE: Duration = Duration::from_secs(30);

/// A server that answers 404 to everything.
pub struct ApiServer {
    port: u16,
    authority: Option<String>,
    requests: Arc<AtomicUsize>,
}

impl ApiServer {
    /// One without TLS.
    pub async fn plain() -> Self {
        Self::start(None).await
    }

    /// One with a certificate of its own for [`NAME`], [`ANY`] and 127.0.0.1.
    pub async fn tls() -> Self {
        let names = [NAME, ANY, "127.0.0.1"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        Self::start(Some((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))).await
    }

    async fn start(tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind((ANY, 0)).await.unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let (acceptor, authority) = tls.unzip();
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, &counter).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => answer(stream, &counter).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { port, authority, requests }
    }

    /// A kubeconfig for it, under one of its names.
    pub fn kubeconfig(&self, name: &str) -> Value {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let mut cluster = json!({"server": format!("{scheme}://{name}:{}", self.port)});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = json!(BASE64_STANDARD.encode(authority));
        }
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": {}}],
        })
    }

    /// Waits until so many requests of the operator have come, and fails with what `log` says if they do not.
    pub async fn is_asked(&self, times: usize, log: impl Fn() -> String) {
        let began = Instant::now();
        while self.requests.load(Ordering::SeqCst) < times {
            let asked = self.requests.load(Ordering::SeqCst);
            assert!(began.elapsed() < DEADLINE, "asked {asked} times instead of {times}:\n{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Responds to one request. `None`: the connection was closed.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, requests: &AtomicUsize) -> Option<()> {
    let head = head(&mut stream).await?;
    if head.to_lowercase().contains("user-agent: membership-operator/") {
        requests.fetch_add(1, Ordering::SeqCst);
    }
    let answer =
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A proxy (CONNECT) that leads every name to this machine; its URL, and how many tunnels there were.
pub async fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tunnels = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let head = head(&mut client).await?;
                let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
                let port: u16 = target.rsplit_once(':')?.1.parse().ok()?;
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
                counter.fetch_add(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                copy_bidirectional(&mut client, &mut server).await.ok()
            });
        }
    });
    (url, tunnels)
}
