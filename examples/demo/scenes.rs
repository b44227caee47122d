//! What the demo shows, one scene a promise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use simulator::{RoleRow, worlds};

use super::checks::{Checks, roles, scene};
use super::operator;
use super::stage::{NAMESPACE, Stage};
use control_plane::Filter;

/// The files of `deploy/examples/` that are there from the beginning.
const PERMANENT: [&str; 9] = [
    "00-namespace.yaml",
    "10-infisical.yaml",
    "11-zitadel.yaml",
    "20-ci-deployer-infisical.yaml",
    "21-ci-deployer-zitadel.yaml",
    "22-on-call-viewer.yaml",
    "23-ada-infisical.yaml",
    "24-ops-infisical.yaml",
    "25-barbara-zitadel.yaml",
];
/// A temporary grant of fifteen seconds.
const TEMPORARY: &str = "30-reporter-temporary.yaml";
/// A role beside the permanent one of the same identity.
const ON_CALL: &str = "31-on-call-admin.yaml";
/// How long something may take that takes a moment.
const LIMIT: Duration = Duration::from_secs(20);

/// All scenes.
pub async fn play(stage: &Stage, checks: &mut Checks) {
    converge(stage, checks).await;
    names(stage, checks).await;
    apply_again(stage, checks).await;
    temporary(stage, checks).await;
    on_call(stage, checks).await;
    drift(stage, checks).await;
    delete(stage, checks).await;
}

fn infisical(stage: &Stage, identity: &str) -> BTreeSet<String> {
    stage.infisical().effective_roles(worlds::INFISICAL_PROJECT, identity, Timestamp::now())
}

fn zitadel(stage: &Stage, user: &str) -> BTreeSet<String> {
    stage.zitadel().effective_roles(worlds::ZITADEL_PROJECT, user, Timestamp::now())
}

async fn converge(stage: &Stage, checks: &mut Checks) {
    scene("1. kubectl apply: both providers converge");
    for file in PERMANENT {
        stage.apply_example(file).await;
    }
    let deployer = worlds::INFISICAL_DEPLOYER;
    let expected = roles(&["deployer"]);
    checks.becomes("Infisical: ci-deployer is deployer", LIMIT, expected, || infisical(stage, deployer)).await;
    let deployer = worlds::ZITADEL_DEPLOYER;
    let expected = roles(&["PROJECT_OWNER"]);
    checks.becomes("ZITADEL: ci-deployer is PROJECT_OWNER", LIMIT, expected, || zitadel(stage, deployer)).await;
    let (ada, ops) = (worlds::INFISICAL_ADA, worlds::INFISICAL_OPS);
    let expected = roles(&["deployer"]);
    checks.becomes("Infisical: the user Ada, by e-mail, is deployer", LIMIT, expected, || infisical(stage, ada)).await;
    let expected = roles(&["viewer"]);
    checks.becomes("Infisical: the group ops, by slug, is viewer", LIMIT, expected, || infisical(stage, ops)).await;
    let grant = (worlds::ZITADEL_PROJECT, worlds::ZITADEL_GRANT);
    let barbara = || stage.zitadel().effective_roles(grant, worlds::ZITADEL_BARBARA, Timestamp::now());
    let expected = roles(&["PROJECT_GRANT_OWNER"]);
    checks.becomes("ZITADEL: Barbara is PROJECT_GRANT_OWNER in the project grant", LIMIT, expected, barbara).await;
    let said = stage.kubectl(&["wait", "--for=condition=Ready", "pm", "--all", "--timeout=20s"]).await;
    let met = said.lines().all(|line| line.ends_with("condition met"));
    checks.is("kubectl wait sees all of them Ready", met && !said.is_empty(), || said);
    stage.kubectl(&["get", "pm"]).await;
}

async fn names(stage: &Stage, checks: &mut Checks) {
    scene("2. a name is resolved once: Ada's e-mail address is given to another user");
    let newcomer = "00000000-0000-4000-8000-00000000ada2";
    stage.infisical().rename_user(worlds::INFISICAL_ADA, "ada.king@acme.example");
    stage.infisical().add_user(newcomer, worlds::INFISICAL_ADA_EMAIL, "Ada", "Yonath");
    stage.kubectl(&["annotate", "pm", "ada-infisical", "membership.dev/reconcile-at=now"]).await;
    let handled = ["get", "pm", "ada-infisical", "--output=jsonpath={.status.lastHandledReconcileAt}"];
    let said = stage.wait_for(&handled, "now").await;
    checks.is("the operator has looked again", said == "now", || said);
    let holds = infisical(stage, newcomer);
    checks.is("Infisical: the present holder of the e-mail address holds nothing", holds.is_empty(), || {
        format!("{holds:?}")
    });
    let holds = infisical(stage, worlds::INFISICAL_ADA);
    checks.is("Infisical: Ada is deployer still", holds == roles(&["deployer"]), || format!("{holds:?}"));
    let mails = stage.infisical().mails().len();
    checks.is("Infisical sent one mail: Ada's invitation", mails == 1, || format!("{mails} mails"));
}

async fn apply_again(stage: &Stage, checks: &mut Checks) {
    scene("3. kubectl apply of the same files again: nothing is written");
    // Events about the first time don't belong to this scene.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writes =
        || stage.infisical().requests().iter().chain(&stage.zitadel().requests()).filter(|r| is_write(r)).count();
    let (before, mark) = (writes(), stage.plane.audit().mark().unwrap());
    let mut said = String::new();
    for file in PERMANENT {
        said += &stage.apply_example(file).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    checks.is("kubectl says unchanged", said.lines().all(|line| line.ends_with("unchanged")), || said.clone());
    checks.is("no write reached a provider", writes() == before, || format!("{} writes", writes() - before));
    let user = format!("system:serviceaccount:{}:{}", operator::NAMESPACE, operator::ACCOUNT);
    let kubernetes = stage.plane.audit().events(mark, &Filter::new().user(user).writes()).unwrap();
    checks.is("the operator wrote nothing to Kubernetes", kubernetes.is_empty(), || format!("{kubernetes:?}"));
}

fn is_write(request: &simulator::Request) -> bool {
    request.method != "GET" && !request.path.ends_with("_search") && !request.path.contains("/auth/")
}

/// Everything that the playground applies.
pub fn examples() -> impl Iterator<Item = &'static str> {
    PERMANENT.into_iter().chain([TEMPORARY, ON_CALL])
}

/// Ada is owner of the ZITADEL project for six seconds.
fn hotfix() -> String {
    format!(
        "apiVersion: membership.dev/v1alpha1
kind: ProjectMembership
metadata: {{name: hotfix}}
spec:
  providerRef: {{name: zitadel}}
  project: {{id: {:?}}}
  subject: {{kind: User, id: {:?}}}
  roles:
  - role: PROJECT_OWNER
    temporary: {{duration: 6s}}
",
        worlds::ZITADEL_PROJECT,
        worlds::ZITADEL_ADA
    )
}

async fn temporary(stage: &Stage, checks: &mut Checks) {
    scene("4. temporary grants leave at their ends: six seconds at ZITADEL, fifteen at Infisical");
    let (reporter, ada) = (worlds::INFISICAL_REPORTER, worlds::ZITADEL_ADA);
    stage.apply_example(TEMPORARY).await;
    stage.apply(&hotfix(), "hotfix.yaml").await;
    checks
        .becomes("Infisical: reporter is auditor", LIMIT, true, || infisical(stage, reporter).contains("auditor"))
        .await;
    checks.becomes("ZITADEL: Ada is PROJECT_OWNER", LIMIT, roles(&["PROJECT_OWNER"]), || zitadel(stage, ada)).await;
    stage.kubectl(&["get", "pm", "reporter", "hotfix"]).await;
    ends(stage, checks, "hotfix", "ZITADEL: Ada", || zitadel(stage, ada).is_empty()).await;
    ends(stage, checks, "reporter", "Infisical: reporter", || !infisical(stage, reporter).contains("auditor")).await;
    let left = || stage.infisical().memberships_of(worlds::INFISICAL_PROJECT, reporter);
    checks.becomes("Infisical: the membership itself is removed", LIMIT, 0, left).await;
}

/// Waits until a temporary grant is gone at the provider, and measures how late that was.
async fn ends(stage: &Stage, checks: &mut Checks, object: &str, who: &str, gone: impl Fn() -> bool) {
    let path = "--output=jsonpath={.status.roles[0].expirationTime}";
    let kubectl = stage.plane.kubectl();
    let end = kubectl.ok(&["--namespace", NAMESPACE, "get", "pm", object, path]).await.unwrap_or_default();
    checks.becomes(&format!("{who} holds nothing any more"), LIMIT, true, &gone).await;
    match end.parse::<Timestamp>() {
        Ok(end) => {
            let late = Timestamp::now().duration_since(end).as_secs_f64();
            let in_time = (0.0..1.0).contains(&late);
            checks.is(&format!("{who}: gone {late:.3} s after the end"), in_time, || {
                "before it, or a second late".to_owned()
            });
        }
        Err(error) => checks.is("its end is in status", false, || error.to_string()),
    }
}

async fn on_call(stage: &Stage, checks: &mut Checks) {
    scene("5. an on-call object adds a role beside the permanent one, and goes");
    let on_call = worlds::INFISICAL_ON_CALL;
    stage.apply_example(ON_CALL).await;
    let both = roles(&["admin", "viewer"]);
    checks.becomes("Infisical: on-call is viewer and admin", LIMIT, both, || infisical(stage, on_call)).await;
    stage.kubectl(&["wait", "--for=condition=Ready", "pm/on-call-admin", "--timeout=20s"]).await;
    stage.kubectl(&["get", "pm", "on-call-viewer", "on-call-admin"]).await;
    stage.kubectl(&["delete", "pm", "on-call-admin"]).await;
    checks.becomes("Infisical: on-call is viewer again", LIMIT, roles(&["viewer"]), || infisical(stage, on_call)).await;
}

async fn drift(stage: &Stage, checks: &mut Checks) {
    scene("6. a role added by hand at the provider is taken away");
    let deployer = worlds::INFISICAL_DEPLOYER;
    let patch = r#"{"spec":{"resyncInterval":"2s"}}"#;
    stage.kubectl(&["patch", "pm", "ci-deployer-infisical", "--type=merge", "--patch", patch]).await;
    stage.infisical().add_role(worlds::INFISICAL_PROJECT, deployer, RoleRow::permanent("admin"));
    let began = Instant::now();
    let by_hand = infisical(stage, deployer);
    checks.is("Infisical: ci-deployer was made admin manually", by_hand.contains("admin"), || format!("{by_hand:?}"));
    checks
        .becomes("Infisical: ci-deployer is deployer again", LIMIT, roles(&["deployer"]), || infisical(stage, deployer))
        .await;
    checks.is("within the resync interval of 2 s", began.elapsed() < Duration::from_secs(4), || {
        format!("{:?}", began.elapsed())
    });
    let events = ["get", "events", "--field-selector=reason=Drifted", "--output=jsonpath={.items[*].message}"];
    let said = stage.wait_for(&events, "is not declared").await;
    checks.is("an event tells of it", said.contains("admin"), || said);
}

async fn delete(stage: &Stage, checks: &mut Checks) {
    scene("7. kubectl delete revokes");
    stage.kubectl(&["delete", "pm", "--all", "--timeout=30s"]).await;
    checks.is("Infisical: ci-deployer holds nothing", infisical(stage, worlds::INFISICAL_DEPLOYER).is_empty(), || {
        format!("{:?}", infisical(stage, worlds::INFISICAL_DEPLOYER))
    });
    checks.is(
        "Infisical: no membership is left of what we made",
        stage.infisical().memberships_of(worlds::INFISICAL_PROJECT, worlds::INFISICAL_DEPLOYER) == 0,
        || "one is there".to_owned(),
    );
    checks.is("ZITADEL: ci-deployer holds nothing", zitadel(stage, worlds::ZITADEL_DEPLOYER).is_empty(), || {
        format!("{:?}", zitadel(stage, worlds::ZITADEL_DEPLOYER))
    });
    let others = [worlds::INFISICAL_ADA, worlds::INFISICAL_OPS].map(|subject| infisical(stage, subject));
    checks.is("Infisical: nor Ada, nor the group ops", others.iter().all(BTreeSet::is_empty), || format!("{others:?}"));
    let grant = (worlds::ZITADEL_PROJECT, worlds::ZITADEL_GRANT);
    let barbara = stage.zitadel().memberships_of(grant, worlds::ZITADEL_BARBARA);
    checks.is("ZITADEL: Barbara is no member of the grant", barbara == 0, || format!("{barbara} memberships"));
    let left = stage.kubectl(&["get", "pm"]).await;
    checks.is("no ProjectMembership is left", left.contains("No resources found"), || left);
}
