use std::path::PathBuf;

use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::*;
use crate::api::membership::ProviderKind;
use crate::api::provider::Limits;
use crate::api::{ProjectMembership, Reason};
use crate::clock::Clock;
use crate::controller::connections::ConnectionState;
use crate::controller::provider_key::ProviderKey;
use crate::controller::wiring::{Dependencies, Wiring, membership_event, wire};
use crate::core::policy::PinnedIds;
use crate::core::status::ReadyCondition;
use crate::lease::Leadership;
use crate::provider::http;
use crate::telemetry::Metrics;

const MANY: usize = 3_000;

/// A controller whose API server never responds, so that its stores are empty: every object that it is given counts as
/// deleted.
fn controller() -> Wiring {
    let metrics = Arc::new(Metrics::default());
    let never = tower::service_fn(|_: axum::http::Request<kube::client::Body>| {
        futures::future::pending::<Result<axum::http::Response<kube::client::Body>, std::convert::Infallible>>()
    });
    let http = http::Client::new(http::Policy::default(), metrics.clone()).unwrap();
    wire(Dependencies {
        client: Client::new(never, "default"),
        cluster_http: http.clone(),
        http,
        tokens: PathBuf::new(),
        namespaces: Vec::new(),
        memory_limit: None,
        delay: Box::new(|_| Duration::ZERO),
        leadership: Leadership::alone(),
        metrics,
        clock: Clock::system(),
    })
}

fn membership(number: usize) -> ProjectMembership {
    let object = json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
        "metadata": {
            "name": format!("m{number}"), "namespace": format!("team-{}", number % 7), "uid": format!("uid-{number}"),
            "resourceVersion": number.to_string(), "generation": 1, "finalizers": [crate::api::FINALIZER],
        },
        "spec": {
            "providerRef": {"kind": "ClusterMembershipProvider", "name": "infisical"},
            "project": {"id": format!("project-{number}")},
            "subject": {"kind": "Identity", "name": format!("subject-{number}")},
            "roles": [{"role": "viewer"}],
        },
    });
    serde_json::from_value(object).unwrap()
}

/// Seen failing when [`collect`] does nothing.
#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_thousands_of_objects_projects_and_endpoints_that_are_gone() {
    let Wiring { ctx, .. } = controller();
    ctx.begun.ready();
    for number in 0..MANY {
        let object = membership(number);
        let uid = object.uid().unwrap();
        membership_event(&ctx, &Event::Apply(object.clone()));
        ctx.targets.not_found(&object);
        let found = PinnedIds { project_id: None, subject_id: Some(format!("subject-{number}")) };
        ctx.targets.pin(&object, found.clone());
        ctx.written.begins(&uid);
        ctx.written.ended(&uid, Some(&object.metadata));
        let key = ProviderKey {
            kind: ProviderKind::MembershipProvider,
            namespace: "team".to_owned(),
            name: format!("provider-{number}"),
        };
        let link = ConnectionState::Failed { condition: ReadyCondition::new(Reason::InvalidSpec, ""), last: None };
        ctx.connections.put(key.clone(), link);
        drop(ctx.connections.quota(&format!("https://{number}.example.com"), false, &key, Limits::default()));
        if number % 2 == 0 {
            // A pass that continues after its object was deleted.
            membership_event(&ctx, &Event::Delete(object.clone()));
            ctx.targets.pin(&object, found);
            ctx.targets.not_found(&object);
            ctx.written.begins(&uid);
            ctx.written.ended(&uid, None);
            ctx.tombstones.holds(&uid);
        }
    }
    let remembered = || entries(&ctx);
    assert!(ctx.targets.len() >= MANY && ctx.written.len() == MANY, "{:?}", remembered());
    ctx.listing.store(true, std::sync::atomic::Ordering::Release);
    collect(&ctx);
    assert!(ctx.written.len() == MANY && ctx.tombstones.held() == MANY, "a list is being read: {:?}", remembered());
    ctx.listing.store(false, std::sync::atomic::Ordering::Release);
    tokio::time::advance(EVERY + Duration::from_secs(1)).await;
    collect(&ctx);
    assert_eq!(remembered().map(|(_, entries)| entries), [0; 8], "{:?}", remembered());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_progress_is_kept() {
    let Wiring { ctx, .. } = controller();
    ctx.begun.ready();
    let invite_lock = ctx.targets.invite_lock("https://1.example.com", "project", "ada");
    ctx.written.begins("uid-1");
    collect(&ctx);
    assert_eq!((ctx.targets.len(), ctx.written.len()), (1, 1));
    drop(invite_lock);
    ctx.written.ended("uid-1", None);
    collect(&ctx);
    assert_eq!((ctx.targets.len(), ctx.written.len()), (0, 0));
}
