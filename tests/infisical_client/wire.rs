//! What every request carries, and the way that it takes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use control_plane::TcpProxy;
use membership_operator::api::SubjectKind;
use membership_operator::provider::http::{Client, Endpoint, Policy, Proxies};
use membership_operator::provider::infisical::{Credentials, Infisical};
use membership_operator::provider::quota::RequestKind;
use membership_operator::provider::{Error, Provider, Urgency};
use tokio::io::AsyncWriteExt;

use crate::raw::{self, Raw};
use crate::{client, quota, web};

/// A server that keeps its connections open, answers each request with an empty list and remembers the requests.
async fn remembering() -> (Raw, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    let server = Raw::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            loop {
                let head = raw::request(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(head);
                let body = r#"{"identityMemberships":[]}"#;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    (server, heads)
}

async fn list(client: &Client, url: &str) -> Result<usize, Error> {
    let infisical =
        Infisical::new(client, Endpoint::parse(url).unwrap(), Credentials::Token("token".to_owned().into()));
    let permit = quota().permit(RequestKind::Read, Urgency::Resync, "team-a").await;
    infisical.list(&permit, &web(), SubjectKind::Identity).await.map(|listing| listing.members.len())
}

#[tokio::test]
async fn a_request_says_who_asks_and_has_an_id_of_its_own_and_takes_the_connection_that_is_there() {
    let (server, heads) = remembering().await;
    let client = client(Arc::new(()));
    for _ in 0..3 {
        assert_eq!(list(&client, &server.url).await, Ok(0));
    }
    let heads = heads.lock().unwrap().clone();
    let agent = concat!("user-agent: membership-operator/", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(heads.iter().all(|head| head.contains(agent)), "{heads:#?}");
    let ids: std::collections::BTreeSet<&str> =
        heads.iter().flat_map(|head| head.lines()).filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids.len(), heads.len(), "{heads:#?}");
    assert_eq!(server.connections(), 1);
}

/// A load balancer forgets its flows. Seen to fail without `UnderWay`: the next request takes the next silent connection.
#[tokio::test]
async fn after_a_request_without_an_answer_the_next_one_is_sent_on_a_new_connection() {
    let server = Raw::start(|mut stream| async move {
        while !raw::request(&mut stream).await.is_empty() {
            // Slow enough that requests at once have a connection each.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let body = r#"{"identityMemberships":[]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let port = server.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = TcpProxy::start(port).await.unwrap();
    let (url, client) = (format!("http://127.0.0.1:{}", proxy.port()), client(Arc::new(())));
    let lists = futures::future::join_all((0..4).map(|_| list(&client, &url))).await;
    assert_eq!((lists, proxy.accepted()), (vec![Ok(0); 4], 4));
    proxy.silence();
    let unanswered = tokio::time::timeout(Duration::from_millis(300), list(&client, &url)).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    let answered = tokio::time::timeout(Duration::from_secs(5), list(&client, &url)).await;
    assert_eq!((answered, proxy.accepted()), (Ok(Ok(0)), 5));
}

/// A tenant's client behind a proxy.
fn behind(proxy: &Raw, except: &str, allowed_hosts: Option<&[&str]>) -> Client {
    let proxies = Proxies {
        https: Some(proxy.url.clone()),
        http: Some(proxy.url.clone()),
        except: Some(except.to_owned()).filter(|except| !except.is_empty()),
    };
    let policy = Policy {
        allow_http: ["infisical.invalid", "localhost"].map(str::to_owned).into(),
        allowed_hosts: allowed_hosts.map(|hosts| hosts.iter().map(|&host| host.to_owned()).collect()),
        restrict_addresses: true,
        proxies,
        ..Policy::default()
    };
    Client::new(policy, Arc::new(())).unwrap()
}

#[tokio::test]
async fn a_proxy_is_used_only_for_the_hosts_that_the_operator_was_given() {
    let (proxy, heads) = remembering().await;
    let named = Some(&["infisical.invalid", "localhost"][..]);
    assert_eq!(list(&behind(&proxy, "", named), "http://infisical.invalid").await, Ok(0));
    assert!(heads.lock().unwrap()[0].starts_with("GET http://infisical.invalid/api/"), "{heads:?}");
    // TLS goes through it to the server itself.
    let _ = tokio::time::timeout(Duration::from_secs(5), list(&behind(&proxy, "", named), "https://infisical.invalid"))
        .await;
    let last = heads.lock().unwrap().last().cloned().unwrap_or_default();
    assert!(last.starts_with("CONNECT infisical.invalid:443 "), "{last}");
    let taken = proxy.connections();
    // Without names no address could be checked.
    assert!(list(&behind(&proxy, "", None), "http://infisical.invalid").await.is_err());
    // A host that isn't named.
    let error = list(&behind(&proxy, "", named), "https://169.254.169.254").await.unwrap_err();
    assert!(error.to_string().contains("--allowed-hosts"), "{error}");
    assert_eq!(proxy.connections(), taken);
}

#[tokio::test]
async fn who_is_excepted_is_called_directly_and_its_address_is_checked() {
    let (proxy, _) = remembering().await;
    let (server, _) = remembering().await;
    let url = server.url.replace("127.0.0.1", "localhost");
    let named = Some(&["localhost"][..]);
    let error = list(&behind(&proxy, "localhost,.example.com", named), &url).await.unwrap_err();
    assert!(error.to_string().contains("--allow-address"), "{error}");
    assert_eq!((proxy.connections(), server.connections()), (0, 0));
    assert_eq!(list(&behind(&proxy, "", named), &url).await, Ok(0), "the proxy's own address is the operator's choice");
    assert_eq!((proxy.connections(), server.connections()), (1, 0));
}
