use kube::core::Status;

use super::*;

fn refusal(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, ..Status::failure("no", "Because") }))
}

fn membership(name: &str) -> ObjectRef<ProjectMembership> {
    ObjectRef::new(name).within("team-a")
}

#[test]
fn a_fault_concerns_its_object_or_maybe_all() {
    use FaultScope::{Conflict, Gone, Object, Server};
    for (code, concern) in [
        (400, Object),
        (401, Server),
        (403, Object),
        (404, Gone),
        (409, Conflict),
        (413, Object),
        (422, Object),
        (429, Server),
        (500, Server),
        (503, Server),
        (504, Server),
    ] {
        assert_eq!(FaultScope::of(&refusal(code)), concern, "{code}");
    }
    assert_eq!(FaultScope::of(&kube::Error::Service(Unavailable.into())), Server);
}

/// Seen failing with a constant wait.
#[test]
fn a_fault_is_retried_with_a_backoff_that_never_delays_an_end() {
    let failed =
        |in_a_row| FailedPass { concern: FaultScope::Object, in_a_row, waits: false, revokes: false, next_end: None };
    let waits = |failed: &dyn Fn(u32) -> FailedPass| -> Vec<u64> {
        [1, 2, 3, 5, 6, 8, 9, 99].map(|n| failed(n).retry().unwrap().as_millis() as u64).to_vec()
    };
    assert_eq!(waits(&failed), [200, 400, 800, 3_200, 6_400, 25_600, 30_000, 30_000]);
    let due = |in_a_row| FailedPass { revokes: true, ..failed(in_a_row) };
    assert_eq!(waits(&due), [200, 400, 800, 3_200, 5_000, 5_000, 5_000, 5_000]);
    let ends = |in_a_row| FailedPass { next_end: Some(Duration::from_secs(1)), ..failed(in_a_row) };
    assert_eq!(waits(&ends), [200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000]);
    assert_eq!(FailedPass { concern: FaultScope::Gone, ..failed(1) }.retry(), None);
}

#[test]
fn a_key_that_waits_for_the_api_server_returns_automatically_for_an_end_only() {
    let waits = FailedPass { concern: FaultScope::Server, in_a_row: 9, waits: true, revokes: false, next_end: None };
    assert_eq!(waits.retry(), None);
    let end = Some(Duration::from_secs(90));
    assert_eq!(FailedPass { next_end: end, ..waits }.retry(), end);
    assert_eq!(FailedPass { revokes: true, ..waits }.retry(), Some(LONGEST_WHILE_DUE));
}

#[test]
fn a_fault_of_the_api_server_is_not_logged_for_each_object() {
    for (concern, in_a_row, undecided, logged) in [
        (FaultScope::Object, 1, false, true),
        (FaultScope::Object, 1, true, true),
        (FaultScope::Gone, 9, false, false),
        (FaultScope::Conflict, 2, false, false),
        (FaultScope::Conflict, 3, false, true),
        (FaultScope::Server, 1, false, false),
        (FaultScope::Server, 9, true, false),
        (FaultScope::Server, 2, false, true),
    ] {
        assert_eq!(concern.is_logged(in_a_row, undecided), logged, "{concern:?} {in_a_row} {undecided}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_during_an_outage_waits_for_its_end() {
    let outage = Outage::default();
    let began = Instant::now();
    assert!(!outage.waits(&membership("early"), 1), "no probe is asked for");
    outage.suspect();
    assert!(outage.is_undecided() && !outage.waits(&membership("again"), 2));
    assert!(outage.waits(&membership("first"), 1), "the first fault waits for the probe");
    let first =
        WaitingKeys { memberships: [("team-a".to_owned(), "first".to_owned())].into(), ..WaitingKeys::default() };
    assert_eq!(outage.ends(began), (None, first), "the probe succeeds: there was no outage");
    assert!(!outage.is_undecided());
    outage.suspect();
    assert!(outage.fails(began) && !outage.fails(began), "it is reported once");
    let ours = ["a", "b", "a"];
    assert!(ours.iter().all(|name| outage.waits(&membership(name), 9)));
    let provider = ProviderKey {
        kind: crate::api::membership::ProviderKind::ClusterMembershipProvider,
        namespace: String::new(),
        name: "infisical".to_owned(),
    };
    assert!(outage.provider_waits(&provider, 9));
    let lasts = Duration::from_secs(2400);
    let waiting = WaitingKeys {
        memberships: ["a", "b"].map(|name| ("team-a".to_owned(), name.to_owned())).into(),
        providers: [provider].into(),
    };
    assert_eq!(outage.ends(began + lasts), (Some(lasts), waiting));
    assert!(*outage.available().borrow());
    assert_eq!(outage.ends(began), (None, WaitingKeys::default()));
}

/// Seen failing without the filter: all requests were sent.
#[tokio::test]
async fn during_an_outage_nothing_is_sent_but_watches_and_lists() {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let service = tower::service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, Infallible>(axum::http::Response::new(Body::from(b"{}".to_vec()))))
    });
    let outage = Arc::new(Outage::default());
    let client = client(Client::new(service, "default"), outage.clone());
    let ask = async |path: &str| client.request_text(Request::get(path).body(Vec::new()).unwrap()).await;
    outage.fails(Instant::now());
    let error = ask("/apis/membership.dev/v1alpha1/projectmemberships/one").await.unwrap_err();
    assert_eq!(FaultScope::of(&error), FaultScope::Server, "{error}");
    assert!(error.to_string().contains("is unavailable"), "{error}");
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    ask("/apis/membership.dev/v1alpha1/projectmemberships?limit=500").await.unwrap();
    ask("/apis/membership.dev/v1alpha1/projectmemberships?watch=true&timeoutSeconds=30").await.unwrap();
    outage.ends(Instant::now());
    ask("/apis/membership.dev/v1alpha1/projectmemberships/one").await.unwrap();
    assert_eq!(sent.load(Ordering::SeqCst), 3);
}
