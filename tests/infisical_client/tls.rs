//! TLS: whose certificates are taken, and HTTP/2 where the server offers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use membership_operator::api::SubjectKind;
use membership_operator::provider::http::{Client, Endpoint, Policy, Trust};
use membership_operator::provider::infisical::{Credentials, Infisical};
use membership_operator::provider::quota::RequestKind;
use membership_operator::provider::{Error, Provider, Urgency};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{quota, web};

/// An authority that nobody's system knows.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a server for `name` with a certificate of this authority is set up with.
    fn server(&self, name: &str, protocols: &[&[u8]]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// A server that lists no members, over TLS.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    over_http2: Arc<AtomicUsize>,
}

async fn serve(config: ServerConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = Server { url, connections: Arc::default(), over_http2: Arc::default() };
    let (connections, over_http2) = (server.connections.clone(), server.over_http2.clone());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, connections, over_http2) = (acceptor.clone(), connections.clone(), over_http2.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let answer = service_fn(move |request: Request<Incoming>| {
                    if request.version() == Version::HTTP_2 {
                        over_http2.fetch_add(1, Ordering::SeqCst);
                    }
                    async {
                        Ok::<_, std::convert::Infallible>(Response::new(r#"{"identityMemberships":[]}"#.to_owned()))
                    }
                });
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    server
}

fn plain() -> Client {
    Client::new(Policy::default(), Arc::new(())).unwrap()
}

fn trusting(pem: &str) -> Client {
    plain().trusting(&Trust::parse(pem.as_bytes()).unwrap()).unwrap()
}

fn at(client: &Client, server: &Server) -> Infisical {
    Infisical::new(client, Endpoint::parse(&server.url).unwrap(), Credentials::Token("token".to_owned().into()))
}

async fn list(infisical: &Infisical) -> Result<usize, Error> {
    let permit = quota().permit(RequestKind::Read, Urgency::Resync, "team-a").await;
    infisical.list(&permit, &web(), SubjectKind::Identity).await.map(|listing| listing.members.len())
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered_and_one_connection_serves_many_calls() {
    let authority = Authority::new();
    let client = trusting(&authority.pem());
    for (protocols, http2) in [(&[&b"h2"[..], b"http/1.1"][..], true), (&[b"http/1.1"], false), (&[], false)] {
        let server = serve(authority.server("127.0.0.1", protocols)).await;
        let infisical = at(&client, &server);
        for _ in 0..5 {
            assert_eq!(list(&infisical).await, Ok(0));
        }
        // The first list looks for the generation besides.
        let expected = if http2 { 6 } else { 0 };
        assert_eq!(server.over_http2.load(Ordering::SeqCst), expected, "{protocols:?}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_taken_in_the_place_of_all_others() {
    let (ours, others) = (Authority::new(), Authority::new());
    let server = serve(ours.server("127.0.0.1", &[])).await;
    let error = list(&at(&plain(), &server)).await.unwrap_err();
    assert!(error.to_string().contains("give that in spec.caBundle"), "{error}");
    let error = list(&at(&trusting(&others.pem()), &server)).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(list(&at(&trusting(&format!("{}\n{}", others.pem(), ours.pem())), &server)).await, Ok(0));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_whichever_authority_signed_it() {
    let authority = Authority::new();
    let server = serve(authority.server("other.example.com", &[])).await;
    let error = list(&at(&trusting(&authority.pem()), &server)).await.unwrap_err();
    assert!(error.to_string().contains("is for this host"), "{error}");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
