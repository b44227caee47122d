//! An operator that watches some namespaces only, with the Roles of `deploy/namespaced` and no ClusterRole.

use control_plane::{ControlPlane, Options};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::operator::Operator;
use crate::stage::{Stage, binary, with_stage_on};
use crate::subject::{each, with};
use crate::support::{self, OPERATOR, SOON, assert_contains, eventually, path};

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// The control plane with `deploy/namespaced` and the admission policies. Each test has an operator there, which sees the
/// test's own namespaces only.
async fn plane() -> &'static ControlPlane {
    PLANE.get_or_init(start).await
}

async fn start() -> ControlPlane {
    let plane = support::start_bare(Options::default()).await.unwrap();
    let kubectl = plane.kubectl();
    kubectl.ok(&["apply", "--kustomize", &path("deploy/namespaced")]).await.unwrap();
    kubectl.ok(&["apply", "--kustomize", &path("deploy/policies")]).await.unwrap();
    kubectl.ok(&["apply", "--filename", &path("deploy/namespaced/operate.yaml")]).await.unwrap();
    let bound = kubectl
        .ok(&["get", "clusterrolebindings", "--selector=app.kubernetes.io/name=membership-operator", "--output=name"])
        .await;
    assert_eq!(bound.unwrap().trim(), "clusterrolebinding.rbac.authorization.k8s.io/membership-operator-operate");
    plane
}

/// Gives the operator its permissions in a stage's namespace.
async fn let_in(stage: &Stage) {
    stage.kubectl().ok(&["apply", "--filename", &path("deploy/namespaced/namespace.yaml")]).await;
}

#[tokio::test]
async fn it_works_with_roles_in_its_namespaces_and_looks_at_no_other() {
    let plane = plane().await;
    with_stage_on(plane, async |a| {
        with_stage_on(plane, async |b| {
            with_stage_on(plane, async |other| {
                let stages = [&a, &b];
                for stage in stages {
                    let_in(stage).await;
                }
                let subjects = [a.identity("in-a"), a.user("in-a-too"), b.user("in-b"), b.identity("in-b-too")];
                let of = |index: usize| if index < 2 { &a } else { &b };
                // One exists before it starts, the others are created while it runs.
                a.declare(&subjects[0], json!([{"role": subjects[0].names()[0]}])).await;
                let unseen = other.identity("unseen");
                other.declare(&unseen, json!([{"role": "viewer"}])).await;
                let namespaces = format!("--watch-namespaces={},{}", b.namespace(), a.namespace());
                let operator = Operator::start_with(plane, binary(), "namespaced", &[&namespaces]).await.unwrap();
                each(subjects.iter().enumerate(), async |(index, subject)| {
                    let [one, two, ..] = subject.names();
                    let stage = of(index);
                    stage
                        .declare(subject, json!([{"role": one}, {"role": two, "temporary": {"duration": "1h"}}]))
                        .await;
                    subject.has(&[one, two]).await;
                    stage.ready(&subject.object()).await;
                })
                .await;
                // Provider objects of the cluster aren't served, and the object reports it.
                let unserved = a.identity("central");
                let central = json!({"providerRef": {"kind": "ClusterMembershipProvider", "name": "central"}});
                a.api.apply(&[with(unserved.declares(json!([{"role": "viewer"}])), central)]).await;
                let message = a.has_condition(&unserved.object(), "Reconciling", "True", "ProviderNotFound").await;
                assert_contains(&message, "--watch-namespaces");
                each(subjects.iter().enumerate(), async |(index, subject)| {
                    of(index).delete(&subject.object()).await;
                    subject.has_now(&[], "when its object is gone");
                })
                .await;
                unseen.has_now(&[], "in a namespace that isn't looked at");
                let there = other.api.get(&unseen.object()).await;
                assert_eq!(there["status"]["observedGeneration"], -1, "{there:#}");
                // Nothing was requested that its Roles don't allow.
                let log = std::fs::read_to_string(operator.log_file()).unwrap();
                assert!(!log.contains("orbidden"), "{log}");
            })
            .await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_it_may_not_see_keeps_it_from_taking_what_is_unknown_for_empty() {
    let plane = plane().await;
    with_stage_on(plane, async |a| {
        with_stage_on(plane, async |b| {
            let_in(&a).await;
            let_in(&b).await;
            let subject = b.identity("layered");
            let namespaces = format!("--watch-namespaces={},{}", a.namespace(), b.namespace());
            b.declare(&subject, json!([{"role": "viewer"}])).await;
            let operator = Operator::start_with(plane, binary(), "both", &[&namespaces]).await.unwrap();
            subject.has(&["viewer"]).await;
            b.ready(&subject.object()).await;
            operator.stop().await.unwrap();
            // While it is stopped it loses its permissions in one of them.
            a.kubectl().ok(&["delete", "rolebinding", "membership-operator"]).await;
            // The API server notices the change of the RoleBinding a moment later.
            let (user, namespace) =
                (format!("--as=system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1), a.namespace());
            let question = ["auth", "can-i", "list", "projectmemberships.membership.dev", "-n", namespace, &user];
            let kubectl = plane.kubectl();
            eventually(SOON, "it may not list memberships in one namespace", async || {
                let answer = kubectl.run(&question).await.map_err(|error| error.to_string())?;
                let answer = answer.stdout.trim().to_owned();
                if answer.starts_with("no") { Ok(()) } else { Err(answer) }
            })
            .await;
            b.api.ask_to_delete(&subject.object()).await;
            let arguments = [namespaces.as_str()];
            let start = Operator::start_with(plane, binary(), "one", &arguments);
            let waiting = tokio::time::timeout(std::time::Duration::from_secs(5), start).await;
            assert!(waiting.is_err(), "it reports that it is ready without knowing one of its namespaces");
            subject.has_now(&["viewer"], "while one namespace isn't known");
            let_in(&a).await;
            let _operator = Operator::start_with(plane, binary(), "again", &[&namespaces]).await.unwrap();
            b.api.is_gone(&subject.object()).await;
            eventually(SOON, "nothing is held", async || {
                if subject.holds().is_empty() { Ok(()) } else { Err(format!("{:?}", subject.holds())) }
            })
            .await;
        })
        .await;
    })
    .await;
}
